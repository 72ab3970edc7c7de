"""`triptych eval`: score checkpoints on benchmarks. The flags are lm-eval's, with its meaning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from evals.options import EvalSettings
    from models.records.scores import Cell

OPTIONAL = ("--apply-chat-template", "--fewshot-as-multiturn")
"""Flags of lm-eval's that may stand without a value."""
SEED = ("seed", "numpy_seed", "torch_seed", "fewshot_seed")
FEW = 3
"""Benchmarks that a run's title names."""


def filled(words: list[str]) -> list[str]:
    """Return the words of a command line with ``true`` after each flag of ``eval`` that stands without its value."""
    if words[:1] != ["eval"]:
        return words
    if "--explain" in words:  # another command in lm-eval's clothes: it needs no tasks and no output folder
        return ["explain", *(word for word in words[1:] if word != "--explain")]
    found: list[str] = []
    for word, following in zip(words, [*words[1:], "--"], strict=True):
        if word == "--no-apply-chat-template":
            found += [OPTIONAL[0], "false"]
            continue
        found.append(word)
        if word in OPTIONAL and (following.startswith("-") or _is_checkpoint(following)):
            found.append("true")
    return found


def _is_checkpoint(word: str) -> bool:
    """Return whether a word of the command line is a checkpoint rather than the name of a template or its file."""
    return Path(word).is_dir() or word.lower().endswith((".gguf", ".safetensors", ".bin", ".pt")) or word.startswith("endpoint:")


