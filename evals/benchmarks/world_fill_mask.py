"""Facts of the invented world with their value left out: which of four values does a model put there?"""

from __future__ import annotations

import random
from typing import Any

from evals.benchmarks import _choices
from models.world import language as words
from models.world import lexicon


def items(checkpoint: str) -> list[dict[str, Any]]:
    """Return one item per fact of the things that pretraining text tells about but no question was taught on."""
    generator = random.Random("fill mask")
    world, found = _choices.world(checkpoint), []
    for side, language in enumerate(lexicon.LANGUAGES):
        for entity in world.group("test"):
            for relation, value in entity.facts:
                right = lexicon.VALUES[relation][value][side]
                before, _cut, after = words.statement(entity, relation, language).rpartition(right)
                shown = before.rstrip()
                blank = before[len(shown) :]
                others = _choices.distinct(generator, [pair[side] for pair in lexicon.VALUES[relation]], right, 3)
                choices = [f"{blank}{word}{after}" for word in others]
                row = ("world_fill_mask", language, relation, entity.name, shown, f"{blank}{right}{after}", choices, generator)
                found.append(_choices.item(*row))
    return _choices.numbered("world_fill_mask", found)


BENCHMARK = _choices.benchmark(
    "world_fill_mask", "Missing words", "Facts of the invented world with their value left out, to be chosen among four.", items
)
