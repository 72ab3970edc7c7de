"""Perplexity of any text file; WikiText's tokenised form is split into its articles and scored as lm-eval does.

A file whose lines hold `` = Title = `` is WikiText: its pages are detokenised, scored, and divided by the words and bytes of
the original page, by lm-eval's own ``wikitext`` task. Any other file is one text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from evals.benchmark import Benchmark, Likelihood, Measure, Outcome
from evals.filed import FileBenchmark, text
from evals.metrics.bits_per_byte import METRIC as BITS_PER_BYTE
from evals.metrics.byte_perplexity import METRIC as BYTE_PERPLEXITY
from evals.metrics.token_perplexity import METRIC as TOKEN_PERPLEXITY
from evals.metrics.word_perplexity import METRIC as WORD_PERPLEXITY

MEASURES = (Measure(WORD_PERPLEXITY), Measure(BITS_PER_BYTE), Measure(BYTE_PERPLEXITY), Measure(TOKEN_PERPLEXITY))
_TITLE = re.compile(r"^ ?= [^=\n]+ = ?$", re.MULTILINE)


def pages(content: str) -> list[str]:
    """Return the articles of a text in WikiText's form: each begins at its ``= Title =`` line; [] for any other text."""
    starts = [found.start() for found in _TITLE.finditer(content)]
    if not starts:
        return []
    ends = [*starts[1:], len(content)]
    before = [content[: starts[0]]] if content[: starts[0]].strip() else []
    return [*before, *(content[start:end] for start, end in zip(starts, ends, strict=True))]


def judge(item: Mapping[str, Any], answer: Likelihood) -> Outcome:
    """Return the perplexity family's statistics of one text."""
    whole = str(item["target"])
    return Outcome({measure.name: measure.metric.item(float(answer), whole, answer.n_tokens) for measure in MEASURES})


def items(whole: str, checkpoint: str) -> list[dict[str, Any]]:
    """Return the one item of a text."""
    del checkpoint
    return [{"id": "text", "prompt": "", "target": whole}]


def build(paths: tuple[Path, ...]) -> Benchmark | Mapping[str, Any]:
    """Return the benchmark over a text, or lm-eval's task over the pages of one in WikiText's form."""
    from evals import shipped

    content = text(paths[0])
    name = f"perplexity@{paths[0].name}"
    found = pages(content)
    if found:
        rows = [{"id": f"page-{number}", "page": page} for number, page in enumerate(found)]
        return {name: shipped.task("wikitext/wikitext.yaml", name, "test", rows)}
    return Benchmark(
        name=name,
        title="Perplexity of a text",
        description="How well a text file is predicted, in windows of all that the model takes.",
        output_type="loglikelihood_rolling",
        measures=MEASURES,
        items=partial(items, content),
        judge=judge,
        chat=False,
        cluster="",
    )


FILES = FileBenchmark(
    name="perplexity",
    title="Perplexity of a text",
    description="Any text file: word, byte and token perplexity, bits per byte. WikiText's form is split into its articles.",
    files=("file",),
    build=build,
    likelihoods=True,
)
