"""The corner of an array that is shown, and small comparisons of what a model computed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.records.inside import Part


@dataclass(frozen=True)
class Window:
    """Which rows and columns are shown.

    Args:
        position: The token that is followed.
        rows: How many tokens at most; the window ends at the position, or is around it where both sides are seen.
        columns: How many dimensions at most.
        both_sides: Whether what follows the position is seen (encoders).
    """

    position: int
    rows: int = 24
    columns: int = 64
    both_sides: bool = False

    def of(self, length: int, most: int) -> tuple[int, int]:
        """Return first and one after the last of ``length`` places along the text, at most ``most`` of them."""
        end = min(length, self.position + 1 + (most // 2 if self.both_sides else 0))
        end = max(end, min(length, most)) if self.both_sides else max(1, end)
        return max(0, end - most), end

    def matrix(self, name: str, values: Any, labels: Sequence[str]) -> Part:
        """Return (time, width) with the rows around the position and the first columns; a tensor or array."""
        first, last = self.of(int(values.shape[0]), self.rows)
        shown = numbers(values[first:last, : self.columns])
        marked = self.position - first if first <= self.position < last else -1
        return Part(name, shown, tuple(labels[first:last]), (), first, 0, (int(values.shape[0]), int(values.shape[1])), marked)

    def all_rows(self, name: str, values: Any, labels: Sequence[str], first: int = 0, marked: int = -1) -> Part:
        """Return (rows, width) with these row labels and the first columns."""
        shape = (int(values.shape[0]), int(values.shape[1]))
        return Part(name, numbers(values[:, : self.columns]), tuple(labels), (), first, 0, shape, marked)

    def vector(self, name: str, values: Any, label: str) -> Part:
        """Return one row."""
        return self.all_rows(name, values[None], (label,), marked=0)

    def squares(self, name: str, values: Any, rows: Sequence[str], columns: Sequence[str]) -> Part:
        """Return (queries, keys) with the rows and the keys around the position."""
        top, bottom = self.of(int(values.shape[0]), self.rows)
        left, right = self.of(int(values.shape[1]), self.columns) if len(rows) == len(columns) else (0, self.columns)
        shown = numbers(values[top:bottom, left:right])
        marked = self.position - top if top <= self.position < bottom else -1
        shape = (int(values.shape[0]), int(values.shape[1]))
        return Part(name, shown, tuple(rows[top:bottom]), tuple(columns[left:right]), top, left, shape, marked)


def numbers(values: Any) -> Any:
    """Return a tensor or array as float32."""
    found = values.detach().cpu().float().numpy() if hasattr(values, "detach") else np.asarray(values, dtype=np.float32)
    return np.ascontiguousarray(np.where(found < -1e30, -np.inf, found), dtype=np.float32)


def same(a: Any, b: Any, near: float = 1e-4) -> bool:
    """Return whether two tensors are equal up to ``near`` of their size."""
    if a is None or b is None or a.shape != b.shape:
        return False
    return not a.numel() or distance(a, b) <= near * (1 + float(b.abs().max()))


def distance(a: Any, b: Any) -> float:
    """Return the largest absolute difference of two tensors; NaN if one is missing or they differ in shape."""
    if a is None or b is None or a.shape != b.shape:
        return math.nan
    return float((a - b).abs().max()) if a.numel() else 0.0


def norm_facts(module: Any, row: Any) -> dict[str, float | int | str]:
    """Return what kind of norm a module is, and mean, spread and size of the row that it is given."""
    kind = "layer" if "layernorm" in type(module).__name__.lower() and getattr(module, "bias", None) is not None else "rms"
    if type(module).__name__ == "LayerNorm":
        kind = "layer"
    facts: dict[str, float | int | str] = {"norm": kind}
    if row is not None:
        facts |= {
            "mean": float(row.mean()), "std": float(row.std(unbiased=False)), "rms": float((row**2).mean().sqrt()),
        }  # fmt: skip
    return facts
