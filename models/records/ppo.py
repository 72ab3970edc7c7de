"""One answer of one update of PPO: what it was paid, what each token's share is, and how far the update is clipped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.records.arrays import Array

TABLES = ("old", "reference", "new", "values", "rewards", "raw", "advantages", "returns")


@dataclass(frozen=True)
class PpoExample:
    """An answer of T tokens, all arrays (T,) float32, log-probabilities and KL in nats.

    Args:
        step: Optimizer steps done when its update had been made.
        prompt: What the policy was given. ``answer``: what it sampled; ``tokens``: piece by piece.
        ended: Whether the answer ended by itself.
        learned: Score of the reward model. ``paid``: what the answer was paid (scaled, clipped, penalty and rule included).
        beta: Price of a nat of KL. ``gamma``, ``lam``: of the advantages. ``clip_ratio``: half-width of the trusted range.
        old: log π(token) when it was sampled. ``reference``: log π_ref. ``new``: log π in this update, before the step.
        values: The value head's V when it was sampled.
        rewards: Per token: −β KL, and what was paid at the last one.
        raw: Advantages by GAE. ``advantages``: the same, whitened over the rollout if so set. ``returns``: raw + V.
        whitened: Whether advantages were whitened. ``scaled``: whether rewards were brought to unit variance.
        rollout: Number of the rollout, ``turn``: of the pass over it, of ``passes``; both from 0.
    """

    step: int
    prompt: str
    answer: str
    tokens: tuple[str, ...]
    ended: bool
    learned: float
    paid: float
    beta: float
    gamma: float
    lam: float
    clip_ratio: float
    old: Array
    reference: Array
    new: Array
    values: Array
    rewards: Array
    raw: Array
    advantages: Array
    returns: Array
    whitened: bool = True
    scaled: bool = False
    rollout: int = 0
    turn: int = 0
    passes: int = 1

    @property
    def kl(self) -> Array:
        """(T,) log π − log π_ref of each sampled token: the plain estimate of its KL."""
        return self.old - self.reference

    @property
    def ratio(self) -> Array:
        """(T,) π / π_old; 1 in the first update of a rollout."""
        return np.asarray(np.exp(self.new - self.old), np.float32)

    @property
    def clipped_ratio(self) -> Array:
        """(T,) the ratio within its trusted range."""
        return np.asarray(np.clip(self.ratio, 1 - self.clip_ratio, 1 + self.clip_ratio), np.float32)

    @property
    def loss(self) -> Array:
        """(T,) max(−A ρ, −A clip(ρ)): Schulman et al. 2017, arXiv 1707.06347, equation 7."""
        return np.asarray(np.maximum(-self.advantages * self.ratio, -self.advantages * self.clipped_ratio), np.float32)

    @property
    def stopped(self) -> Array:
        """(T,) bool, where the clipped branch is taken: the token gives the update no gradient."""
        return np.asarray(-self.advantages * self.clipped_ratio > -self.advantages * self.ratio)


def token_rewards(example: PpoExample) -> Array:
    """Return the (T,) rewards again from KL and score: −β KL, and what was paid at the last token."""
    found = -example.beta * example.kl
    found[-1] += example.paid
    return np.asarray(found, np.float32)


def generalised_advantages(example: PpoExample) -> Array:
    """Return the (T,) advantages again from rewards and values.

    A_t = δ_t + γ λ A_(t+1), δ_t = r_t + γ V_(t+1) − V_t, V after the last token 0 (arXiv 1506.02438, equation 16).
    """
    found, following, value = np.zeros(len(example.tokens)), 0.0, 0.0
    for at in reversed(range(len(found))):
        delta = float(example.rewards[at]) + example.gamma * value - float(example.values[at])
        following = delta + example.gamma * example.lam * following
        found[at], value = following, float(example.values[at])
    return found.astype(np.float32)


def example_from(step: int, values: Mapping[str, Any]) -> PpoExample:
    """Return an example that a journal holds as JSON."""
    arrays: dict[str, Any] = {name: np.asarray(values[name], np.float32) for name in TABLES}
    plain = ("prompt", "answer", "ended", "learned", "paid", "beta", "gamma", "lam", "clip_ratio", "whitened", "scaled",
             "rollout", "turn", "passes")  # fmt: skip
    return PpoExample(step=step, tokens=tuple(values["tokens"]), **{name: values[name] for name in plain}, **arrays)


RECORDS: tuple[type, ...] = (PpoExample,)
