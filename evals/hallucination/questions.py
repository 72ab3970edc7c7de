"""What is asked: items of the closed world, or the rows of a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evals.hallucination import verdicts
from evals.hallucination.verdicts import Judged
from models.errors import UserError
from models.words import _

MAX_NEW_TOKENS = 48
PROMPTS = ("question", "prompt", "input", "Question", "Q")
TARGETS = ("answers", "references", "Correct Answers", "correct_answers", "answer", "target", "Best Answer", "best_answer")


@dataclass(frozen=True)
class Question:
    """One question.

    Args:
        id: Unique within the run. ``benchmark``: where it comes from.
        text: What is asked. ``references``: right answers; of none the right thing is to say that it is not known.
        answerable: Whether an answer can be known. ``cluster``: what it is about; alike questions are not independent.
        cell, language: Parts by which results are broken down.
        max_new_tokens: Longest answer.
        item: The row of the closed world that its oracle needs; empty elsewhere.
    """

    id: str
    benchmark: str
    text: str
    references: tuple[str, ...]
    answerable: bool
    cluster: str = ""
    cell: str = ""
    language: str = ""
    max_new_tokens: int = MAX_NEW_TOKENS
    item: Mapping[str, Any] = field(default_factory=dict)

    def judge(self, answer: str, truncated: bool) -> Judged:
        """Return the verdict on an answer: the oracle's, or by the references."""
        if self.item:
            return verdicts.by_world(self.item, answer, truncated)
        return verdicts.by_reference(answer, self.references, truncated, self.text)


def questions(benchmark: str, checkpoint: str, limit: int = 0) -> list[Question]:
    """Return the questions of a closed-world benchmark, or of a JSONL or CSV file.

    Raises:
        UserError: If there is no such benchmark or file, a file has no rows, or a row asks nothing.
    """
    path = Path(benchmark)
    if path.suffix.lower() in (".jsonl", ".json", ".csv") or path.is_file():
        found = _from_file(path)
        if not found:
            raise UserError("data.empty", _("{path} has no rows.").format(path=path), path=str(path))
    else:
        found = _from_world(benchmark, checkpoint)
    return found[:limit] if limit else found


def _from_world(benchmark: str, checkpoint: str) -> list[Question]:
    from evals import tasks

    known = tasks.benchmarks().get(benchmark)
    asks = known is not None and known.output_type == "generate_until" and known.judged_by == "world"
    rows = known.items(checkpoint) if known is not None and asks else []
    if known is None or not rows or "type" not in rows[0]:
        raise UserError(
            "hallucination.benchmark",
            _("{name} is no benchmark of the closed world that asks questions, and no file.").format(name=benchmark),
            _("Take world_unknown, world_false_premise, world_questions, or a JSONL or CSV file with question and answer."),
        )
    return [_world_question(row, known.max_new_tokens) for row in rows]


def _world_question(row: Mapping[str, Any], most: int) -> Question:
    unknown = str(row["type"]) in ("unknown", "unknown_check")
    return Question(
        str(row["id"]), str(row["benchmark"]), str(row["prompt"]), () if unknown else (str(row["target"]),), not unknown,
        str(row.get("entity", "")), str(row.get("cell", "")), str(row.get("language", "")), most, dict(row),
    )  # fmt: skip


def _from_file(path: Path) -> list[Question]:
    found = []
    for number, row in enumerate(verdicts.read_rows(path), 1):
        text = next((str(row[name]) for name in PROMPTS if row.get(name)), "")
        if not text.strip():
            raise UserError(
                "hallucination.question",
                _("Row {number} of {path} asks nothing.").format(number=number, path=path),
                _("A row needs the field question; answer or answers hold what is right, empty where nothing can be known."),
                path=str(path),
                row=number,
            )
        references = _references(row)
        known = bool(references) and str(row.get("answerable", "true")).casefold() not in ("false", "0", "no")
        found.append(
            Question(
                str(row.get("id", number)), path.stem, text, references, known, str(row.get("cluster", "")),
                str(row.get("cell", row.get("Category", ""))), str(row.get("language", "")),
            )
        )  # fmt: skip
    if len({one.id for one in found}) < len(found):
        raise UserError("hallucination.ids", _("Two rows of {path} have one id.").format(path=path), path=str(path))
    return found


def _references(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the right answers of a row: a list (or its JSON), texts with ``;`` between in a plural field, or one text."""
    for name in TARGETS:
        value = row.get(name)
        if value is None or value == "":
            continue
        if isinstance(value, str) and value.lstrip().startswith("["):
            try:
                value = json.loads(value)
            except ValueError:
                value = [value]
        if isinstance(value, str) and name.casefold() in ("correct answers", "correct_answers", "answers", "references"):
            value = value.split(";")
        values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        return tuple(str(one).strip() for one in values if str(one).strip())
    return ()
