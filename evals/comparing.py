"""Paired comparison of two checkpoints on the same items."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from evals import asked, paired, replicates, stats
from evals.metrics._spec import pool_ratio
from evals.replicates import Replicates
from evals.scores import Scored
from models.events import Progress, Work, finish
from models.records.scores import Cell, Comparison
from models.words import _


@dataclass(frozen=True)
class Table:
    """A cell with the items behind it.

    ``hashes`` are of what the items hold: it tells which are the same; ``categories``: item → field → value. A group has the
    tables of its tasks as ``parts``; ``even``: whether each task counts alike, rather than each item.
    """

    cell: Cell
    scored: Scored
    hashes: tuple[str, ...]
    categories: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    parts: Mapping[str, Table] = field(default_factory=dict)
    even: bool = False
    replicates: Replicates | None = None
    """Scores of drawn corpora, of a metric whose items have no scores of their own; ``scored`` is empty then."""


def paired_rows(a: Table, b: Table) -> tuple[Scored, Scored]:
    """Return the items that both have, in a's order: the same content, whatever their place in the files."""
    if a.parts:
        return _paired_parts(a, b)
    places = {key: place for place, key in enumerate(_keys(b))}
    both = [(place, places[key]) for place, key in enumerate(_keys(a)) if key in places]
    return _take(a.scored, [place for place, _other in both]), _take(b.scored, [other for _place, other in both])


def _paired_parts(a: Table, b: Table) -> tuple[Scored, Scored]:
    """Return the items that both have of the tasks that both have; the same weights on either side."""
    found = {name: paired_rows(part, b.parts[name]) for name, part in a.parts.items() if name in b.parts}
    left, right = ({name: pair[side] for name, pair in found.items()} for side in (0, 1))
    return united(left, a.even), united(right, a.even)


def united(parts: Mapping[str, Scored], even: bool) -> Scored:
    """Return the items of several tasks, whose scores are means, as those of one.

    Args:
        parts: Task → its items.
        even: Whether the mean is to be that of the tasks' means: then an item of task t is multiplied by n / (k · n_t), n being
            the number of all items and k that of the tasks.
    """
    kept = {name: part for name, part in parts.items() if part.ids}
    n, made = sum(len(part.ids) for part in kept.values()), []
    for part in kept.values():
        made.append(part.statistics[:, 0] * (n / (len(kept) * len(part.ids)) if even else 1.0))
    values = np.concatenate(made) if made else np.empty(0)
    ids = tuple(f"{name}/{item}" for name, part in kept.items() for item in part.ids)
    named = [(name, one) for name, part in kept.items() for one in part.clusters or [""] * len(part.ids)]
    clusters = tuple(f"{name}/{one}" if one else "" for name, one in named) if any(one for _name, one in named) else None
    return Scored(ids, np.stack([values, np.ones(n)], axis=1), clusters, pool_ratio, True)


def _keys(table: Table) -> Iterator[tuple[str, int]]:
    """Yield the hash of every item (its name where there is none), and which it is among equal ones."""
    seen: Counter[str] = Counter()
    for name, content in zip(table.scored.ids, table.hashes, strict=True):
        key = content or name
        yield key, seen[key]
        seen[key] += 1


def _take(scored: Scored, places: Sequence[int]) -> Scored:
    clusters = None if scored.clusters is None else tuple(scored.clusters[place] for place in places)
    return replace(
        scored, ids=tuple(scored.ids[place] for place in places), statistics=scored.statistics[list(places)], clusters=clusters
    )


def difference(a: Table, b: Table, test: str = "bootstrap") -> tuple[paired.Outcome, stats.Flips | None] | None:
    """Return what a paired test finds, and which items flipped (0/1 metrics only); None without common items.

    ``test`` is that of corpus scores: ``bootstrap`` or ``randomisation``.
    """
    if a.replicates is not None and b.replicates is not None:
        drawn = replicates.difference((a.cell, a.replicates), (b.cell, b.replicates))
        return None if drawn is None else (drawn, None)
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
    n_tests = sum(not math.isnan(p) for p in adjusted)
    return [_row(a, b, outcome, flips, (p, n_tests)) for (a, b, (outcome, flips)), p in zip(found, adjusted, strict=True)]


def _row(a: Table, b: Table, outcome: paired.Outcome, flips: stats.Flips | None, adjusted: tuple[float, int]) -> Comparison:
    """Return a comparison; ``adjusted``: its p after the correction, and how many comparisons that was for."""
    p_adjusted, n_tests = adjusted
    result, cell = outcome.found, a.cell
    verdict = paired.verdict(result, p_adjusted, cell.direction)
    needed = paired.needed(result.value, outcome.error, result.n, n_tests=n_tests) if verdict == "unclear" else 0
    row = Comparison(
        benchmark=cell.benchmark, metric=cell.metric, a=cell.checkpoint, b=b.cell.checkpoint, difference=result.value,
        low=result.low, high=result.high, p_adjusted=p_adjusted, n=result.n, p=result.p, test=outcome.test,
        detectable=paired.detectable(outcome.error, n_tests=n_tests), n_needed=max(needed, result.n + 1) if needed else 0,
        verdict=verdict, unlike=asked.unlike(asked.of(cell), asked.of(b.cell)),
    )  # fmt: skip
    if flips is None:
        return row
    by = tuple(paired.flips_by(flips.gained, flips.lost, a.categories))
    return replace(row, gained=len(flips.gained), lost=len(flips.lost), by=by)
