"""One rollout of PPO: answers sampled from the policy, scored, and turned into advantages and returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from models.training.data import Batch, Document, Row, Texts, pack_batch
from models.training.decoding import Answer
from models.training.labels import Labeller, grouped_rates, label_answer
from models.training.pairs import answer_document

if TYPE_CHECKING:
    from torch import Tensor

    from models.training.ppo import PpoSettings


class Paid(Protocol):
    """The settings that decide what an answer is paid."""

    @property
    def minibatch(self) -> int:
        """Answers scored at once."""

    @property
    def block(self) -> int:
        """Tokens of a packed row."""

    @property
    def learned_weight(self) -> float:
        """Weight of the learned reward."""

    @property
    def reward_scale(self) -> float:
        """Factor on the learned reward."""

    @property
    def reward_clip(self) -> float:
        """Largest learned reward either way; 0: no limit."""

    @property
    def eos_penalty(self) -> float:
        """Taken from the score of an answer that never ended."""


@dataclass(frozen=True)
class Measured:
    """What the models say of each token of each answer, ``(answers, longest)`` each, 0 outside ``mask``."""

    logprob: Tensor
    reference: Tensor
    values: Tensor
    mask: Tensor
    entropy: float


@dataclass(frozen=True)
class Rollout:
    """Answers with what PPO's updates need; ``old``, ``values``, ``advantages``, ``returns`` ``(answers, longest)``.

    ``seen`` is what they were made of, for a look inside: ``reference``, ``rewards``, ``raw`` (advantages before whitening),
    ``(answers, longest)``; ``paid``, ``learned``, ``(answers,)``.
    """

    documents: Sequence[Document]
    old: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor
    seen: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Scored:
    """Scores of the answers of a rollout, ``(answers,)`` each: learned alone, and as PPO is paid."""

    learned: Tensor
    paid: Tensor
    metrics: Mapping[str, float]


def answer_documents(prompts: Sequence[Sequence[int]], answers: Sequence[Answer]) -> list[Document]:
    """Return prompts and sampled answers as documents of which the answers are trained."""
    return [answer_document(prompt, answer.ids) for prompt, answer in zip(prompts, answers, strict=True)]


TABLES = ("old", "values", "advantages", "returns")
SEEN = "seen."


def rollout_tensors(rollout: Rollout) -> dict[str, Tensor]:
    """Return a rollout as tensors that can be saved: its tables, and its documents end to end with their lengths."""
    import torch

    documents = rollout.documents
    return {
        **{name: getattr(rollout, name) for name in TABLES},
        **{f"{SEEN}{name}": value for name, value in rollout.seen.items()},
        "ids": torch.as_tensor(np.concatenate([document.ids for document in documents])),
        "trained": torch.as_tensor(np.concatenate([document.trained for document in documents])),
        "lengths": torch.tensor([len(document.ids) for document in documents]),
    }


def rollout_from(tensors: Mapping[str, Tensor], device: str) -> Rollout:
    """Return the rollout that ``rollout_tensors`` wrote."""
    cuts = np.cumsum(tensors["lengths"].numpy())[:-1]
    ids, trained = (np.split(tensors[name].numpy(), cuts) for name in ("ids", "trained"))
    documents = [Document(*pair) for pair in zip(ids, trained, strict=True)]
    seen = {name.removeprefix(SEEN): value.to(device) for name, value in tensors.items() if name.startswith(SEEN)}
    old, values, advantages, returns = (tensors[name].to(device) for name in TABLES)
    return Rollout(documents, old, values, advantages, returns, seen)


def spread(flat: Tensor, batch: Batch, order: Any, width: int) -> Tensor:
    """Lay values of targets ``(targets,)`` out as ``(documents, width)`` in the order the documents were given."""
    import torch

    counts = torch.bincount(batch.owner, minlength=len(batch.last))
    starts = counts.cumsum(0) - counts
    place = torch.arange(len(flat), device=flat.device) - starts[batch.owner]
    table = torch.zeros(len(batch.last), width, dtype=flat.dtype, device=flat.device)
    table[batch.owner, place] = flat
    return table[torch.as_tensor(order, device=flat.device)]


def gather(table: Tensor, batch: Batch, order: Any) -> Tensor:
    """Return the values of a batch's targets ``(targets,)`` from ``(documents, width)``; the inverse of ``spread``."""
    import torch

    counts = torch.bincount(batch.owner, minlength=len(batch.last))
    starts = counts.cumsum(0) - counts
    place = torch.arange(len(batch.owner), device=table.device) - starts[batch.owner]
    given = torch.empty(len(order), dtype=torch.long)
    given[torch.as_tensor(order)] = torch.arange(len(order))
    return table[given.to(table.device)[batch.owner], place]


