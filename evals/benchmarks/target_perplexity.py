"""Perplexity of targets given their sources: the measure of encoder–decoders, which give no probability to a text by itself.

Decoders read the source, then a space, then the target; encoder–decoders read the source and write the target. The end of the
target is not scored. Only tokens of the target count, so the numbers of one tokenizer compare.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from evals.benchmark import Benchmark, Measure
from evals.benchmarks.perplexity import MEASURES, judge
from evals.filed import FileBenchmark, two_sided
from models.errors import UserError
from models.words import _

FIELDS = (("source", "document", "article", "question", "prompt"), ("target", "summary", "translation", "answer", "reference"))


def _signature(name: str) -> Callable[[], str]:
    return lambda: f"{name}|pooled|given:source|before-target:space (decoders)|end:not-scored"


GIVEN = tuple(Measure(replace(measure.metric, signature=_signature(measure.name))) for measure in MEASURES)


def items(found: list[tuple[str, str]], checkpoint: str) -> list[dict[str, Any]]:
    """Return one item per pair, the target as the checkpoint's kind continues the source."""
    before = "" if _reads_apart(checkpoint) else " "
    return [
        {"id": f"pair-{number}", "prompt": source, "target": target, "scored": before + target}
        for number, (source, target) in enumerate(found)
    ]


def _reads_apart(checkpoint: str) -> bool:
    from models.library import describe

    try:
        return describe(checkpoint).kind == "encoder-decoder"
    except (UserError, OSError):  # an endpoint
        return False


def build(paths: tuple[Path, ...]) -> Benchmark:
    """Return the benchmark over two files, or over a table."""
    return Benchmark(
        name="@".join(["target_perplexity", *(path.name for path in paths)]),
        title="Perplexity of targets given their sources",
        description="How well each target is predicted from its source.",
        output_type="loglikelihood",
        measures=GIVEN,
        items=partial(items, two_sided(paths, FIELDS, _("targets"))),
        judge=judge,
        chat=False,
        cluster="",
    )


FILES = FileBenchmark(
    name="target_perplexity",
    title="Perplexity of targets given their sources",
    description="Two files line by line, or a table with source and target: perplexity of the targets, for encoder–decoders too.",
    files=("source", "target"),
    build=build,
    likelihoods=True,
)
