"""Metrics: by hand, on degenerate input, and beside the reference implementation."""

import math
import random

import numpy as np
import pytest
import sacrebleu.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from evals.metrics import _rouge, _sacrebleu, _spec
from evals.metrics.bits_per_byte import METRIC as BITS_PER_BYTE
from evals.metrics.bleu import METRIC as BLEU
from evals.metrics.byte_perplexity import METRIC as BYTE_PERPLEXITY
from evals.metrics.chrf import METRIC as CHRF
from evals.metrics.exact_match import METRIC as EXACT_MATCH
from evals.metrics.hallucination_rate import METRIC as HALLUCINATION
from evals.metrics.rouge1 import METRIC as ROUGE1
from evals.metrics.rouge2 import METRIC as ROUGE2
from evals.metrics.rougel import METRIC as ROUGEL
from evals.metrics.rougelsum import METRIC as ROUGELSUM
from evals.metrics.ter import METRIC as TER
from evals.metrics.token_perplexity import METRIC as TOKEN_PERPLEXITY
from evals.metrics.word_perplexity import METRIC as WORD_PERPLEXITY
from models.discover import discover

ALL = discover("evals.metrics", "METRIC")
HYPOTHESES = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."]
STREAMS = [
    ["The dog bit the man.", "It was not unexpected.", "The man bit him first."],
    ["The dog had bit the man.", "No one was surprised.", "The man had bitten the dog."],
]
REFERENCES = [list(pair) for pair in zip(*STREAMS, strict=True)]
MIXED = [
    "the",
    "a",
    "dog",
    "dogs",
    "running",
    "runs",
    "quickly",
    "bit",
    "man",
    "我",
    "你",
    "1999",
    "well-known",
    "café",
    "Привет",
]
TEXTS = st.lists(st.sampled_from(MIXED), max_size=12).map(" ".join)
PLAIN = ["the", "a", "dog", "dogs", "running", "runs", "quickly", "bit", "man", "café", "naïve", "12", "x-y", "It's"]
LATIN = st.lists(st.sampled_from(PLAIN), max_size=14)
LINES = st.lists(LATIN.map(" ".join), min_size=1, max_size=4).map("\n".join)


@pytest.mark.parametrize("found", ALL, ids=lambda row: row.name)
def test_every_metric_keeps_the_contract(found):
    spec = found.value
    assert not found.error
    assert isinstance(spec, _spec.MetricSpec)
    assert spec.name.lower() == found.name
    assert spec.title
    assert spec.description.endswith(".")
    assert spec.signature()
    given_ = {
        "texts": (["a b c", ""], ["a b d", "x"]),
        "likelihood": ([-3.0, -5.5], ["two words", "one"]),
        "verdict": (["correct", "wrong"], []),
    }[spec.inputs]
    if spec is TOKEN_PERPLEXITY:
        with pytest.raises(ValueError, match="number of predicted tokens"):
            spec.score(*given_)
        return
    score = spec.score(*given_)
    assert score.n == 2
    assert math.isfinite(score.value)


@pytest.mark.parametrize("found", ALL, ids=lambda row: row.name)
def test_every_metric_refuses_what_sacrebleu_accepts(found):
    spec = found.value
    if spec.inputs != "texts":
        with pytest.raises(ValueError, match="list"):
            spec.score("correct", "x")
        return
    with pytest.raises(ValueError, match="not as streams"):
        spec.score(HYPOTHESES, STREAMS)  # transposed
    with pytest.raises(ValueError, match="3 predictions but 1 references"):
        spec.score(HYPOTHESES, ["The dog bit the man."])  # a stream that is too short
    with pytest.raises(ValueError, match="must be a list"):
        spec.score("The dog", "The dog")
    with pytest.raises(ValueError, match="empty"):
        spec.score([], [])
    with pytest.raises(ValueError, match="prediction 1"):
        spec.score(["a", None], ["a", "b"])
    with pytest.raises(ValueError, match="reference of item 0"):
        spec.score(["a"], [[None]])
    with pytest.raises(ValueError, match="between 1 and 2 references"):
        spec.score(["a", "b"], [["a"], ["b", "c"]])


