"""What a checkpoint's files hold: tensors, their statistics, one tensor as a picture, and what another checkpoint changed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from models.records.arrays import Array
from models.records.checkpoints import Description

CONTAINERS = frozenset({"layers", "layer", "h", "block", "blocks", "blk"})
"""Names of the lists that a model's layers stand in."""
PREFIXES = ("model.", "transformer.", "bert.", "roberta.", "base_model.model.", "gpt_neox.")
STATISTICS = ("relative", "maximum", "cosine")


@dataclass(frozen=True)
class TensorList:
    """Every tensor of a checkpoint, from its files' headers alone. All sequences have one entry per tensor.

    Args:
        names: Untrusted: shown as text only.
        shapes: As numpy and torch write them (rows first), for GGUF too.
        dtypes: As the file names them: F32, BF16, Q4_K, ...
        n_bytes: (n,) int64, bytes in the file.
        components: embedding, attention, mlp, norm, head, adapter or other.
        files: Name of the file that each stands in.
        tied: Names that are not stored, because they are another tensor → that tensor's name.
        config: The settings of config.json (of a GGUF's header), flattened, as text.
        n_tensors: How many the checkpoint has; more than there are names where the list was cut.
    """

    path: str
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    n_bytes: Array
    components: tuple[str, ...]
    files: tuple[str, ...]
    tied: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    n_tensors: int = 0

    def elements(self) -> Array:
        """Return (n,) int64 number of elements of each tensor."""
        return np.array([int(np.prod(shape, dtype=np.int64)) for shape in self.shapes], dtype=np.int64)


@dataclass(frozen=True)
class TensorStatistics:
    """Numbers about tensors, one entry per name.

    Args:
        mean, std, minimum, maximum: (n,) float32 over the finite elements; NaN where there are none. ``std`` is the
            population's (divided by n).
        nan, inf, zeros: (n,) float32, shares of all elements, 0 to 1.
        problems: Name → why a tensor could not be read; its numbers are NaN.
    """

    names: tuple[str, ...]
    mean: Array
    std: Array
    minimum: Array
    maximum: Array
    nan: Array
    inf: Array
    zeros: Array
    problems: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TensorDetail:
    """One matrix of one tensor (or of the difference of two): its values as a picture, and their histogram.

    Args:
        shape: Of the whole tensor. ``slice`` of ``n_slices`` counts the matrices of a tensor with more than two dimensions
            (leading dimensions in row-major order); ``leading`` are the indices of this one.
        rows, columns: Size of that matrix. A vector is folded into rows, the last one filled up with 0 (``folded``).
        region: (first row, end, first column, end) of the matrix that ``matrix`` covers.
        matrix: (r, c) float32: in each cell the value farthest from 0 of the block that it stands for; NaN wins.
        row_of, column_of: (r, c) int32, where in the matrix that value stands.
        counts: (bins,) int64 of the finite values of the whole slice; ``edges`` (bins + 1,) float32.
        other: Path of the checkpoint that was subtracted; empty for none.
    """

    path: str
    name: str
    dtype: str
    shape: tuple[int, ...]
    slice: int
    n_slices: int
    leading: tuple[int, ...]
    rows: int
    columns: int
    folded: bool
    region: tuple[int, int, int, int]
    matrix: Array
    row_of: Array
    column_of: Array
    counts: Array
    edges: Array
    statistics: TensorStatistics
    other: str = ""

    def index_of(self, row: int, column: int) -> tuple[int, ...]:
        """Return the index in the whole tensor of the value in a cell of ``matrix``; empty where a vector has ended."""
        r, c = int(self.row_of[row, column]), int(self.column_of[row, column])
        if not self.folded:
            return (*self.leading, r, c)
        place = r * self.columns + c
        return (place,) if place < int(np.prod(self.shape, dtype=np.int64)) else ()


@dataclass(frozen=True)
class WeightChanges:
    """What the second checkpoint changed in the weights of the first, one entry per tensor that both have.

    Args:
        names: As the second checkpoint writes them.
        layers: (n,) int32, -1 outside of the layers. ``modules``: name without the layer.
        relative: (n,) float32 ‖B − A‖ / ‖A‖, Frobenius norms; 0 where nothing changed, infinite where A is 0 and B is not.
        maximum: (n,) float32 largest |B − A|.
        cosine: (n,) float32 cosine of the angle between A and B as vectors; NaN where one of them is 0.
        changed: (n,) float32 share of the elements that differ at all.
        only_first, only_second, reshaped: Tensors that could not be compared.
    """

    first: str
    second: str
    names: tuple[str, ...]
    layers: Array
    modules: tuple[str, ...]
    relative: Array
    maximum: Array
    cosine: Array
    changed: Array
    only_first: tuple[str, ...] = ()
    only_second: tuple[str, ...] = ()
    reshaped: tuple[str, ...] = ()
    problems: Mapping[str, str] = field(default_factory=dict)


