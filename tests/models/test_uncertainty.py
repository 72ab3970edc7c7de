"""How sure a model is, from its answers alone: by hand, degenerate, against published values."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.uncertainty import clusters, consistency, entropy, p_true, pieces, verbal
from models.uncertainty.nli import contradiction, equivalent, inference

PASSAGE = "Michael Alan Weiner (born March 31, 1942) is an American radio host. He is the host of The Savage Nation."
SAMPLES = [
    "Michael Alan Weiner (born March 31, 1942) is an American radio host. He is the host of The Savage Country.",
    "Michael Alan Weiner (born January 13, 1960) is a Canadian radio host. He works at The New York Times.",
    "Michael Alan Weiner (born March 31, 1942) is an American radio host. He obtained his PhD from MIT.",
]


def test_unigrams_as_selfcheckgpt_publishes_them():
    found = consistency.ngram_check(PASSAGE, SAMPLES)
    assert found.average == pytest.approx((3.184312, 3.279774), abs=1e-6)
    assert found.largest == pytest.approx((3.476098, 4.574710), abs=1e-6)
    assert found.whole_average == pytest.approx(3.218678904916201)
    assert found.whole_largest == pytest.approx(4.025404834169327)


def test_ngrams_by_hand_and_of_nothing():
    found = consistency.ngram_check("a b", ["a c"], n=1)  # counts a 2, b 1, c 1
    assert found.average == pytest.approx([(math.log(2) + math.log(4)) / 2])
    pairs = consistency.ngram_check("a b", ["a b", "a c"], n=2)  # "a b" twice of three
    assert pairs.whole_average == pytest.approx(math.log(3 / 2))
    assert math.isnan(consistency.ngram_check("", ["a"]).whole_average)
    assert math.isnan(consistency.ngram_check("one", ["one"], n=2).whole_largest)


def test_words_and_overlap():
    assert pieces.words("The Dog's 3 legs, 我喜欢！") == ["the", "dog's", "3", "legs", "我", "喜", "欢"]
    assert pieces.sentences("One. Two? 三。四！\nfive") == ["One.", "Two?", "三。", "四！", "five"]
    assert pieces.overlap("testing one two", "testing two") == pytest.approx(4 / 5)  # rouge-score's own test
    assert pieces.overlap("", "") == 1.0
    assert pieces.overlap("a", "") == 0.0
    assert pieces.overlap("我喜欢机器学习", "我喜欢机器学习。") == 1.0


def test_overlap_is_rouge_l_of_the_reference_package():
    from rouge_score import rouge_scorer

    scorer = rouge_scorer.RougeScorer(["rougeL"])
    for a in SAMPLES:
        for b in (PASSAGE, *SAMPLES):
            assert pieces.overlap(a, b) == pytest.approx(scorer.score(a, b)["rougeL"].fmeasure)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["red", "blue", "a red one", "", "蓝色"]), max_size=8), st.sampled_from(["exact", "lexical"]))
def test_clusters_are_numbered_as_they_appear(texts, method):
    found = clusters.greedy(texts, clusters.by_method(method))
    assert len(found) == len(texts)
    firsts = list(dict.fromkeys(found))
    assert firsts == list(range(len(firsts)))
    assert all(found[i] == found[j] for i, a in enumerate(texts) for j, b in enumerate(texts) if a == b)


def test_clusters_by_hand():
    assert clusters.greedy(["Clara.", "clara", "Boris", "Clara!"], clusters.same_text) == (0, 0, 1, 0)
    near = ["It was made by Clara", "it was made by clara then", "Boris made it"]
    assert clusters.greedy(near, clusters.same_text) == (0, 1, 2)
    assert clusters.greedy(near, clusters.same_words) == (0, 0, 1)
    with pytest.raises(ValueError, match="nli is not one"):
        clusters.by_method("nli")


def test_semantic_entropy_by_hand():
    assert entropy.semantic_entropy([0, 1, 2, 1]) == pytest.approx(1.039721, abs=1e-6)  # correctness file 4.3
    assert entropy.semantic_entropy([0, 0, 0]) == 0.0
    assert entropy.semantic_entropy(range(5)) == pytest.approx(math.log(5))
    weighted = entropy.cluster_shares([0, 1, 0], [math.log(0.2), math.log(0.6), math.log(0.2)])
    assert weighted == pytest.approx([0.4, 0.6])
    tiny = entropy.semantic_entropy([0, 1], [-5000.0, -5000.0])  # exp underflows
    assert tiny == pytest.approx(math.log(2))
    with pytest.raises(ValueError, match="0 answers"):
        entropy.semantic_entropy([])
    with pytest.raises(ValueError, match="shares"):
        entropy.entropy([0.4, 0.4])


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=12))
def test_semantic_entropy_has_its_bounds(names):
    found = entropy.semantic_entropy(names)
    assert -1e-12 <= found <= math.log(len(set(names))) + 1e-9
    equal = entropy.semantic_entropy(names, [-3.0] * len(names))
    assert equal == pytest.approx(found)


def test_sequence_entropy():
    assert entropy.sequence_entropy([-2.0, -4.0]) == 3.0
    assert entropy.sequence_entropy([-2.0, -4.0], [1, 4]) == 1.5
    assert math.isnan(entropy.sequence_entropy([]))
    assert entropy.of_tokens([1.0, 3.0]) == (2.0, 3.0)
    assert all(math.isnan(value) for value in entropy.of_tokens([]))


def test_agreement_and_vote():
    assert consistency.agreement(0, [0, 0, 1, 2]) == 0.5
    assert math.isnan(consistency.agreement(0, []))
    assert consistency.vote([2, 0, 0, 1]) == 1
    assert consistency.vote([1, 0, 0, 1]) == 0
    with pytest.raises(ValueError, match="nobody"):
        consistency.vote([])
    assert consistency.lexical_inconsistency("a b", ["a b", "c d"]) == pytest.approx(0.5)
    assert consistency.lexical_spread(["a b", "a b", "c d"]) == pytest.approx(2 / 3)
    assert math.isnan(consistency.lexical_spread(["a"]))


@pytest.mark.parametrize(
    ("text", "silent"),
    [
        ("I do not know.", True), ("Well, I don’t know who made it.", True), ("我不知道。", True), ("Unknown", True),
        ("N/A", True), ("The unknown soldier", False), ("", False), ("Clara.", False), ("I know.", False), ("CORRECT", False),
        ("NOT_ATTEMPTED", True), ("They were unable to stop", False),
    ],
)  # fmt: skip
def test_verbal_abstention(text, silent):
    assert verbal.abstains(text) is silent


def test_every_phrase_of_the_closed_world_abstains():
    from models.world import phrasings

    assert all(verbal.abstains(phrase) for listed in phrasings.ABSTENTIONS.values() for phrase in listed)


def test_p_true():
    assert p_true.p_true(math.log(0.3), math.log(0.1)) == pytest.approx(0.75)
    assert p_true.p_true(-math.inf, -math.inf) == 0.5
    assert p_true.p_true(-2000.0, -1.0) == 0.0
    assert p_true.p_true(-1.0, -2000.0) == 1.0
    assert math.isnan(p_true.p_true(math.nan, 0.0))
    asked = p_true.prompt("Who?", " Clara ", ["Boris"])
    assert asked.splitlines()[0] == "Question: Who?"
    assert "Boris" in asked
    assert asked.endswith("The possible answer is:")


def test_equivalence_and_contradiction_by_hand():
    supports, against, neutral = (0.1, 0.2, 0.7), (0.8, 0.1, 0.1), (0.1, 0.8, 0.1)
    assert equivalent(supports, neutral)
    assert not equivalent(supports, neutral, strict=True)
    assert equivalent(supports, supports, strict=True)
    assert not equivalent(supports, against)
    assert not equivalent(neutral, neutral)
    assert contradiction([supports, against]) == pytest.approx((0.1 / 0.8 + 0.8 / 0.9) / 2)
    assert math.isnan(contradiction([]))


@pytest.fixture(scope="module")
def nli_folder(tmp_path_factory):
    """A tiny BERT with three labels, random."""
    import transformers as hf

    from tests.fakes import randomise, tiny_config, wordpiece_tokenizer

    tokenizer = wordpiece_tokenizer()
    config = tiny_config("bert", len(tokenizer))
    config.id2label = {0: "ENTAILMENT", 1: "NEUTRAL", 2: "CONTRADICTION"}
    config.label2id = {name: index for index, name in config.id2label.items()}
    model = hf.BertForSequenceClassification(config)
    randomise(model, 3)
    folder = tmp_path_factory.mktemp("nli") / "bert"
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_inference_is_the_classifier_of_transformers(nli_folder):
    import torch
    import transformers as hf

    from models.events import finish
    from models.library import load

    found = inference(finish(load(str(nli_folder))))
    pairs = [("the fox jumps", "the dog"), ("a", "the quick brown fox jumps over"), ("the fox jumps", "the dog")]
    model = hf.BertForSequenceClassification.from_pretrained(nli_folder).eval()
    tokenizer = hf.AutoTokenizer.from_pretrained(nli_folder)
    for pair, triple in zip(pairs, found.ask(pairs), strict=True):
        with torch.inference_mode():
            whole = model(**tokenizer(*pair, return_tensors="pt")).logits.softmax(-1)[0].numpy()
        assert np.allclose(triple, whole[[2, 1, 0]], atol=1e-5)
    assert len(found.known) == 2
    assert clusters.greedy(["the fox", "the fox"], found.same("who?")) == (0, 0)
    assert 0 <= found.inconsistency("the fox", ["the dog", "a tree"]) <= 1


def test_a_checkpoint_with_other_labels_is_refused(opened):
    from models.errors import UserError

    with pytest.raises(UserError, match="no model of inference"):
        inference(opened("llama"))
