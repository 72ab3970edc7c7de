"""How far a training is, in words, and which metrics there are."""

from __future__ import annotations

from models.records.curves import TrainingStep
from models.training.meanings import MEANINGS
from models.words import _

HIDDEN = ("objective/kl_se",)
EXACT = ("learning_rate", "objective/beta")
FIRST = (
    "objective/paid", "objective/scores", "judge/score", "objective/kl", "objective/entropy", "val/length", "val/eos_rate",
    "loss", "eval_loss", "eval_perplexity", "accuracy", "eval_accuracy", "margin", "rewards/accuracies", "rewards/margins",
)  # fmt: skip
"""Metrics that are drawn first, in this order: with RL what is paid and at what price, else the loss and what it is for."""


def is_exact(metric: str) -> bool:
    """Return whether a metric is never smoothed: a setting, or a held-out measurement, of which there are few."""
    return metric in EXACT or metric.startswith("eval_")


def metrics_of(steps: list[TrainingStep]) -> list[str]:
    """Return the metrics that any of the steps reported: what is looked at first, other known ones, then the rest."""
    there = dict.fromkeys(metric for step in steps for metric in step.metrics if metric not in HIDDEN)
    known = [metric for metric in dict.fromkeys((*FIRST, *MEANINGS)) if metric in there]
    return known + [metric for metric in there if metric not in MEANINGS]


def step_text(step: TrainingStep) -> str:
    """Return how far a step is, in words."""
    words = {"waiting": _("waiting"), "running": _("running"), "done": _("done"), "stopped": _("paused")}
    parts = [words.get(step.state, step.state)]
    if step.total > 0:
        parts.append(_("step {done:g} of {total:g}").format(done=step.done, total=step.total))
    if step.state == "running" and 0 < step.done < step.total and step.seconds > 0:
        parts.append(_("{time} left").format(time=clock(step.seconds / step.done * (step.total - step.done))))
    return " · ".join(parts)


def run_script(paths: list[str], name: str) -> str:
    """Return Python lines that print the metrics of one step of some runs, report by report."""
    return (
        "from pathlib import Path\n\nfrom lab.curves import training_run\n\n"
        f"for path in {paths!r}:\n"
        "    for step in training_run(Path(path)).steps:\n"
        f"        if step.name == {name!r}:\n"
        "            print(path, step.state, *step.metrics)\n"
        "            for number, values in zip(step.steps, step.values):\n"
        "                print(number, *values)\n"
    )


def clock(seconds: float) -> str:
    """Return a length of time as h:mm:ss or m:ss."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