def score_answers(
    reward_model: Any, documents: Sequence[Document], answers: Sequence[Answer], settings: Paid, pad: int
) -> Scored:
    """Score answers with the learned reward model; one that never ended loses ``eos_penalty``."""
    import torch

    from models.training.forward import scores

    device = next(reward_model.parameters()).device
    parts = []
    for start in range(0, len(documents), settings.minibatch):
        batch, order = pack_batch(documents[start : start + settings.minibatch], settings.block, pad)
        with torch.no_grad():
            parts.append(scores(reward_model, batch.to(device))[torch.as_tensor(order)].cpu())
    learned = torch.cat(parts) - float(getattr(reward_model.config, "reward_shift", 0.0))
    paid = settings.learned_weight * learned * settings.reward_scale
    if settings.reward_clip:
        paid = paid.clamp(-settings.reward_clip, settings.reward_clip)
    ended = torch.tensor([answer.ended for answer in answers])
    paid = torch.where(ended, paid, paid - settings.eos_penalty)
    return Scored(learned, paid, {"objective/scores": float(learned.mean())})


def judge_answers(
    labeller: Labeller, texts: Texts, rows: Sequence[Row], answers: Sequence[Answer], learned: Tensor, group_by: str
) -> tuple[Tensor, dict[str, float]]:
    """Return the labeller's score of each answer ``(answers,)`` and metrics: its mean, verdicts, agreement with the model."""
    import torch

    labels = [label_answer(labeller, texts, row, answer) for row, answer in zip(rows, answers, strict=True)]
    judged = torch.tensor([score for _, score, _ in labels])
    metrics = {"judge/score": float(judged.mean()), "judge/agreement": agreement(learned, judged)}
    rates = grouped_rates(rows, [verdict for _, _, verdict in labels], group_by)
    metrics.update({f"verdict/{name}": value for name, value in rates.items()})
    return judged, metrics


def agreement(learned: Tensor, judged: Tensor) -> float:
    """Return the share of pairs of answers, of those that the judge tells apart, which both order alike; NaN if none."""
    order = (judged[:, None] > judged[None, :]).double()
    count = float(order.sum())
    alike = (learned[:, None] > learned[None, :]).double() + 0.5 * (learned[:, None] == learned[None, :]).double()
    return float((order * alike).sum()) / count if count else float("nan")


def prompt_numbers(count: int, size: int, rollout: int, seed: int) -> list[int]:
    """Return which prompts a rollout uses: shuffled passes over all of them, one after the other."""
    numbers = range(rollout * size, (rollout + 1) * size)
    orders = {
        epoch: np.random.default_rng([seed, 17, epoch]).permutation(count) for epoch in {number // count for number in numbers}
    }
    return [int(orders[number // count][number % count]) for number in numbers]


def make_rollout(
    documents: Sequence[Document], measured: Measured, paid: Tensor, settings: PpoSettings, beta: float
) -> tuple[Rollout, dict[str, float]]:
    """Turn scores and log-probabilities into advantages and returns; metrics are named as in TRL."""
    from models.training.losses import gae, kl_k1, token_rewards, whiten

    mask = measured.mask
    kl = kl_k1(measured.logprob, measured.reference) * mask
    rewards = token_rewards(paid, kl, mask, beta)
    if settings.whiten_rewards:
        rewards = whiten(rewards, mask, shift_mean=False)
    advantages, returns = gae(rewards, measured.values, mask, settings.gamma, settings.lam)
    raw = advantages
    explained = 1 - float((returns - measured.values)[mask].var() / returns[mask].var().clamp_min(1e-8))
    if settings.whiten_advantages:
        advantages = whiten(advantages, mask)
    lengths = mask.sum(-1).float()
    metrics = {
        "objective/kl": float(kl.sum(-1).mean()),
        "objective/kl_se": float(kl.sum(-1).std() / len(kl) ** 0.5),
        "objective/entropy": measured.entropy,
        "objective/non_score_reward": float(-beta * kl.sum(-1).mean()),
        "objective/rlhf_reward": float((paid - beta * kl.sum(-1)).mean()),
        "objective/paid": float(paid.mean()),
        "objective/beta": beta,
        "val/length": float(lengths.mean()),
        "val/explained_variance": explained,
    }
    seen = {"reference": measured.reference, "rewards": rewards, "raw": raw, "paid": paid}
    return Rollout(documents, measured.logprob, measured.values, advantages, returns, seen), metrics
