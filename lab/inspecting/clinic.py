"""`--clinic PAIRS`: what a reward model makes of preference pairs; several files with commas between."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from lab.inspecting._section import Question, Section, Table, number
from models.columns import Column
from models.engine_ops import Operations
from models.events import Work
from models.words import _


def ask(operations: Operations, column: Column, question: Question) -> Work[dict[str, Any]]:
    """Return accuracy, loss, calibration, what length and form are worth, the order test, and mistakes."""
    from models.records.clinic import by_length, calibration, format_effects, length_correlation

    files = tuple(name for name in str(question.value).split(",") if name)
    found = yield from operations.ask("reward_clinic", column.checkpoint, files, 0, column.device)
    bins, error = calibration(found)
    longer = by_length(found)
    effects = [
        {name: number(value) if isinstance(value, float) else value for name, value in asdict(effect).items()}
        for effect in format_effects(found)
    ]
    return {
        "n": len(found.margins), "dropped": found.dropped, "accuracy": found.accuracy, "interval": list(found.interval),
        "loss": found.loss, "margin": float(found.margins.mean()), "margins": [float(value) for value in found.margins],
        "calibration_error": error, "calibration": _bins(bins), "by_length": _bins(longer),
        "length_correlation": number(length_correlation(found)), "formats": effects,
        "order_changes": found.order_changes, "order_difference": found.order_difference,
        "mistakes": [asdict(mistake) for mistake in found.mistakes], "notes": list(found.notes),
    }  # fmt: skip


def _bins(bins: Any) -> list[dict[str, Any]]:
    return [
        {"low": float(bins.edges[at]), "high": float(bins.edges[at + 1]), "n": int(bins.counts[at]),
         "mean": number(float(bins.means[at])), "accuracy": number(float(bins.accuracy[at]))}
        for at in range(len(bins.counts))
    ]  # fmt: skip


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def tables(shown: dict[str, Any]) -> Iterator[Table]:
    """Yield the summary, the bins, the forms and the mistakes."""
    low, high = shown["interval"]
    rows = [
        [_("Pairs"), f"{shown['n']:,} (+{shown['dropped']:,} {_('too long')})"],
        [_("Pair accuracy"), f"{shown['accuracy']:.1%} ({low:.1%} – {high:.1%})"],
        [_("Loss"), f"{shown['loss']:.4f} nats (ln 2 = {math.log(2):.4f})"],
        [_("Mean margin"), f"{shown['margin']:.4f}"],
        [_("Calibration error"), _share(shown["calibration_error"])],
        [_("Score and length"), "–" if shown["length_correlation"] is None else f"ρ = {shown['length_correlation']:+.3f}"],
        [_("Order changes the verdict"), f"{shown['order_changes']} (Δ ≤ {shown['order_difference']:.2g})"],
    ]
    yield _("Reward model"), ["", ""], rows
    for name, title in (("calibration", _("Confidence")), ("by_length", _("Tokens that the better answer is longer"))):
        lines = [[f"{b['low']:.3g} … {b['high']:.3g}", f"{b['n']}", _share(b["accuracy"])] for b in shown[name] if b["n"]]
        yield title, ["", "n", _("Pair accuracy")], lines
    header = [_("Form"), "n", _("score with"), _("without"), _("only the better: right"), _("only the worse: right")]
    lines = [
        [_(e["name"]), f"{e['n']}", *("–" if e[k] is None else f"{e[k]:+.3f}" for k in ("with_score", "without_score")),
         f"{_share(e['chosen_right'])} / {e['only_chosen']}", f"{_share(e['rejected_right'])} / {e['only_rejected']}"]
        for e in shown["formats"]
    ]  # fmt: skip
    yield _("What the form is worth"), header, lines
    texts = ("prompt", "chosen", "rejected")
    lines = [
        [f"{m['number']}", f"{m['chosen_score'] - m['rejected_score']:+.3f}", *(repr(m[name])[:60] for name in texts)]
        for m in shown["mistakes"]
    ]
    yield _("Most confident mistakes"), ["#", _("Margin"), _("Prompt"), _("better answer"), _("worse answer")], lines


SECTION = Section(
    "clinic", 70, "--clinic", "What a reward model makes of preference pairs: accuracy, calibration, length, form.", ask, tables,
    metavar="PAIRS,PAIRS", needs_text=False,
)  # fmt: skip