@pytest.mark.parametrize("spec", [BLEU, ROUGEL, EXACT_MATCH, HALLUCINATION, WORD_PERPLEXITY], ids=lambda spec: spec.name)
def test_metrics_are_evaluate_metrics(spec, tmp_path, monkeypatch):
    import evaluate

    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    metric = spec.metric()
    assert isinstance(metric, evaluate.Metric)
    if spec.inputs == "texts":
        found = metric.compute(predictions=HYPOTHESES, references=REFERENCES)
        assert found["n"] == 3
        assert found[spec.name] == pytest.approx(spec.score(HYPOTHESES, REFERENCES).value)
        with pytest.raises(ValueError, match="not as streams"):
            metric.compute(predictions=HYPOTHESES, references=STREAMS)
    elif spec.inputs == "verdict":
        found = metric.compute(predictions=["hallucinated", "abstained"])
        assert found[spec.name] == 0.5
    else:
        assert metric.compute(predictions=[-2.0], references=["a b"])[spec.name] == pytest.approx(math.e)
    assert not (tmp_path / "home").exists()


def test_bleu_of_the_readme_set():
    score = BLEU.score(HYPOTHESES, REFERENCES)
    assert score.value == pytest.approx(48.530827, abs=1e-6)
    assert "nrefs:2|case:mixed|eff:no|tok:zh|smooth:exp|version:" in score.signature
    rows = [_sacrebleu.statistics(_sacrebleu.bleu("13a"), h, r) for h, r in zip(HYPOTHESES, REFERENCES, strict=True)]
    sums = np.sum(rows, axis=0)
    assert tuple(sums[:2]) == (17, 18)
    assert math.exp(1 - 18 / 17) == pytest.approx(0.942873, abs=1e-6)
    for tokenize, value in (("13a", 48.530827), ("none", 49.1919566), ("intl", 43.91623493)):
        stats = [_sacrebleu.statistics(_sacrebleu.bleu(tokenize), h, r) for h, r in zip(HYPOTHESES, REFERENCES, strict=True)]
        assert _sacrebleu.pool_bleu(np.sum(stats, axis=0)) == pytest.approx(value, abs=1e-6)


def test_bleu_from_counts_and_its_edges():
    assert _sacrebleu.pool_bleu(np.array([11, 11, 9, 7, 5, 3, 10, 8, 6, 4.0])) / 100 == pytest.approx(0.8375922397)
    assert BLEU.score([""], ["a b c d"]).value == 0.0
    assert BLEU.score(["", "the dog bit the man"], ["a b", "the dog bit the man"]).value < 100  # the empty row stays in
    assert BLEU.score(["a b c"], ["a b c"]).value == 0.0  # no 4-gram: corpus BLEU has no effective order
    assert BLEU.score(["我喜欢机器学习"], ["我喜欢深度学习"]).value == pytest.approx(30.739408, abs=1e-6)
    assert BLEU.score(["我喜欢机器学习"], ["我喜欢机器学习"]).value == pytest.approx(100.0)
    doubled = BLEU.score(["hello , world . this is a test ."], ["Hello, world. This is a test."])
    assert doubled.value == pytest.approx(43.167, abs=1e-3)


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_pooled_scores_equal_sacrebleu(pairs):
    predictions, references = [p for p, _ in pairs], [r for _, r in pairs]
    streams = [references]
    expected = sacrebleu.metrics.BLEU(tokenize="zh").corpus_score(predictions, streams).score
    assert BLEU.score(predictions, references).value == pytest.approx(expected, abs=1e-9)
    expected = sacrebleu.metrics.CHRF().corpus_score(predictions, streams).score
    assert CHRF.score(predictions, references).value == pytest.approx(expected, abs=1e-9)
    expected = sacrebleu.metrics.TER(normalized=True, asian_support=True).corpus_score(predictions, streams).score
    assert TER.score(predictions, references).value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("prediction", "reference", "value"), [("a b c", "abc", 100.0), ("", "", 0.0), ("x", "y", 0.0)])
