"""The command line: every command, its options, and the one door through which its errors leave."""

from __future__ import annotations

import errno
import json
import math
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from lab import cli_cutoff, cli_eval, cli_finetune, cli_generate, cli_hallucination, cli_inspect, cli_shares
from models.errors import UserError
from models.words import _

DONE, SOME_FAILED, USER_ERROR, STOPPED = 0, 1, 2, 130
NOT_OURS = frozenset({
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG,
    errno.EIO, errno.EEXIST,
})  # fmt: skip
"""What the system says of a full or broken disk, of rights and of impossible names."""

app = typer.Typer(
    name="triptych",
    no_args_is_help=False,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="A desktop lab for language-model checkpoints: pretrain, SFT and RLHF of one model, side by side. "
    "Without a command: the window.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
models_app = typer.Typer(help="Look at, convert and list checkpoints.", no_args_is_help=True)
jobs_app = typer.Typer(help="See, stop and queue jobs.", no_args_is_help=True)
app.add_typer(models_app, name="models")
app.add_typer(jobs_app, name="jobs")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]
Quantize = Annotated[str, typer.Option(help="int8 or int4; empty for none.")]


def run(argv: list[str]) -> int:
    """Run one command and return its exit code: 0 done, 1 some cell failed, 2 user error, 130 stopped.

    ``--max_new_tokens`` and ``--max-new-tokens`` are the same option. ``--debug`` adds the traceback to a user error.
    """
    debug = "--debug" in argv
    words = cli_eval.filled(cli_inspect.filled([_hyphens(word) for word in argv if word != "--debug"]))
    try:
        result = app(words, standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:  # as in `triptych models list | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except UserError as error:
        if debug:
            import traceback

            traceback.print_exc()
        print(str(error), file=sys.stderr)
        return USER_ERROR
    except typer.Exit as end:
        return int(end.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        return STOPPED
    except Exception as error:
        if (code := _known(error)) is not None and not (debug and isinstance(error, OSError)):
            return code
        raise
    return int(result or DONE)


def _known(error: Exception) -> int | None:
    """Return the exit code of an error that is not a bug, after saying it."""
    from lab.work import Stopped

    if isinstance(error, Stopped):
        print("Stopped; what was done is saved.", file=sys.stderr)
        return STOPPED
    if isinstance(error, OSError) and error.errno in NOT_OURS:
        print(f"{error.filename or 'A file'}: {error.strerror}.", file=sys.stderr)
        return USER_ERROR
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):  # click's own usage errors
        context = getattr(error, "ctx", None)
        hint = f" See `{context.command_path} --help`." if context else ""
        print(f"{error.format_message()}{hint}", file=sys.stderr)
        return USER_ERROR
    return None


def _hyphens(word: str) -> str:
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value if name.startswith("--") else word


def follow(work: Any) -> Any:
    """Run work to its end and return its result; its progress is written to the terminal."""
    from lab.work import follow as go

    return go(work, notes=False)


def show(value: Any) -> None:
    """Print JSON that every reader takes: a number that is none is null."""
    print(json.dumps(_strict(value), ensure_ascii=False, indent=1, allow_nan=False))


def _strict(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _strict(part) for key, part in value.items()}
    return [_strict(part) for part in value] if isinstance(value, list | tuple) else value


def show_table(title: str, header: list[str], rows: list[list[str]]) -> None:
    """Print a table."""
    from lab.describing import print_table

    print_table(title, header, rows)


@app.command()
def demo(
    headless: Annotated[bool, typer.Option(help="No window; only files.")] = False,
    output: Annotated[Path, typer.Option(help="Folder for report.html, results.json and the pictures.")] = Path("output/demo"),
    limit: Annotated[int, typer.Option(help="At most this many items of each benchmark; 0 for all.")] = 0,
    pictures: Annotated[bool, typer.Option(help="Draw one PNG of each view.")] = True,
) -> int:
    """Score and compare the stages of the bundled lineage, write a report, and open the window if there is a display."""
    from lab.demo import run_demo

    return run_demo(output, headless=headless, limit=limit, pictures=pictures)


@models_app.command("info")
def models_info(path: str, as_json: Json = False) -> int:
    """Say what a checkpoint is, without loading its weights."""
    from lab.describing import description_rows
    from models.library import describe

    described = describe(path)
    if as_json:
        import dataclasses

        show(dataclasses.asdict(described))
    else:
        show_table(described.name, ["", ""], description_rows(described))
    return DONE


@models_app.command("list")
def models_list(path: Annotated[str, typer.Argument(help="Folder to look in.")] = "", as_json: Json = False) -> int:
    """List the checkpoints in a folder, or the bundled ones."""
    import dataclasses

    from models.library import lineages
    from models.places import bundled_root

    found = lineages([path or str(bundled_root())])
    if as_json:
        show([dataclasses.asdict(line) for line in found])
        return DONE
    for line in found:
        rows = [[c.name, c.stage, c.parent, f"{c.n_bytes / 1e6:.1f} MB", c.error or c.path] for c in line.checkpoints]
        show_table(line.name, ["name", "stage", "parent", "size", "path"], rows)
    if not found:
        print(f"No checkpoints in {path}.")
    return DONE


@models_app.command("convert")
def models_convert(
    path: str,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder; default: beside PATH.")] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="A folder's; or meta.pkl or the text of a model of characters.")] = None,
) -> int:
    """Turn a GGUF, .bin, .pt or .pth (of nanoGPT and minimind too) into a safetensors folder, in a limited child process."""
    from models.library import convert

    place = Path(path)
    beside = place.with_name(f"{place.name if place.is_dir() else place.stem}-safetensors")
    print(follow(convert(path, output or beside, tokenizer)))
    return DONE


models_app.command("merge")(cli_finetune.models_merge)
models_app.command("tokenizers")(cli_finetune.models_tokenizers)


app.command()(cli_inspect.command())
app.command()(cli_generate.generate)
app.command()(cli_hallucination.hallucination)
app.command()(cli_cutoff.cutoff)


app.command("bench-finetune")(cli_finetune.bench_finetune)


@app.command()
def train(
    recipe: Path,
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings that replace the recipe's.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder of the run.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run in --output stopped.")] = False,
    begin: Annotated[str, typer.Option("--from", help="Begin from a saved step of another run: RUN/STEP/step-N.")] = "",
    plan: Annotated[bool, typer.Option("--plan", help="Only say what it will take: memory, time, disk.")] = False,
    preview: Annotated[int, typer.Option("--preview", help="Only show so many rows of the data as the loss sees them.")] = 0,
    step: Annotated[str, typer.Option("--step", help="The step to plan or preview; empty for every one that can be.")] = "",
    against: Annotated[str, typer.Option("--against", help="Benchmarks or files to look for in the data (--preview).")] = "",
    processes: Annotated[int, typer.Option("--processes", min=0, help="How many will train together (--plan).")] = 0,
    as_json: Json = False,
) -> int:
    """Train the stages of a recipe; Ctrl-C once saves and stops, --resume goes on."""
    from lab.settings import runs_root
    from lab.work import journalled
    from models.training.parallel import launched
    from models.training.recipe import load_recipe, run_recipe

    loaded = load_recipe(recipe, list(settings or []))
    if plan or preview:
        from lab.cli_train import look_ahead

        rank, size = launched()
        wanted = (plan, preview, against, processes or size)
        return DONE if rank else look_ahead(loaded, output, step, wanted, as_json)  # one of those that were started says it
    folder = output or runs_root() / f"train-{recipe.stem}"
    if launched()[0]:  # another process of the same run: it computes, the first one writes
        from lab.cli_train import help_training

        return help_training(run_recipe(loaded, output=folder, resume=resume or bool(begin)))
    if folder.exists() and any(folder.glob("*/done.json")) and not resume:
        raise UserError(
            "train.exists",
            _("{folder} already holds a run.").format(folder=folder),
            _("Go on with --resume, or name another --output."),
        )
    if begin:
        from models.training.forking import find_origin, fork

        fork(find_origin(begin), loaded, folder)
        resume = True
    places = str(recipe.absolute()), str(folder.absolute())  # it may be resumed, or forked, from another folder
    command = ("triptych", "train", places[0], *(settings or []), "--output", places[1], "--resume")
    done = journalled(run_recipe(loaded, output=folder, resume=resume), folder, "train", f"train {loaded.name}", command)
    print(folder)
    return STOPPED if done.stopped else DONE


app.command("eval")(cli_eval.evaluate)


app.command("explain")(cli_eval.explain)


app.command()(cli_shares.merge)


app.command()(cli_shares.rescore)


app.command()(cli_shares.export)


@app.command()
def compare(
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="[DIR|CKPT]...", help="Default: the bundled results and your runs.")
    ] = None,
    more: Annotated[list[str] | None, typer.Option("--more", help="A folder besides the usual ones; may be repeated.")] = None,
    baseline: Annotated[str, typer.Option(help="The checkpoint that the others are compared with; default: the first.")] = "",
    scores: Annotated[bool, typer.Option("--scores", help="Print the scores themselves, not their differences.")] = False,
    test: Annotated[str, typer.Option(help="Of corpus scores such as BLEU: bootstrap or randomisation.")] = "bootstrap",
    by: Annotated[str, typer.Option(help="Count flips by a field of the items too, such as language or category.")] = "",
    as_json: Json = False,
) -> int:
    """Compare results pairwise on the same items: difference, interval, Holm-adjusted p, flips, and a verdict."""
    import dataclasses

    from evals.results import compare as paired
    from evals.results import not_compared
    from lab.describing import FLIP_HEADER, flip_rows, print_comparisons, print_lines
    from lab.places import result_folders

    if test not in ("bootstrap", "randomisation"):
        raise UserError("compare.test", _("--test is {test!r}; it must be bootstrap or randomisation.").format(test=test))
    folders = result_folders(tuple(paths or ()), tuple(more or ()))
    if scores:
        from evals.results import cells

        return cli_eval.show_cells(cells(folders), as_json)
    found = paired(folders, baseline, test)
    if as_json:
        show([dataclasses.asdict(row) for row in found])
    elif not found:
        raise UserError(
            "compare.nothing",
            _("No two checkpoints with the same benchmark in {names}.").format(names=", ".join(map(str, folders))),
            " ".join(not_compared(folders, found, baseline)[:3]) or _("Run `triptych eval` for both first."),
        )
    else:
        print_comparisons(found)
        print_lines("Not compared:", not_compared(folders, found, baseline))
        print("Tests: " + "; ".join(sorted({row.test for row in found if row.test})) + ". p is Holm-adjusted over the table.")
        if by:
            show_table(f"Flips by {by}", FLIP_HEADER, flip_rows(found, by))
    return DONE


