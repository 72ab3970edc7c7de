"""Runs of hallucination and answers as the engine could send them, for the tests of the view."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.records.cutoff import NOTHING, CutoffPlace, CutoffRow, CutoffRun
from models.records.hallucination import (
    AnswerColumn,
    AnswerPage,
    AnswerTokens,
    DrawnAnswer,
    HallucinationRun,
    KindRates,
    PenaltyCurve,
    QuestionAnswer,
    Rate,
    Reliability,
    ScoreQuality,
)

NAMES = ("pretrain", "sft", "rlhf")
TEXT = "<b>bold</b> \u202egnp.exe"


def tokens(n=4, seed=0):
    random = np.random.default_rng(seed)
    texts = (" The", TEXT, " answer", ".")[:n]
    return AnswerTokens(tuple(range(5, 5 + n)), texts, -random.gamma(1.0, 1.0, n).astype(np.float32),
                        random.gamma(1.0, 1.0, n).astype(np.float32))  # fmt: skip


def answer(number=0, seed=0):
    verdict = ("correct", "hallucinated", "abstained")[(number + seed) % 3]
    samples = tuple(DrawnAnswer(f"Clara {i % 3}", i % 3, -1.0 - i, 3, "eos", "correct") for i in range(4))
    scores = {"token_surprisal": 0.4 + number, "semantic_entropy": 0.9, "disagreement": 0.5, "length": 4.0}
    return QuestionAnswer(
        f"q{number}", "world_unknown", "question", "en", f"Who made {TEXT}?", ("Clara.",) if number % 2 else (), bool(number % 2),
        f"{TEXT} answer {number}", f"{TEXT} answer {number}", "eos", verdict, verdict, "world", verdict == "correct",
        tokens(seed=number), samples, 0, scores, (1, 2, 3), (f"A passage of {TEXT}.",), "Who? Clara.",
    )  # fmt: skip


def rate(value=0.5):
    return Rate(value, max(value - 0.1, 0.0), min(value + 0.1, 1.0), 40)


def column(name="sft", remedy="plain", seed=0):
    random = np.random.default_rng(seed)
    grid = np.linspace(0.1, 1, 10).astype(np.float32)
    qualities = tuple(
        ScoreQuality(score, 0.6 + 0.1 * n, 0.5, 0.8, 0.7, 30, 12, grid, random.random(10).astype(np.float32))
        for n, score in enumerate(("token_surprisal", "semantic_entropy", "length"))
    )
    counts = np.array([0, 1, 2, 3, 4, 0, 6, 7, 3, 4], np.int32)
    sure = tuple(
        Reliability(name, np.linspace(0, 1, 11).astype(np.float32), counts, np.where(counts > 0, grid - 0.05, np.nan),
                    np.where(counts > 0, grid * 0.8, np.nan), 0.1, 0.2, 30)
        for name in ("token_probability", "agreement")
    )  # fmt: skip
    penalty = PenaltyCurve(grid, 0.5 - grid, 0.5 - grid / 2, "agreement")
    none = Rate(float("nan"), float("nan"), float("nan"), 0)
    plain = remedy == "plain"
    return AnswerColumn(
        name, name, f"/models/{name}", remedy, 40, rate(0.5), rate(0.3), rate(0.2), rate(0.6), rate(0.7), rate(0.1), rate(0.4),
        {"world_unknown · question · en": (0.0, 0.4, 0.6)}, none if plain else rate(-0.1), float("nan") if plain else 0.01, {},
        qualities if plain else (), sure if plain else (), penalty if plain else None, kinds=kinds(seed),
    )  # fmt: skip


def kinds(seed=0):
    """Kinds of questions: stage 1 answers and invents about the unknown, stage 2 abstains there."""
    invents, right = (0.4, 0.9, 0.1)[seed % 3], (0.1, 0.8, 0.8)[seed % 3]
    return (
        KindRates("world_unknown", "question", False, share(0.0), share(invents), share(1 - invents)),
        KindRates("world_questions", "question", True, share(right), share(1 - right), share(0.0)),
        KindRates("quiz", "", True, share(0.5), share(0.5), share(0.0)),
    )


def share(value):
    return Rate(value, max(value - 0.05, 0.0), min(value + 0.05, 1.0), 40)


def runs():
    columns = tuple(column(name, remedy, n) for n, name in enumerate(NAMES) for remedy in ("plain", "sampled", "retrieval"))
    why = "The checkpoint <b>gone</b> is not there."
    broken = replace(column("gone"), n=0, error=why, qualities=(), reliabilities=(), penalty=None)
    return (HallucinationRun("/runs/one", f"Hallucination: {TEXT}", {"limit": "40"}, (*columns, broken)),)


def page(params):
    seed = NAMES.index(params["checkpoint"]) if params["checkpoint"] in NAMES else 0
    found = tuple(answer(n, seed) for n in range(params["start"], min(params["start"] + 30, 40)))
    return AnswerPage(params["start"], 40, found)


def cutoff_row(way, remedy, learned, forgotten, new, old):
    first = way == "" and remedy == "plain"
    return CutoffRow(
        way or "ppo", f"/runs/cutoff/{way}", way, remedy, rate(new), rate(0.2), rate(0.8 - new), rate(0.5), rate(0.1),
        unchanged=rate(0.9), old=rate(old), unknown=rate(0.7),
        forgotten=NOTHING if first else Rate(forgotten, forgotten - 0.08, forgotten + 0.08, 60),
        p=float("nan") if first else (0.001 if forgotten < -0.1 else 0.6),
        learned=NOTHING if first else Rate(learned, learned - 0.1, learned + 0.1, 50),
        p_learned=float("nan") if first else (0.002 if learned > 0.1 else 0.4),
        perplexity=Rate(1.53, 1.4, 1.7, 60) if remedy == "plain" else NOTHING, prompt_tokens=31.5,
        seconds=139.0 if way else 0.0, trained=1_200_000 if way else 0, receipts={"answers": f"{way}/answers_{TEXT}.jsonl"},
    )  # fmt: skip


def cutoff_runs():
    rows = [("", "plain", 0.0, 0.0, 0.0, 0.95), ("", "retrieval", 0.15, -0.87, 0.15, 0.08),
            ("full", "plain", 0.22, -0.78, 0.1, 0.17),
            ("replay", "plain", 0.36, -0.03, 0.28, 0.92), ("adapter", "plain", 0.4, -0.62, 0.28, 0.33),
            ("reader", "plain", 0.0, -0.02, 0.0, 0.93), ("reader", "retrieval", 0.54, -0.58, 0.5, 0.37)]  # fmt: skip
    made = tuple(cutoff_row(*row) for row in rows)
    return (CutoffRun("/runs/20261126-cutoff-1a2b", "Cutoff of ppo", "/models/demo/ppo", made),)


def cutoff_places(params):
    return tuple(CutoffPlace(path, "" if path.endswith(("sft", "ppo")) else f"{path} has no closed world beside it.")
                 for path in params["checkpoints"])  # fmt: skip


ANSWERS = {
    "cutoff_runs": lambda want: cutoff_runs(),
    "cutoff_places": lambda want: cutoff_places(want.params),
    "hallucination_runs": lambda want: runs(),
    "hallucination_answers": lambda want: page(want.params),
    "question": lambda want: answer(1, want.column),
}
