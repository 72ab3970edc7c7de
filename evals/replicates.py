"""Scores of a corpus drawn again and again, kept beside the score: two columns that drew alike are compared without code.

A metric of the library ``evaluate`` that is no mean of its items runs on every drawn corpus when it is scored. Which items are
drawn depends on the seed and the items alone, so the draws of two checkpoints belong together: their differences are the
paired bootstrap (Koehn 2004). Swapping answers (approximate randomisation) would need the metric's code again.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evals import files, scores, stats
from evals.paired import Outcome
from models.records.scores import Cell
from models.words import _

KEY = "replicates"
ONE, LONG, FEW = "there is only one", "it takes too long", "the metric takes too few of the drawn corpora"
"""Why there are none, as results files keep it."""
LEAST = 50
"""Fewer drawn corpora that have a score, in both columns, make no interval."""


@dataclass(frozen=True)
class Replicates:
    """The scores of drawn corpora.

    Args:
        values: (B,) scores, NaN where the metric took a drawn corpus for none.
        drawn: Hash of what was drawn: items, their clusters, seed. ``script``: the first digits of the metric's hash.
        n: Items.
        why: Why there are none, in words; empty if there are.
    """

    values: NDArray[np.float64]
    drawn: str
    script: str
    n: int
    why: str = ""


def draws(n: int, clusters: Sequence[str] | None, seed: int, count: int) -> Iterator[list[int]]:
    """Yield the items of each drawn corpus: as many clusters as there are (items where there are none), drawn with return."""
    groups: dict[Any, list[int]] = {}
    for place in range(n):
        groups.setdefault(clusters[place] if clusters else place, []).append(place)
    kinds = list(groups.values())
    generator = np.random.default_rng(seed)
    for _number in range(count):
        chosen = generator.integers(len(kinds), size=len(kinds))
        yield [place for kind in chosen for place in kinds[kind]]


def drawn_from(rows: Sequence[Mapping[str, Any]], clusters: Sequence[str] | None, seed: int) -> str:
    """Return the hash of everything that decides which items are drawn, in their order."""
    items = [str(row.get("doc_hash", "")) or scores.item_id(row) for row in rows]
    return hashlib.sha256(json.dumps([items, list(clusters or ()), seed]).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def to_json(found: Replicates) -> dict[str, Any]:
    """Return them as a results file keeps them."""
    values = [float(f"{value:.9g}") if math.isfinite(value) else None for value in found.values.tolist()]
    return {"values": values, "drawn": found.drawn, "script": found.script, "n": found.n, "why": found.why}


def read(cell: Cell) -> Replicates | None:
    """Return those of a score; None where the file has none."""
    try:
        row = files.read_results(Path(cell.run))[files.OURS][KEY][cell.benchmark][cell.metric]
        values = np.array([math.nan if value is None else float(value) for value in row["values"]], dtype=np.float64)
        return Replicates(values, str(row["drawn"]), str(row["script"]), int(row["n"]), str(row.get("why") or ""))
    except (KeyError, TypeError, ValueError):
        return None


def difference(a: tuple[Cell, Replicates], b: tuple[Cell, Replicates]) -> Outcome | None:
    """Return the paired bootstrap of b − a; None where they were not drawn alike (``obstacle`` says why)."""
    if obstacle(*a, *b):
        return None
    delta = b[1].values - a[1].values
    found = stats.of_resamples(b[0].value - a[0].value, delta[np.isfinite(delta)], a[1].n)
    return Outcome(found, "paired bootstrap", (found.high - found.low) / (2 * stats.z_value()))


def told(found: Replicates) -> str:
    """Return in a sentence by what a score can be compared in pairs."""
    if found.why:
        return _("none: its items cannot be drawn again, {why}").format(why=_said(found.why))
    return _("paired bootstrap over {n} corpora drawn of the same {items} items").format(n=len(found.values), items=found.n)


def _said(why: str) -> str:
    """Return in words why there are none."""
    known = {ONE: _("there is only one"), LONG: _("it takes too long"), FEW: _("the metric takes too few of the drawn corpora")}
    return known.get(why, why)


def obstacle(a: Cell, left: Replicates | None, b: Cell, right: Replicates | None) -> str:
    """Return in a sentence why two scores cannot be compared on drawn corpora; empty if they can."""
    for cell, own in ((a, left), (b, right)):
        if own is None:
            return _("{name} has no drawn corpora yet: `triptych rescore` again makes them.").format(name=cell.checkpoint)
        if own.why:
            return _("The items of {name} cannot be drawn again: {why}.").format(name=cell.checkpoint, why=_said(own.why))
    assert left is not None
    assert right is not None
    if left.script != right.script:
        return _("The two were scored by different versions of the metric.")
    if left.drawn != right.drawn or left.values.shape != right.values.shape:
        return _("The two were not scored on the same items with the same seed: score both alike.")
    n_both = int(np.isfinite(right.values - left.values).sum())
    if n_both < LEAST:
        return _("Only {n} of the drawn corpora have a score in both.").format(n=n_both)
    return ""
