"""`triptych cutoff`: what a checkpoint says of the time after its texts, what helps, and what each remedy forgets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lab.cli_hallucination import flags
from models.words import _


def cutoff(
    checkpoint: Annotated[str, typer.Argument(metavar="CKPT", help="A checkpoint beside whose lineage a closed world lies.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for news, trainings, answers, table and report.")],
    ways: Annotated[
        str, typer.Option(help="By commas: retrieval, full, replay, adapter, reader.")
    ] = "retrieval,full,replay,adapter,reader",
    limit: Annotated[int, typer.Option("--limit", "-L", help="At most this many questions of each kind; 0 for all.")] = 0,
    passages: Annotated[int, typer.Option(help="How many passages of the news go before a question.")] = 1,
    epochs: Annotated[float, typer.Option(help="Passes over the news.")] = 3.0,
    lr: Annotated[float, typer.Option(help="Highest learning rate, all weights.")] = 6e-4,
    adapter_lr: Annotated[float, typer.Option(help="Highest learning rate, adapters.")] = 3e-3,
    rank: Annotated[int, typer.Option(help="Of the adapters.")] = 16,
    old_texts: Annotated[int, typer.Option(help="Texts from before that replay mixes in.")] = 2000,
    lessons: Annotated[int, typer.Option(help="Rows of the lesson in reading.")] = 6000,
    threads: Annotated[int, typer.Option(help="Of training; 0 for what the machine has.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    seed: Annotated[int, typer.Option()] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Tell the news to a checkpoint: before the question, by training on, by an adapter; one table of what it then knows."""
    from evals.cutoff import table
    from evals.cutoff.options import CutoffSettings
    from evals.cutoff.running import REPORT, run
    from evals.report.cutoff import short_rows
    from lab.cli import show, show_table
    from lab.work import journalled

    settings = CutoffSettings(
        ways=tuple(way.strip() for way in ways.split(",") if way.strip()), limit=limit, passages=passages, epochs=epochs, lr=lr,
        adapter_lr=adapter_lr, rank=rank, old_texts=old_texts, lessons=lessons, threads=threads, device=device, dtype=dtype,
        seed=seed,
    )  # fmt: skip
    command = ("triptych", "cutoff", checkpoint, "--output", str(output), *flags(settings))
    rows = journalled(run(checkpoint, settings, output), output, "cutoff", f"cutoff {Path(checkpoint).name}", command)
    if as_json:
        show([table.plain(one) for one in rows])
    else:
        show_table("Cutoff", *short_rows(rows))
        print(_("Intervals, numbers of questions and receipts: {path}").format(path=output / REPORT))
    return 0
