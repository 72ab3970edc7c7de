"""`triptych eval --shard` and `--engine`, and `triptych merge`: an evaluation on more than one machine."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.errors import UserError
from models.words import _

if TYPE_CHECKING:
    from evals.options import EvalSettings


def work_of(
    checkpoints: list[str], names: list[str], wanted: EvalSettings, output: Path, where: tuple[str, str, str]
) -> tuple[Any, Path, list[str]]:
    """Return the work of ``triptych eval``, its run folder, and the flags that name it.

    Args:
        checkpoints: Paths.
        names: Benchmarks.
        wanted: How.
        output: ``--output-path``.
        where: ``--shard``, ``--engine`` and ``--address``.

    Raises:
        UserError: If they contradict each other.
    """
    from evals import grid, shards

    shard, engine, address = where
    if engine not in ("", "ray") or (engine and shard) or (address and not engine):
        raise UserError(
            "eval.engine",
            _("--engine must be ray or left out, goes without --shard, and --address belongs to it."),
            _("Use --engine ray --address auto on a cluster, or --shard i/n in an array job."),
        )
    if shard:
        one = shards.Shard.parse(shard)
        folder = output / shards.FOLDER / one.name
        shards.Plan(tuple(checkpoints), tuple(names), wanted).write(folder)
        return grid.run(checkpoints, names, wanted, output, one), folder, ["--shard", shard]
    if engine:
        from evals import cluster

        flags = ["--engine", engine, *(["--address", address] if address else [])]
        return cluster.run(checkpoints, names, wanted, output, address), output, flags
    return grid.run(checkpoints, names, wanted, output), output, []


def merge(
    path: Annotated[Path, typer.Argument(metavar="DIR", help="The --output-path of the shares.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Unite the shares of `triptych eval --shard i/n` and score them; what no share has answered is computed."""
    from evals import shards
    from lab.cli_eval import show_cells
    from lab.work import journalled

    command = ("triptych", "merge", str(path))
    return show_cells(journalled(shards.merge(path), path, "eval", f"merge {path.name}", command), as_json)


def rescore(
    paths: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of runs: ours, or lm-eval's own.")],
    metric: Annotated[str, typer.Option("--metric", metavar="NAME|FOLDER,...", help="Metrics of the library evaluate.")],
    tasks: Annotated[str, typer.Option("--tasks", "-t", help="Only these benchmarks.")] = "",
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    allow_code: Annotated[bool, typer.Option("--allow-code", help="Let the metrics' scripts run.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Score answers that are there already by further metrics; no model is opened, nothing is generated again."""
    from evals.rescoring import rescore as scored
    from lab.cli import follow
    from lab.cli_eval import show_cells
    from lab.places import followed

    only = [name.strip() for name in tasks.split(",") if name.strip()]
    return show_cells(follow(scored(followed(paths), metric, allow_code, only, seed)), as_json)


FORMATS = {"csv": "csv", "markdown": "md", "md": "md", "latex": "tex", "tex": "tex", "lm-eval": ""}


def export(
    paths: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of runs.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="FILE.csv, FILE.md, FILE.tex, or a folder for lm-eval's layout.")
    ] = None,
    form: Annotated[str, typer.Option("--format", help="csv, markdown, latex or lm-eval; default: by the ending.")] = "",
    baseline: Annotated[str, typer.Option(help="Mark what differs from this checkpoint beyond chance.")] = "",
    tasks: Annotated[str, typer.Option("--tasks", "-t", help="Only these benchmarks.")] = "",
) -> int:
    """Write scores as a table for a paper, a page or a spreadsheet, or copy the runs as lm-eval lays them out."""
    from evals import export as exporting
    from evals.results import cells, compare
    from lab.cli import DONE, follow
    from lab.places import followed
    from models.files import write_text

    kind, named = _format(form, output), paths
    paths = followed(paths)
    only = {name.strip() for name in tasks.split(",") if name.strip()}
    found = [cell for cell in cells(paths) if cell.metric and (not only or cell.benchmark in only)]
    if not found:
        raise _nothing(named)
    if not kind:
        runs = tuple(dict.fromkeys(cell.run for cell in found if cell.run))
        folder, written = follow(exporting.copy_runs(runs, str(output)))
        print(f"{len(written)} files written to {folder}.")
        return DONE
    pairs = [row for row in compare(paths, baseline) if not only or row.benchmark in only] if baseline else []
    whole = exporting.text(kind, found, pairs)
    if output is None:
        print(whole, end="")
    else:
        write_text(output, whole)
        print(output)
    return DONE


def _nothing(paths: list[Path]) -> UserError:
    """Return the error where there are no scores; of a demo's report, with the command that finds them."""
    from evals.report.results import NAME
    from lab.settings import runs_root

    kept, report = runs_root() / "demo", next((path for path in paths if (path / NAME).is_file()), None)
    hint = _("Run `triptych eval` first.")
    if report is not None and kept.is_dir():
        command = shlex.join(["triptych", "export", str(kept)])
        hint = _("It is a report; its scores lie with your runs: {command}").format(command=command)
    return UserError("export.nothing", _("There are no scores in {names}.").format(names=", ".join(map(str, paths))), hint)


def _format(form: str, output: Path | None) -> str:
    """Return csv, md, tex, or nothing for lm-eval's layout.

    Raises:
        UserError: If neither the format nor the ending says which, or a folder is lacking.
    """
    named = form.lower() or (output.suffix.lower().lstrip(".") or "lm-eval" if output is not None else "markdown")
    if named not in FORMATS or (not FORMATS[named] and output is None):
        raise UserError(
            "export.format",
            _("{name!r} is no format of a table.").format(name=named)
            if named not in FORMATS
            else _("lm-eval's layout needs a folder."),
            _("Write it as {example}.").format(example="triptych export results --output scores.csv (.md, .tex, FOLDER)"),
        )
    return FORMATS[named]
