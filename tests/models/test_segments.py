"""Tokens put together to words, sentences and lines: by hand for each kind of tokenizer, and laws that always hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.records.tokens import Token
from models.segments import LEVELS, joined, segments, summed
from models.tokens import encode_with_spans, tokens_of
from tests.fakes import byte_tokenizer, sentencepiece_tokenizer, wordpiece_tokenizer

BYTE, PIECE, WORD = byte_tokenizer(), sentencepiece_tokenizer(), wordpiece_tokenizer()


def tokens(text: str, tokenizer=BYTE):
    ids, spans = encode_with_spans(tokenizer, text)
    return tokens_of(tokenizer, text, ids, spans)


def said(text: str, level: str, tokenizer=BYTE) -> list[str]:
    return [part.text for part in segments(tokens(text, tokenizer), level, text) if not part.special]


def letters(text: str) -> tuple[Token, ...]:
    """One token per character, each with the offsets of its character."""
    return tuple(Token(i, letter, letter, letter.encode(), i, i + 1) for i, letter in enumerate(text))


def cut(text: str, level: str) -> list[str]:
    return [part.text for part in segments(letters(text), level)]


def test_words_by_hand() -> None:
    assert said("The quick dog sleeps.", "word") == ["The", " quick", " dog", " sleeps", "."]
    assert said("The quick dog.", "word", PIECE) == [" The", " quick", " dog", "."]
    assert said("The quick jumping dog.", "word", WORD) == ["the", "quick", "jumping", "dog", "."]
    assert cut("it's 3.14, (well-known) e-mail…", "word") == ["it's", " 3.14", ",", " (", "well-known", ")", " e-mail", "…"]
    assert cut("one\n\ntwo", "word") == ["one", "\n\n", "two"]
    assert cut("cafe\u0301 naïve", "word") == ["cafe\u0301", " naïve"]
    assert cut("हिन्दी भाषा", "word") == ["हिन्दी", " भाषा"]


def test_a_script_without_spaces_and_emoji_stay_tokens() -> None:
    assert cut("中文。ok", "word") == ["中", "文", "。", "ok"]
    assert cut("Hi 👍🏽👩\u200d🔬!", "word") == ["Hi", " 👍🏽", "👩\u200d🔬", "!"]


def test_sentences_by_hand() -> None:
    assert cut("One. Two! Three?", "sentence") == ["One.", " Two!", " Three?"]
    assert cut("Dr. Smith has 3.14 pies, e.g. one. “Yes.” No", "sentence") == [
        "Dr. Smith has 3.14 pies, e.g. one.", " “Yes.”", " No",
    ]  # fmt: skip
    assert cut("So do I. Then he went.\nNew\n\nline", "sentence") == ["So do I.", " Then he went.\n", "New\n\n", "line"]
    assert cut("all is small. so what", "sentence") == ["all is small.", " so what"]
    assert cut("你好。“好吗？”他说。", "sentence") == ["你好。", "“好吗？”", "他说。"]
    assert said("The dog sleeps. The tree.", "sentence", WORD) == ["the dog sleeps.", "the tree."]


def test_lines_by_hand() -> None:
    assert cut("a b\nc\r\n\r\nd", "line") == ["a b\n", "c\r\n\r\n", "d"]
    assert said("the dog\nthe tree", "line", WORD) == ["the dog", "the tree"]
    assert said("the dog\nthe tree", "line", PIECE) == [" the dog\n", "the tree"]


@pytest.mark.parametrize("tokenizer", [BYTE, PIECE, WORD])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("text", ["", "a", "🙂 中文 <b>", "é\n\n ", "The dog. 狗！\nyes"])
def test_every_token_is_in_one_segment(tokenizer, level: str, text: str) -> None:
    found = tokens(text, tokenizer)
    parts = segments(found, level, text)
    assert [i for part in parts for i in range(part.first, part.last)] == list(range(len(found)))
    for part in parts:
        assert not part.special or part.last == part.first + 1
        inside = {found[i].group for i in range(part.first, part.last)} - {-1}
        outside = {t.group for i, t in enumerate(found) if not part.first <= i < part.last}
        assert not inside & outside


def test_byte_tokens_of_one_character_are_one() -> None:
    found = tokens("🙂")
    assert len(found) > 3
    assert [(part.last - part.first, part.text) for part in segments(found, "token")] == [(1, "<bos>"), (len(found) - 1, "🙂")]
    assert joined(found[1:]) == "🙂"


def test_sums() -> None:
    parts = segments(letters("ab cd"), "word")
    assert summed(np.array([1.0, np.nan, 2.0, -3.0, 0.5]), parts).tolist() == [1.0, -0.5]
    assert np.isnan(summed(np.full(5, np.nan), parts)).all()
    assert summed(np.zeros(0), ()).shape == (0,)


@given(st.text(max_size=60), st.sampled_from(LEVELS))
def test_coarser_levels_never_lose_a_character(text: str, level: str) -> None:
    found = letters(text)
    parts = segments(found, level)
    assert "".join(part.text for part in parts) == text
    assert len(segments(found, "line")) <= max(len(segments(found, "sentence")), 1) <= max(len(found), 1)


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="paragraph"):
        segments((), "paragraph")
