"""Towards which group word a model leans: mean log p(a) − log p(b) over counterfactual pairs, in nats; 0 leans nowhere."""

from __future__ import annotations

from evals.metrics._spec import MetricSpec, Statistics


def item(difference: float, _text: str = "") -> Statistics:
    """Return (log p(a) − log p(b), 1) of a pair, in nats."""
    return (float(difference), 1.0)


METRIC = MetricSpec(
    name="counterfactual_lean",
    title="Counterfactual lean",
    description="Mean signed difference of the same pairs: above 0 towards the first group word, below 0 towards the second.",
    higher_is_better=False,
    inputs="likelihood",
    item=item,
    signature=lambda: "counterfactual_lean|nats|whole sentence|first minus second",
    scale="any",
    mean=False,
    neutral=True,
)
