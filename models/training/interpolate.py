"""The interpolate stage: weights between a checkpoint and its parent, the mix chosen on a dev group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.errors import UserError
from models.events import Metrics, Note, Saved, Work
from models.files import write_json
from models.training.checkpoints import publish
from models.training.data import Row, Texts, need_rows
from models.training.decoding import Sampling, sample_answers
from models.training.labels import conversations, field_of, find_function, grouped_rates, label_answer
from models.training.llama import open_causal, pick_device
from models.training.running import describe_run, gather_inputs, read_all
from models.training.stage import DTYPES, Stage, Workspace, check_choice, help_text
from models.words import _


def _named(default: Any, text: str) -> Any:
    """Return a dataclass field with help (``Limit`` has a field called ``field``, which hides the function there)."""
    return field(default=default, metadata=help_text(text))


@dataclass(frozen=True)
class Limit:
    """A rate on the dev group: the share of ``verdict`` among the rows whose field ``field`` is ``value``."""

    field: str = _named("item.type", "Field of a prompt row.")
    value: str = _named("", "What that field is in the rows that count.")
    verdict: str = _named("", "Verdict whose share is the rate.")
    at_most: float = _named(1.0, "Highest rate allowed.")


@dataclass(frozen=True)
class InterpolateSettings:
    """Settings of the interpolate stage."""

    checkpoint: str = field(default="ppo", metadata=help_text("Step or folder at alpha 1."))
    parent: str = field(default="sft", metadata=help_text("Step or folder at alpha 0."))
    alphas: tuple[float, ...] = field(default=(0.25, 0.5, 0.75, 1.0), metadata=help_text("Shares of the checkpoint."))
    prompts: tuple[str, ...] = field(default=(), metadata=help_text("JSONL files of the dev group."))
    labeller: str = field(default="", metadata=help_text("Function of ours that scores an answer."))
    limits: tuple[Limit, ...] = field(default=(), metadata=help_text("Rates that must not be exceeded."))
    minimise: Limit = field(default=Limit(), metadata=help_text("Rate that is to be as low as can be within them."))
    group_by: str = field(default="item.type", metadata=help_text("Field of a row that the curve's rates go by."))
    max_new_tokens: int = field(default=48, metadata=help_text("Longest answer."))
    batch_size: int = field(default=128, metadata=help_text("Answers drawn at once."))
    max_rows: int = field(default=0, metadata=help_text("Use at most so many rows of each file; 0 uses all."))
    dtype: str = field(default="fp16", metadata=help_text("Of the saved weights: fp16, bf16 or fp32."))
    device: str = field(default="auto", metadata=help_text("auto, cpu, cuda or cuda:N."))
    seed: int = field(default=0, metadata=help_text("Unused: answers are greedy."))

    def __post_init__(self) -> None:
        """Raise ``UserError`` for a value that cannot work."""
        check_choice("dtype", self.dtype, DTYPES)
        if not self.alphas or not all(0 <= alpha <= 1 for alpha in self.alphas):
            raise UserError(
                "training.setting", _("alphas are {alphas}.").format(alphas=self.alphas), _("Give some, each from 0 to 1.")
            )


@dataclass(frozen=True)
class Point:
    """What one mix does on the dev group."""

    alpha: float
    objective: float
    limits: tuple[float, ...]
    score: float
    rates: Mapping[str, float]


def mix(model: Any, parent: Mapping[str, Any], checkpoint: Mapping[str, Any], alpha: float) -> None:
    """Set a model's weights to (1 - alpha) parent + alpha checkpoint, in fp32, in place."""
    import torch

    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(torch.lerp(parent[name], checkpoint[name], alpha))


def rate(limit: Limit, rows: Sequence[Row], verdicts: Sequence[str]) -> float:
    """Return the share of ``limit.verdict`` among the rows it speaks of; ``UserError`` if there are none."""
    within = [
        verdict
        for row, verdict in zip(rows, verdicts, strict=True)
        if not limit.value or str(field_of(row, limit.field)) == limit.value
    ]
    if not within:
        raise UserError(
            "training.limit",
            _("No dev row has {field} {value!r}.").format(field=limit.field, value=limit.value),
            _("Correct the limit."),
        )
    return sum(verdict == limit.verdict for verdict in within) / len(within)


