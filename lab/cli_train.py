"""`triptych train --plan` and `--preview`: what a training will take, and its data as the loss will see it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.records.training import HIDDEN, IGNORED, LEARNED, PADDING, TRUNCATED, DataPreview, TrainPlan
from models.words import _

MARKS = {IGNORED: "·", LEARNED: "█", PADDING: "_", TRUNCATED: "✂", HIDDEN: "▒"}
SHOWN = 400


def look_ahead(recipe: Any, output: Path | None, step: str, wanted: tuple[bool, int, str, int], as_json: bool) -> int:
    """Plan or preview one step of a recipe, or every one that can be; returns the exit code."""
    from lab import ahead, drafts
    from lab.cli import follow, show

    planned, rows, against, processes = wanted
    text = drafts.with_whole_paths(drafts.to_yaml(recipe.content), recipe.path.parent)
    there = str(output) if output and output.is_dir() else ""
    found: list[Any] = []
    reasons: list[str] = []
    for name in [step] if step else [item.name for item in recipe.steps]:
        try:
            if planned:
                found.append(follow(ahead.plan(text, name, there, processes)))
            if rows:
                found.append(follow(ahead.preview(text, name, there, rows, against)))
        except UserError as error:
            if step:
                raise
            reasons.append(f"{name}: {error.what}")
    if as_json:
        show([as_plain(item) for item in found])
        return 0
    for item in found:
        show_plan(item) if isinstance(item, TrainPlan) else show_preview(item)
    for reason in reasons:
        print(reason)
    return 0


def benchmark_texts(names: str) -> dict[str, list[str]]:
    """Return the texts of benchmarks by name, or of files of rows by path."""
    from models.discover import discover
    from models.training.data import read_rows, text_of

    known = {item.value.name: item.value for item in discover("evals.benchmarks", "BENCHMARK") if not item.error}
    found: dict[str, list[str]] = {}
    for name in (part.strip() for part in names.split(",") if part.strip()):
        if name in known:
            found[name] = [str(item["prompt"]) for item in known[name].items("")]
        elif Path(name).is_file():
            found[name] = [text_of(row) for row in read_rows(Path(name))]
        else:
            raise UserError(
                "train.against",
                _("There is no benchmark and no file {name!r}.").format(name=name),
                _("Known: {names}.").format(names=", ".join(sorted(known))),
            )
    return found


def as_plain(item: Any) -> dict[str, Any]:
    """Return a record as JSON: arrays as lists."""
    values = dataclasses.asdict(item)
    for row in values.get("rows", ()):
        row.update({name: row[name].tolist() for name in ("ids", "flags", "documents")})
    return {**values, "memory": item.memory} if isinstance(item, TrainPlan) else values


def megabytes(count: int) -> str:
    """Return bytes as MB; a dash for what was not measured."""
    return "–" if count < 0 else f"{count / 1e6:,.1f} MB"


def show_plan(plan: TrainPlan) -> None:
    """Print a plan as a table."""
    from lab.cli import show_table

    minutes = plan.seconds / 60
    rows = [
        [_("Device"), f"{plan.device}, {plan.precision}, {plan.method}"],
        [_("Weights"), f"{plan.parameters:,}" + (f" ({plan.trained:,})" if plan.trained != plan.parameters else "")],
        [_("Memory of weights"), megabytes(plan.weights)],
        [_("Gradients"), megabytes(plan.gradients)],
        [_("Optimizer"), megabytes(plan.optimizer)],
        [_("Activations"), megabytes(plan.activations)],
        [_("Memory together"), f"{megabytes(plan.memory)} / {megabytes(plan.free)}"],
        [_("Steps"), f"{plan.steps:,} × {plan.units:,.1f}"],
        [_("Time"), _("{minutes:,.1f} min, from {n} steps of {seconds:.3f} s").format(
            minutes=minutes, n=plan.measured, seconds=plan.seconds_per_step)],
        [_("Disk"), f"{megabytes(plan.disk)} / {megabytes(plan.disk_free)}"],
    ]  # fmt: skip
    show_table(f"{plan.step} ({plan.stage})", ["", ""], rows)
    for note in plan.notes:
        print(note)


def show_preview(preview: DataPreview) -> None:
    """Print the rows with a mark over each token, and the counts."""
    from lab.cli import show_table

    for row in preview.rows:
        print(f"── {preview.step}: {row.title}")
        print(marked(row.texts, row.flags.tolist(), row.documents.tolist()))
    print(_("█ learned   · read only   ▒ hidden   _ filling   ✂ lost   ‖ next text"))
    counts = (preview.documents, preview.tokens, preview.learned, preview.cut, preview.dropped)
    names = (_("Texts"), _("Tokens"), _("Learned"), _("Cut"), _("Dropped"))
    show_table(preview.step, [*names], [[f"{count:,}" for count in counts]])
    if preview.overlaps:
        rows = [[item.benchmark, f"{item.n}", f"{item.exact}", f"{item.shared}", f"{item.short}"] for item in preview.overlaps]
        show_table(_("Benchmarks in the data"), [_("Benchmark"), "n", _("exact"), _("13 words"), _("too short")], rows)
    for note in preview.notes:
        print(note)


def marked(texts: Sequence[str], flags: Sequence[int], documents: Sequence[int]) -> str:
    """Return tokens as one text, each after the mark of its flag; the filling at the end is counted, not shown."""
    parts: list[str] = []
    for at, (text, flag) in enumerate(zip(texts[:SHOWN], flags, strict=False)):
        if flag == PADDING:
            break
        edge = "‖" if at and documents[at] != documents[at - 1] else ""
        parts.append(f"{edge}{MARKS[flag]}{text!r:.40}"[:60].replace("'", ""))
    filling = sum(flag == PADDING for flag in flags)
    return " ".join(parts) + (f" _×{filling}" if filling else "")


def help_training(work: Any) -> int:
    """Follow the first process of a shared training, silently; signals are for that one, which tells the others."""
    import signal

    from lab.cli import DONE, STOPPED
    from models.events import finish

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    return STOPPED if finish(work).stopped else DONE
