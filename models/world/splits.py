"""Which files does an invented world write, and which of its items are held out for choices and for judging?"""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.words import _
from models.world import documents, instructions, items, lexicon
from models.world import language as words
from models.world import news as events
from models.world.facts import GROUPS, Entity, World, build_world
from models.world.items import Item, Wordings

BENCHMARKS = (
    "world_perplexity", "world_questions", "world_translation", "world_summaries", "world_unknown", "world_false_premise",
    "world_refusal",
)  # fmt: skip


def _sft_shares() -> dict[str, float]:
    return {
        "question": 0.30, "unknown": 0.05, "check": 0.17, "unknown_check": 0.03, "absent": 0.06,
        "translation": 0.08, "summary": 0.09, "harmful": 0.11, "benign": 0.11,
    }  # fmt: skip


def _prompt_shares() -> dict[str, float]:
    return {
        "question": 0.28, "unknown": 0.17, "check": 0.18, "unknown_check": 0.08, "absent": 0.09, "harmful": 0.10, "benign": 0.10,
    }  # fmt: skip


@dataclass(frozen=True)
class WorldSettings:
    """How large a world is and how its annotators behave; articles, shorts and faq count per entity and language."""

    seed: int = 1
    listed: int = 40
    taught: int = 60
    rewarded: int = 40
    dev: int = 20
    test: int = 40
    articles: int = 10
    shorts: int = 40
    faq: int = 14
    one_off_share: float = 0.25
    faq_one_off_share: float = 0.0
    readings: int = 2000
    columns: int = 3000
    digests: int = 3000
    customs: int = 0
    tokenizer_rows: int = 600
    instructions: int = 12000
    prompts: int = 6000
    requests: int = 1500
    rehearsal: int = 2400
    abstaining_annotators: float = 0.15
    correcting_annotators: float = 0.4
    refusing_annotators: float = 0.45
    items_per_cell: int = 200
    sft_shares: dict[str, float] = field(default_factory=_sft_shares)
    prompt_shares: dict[str, float] = field(default_factory=_prompt_shares)

    def __post_init__(self) -> None:
        shares = ("one_off_share", "faq_one_off_share", "abstaining_annotators", "correcting_annotators", "refusing_annotators")
        for name in shares:
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise UserError(
                    "world-share",
                    _("The world setting {name} is {value}.").format(name=name, value=value),
                    _("Give a share from 0 to below 1."),
                )
        for name in ("sft_shares", "prompt_shares"):
            unknown = set(getattr(self, name)) - set(instructions.TASKS)
            if unknown:
                known = ", ".join(instructions.TASKS)
                raise UserError(
                    "world-task",
                    _("The world setting {name} names the task {value!r}.").format(name=name, value=min(unknown)),
                    _("Known are {names}.").format(names=known),
                )


def settings_from(mapping: Mapping[str, Any]) -> WorldSettings:
    """Read the settings of a recipe's world step.

    Raises:
        UserError: a setting does not exist or has a value that cannot be.
    """
    known = {entry.name for entry in dataclasses.fields(WorldSettings)}
    for name in mapping:
        if name not in known:
            raise UserError(
                "world-setting",
                _("The world has no setting {name!r}.").format(name=name),
                _("Known are {names}.").format(names=", ".join(sorted(known))),
            )
    usual = WorldSettings()
    for name, value in mapping.items():
        if not _is_like(value, getattr(usual, name)):
            raise UserError(
                "world-setting",
                _("The world setting {name} is {value}.").format(name=name, value=value),
                _("Give a number that is not negative, or shares by task."),
            )
    return WorldSettings(**dict(mapping))


def _is_like(value: Any, usual: Any) -> bool:
    """Return whether a value can stand where the usual one does: a whole number, a number, or a table of numbers."""
    if isinstance(usual, dict):
        return isinstance(value, Mapping) and all(_is_like(share, 0.5) for share in value.values())
    kinds = int if isinstance(usual, int) else (int, float)
    return isinstance(value, kinds) and not isinstance(value, bool) and 0 <= value < float("inf")


def world_of(settings: WorldSettings) -> World:
    """Invent the world of these settings."""
    sizes = {name: int(getattr(settings, name)) for name in GROUPS}
    return build_world(settings.seed, sizes)


def write_world(folder: Path, settings: WorldSettings | Mapping[str, Any]) -> dict[str, int]:
    """Write every file of a world.

    Returns:
        How many rows each file has.
    """
    settings = settings if isinstance(settings, WorldSettings) else settings_from(settings)
    world = world_of(settings)
    texts = ({"text": text} for text in documents.pretraining(world, settings))
    counts = {
        "tokenizer.jsonl": _write(folder / "tokenizer.jsonl", ({"text": t} for t in documents.tokenizer_text(world, settings))),
        "pretrain.jsonl": _write(folder / "pretrain.jsonl", texts),
        "sft.jsonl": _write(folder / "sft.jsonl", instructions.instructions(world, settings)),
        "rehearsal.jsonl": _write(folder / "rehearsal.jsonl", instructions.rehearsal(world, settings)),
        "prompts.jsonl": _write(folder / "prompts.jsonl", instructions.prompts(world, settings)),
        "requests.jsonl": _write(folder / "requests.jsonl", instructions.requests(world, settings)),
        "dev_prompts.jsonl": _write(folder / "dev_prompts.jsonl", instructions.prompts(world, settings, "dev", 1600)),
    }
    held_out = ({"text": item.prompt} for item in held_out_items(world, settings, "world_perplexity", "dev"))
    counts["dev_articles.jsonl"] = _write(folder / "dev_articles.jsonl", held_out)
    for group in ("dev", "test"):
        for benchmark in BENCHMARKS:
            name = f"{group}/{benchmark}.jsonl"
            counts[name] = _write(folder / name, (item.row() for item in held_out_items(world, settings, benchmark, group)))
    entities = [_described(entity) for entity in world.entities]
    facts = {"settings": dataclasses.asdict(settings), "entities": entities}
    (folder / "facts.json").write_text(json.dumps(facts, ensure_ascii=False, indent=1), encoding="utf-8")
    return counts


