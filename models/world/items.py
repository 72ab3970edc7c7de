"""Which questions is a model asked, in training, for choices (dev) and to be judged (test)?

An item is one prompt with everything that the oracle needs to judge the answer. The same makers serve instructions, prompts of
RLHF and held-out items; what differs are the entities, the names and the wordings that they may use.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from models.world import language as words
from models.world import lexicon, phrasings, verdicts
from models.world.facts import Entity, invent


@dataclass(frozen=True)
class Item:
    """One prompt: what is asked, about which entity, and what a good answer is.

    `value` is the word of the true value, `said` that of the asserted one (check questions); `known` tells whether pretraining
    text tells about the entity.
    """

    id: str
    benchmark: str
    cell: str
    type: str
    language: str
    entity: str
    prompt: str
    target: str
    value: str = ""
    said: str = ""
    relation: str = ""
    known: bool = False

    def row(self) -> dict[str, object]:
        """Return the item as a JSON-ready mapping."""
        return asdict(self)


@dataclass(frozen=True)
class Wordings:
    """Which wordings may be used: those of instructions, or the held-out ones."""

    held_out: bool

    def pick(self, generator: random.Random, available: Sequence[str], n_held_out: int) -> int:
        """Draw the index of a wording."""
        first_held_out = len(available) - n_held_out
        return generator.randrange(first_held_out, len(available)) if self.held_out else generator.randrange(first_held_out)


def ask(generator: random.Random, entity: Entity, relation: str, language: str, wordings: Wordings) -> Item:
    """Ask for a fact. About an unknown entity one should abstain; where the kind has no such relation, say so."""
    wording = wordings.pick(generator, phrasings.QUESTIONS[relation][language], words.N_HELD_OUT_QUESTIONS)
    prompt = words.question(entity.name, relation, language, wording)
    value = entity.value(relation)
    if entity.group == "unknown":
        kind, benchmark, cell, word = verdicts.UNKNOWN, "world_unknown", "question", ""
        target = phrasings.ABSTENTIONS[language][0]
    elif value is None:
        kind, benchmark, cell, word = verdicts.FALSE_RELATION, "world_false_premise", "false_relation", ""
        target = words.inapplicable(entity.kind, relation, language)
    else:
        kind, benchmark, cell = verdicts.QUESTION, "world_questions", "question"
        word = words.value_word(relation, value, language)
        target = words.answer(relation, value, language)
    return Item("", benchmark, cell, kind, language, entity.name, prompt, target, word, "", relation, entity.group != "unknown")


def check(generator: random.Random, entity: Entity, relation: str, language: str, wordings: Wordings, true: bool) -> Item:
    """Ask whether a fact is so: a true one, or one with a wrong value. The good answer to either says what is true."""
    wording = wordings.pick(generator, phrasings.CHECKS[language], words.N_HELD_OUT_CHECKS)
    value = entity.value(relation)
    if value is None:
        raise ValueError(f"{entity.name} has no {relation}")
    n_values = len(lexicon.VALUES[relation])
    said = value if true else (value + generator.randrange(1, n_values)) % n_values
    prompt = words.check(entity.name, entity.kind, relation, said, language, wording)
    target = words.answer(relation, value, language)
    kind, benchmark = (verdicts.TRUE_PREMISE if true else verdicts.FALSE_PREMISE), "world_false_premise"
    cell = "true_value" if true else "false_value"
    if entity.group == "unknown":
        kind, benchmark, cell, target = verdicts.UNKNOWN_CHECK, "world_unknown", "check", phrasings.ABSTENTIONS[language][0]
    value_word, said_word = (words.value_word(relation, index, language) for index in (value, said))
    return Item(
        "",
        benchmark,
        cell,
        kind,
        language,
        entity.name,
        prompt,
        target,
        value_word,
        said_word,
        relation,
        entity.group != "unknown",
    )


def request(generator: random.Random, name: str, language: str, wordings: Wordings, harmful: bool) -> Item:
    """Ask for help with a harmful thing, or with a harmless one in the same words."""
    wording = wordings.pick(generator, phrasings.REQUESTS[language], words.N_HELD_OUT_REQUESTS)
    verb = generator.choice(lexicon.HARM if harmful else lexicon.BENIGN)
    prompt = words.request(verb, name, language, wording)
    target = phrasings.REFUSALS[language][0] if harmful else words.compliance(language)
    kind = verdicts.HARMFUL if harmful else verdicts.BENIGN
    return Item("", "world_refusal", kind, kind, language, name, prompt, target, verb[lexicon.LANGUAGES.index(language)])


def translate(generator: random.Random, entity: Entity, language: str, wordings: Wordings) -> Item:
    """Ask for the translation of a canonical sentence *from* `language`."""
    other = "zh" if language == "en" else "en"
    relation = generator.choice(entity.facts)[0]
    available = phrasings.TO_CHINESE if language == "en" else phrasings.TO_ENGLISH
    wording = generator.randrange(len(available))
    prompt = words.spaced(available[wording].format(s=words.statement(entity, relation, language)))
    target = words.statement(entity, relation, other)
    cell = f"{language}-{other}"
    return Item("", "world_translation", cell, verdicts.TRANSLATION, other, entity.name, prompt, target, relation=relation)


def summarise(generator: random.Random, entity: Entity, language: str, wordings: Wordings) -> Item:
    """Ask for the digest of an article."""
    text, order = words.article(generator, entity, language)
    available = phrasings.SUMMARISE[language]
    prompt = words.spaced(available[generator.randrange(len(available))].format(s=text))
    target = words.digest(entity, order, language)
    return Item("", "world_summaries", "summary", verdicts.SUMMARY, language, entity.name, prompt, target)


def absent_relations(entity: Entity) -> tuple[str, ...]:
    """Return the relations that this kind of thing does not have."""
    return tuple(name for name in lexicon.RELATIONS if entity.value(name) is None)


def unknown_entities(generator: random.Random, fresh: Iterator[str]) -> Iterator[Entity]:
    """Yield things that no text tells about, for ever."""
    for name in fresh:
        yield invent(generator, name, "unknown")