def test_chrf_by_hand(prediction, reference, value):
    assert CHRF.score([prediction], [reference]).value == pytest.approx(value)


def test_chrf_mixed_orders():
    # "aa" against "ab": unigrams 1 of 2, bigrams 0 of 1: F2 of mean precision and recall ¼, with orders 1 and 2
    assert CHRF.score(["aa"], ["ab"]).value == pytest.approx(25.0)
    assert sacrebleu.metrics.CHRF(eps_smoothing=True).corpus_score(["aa"], [["ab"]]).score == pytest.approx(8.3333, abs=1e-4)


def test_ter_by_hand():
    assert TER.score([""], [""]).value == 0.0
    assert TER.score(["c d e f g h a b"], ["a b c d e f g h"]).value == pytest.approx(100 / 8)  # one shift
    assert TER.score(["a b"], [""]).value == 100.0


@pytest.mark.parametrize(
    ("prediction", "spec", "value"),
    [("testing", ROUGE1, 0.5), ("testing one", ROUGE2, 2 / 3), ("testing one", ROUGEL, 4 / 5), ("testing two", ROUGEL, 4 / 5)],
)
def test_rouge_by_hand(prediction, spec, value):
    assert spec.score([prediction], ["testing one two"]).value == pytest.approx(value)


def test_rouge_edges():
    assert ROUGELSUM.score(["w1 w2 w6 w7 w8\nw1 w3 w8 w9 w5"], ["w1 w2 w3 w4 w5"]).value == pytest.approx(0.53333, abs=1e-5)
    assert ROUGEL.score([""], ["a"]).value == 0.0
    assert ROUGEL.score([""], [""]).value == 0.0
    assert ROUGE1.score(["running quickly"], ["run quick"]).value == pytest.approx(0.5)
    swapped = "the cat sat\nthe dog ran"
    assert ROUGELSUM.score([swapped], ["the dog ran\nthe cat sat"]).value == pytest.approx(1.0)
    assert ROUGELSUM.score([swapped.replace("\n", " ")], ["the dog ran the cat sat"]).value < 1.0
    assert ROUGE1.score(["a"], [["b", "a"]]).value == 1.0  # the best reference


@pytest.mark.parametrize("spec", [ROUGE1, ROUGE2, ROUGEL, ROUGELSUM, EXACT_MATCH], ids=lambda spec: spec.name)
@pytest.mark.parametrize("text", ["我喜欢机器学习", "日本語のテスト", "Привет мир", "北京 2026 plan"])
def test_identical_texts_of_any_script_score_one(spec, text):
    assert spec.score([text], [text]).value == 1.0


def test_chinese_rouge_counts_characters():
    assert ROUGEL.score(["我喜欢机器学习"], ["我喜欢深度学习"]).value == pytest.approx(5 / 7)


@given(LINES, LINES)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_rouge_equals_rouge_score(prediction, reference):
    kinds = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
    expected = rouge_scorer.RougeScorer(kinds, use_stemmer=True).score(reference, prediction)
    found = _rouge.all_scores(prediction, reference)
    for kind in kinds:
        assert found[kind] == pytest.approx(expected[kind].fmeasure, abs=1e-9)
        assert _rouge.score(kind, prediction, reference) == found[kind]


