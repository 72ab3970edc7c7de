"""`--attribution TOKEN`: which embedding, head and MLP wrote the logit of a token, or of one minus another (`A-B`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lab.inspecting._section import Question, Section, Table
from models.columns import Column
from models.engine_ops import Operations
from models.errors import UserError
from models.events import Work


def token_of(text: str) -> int | str:
    """Return what names a token: ``#42`` is an id, ``top`` (or nothing) the most probable one, anything else its text."""
    if text in ("", "top"):
        return -1
    return int(text[1:]) if text[:1] == "#" and text[1:].isdigit() else text


def pairs_of(text: str) -> Iterator[tuple[int | str, int | str]]:
    """Yield the ways to read ``A-B``: as one token, then split at each dash that has something on both sides."""
    yield token_of(text), -1
    for place, sign in enumerate(text):
        if sign == "-" and text[:place] and text[place + 1 :]:
            yield token_of(text[:place]), token_of(text[place + 1 :])


def ask(operations: Operations, column: Column, question: Question) -> Work[dict[str, Any]]:
    """Return the contribution of every part, which sum to the logit."""
    from models.api_residual import read_edits

    named = {"position": question.position, "target": question.target, "edits": read_edits(question.edits)}
    first: UserError | None = None
    for token, against in pairs_of(str(question.value)):
        try:
            found = yield from operations.ask("attribution", column, question.text, token=token, against=against, **named)
        except UserError as error:
            if not error.id.startswith("token."):
                raise
            first = first or error
            continue
        return {
            "position": found.position, "ids": list(found.ids), "tokens": list(found.texts), "logit": found.logit,
            "total": found.total, "final": found.final, "embedding": found.embedding, "positional": found.positional,
            "heads": _floats(found.heads), "cross": _floats(found.cross), "mlps": _floats(found.mlps),
            "biases": _floats(found.biases), "edits": found.edits, "norm_bias": found.norm_bias, "head_bias": found.head_bias,
            "ranked": [[name, value] for name, value in found.ranked()[: question.top]], "note": found.note,
        }  # fmt: skip
    assert first is not None
    raise first


def _floats(values: Any) -> Any:
    return values.tolist()


def tables(shown: dict[str, Any]) -> Iterator[Table]:
    """Yield the largest contributions."""
    what = " − ".join(repr(text) for text in shown["tokens"])
    note = f"; {shown['note']}" if shown["note"] else ""
    title = f"Logit of {what} after token {shown['position']}: {shown['logit']:.4f} = sum of all parts{note}"
    yield title, ["part", "contribution"], [[name, f"{value:+.4f}"] for name, value in shown["ranked"]]


SECTION = Section(
    "attribution", 52, "--attribution",
    "Which parts wrote the logit of TOKEN, or of A-B; #42 is a token's id, 'top' the most probable token.", ask, tables,
    metavar="TOKEN",
)  # fmt: skip
