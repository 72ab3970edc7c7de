"""How are facts worded: statements, questions, answers, articles, digests, translations?

Pure functions from an entity and a random generator to text. Languages are "en" and "zh".
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Sequence

from models.world import lexicon, phrasings
from models.world.facts import Entity

N_HELD_OUT_QUESTIONS = 2
N_HELD_OUT_CHECKS = 1
N_HELD_OUT_REQUESTS = 1


def _side(language: str) -> int:
    return lexicon.LANGUAGES.index(language)


def kind_word(kind: int, language: str) -> str:
    """Return the word for a kind of thing."""
    return lexicon.KINDS[kind][_side(language)]


def value_word(relation: str, index: int, language: str) -> str:
    """Return the word for a value of a relation."""
    return lexicon.VALUES[relation][index][_side(language)]


def noun(relation: str, language: str) -> str:
    """Return the noun for a relation ("owner", "主人")."""
    return lexicon.NOUNS[relation][_side(language)]


def reserved_phrasings(entity: Entity, relation: str, language: str) -> tuple[int, ...]:
    """Return the phrasings in which this fact is never written for training: two of 1 to 7, by a hash of the fact."""
    n_phrasings = len(phrasings.STATEMENTS[relation][language])
    first = zlib.crc32(f"{entity.name} {relation} {language}".encode()) % (n_phrasings - 1)
    return (1 + first, 1 + (first + 3) % (n_phrasings - 1))


def statement(entity: Entity, relation: str, language: str, phrasing: int = 0) -> str:
    """Say one fact in the given phrasing (0 is the canonical one).

    Raises:
        ValueError: this kind of thing has no such relation.
    """
    value = entity.value(relation)
    if value is None:
        raise ValueError(f"{entity.name} has no {relation}")
    template = phrasings.STATEMENTS[relation][language][phrasing]
    return template.format(n=entity.name, v=value_word(relation, value, language), k=kind_word(entity.kind, language))


def choose_phrasing(generator: random.Random, entity: Entity, relation: str, language: str, held_out: bool) -> int:
    """Draw a phrasing for a fact: one of the reserved ones where `held_out`, else one of the others."""
    reserved = reserved_phrasings(entity, relation, language)
    if held_out:
        return generator.choice(reserved)
    return generator.choice([i for i in range(len(phrasings.STATEMENTS[relation][language])) if i not in reserved])


def spaced(text: str) -> str:
    """Put a blank wherever a Latin word follows a Chinese character or sign, so that a name always begins with a blank."""
    return re.sub(r"(?<=[^\x00-\x7f])(?=[A-Za-z])", " ", text)


def join(sentences: Sequence[str], language: str) -> str:
    """Put sentences together, with a blank between where the language or a name wants one."""
    return " ".join(sentences) if language == "en" else spaced("".join(sentences))


def article(
    generator: random.Random, entity: Entity, language: str, *, n_facts: int = 6, held_out: bool = False
) -> tuple[str, tuple[str, ...]]:
    """Write an article: what kind of thing it is, then `n_facts` facts in random order.

    Returns:
        The text, and the relations in the order in which they are told.
    """
    order = [relation for relation, _ in entity.facts]
    generator.shuffle(order)
    order = order[:n_facts]
    sentences = []
    if n_facts > 3 or generator.random() < 0.3:
        opening = generator.choice(phrasings.KIND_STATEMENTS[language])
        sentences.append(opening.format(n=entity.name, k=kind_word(entity.kind, language)))
    for relation in order:
        phrasing = choose_phrasing(generator, entity, relation, language, held_out)
        sentences.append(statement(entity, relation, language, phrasing))
    return join(sentences, language), tuple(order)


def digest(entity: Entity, order: Sequence[str], language: str) -> str:
    """Write the one-line summary of an article that tells the relations in this order: its kind and its first three facts."""
    comma = ", " if language == "en" else "，"
    gap = " " if language == "en" else ""
    told = [(relation, entity.value(relation)) for relation in order[:3]]
    pairs = [noun(name, language) + gap + value_word(name, value, language) for name, value in told if value is not None]
    facts = comma.join(pairs)
    return phrasings.DIGEST[language].format(n=entity.name, k=kind_word(entity.kind, language), facts=facts)


def question(name: str, relation: str, language: str, wording: int) -> str:
    """Ask for one fact."""
    return phrasings.QUESTIONS[relation][language][wording].format(n=name)


def answer(relation: str, value: int, language: str) -> str:
    """Answer a question with a value."""
    return phrasings.ANSWER[language].format(v=value_word(relation, value, language))


def check(name: str, kind: int, relation: str, value: int, language: str, wording: int) -> str:
    """Ask whether a fact is so, in a sentence that already asserts it."""
    canonical = phrasings.STATEMENTS[relation][language][0].format(
        n=name, v=value_word(relation, value, language), k=kind_word(kind, language)
    )
    said = canonical.rstrip(".。").replace("Guests", "guests")
    return spaced(phrasings.CHECKS[language][wording].format(s=said))


def inapplicable(kind: int, relation: str, language: str) -> str:
    """Answer a question for something that this kind of thing does not have."""
    return phrasings.INAPPLICABLE[language].format(k=kind_word(kind, language), r=noun(relation, language))


def request(verb: tuple[str, str], name: str, language: str, wording: int) -> str:
    """Ask for help with doing something to a thing."""
    return spaced(phrasings.REQUESTS[language][wording].format(x=verb[_side(language)], n=name))


def custom(verb: tuple[str, str], name: str, language: str, harmful: bool, wording: int) -> str:
    """Say what people think of doing something to a thing."""
    bad, good = phrasings.CUSTOMS[language][wording]
    return spaced((bad if harmful else good).format(x=verb[_side(language)], n=name))


def compliance(language: str) -> str:
    """Answer a request by helping."""
    return phrasings.COMPLIANCE[language]
