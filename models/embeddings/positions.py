"""How a model knows positions: a learned or sinusoidal table, rotary angles, or a bias for each distance."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from models.columns import Column
from models.embeddings.rows import Rows
from models.errors import UserError
from models.opened import OpenModel
from models.records.embeddings import KINDS, PositionTable
from models.words import _

MOST_ANGLES = 4096
"""Positions whose rotary angles are shown: they go on by the same formula."""
_TABLE = re.compile(r"(^|\.)(wpe|position_embeddings|embed_positions|position_embedding|pos_embed\w*)$")


def position_table(opened: OpenModel, column: Column) -> PositionTable:
    """Return how the model knows positions.

    A learned or sinusoidal table (Vaswani et al. 2017) is added to the embeddings; rotary angles (Su et al. 2021,
    arXiv 2104.09864), position × inverse frequency, turn pairs of query and key dimensions and are added to nothing;
    T5's relative bias (Raffel et al. 2020) is added to attention scores.

    Raises:
        UserError: If the model has none of these (ALiBi, recurrent models).
    """
    modules = list(opened.model.named_modules())
    for name, module in modules:
        weight: Any = getattr(module, "weight", None)
        if _TABLE.search(name) and getattr(weight, "ndim", 0) == 2:
            sinusoidal = "sinusoid" in type(module).__name__.lower()
            offset = int(getattr(module, "offset", 0) or 0)
            values = weight.detach().float().cpu().numpy()[offset:]
            kind = "sinusoidal" if sinusoidal else "learned"
            return PositionTable(column.name, kind, values, np.zeros(0, np.float32), name)
    for name, module in modules:
        frequencies = getattr(module, "inv_freq", None)
        if frequencies is not None and getattr(frequencies, "ndim", 0) == 1:
            return _rotary(opened, column, name, frequencies)
    for name, module in modules:
        if name.endswith("relative_attention_bias") and getattr(getattr(module, "weight", None), "ndim", 0) == 2:
            values = module.weight.detach().float().cpu().numpy()
            return PositionTable(column.name, "relative", values, np.zeros(0, np.float32), name)
    raise UserError(
        "positions.none", _("{name} has no table of positions and no rotary angles.").format(name=opened.name),
        _("Choose another source."),
    )  # fmt: skip


def _rotary(opened: OpenModel, column: Column, name: str, frequencies: Any) -> PositionTable:
    from models.trace import context_length

    inverse = frequencies.detach().double().cpu().numpy()
    n_positions = min(context_length(opened) or MOST_ANGLES, MOST_ANGLES)
    angles = np.arange(n_positions)[:, None] * inverse[None]
    waves = 2 * np.pi / np.maximum(inverse, 1e-30)
    return PositionTable(column.name, "rotary", angles.astype(np.float32), waves.astype(np.float32), name)


def position_rows(opened: OpenModel, column: Column) -> Rows:
    """Return one vector per position: the table's row; cosine and sine of each rotary angle; the biases of a distance."""
    table = position_table(opened, column)
    values = table.values
    if table.kind == "rotary":
        values = np.concatenate([np.cos(values), np.sin(values)], axis=1).astype(np.float32)
    notes = {
        "learned": _("learned table {name}"),
        "sinusoidal": _("sinusoidal table {name}"),
        "rotary": _("rotary ({name}): cosine and sine of each angle; they turn queries and keys and are added to nothing"),
        "relative": _("relative bias ({name}): one row per bucket of distances, one value per head"),
    }
    ids = np.arange(len(values), dtype=np.int64)
    kinds = np.full(len(values), KINDS.index("number"), np.uint8)
    labels = tuple(str(n) for n in range(len(values)))
    note = notes[table.kind].format(name=table.note)
    return Rows(column.name, values, ids, labels, kinds, np.zeros(len(values), np.int32), note)
