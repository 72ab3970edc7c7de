"""A trained model of inference tells apart what words cannot: other values in the same words, the same value in other words."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from models.events import finish
from models.library import load
from models.uncertainty import clusters, entropy
from models.uncertainty.nli import inference
from models.world import language, phrasings
from tests.evals.hallucination import nli_training as made

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # it trains for a minute and a half


@pytest.fixture(scope="module")
def nli(tmp_path_factory):
    """The model, trained once, opened as a person's would be."""
    return inference(finish(load(str(made.train(tmp_path_factory.mktemp("nli") / "model")), "cpu")))


def cases(n, seed=5):
    """Yield a question about a held-out thing, answers in held-out wordings, and the true clusters of their meanings."""
    generator = random.Random(seed)
    for _case in range(n):
        entity, relation = generator.choice(made.WORLD.group("test")), generator.choice(made.RELATIONS)
        values = generator.sample(range(24), 2)
        meant = generator.choices((*values, None), (3, 2, 1), k=6)
        said = [
            generator.choice(phrasings.ABSTENTIONS["en"][:3]) if value is None
            else made.say(entity, relation, value, generator.choice((-1, *made.HELD_OUT_FORMS)))
            for value in meant
        ]  # fmt: skip
        numbers = {value: place for place, value in enumerate(dict.fromkeys(meant))}
        yield language.question(entity.name, relation, "en", 0), said, tuple(numbers[value] for value in meant)


def agreement(found, true):
    """Return the share of pairs of answers that are together in both or apart in both (Rand index)."""
    pairs = list(itertools.combinations(range(len(true)), 2))
    return np.mean([(found[i] == found[j]) == (true[i] == true[j]) for i, j in pairs])


def test_labels_of_held_out_pairs(nli):
    rows = made.pairs(200, "test", made.HELD_OUT_FORMS, 99)
    found = [int(np.argmax(triple)) for triple in nli.ask([row[:2] for row in rows])]
    right = [label == row[2] for label, row in zip(found, rows, strict=True)]
    assert np.mean(right) >= 0.9
    taught = {text for row in made.pairs(2000, "taught", made.TAUGHT_FORMS, 1) for text in row[:2]}
    assert not taught & {text for row in rows for text in row[:2]}


def test_clusters_and_semantic_entropy_by_meaning(nli):
    errors: dict[str, list[float]] = {"exact": [], "lexical": [], "nli": []}
    rand: dict[str, list[float]] = {name: [] for name in errors}
    for question, said, true in cases(40):
        for name in errors:
            same = nli.same(question) if name == "nli" else clusters.by_method(name)
            found = clusters.greedy(said, same)
            rand[name].append(float(agreement(found, true)))
            errors[name].append(abs(entropy.semantic_entropy(found) - entropy.semantic_entropy(true)))
    means = {name: float(np.mean(values)) for name, values in rand.items()}
    assert means["nli"] >= 0.9
    assert means["nli"] > means["exact"] + 0.1
    assert means["nli"] > means["lexical"] + 0.1
    off = {name: float(np.mean(values)) for name, values in errors.items()}
    assert off["nli"] < 0.5 * off["exact"]
    assert off["nli"] < 0.5 * off["lexical"]


def test_other_values_in_the_same_words_are_two_meanings(nli):
    entity = made.WORLD.group("test")[0]
    question = language.question(entity.name, "colour", "en", 0)
    red, blue = (made.say(entity, "colour", value, 5) for value in (0, 1))
    assert clusters.greedy([red, blue], clusters.by_method("lexical")) == (0, 0)
    assert clusters.greedy([red, blue], nli.same(question)) == (0, 1)
    assert clusters.greedy([red, made.say(entity, "colour", 0, 7)], clusters.by_method("exact")) == (0, 1)
    assert clusters.greedy([red, made.say(entity, "colour", 0, 7)], nli.same(question)) == (0, 0)
    assert nli.inconsistency(red, [blue] * 3) > 0.8 > 0.2 > nli.inconsistency(red, [made.say(entity, "colour", 0, 6)] * 3)
