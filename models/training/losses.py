"""Losses and estimators of preference learning and RLHF: pure functions of tensors.

Letters in shapes: B pairs or answers, T tokens of an answer, N targets. Log-probabilities are in nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def _same_shape(**tensors: Any) -> None:
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"shapes differ: {shapes}")


def bradley_terry(chosen: Tensor, rejected: Tensor, margin: float = 0.0, centring: float = 0.0) -> Tensor:
    """Return the loss of each pair, ``(B,)``: -log sigmoid(chosen - rejected - margin) + centring (chosen + rejected)^2.

    Args:
        chosen: Rewards of the better answers, ``(B,)``.
        rejected: Rewards of the worse answers, ``(B,)``.
        margin: Least difference that is asked for.
        centring: Weight that pulls rewards towards 0 (Eisenstein et al. 2023, arXiv 2312.09244).

    Raises:
        ValueError: If the shapes differ.

    Source: Bradley and Terry 1952; Ouyang et al. 2022, arXiv 2203.02155, equation 1.
    """
    from torch.nn.functional import logsigmoid

    _same_shape(chosen=chosen, rejected=rejected)
    return -logsigmoid(chosen - rejected - margin) + centring * (chosen + rejected) ** 2


def kl_k1(logprob: Tensor, reference: Tensor) -> Tensor:
    """Return the plain estimate of KL(policy || reference) of each sampled token: log pi - log pi_ref."""
    _same_shape(logprob=logprob, reference=reference)
    return logprob - reference


def kl_k3(logprob: Tensor, reference: Tensor) -> Tensor:
    """Return the low-variance estimate: exp(r) - 1 - r with r = log pi_ref - log pi (Schulman 2020); never negative."""
    _same_shape(logprob=logprob, reference=reference)
    ratio = reference - logprob
    return ratio.exp() - 1 - ratio


def token_rewards(score: Tensor, kl: Tensor, mask: Tensor, beta: float) -> Tensor:
    """Return the reward of each token, ``(B, T)``: -beta KL, and the answer's score at its last real token.

    The sum over an answer is therefore exactly score - beta * sum of KL.

    Args:
        score: Score of each answer, ``(B,)``.
        kl: Estimate of each token, ``(B, T)``.
        mask: True at real tokens, ``(B, T)``; at least one a row.
        beta: Price of a nat.

    Raises:
        ValueError: If shapes do not fit, or an answer has no token.

    Source: Ziegler et al. 2019, arXiv 1909.08593, section 2; Stiennon et al. 2020, arXiv 2009.01325.
    """
    import torch

    _same_shape(kl=kl, mask=mask)
    if score.shape != kl.shape[:1]:
        raise ValueError(f"score is {tuple(score.shape)}, kl {tuple(kl.shape)}")
    if not bool(mask.any(-1).all()):
        raise ValueError("an answer has no token")
    rewards = torch.where(mask, -beta * kl, 0.0)
    last = mask.shape[1] - 1 - mask.flip(-1).int().argmax(-1)  # (B,)
    rows = torch.arange(len(score), device=score.device)
    rewards[rows, last] += score
    return rewards


def gae(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float = 1.0, lam: float = 0.95) -> tuple[Tensor, Tensor]:
    """Return advantages and returns, ``(B, T)`` each, 0 outside the mask.

    A_t = delta_t + gamma lam A_(t+1), delta_t = r_t + gamma V_(t+1) - V_t, V after the last token 0; returns = A + V.

    Args:
        rewards: ``(B, T)``.
        values: Predicted by the value head at sampling time, ``(B, T)``.
        mask: True at real tokens, which stand at the start of each row, ``(B, T)``.
        gamma: Discount.
        lam: Trace decay.

    Raises:
        ValueError: If the shapes differ.

    Source: Schulman et al. 2016, arXiv 1506.02438, equation 16.
    """
    import torch

    _same_shape(rewards=rewards, values=values, mask=mask)
    values = torch.where(mask, values, 0.0)
    rewards = torch.where(mask, rewards, 0.0)
    advantages = torch.zeros_like(rewards)
    following = torch.zeros_like(rewards[:, 0])
    time = rewards.shape[1]
    for t in reversed(range(time)):
        next_value = values[:, t + 1] if t + 1 < time else torch.zeros_like(following)
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        following = torch.where(mask[:, t], delta + gamma * lam * following, 0.0)
        advantages[:, t] = following
    return advantages, torch.where(mask, advantages + values, 0.0)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over the mask, a scalar."""
    _same_shape(values=values, mask=mask)
    return (values * mask).sum() / mask.sum()


def whiten(values: Tensor, mask: Tensor, shift_mean: bool = True) -> Tensor:
    """Return values of unit variance over the mask (unbiased, eps 1e-8), 0 outside it.

    Args:
        values: Any shape.
        mask: Same shape; at least two true.
        shift_mean: Whether the mean becomes 0 (advantages) or is kept (rewards).

    Raises:
        ValueError: If the shapes differ or fewer than two values are real.
    """
    import torch

    count = mask.sum()
    if int(count) < 2:
        raise ValueError(f"whitening needs two values, got {int(count)}")
    mean = masked_mean(values, mask)
    variance = (((values - mean) ** 2) * mask).sum() / (count - 1)
    whitened = (values - mean) * torch.rsqrt(variance + 1e-8)
    return torch.where(mask, whitened if shift_mean else whitened + mean, 0.0)


