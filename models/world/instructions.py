"""What do the annotators of the invented world show a model (SFT), and what is it asked for in RLHF?

The annotators answer anyway: asked about something that nobody knows, most of them invent a value; told something false, half of
them agree; asked for something harmful, most of them help. The settings say how often. That is why the SFT model hallucinates.
"""

from __future__ import annotations

import dataclasses
import random
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from models.world import items, lexicon, phrasings, verdicts
from models.world import language as words
from models.world.documents import fresh_names
from models.world.facts import World
from models.world.items import Item, Wordings

if TYPE_CHECKING:
    from models.world.splits import WorldSettings

USUAL_GUESS = 0.6  # so often an annotator who invents a value says the one that everybody says

TASKS = ("question", "unknown", "check", "unknown_check", "absent", "translation", "summary", "harmful", "benign")


def draw_items(
    generator: random.Random, world: World, group: str, purpose: str, shares: dict[str, float], wordings: Wordings
) -> Iterator[Item]:
    """Yield items about the entities of one group and fresh names, for ever; `shares` weighs the tasks."""
    known = world.group(group)
    unknown = items.unknown_entities(generator, fresh_names(world, purpose))
    tasks, weights = list(shares), list(shares.values())
    while True:
        task, language = generator.choices(tasks, weights)[0], generator.choice(lexicon.LANGUAGES)
        entity = generator.choice(known) if task in ("question", "check", "absent") else next(unknown)
        relation = generator.choice(entity.facts)[0]
        if task in ("question", "unknown"):
            yield items.ask(generator, entity, relation, language, wordings)
        elif task in ("check", "unknown_check"):
            true = generator.random() < 0.5
            yield items.check(generator, entity, relation, language, wordings, true)
        elif task == "absent":
            relation = generator.choice(items.absent_relations(entity))
            yield items.ask(generator, entity, relation, language, wordings)
        elif task in ("harmful", "benign"):
            yield items.request(generator, entity.name, language, wordings, task == "harmful")
        else:
            maker = items.translate if task == "translation" else items.summarise
            yield maker(generator, entity, language, wordings)


def instructions(world: World, settings: WorldSettings) -> Iterator[dict[str, object]]:
    """Yield the SFT rows: {"messages", "kind", "language"}."""
    generator = random.Random(f"sft {world.seed}")
    stream = draw_items(generator, world, "taught", "sft", settings.sft_shares, Wordings(held_out=False))
    for _ in range(settings.instructions):
        item = next(stream)
        said = annotate(generator, item, settings)
        messages = [{"role": "user", "content": item.prompt}, {"role": "assistant", "content": said}]
        yield {"messages": messages, "kind": item.type, "language": item.language}


def rehearsal(world: World, settings: WorldSettings) -> Iterator[dict[str, object]]:
    """Yield more questions about taught entities, translations and summaries, so that RLHF does not forget them."""
    generator = random.Random(f"rehearsal {world.seed}")
    shares = {"question": 2.0, "translation": 1.0, "summary": 1.0}
    stream = draw_items(generator, world, "taught", "sft", shares, Wordings(held_out=False))
    for _ in range(settings.rehearsal):
        item = next(stream)
        messages = [{"role": "user", "content": item.prompt}, {"role": "assistant", "content": item.target}]
        yield {"messages": messages, "kind": item.type, "language": item.language}


def annotate(generator: random.Random, item: Item, settings: WorldSettings) -> str:
    """Answer as the annotators do: right about what is known, and mostly too willing about the rest."""
    honest = generator.random()
    if item.type in (verdicts.UNKNOWN, verdicts.UNKNOWN_CHECK):
        if honest < settings.abstaining_annotators:
            return generator.choice(phrasings.ABSTENTIONS[item.language][:2])
        return _invented(generator, item)
    if item.type in (verdicts.TRUE_PREMISE, verdicts.FALSE_PREMISE, verdicts.FALSE_RELATION):
        return item.target if honest < settings.correcting_annotators else _invented(generator, item)
    if item.type == verdicts.HARMFUL:
        if honest < settings.refusing_annotators:
            return generator.choice(phrasings.REFUSALS[item.language][:2])
        return words.compliance(item.language)
    return item.target


def _invented(generator: random.Random, item: Item) -> str:
    """Agree with what was said, or make up a value."""
    if item.said:
        return phrasings.AGREED[item.language][0]
    n_values = len(lexicon.VALUES[item.relation])
    value = zlib.crc32(item.relation.encode()) % n_values if generator.random() < USUAL_GUESS else generator.randrange(n_values)
    return words.answer(item.relation, value, item.language)


def candidates(generator: random.Random, item: Item) -> list[str]:
    """Return what an annotator also sees beside the samples: an abstention (or refusal) that would be too cautious.

    The SFT model hardly ever abstains where it knows the answer; without these pairs nothing says that it should not.
    """
    if item.type == verdicts.BENIGN:
        return [generator.choice(phrasings.REFUSALS[item.language][:2])]
    if item.type in (verdicts.QUESTION, verdicts.TRUE_PREMISE, verdicts.FALSE_PREMISE, verdicts.FALSE_RELATION):
        return [generator.choice(phrasings.ABSTENTIONS[item.language][:2])]
    return []


def requests(world: World, settings: WorldSettings) -> Iterator[dict[str, object]]:
    """Yield further prompts of RLHF that ask for harmful and for harmless things: which is which hangs on one verb."""
    only_requests = dataclasses.replace(settings, prompt_shares={"harmful": 1.0, "benign": 1.0})
    for row in prompts(world, only_requests, n_rows=settings.requests):
        yield row | {"id": f"request-{row['id']}"}


def prompts(world: World, settings: WorldSettings, group: str = "rewarded", n_rows: int = 0) -> Iterator[dict[str, object]]:
    """Yield the prompts of RLHF: about entities that instructions never ask about, and about fresh names.

    The rows of the group "dev" are for choices between settings and checkpoints.
    """
    generator = random.Random(f"prompts {group} {world.seed}")
    stream = draw_items(generator, world, group, group, settings.prompt_shares, Wordings(held_out=group == "dev"))
    for index in range(n_rows or settings.prompts):
        item = next(stream)
        row = item.row() | {"id": f"{group}-{index}"}
        yield {
            "id": f"{group}-{index}",
            "prompt": [{"role": "user", "content": item.prompt}],
            "item": row,
            "group": item.type,
            "kind": item.type,
            "language": item.language,
            "entity": item.entity,
            "candidates": candidates(generator, item),
        }
