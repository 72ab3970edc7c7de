"""What the trial of a knowledge cutoff needs on disk: the news, the texts that are trained on, and the recipe that does it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from evals.cutoff.options import RETRIEVAL, CutoffSettings
from models.errors import UserError
from models.events import Note, Work
from models.files import write_json, write_text
from models.records.cutoff import CutoffPlace
from models.words import _

WORLD, NEWS, SETTINGS, RECIPE = "world.json", "news", "cutoff_settings.json", "recipe.yaml"
BLOCK = 192


def prepare(checkpoint: str, settings: CutoffSettings, output: Path) -> Work[Path]:
    """Write everything once and return the recipe; what another trial left there is refused.

    Raises:
        UserError: If the checkpoint has no world, or the folder is another trial's.
    """
    found = _world(checkpoint)
    chosen = json.loads(json.dumps({"checkpoint": str(Path(checkpoint).resolve()), **asdict(settings)}))
    note = output / SETTINGS
    if note.is_file():
        if json.loads(note.read_text(encoding="utf-8")) != chosen:
            raise UserError(
                "cutoff.other",
                _("{path} holds a trial with other settings.").format(path=output),
                _("Choose another --output."),
                path=str(output),
            )
        return output / RECIPE
    yield Note(_("writing the news"))
    _write_texts(output, found, settings)
    write_text(output / RECIPE, yaml.safe_dump(recipe(checkpoint, settings), sort_keys=False, allow_unicode=True))
    write_json(note, chosen)
    return output / RECIPE


def _world(checkpoint: str) -> Mapping[str, Any]:
    from evals.benchmarks._world import settings_near

    found = settings_near(checkpoint)
    if not found:
        raise UserError(
            "cutoff.world",
            _("{path} has no closed world beside it: what happened after its texts is not known.").format(path=checkpoint),
            _("Take a checkpoint of the demo lineage, or of one that a recipe with a world made."),
            path=checkpoint,
        )
    return found


def place(checkpoint: str) -> CutoffPlace:
    """Return whether a trial can be made of a checkpoint: it must write text, be trainable, and have a world beside it."""
    from models.library import describe

    try:
        _world(checkpoint)
        described = describe(checkpoint)
    except UserError as error:
        return CutoffPlace(checkpoint, str(error))
    why = described.unavailable.get("generate", "")
    if why:
        return CutoffPlace(checkpoint, f"{described.name}: {why}")
    return CutoffPlace(checkpoint)


def _write_texts(output: Path, found: Mapping[str, Any], settings: CutoffSettings) -> None:
    from models.world import documents, instructions, news, splits

    chosen = splits.settings_from(found)
    world = splits.world_of(chosen)
    told = splits.news(world, chosen)
    write_json(output / WORLD, asdict(chosen))
    for name, text in news.bulletins(world, told):
        write_text(output / NEWS / name, text + "\n")
    _write_rows(output / "reports.jsonl", ({"text": text} for text in news.reports(world, told)))
    if "reader" in settings.ways:
        _write_rows(output / "lessons.jsonl", news.reading_lessons(world, settings.lessons))
    if "replay" in settings.ways:
        old = list(documents.pretraining(world, chosen))
        drawn = random.Random(f"old texts {settings.seed}").sample(old, min(settings.old_texts, len(old)))
        rows: list[Mapping[str, object]] = [{"text": text} for text in drawn]
        _write_rows(output / "old.jsonl", rows)
        _write_rows(output / "old_answers.jsonl", islice(instructions.rehearsal(world, chosen), settings.old_texts))


def _write_rows(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def recipe(checkpoint: str, settings: CutoffSettings) -> dict[str, Any]:
    """Return the recipe: one step of supervised fine-tuning for each way that trains, all from the same checkpoint."""
    common = {
        "stage": "sft", "parent": str(Path(checkpoint).resolve()), "block": BLOCK, "batch_size": 8, "epochs": settings.epochs,
        "threads": settings.threads, "device": settings.device, "log_every": 20,
    }  # fmt: skip
    adapter = {"method": "lora", "lora": {"rank": settings.rank, "alpha": 2 * settings.rank}, "lr": settings.adapter_lr}
    own: dict[str, dict[str, Any]] = {
        "full": {"data": ["reports.jsonl"], "lr": settings.lr},
        "replay": {"data": ["reports.jsonl", "old.jsonl", "old_answers.jsonl"], "lr": settings.lr},
        "adapter": {"data": ["reports.jsonl"], **adapter},
        "reader": {"data": ["lessons.jsonl"], "epochs": 1.0, **adapter},
    }
    steps = [{"name": way, **common, **own[way]} for way in settings.ways if way != RETRIEVAL]
    return {"name": "cutoff", "seed": settings.seed, "stages": steps}
