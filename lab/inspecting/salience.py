"""`--salience METHOD`: how much each token counts for one prediction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lab.inspecting._section import Question, Section, Table, number
from models.columns import Column
from models.engine_ops import Operations
from models.errors import UserError
from models.events import Work
from models.records.salience import METHODS, NUMBERS, TEXTS, Salience, SalienceQuestion
from models.words import _


def parse(text: str) -> SalienceQuestion:
    """Read ``METHOD`` or ``METHOD,name=value,…`` with the names of ``SalienceQuestion``.

    A value is read to the next comma that begins another ``name=``, so that a token may be a comma.

    Raises:
        UserError: If there is no such name, or a number is none.
    """
    method, *parts = text.split(",")
    pairs: list[list[str]] = []
    for part in parts:
        name, is_pair, value = part.partition("=")
        if is_pair and name.strip() in (*NUMBERS, *TEXTS):
            pairs.append([name.strip(), value])
        elif pairs:
            pairs[-1][1] += "," + part
        else:
            raise _wrong(part)
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in NUMBERS:
            if not value.isdigit():
                raise _wrong(f"{name}={value}")
            values[name] = int(value)
        else:
            values[name] = value
    return SalienceQuestion(method=method.strip().replace("-", "_"), **values)


def _wrong(part: str) -> UserError:
    return UserError(
        "inspect.salience",
        _("--salience does not understand {part}.").format(part=repr(part)),
        _("Write METHOD or METHOD,name=value,… with one of {methods} and the names {names}.").format(
            methods=", ".join(METHODS), names=", ".join((*TEXTS, *NUMBERS))
        ),
    )


def ask(operations: Operations, column: Column, question: Question) -> Work[dict[str, Any]]:
    """Return the scores of each token (null for those left as they are) and what they explain."""
    from dataclasses import replace

    asked = replace(parse(str(question.value)), position=question.position)
    found = yield from operations.ask("salience", column, question.text, asked, question.target)
    return as_json(found)


def as_json(found: Salience) -> dict[str, Any]:
    """Return a record as JSON values."""
    return {
        "method": found.question.method, "statistic": found.question.statistic, "position": found.position,
        "token": {"id": found.token, "text": found.text, "probability": number(found.probability)},
        "contrast": {
            "id": found.contrast, "text": found.contrast_text, "probability": number(found.contrast_probability)
        } if found.contrast >= 0 else None,
        "value": number(found.value), "base": number(found.base), "baseline": found.baseline,
        "completeness_error": number(found.error), "forwards": found.n_forwards, "convention": found.convention,
        "notes": list(found.notes), "tokens": _scored(found.tokens, found.scores),
        "target": _scored(found.target_tokens, found.target_scores),
    }  # fmt: skip


def _scored(tokens: Any, scores: Any) -> list[dict[str, Any]]:
    return [
        {"id": token.id, "text": token.text or token.piece, "score": number(float(score))}
        for token, score in zip(tokens, scores, strict=True)
    ]


def tables(shown: dict[str, Any]) -> Iterator[Table]:
    """Yield one row per token, and what is explained in the title."""
    what = repr(shown["token"]["text"]) + (f" − {shown['contrast']['text']!r}" if shown["contrast"] else "")
    title = f"Salience ({shown['method']}) for the {shown['statistic']} of {what} = {shown['value']:.4f}"
    if shown["completeness_error"] is not None:
        title += f"; sums to it with an error of {shown['completeness_error']:.2g}"
    for name, part in ((title, shown["tokens"]), ("Target", shown["target"])):
        if part:
            yield name, ["", "token", "score"], [
                [str(i), repr(row["text"]), "" if row["score"] is None else f"{row['score']:+.4f}"] for i, row in enumerate(part)
            ]  # fmt: skip


SECTION = Section(
    "salience", 40, "--salience",
    "How much each token counts for one prediction (that of --position; -1: what comes next): " + ", ".join(METHODS)
    + "; more as METHOD,contrast=TOKEN,steps=64,…",
    ask, tables, metavar="METHOD",
)  # fmt: skip
