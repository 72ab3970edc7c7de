"""What a second checkpoint changed in the weights of a first: relative norm, largest change, cosine, tensor by tensor."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from models.errors import UserError
from models.events import Partial, Progress, Work
from models.records.arrays import Array
from models.records.tensors import WeightChanges, counterparts, natural, place_of
from models.weight_values import Values, effective
from models.weights import PIECE, Weights
from models.words import _

BATCH = 32


@dataclass
class Change:
    """Sums over two tensors A and B that arrive in pieces."""

    first: float = 0.0
    second: float = 0.0
    product: float = 0.0
    delta: float = 0.0
    largest: float = 0.0
    differing: int = 0
    n: int = 0

    def add(self, a: Array, b: Array) -> None:
        """Take a piece of both, (n,) each."""
        if not a.size:
            return
        with np.errstate(all="ignore"):
            delta = b - a
            self.n += a.size
            self.differing += int(np.count_nonzero(delta))
            self.delta += _dot(delta, delta)
            self.largest = float(np.fmax(self.largest, np.abs(delta).max()) if self.largest == self.largest else np.nan)
            self.first += _dot(a, a)
            self.second += _dot(b, b)
            self.product += _dot(a, b)

    def row(self) -> tuple[float, float, float, float]:
        """Return ‖B − A‖ / ‖A‖, largest |B − A|, cosine of A and B, share of the elements that differ."""
        if self.first == 0:
            relative = 0.0 if self.delta == 0 else math.inf if self.delta == self.delta else math.nan
        else:
            relative = math.sqrt(self.delta / self.first) if self.delta >= 0 else math.nan
        both = math.sqrt(self.first) * math.sqrt(self.second)
        if both > 0 and self.delta == 0:
            cosine = 1.0
        else:
            cosine = max(-1.0, min(1.0, self.product / both)) if both > 0 and math.isfinite(both) else math.nan
        return relative, self.largest, cosine, self.differing / self.n if self.n else 0.0


def _dot(a: Array, b: Array) -> float:
    return float(np.einsum("i,i->", a, b, dtype=np.float64))


def changes(first: Weights, second: Weights) -> Work[WeightChanges]:
    """Return what the second checkpoint changed, sending those of each batch as they are known.

    Raises:
        UserError: If the two have no tensor in common, or an adapter's change cannot be computed.
    """
    a, b = effective(first), effective(second)
    pairs, only_first, only_second = counterparts(tuple(a), tuple(b))
    alike = [name for name in b if name in pairs and a[pairs[name]].shape == b[name].shape]
    if not alike:
        raise UserError(
            "weights.unlike",
            _("{first} and {second} have no tensor of the same name and shape.").format(first=first.path, second=second.path),
            _("Compare two stages of one model."),
        )
    alike.sort(key=natural)
    reshaped = tuple(sorted((name for name in pairs if name not in set(alike)), key=natural))
    total = sum(a[pairs[name]].n_bytes + b[name].n_bytes for name in alike) or 1
    rows: list[tuple[float, ...]] = []
    problems: dict[str, str] = {}
    done = sent = 0
    for name in alike:
        old, new = a[pairs[name]], b[name]
        rows.append((yield from _one(old, new, name, problems, (done, total))))
        done += old.n_bytes + new.n_bytes
        if len(rows) - sent >= BATCH:
            yield Partial(_record(first, second, alike[sent : len(rows)], rows[sent:]))
            sent = len(rows)
    whole = _record(first, second, alike, rows)
    return WeightChanges(
        whole.first, whole.second, whole.names, whole.layers, whole.modules, whole.relative, whole.maximum, whole.cosine,
        whole.changed, only_first, only_second, reshaped, problems,
    )  # fmt: skip


def _one(old: Values, new: Values, name: str, problems: dict[str, str], progress: tuple[int, int]) -> Work[tuple[float, ...]]:
    done, total = progress
    if problem := old.problem or new.problem:
        problems[name] = problem
        return (math.nan,) * 4
    change, n = Change(), old.n_elements
    for start in range(0, n, PIECE):
        yield Progress(done + (old.n_bytes + new.n_bytes) * start / n, total, _("comparing the weights"))
        end = min(start + PIECE, n)
        change.add(old.part(start, end), new.part(start, end))
    return change.row()


def _record(first: Weights, second: Weights, names: list[str], rows: list[tuple[float, ...]]) -> WeightChanges:
    places = [place_of(name) for name in names]
    relative, maximum, cosine, changed = np.asarray(rows, dtype=np.float32).reshape(len(names), 4).T.copy()
    layers, modules = np.array([layer for layer, _m in places], dtype=np.int32), tuple(module for _l, module in places)
    return WeightChanges(
        str(first.path), str(second.path), tuple(names), layers, modules, relative, maximum, cosine, changed
    )  # fmt: skip
