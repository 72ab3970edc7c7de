"""Statistics of weights, tensor by tensor and piece by piece: mean, spread, range, NaN, infinities, zeros."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.errors import UserError
from models.events import Partial, Progress, Work
from models.records.arrays import Array
from models.records.tensors import TensorStatistics
from models.weights import Stored, pieces, why_unreadable
from models.words import _

BATCH = 64
"""Tensors that are sent together."""


@dataclass
class Moments:
    """Count, mean and squared deviations of numbers that arrive in pieces (Chan, Golub and LeVeque 1983, section 2)."""

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    nan: int = 0
    inf: int = 0
    zeros: int = 0

    def add(self, values: Array) -> None:
        """Take a piece, (n,) float32 or float64; what is not finite is only counted."""
        if not values.size:
            return
        with np.errstate(all="ignore"):
            self._add(values)

    def _add(self, values: Array) -> None:
        low, high = float(values.min()), float(values.max())  # NaN if there is one
        if not (math.isfinite(low) and math.isfinite(high)):
            nan = int(np.isnan(values).sum())
            finite = values[np.isfinite(values)]
            self.nan += nan
            self.inf += values.size - nan - finite.size
            values = finite
            if not values.size:
                return
            low, high = float(values.min()), float(values.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.zeros += values.size - int(np.count_nonzero(values))
        mean = float(values.mean(dtype=np.float64))
        centre = values.dtype.type(mean)
        centred = values - centre
        squares = float(np.einsum("i,i->", centred, centred, dtype=np.float64)) - values.size * (mean - float(centre)) ** 2
        n, shift = self.n + values.size, mean - self.mean
        self.squares += squares + shift * shift * self.n * values.size / n
        self.mean += shift * values.size / n
        self.n = n

    def row(self) -> tuple[float, ...]:
        """Return mean, std, minimum, maximum, shares of NaN, infinities and zeros."""
        total = self.n + self.nan + self.inf
        shares = [count / total if total else 0.0 for count in (self.nan, self.inf, self.zeros)]
        if not self.n:
            return (math.nan, math.nan, math.nan, math.nan, *shares)
        return (self.mean, math.sqrt(max(self.squares, 0.0) / self.n), self.low, self.high, *shares)


EMPTY = (math.nan,) * 7


def table(names: Sequence[str], rows: Sequence[tuple[float, ...]], problems: dict[str, str] | None = None) -> TensorStatistics:
    """Return rows of ``Moments.row`` as a record."""
    mean, std, low, high, nan, inf, zeros = np.asarray(rows, dtype=np.float32).reshape(len(names), 7).T.copy()
    return TensorStatistics(tuple(names), mean, std, low, high, nan, inf, zeros, problems or {})


def statistics(tensors: Sequence[Stored]) -> Work[TensorStatistics]:
    """Return the statistics of tensors, reading one piece at a time; those of each batch are sent as they are known."""
    total = sum(tensor.n_bytes for tensor in tensors) or 1
    rows: list[tuple[float, ...]] = []
    problems: dict[str, str] = {}
    done = sent = 0
    for tensor in tensors:
        yield Progress(done, total, _("statistics of the weights"))
        rows.append((yield from _one(tensor, done, total, problems)))
        done += tensor.n_bytes
        if len(rows) - sent >= BATCH:
            yield Partial(_part(tensors, rows, problems, sent))
            sent = len(rows)
    return table([tensor.name for tensor in tensors], rows, problems)


def _part(tensors: Sequence[Stored], rows: list[tuple[float, ...]], problems: dict[str, str], start: int) -> TensorStatistics:
    names = [tensor.name for tensor in tensors[start : len(rows)]]
    return table(names, rows[start:], {name: problems[name] for name in names if name in problems})


def _one(tensor: Stored, done: int, total: int, problems: dict[str, str]) -> Work[tuple[float, ...]]:
    if reason := why_unreadable(tensor):
        problems[tensor.name] = reason
        return EMPTY
    moments, read = Moments(), 0
    try:
        for piece in pieces(tensor):
            moments.add(piece)
            read += piece.size
            if read < tensor.n_elements:
                yield Progress(done + tensor.n_bytes * read / tensor.n_elements, total, _("statistics of the weights"))
    except UserError as error:
        problems[tensor.name] = error.what
        return EMPTY
    return moments.row()
