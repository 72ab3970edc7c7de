"""Translation of one file into another, line by line: BLEU, chrF and TER, with their signatures.

The languages are read from the files' endings (``text.en``, ``text.de``). Chinese is split into characters by the metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from evals.benchmark import Answer, Benchmark, Measure, Outcome
from evals.filed import FileBenchmark, pairs
from evals.metrics.bleu import METRIC as BLEU
from evals.metrics.chrf import METRIC as CHRF
from evals.metrics.exact_match import METRIC as EXACT_MATCH
from evals.metrics.ter import METRIC as TER

MEASURES = (Measure(BLEU), Measure(CHRF), Measure(TER), Measure(EXACT_MATCH))
LANGUAGES = {
    "en": "English", "de": "German", "fr": "French", "zh": "Chinese", "es": "Spanish", "it": "Italian", "ru": "Russian",
    "ja": "Japanese", "ko": "Korean", "pt": "Portuguese", "nl": "Dutch", "cs": "Czech", "pl": "Polish", "ro": "Romanian",
}  # fmt: skip


def language(path: Path) -> str:
    """Return the language that a file's ending names, or the ending itself."""
    ending = path.suffix.lstrip(".").lower()
    return LANGUAGES.get(ending.split("-")[0].split("_")[0], ending or path.stem)


def items(found: list[tuple[str, str]], into: str, out_of: str, checkpoint: str) -> list[dict[str, Any]]:
    """Return one item per pair of lines."""
    del checkpoint
    return [
        {
            "id": f"translation-{number}", "target": target, "source": source,
            "prompt": f"Translate from {out_of} into {into}.\n{out_of}: {source}\n{into}:",
        }
        for number, (source, target) in enumerate(found)
    ]  # fmt: skip


def judge(item: Mapping[str, Any], answer: Answer) -> Outcome:
    """Return the scores of one answer: its first line."""
    return text_scores(item, str(answer).strip().split("\n")[0], MEASURES)


def text_scores(item: Mapping[str, Any], answer: str, measures: tuple[Measure, ...]) -> Outcome:
    """Return text metrics of an answer against the item's reference."""
    return Outcome({measure.name: measure.metric.item(answer.strip(), [str(item["target"])]) for measure in measures})


def build(paths: tuple[Path, ...]) -> Benchmark:
    """Return the benchmark over a source file and its reference."""
    found = pairs(paths)
    return Benchmark(
        name=f"translation@{paths[0].name}@{paths[1].name}",
        title="Translation",
        description="Lines of one file, to be translated into those of the other.",
        output_type="generate_until",
        measures=MEASURES,
        items=partial(items, found, language(paths[1]), language(paths[0])),
        judge=judge,
        max_new_tokens=128,
        cluster="",
        until=("\n",),
    )


FILES = FileBenchmark(
    name="translation",
    title="Translation",
    description="Two files that belong together line by line, the languages as their endings: BLEU, chrF, TER.",
    files=("source", "reference"),
    build=build,
    needed=2,
)
