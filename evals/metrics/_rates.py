"""Rates of verdicts: which share of the items was judged so."""

from __future__ import annotations

from evals.metrics._spec import MetricSpec, Statistics


def spec(
    name: str, title: str, description: str, *, verdicts: frozenset[str], higher_is_better: bool, neutral: bool = False
) -> MetricSpec:  # fmt: skip
    """Return the metric that counts ``verdicts`` (words of ``models.world.verdicts``)."""

    def item(verdict: str) -> Statistics:
        return (float(verdict in verdicts), 1.0)

    def signature() -> str:
        return f"{name}|verdicts:{'+'.join(sorted(verdicts))}"

    return MetricSpec(
        name=name,
        title=title,
        description=description,
        higher_is_better=higher_is_better,
        inputs="verdict",
        item=item,
        signature=signature,
        binary=True,
        neutral=neutral,
    )
