"""Two sentences from which a third follows, about invented things; nothing needs to be known beforehand."""

from __future__ import annotations

import random
from typing import Any

from evals.benchmarks import _choices
from models.world import language as words
from models.world import lexicon

FORMS = {
    "all": {"en": ("Every {k} in {p} is {c}. {n} is a {k} in {p}. So {n} is", " {c}."),
            "zh": ("{p}的每一座{k}都是{c}的。{n} 是{p}的一座{k}。所以 {n} 是", "{c}的。")},
    "some": {"en": ("A {k} that is not {c} is not in {p}. {n} is a {k} in {p}. So {n} is", " {c}."),
             "zh": ("不是{c}的{k}不在{p}。{n} 是{p}的一座{k}。所以 {n} 是", "{c}的。")},
    "chain": {"en": ("Whatever is in {p} is {c}. Every {k} of the old days is in {p}. {n} is a {k} of the old days. So {n} is",
                     " {c}."),
              "zh": ("凡在{p}的都是{c}的。古时的{k}都在{p}。{n} 是古时的{k}。所以 {n} 是", "{c}的。")},
}  # fmt: skip
"""Form → language → premises and conclusion."""


def items(checkpoint: str) -> list[dict[str, Any]]:
    """Return every form about every held-out thing, in both languages, with places and colours drawn by a fixed seed."""
    generator = random.Random("syllogisms")
    found: list[dict[str, Any]] = []
    for entity in _choices.world(checkpoint).group("test"):
        for side, language in enumerate(lexicon.LANGUAGES):
            colours = [pair[side] for pair in lexicon.VALUES["colour"]]
            for form, sentences in FORMS.items():
                prompt, conclusion = sentences[language]
                colour = generator.choice(colours)
                town = generator.choice(lexicon.VALUES["place"])[side]
                text = prompt.format(k=words.kind_word(entity.kind, language), p=town, c=colour, n=entity.name)
                others = [conclusion.format(c=word) for word in _choices.distinct(generator, colours, colour, 3)]
                row = ("world_syllogisms", language, form, entity.name, text, conclusion.format(c=colour), others, generator)
                found.append(_choices.item(*row))
    return _choices.numbered("world_syllogisms", found)


BENCHMARK = _choices.benchmark(
    "world_syllogisms",
    "Conclusions",
    "Sentences about invented things from which another follows, to be chosen among four.",
    items,
)
