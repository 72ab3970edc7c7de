"""TruthfulQA from a local file, with lm-eval's prompt: MC1, MC2 and generation against true and false references.

Lin et al. 2022, arXiv 2109.07958. MC1: the best answer against the incorrect ones, right if it has the highest
log-likelihood. MC2: the share of probability on the correct ones among all. Generation: the best BLEU or ROUGE with a true
reference, the difference from the best with a false one, and whether the true one is nearer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.filed import FileBenchmark, named
from models.errors import UserError
from models.words import _

NAMES = {
    "question": "Question", "best_answer": "Best Answer", "correct_answers": "Correct Answers",
    "incorrect_answers": "Incorrect Answers", "category": "Category",
}  # fmt: skip
"""Fields here → columns of the published CSV file."""


def row_of(row: Mapping[str, Any], path: Path, number: int) -> dict[str, Any]:
    """Return a question as lm-eval's tasks want it, from a row of the published CSV, of such JSON, or of the Hub's data set.

    Raises:
        UserError: If it has no question, no correct or no incorrect answer.
    """
    given = {name: row.get(name, row.get(column)) for name, column in NAMES.items()}
    mc1, mc2 = _targets(row.get("mc1_targets")), _targets(row.get("mc2_targets"))
    correct = _listed(given["correct_answers"]) or [text for text, label in mc2 if label]
    wrong = _listed(given["incorrect_answers"]) or [text for text, label in mc2 if not label]
    best = str(given["best_answer"] or next((text for text, label in mc1 if label), correct[0] if correct else "")).strip()
    if not given["question"] or not best or not wrong:
        raise UserError(
            "data.row",
            _("Row {number} of {path} cannot be used: {why}.").format(
                number=number, path=path, why=_("it lacks a question, a correct or an incorrect answer")
            ),
            _("Correct or remove the row."),
        )
    correct = correct or [best]
    return {
        "id": f"truthfulqa-{number}",
        "question": str(given["question"]).strip(),
        "best_answer": best,
        "correct_answers": correct,
        "incorrect_answers": wrong,
        "category": str(given["category"] or ""),
        "mc1_targets": _labelled(mc1) if mc1 else {"choices": [best, *wrong], "labels": [1] + [0] * len(wrong)},
        "mc2_targets": _labelled(mc2)
        if mc2
        else {"choices": [*correct, *wrong], "labels": [1] * len(correct) + [0] * len(wrong)},
    }


def _targets(value: Any) -> list[tuple[str, int]]:
    """Return choices with their labels, the true ones first (lm-eval's MC1 takes the first for the right one)."""
    if not isinstance(value, Mapping):
        return []
    found = [(str(text), int(label)) for text, label in zip(value.get("choices") or (), value.get("labels") or (), strict=False)]
    return sorted(found, key=lambda one: -one[1])


def _labelled(pairs: Sequence[tuple[str, int]]) -> dict[str, list[Any]]:
    return {"choices": [text for text, _label in pairs], "labels": [label for _text, label in pairs]}


def _listed(value: Any) -> list[str]:
    parts = value.split(";") if isinstance(value, str) else list(value or [])
    return [str(part).strip() for part in parts if str(part).strip()]


def mc2(doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, float]:
    """Return the share of probability on the correct answers: Σ_true e^ℓ / Σ e^ℓ, safe for very small e^ℓ.

    Args:
        doc: A row with ``mc2_targets``.
        results: (log-likelihood in nats, greedy) of each choice.
    """
    import numpy as np

    logs = np.asarray([result[0] for result in results], dtype=np.float64)
    shares = np.exp(logs - logs.max())
    labels = np.asarray(doc["mc2_targets"]["labels"])
    return {"acc": float(shares[labels == 1].sum() / shares.sum())}


def build(paths: tuple[Path, ...]) -> dict[str, Any]:
    """Return the three tasks over a file."""
    from evals import shipped

    rows = [row_of(row, paths[0], number) for number, row in enumerate(named(paths[0]), 1)]
    make = shipped.task
    return {
        "truthfulqa_mc1": make("truthfulqa/truthfulqa_mc1.yaml", "truthfulqa_mc1", "validation", rows),
        "truthfulqa_mc2": make("truthfulqa/truthfulqa_mc2.yaml", "truthfulqa_mc2", "validation", rows, process_results=mc2),
        "truthfulqa_gen": make("truthfulqa/truthfulqa_gen.yaml", "truthfulqa_gen", "validation", rows),
    }


FILES = FileBenchmark(
    name="truthfulqa",
    title="TruthfulQA",
    description="Questions that many people answer wrongly, from the published CSV file or such JSON: MC1, MC2 and generation.",
    files=("file",),
    build=build,
    likelihoods=True,
)
