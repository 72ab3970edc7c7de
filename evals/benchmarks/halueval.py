"""HaluEval-style recognition from a local file: is this answer right, or does it hold something made up?

Li et al. 2023, arXiv 2305.11747. The original shows one of the two answers of a row, drawn without a seed; here both are
shown, so that an unchanging "No" scores exactly 50 % and nothing is drawn. An answer that begins with neither yes nor no
is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from evals.benchmark import Answer, Benchmark, Measure, Outcome
from evals.filed import FileBenchmark, named
from evals.metrics.accuracy import METRIC as ACCURACY
from evals.metrics.unparsable_rate import METRIC as UNPARSABLE
from evals.metrics.yes_rate import METRIC as YES
from models.errors import UserError
from models.words import _

MEASURES = (Measure(ACCURACY), Measure(YES, higher_is_better=False), Measure(UNPARSABLE))
KINDS = (
    ("qa", ("knowledge", "question"), "right_answer", "hallucinated_answer"),
    ("dialogue", ("knowledge", "dialogue_history"), "right_response", "hallucinated_response"),
    ("summary", ("document",), "right_summary", "hallucinated_summary"),
)
"""Kind of file, what is shown before the answer, the right one and the made-up one."""
LABELS = {"knowledge": "Known facts", "question": "Question", "dialogue_history": "Dialogue", "document": "Document"}
ASK = "Does the answer state anything that is false or that the text above does not support? Reply Yes or No."
_FIRST = re.compile(r"[\s\"'*(\[]*(yes|no|是|否|不是)(?![a-z])", re.IGNORECASE)


def said(answer: str) -> str:
    """Return ``yes``, ``no`` or nothing: how an answer begins."""
    found = _FIRST.match(answer)
    return {"yes": "yes", "是": "yes"}.get(found[1].lower(), "no") if found else ""


def items(rows: Sequence[Mapping[str, Any]], path: Path, checkpoint: str) -> list[dict[str, Any]]:
    """Return two items for every row (one for a row that is labelled), tied together by ``entity``."""
    del checkpoint
    return [item for number, row in enumerate(rows, 1) for item in _of_row(row, number, path)]


def _of_row(row: Mapping[str, Any], number: int, path: Path) -> Iterator[dict[str, Any]]:
    if {"user_query", "chatgpt_response", "hallucination_label"} <= set(row):
        bad = str(row["hallucination_label"]).strip().lower() in ("yes", "true", "1")
        yield _item(f"Question: {row['user_query']}", str(row["chatgpt_response"]), bad, number, "general")
        return
    for kind, shown, right, wrong in KINDS:
        if right in row and wrong in row:
            parts = [f"{LABELS[name]}: {row[name]}" for name in shown if str(row.get(name) or "").strip()]
            for answer, bad in ((row[right], False), (row[wrong], True)):
                yield _item("\n".join(parts), str(answer), bad, number, kind)
            return
    raise UserError(
        "data.row",
        _("Row {number} of {path} cannot be used: {why}.").format(
            number=number, path=path, why=_("it has no right and hallucinated answer")
        ),
        _("It needs {names}.").format(names="question, right_answer, hallucinated_answer"),
    )


def _item(before: str, answer: str, bad: bool, number: int, kind: str) -> dict[str, Any]:
    return {
        "id": f"halueval-{number}-{'made-up' if bad else 'right'}", "prompt": f"{before}\nAnswer: {answer}\n{ASK}\n",
        "target": "Yes" if bad else "No", "type": "made-up" if bad else "right", "cell": kind, "entity": str(number),
    }  # fmt: skip


def judge(item: Mapping[str, Any], answer: Answer) -> Outcome:
    """Return the scores of one answer."""
    word = said(str(answer))
    right = bool(word) and word == str(item["target"]).lower()
    found = {"accuracy": (float(right), 1.0), "yes_rate": (float(word == "yes"), 1.0), "unparsable_rate": (float(not word), 1.0)}
    return Outcome(found, "correct" if right else "wrong")


def build(paths: tuple[Path, ...]) -> Benchmark:
    """Return the benchmark over a file."""
    rows = named(paths[0])
    items(rows, paths[0], "")
    return Benchmark(
        name=f"halueval@{paths[0].name}",
        title="Recognising hallucinations",
        description="Each row's right and made-up answer is shown; the model says whether it holds something false.",
        output_type="generate_until",
        measures=MEASURES,
        items=partial(items, rows, paths[0]),
        judge=judge,
        judged_by="yes or no",
        max_new_tokens=8,
    )


FILES = FileBenchmark(
    name="halueval",
    title="Recognising hallucinations",
    description="HaluEval's files (questions, dialogues, summaries or labelled answers) as CSV or JSON lines.",
    files=("file",),
    build=build,
)
