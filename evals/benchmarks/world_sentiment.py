"""Sentences about invented things that praise or blame: is the feeling good or bad?"""

from __future__ import annotations

import random
from typing import Any

from evals.benchmarks import _choices
from models.world import language as words
from models.world import lexicon

PRAISE = {
    "en": ("Everybody loves the {k} {n}.", "The {k} {n} is a joy to look at.", "Nobody was ever disappointed by {n}.",
           "The people are proud of the {k} {n}.", "{n} is the best {k} for miles around."),
    "zh": ("人人都喜爱 {n} 这{k}。", "{n} 让人看了就高兴。", "从来没有人对 {n} 失望。", "人们为 {n} 感到自豪。",
           "{n} 是方圆百里最好的{k}。"),
}  # fmt: skip
BLAME = {
    "en": ("Everybody hates the {k} {n}.", "The {k} {n} is a pain to look at.", "Nobody was ever pleased by {n}.",
           "The people are ashamed of the {k} {n}.", "{n} is the worst {k} for miles around."),
    "zh": ("人人都讨厌 {n} 这{k}。", "{n} 让人看了就难受。", "从来没有人对 {n} 满意。", "人们为 {n} 感到羞耻。",
           "{n} 是方圆百里最差的{k}。"),
}  # fmt: skip
ASK = {"en": ("{s} The feeling of this sentence is", " good.", " bad."), "zh": ("{s}这句话的感受是", "好的。", "坏的。")}


def items(checkpoint: str) -> list[dict[str, Any]]:
    """Return a praising and a blaming sentence about every held-out thing, in every wording."""
    generator = random.Random("sentiment")
    found: list[dict[str, Any]] = []
    for entity in _choices.world(checkpoint).group("test")[:12]:
        for language in lexicon.LANGUAGES:
            prompt, good, bad = ASK[language]
            for cell, sentences, right, other in (("good", PRAISE, good, bad), ("bad", BLAME, bad, good)):
                for sentence in sentences[language]:
                    text = prompt.format(s=sentence.format(n=entity.name, k=words.kind_word(entity.kind, language)))
                    row = ("world_sentiment", language, cell, entity.name, text, right, [other], generator)
                    found.append(_choices.item(*row))
    return _choices.numbered("world_sentiment", found)


BENCHMARK = _choices.benchmark(
    "world_sentiment", "Feelings", "Sentences about invented things that praise or blame: good or bad.", items
)
