"""What points look like: colours and sizes by any of their numbers, with the key that explains them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lab.ui.widgets.colors import Bytes, Rgb, Scheme
from lab.ui.widgets.point_layer import SIZES, Layer
from lab.ui.widgets.point_set import PointSet
from lab.ui.widgets.text import number
from models.records.arrays import Array
from models.records.embeddings import KINDS
from models.words import _

KNOWN = ("", "norm", "id", "kind")
"""What is known of points without another question."""
CATEGORIES = (
    (0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (213, 94, 0), (86, 180, 233), (148, 103, 189), (140, 86, 75),
    (188, 189, 34), (23, 190, 207), (127, 127, 127), (227, 119, 194),
)  # fmt: skip
"""Okabe and Ito's colours first: they can be told apart by colour-blind eyes, on light and on dark ground."""
STEPS = 64


def names() -> list[tuple[str, str]]:
    """Return (text, name) of what points can be coloured by, besides the columns of a file."""
    return [
        (_("Column"), ""), (_("Norm"), "norm"), (_("Id"), "id"), (_("Kind of token"), "kind"), (_("Length"), "length"),
        (_("Frequency in the text"), "frequency"), (_("Score (ln p)"), "score"), (_("Cluster"), "cluster"),
        (_("Moved"), "moved"),
    ]  # fmt: skip


def kind_names() -> tuple[str, ...]:
    """Return the names of the kinds of tokens, in the order of ``KINDS``."""
    named = {
        "special": _("special"), "word": _("word"), "inside": _("inside of a word"), "number": _("number"), "mark": _("mark"),
        "space": _("space"), "byte": _("part of a character"), "other script": _("other script"),
    }  # fmt: skip
    return tuple(named[kind] for kind in KINDS)


def numbers(points: PointSet, name: str) -> tuple[Array, tuple[str, ...]] | None:
    """Return (N,) numbers of the points and the names of their categories (empty for none); None if not there yet."""
    if name == "norm":
        return points.norms, ()
    if name == "id":
        return points.ids.astype(np.float32), ()
    if name == "kind":
        return points.kinds.astype(np.float32), kind_names()
    known = points.values.get(name)
    return (known.values, known.names) if known is not None else None


@dataclass(frozen=True)
class Key:
    """What the colours mean: ends of a scale, or names with colours."""

    title: str = ""
    low: str = ""
    high: str = ""
    entries: tuple[tuple[str, Rgb], ...] = ()


def scale_of(sets: list[PointSet], name: str) -> tuple[float, float]:
    """Return the ends of the scale of all columns: the 1st and the 99th percentile, so that one outlier hides nothing."""
    found = [held[0] for held in (numbers(points, name) for points in sets) if held is not None]
    joined = np.concatenate([values[:: max(1, len(values) // 20_000)] for values in found]) if found else np.zeros(0)
    joined = joined[np.isfinite(joined)]
    if not len(joined):
        return 0.0, 1.0
    low, high = np.percentile(joined, [1, 99])
    return float(low), float(high if high > low else low + 1)


def colour(layer: Layer, name: str, ends: tuple[float, float], colors: Scheme) -> None:
    """Give a layer its colours by a number of its points."""
    layer.codes = layer.table = None
    held = numbers(layer.points, name) if name else None
    if held is None:
        return
    values, categories = held
    if categories:
        layer.codes = np.nan_to_num(values).astype(np.uint8) % len(CATEGORIES)
        layer.table = np.array(CATEGORIES, np.uint8)
        return
    layer.codes = levels(values, ends)
    layer.table = np.concatenate([ramp(colors), np.array([colors.muted], np.uint8)])


def levels(values: Array, ends: tuple[float, float]) -> Array:
    """Return (N,) uint8 rows of the ramp; what has no number gets the row after its end."""
    with np.errstate(invalid="ignore"):
        steps = np.clip((values - ends[0]) / (ends[1] - ends[0]), 0, 1) * (STEPS - 1)
    return np.where(np.isfinite(values), np.nan_to_num(steps), STEPS).astype(np.uint8)


def ramp(colors: Scheme) -> Bytes:
    """Return (STEPS, 3) colours, none of them as pale as the background."""
    return np.asarray(colors.sequential[np.linspace(56, 255, STEPS).astype(int)], np.uint8)


def resize(layer: Layer, name: str, ends: tuple[float, float]) -> None:
    """Give a layer its sizes by a number of its points."""
    held = numbers(layer.points, name) if name else None
    layer.sizes = None
    if held is not None:
        share = np.nan_to_num(np.clip((held[0] - ends[0]) / (ends[1] - ends[0]), 0, 1))
        layer.sizes = np.minimum(share * SIZES, SIZES - 1).astype(np.uint8)


def key_of(sets: list[PointSet], name: str, title: str, ends: tuple[float, float]) -> Key:
    """Return what stands beside the controls."""
    if not name:
        return Key()
    held = next((held for held in (numbers(points, name) for points in sets) if held is not None), None)
    if held is None:
        return Key()
    if held[1]:
        return Key(title, entries=tuple((text, CATEGORIES[n % len(CATEGORIES)]) for n, text in enumerate(held[1])))
    digits = 0 if ends[1] - ends[0] >= 20 else 2
    return Key(title, number(ends[0], digits), number(ends[1], digits))
