"""Whether two records hold the same: numbers within a tolerance, everything else exactly."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

NOT_COMPARED = {"seconds", "note", "device", "free", "receipt"}
RANKS = {"rank"}
SWAPPED = 0.02
"""Share of the ranks that may differ, by one: two tokens whose logits differ by less than rounding may change places."""


def differences(one: Any, other: Any, near: float, place: str = "") -> list[str]:
    """Return where two records differ by more than ``near``, absolutely and as a share of the larger (empty: nowhere).

    An array of numbers may differ in one of a thousand places (a rounded thumbnail, a tie).
    """
    if dataclasses.is_dataclass(one) and not isinstance(one, type):
        return _fields(one, other, near, place)
    if isinstance(one, list | tuple):
        if len(one) != len(other):
            return [f"{place}: {len(one)} and {len(other)} items"]
        return [text for n, pair in enumerate(zip(one, other, strict=True)) for text in differences(*pair, near, f"{place}[{n}]")]
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return [f"{place}: other keys"]
        return [text for key in one for text in differences(one[key], other[key], near, f"{place}[{key}]")]
    if isinstance(one, float) or (isinstance(one, np.ndarray) and one.dtype.kind == "f"):
        return _numbers(np.asarray(one, np.float64), np.asarray(other, np.float64), near, place)
    if isinstance(one, np.ndarray):
        same = one.shape == other.shape and bool(np.array_equal(one, other))
        return [] if same else [f"{place}: {one!r} and {other!r}"[:400]]
    return [] if one == other else [f"{place}: {one!r} and {other!r}"[:400]]


def _fields(one: Any, other: Any, near: float, place: str) -> list[str]:
    found = []
    for item in dataclasses.fields(one):
        first, second = getattr(one, item.name), getattr(other, item.name)
        if item.name in RANKS and isinstance(first, np.ndarray):
            found += _ranks(first, second, f"{place}.{item.name}")
        elif item.name not in NOT_COMPARED:
            found += differences(first, second, near, f"{place}.{item.name}")
    return found


def _ranks(one: Any, other: Any, place: str) -> list[str]:
    first, second = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if first.shape != second.shape:
        return [f"{place}: shapes {first.shape} and {second.shape}"]
    apart = np.where(np.isnan(first) & np.isnan(second), 0.0, abs(first - second))
    if (apart <= 1).all() and np.count_nonzero(apart) <= max(1, SWAPPED * first.size):  # a NaN is not
        return []
    return [f"{place}: {np.count_nonzero(apart)} of {first.size} ranks differ, by up to {apart.max()}"]


def _numbers(one: Any, other: Any, near: float, place: str) -> list[str]:
    if one.shape != other.shape:
        return [f"{place}: shapes {one.shape} and {other.shape}"]
    largest = max((float(abs(value)) for value in one.flat if math.isfinite(value)), default=1.0)
    fine = np.isclose(one, other, rtol=near, atol=near * max(1.0, largest), equal_nan=True)
    if np.count_nonzero(~fine) <= one.size / 1000:
        return []
    return [f"{place}: {np.count_nonzero(~fine)} of {one.size} differ: {one[~fine][:3]} and {other[~fine][:3]}"]
