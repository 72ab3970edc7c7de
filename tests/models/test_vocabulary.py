"""The vocabulary, tokenizers aligned by character, rendered messages, what a model writes itself."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.cli import run
from lab.inspecting.render import read
from models.columns import Column, Sampler
from models.errors import UserError
from models.events import finish
from models.prompts import gets_bos_twice, render
from models.records.tokens import Token
from models.records.vocabulary import Encoded, agreement, align, boundaries, cut_alike, measures
from models.template_spans import template_flags
from models.tokens import encode_with_spans, tokens_of
from models.vocabulary import Vocabulary, distances, found, known_unused, lowest, ordered, page, search, vocabulary
from tests.fakes import CHAT_TEMPLATE, byte_tokenizer, opened_model, sentencepiece_tokenizer, wordpiece_tokenizer

TOKENIZERS = (byte_tokenizer(), sentencepiece_tokenizer(), wordpiece_tokenizer())


def made(texts: list[str], norms: list[float] | None = None) -> Vocabulary:
    n = len(texts)
    values = np.array(norms or range(n), dtype=np.float32)
    return Vocabulary(
        tuple(texts), tuple(texts), np.array([len(t) for t in texts], np.int32),
        np.array([len(t.encode()) for t in texts], np.int32), values, values, np.zeros(n, bool), np.zeros(n, bool), "",
    )  # fmt: skip


def tokens(tokenizer: Any, text: str) -> tuple[Token, ...]:
    return tokens_of(tokenizer, text, *encode_with_spans(tokenizer, text))


# the vocabulary --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("family", ["llama", "bert", "t5", "gpt2"])
def test_every_entry_has_its_row(opened: Callable[..., Any], family: str) -> None:
    model = opened(family)
    known = finish(vocabulary(model))
    weight = model.model.get_input_embeddings().weight
    assert len(known.pieces) == len(model.tokenizer)
    n = min(len(known.pieces), weight.shape[0])
    np.testing.assert_allclose(known.norms[:n], weight[:n].float().norm(dim=1).detach().numpy(), rtol=1e-5)
    for id in (0, 5, 40):
        assert known.pieces[id] == model.tokenizer.convert_ids_to_tokens([id])[0]
    assert known.suspect.sum() <= max(0.03 * len(known.pieces), 1)
    assert not (known.suspect & known.special).any()


def test_searching_by_hand() -> None:
    known = made([" The", "the", "ing", "xing", "", "狐"])
    assert finish(search(known, "")).tolist() == finish(search(known, "*")).tolist() == list(range(6))
    assert finish(search(known, "THE")).tolist() == [0, 1]
    assert finish(search(known, " t")).tolist() == [0]
    assert finish(search(known, "#3")).tolist() == [3]
    assert finish(search(known, "#99")).tolist() == []
    assert finish(search(known, "/^ing$/")).tolist() == [2]
    assert finish(search(known, r"/\p{Han}/")).tolist() == [5]
    with pytest.raises(UserError, match="not a regular expression"):
        finish(search(known, "/(/"))
    with pytest.raises(UserError, match="longer than"):
        finish(search(known, "/" + "a" * 600 + "/"))


def test_a_pattern_that_never_ends_is_stopped() -> None:
    known = made(["a" * 60 + "!"] * 50)
    with pytest.raises(UserError, match="takes too long"):
        finish(search(known, r"/^(a|aa|aaa)*b\1(?:a?){40}c$|^(\w+\s?)*$/"))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.text(max_size=6), min_size=1, max_size=20), st.text(max_size=3))
def test_a_search_by_letters_finds_exactly_what_holds_them(texts: list[str], query: str) -> None:
    if query in ("", "*") or query.startswith(("#", "/")):
        return
    hits = set(finish(search(made(texts), query)).tolist())
    assert hits == {i for i, text in enumerate(texts) if query.casefold() in text.casefold()}


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=12))
def test_no_query_breaks_the_search(query: str) -> None:
    known = made(["abc", " de", ""])
    try:
        hits = finish(search(known, query))
    except UserError:
        return
    assert set(hits.tolist()) <= {0, 1, 2}


def test_orders() -> None:
    known = made(["bb", "a", "ccc"], [2.0, float("nan"), 1.0])
    ids = np.arange(3)
    assert ordered(known, ids, "id", True).tolist() == [2, 1, 0]
    assert ordered(known, ids, "text", False).tolist() == [1, 0, 2]
    assert ordered(known, ids, "characters", True).tolist() == [2, 0, 1]
    assert ordered(known, ids, "norm", False).tolist() == [2, 0, 1]
    assert ordered(known, ids, "norm", True).tolist() == [0, 2, 1]  # what has no value stands last both ways
    with pytest.raises(UserError, match="no order"):
        ordered(known, ids, "colour", False)
    part = page(known, finish(found(known, "*", "id", False, False)), 1, 1)
    assert (part.start, part.total, part.n, part.pieces) == (1, 3, 3, ("a",))
    assert page(known, ids, 7, 5).pieces == ()
    assert finish(found(known, "*", "id", False, True)).tolist() == []


def test_a_planted_untrained_entry_is_the_first_suspect() -> None:
    import torch

    torch.manual_seed(0)
    common = torch.randn(16) * 3
    weight = torch.randn(300, 16) + common
    unused = torch.randn(16)
    weight[290:] = unused + common + 0.01 * torch.randn(10, 16)
    weight[42] = unused + common + 0.01 * torch.randn(16)
    far = finish(distances(weight, range(290, 300)))
    assert far.shape == (300,)
    assert int(np.argsort(far[:290])[0]) == 42
    assert far[42] < 0.05 < np.sort(far[:290])[1]
    marked = lowest(far[:290], np.ones(290, bool))
    assert marked[42]
    assert marked.sum() == 6
    assert not lowest(np.full(3, np.nan), np.ones(3, bool)).any()


def test_what_no_text_can_have_made() -> None:
    pieces = ["a", "<unused1>", "<|reserved_special_token_2|>", "\xff", "ÿ"]
    data = [b"a", b"<unused1>", b"", b"\xff", "ÿ".encode()]
    special = np.array([False, False, True, False, False])
    assert known_unused(pieces, data, special, 7) == [1, 2, 3, 5, 6]


def test_pages_of_an_open_checkpoint(tiny: Callable[..., Any]) -> None:
    from models.api import open_checkpoint

    checkpoint = open_checkpoint(str(tiny("llama")))
    first, second = checkpoint.vocabulary(count=10), checkpoint.vocabulary(start=10, count=10)
    assert [*first.ids, *second.ids] == list(range(20))
    assert first.total == len(checkpoint.opened.tokenizer)
    largest = checkpoint.vocabulary(sort="norm", descending=True, count=3)
    assert largest.norms[0] >= largest.norms[1] >= largest.norms[2]
    assert checkpoint.vocabulary(count=10**9).ids.size <= 1000


# alignment -------------------------------------------------------------------------------------------------------------
def test_alignment_by_hand() -> None:
    a = [Token(0, "ab", "ab", b"ab", 0, 2), Token(1, "c", "c", b"c", 2, 3), Token(2, "de", "de", b"de", 3, 5)]
    b = [Token(0, "a", "a", b"a", 0, 1), Token(1, "bc", "bc", b"bc", 1, 3), Token(2, "de", "de", b"de", 3, 5)]
    assert [(p.start, p.end, p.parts) for p in align([a, b], 5)] == [(0, 3, ((0, 1), (0, 1))), (3, 5, ((2,), (2,)))]
    assert agreement(a, b) == (1, 1, 1)
    assert align([], 3) == ()
    assert [p.parts for p in align([a], 5)] == [((0,),), ((1,),), ((2,),)]


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="The fox über 狐🙂\n .", max_size=30))
def test_every_token_is_in_exactly_one_stretch(text: str) -> None:
    columns = [tokens(tokenizer, text) for tokenizer in TOKENIZERS]
    parts = align(columns, len(text))
    assert all(part.start < part.end for part in parts)
    assert all(before.end <= after.start for before, after in itertools.pairwise(parts))
    for side, column in enumerate(columns):
        placed = [i for i, token in enumerate(column) if token.start >= 0 and not token.special]
        assert [i for part in parts for i in part.parts[side]] == placed
    assert agreement(columns[0], columns[0])[1:] == (0, 0)


def test_no_boundary_is_inside_a_character() -> None:
    found_tokens = tokens(TOKENIZERS[0], "a🙂b")
    assert boundaries(found_tokens) == {1, 2, 3}


def test_a_space_does_not_make_a_difference() -> None:
    the, es = Token(0, "The", "The", b"The", 0, 3), Token(2, "es", "es", b"es", 7, 9)
    byte_level = (the, Token(1, " fox", "Ġfox", b" fox", 3, 7), es)
    wordpiece = (Token(0, "the", "the", b"the", 0, 3), Token(1, "foxes", "foxes", b"foxes", 4, 9))
    assert [cut_alike([token], wordpiece, "The foxes") for token in byte_level] == [True, False, False]
    assert [cut_alike([token], byte_level, "The foxes") for token in wordpiece] == [True, False]
    assert cut_alike([Token(9, "", "<s>", b"", -1, -1, special=True)], wordpiece, "The foxes")


def test_measures_by_hand() -> None:
    found_tokens = tokens(TOKENIZERS[0], "the 狐")
    said = measures(Encoded("the 狐", found_tokens))
    plain = [token for token in found_tokens if not token.special]
    assert (said.words, said.characters, said.n_bytes, said.split_characters) == (2, 5, 7, 1)
    assert said.tokens == len(plain)
    assert said.per_word == len(plain) / 2
    assert said.bytes_per_token == 7 / len(plain)
    nothing = measures(Encoded("", ()))
    assert nothing.tokens == 0
    assert nothing.per_word != nothing.per_word


# messages --------------------------------------------------------------------------------------------------------------
def test_which_tokens_are_the_templates() -> None:
    chat = opened_model("llama")
    said = render(chat, ({"role": "user", "content": "user fox"},))  # the role's name stands in the message, too
    own = [token.text for token, template in zip(said.tokens, said.template, strict=True) if template]
    theirs = "".join(token.text for token, template in zip(said.tokens, said.template, strict=True) if not template)
    assert own == ["<bos>", "<user>", "<eos>", "<assistant>"]
    assert theirs == "user fox"


def test_a_template_that_trims_or_shouts() -> None:
    chat = replace(opened_model("llama"), chat_template="user: {% for m in messages %}{{ m.content | trim }}!{% endfor %}")
    said = render(chat, ({"role": "user", "content": "  user: fox \n"},))
    marked = "".join(token.text for token, template in zip(said.tokens, said.template, strict=True) if not template)
    assert marked.strip() == "user: fox"
    assert said.text == "user: user: fox!"
    loud = replace(chat, chat_template="{% for m in messages %}<user>{{ m.content | upper }}{% endfor %}")
    said = render(loud, ({"role": "user", "content": "fox"},))
    assert [t.text for t, template in zip(said.tokens, said.template, strict=True) if not template] != []


def test_flags_by_hand() -> None:
    cells = (Token(0, "a", "a", b"a", 0, 1), Token(1, "bc", "bc", b"bc", 1, 3), Token(2, "", "<x>", b"", -1, -1, special=True))
    assert template_flags(cells, "abc", [(2, 3)]) == (True, False, True)


def test_a_bos_that_comes_twice_by_default() -> None:
    chat = opened_model("llama")
    assert gets_bos_twice(chat.tokenizer, "<bos>Hi")
    assert not gets_bos_twice(chat.tokenizer, "Hi")
    assert CHAT_TEMPLATE.startswith("{{ bos_token }}") or "<bos>" in CHAT_TEMPLATE


def test_messages_on_the_command_line() -> None:
    assert read("Hello") == ({"role": "user", "content": "Hello"},)
    assert read('[{"role": "system", "content": "x", "more": 1}]') == ({"role": "system", "content": "x"},)
    for bad in ("[1]", '[{"role": "user"}]', "[{"):
        with pytest.raises(UserError, match="no messages"):
            read(bad)


# what the model writes itself, and would have written -----------------------------------------------------------------
def test_alternatives_are_the_most_probable_tokens(tiny: Callable[..., Any]) -> None:
    from models.api import open_checkpoint

    checkpoint = open_checkpoint(str(tiny("llama")), dtype="float32")
    strip = checkpoint.tokens("The quick fox")
    k = strip.alternative_ids.shape[1]
    assert k == 5
    assert (strip.alternative_ids[0] == -1).all()
    for place in range(1, len(strip.tokens)):
        after = checkpoint.distribution("The quick fox", top=5, position=place - 1)
        assert strip.alternative_ids[place].tolist() == after.ids.tolist()
        np.testing.assert_allclose(strip.alternative_p[place], after.probabilities, rtol=1e-4)
        assert strip.alternative_texts[place * k : place * k + k] == after.texts
        if strip.rank[place] < k:
            assert strip.alternative_ids[place, strip.rank[place]] == strip.tokens[place].id


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_what_a_model_writes_is_what_generate_writes(tiny: Callable[..., Any], family: str) -> None:
    from models.api import open_checkpoint

    sampler = Sampler(temperature=0.0, max_new_tokens=6)
    checkpoint = open_checkpoint(str(tiny(family)), dtype="float32", sampler=sampler)
    answer = checkpoint.generate("The fox", max_new_tokens=6)
    strip = checkpoint.tokens("The fox", write=6)
    assert strip.written_from >= 0
    written = strip.tokens[strip.written_from :]
    assert tuple(token.id for token in written) == answer.token_ids
    assert (strip.rank[strip.written_from :] == 0).all()  # greedy: always the first choice
    assert "written by the model itself" in strip.convention
    assert checkpoint.tokens("The fox").written_from == -1
    placed = [token for token in written if token.start >= 0]
    assert all(strip.text[token.start : token.end] == token.text or token.group >= 0 for token in placed)


def test_an_encoder_writes_nothing(tiny: Callable[..., Any]) -> None:
    from models.api import open_checkpoint

    with pytest.raises(UserError, match="cannot generate"):
        open_checkpoint(str(tiny("bert"))).tokens("The fox", write=3)


def test_flags_of_inspect(tiny: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tiny("llama"))
    words = ["inspect", path, "--vocabulary", "*", "--top", "4", "--sort", "norm", "--render", "Hello", "--json"]
    assert run(words) == 0
    shown = json.loads(capsys.readouterr().out)
    norms = [row["norm"] for row in shown["vocabulary"]["rows"]]
    assert norms == sorted(norms)
    assert len(norms) == 4
    assert "Hello" in shown["render"]["text"]
    assert run(["inspect", path, "--text", "The 狐", "--encode", "--tokens", "--write", "3", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["encode"]["counts"]["characters"] == 5
    assert 1 <= len(shown["tokens"]) - len(shown["encode"]["tokens"]) <= 3
    assert run(["inspect", path, "--vocabulary", "*", "--top", "2"]) == 0
    assert run(["inspect", path, "--render", "Hello"]) == 0
    assert run(["inspect", path, "--encode", "--text", "x"]) == 0
    assert Column(path).name
