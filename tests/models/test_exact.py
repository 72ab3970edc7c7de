"""Exact token ids of evaluated items, answers scored by other checkpoints, and the difference of words."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.columns import Column
from models.events import finish
from models.operations.answers import score_answer
from models.operations.exact import exact
from models.prompts import conversation, prepare
from models.shelf import Shelf
from models.word_difference import common, word_difference, words


@pytest.fixture
def shelf():
    return Shelf()


def column_of(tiny_lineage, name="sft"):
    return Column(str(tiny_lineage / name), dtype="float32", label=name)


def test_exact_ids_are_given_as_long_as_the_text_is_theirs(shelf, tiny_lineage):
    column = column_of(tiny_lineage)
    opened = finish(shelf.open(column))
    found = finish(exact(shelf, column, "<bos>The dog", " sleeps", rendered=True))
    bos = opened.tokenizer.bos_token_id
    assert found.ids[0] == bos
    assert found.ids[1] != bos  # not doubled
    assert found.text == "The dog sleeps"
    assert found.ids[: found.n_prompt] == tuple(opened.tokenizer.encode("<bos>The dog", add_special_tokens=False))
    held = replace(column, exact=found.ids)
    assert prepare(opened, held, found.text).ids == found.ids
    assert prepare(opened, held, "Another text").ids == prepare(opened, column, "Another text").ids
    odd = tuple(opened.tokenizer.encode("The", add_special_tokens=False)) + tuple(
        opened.tokenizer.encode(" dog", add_special_tokens=False)
    )
    assert prepare(opened, replace(column, exact=odd), "The dog").ids == odd  # not encoded anew: no BOS


def test_special_tokens_written_in_a_plain_prompt_are_text(shelf, tiny_lineage):
    column = column_of(tiny_lineage)
    found = finish(exact(shelf, column, "<bos>The dog"))
    assert "<bos>The dog" in found.text
    assert found.ids.count(found.ids[0]) == 1


def test_a_scored_choice_is_encoded_with_its_prompt(shelf, tiny_lineage):
    column = column_of(tiny_lineage)
    tokenizer = finish(shelf.open(column)).tokenizer
    found = finish(exact(shelf, column, "The dog", " sleeps", scored=True))
    assert found.ids == tuple(tokenizer.encode("The dog sleeps"))
    empty = finish(exact(shelf, column, "", "sleeps"))
    assert empty.ids[0] == tokenizer.bos_token_id
    assert empty.n_prompt == 1


def test_an_encoder_decoder_reads_the_answer_as_its_target(shelf, tiny):
    column = Column(str(tiny("t5")))
    opened = finish(shelf.open(column))
    found = finish(exact(shelf, column, "The dog", " sleeps", scored=True))
    plain = prepare(opened, column, "The dog", echo=False)
    answer = tuple(opened.tokenizer.encode(" sleeps", add_special_tokens=False))
    assert found.text == "The dog"
    assert found.ids == (*plain.ids, *plain.target_ids, *answer)
    assert found.n_prompt == len(found.ids) - len(answer)
    assert prepare(opened, replace(column, exact=found.ids), "The dog").target_ids == (*plain.target_ids, *answer)


def test_what_is_too_long_is_cut_at_the_left(shelf, tiny_lineage):
    found = finish(exact(shelf, column_of(tiny_lineage), "dog " * 5000, "end"))
    assert found.note
    assert found.text.endswith("end")
    assert found.n_prompt < len(found.ids)


def test_an_answer_is_scored_as_the_model_itself_would(shelf, tiny_lineage):
    column = column_of(tiny_lineage, "rlhf")
    opened = finish(shelf.open(column))
    messages = ({"role": "user", "content": "Where is the dog?"},)
    ids = tuple(opened.tokenizer.encode(" in the tree", add_special_tokens=False))
    strip = finish(score_answer(shelf, column, messages, " in the tree", ids))
    before = conversation(opened, column, messages).ids
    assert strip.written_from == len(before)
    assert tuple(token.id for token in strip.tokens) == (*before, *ids)
    with torch.no_grad():
        logits = opened.model(torch.tensor([[*before, *ids]])).logits[0].float().log_softmax(-1)
    wanted = [-float(logits[len(before) + n - 1, i]) for n, i in enumerate(ids)]
    assert np.allclose(strip.surprisal[len(before) :], wanted, atol=1e-4)
    other = finish(score_answer(shelf, column, messages, " in the tree", (ids[0],)))  # ids that are not this text's
    assert tuple(token.id for token in other.tokens) == (*before, *ids)


def longest(a, b):
    """The length of a longest common subsequence, by the table of lengths."""
    row = [0] * (len(a) + 1)
    for other in b:
        before = row[:]
        for place, word in enumerate(a, start=1):
            row[place] = before[place - 1] + 1 if word == other else max(row[place - 1], before[place])
    return row[-1]


TEXTS = st.lists(st.sampled_from(["a", "b", "c", " ", "  ", "\n", "狗", "."]), max_size=24).map("".join)


@given(first=TEXTS, second=TEXTS)
def test_what_two_texts_have_in_common_is_a_longest_subsequence_of_their_words(first, second):
    left, right = word_difference(first, second)
    for parts, text in ((left, first), (right, second)):
        assert "".join(part for _same, part in parts) == text
        assert all(part for _same, part in parts)
        assert all(one[0] != two[0] for one, two in pairwise(parts))
    assert "".join(part for same, part in left if same) == "".join(part for same, part in right if same)
    own, other = ([word for word in words(text) if not word.isspace()] for text in (first, second))
    pairs = common(own, other)
    assert all(own[i] == other[j] for i, j in pairs)
    assert all(i < k and j < m for (i, j), (k, m) in pairwise(pairs))
    assert len(pairs) == longest(own, other)


def test_words_differ_where_they_do():
    left, right = word_difference("The old dog sleeps.", "The dog sleeps well.")
    assert "".join(text for _same, text in left) == "The old dog sleeps."
    assert [text for same, text in left if not same] == [" old"]
    assert [text for same, text in right if not same] == [" well"]
    assert word_difference("", "a") == ([], [(False, "a")])
    assert word_difference("same", "same") == ([(True, "same")], [(True, "same")])
    assert word_difference("", "") == ([], [])
    assert word_difference("a\nb", "a b")[0] == [(True, "a"), (False, "\n"), (True, "b")]
    assert word_difference("a old b", "a new b")[0] == [(True, "a "), (False, "old"), (True, " b")]
    assert [text for same, text in word_difference("首都是翁布拉", "首都在翁布拉")[0] if not same] == ["是"]
    assert "".join(words("a  b\n中文 don't 🙂" * 3000)) == "a  b\n中文 don't 🙂" * 3000
    assert len(words("a b " * 9000)) <= 4001
