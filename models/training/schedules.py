"""Learning rates over the steps of a run: warm-up, then constant, cosine, linear, or stable with a decay at the end."""

from __future__ import annotations

import math

from models.training.stage import TrainSettings


def learning_rate(step: int, total: int, settings: TrainSettings) -> float:
    """Return the rate of a step (counted from 0) of ``total``.

    Linear warm-up; then by ``schedule``: ``constant``; ``cosine`` or ``linear`` down to ``min_lr`` times ``lr``;
    ``wsd`` constant up to the last ``decay`` of the steps, which go down linearly.

    Source: cosine: Loshchilov and Hutter 2017, arXiv 1608.03983; warm-up, stable, decay: Hu et al. 2024, arXiv 2404.06395,
    with the linear decay of Hägele et al. 2024, arXiv 2405.18392.
    """
    if step < settings.warmup:
        return settings.lr * (step + 1) / settings.warmup
    if settings.schedule == "constant":
        return settings.lr
    if settings.schedule == "wsd":
        start = max(settings.warmup, total - round(settings.decay * total))
        share = (step - start) / max(1, total - start)
        return settings.lr * (1 - (1 - settings.min_lr) * min(1.0, max(0.0, share)))
    share = (step - settings.warmup) / max(1, total - settings.warmup)
    if settings.schedule == "linear":
        return settings.lr * (1 - (1 - settings.min_lr) * min(1.0, share))
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
    return settings.lr * (settings.min_lr + (1 - settings.min_lr) * cosine)
