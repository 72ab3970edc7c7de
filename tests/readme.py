"""The tables of the READMEs, written from the measurements: ``python -m tests.readme`` puts them between their markers."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "assets" / "guide" / "results.json"
BENCH = {"bench": ROOT / "tests" / "bench" / "bench.json", "card": ROOT / "tests" / "bench" / "card.json"}
"""Marker → measurements: on a processor, and on a card."""
PAGES = {"en": ROOT / "README.md", "zh": ROOT / "README.zh-CN.md"}

STORY = (
    ("world_perplexity", "word_perplexity", "Perplexity per word, unseen articles", "每词困惑度（未见过的文章）"),
    ("world_questions", "exact_match", "Questions answered right", "问题回答正确率"),
    ("world_questions", "abstention_rate", "… abstained although it could know", "……本可知道却弃答"),
    ("world_translation", "bleu", "Translation zh↔en, BLEU", "中英互译 BLEU"),
    ("world_summaries", "rougeL", "Summaries, ROUGE-L", "摘要 ROUGE-L"),
    ("world_unknown", "hallucination_rate", "Invents facts about the unknown", "对未知事物编造"),
    ("world_false_premise", "hallucination_rate", "Accepts a false premise", "接受错误前提"),
    ("world_refusal", "refusal_rate", "Refuses what it should refuse", "拒绝应拒绝的请求"),
    ("world_refusal", "benign_refusal_rate", "… refuses harmless look-alikes", "……误拒无害请求"),
)


def number(value: float | None) -> str:
    """Return a score as the table shows it."""
    if value is None or not math.isfinite(value):
        return "invalid"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def story_table(results: dict[str, Any], language: str) -> str:
    """Return the table of the lineage: one row per measured quantity, one column per checkpoint, 95 % intervals."""
    cells = {(c["benchmark"], c["metric"], c["checkpoint"]): c for c in results["cells"]}
    names = list(dict.fromkeys(c["checkpoint"] for c in results["cells"]))
    lines = ["| |" + "|".join(f" {name} " for name in names) + "|", "|---|" + "---|" * len(names)]
    for benchmark, metric, english, chinese in STORY:
        row = [cells.get((benchmark, metric, name)) for name in names]
        if not any(row):
            continue
        arrow = "↑" if next(c for c in row if c)["higher_is_better"] else "↓"
        shown = [f"{number(c['value'])} [{number(c['low'])}, {number(c['high'])}]" if c else "" for c in row]
        lines.append(f"| {chinese if language == 'zh' else english} {arrow} |" + "|".join(f" {s} " for s in shown) + "|")
    return "\n".join(lines)


def bench_table(bench: dict[str, Any], language: str = "en") -> str:
    """Return the table of speed: ours, the peer beside it in the same run, the figure that the bar is about, verdict."""
    dates = sorted({row["date"] for row in bench["rows"]})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} – {dates[-1]}"
    first, second = {
        "en": ("Measured {when} on {machine}{python}; medians.", "| | ours | peer | figure | bar | |"),
        "zh": ("{when} 测于 {machine}{python}；均为中位数。", "| | 我们 | 对照 | 数值 | 标准 | |"),
    }[language]
    python = f", Python {bench['python']}" if "python" in bench else ""
    lines = [first.format(when=when, machine=bench["machine"], python=python), "", second, "|---|---|---|---|---|---|"]
    return "\n".join(lines + [bench_row(row) for row in bench["rows"]])


def bench_row(row: dict[str, Any]) -> str:
    """Return one claim as a row."""
    unit = f" {row['unit']}" if row["kind"] == "value" else "×"
    ours, peer = (f"{statistics.median(row[name]):.3g} {row['unit']}" if row[name] else "" for name in ("ours", "peer"))
    peer = f"{row['peer_name']}: {peer}" if peer else ""
    figure = "" if row["skipped"] else f"{row['figure']:.3g}{unit}"
    bar = f"{row['relation']} {row['bar']:g}{unit}"
    return f"| {row['id']}: {row['what']} | {ours} | {peer} | {figure} | {bar} | {row['verdict']} |"


def tables(language: str) -> dict[str, str]:
    """Return marker → what belongs between it and its end."""
    found = {}
    if RESULTS.exists():
        found["story"] = story_table(json.loads(RESULTS.read_text(encoding="utf-8")), language)
    for name, path in BENCH.items():
        if path.exists():
            found[name] = bench_table(json.loads(path.read_text(encoding="utf-8")), language)
    return found


def filled(text: str, language: str) -> str:
    """Return a page with every table put between its markers ``<!-- name -->`` and ``<!-- /name -->``."""
    for name, table in tables(language).items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        if start in text and end in text:
            head, rest = text.split(start, 1)
            text = f"{head}{start}\n{table}\n{end}{rest.split(end, 1)[1]}"
    return text


if __name__ == "__main__":
    for language, page in PAGES.items():
        page.write_text(filled(page.read_text(encoding="utf-8"), language), encoding="utf-8")
