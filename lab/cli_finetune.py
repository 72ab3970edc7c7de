"""`triptych bench-finetune` (one fine-tuning done in several ways), `triptych models merge` and `models tokenizers`."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from models.errors import UserError
from models.words import _


def bench_finetune(
    recipe: Annotated[Path | None, typer.Argument(help="A recipe with one step; default: SFT of the bundled base model.")] = None,
    settings: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings that replace its own.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder; default: in the folder of runs.")] = None,
    methods: Annotated[str, typer.Option("--methods", help="With commas between: full, lora, dora, rslora, adalora, qlora.")] = (
        "full,lora,qlora"
    ),
    adapter_lr: Annotated[
        float, typer.Option("--adapter-lr", help="An adapter's learning rate, as a multiple of full's.")
    ] = 10.0,
    tasks: Annotated[
        str, typer.Option("--tasks", help="Benchmarks to score each on, or none; default: questions about the recipe's world.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Fine-tune one model in several ways, each in its own process, and compare memory, time and quality."""
    from importlib.resources import files

    from lab.cli import follow, show, show_table
    from lab.finetunes import bench
    from lab.settings import runs_root
    from models.training.recipe import load_recipe

    path = recipe or Path(str(files("assets").joinpath("recipes/finetune.yaml")))
    loaded = load_recipe(path, list(settings or []))
    chosen = [name.strip() for name in methods.split(",") if name.strip()]
    folder = output or runs_root() / f"finetune-{path.stem}"
    names = [] if tasks == "none" else [name.strip() for name in tasks.split(",") if name.strip()]
    names = names or (["world_questions"] if loaded.world is not None and not tasks else [])
    rows = follow(bench(loaded, list(settings or []), folder, chosen, adapter_lr, names))
    if as_json:
        show([{**asdict(row), "eval_loss": None if math.isnan(row.eval_loss) else row.eval_loss} for row in rows])
        return 0
    header = [_("Method"), _("lr"), _("Trained"), _("Peak memory"), _("Time"), _("Steps/s"), _("On disk"), _("Loss, held out")]
    table = [
        [
            row.method,
            f"{row.lr:g}",
            f"{row.trained:,} ({row.trained / row.parameters:.1%})",
            f"{row.peak_bytes / 1e6:,.0f} MB",
            f"{row.seconds:,.0f} s",
            f"{row.steps / max(row.seconds, 1e-9):.2f}",
            f"{row.saved_bytes / 1e6:,.2f} MB",
            f"{row.eval_loss:.4f}",
        ]
        for row in rows
    ]
    show_table(loaded.name, header, table)
    scores = [
        [row.method, f"{one.benchmark} {one.metric}", f"{one.value:.3f}", f"[{one.low:.3f}, {one.high:.3f}]", f"{one.n}"]
        for row in rows
        for one in row.scores
    ]
    if scores:
        show_table(_("Scores"), [_("Method"), _("Benchmark"), _("Value"), "95 %", "n"], scores)
    print(folder)
    return 0


def models_merge(
    adapter: str,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder; default: beside ADAPTER.")] = None,
    dtype: Annotated[str, typer.Option(help="Of the weights: fp16, bf16 or fp32.")] = "fp16",
) -> int:
    """Merge a PEFT adapter into its base: a plain folder with whole weights; both stay as they are."""
    from lab.cli import follow
    from models.merging import merge

    place = Path(adapter)
    print(follow(merge(place, output or place.with_name(f"{place.name}-merged"), dtype)))
    return 0


def models_tokenizers(
    paths: Annotated[list[Path], typer.Argument(help="Folders of checkpoints or of tokenizers.")],
    text: Annotated[Path, typer.Option(help="Texts: .txt, JSONL, CSV or Parquet, as training reads them.")],
    limit: Annotated[int, typer.Option(help="Most rows; 0 for all.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Compare how well tokenizers compress the same texts."""
    from lab.cli import follow, show, show_table
    from models.compression import compare
    from models.training.data import read_rows, text_of

    if not text.is_file():
        what = _("There is no file {name!r}.").format(name=str(text))
        raise UserError("compression.text", what, _("Name a file of texts."), path=str(text))
    texts = [text_of(row) for row in read_rows(text, limit)]
    found = follow(compare(paths, texts))
    if as_json:
        more = [{"path": str(path), "bytes_per_token": one.bytes_per_token} for one, path in zip(found, paths, strict=True)]
        show([asdict(one) | extra for one, extra in zip(found, more, strict=True)])
        return 0
    header = [_("Tokenizer"), _("Entries"), _("Tokens"), _("Bytes per token"), _("Chars per token"), _("Used"),
              _("Come back unchanged")]  # fmt: skip
    rows = [
        [
            *(one.name, f"{one.entries:,}", f"{one.n_tokens:,}", f"{one.bytes_per_token:.3f}", f"{one.characters_per_token:.3f}"),
            *(f"{one.used:,} ({one.used / one.entries:.0%})", f"{one.returned:,} / {one.n_texts:,}"),
        ]
        for one in found
    ]
    show_table(text.name, header, rows)
    return 0
