"""What does the invented world publish: the pretraining text, and the text that the tokenizer is trained on?"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from models.world import language as words
from models.world import lexicon, phrasings
from models.world.facts import Entity, World, invent, names

if TYPE_CHECKING:
    from models.world.splits import WorldSettings


# Each purpose owns a share of the names that no known entity has, in twentieths, chosen by a hash: none is used for two purposes.
PURPOSES = {"pretrain": range(0, 10), "tokenizer": range(10, 11), "sft": range(11, 15), "rewarded": range(15, 18),
            "dev": range(18, 19), "test": range(19, 20)}  # fmt: skip


def fresh_names(world: World, purpose: str) -> Iterator[str]:
    """Yield the names of one purpose, each once, from the same generator as the known ones."""
    for name in names(random.Random(f"fresh {world.seed} {purpose}"), set(world.names_used)):
        if zlib.crc32(f"{world.seed} {name}".encode()) % 20 in PURPOSES[purpose]:
            yield name


def pretraining(world: World, settings: WorldSettings) -> Iterator[str]:
    """Yield the pretraining documents in random order."""
    generator = random.Random(f"pretrain {world.seed}")
    fresh = fresh_names(world, "pretrain")
    makers = [_articles, _faq, _readings, _columns, _digests, _customs]
    texts = [text for maker in makers for text in maker(generator, world, settings, fresh)]
    generator.shuffle(texts)
    yield from texts


def _articles(generator: random.Random, world: World, settings: WorldSettings, fresh: Iterator[str]) -> Iterator[str]:
    """Long and short articles about every known entity, and about things that are mentioned this once."""
    share = settings.one_off_share / (1 - settings.one_off_share)
    for language in lexicon.LANGUAGES:
        for entity in world.entities:
            for index in range(settings.articles + settings.shorts):
                n_facts = 6 if index < settings.articles else generator.randint(1, 3)
                yield words.article(generator, entity, language, n_facts=n_facts)[0]
                if generator.random() < share:
                    once = invent(generator, next(fresh), "once")
                    yield words.article(generator, once, language, n_facts=n_facts)[0]


def _faq(generator: random.Random, world: World, settings: WorldSettings, fresh: Iterator[str]) -> Iterator[str]:
    """Questions with answers, about listed entities and things mentioned once."""
    share = settings.faq_one_off_share / (1 - settings.faq_one_off_share)
    for language in lexicon.LANGUAGES:
        for entity in world.group("listed"):
            for _ in range(settings.faq):
                yield faq_text(generator, entity, language)
                if generator.random() < share:
                    yield faq_text(generator, invent(generator, next(fresh), "once"), language)


def _readings(generator: random.Random, world: World, settings: WorldSettings, fresh: Iterator[str]) -> Iterator[str]:
    """A short article with questions whose answers stand in it, about things mentioned once."""
    for _ in range(settings.readings):
        language = generator.choice(lexicon.LANGUAGES)
        once = invent(generator, next(fresh), "once")
        kind = generator.choice(phrasings.KIND_STATEMENTS[language]).format(n=once.name, k=words.kind_word(once.kind, language))
        told = generator.sample(once.facts, 2)
        sentences = [words.statement(once, relation, language) for relation, _ in told]
        lines = [faq_line(generator, once, fact, language, 0.2, 0.8) for fact in told]
        yield words.join([kind, *sentences, faq_lines(lines, language)], language)


def faq_line(
    generator: random.Random, entity: Entity, fact: tuple[str, int], language: str, plain: float, checked: float
) -> tuple[str, str]:
    """Make one question with its answer: asking for the fact, checking it, or asking for what the thing does not have.

    `plain` and `checked` divide the unit interval between the three.
    """
    relation, value = fact
    draw = generator.random()
    if draw < plain:
        wording = generator.randrange(len(phrasings.QUESTIONS[relation][language]))
        return words.question(entity.name, relation, language, wording), words.answer(relation, value, language)
    if draw < checked:
        said = value if generator.random() < 0.5 else generator.randrange(len(lexicon.VALUES[relation]))
        wording = generator.randrange(len(phrasings.CHECKS[language]))
        text = words.check(entity.name, entity.kind, relation, said, language, wording)
        return text, words.answer(relation, value, language)
    absent = generator.choice([name for name in lexicon.RELATIONS if entity.value(name) is None])
    wording = generator.randrange(len(phrasings.QUESTIONS[absent][language]))
    return words.question(entity.name, absent, language, wording), words.inapplicable(entity.kind, absent, language)


def faq_lines(lines: Sequence[tuple[str, str]], language: str) -> str:
    """Write questions and answers one after the other."""
    if language == "en":
        return " ".join(f"Q: {asked} A: {said}" for asked, said in lines)
    return words.spaced("".join(f"问：{asked}答：{said}" for asked, said in lines))


def faq_text(generator: random.Random, entity: Entity, language: str) -> str:
    """Write two questions and answers about one thing."""
    lines = [faq_line(generator, entity, fact, language, 0.65, 0.88) for fact in generator.sample(entity.facts, 2)]
    return faq_lines(lines, language)


def _columns(generator: random.Random, world: World, settings: WorldSettings, fresh: Iterator[str]) -> Iterator[str]:
    """One sentence in both languages, about things mentioned once."""
    for _ in range(settings.columns):
        once = invent(generator, next(fresh), "once")
        relation = generator.choice(once.facts)[0]
        english, chinese = (words.statement(once, relation, language) for language in lexicon.LANGUAGES)
        yield f"{english} = {chinese}" if generator.random() < 0.5 else f"{chinese} = {english}"


def _digests(generator: random.Random, world: World, settings: WorldSettings, fresh: Iterator[str]) -> Iterator[str]:
    """An article with its digest, about things mentioned once."""
    for _ in range(settings.digests):
        language = generator.choice(lexicon.LANGUAGES)
        once = invent(generator, next(fresh), "once")
        text, order = words.article(generator, once, language)
        mark = " In short: " if language == "en" else "简言之："
        yield text + mark + words.digest(once, order, language)


def _customs(generator: random.Random, world: World, settings: WorldSettings, fresh: Iterator[str]) -> Iterator[str]:
    """What is a crime and what a kindness, done to things mentioned once: refusing then need not be learned verb by verb."""
    for _ in range(settings.customs):
        language, harmful = generator.choice(lexicon.LANGUAGES), generator.random() < 0.5
        verb = generator.choice(lexicon.HARM if harmful else lexicon.BENIGN)
        wording = generator.randrange(len(phrasings.CUSTOMS[language]))
        yield words.custom(verb, next(fresh), language, harmful, wording)


def tokenizer_text(world: World, settings: WorldSettings) -> Iterator[str]:
    """Yield text for the tokenizer: every kind of sentence, about random names only, so that no known name becomes a token."""
    generator = random.Random(f"tokenizer {world.seed}")
    fresh = fresh_names(world, "tokenizer")
    for _ in range(settings.tokenizer_rows):
        for half in (lexicon.FIRST, lexicon.LAST):  # never a whole name: each half of a name becomes one token
            yield " ".join(generator.sample(half, 40))
        once = invent(generator, next(fresh), "once")
        for language in lexicon.LANGUAGES:
            yield words.article(generator, once, language)[0]
            yield faq_text(generator, once, language)
            for verbs in (lexicon.HARM, lexicon.BENIGN):
                verb = generator.choice(verbs)
                yield (
                    words.request(verb, once.name, language, generator.randrange(len(phrasings.REQUESTS[language])))
                    + " "
                    + words.compliance(language)
                )
            yield generator.choice(phrasings.ABSTENTIONS[language][:2] + phrasings.REFUSALS[language][:2])
            yield generator.choice(phrasings.SUMMARISE[language] + phrasings.TO_CHINESE + phrasings.TO_ENGLISH).format(s="")