def choose_point(points: Sequence[Point], limits: Sequence[Limit]) -> tuple[Point, bool]:
    """Return the point of lowest objective within all limits (ties: lower alpha), and whether there was any within.

    Without one, that which exceeds its limits least.
    """

    def excess(point: Point) -> float:
        return sum(max(0.0, at - limit.at_most) for at, limit in zip(point.limits, limits, strict=True))

    within = [point for point in points if excess(point) == 0]
    if within:
        return min(within, key=lambda point: (point.objective, point.alpha)), True
    return min(points, key=lambda point: (excess(point), point.objective)), False


def run(settings: InterpolateSettings, workspace: Workspace) -> Work[Mapping[str, Any]]:
    """Try every alpha, write ``curve.json`` and the chosen mix as ``checkpoint/``."""
    labeller = find_function(settings.labeller)
    rows = read_all(workspace, settings.prompts, settings.max_rows)
    need_rows("interpolate", rows)
    parents = {"parent": settings.parent, "checkpoint": settings.checkpoint}
    inputs = gather_inputs(workspace, settings.prompts, parents)
    folder = workspace.checkpoint(settings.checkpoint)
    texts, model = Texts(folder), open_causal(folder, pick_device(settings.device))
    base = open_causal(workspace.checkpoint(settings.parent), pick_device(settings.device))
    tip = {name: value.detach().clone() for name, value in model.named_parameters()}
    root = {name: value.detach() for name, value in base.named_parameters()}
    prompts = texts.prompts(conversations(rows))
    sampling = Sampling(settings.max_new_tokens, 0.0, 1.0, settings.batch_size)
    points: list[Point] = []
    for number, alpha in enumerate(settings.alphas):
        mix(model, root, tip, alpha)
        answers = yield from sample_answers(model, prompts, texts.end, sampling, [settings.seed])
        labels = [label_answer(labeller, texts, row, answer) for row, answer in zip(rows, answers, strict=True)]
        points.append(_point(alpha, settings, rows, labels))
        yield Metrics(number, {"alpha": alpha, "objective": points[-1].objective, "score": points[-1].score})
    best, within = choose_point(points, settings.limits)
    if not within:
        yield Note(_("interpolate: no alpha keeps the limits; {alpha} exceeds them least").format(alpha=best.alpha), "warning")
    yield Note(_("interpolate: alpha {alpha} of {alphas}").format(alpha=best.alpha, alphas=list(settings.alphas)))
    mix(model, root, tip, best.alpha)
    write_json(workspace.folder / "curve.json", {"chosen": best.alpha, "within": within, "points": [_as_row(p) for p in points]})
    metrics = {"alpha": best.alpha, "objective": best.objective, "within_limits": within, "score": best.score}
    manifest = describe_run("interpolate", settings, workspace, inputs, metrics)
    publish(model, folder, workspace.folder / "checkpoint", dtype=settings.dtype, manifest=manifest)
    yield Saved("checkpoint")
    return metrics


def _point(alpha: float, settings: InterpolateSettings, rows: Sequence[Row], labels: Sequence[tuple[str, float, str]]) -> Point:
    verdicts = [verdict for _, _, verdict in labels]
    return Point(
        alpha,
        rate(settings.minimise, rows, verdicts) if settings.minimise.verdict else -_mean_score(labels),
        tuple(rate(limit, rows, verdicts) for limit in settings.limits),
        _mean_score(labels),
        grouped_rates(rows, verdicts, settings.group_by),
    )


def _mean_score(labels: Sequence[tuple[str, float, str]]) -> float:
    return sum(score for _, score, _ in labels) / len(labels)


def _as_row(point: Point) -> dict[str, Any]:
    return {
        "alpha": point.alpha,
        "objective": point.objective,
        "limits": list(point.limits),
        "score": point.score,
        "rates": dict(point.rates),
    }


STAGE = Stage("interpolate", "Weight interpolation", InterpolateSettings, run, "other")
