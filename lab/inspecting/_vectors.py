"""What the sections about embeddings have in common: which vectors, and how the plane is made, as words on a command line."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from lab.inspecting._section import Question
from models.errors import UserError
from models.words import _

if TYPE_CHECKING:
    from models.records.embeddings import PlaneAsked, RowsAsked


def rows_asked(question: Question) -> RowsAsked:
    """Return the vectors that ``--rows SOURCE[:LAYER[:WHERE]]`` and ``--texts FILE`` name.

    Raises:
        UserError: If the layer is no number.
    """
    from models.records.embeddings import RowsAsked

    source, layer, place = (*str(question.others.get("rows") or "input").split(":"), "", "")[:3]
    file = str(question.others.get("texts") or "")
    try:
        number = int(layer or -1)
    except ValueError as cause:
        what = _("--rows {text} names no layer.").format(text=question.others["rows"])
        raise UserError("inspect.rows", what, _("Write SOURCE:LAYER:WHERE, such as hidden:3:mean.")) from cause
    if source in ("input", "output", "positions"):
        return RowsAsked(source)
    return RowsAsked(source, number, place or "each", "" if file else question.text, file)


def plane_asked(question: Question) -> PlaneAsked:
    """Return the plane that ``--projection METHOD`` and ``--plane NAME=VALUE;…`` name.

    Raises:
        UserError: If a setting is unknown or its value cannot be read.
    """
    from models.records.embeddings import PlaneAsked

    plane = PlaneAsked(str(question.value))
    for word in str(question.others.get("plane") or "").split(";"):
        if not word.strip():
            continue
        name, _equals, value = word.strip().partition("=")
        try:
            plane = dataclasses.replace(plane, **{name: _value(name, value)})
        except (KeyError, ValueError) as cause:
            what = _("--plane has no setting {text}.").format(text=word.strip())
            raise UserError("inspect.plane", what, _("Write such as seed=1;neighbours=20;align=procrustes.")) from cause
    return plane


def _value(name: str, value: str) -> Any:
    if name == "axes":
        return tuple(tuple(word.strip() for word in end.split(",") if word.strip()) for end in value.split("|"))
    if name == "components":
        return tuple(int(n) for n in value.split(","))
    readers: dict[str, type] = {"seed": int, "neighbours": int, "spread": float, "align": str}
    return readers[name](value)


def token_of(text: str) -> int | str:
    """Return the token that a word means; ``#12`` is the id, or the row, 12."""
    return int(text[1:]) if text.startswith("#") and text[1:].isdigit() else text


def listed(texts: Any, scores: Any, ids: Any) -> list[dict[str, Any]]:
    """Return a ranking as JSON values."""
    return [
        {"id": int(id), "text": text, "score": float(score)} for id, text, score in zip(ids, texts, scores, strict=True)
    ]
