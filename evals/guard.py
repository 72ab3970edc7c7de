"""What lm-eval's scoring gets wrong in silence, put right at the moment of scoring.

A NaN log-likelihood is no answer: ``argmax`` of NaN is 0, and where the right choice is always the first a broken model would
score 100 %. Such an item is marked, and its whole cell becomes invalid. Choices with exactly the same likelihood share
the point: a tie of k that holds the right one counts 1/k.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from evals.benchmark import Answer
from models.errors import UserError
from models.words import _


class Guard:
    """A task's ``process_results`` with its items watched, in the order in which lm-eval scores them."""

    def __init__(self, task: Any) -> None:
        """Wrap the task's scoring; ``install`` puts it in place."""
        self.task = task
        self.inner: Callable[[Any, Any], dict[str, Any]] = task.process_results
        self.invalid: list[bool] = []

    def __call__(self, doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, Any]:
        """Return the metrics of one item."""
        self.invalid.append(any(is_invalid(result) for result in results))
        if self.task.OUTPUT_TYPE != "multiple_choice" or callable(self.task.config.process_results):
            return self.inner(doc, results)
        choices = [str(choice) for choice in self.task.doc_to_choice(doc)]
        if any(not choice for choice in choices):
            raise self._wrong(_("an empty choice"))
        gold = self.task.doc_to_text(doc) if self.task.multiple_input else self.task.doc_to_target(doc)
        gold = choices.index(gold) if isinstance(gold, str) and gold in choices else gold
        if isinstance(gold, str) or (isinstance(gold, int) and not 0 <= gold < len(choices)):
            raise self._wrong(_("the right answer {gold!r}, which is none of its choices").format(gold=gold))
        found = self.inner(doc, results)
        if isinstance(gold, int) and not self.invalid[-1]:
            values = [float(result[0]) for result in results[: len(choices)]]
            found.update(shared(values, choices, gold, found))
        return found

    def _wrong(self, what: str) -> UserError:
        row = len(self.invalid)
        return UserError(
            "task.choice",
            _("Item {row} of {name} has {what}.").format(row=row, name=self.task.config.task, what=what),
            _("Correct the data of the task."),
            row=row,
        )


def install(task: Any) -> Guard:
    """Put a guard in front of a task's scoring and return it."""
    guard = Guard(task)
    task.process_results = guard
    return guard


def shared(values: Sequence[float], choices: Sequence[str], gold: int, found: Mapping[str, Any]) -> dict[str, float]:
    """Return the accuracies among ``found`` whose best choices are tied, each the gold's share of the tie."""
    lengths = {
        "acc": [1.0] * len(choices),
        "acc_norm": [float(len(choice)) for choice in choices],
        "acc_bytes": [float(len(choice.encode("utf-8"))) for choice in choices],
    }
    corrected = {}
    for metric, units in lengths.items():
        if metric not in found or not 0 <= gold < len(choices):
            continue
        scores = [value / unit for value, unit in zip(values, units, strict=True)]
        best = [place for place, score in enumerate(scores) if score == max(scores)]
        if len(best) > 1:
            corrected[metric] = 1.0 / len(best) if gold in best else 0.0
    return corrected


def is_invalid(result: Any) -> bool:
    """Return whether a model's answer is NaN: a likelihood, the first of a pair, or a generation that met NaN."""
    if isinstance(result, Answer):
        return result.stop == "nan"
    if isinstance(result, tuple | list) and result:
        return is_invalid(result[0])
    return isinstance(result, float) and math.isnan(result)
