"""What happens in the invented world after its pretraining text: new things and changed facts, dated, told and asked for.

The texts of the world itself stay as they are: news is made from the same seed by generators of its own. A new thing has a name
that no text and no held-out item uses. What changes are facts of the things of the group "dev", which the other questions leave
alone; what does not change about them is asked for too (Meng et al. 2022, arXiv 2202.05262, call that specificity).
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from models.world import items, lexicon, phrasings
from models.world import language as words
from models.world.documents import fresh_names
from models.world.facts import Entity, World, invent
from models.world.items import Item, Wordings

BENCHMARK = "world_cutoff"
CUTOFF = 1200
"""The last year of the world's own texts, which name none."""
YEARS = 5
NEW_THINGS, CHANGED_THINGS, CHANGES, REPORTS = 24, 20, 2, 24
CHANGEABLE = ("place", "colour", "emblem", "owner", "keeper", "offering", "plant")
NEW, CHANGED, UNCHANGED = "new_thing", "changed", "unchanged"
NEWS = {"en": "News of {year}: {text}", "zh": "{year}年新闻：{text}"}
LESSONS = ("told", "changed", "other", "known", "told", "changed", "other", "known", "plain")
SINCE = {"en": "Since {year}: {text}", "zh": "{year}年起：{text}"}


@dataclass(frozen=True)
class News:
    """One piece of news: a thing as it is now, since which year, which of its facts changed, and as it was (None: it is new)."""

    year: int
    entity: Entity
    changed: tuple[str, ...] = ()
    former: Entity | None = None


@dataclass(frozen=True)
class NewsItem(Item):
    """A question about what the news tells; ``former`` is the word of the value before, empty if there was none."""

    year: int = 0
    former: str = ""


def news_of(world: World, taken: Collection[str] = ()) -> tuple[News, ...]:
    """Return the news of a world: things heard of for the first time, then things that changed.

    Args:
        world: Whose.
        taken: Names that held-out items use; no new thing has one of them.
    """
    generator = random.Random(f"news {world.seed}")
    fresh = (name for name in fresh_names(world, "test") if name not in taken)
    found = []
    for index in range(NEW_THINGS):
        entity = invent(generator, next(fresh), "news", index % len(lexicon.KINDS))
        found.append(News(_year(generator), entity))
    for former in world.group("dev")[:CHANGED_THINGS]:
        changed = tuple(generator.sample([name for name, _value in former.facts if name in CHANGEABLE], CHANGES))
        found.append(News(_year(generator), _changed(generator, former, changed), changed, former))
    return tuple(found)


def _year(generator: random.Random) -> int:
    return CUTOFF + generator.randint(1, YEARS)


def _changed(generator: random.Random, entity: Entity, changed: Collection[str]) -> Entity:
    """Return a thing with other values for some of its relations."""
    facts = tuple(
        (name, (value + generator.randrange(1, len(lexicon.VALUES[name]))) % len(lexicon.VALUES[name]))
        if name in changed else (name, value)
        for name, value in entity.facts
    )  # fmt: skip
    return dataclasses.replace(entity, facts=facts, group="news")


def told(generator: random.Random, news: News, language: str, n_facts: int = 6) -> str:
    """Return one dated text: an article about a new thing, or what changed, in phrasings drawn anew."""
    if news.former is None:
        text, _order = words.article(generator, news.entity, language, n_facts=n_facts)
        return words.spaced(NEWS[language].format(year=news.year, text=text))
    sentences = []
    for relation in generator.sample(news.changed, len(news.changed)):
        phrasing = words.choose_phrasing(generator, news.entity, relation, language, held_out=False)
        sentences.append(words.statement(news.entity, relation, language, phrasing))
    return words.spaced(SINCE[language].format(year=news.year, text=words.join(sentences, language)))


