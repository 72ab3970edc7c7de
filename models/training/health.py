"""When the curves of a training are a bad sign: plain rules, no model asked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from models.records.arrays import Array
from models.records.curves import TrainingStep, curve
from models.words import _

SPIKE = 6.0
"""How many times the running median a gradient norm must exceed to be called a spike."""
WINDOW = 31
COLLAPSE = 0.2


def negative_kl(step: TrainingStep) -> str:
    """Say so if the KL to the reference was clearly below 0 (TRL issues 235, 925: sampled and scored otherwise)."""
    steps, kl = curve(step, "objective/kl")
    at, error = curve(step, "objective/kl_se")
    if not len(kl) or len(at) != len(steps):
        return ""
    bad = np.flatnonzero(kl < -3 * np.maximum(error, 1e-9))
    if not len(bad):
        return ""
    return _("KL is {kl:.3g} at step {step}, clearly below 0: answers are sampled in one way and scored in another.").format(
        kl=float(kl[bad[0]]), step=int(steps[bad[0]])
    )


def hacked(step: TrainingStep) -> str:
    """Say so if the reward rises while the judge's score falls (both by more than two standard errors of their halves)."""
    paid, judged = curve(step, "objective/paid")[1], curve(step, "judge/score")[1]
    if len(paid) < 8 or len(judged) < 8:
        return ""
    if _rise(paid) > 2 and _rise(judged) < -2:
        return _("The reward rises while the judge's score falls: the policy exploits the reward model.")
    return ""


def _rise(values: Array) -> float:
    """Return how far the last third lies above the first third, in standard errors of that difference."""
    third = max(2, len(values) // 3)
    first, last = np.asarray(values[:third], np.float64), np.asarray(values[-third:], np.float64)
    error = np.sqrt(first.var(ddof=1) / third + last.var(ddof=1) / third)
    return float((last.mean() - first.mean()) / max(error, 1e-12))


def collapsed(step: TrainingStep) -> str:
    """Say so if the policy's entropy fell below a fifth of where it began."""
    steps, entropy = curve(step, "objective/entropy")
    if len(entropy) < 3 or entropy[0] <= 0 or entropy[-1] >= COLLAPSE * entropy[0]:
        return ""
    return _("Entropy fell from {a:.3g} to {b:.3g} nats by step {step}: little is tried any more.").format(
        a=float(entropy[0]), b=float(entropy[-1]), step=int(steps[-1])
    )


def spikes(step: TrainingStep) -> str:
    """Say how often the gradient norm was far above the running median of the reports before it."""
    steps, norm = curve(step, "grad_norm")
    short = [float(np.median(norm[:at])) for at in range(WINDOW // 3, min(WINDOW, len(norm)))]
    whole = np.median(np.lib.stride_tricks.sliding_window_view(norm[:-1], WINDOW), axis=1) if len(norm) > WINDOW else ()
    median = np.concatenate([short, whole])  # of the reports before each one from the WINDOW // 3-th on
    found = np.flatnonzero(norm[WINDOW // 3 :] > SPIKE * np.maximum(median, 1e-12)) + WINDOW // 3
    if not len(found):
        return ""
    worst = found[np.argmax(norm[found])]
    return _("{n} spikes of the gradient norm, the largest {norm:.3g} at step {step}.").format(
        n=len(found), norm=float(norm[worst]), step=int(steps[worst])
    )


def not_finite(step: TrainingStep) -> str:
    """Say which metric was NaN or infinite first, and when."""
    rows, columns = np.nonzero(step.not_finite)
    if not len(rows):
        return ""
    return _("{metric} was not finite at step {step}.").format(metric=step.metrics[columns[0]], step=int(step.steps[rows[0]]))


def overfitted(step: TrainingStep) -> str:
    """Say so if the held-out loss ended clearly above its lowest."""
    steps, loss = curve(step, "eval_loss")
    if len(loss) < 3:
        return ""
    low = int(np.argmin(loss))
    if loss[-1] <= loss[low] * 1.02 + 1e-6:
        return ""
    return _("The held-out loss was lowest at step {step} ({low:.4g}) and is {now:.4g} now: it overfits.").format(
        step=int(steps[low]), low=float(loss[low]), now=float(loss[-1])
    )


RULES: tuple[Callable[[TrainingStep], str], ...] = (not_finite, negative_kl, hacked, collapsed, overfitted, spikes)


def warnings(step: TrainingStep) -> tuple[str, ...]:
    """Return a sentence for each bad sign in the curves of a step."""
    return tuple(text for text in (rule(step) for rule in RULES) if text)
