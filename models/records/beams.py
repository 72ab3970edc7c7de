"""A beam search as the tree of everything that it looked at."""

from __future__ import annotations

from dataclasses import dataclass

from models.records.arrays import Array

DROPPED, KEPT, FINISHED = 0, 1, 2


@dataclass(frozen=True)
class BeamSequence:
    """A finished hypothesis. ``score``: ``logprob`` / length ** length_penalty; ``node``: its last node in the tree."""

    text: str
    token_ids: tuple[int, ...]
    score: float
    logprob: float
    node: int
    ended: bool


@dataclass(frozen=True)
class BeamTree:
    """All candidates of a beam search; node 0 is the prompt.

    Args:
        parents: (n,) int32 index of the parent; -1 for the prompt.
        ids: (n,) int64 token ids; -1 for the prompt. ``texts``: n strings.
        logprobs: (n,) float32 ln p of the token given its parent. ``totals``: (n,) float32 sums along the path.
        states: (n,) uint8 ``DROPPED``, ``KEPT`` (in the beam) or ``FINISHED``.
        sequences: Best first, at most ``num_beams``.
        steps: How many forwards were needed.
    """

    parents: Array
    ids: Array
    texts: tuple[str, ...]
    logprobs: Array
    totals: Array
    states: Array
    sequences: tuple[BeamSequence, ...]
    num_beams: int
    length_penalty: float
    steps: int
    receipt: str = ""


def path_to(parents: Array, node: int) -> list[int]:
    """Return the nodes from below the root to ``node``."""
    found: list[int] = []
    while node > 0:
        found.append(node)
        node = int(parents[node])
    return found[::-1]


RECORDS: tuple[type, ...] = (BeamSequence, BeamTree)