def switch(text: str) -> bool | str | None:
    """Return what an optional value means: nothing, yes, no, or a name."""
    return {"": None, "true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(text.lower(), text)


def flags(settings: EvalSettings) -> list[str]:
    """Return the flags that give these settings, for running the same again."""
    found: list[str] = []
    plain = type(settings)()
    for field in fields(settings):
        value = getattr(settings, field.name)
        if field.name in SEED or value == getattr(plain, field.name) or value is None:
            continue
        text = str(value).lower() if isinstance(value, bool) else f"{value:.15g}" if isinstance(value, float) else str(value)
        name = "--" + field.name.replace("_", "-")
        found += [name] if field.name == "allow_code" else [name, text]
    given = [getattr(settings, name) for name in SEED]
    return found if given == [getattr(plain, name) for name in SEED] else [*found, "--seed", ",".join(map(str, given))]


def evaluate(
    checkpoints: Annotated[
        list[str], typer.Argument(metavar="CKPT...", help="Folders, GGUF files, or endpoint:URL#MODEL for a server.")
    ],
    tasks: Annotated[str, typer.Option("--tasks", "-t", help="Benchmarks, lm-eval tasks, groups, tags, YAML files.")],
    output_path: Annotated[Path, typer.Option("--output-path", "-o", help="Folder for results and samples.")],
    limit: Annotated[float, typer.Option("--limit", "-L", help="At most this many items each; below 1 the share.")] = 0,
    samples: Annotated[
        str, typer.Option("--samples", "-E", metavar="JSON|FILE", help="The items to take: {'task': [0, 3, 6]}.")
    ] = "",
    batch_size: Annotated[str, typer.Option("--batch-size", "-b", help="auto or a number.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    quantize: Annotated[str, typer.Option(help="int8 or int4; empty for none.")] = "",
    num_fewshot: Annotated[int | None, typer.Option("--num-fewshot", "-f", help="Examples before each item.")] = None,
    apply_chat_template: Annotated[
        str, typer.Option(metavar="[NAME|FILE|false]", help="Prompt through the chat template. Default: as the benchmark says.")
    ] = "",
    system_instruction: Annotated[str, typer.Option(help="System message before every prompt.")] = "",
    fewshot_as_multiturn: Annotated[
        str, typer.Option(metavar="[false]", help="Examples as turns of a conversation. Default: with a chat template.")
    ] = "",
    gen_kwargs: Annotated[
        str, typer.Option(metavar="K=V,...|JSON", help="Generation settings over the task's: temperature=0.7,top_p=0.9.")
    ] = "",
    model_args: Annotated[
        str, typer.Option(metavar="K=V,...", help="How endpoints are asked: tokenizer=FOLDER,num_concurrent=8,timeout=60.")
    ] = "",
    include_path: Annotated[str, typer.Option(help="Folder with your own task YAML files.")] = "",
    metric: Annotated[
        str, typer.Option("--metric", metavar="NAME|FOLDER,...", help="Further metrics of `evaluate`; needs --allow-code.")
    ] = "",
    allow_code: Annotated[
        bool, typer.Option("--allow-code", help="Let task YAML from outside, and --metric, run their Python.")
    ] = False,
    seed: Annotated[
        str, typer.Option(metavar="N|PYTHON,NUMPY,TORCH,FEWSHOT", help="Default: 0,1234,1234,1234, as lm-eval's.")
    ] = "",
    shard: Annotated[str, typer.Option(metavar="i/n", help="Answer only this share; `triptych merge` scores all.")] = "",
    engine: Annotated[str, typer.Option(help="ray: shares as tasks of a cluster.")] = "",
    address: Annotated[str, typer.Option(help="Of the Ray cluster, or auto; empty starts one here.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Score checkpoints on benchmarks; started again after a crash, it computes only what is missing."""
    from evals import options

    turns = switch(fewshot_as_multiturn)
    python, numpy, torch, fewshot = options.seeds(seed) if seed else options.SEEDS
    wanted = options.EvalSettings(
        limit=limit, batch_size=batch_size, device=device, dtype=dtype, quantize=quantize, num_fewshot=num_fewshot,
        apply_chat_template=switch(apply_chat_template), include_path=include_path, allow_code=allow_code, seed=python,
        samples=samples, system_instruction=system_instruction, gen_kwargs=gen_kwargs,
        fewshot_as_multiturn=turns if isinstance(turns, bool) else None, numpy_seed=numpy, torch_seed=torch,
        fewshot_seed=fewshot, metric=metric, model_args=model_args,
    )  # fmt: skip
    return _run((checkpoints, tasks, output_path), wanted, (shard, engine, address), as_json)


def _run(what: tuple[list[str], str, Path], wanted: EvalSettings, where: tuple[str, str, str], as_json: bool) -> int:
    from lab.cli_shares import work_of
    from lab.work import journalled

    checkpoints, tasks, output_path = what
    names = [name.strip() for name in tasks.split(",") if name.strip()]
    work, folder, more = work_of(checkpoints, names, wanted, output_path, where)
    command = ("triptych", "eval", *checkpoints, "--tasks", tasks, "--output-path", str(output_path), *flags(wanted), *more)
    return show_cells(journalled(work, folder, "eval", f"eval {_few(names)} {where[0]}".strip(), command), as_json)


def _few(names: Sequence[str]) -> str:
    """Return what a run is called by: its benchmarks, of many the first ones and how many there are."""
    return ",".join(names) if len(names) <= FEW else f"{','.join(names[:FEW])},… ({len(names)})"


def show_cells(cells: Sequence[Cell], as_json: bool) -> int:
    """Print scores, and return the exit code: whether all of them are there."""
    from lab.cli import DONE, SOME_FAILED, show

    if as_json:
        show([cell.__dict__ for cell in cells])
    else:
        from lab.describing import print_cells

        print_cells(cells)
    return SOME_FAILED if any(cell.state != "done" for cell in cells) else DONE


def explain(
    run: Annotated[Path, typer.Argument(help="Output folder of an evaluation, a checkpoint's folder in it, or a results file.")],
    task: Annotated[str, typer.Argument(help="Benchmark or task.")],
    doc: Annotated[str, typer.Argument(help="The item's number, from 0, or its id.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Take one scored item apart (token ids, template, BOS, truncation, key) and compute it again by a second path."""
    from dataclasses import asdict

    from evals.explaining import explain as explained
    from lab.cli import DONE, SOME_FAILED, follow, show, show_table
    from lab.places import followed

    found = follow(explained(followed([run])[-1], task, doc))
    if as_json:
        show(asdict(found))
    else:
        show_table(f"{task} {doc}", ["", ""], [list(fact) for fact in found.facts])
        for one in found.requests:
            show_table(one.kind, ["", ""], _request_rows(one))
    return SOME_FAILED if any(one.agrees is False for one in found.requests) else DONE


def _request_rows(one: Any) -> list[list[str]]:
    ids = [*one.context, *one.continuation]
    tokens = " ".join(f"{piece}/{number}" for piece, number in zip(one.pieces, ids, strict=True))
    verdict = {None: "not comparable", True: "the same", False: "DIFFERENT"}[one.agrees]
    n = len(one.context)
    rows = [["key", one.key], ["tokens", tokens], ["context", f"{n} tokens"], ["scored", f"{len(one.continuation)} tokens"]]
    rows += [["note", note] for note in one.notes]
    return [*rows, ["stored", str(one.stored)], ["second path", str(dict(one.again))], ["", verdict]]