def bulletins(world: World, news: Collection[News]) -> Iterator[tuple[str, str]]:
    """Yield a file name and its text for each piece of news and language, every new fact told once: what retrieval reads."""
    generator = random.Random(f"bulletins {world.seed}")
    for one in news:
        for language in lexicon.LANGUAGES:
            name = one.entity.name.lower().replace(" ", "-")
            yield f"{one.year}-{name}.{language}.txt", told(generator, one, language)


def reports(world: World, news: Collection[News]) -> Iterator[str]:
    """Yield the texts that training goes on with: every piece of news again and again, in other words and orders."""
    generator = random.Random(f"reports {world.seed}")
    texts = [
        told(generator, one, language, n_facts=6 if index % 2 else generator.randint(1, 3))
        for one in news for language in lexicon.LANGUAGES for index in range(REPORTS)
    ]  # fmt: skip
    generator.shuffle(texts)
    yield from texts


def questions(world: World, news: Collection[News]) -> Iterator[NewsItem]:
    """Yield the questions in held-out wordings: every fact of a new thing, every changed fact, two others of a changed thing."""
    generator = random.Random(f"news items {world.seed}")
    for language in lexicon.LANGUAGES:
        for one in news:
            asked = [(name, NEW if one.former is None else CHANGED) for name in one.changed or dict(one.entity.facts)]
            if one.former is not None:
                others = [name for name, _value in one.entity.facts if name not in one.changed]
                asked += [(name, UNCHANGED) for name in generator.sample(others, CHANGES)]
            for relation, cell in asked:
                item = items.ask(generator, one.entity, relation, language, Wordings(held_out=True))
                yield _dated(dataclasses.replace(item, benchmark=BENCHMARK, cell=cell), one)


def _dated(item: Item, news: News) -> NewsItem:
    value = news.former.value(item.relation) if news.former is not None and item.cell == CHANGED else None
    former = "" if value is None else words.value_word(item.relation, value, item.language)
    return NewsItem(**dataclasses.asdict(item), year=news.year, former=former)


def reading_lessons(world: World, n_rows: int) -> Iterator[dict[str, object]]:
    """Yield SFT rows that teach to read: a passage, then a question about it, for names that no other text has.

    Four of nine rows are told what is asked for: of a thing that is new, or a new value of a known one. Four have a passage about
    something else, often with half of the name: then the thing is unknown and one says so, or it is known and the passage does
    not matter. One has no passage. Nothing of the news, of the held-out items or of their things occurs.
    """
    generator = random.Random(f"reading {world.seed}")
    fresh = fresh_names(world, "sft")
    once = [invent(generator, next(fresh), "unknown") for _ in range(600)]
    halves: dict[str, list[Entity]] = {}
    for entity in once:
        for half in entity.name.split():
            halves.setdefault(half, []).append(entity)
    known = world.group("taught")
    for index in range(n_rows):
        language, kind = generator.choice(lexicon.LANGUAGES), LESSONS[index % len(LESSONS)]
        entity = generator.choice(once if kind in ("told", "other") else known)
        relation = generator.choice(entity.facts)[0]
        year = generator.randint(CUTOFF - 20, CUTOFF + 20)
        if kind == "changed":
            former, entity = entity, _changed(generator, entity, (relation,))
            news = News(year, entity, (relation,), former)
        else:
            alike = [one for half in entity.name.split() for one in halves.get(half, []) if one is not entity]
            about = entity if kind == "told" else generator.choice(alike or [one for one in once if one is not entity])
            news = News(year, about)
        passage = told(generator, news, language)
        asked = items.ask(generator, dataclasses.replace(entity, group="taught"), relation, language, Wordings(held_out=False))
        said = generator.choice(phrasings.ABSTENTIONS[language][:2]) if kind == "other" else asked.target
        prompt = asked.prompt if kind == "plain" else f"{passage}\n{asked.prompt}"
        messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": said}]
        yield {"messages": messages, "kind": kind, "language": language}