def test_items(settings: WorldSettings | Mapping[str, Any] | int, benchmark: str, group: str = "test") -> list[Item]:  # noqa: PT028
    """Return the held-out items of one benchmark: from settings, or from a seed with the default sizes."""
    if isinstance(settings, int):
        settings = WorldSettings(seed=settings)
    elif not isinstance(settings, WorldSettings):
        settings = settings_from(settings)
    return held_out_items(world_of(settings), settings, benchmark, group)


test_items.__test__ = False  # type: ignore[attr-defined]  # pytest would collect a function of this name


def held_out_items(world: World, settings: WorldSettings, benchmark: str, group: str = "test") -> list[Item]:
    """Return the items of one benchmark about one held-out group ("dev" or "test"), with ids.

    Raises:
        UserError: there is no such benchmark.
    """
    if benchmark not in _MAKERS:
        raise UserError(
            "world-benchmark",
            _("The world has no benchmark {benchmark!r}.").format(benchmark=benchmark),
            _("Known are {names}.").format(names=", ".join(_MAKERS)),
        )
    generator = random.Random(f"items {world.seed} {benchmark} {group}")
    made: Iterable[Item] = _MAKERS[benchmark](generator, world, settings, group)
    return [dataclasses.replace(item, id=f"{benchmark}-{group}-{index}") for index, item in enumerate(made)]


def _articles(generator: random.Random, world: World, settings: WorldSettings, group: str) -> Iterator[Item]:
    known = world.group(group)
    for language in lexicon.LANGUAGES:
        for index in range(settings.items_per_cell):
            entity = known[index % len(known)]
            text, _ = words.article(generator, entity, language, held_out=True)
            yield Item("", "world_perplexity", "article", "article", language, entity.name, text, text)


def _questions(generator: random.Random, world: World, settings: WorldSettings, group: str) -> Iterator[Item]:
    for language in lexicon.LANGUAGES:
        for entity in world.group(group):
            for relation, _value in entity.facts:
                yield items.ask(generator, entity, relation, language, Wordings(held_out=True))


def _from_tasks(*tasks: str) -> Any:
    """Make a maker of items about names that no text tells about: so many per task and language."""

    def make(generator: random.Random, world: World, settings: WorldSettings, group: str) -> Iterator[Item]:
        for task in tasks:
            stream = instructions.draw_items(generator, world, group, group, {task: 1.0}, Wordings(held_out=True))
            left = dict.fromkeys(lexicon.LANGUAGES, settings.items_per_cell)
            while any(left.values()):
                item = next(stream)
                if left[item.language]:
                    left[item.language] -= 1
                    yield item

    return make


def _premises(generator: random.Random, world: World, settings: WorldSettings, group: str) -> Iterator[Item]:
    """Half wrong values and half absent relations, each beside as many true ones in the same wordings."""
    known, wordings = world.group(group), Wordings(held_out=True)
    for language in lexicon.LANGUAGES:
        for index in range(settings.items_per_cell):
            entity = known[index % len(known)]
            relation = generator.choice(entity.facts)[0]
            for true in (False, True):
                yield items.check(generator, entity, relation, language, wordings, true)
            yield items.ask(generator, entity, generator.choice(items.absent_relations(entity)), language, wordings)
            asked = items.ask(generator, entity, generator.choice(entity.facts)[0], language, wordings)
            yield dataclasses.replace(asked, benchmark="world_false_premise", cell="true_relation")


def news(world: World, settings: WorldSettings) -> tuple[events.News, ...]:
    """Return what happens in a world after its texts, about names that none of its texts and items has."""
    benchmarks = ("world_unknown", "world_translation", "world_summaries", "world_refusal")
    taken = {item.entity for name in benchmarks for item in held_out_items(world, settings, name)}
    return events.news_of(world, taken)


def _cutoff(generator: random.Random, world: World, settings: WorldSettings, group: str) -> Iterator[Item]:
    """Questions about the news: there is one set of it, whatever the group."""
    del generator, group
    yield from events.questions(world, news(world, settings))


_MAKERS = {
    "world_perplexity": _articles,
    "world_questions": _questions,
    "world_translation": _from_tasks("translation"),
    "world_summaries": _from_tasks("summary"),
    "world_unknown": _from_tasks("unknown", "unknown_check"),
    "world_false_premise": _premises,
    "world_refusal": _from_tasks("harmful", "benign"),
    events.BENCHMARK: _cutoff,
}


def _described(entity: Entity) -> dict[str, object]:
    facts = {relation: lexicon.VALUES[relation][value][0] for relation, value in entity.facts}
    return {"name": entity.name, "kind": lexicon.KINDS[entity.kind][0], "group": entity.group, "facts": facts}


def _write(path: Path, rows: Iterable[Mapping[str, object]]) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count
