"""What a sampler chain did to one prediction, stage by stage."""

from __future__ import annotations

from dataclasses import dataclass

from models.records.arrays import Array
from models.records.sampling import Distribution


@dataclass(frozen=True)
class StageResult:
    """The distribution after one stage, and what the stage removed.

    Args:
        text: The stage as it stands in the chain, such as ``top_k=40``. ``on``: whether it was applied.
        probabilities: (k,) float32 after this stage, of the tokens that ``SamplerChain.distribution`` lists.
        entropy: After this stage, nats. ``n_left``: how many tokens have a probability above 0.
        n_removed: How many tokens this stage removed. ``mass``: their probability before it, together.
        removed_ids: (≤ 12,) int64 of them, most probable first, with ``removed_texts`` and ``removed_probabilities``.
        best_id: The most probable token after this stage, with its text and probability.
    """

    text: str
    on: bool
    probabilities: Array
    entropy: float
    n_left: int
    n_removed: int
    mass: float
    removed_ids: Array
    removed_texts: tuple[str, ...]
    removed_probabilities: Array
    best_id: int
    best_text: str
    best_probability: float


@dataclass(frozen=True)
class Outcome:
    """What another chain would have made of the same prediction.

    Args:
        name: Of the preset. ``chain``: its text. ``failure``: why it could not be applied; empty if it could.
        best_text: Its most probable token. ``drawn_text``: what it draws with the column's seed.
    """

    name: str
    chain: str
    failure: str = ""
    best_id: int = -1
    best_text: str = ""
    best_probability: float = 0.0
    drawn_id: int = -1
    drawn_text: str = ""
    drawn_probability: float = 0.0
    entropy: float = 0.0
    n_left: int = 0


@dataclass(frozen=True)
class SamplerChain:
    """One prediction through a whole chain.

    Args:
        distribution: Before and after the whole chain; tokens that only the chain brings up are listed too.
        chain: Its text. ``stages``: one result per stage, those that are off too, in order.
        outcomes: What other presets make of it; the first is the chain itself.
        path: Token ids put behind the text. ``path_texts``: what they say.
    """

    distribution: Distribution
    chain: str
    stages: tuple[StageResult, ...]
    outcomes: tuple[Outcome, ...] = ()
    path: tuple[int, ...] = ()
    path_texts: tuple[str, ...] = ()


RECORDS: tuple[type, ...] = (StageResult, Outcome, SamplerChain)
