"""Paired comparison of two checkpoints on the same items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from evals import stats
from evals.scores import Scored
from models.records.scores import Cell, Comparison


@dataclass(frozen=True)
class Table:
    """A cell with the items behind it; ``hashes`` tell whether two items of one name are really the same."""

    cell: Cell
    scored: Scored
    hashes: tuple[str, ...]


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


def difference(a: Table, b: Table) -> tuple[stats.Interval, stats.Flips | None] | None:
    """Return b − a with interval and p, and which items flipped (0/1 metrics only); None without common items."""
    left, right = paired_rows(a, b)
    if not left.ids:
        return None
    if not left.mean:
        assert left.pool is not None
        seed = a.cell.seed
        return stats.paired_bootstrap(left.statistics, right.statistics, left.pool, left.clusters, seed=seed), None
    x, y = left.statistics[:, 0], right.statistics[:, 0]
    found = stats.paired_difference(x, y, left.clusters)
    if not np.all(np.isin(np.concatenate([x, y]), (0.0, 1.0))):
        return found, None
    good = (x, y) if a.cell.higher_is_better else (1 - x, 1 - y)
    one, other = (dict(zip(left.ids, map(float, values), strict=True)) for values in good)
    return found, stats.flips(one, other)


def compare_tables(pairs: Sequence[tuple[Table, Table]]) -> list[Comparison]:
    """Return one comparison per pair (a, b), p adjusted by Holm over all of them."""
    rows = []
    for a, b in pairs:
        found = difference(a, b)
        if found is None:
            continue
        result, flipped = found
        gained, lost = (-1, -1) if flipped is None else (len(flipped.gained), len(flipped.lost))
        cell = a.cell
        rows.append(
            Comparison(
                benchmark=cell.benchmark,
                metric=cell.metric,
                a=cell.checkpoint,
                b=b.cell.checkpoint,
                difference=result.value,
                low=result.low,
                high=result.high,
                p_adjusted=result.p,
                n=result.n,
                gained=gained,
                lost=lost,
            )
        )
    adjusted = stats.holm([row.p_adjusted for row in rows])
    return [replace(row, p_adjusted=p) for row, p in zip(rows, adjusted, strict=True)]
