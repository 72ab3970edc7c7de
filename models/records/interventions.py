"""Edits of a forward pass, and what they changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from models.columns import Column
from models.records.arrays import Array

HOW = ("zero", "mean", "scale", "patch")


@dataclass(frozen=True)
class Edit:
    """One change of one activation in a forward pass.

    Args:
        site: TransformerLens' name of the activation: ``blocks.3.attn.hook_z`` (heads), ``blocks.3.hook_attn_out``,
            ``blocks.3.mlp.hook_post`` (neurons), ``blocks.3.hook_mlp_out``, ``blocks.3.hook_resid_pre``,
            ``blocks.3.hook_resid_post``; ``encoder.3.…``, ``decoder.3.…`` (and ``cross_attn``) where there are two stacks.
        how: ``"zero"``; ``"mean"`` (its mean over the positions of the text); ``"scale"`` (times ``factor``);
            ``"patch"`` (its value in another forward: of ``text``, in ``column``).
        unit: Head of ``hook_z`` or neuron of ``hook_post``; -1 for the whole.
        factor: Only for ``"scale"``.
        positions: Tokens that are changed, negative ones counted from the end; empty for all.
        source_positions: Where a patch is taken from, one for each of ``positions``; empty for the same ones.
        text: Text of the forward that a patch is taken from; empty for the same text.
        target: What the decoder of an encoder-decoder is given there; empty for the same.
        column: The column that a patch is taken from; None for the same one.
    """

    site: str
    how: str = "zero"
    unit: int = -1
    factor: float = 1.0
    positions: tuple[int, ...] = ()
    source_positions: tuple[int, ...] = ()
    text: str = ""
    target: str = ""
    column: Column | None = None


@dataclass(frozen=True)
class Effect:
    """What edits changed in a model's predictions.

    Args:
        position: Token after which the movers are listed (for an encoder: at which).
        ids: (k,) int64, the tokens whose probability there changed most, largest change first. ``texts``: theirs.
        logits_before, logits_after, before, after: (k,) float32 of each: logits and probabilities.
        kl: (positions,) KL(unedited ‖ edited) in nats at each position of ``tokens``.
        entropy_before, entropy_after: At ``position``, nats.
    """

    position: int
    ids: Array
    texts: tuple[str, ...]
    logits_before: Array
    logits_after: Array
    before: Array
    after: Array
    kl: Array
    tokens: tuple[str, ...]
    entropy_before: float
    entropy_after: float
    note: str = ""


def edits_json(edits: Sequence[Edit]) -> str:
    """Return edits as JSON that ``edits_of`` reads; what is as usual is left out."""
    rows = []
    for edit in edits:
        row = {key: value for key, value in asdict(edit).items() if key in ("site", "how") or value != getattr(_USUAL, key)}
        if edit.column is not None:
            row["column"] = {key: value for key, value in asdict(edit.column).items() if value != _USUAL_COLUMN[key]}
        rows.append(row)
    return json.dumps(rows, ensure_ascii=False)


def edits_of(text: str) -> tuple[Edit, ...]:
    """Return edits from JSON: a list of objects with the fields of ``Edit`` (``column`` with those of ``Column``).

    Raises:
        ValueError: If it is something else.
    """
    found: Any = json.loads(text or "[]")
    if not isinstance(found, list) or not all(isinstance(row, dict) and isinstance(row.get("site"), str) for row in found):
        raise ValueError("edits are a list of objects, each with a site")
    return tuple(_edit(row) for row in found)


def _edit(row: dict[str, Any]) -> Edit:
    if unknown := sorted(set(row) - {field.name for field in fields(Edit)}):
        raise ValueError(f"an edit has no {', '.join(unknown)}")
    places = ("positions", "source_positions")
    values: dict[str, Any] = {name: tuple(int(place) for place in row[name]) for name in places if name in row}
    if row.get("column") is not None:
        given = {key: value for key, value in row["column"].items() if key != "sampler"}
        try:
            values["column"] = Column(**given)
        except TypeError as error:
            raise ValueError(f"a column has no such field: {error}") from error
    return Edit(**{**row, **values, "factor": float(row.get("factor", 1.0)), "unit": int(row.get("unit", -1))})


def edit_name(edit: Edit) -> str:
    """Return an edit in a few signs: ``L5H3 = 0``, ``L2 MLP × 0.5 @ 4``, ``L1 out ← SFT @ −1``."""
    stack, layer, *rest = edit.site.split(".")
    place = rest[-1]
    parts = {
        "hook_attn_out": " attn", "hook_cross_attn_out": " cross", "hook_mlp_out": " MLP", "hook_post": " MLP",
        "hook_resid_pre": " in", "hook_resid_post": " out", "hook_z": " attn",
    }  # fmt: skip
    named = parts.get(place, " " + ".".join(rest))
    if edit.unit >= 0:
        letter = "X" if "cross_attn" in rest else "H"
        named = f"{letter}{edit.unit}" if place == "hook_z" else f" MLP n{edit.unit}"
    source = edit.column.name if edit.column is not None else ""
    taken = " ".join(part for part in (source, repr(edit.text) if edit.text else "") if part) or "…"
    how = {"zero": " = 0", "mean": " = mean", "scale": f" × {edit.factor:g}", "patch": f" ← {taken}"}[edit.how]
    where = " @ " + ", ".join(str(place) for place in edit.positions) if edit.positions else ""
    return ("" if stack == "blocks" else stack + " ") + f"L{layer}{named}{how}{where}"


_USUAL = Edit("")
_USUAL_COLUMN = asdict(Column(""))
RECORDS: tuple[type, ...] = (Edit, Effect)
