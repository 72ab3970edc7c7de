"""One answer as every checkpoint sees it: the probability of each of its tokens after the same messages."""

from __future__ import annotations

from collections.abc import Mapping

from models.columns import Column
from models.events import Work
from models.operations._asked import check_text
from models.records.tokens import TokenStrip
from models.shelf import Shelf


def score_answer(
    shelf: Shelf, column: Column, messages: tuple[Mapping[str, str], ...], answer: str, token_ids: tuple[int, ...] = ()
) -> Work[TokenStrip]:
    """Return messages and answer as tokens, each with its surprisal; ``written_from`` is where the answer begins.

    Args:
        shelf: Open models.
        column: The checkpoint that judges; the messages are put to it as it would be asked them in Chat.
        messages: The conversation up to the answer.
        answer: What some checkpoint answered.
        token_ids: The tokens that it was written in; used where they mean the same text to this checkpoint, so that one's own
            answer is scored as it was drawn.
    """
    from models.prompts import conversation, extended, tokenizer_of, written
    from models.surprisal import strip
    from models.tokens import encode_plain, special_ids

    check_text(answer)
    opened = yield from shelf.open(column)
    tokenizer = tokenizer_of(opened)
    special = special_ids(tokenizer)
    n_known = len(tokenizer)
    kept = tuple(i for i in token_ids if 0 <= i < n_known and i not in special)
    same = bool(kept) and written(tokenizer, kept) == answer
    ids = kept if same else tuple(encode_plain(tokenizer, answer, False))
    prepared = extended(opened, conversation(opened, column, messages), ids)
    trace = shelf.trace(column, opened, prepared.ids, prepared.target_ids)
    return (yield from strip(opened, prepared, trace))


OPERATIONS = {"score_answer": score_answer}
