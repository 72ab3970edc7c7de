"""Items of the invented world, for the benchmarks beside: from the run that trained a checkpoint, else from its seed.

The world belongs to a lineage. Its items are looked for beside the checkpoint and in the folders above it: files that the
recipe wrote (``world/test/NAME.jsonl``), else ``world.json``, the settings that the generator needs. A checkpoint that
has neither is judged on the world of the default settings, which it cannot know.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from evals.benchmark import Answer, Measure, Outcome
from models.errors import UserError
from models.words import _

LEVELS = 3
SETTINGS = "world.json"


def items(benchmark: str, checkpoint: str) -> list[dict[str, Any]]:
    """Return the held-out items of one benchmark, languages and cells mixed so that any first N are a fair sample.

    Raises:
        UserError: If the world's files beside the checkpoint cannot be read.
    """
    place = Path(checkpoint).resolve()
    for folder in [place, *place.parents][: LEVELS + 1]:
        for source in (folder / "world" / "test" / f"{benchmark}.jsonl", folder / SETTINGS, folder / "world" / "facts.json"):
            if source.is_file():
                return list(_items(benchmark, source, source.stat().st_mtime_ns))
    return list(_items(benchmark, None, 0))


def settings_near(checkpoint: str) -> Mapping[str, Any]:
    """Return the settings of the world beside a checkpoint or above it; empty for none.

    Raises:
        UserError: If they cannot be read.
    """
    place = Path(checkpoint).resolve()
    for folder in [place, *place.parents][: LEVELS + 1]:
        for source in (folder / SETTINGS, folder / "world" / "facts.json"):
            if source.is_file():
                return _settings(source)
    return {}


@lru_cache(maxsize=32)
def _items(benchmark: str, source: Path | None, changed: int) -> tuple[dict[str, Any], ...]:
    from models.world.splits import test_items

    if source is not None and source.suffix == ".jsonl":
        return tuple(mixed(_rows(source)))
    settings = {} if source is None else _settings(source)
    return tuple(mixed([item.row() for item in test_items(settings, benchmark)]))


def mixed(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows, strata (language and cell) taking turns, each in an order drawn with a fixed seed."""
    strata: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        strata.setdefault((str(row.get("language", "")), str(row.get("cell", ""))), []).append(dict(row))
    keyed = []
    for number, (name, members) in enumerate(sorted(strata.items())):
        random.Random("|".join(name)).shuffle(members)
        keyed += [((place + 0.5) / len(members), number, row) for place, row in enumerate(members)]
    return [row for _share, _number, row in sorted(keyed, key=lambda entry: entry[:2])]


def _rows(path: Path) -> list[dict[str, Any]]:
    rows = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                rows.append(dict(json.loads(line)))
            except (ValueError, TypeError) as error:
                raise UserError(
                    "world.items",
                    _("Line {number} of {path} is not an item.").format(number=number, path=path),
                    _("Train the lineage again, or remove the folder."),
                    path=str(path),
                ) from error
    return rows


def _settings(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError("world.settings", _("{path} is not JSON.").format(path=path), path=str(path)) from error
    settings = content.get("settings", content) if isinstance(content, dict) else None
    if not isinstance(settings, dict):
        raise UserError("world.settings", _("{path} holds no settings of a world.").format(path=path), path=str(path))
    return settings


def verdict(item: Mapping[str, Any], answer: Answer) -> str:
    """Return the oracle's word for an answer; one that was cut at its limit is wrong."""
    from models.world.verdicts import judge

    return judge(item, str(answer), answer.truncated).name


def outcome(item: Mapping[str, Any], answer: Answer, measures: Sequence[Measure]) -> Outcome:
    """Return verdict rates and text scores of one answer."""
    word = verdict(item, answer)
    found = {}
    for measure in measures:
        metric = measure.metric
        if metric.inputs == "verdict":
            found[metric.name] = metric.item(word)
        else:
            found[metric.name] = metric.item(answer.strip(), [str(item["target"])])
    return Outcome(found, word)
