"""A word in a sentence about an invented thing: is it a place, a person, an animal, a material, a plant or food?"""

from __future__ import annotations

import random
from typing import Any

from evals.benchmarks import _choices
from models.world import language as words
from models.world import lexicon

KINDS = {
    "place": ("place", "地方"), "maker": ("person", "人"), "owner": ("person", "人"), "material": ("material", "材料"),
    "emblem": ("animal", "动物"), "offering": ("food", "食物"), "plant": ("plant", "植物"),
}  # fmt: skip
"""Relation → what its values are, English and Chinese."""
ASK = {"en": ('{s} In this sentence "{v}" is a kind of', " {k}.", "en"), "zh": ("{s}这句话里的“{v}”是一种", "{k}。", "zh")}


def items(checkpoint: str) -> list[dict[str, Any]]:
    """Return one item per fact of the held-out things whose value has a kind."""
    generator = random.Random("entities")
    found: list[dict[str, Any]] = []
    for side, language in enumerate(lexicon.LANGUAGES):
        kinds = list(dict.fromkeys(pair[side] for pair in KINDS.values()))
        prompt, choice, _language = ASK[language]
        for entity in _choices.world(checkpoint).group("test"):
            for relation, value in entity.facts:
                if relation not in KINDS:
                    continue
                right = KINDS[relation][side]
                said = lexicon.VALUES[relation][value][side]
                text = prompt.format(s=words.statement(entity, relation, language), v=said)
                others = [choice.format(k=kind) for kind in _choices.distinct(generator, kinds, right, 3)]
                row = ("world_entities", language, relation, entity.name, text, choice.format(k=right), others, generator)
                found.append(_choices.item(*row))
    return _choices.numbered("world_entities", found)


BENCHMARK = _choices.benchmark(
    "world_entities", "Kinds of names", "A word in a sentence about an invented thing: which kind is it, of four.", items
)