def test_rouge_equals_rouge_score_on_long_random_texts():
    generator = random.Random(7)
    words = [f"{stem}{ending}" for stem in ("connect", "relat", "organ", "happ") for ending in ("ion", "ed", "ing", "ize", "y")]
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"], use_stemmer=True)
    for _ in range(20):
        texts = ["\n".join(" ".join(generator.choices(words, k=25)) for _ in range(4)) for _ in range(2)]
        found = _rouge.all_scores(*texts)
        expected = scorer.score(texts[1], texts[0])
        assert found == pytest.approx({kind: score.fmeasure for kind, score in expected.items()}, abs=1e-9)


def test_exact_match_counts_empty_as_wrong():
    score = EXACT_MATCH.score([" Tarn. ", "tarn", "", "Velm。"], ["Tarn", "Tarn", "", "Velm."])
    assert score.value == 0.5
    assert EXACT_MATCH.score(["b"], [["a", "b"]]).value == 1.0


def test_perplexity_is_pooled_not_averaged():
    texts = ["one two three", "four"]
    assert WORD_PERPLEXITY.score([-6.0, -6.0], texts).value == pytest.approx(math.exp(12 / 4))
    assert WORD_PERPLEXITY.score([-6.0, -6.0], texts).value != pytest.approx((math.exp(2) + math.exp(6)) / 2)


def test_words_are_lm_evals_and_chinese_characters_count_each():
    assert WORD_PERPLEXITY.item(-1.0, " two  words\n")[1] == 4  # re.split gives empty ends too, as lm-eval counts
    assert WORD_PERPLEXITY.item(-1.0, "我有 2 本书。")[1] == 6


def test_members_of_the_perplexity_family_agree():
    text = "Füße und 中文"
    n_bytes = len(text.encode())
    bits = BITS_PER_BYTE.score([-20.0], [text]).value
    assert bits == pytest.approx(20 / (n_bytes * math.log(2)))
    assert BYTE_PERPLEXITY.score([-20.0], [text]).value == pytest.approx(2**bits)
    assert pytest.approx(2.5304, abs=1e-4) == 2**1.3394  # lm-eval's wikitext pair of pythia-14m
    assert TOKEN_PERPLEXITY.item(-20.0, text, 10) == (-20.0, 10.0)
    assert math.isnan(WORD_PERPLEXITY.score([math.nan], [text]).value)


def test_logged_statistics_come_back():
    for statistics in ((1.0, 1.0), (0.0, 1.0), (-3.5, 7.0), (1.0, 2.0, 3.0)):
        assert _spec.unlogged(_spec.logged(statistics)) == statistics
    with pytest.raises(ValueError, match="number"):
        _spec.unlogged("0.5")


ROMANIAN = (
    "Producția de zahăr primă va fi exprimată în ceea ce privește zahărul alb;",
    "producţia de zahăr brut se exprimă în zahăr alb;",
)


@pytest.mark.parametrize(
    ("settings_", "value"),
    [
        ({"smooth_method": "exp"}, 8.493),
        ({"smooth_method": "floor"}, 4.51688),
        ({"smooth_method": "floor", "smooth_value": 0.5}, 10.10),
        ({"smooth_method": "add-k", "smooth_value": 1}, 14.882),
        ({"smooth_method": "add-k", "smooth_value": 2}, 21.389),
        ({"tokenize": "none"}, 7.347),
        ({"tokenize": "char"}, 40.8759),
        ({"tokenize": "char", "lowercase": True}, 42.0267),
    ],
)
def test_the_installed_sacrebleu_gives_its_published_sentence_scores(settings_, value):
    metric = sacrebleu.metrics.BLEU(effective_order=True, **settings_)
    assert metric.sentence_score(ROMANIAN[0], [ROMANIAN[1]]).score == pytest.approx(value, abs=1e-3)


def test_floor_smoothing():
    found = sacrebleu.metrics.BLEU(smooth_method="floor", smooth_value=0.01, tokenize="none", force=True)
    assert found.corpus_score(["this is a fest"], [["this is a test"]]).score / 100 == pytest.approx(0.223606797749979)