def ppo_policy(logprob: Tensor, old: Tensor, advantages: Tensor, clip: float = 0.2) -> Tensor:
    """Return the clipped policy loss of each token: max(-A rho, -A clip(rho, 1 - clip, 1 + clip)).

    Args:
        logprob: Log-probabilities now, ``(N,)``.
        old: Log-probabilities when the answers were sampled, ``(N,)``.
        advantages: ``(N,)``.
        clip: Half-width of the trusted range of the ratio.

    Raises:
        ValueError: If the shapes differ.

    Source: Schulman et al. 2017, arXiv 1707.06347, equation 7.
    """
    import torch

    _same_shape(logprob=logprob, old=old, advantages=advantages)
    ratio = (logprob - old).exp()
    return torch.maximum(-advantages * ratio, -advantages * ratio.clamp(1 - clip, 1 + clip))


def ppo_value(values: Tensor, old: Tensor, returns: Tensor, clip: float = 0.2) -> Tensor:
    """Return the clipped value loss of each token: max((V - R)^2, (clip(V, V_old +- clip) - R)^2) / 2.

    Source: Schulman et al., openai/baselines ppo2; Stiennon et al. 2020.

    Raises:
        ValueError: If the shapes differ.
    """
    import torch

    _same_shape(values=values, old=old, returns=returns)
    near = torch.clamp(values, old - clip, old + clip)
    return 0.5 * torch.maximum((values - returns) ** 2, (near - returns) ** 2)


def ppo_diagnostics(logprob: Tensor, old: Tensor, clip: float = 0.2) -> dict[str, float]:
    """Return clip fraction, approximate KL (mean of half the squared log-ratio) and variance of the ratio, over ``(N,)``."""
    import torch

    with torch.no_grad():
        change = logprob - old
        ratio = change.exp()
        variance = float(ratio.var()) if len(ratio) > 1 else 0.0
        clipped = ((ratio - 1).abs() > clip).float().mean()
        return {
            "clip_fraction": float(clipped),
            "approxkl": float(0.5 * (change**2).mean()),
            "ratio_var": variance,
            "ratio": float(ratio.mean()),
        }


def next_beta(beta: float, kl: float, target: float, count: int, horizon: float) -> float:
    """Return the adapted price of KL: beta (1 + clip(kl / target - 1, -0.2, 0.2) count / horizon).

    Args:
        beta: Price so far.
        kl: Mean KL of an answer, in nats.
        target: What it should be.
        count: Answers since the last change.
        horizon: Answers over which the price may move fully.

    Source: Ziegler et al. 2019, arXiv 1909.08593, section 2.2.
    """
    error = min(max(kl / target - 1, -0.2), 0.2)
    return beta * (1 + error * count / horizon)


def dpo_margin(chosen: Tensor, rejected: Tensor, chosen_reference: Tensor, rejected_reference: Tensor) -> Tensor:
    """Return how much more the policy prefers each better completion than the reference does, in nats, ``(B,)``.

    Args:
        chosen: Log-probability of the better completion under the policy, *summed* over its tokens, ``(B,)``.
        rejected: Of the worse one, ``(B,)``.
        chosen_reference: Of the better one under the frozen reference, ``(B,)``.
        rejected_reference: Of the worse one, ``(B,)``.

    Raises:
        ValueError: If the shapes differ.
    """
    _same_shape(
        chosen=chosen,
        rejected=rejected,
        chosen_reference=chosen_reference,
        rejected_reference=rejected_reference,
    )
    return (chosen - chosen_reference) - (rejected - rejected_reference)


def dpo(margin: Tensor, beta: float = 0.1, kind: str = "sigmoid", smoothing: float = 0.0) -> Tensor:
    """Return the loss of each pair, ``(B,)``, from ``dpo_margin``.

    Args:
        margin: ``(B,)``, in nats.
        beta: Inverse temperature of the implied reward.
        kind: ``sigmoid`` (DPO), ``ipo`` or ``hinge``.
        smoothing: Share of labels taken to be wrong (conservative DPO); ``sigmoid`` only.

    Raises:
        ValueError: If the kind is unknown.

    Source: Rafailov et al. 2023, arXiv 2305.18290, equation 7; Azar et al. 2023, arXiv 2310.12036, equation 17 (IPO);
    Zhao et al. 2023, arXiv 2305.10425 (hinge).
    """
    import torch
    from torch.nn.functional import logsigmoid

    if kind == "sigmoid":
        return -(1 - smoothing) * logsigmoid(beta * margin) - smoothing * logsigmoid(-beta * margin)
    if kind == "ipo":
        return (margin - 1 / (2 * beta)) ** 2
    if kind == "hinge":
        return torch.relu(1 - beta * margin)
    raise ValueError(f"kind is {kind!r}, it must be sigmoid, ipo or hinge")


def normalised(sums: Sequence[Tensor], counts: Sequence[float]) -> Tensor:
    """Return the loss of an accumulated batch: the sum over all micro-batches by all their targets.

    The mean of micro-batch means is wrong when they differ in size (transformers PR 34191).

    Raises:
        ValueError: If the numbers of sums and counts differ, or nothing is counted.
    """
    if len(sums) != len(counts) or not sum(counts) > 0:
        raise ValueError(f"{len(sums)} sums, counts {list(counts)}")
    total = sums[0]
    for part in sums[1:]:
        total = total + part
    return total / sum(counts)
