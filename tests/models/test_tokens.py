"""Tokens: ids, bytes, spans, groups, and special tokens that are written out in a text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.tokens import encode_plain, encode_with_spans, piece_style, special_ids, token_texts, tokens_of
from tests.fakes import byte_tokenizer, roberta_tokenizer, sentencepiece_tokenizer, wordpiece_tokenizer

BYTES = byte_tokenizer()
PIECES = sentencepiece_tokenizer()
WORDS = wordpiece_tokenizer()


def tokens(tokenizer: Any, text: str, **options: bool) -> tuple[Any, ...]:
    ids, spans = encode_with_spans(tokenizer, text, **options)
    return tokens_of(tokenizer, text, ids, spans)


def test_styles_are_recognised() -> None:
    assert [piece_style(t) for t in (BYTES, PIECES, WORDS, roberta_tokenizer())] == [
        "byte-level", "sentencepiece", "wordpiece", "byte-level",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["The fox 🙂 jumps", "狐 über das", "a\tb\n\n  c", "\x00\x7f", "é" * 3, " lead", "trail "])
def test_byte_level_tokens_spell_the_text(text: str) -> None:
    found = tokens(BYTES, text)
    assert found[0].special
    assert (found[0].start, found[0].end) == (-1, -1)
    assert b"".join(token.data for token in found[1:]) == text.encode()
    for token in found[1:]:
        assert token.data.decode("utf-8", "ignore") in text[token.start : token.end] or token.group >= 0
        if token.group < 0:
            assert token.text == text[token.start : token.end]


def test_the_bytes_of_one_character_are_a_group() -> None:
    found = tokens(BYTES, "a🙂b狐")[1:]
    smile = [token for token in found if (token.start, token.end) == (1, 2)]
    fox = [token for token in found if (token.start, token.end) == (3, 4)]
    assert [len(smile), len(fox)] == [4, 3]
    assert {token.text for token in smile} == {"🙂"}
    assert {token.text for token in fox} == {"狐"}
    assert len({token.group for token in smile}) == len({token.group for token in fox}) == 1
    assert smile[0].group != fox[0].group
    assert min(smile[0].group, fox[0].group) >= 0
    assert found[0].group == -1


def test_byte_fallback_of_sentencepiece_is_a_group() -> None:
    found = tokens(PIECES, "the 狐 in")
    assert found[0].special
    words = [token for token in found[1:] if token.group < 0]
    fox = [token for token in found if token.group >= 0]
    assert [token.piece for token in fox] == ["<0xE7>", "<0x8B>", "<0x90>"]
    assert {(token.text, token.start, token.end) for token in fox} == {("狐", 4, 5)}
    assert b"".join(token.data for token in found[1:]) == " the 狐 in".encode()
    assert words[0].piece == "▁the"
    assert (words[0].start, words[0].end) == (0, 3)


def test_wordpiece_keeps_the_tokenizers_spans() -> None:
    text = "The QUICK fox jumping"
    found = tokens(WORDS, text)
    assert [token.text for token in found] == ["[CLS]", "the", "quick", "fox", "jump", "ing", "[SEP]"]
    assert [text[token.start : token.end] for token in found[1:-1]] == ["The", "QUICK", "fox", "jump", "ing"]
    assert [token.special for token in found] == [True, False, False, False, False, False, True]


@pytest.mark.parametrize(
    ("tokenizer", "literal"),
    [(BYTES, "<eos>"), (BYTES, "<bos>"), (PIECES, "<eos>"), (WORDS, "[SEP]"), (roberta_tokenizer(), "</s>")],
)
def test_special_tokens_written_in_a_text_are_text(tokenizer: Any, literal: str) -> None:
    text = f"the {literal} fox"
    plain = encode_plain(tokenizer, text, add_special=False)
    assert not special_ids(tokenizer) & set(plain) - {tokenizer.unk_token_id}
    asked = encode_plain(tokenizer, text, add_special=False, allow_special=True)
    assert tokenizer.convert_tokens_to_ids(literal) in asked
    assert tokenizer.convert_tokens_to_ids(literal) not in encode_plain(tokenizer, text, add_special=False)


def test_an_allowed_special_token_has_its_span() -> None:
    found = tokens(BYTES, "a<eos>b", add_special=False, allow_special=True)
    assert [(token.text, token.special, token.start, token.end) for token in found] == [
        ("a", False, 0, 1), ("<eos>", True, 1, 6), ("b", False, 6, 7),
    ]  # fmt: skip


def test_adding_special_tokens_is_a_choice() -> None:
    assert encode_plain(BYTES, "a")[0] == BYTES.bos_token_id
    assert BYTES.bos_token_id not in encode_plain(BYTES, "a", add_special=False)
    assert encode_plain(BYTES, "") == [BYTES.bos_token_id]


def test_texts_of_ids() -> None:
    assert token_texts(BYTES, encode_plain(BYTES, " the")) == ["<bos>", " the"]
    assert token_texts(BYTES, [99999]) == ["<99999>"]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30))
def test_spans_and_bytes_of_any_text(text: str) -> None:
    for tokenizer, prefix in ((BYTES, ""), (PIECES, " ")):
        found = tokens(tokenizer, text, add_special=False)
        if any(token.piece == "<unk>" for token in found) or (tokenizer is PIECES and "▁" in text):
            continue
        spelled = b"".join(token.data for token in found)
        assert spelled == ((prefix if text else "") + text).encode()
        position = 0
        for token in found:
            assert 0 <= token.start <= token.end <= len(text)
            assert token.start <= position + 1
            position = max(position, token.end)
        assert position == len(text)


@pytest.mark.real_models
def test_a_real_byte_level_tokenizer(smollm: Path) -> None:
    from models.events import finish
    from models.library import load

    tokenizer = finish(load(str(smollm))).tokenizer
    text = "Grüße 🙂 狐 \n\n  x=1 <|im_end|>"
    found = tokens(tokenizer, text)
    assert b"".join(token.data for token in found if not token.special) == text.encode()
    assert not any(token.special for token in found)
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") in encode_plain(tokenizer, text, allow_special=True)


@pytest.mark.real_models
def test_a_real_wordpiece_tokenizer(minilm: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(minilm)
    text = "Embeddings of naïve SENTENCES"
    found = tokens(tokenizer, text)
    assert [token.text for token in found] == ["[CLS]", "em", "bed", "ding", "s", "of", "naive", "sentences", "[SEP]"]
    assert text[found[-2].start : found[-2].end] == "SENTENCES"
