"""Summaries of the documents of one file against those of another, or of one table: ROUGE-1, 2, L and Lsum."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from evals.benchmark import Answer, Benchmark, Measure, Outcome
from evals.filed import FileBenchmark, two_sided
from evals.metrics.rouge1 import METRIC as ROUGE1
from evals.metrics.rouge2 import METRIC as ROUGE2
from evals.metrics.rougel import METRIC as ROUGEL
from evals.metrics.rougelsum import METRIC as ROUGELSUM
from models.words import _

MEASURES = (Measure(ROUGEL), Measure(ROUGE1), Measure(ROUGE2), Measure(ROUGELSUM))
FIELDS = (("document", "article", "text", "dialogue"), ("summary", "highlights", "reference"))


def items(found: list[tuple[str, str]], checkpoint: str) -> list[dict[str, Any]]:
    """Return one item per document."""
    del checkpoint
    return [
        {"id": f"summary-{number}", "target": summary, "prompt": f"{document}\n\nSummarise the text above.\nSummary:"}
        for number, (document, summary) in enumerate(found)
    ]


def judge(item: Mapping[str, Any], answer: Answer) -> Outcome:
    """Return the scores of one answer."""
    given = str(answer).strip()
    return Outcome({measure.name: measure.metric.item(given, [str(item["target"])]) for measure in MEASURES})


def build(paths: tuple[Path, ...]) -> Benchmark:
    """Return the benchmark over two files, or over a table."""
    found = two_sided(paths, FIELDS, _("summaries"))
    return Benchmark(
        name="@".join(["summaries", *(path.name for path in paths)]),
        title="Summaries",
        description="Documents to be summarised, against given summaries.",
        output_type="generate_until",
        measures=MEASURES,
        items=partial(items, found),
        judge=judge,
        max_new_tokens=160,
        cluster="",
    )


FILES = FileBenchmark(
    name="summaries",
    title="Summaries",
    description="Two files that belong together line by line, or a table with document and summary: ROUGE-1, 2, L, Lsum.",
    files=("document", "summary"),
    build=build,
)
