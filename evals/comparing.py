"""Paired comparison of two checkpoints on the same items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from evals import paired, stats
from evals.scores import Scored
from models.events import Progress, Work, finish
from models.records.scores import Cell, Comparison
from models.words import _


@dataclass(frozen=True)
class Table:
    """A cell with the items behind it.

    ``hashes`` tell whether two items of one name are really the same; ``categories``: item → field → value.
    """

    cell: Cell
    scored: Scored
    hashes: tuple[str, ...]
    categories: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def paired_rows(a: Table, b: Table) -> tuple[Scored, Scored]:
    """Return the items that both have, in a's order."""
    places = {name: (place, b.hashes[place]) for place, name in enumerate(b.scored.ids)}
    left, right = [], []
    for place, name in enumerate(a.scored.ids):
        other, content = places.get(name, (-1, ""))
        if other >= 0 and content == a.hashes[place]:
            left.append(place)
            right.append(other)
    return _take(a.scored, left), _take(b.scored, right)


def _take(scored: Scored, places: Sequence[int]) -> Scored:
    clusters = None if scored.clusters is None else tuple(scored.clusters[place] for place in places)
    return replace(
        scored, ids=tuple(scored.ids[place] for place in places), statistics=scored.statistics[list(places)], clusters=clusters
    )


def difference(a: Table, b: Table, test: str = "bootstrap") -> tuple[paired.Outcome, stats.Flips | None] | None:
    """Return what a paired test finds, and which items flipped (0/1 metrics only); None without common items.

    ``test`` is that of corpus scores: ``bootstrap`` or ``randomisation``.
    """
    left, right = paired_rows(a, b)
    if not left.ids:
        return None
    if not left.mean:
        assert left.pool is not None
        one = paired.of_corpora(left.statistics, right.statistics, left.pool, left.clusters, seed=a.cell.seed, test=test)
        return one, None
    x, y = left.statistics[:, 0], right.statistics[:, 0]
    found = paired.of_items(x, y, left.clusters)
    if a.cell.neutral or not np.all(np.isin(np.concatenate([x, y]), (0.0, 1.0))):
        return found, None
    good = (x, y) if a.cell.higher_is_better else (1 - x, 1 - y)
    before, after = (dict(zip(left.ids, map(float, values), strict=True)) for values in good)
    return found, stats.flips(before, after)


def compare_tables(pairs: Sequence[tuple[Table, Table]], test: str = "bootstrap") -> list[Comparison]:
    """Return one comparison per pair (a, b), p adjusted by Holm over all of them, and the verdict."""
    return finish(comparing(pairs, test))


def comparing(pairs: Sequence[tuple[Table, Table]], test: str = "bootstrap") -> Work[list[Comparison]]:
    """Do :func:`compare_tables`, telling how far it is."""
    found = []
    for place, (a, b) in enumerate(pairs):
        yield Progress(place, len(pairs), _("comparing"))
        one = difference(a, b, test)
        if one is not None:
            found.append((a, b, one))
    adjusted = stats.holm([outcome.found.p for _a, _b, (outcome, _flips) in found])
    return [_row(a, b, outcome, flips, p) for (a, b, (outcome, flips)), p in zip(found, adjusted, strict=True)]


def _row(a: Table, b: Table, outcome: paired.Outcome, flips: stats.Flips | None, p_adjusted: float) -> Comparison:
    result, cell = outcome.found, a.cell
    verdict = paired.verdict(result, p_adjusted, cell.direction)
    needed = paired.needed(result.value, outcome.error, result.n) if verdict == "unclear" else 0
    row = Comparison(
        benchmark=cell.benchmark, metric=cell.metric, a=cell.checkpoint, b=b.cell.checkpoint, difference=result.value,
        low=result.low, high=result.high, p_adjusted=p_adjusted, n=result.n, p=result.p, test=outcome.test,
        detectable=paired.detectable(outcome.error), n_needed=max(needed, result.n + 1) if needed else 0, verdict=verdict,
    )  # fmt: skip
    if flips is None:
        return row
    by = tuple(paired.flips_by(flips.gained, flips.lost, a.categories))
    return replace(row, gained=len(flips.gained), lost=len(flips.lost), by=by)