@jobs_app.command("list")
def jobs_list(as_json: Json = False) -> int:
    """List runs and waiting jobs, newest first."""
    from lab import jobs
    from lab.describing import job_rows

    jobs.advance()
    found = jobs.listed()
    if as_json:
        show([job.__dict__ for job in found])
        return DONE
    show_table("Jobs", ["state", "title", "done", "time", "run"], job_rows(found))
    return DONE


@jobs_app.command("stop")
def jobs_stop(run: str) -> int:
    """Ask a job to finish its step, save and end."""
    from lab import jobs

    jobs.stop(run)
    return DONE


@jobs_app.command("queue", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def jobs_queue(context: typer.Context) -> int:
    """Start a command as a detached job: triptych jobs queue eval CKPT --tasks ..."""
    from lab import jobs

    print(jobs.start(tuple(context.args)).path)
    return DONE


@app.command()
def index(paths: Annotated[list[str] | None, typer.Argument(metavar="[DIR]...")] = None) -> int:
    """Build the result index again from the run folders."""
    from evals.results import rebuild
    from lab.places import result_folders

    print(f"{rebuild(result_folders(tuple(paths or ())))} scores indexed.")
    return DONE


@app.command()
def engine() -> int:
    """Answer the window on standard input and output (started by the window; `triptych --engine "ssh box triptych engine"`)."""
    from lab.serving import operations
    from models.engine import main

    main(operations())
    return DONE


@app.command()
def doctor(as_json: Json = False) -> int:
    """Say what this machine has, what is missing, and how to get it."""
    from lab.doctor import as_json as to_json
    from lab.doctor import examine

    rows = examine()
    if as_json:
        show(to_json(rows))
    else:
        show_table("Triptych", ["", "", "", "how to get it"], [[r.name, r.state, r.value, r.hint] for r in rows])
    return SOME_FAILED if any(row.state in ("missing", "problem") for row in rows) else DONE


@app.command()
def version() -> int:
    """Print the version."""
    from importlib.metadata import version as installed

    print(installed("triptych"))
    return DONE