def place_of(name: str) -> tuple[int, str]:
    """Return (layer, module) of a parameter's name; layer -1 outside of the layers.

    ``model.layers.3.mlp.up_proj.weight`` → (3, ``mlp.up_proj``); ``encoder.block.0.layer.1.DenseReluDense.wi.weight`` →
    (0, ``encoder.layer.1.DenseReluDense.wi``).
    """
    parts = name.removesuffix(".weight").split(".")
    for i in range(1, len(parts)):
        if parts[i].isdecimal() and len(parts[i]) < 6 and parts[i - 1] in CONTAINERS:
            side = [part for part in parts[: i - 1] if part in ("encoder", "decoder")][:1]
            return int(parts[i]), ".".join([*side, *parts[i + 1 :]]) or parts[i - 1]
    return -1, ".".join(parts)


def natural(name: str) -> tuple[tuple[tuple[int, str], ...], ...]:
    """Return a key that sorts ``layers.10`` after ``layers.9``, and keeps the tensors of a module together."""
    return tuple(
        tuple((int(bit), "") if bit.isdecimal() and len(bit) < 12 else (-1, bit) for bit in re.split(r"(\d+)", part))
        for part in name.split(".")
    )


def counterparts(first: Sequence[str], second: Sequence[str]) -> tuple[dict[str, str], tuple[str, ...], tuple[str, ...]]:
    """Return (name in second → name in first, names only in first, names only in second).

    Equal names belong together; of the rest, those that are equal without the name of the base model in front
    (``bert.``, ``model.``), where that is unambiguous.
    """
    pairs = {name: name for name in second if name in set(first)}
    left = [name for name in first if name not in pairs]
    right = [name for name in second if name not in pairs]
    stems = _by_stem(left)
    for stem, names in _by_stem(right).items():
        if len(names) == 1 and len(stems.get(stem, ())) == 1:
            pairs[names[0]] = stems[stem][0]
    used = set(pairs.values())
    return pairs, tuple(n for n in first if n not in used), tuple(n for n in second if n not in pairs)


def _by_stem(names: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in names:
        stem = name
        while prefix := next((p for p in PREFIXES if stem.startswith(p)), ""):
            stem = stem.removeprefix(prefix)
        found.setdefault(stem, []).append(name)
    return found


def change_map(changes: WeightChanges, statistic: str) -> tuple[Array, tuple[int, ...], tuple[str, ...]]:
    """Return ((layers, modules) float32, the layers, the modules); NaN where a layer does not have a module.

    Args:
        changes: What to show.
        statistic: ``relative``, ``maximum`` or ``cosine`` (shown as 1 − cosine, so that 0 is no change).

    Raises:
        ValueError: For another statistic.
    """
    if statistic not in STATISTICS:
        raise ValueError(f"statistic {statistic!r} is not one of {STATISTICS}")
    values = np.asarray(getattr(changes, statistic), dtype=np.float32)
    values = 1 - values if statistic == "cosine" else values
    layers = tuple(sorted({int(layer) for layer in changes.layers if layer >= 0}))
    inside = [i for i in range(len(changes.names)) if changes.layers[i] >= 0]
    modules = tuple(dict.fromkeys(changes.modules[i] for i in inside))
    row, column = {n: i for i, n in enumerate(layers)}, {n: i for i, n in enumerate(modules)}
    found = np.full((len(layers), len(modules)), np.nan, dtype=np.float32)
    for i in inside:
        found[row[int(changes.layers[i])], column[changes.modules[i]]] = values[i]
    return found, layers, modules


def cards(descriptions: Sequence[Description | None], lists: Sequence[TensorList | None]) -> list[tuple[str, str, list[str]]]:
    """Return (group, label, value for each checkpoint) of everything that a card says; empty where one says nothing.

    Groups are: architecture, parameters, memory, tokenizer, config. What belongs to one label stands in one row.
    """
    rows: dict[tuple[str, str], list[str]] = {}
    for i, (what, tensors) in enumerate(zip(descriptions, lists, strict=True)):
        groups: dict[str, Mapping[str, object]] = {}
        if what is not None:
            groups = {
                "architecture": what.facts, "parameters": {k: f"{v:,}" for k, v in what.parameters.items()},
                "memory": {k: f"{v:,}" for k, v in what.memory.items()}, "tokenizer": what.tokenizer,
            }  # fmt: skip
        if tensors is not None:
            groups["config"] = tensors.config
        for group, values in groups.items():
            for label, value in values.items():
                rows.setdefault((group, label), [""] * len(descriptions))[i] = str(value)
    order = ("architecture", "parameters", "memory", "tokenizer", "config")
    return [(group, label, values) for name in order for (group, label), values in rows.items() if group == name]


def differs(values: Sequence[str]) -> bool:
    """Return whether the values of one row are not all the same."""
    return len(set(values)) > 1


RECORDS: tuple[type, ...] = (TensorList, TensorStatistics, TensorDetail, WeightChanges)
