"""Scores as a table for a paper or a page, and runs as lm-eval writes them."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from evals import files
from models.errors import UserError
from models.events import Progress, Work
from models.files import write_bytes
from models.records.scores import Cell, Comparison, verdict
from models.words import _

Key = tuple[str, str]
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
}  # fmt: skip


def digits(value: float) -> str:
    """Return a score with the digits that it deserves; ``–`` for one that is not valid."""
    if not math.isfinite(value):
        return "–"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.2f}" if abs(value) < 1000 else f"{value:.0f}"


def _table(cells: Sequence[Cell]) -> tuple[list[Key], dict[tuple[Key, str], Cell]]:
    found = {((cell.benchmark, cell.metric), cell.checkpoint): cell for cell in cells if cell.metric}
    return list(dict.fromkeys(key for key, _name in found)), found


def _best(found: dict[tuple[Key, str], Cell], key: Key) -> frozenset[str]:
    values = {name: cell for (own, name), cell in found.items() if own == key and math.isfinite(cell.value)}
    if len(values) < 2 or next(iter(values.values())).neutral:
        return frozenset()
    better = max if next(iter(values.values())).higher_is_better else min
    top = better(cell.value for cell in values.values())
    winners = frozenset(name for name, cell in values.items() if cell.value == top)
    return winners if len(winners) < len(values) else frozenset()


def _mark(comparison: Comparison | None, up: bool | None) -> str:
    """Return a sign where the difference from the baseline is beyond chance."""
    kind = verdict(comparison, up).kind if comparison is not None else ""
    return {"better": "+", "worse": "-", "different": "≠"}.get(kind, "")


def _rows(
    cells: Sequence[Cell], names: Sequence[str], comparisons: Sequence[Comparison], write: Callable[[Cell, bool, str], str]
) -> Iterator[tuple[Key, str, list[str]]]:
    """Yield (benchmark and metric, which way is better as a sign, the text of each checkpoint) of each row.

    ``write`` is given a score, whether it is the best of its row, and its mark; where there is no score the text is empty.
    """
    keys, found = _table(cells)
    deltas = {((c.benchmark, c.metric), c.b): c for c in comparisons}
    for key in keys:
        best = _best(found, key)
        row = {name: found[key, name] for name in names if (key, name) in found}
        marks = {name: _mark(deltas.get((key, name)), cell.direction) for name, cell in row.items()}
        texts = [write(row[name], name in best, marks[name]) if name in row else "" for name in names]
        yield key, next((cell.arrow for cell in row.values()), "↑"), texts


def _notes(intervals: str, comparisons: Sequence[Comparison]) -> Iterator[str]:
    yield f"{intervals}; the best of each row is bold; ↑ higher is better, ↓ lower is better, ↔ neither."
    if comparisons:
        name = comparisons[0].a
        yield f"+ better, - worse than {name}: paired on the same items, two-sided, p < 0.05 after Holm's correction."


def markdown(cells: Sequence[Cell], names: Sequence[str], comparisons: Sequence[Comparison] = ()) -> str:
    """Return a table in Markdown: benchmarks down, checkpoints across, interval and n with each score."""

    def write(cell: Cell, best: bool, mark: str) -> str:
        value = f"**{digits(cell.value)}**" if best else digits(cell.value)
        interval = f" [{digits(cell.low)}, {digits(cell.high)}]" if math.isfinite(cell.low) else ""
        of = f" of {cell.n + cell.n_skipped}" if cell.n_skipped else ""
        counts = ((cell.n_failed, "failed"), (max(cell.n_overlap, 0), "in the training data"))
        odd = "".join(f", {number} {what}" for number, what in counts if number)
        return f"{value}{' ' + mark if mark else ''}{interval} (n {cell.n}{of}{odd})"

    lines = ["| " + " | ".join(["benchmark", "metric", *map(_cell, names)]) + " |", "|" + "---|" * (len(names) + 2)]
    for key, arrow, texts in _rows(cells, names, comparisons, write):
        lines.append("| " + " | ".join([_cell(key[0]), f"{_cell(key[1])} {arrow}", *texts]) + " |")
    return "\n".join([*lines, "", *_notes("95 % intervals in brackets", comparisons)]) + "\n"


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def escaped(text: str) -> str:
    """Return a text as LaTeX prints it."""
    return "".join(_SPECIAL.get(character, character) for character in text).replace("\n", " ")


def latex(cells: Sequence[Cell], names: Sequence[str], comparisons: Sequence[Comparison] = ()) -> str:
    """Return a ``tabular`` of the package booktabs: benchmarks down, checkpoints across, half of the interval as ±."""

    def write(cell: Cell, best: bool, mark: str) -> str:
        value = digits(cell.value).replace("–", "--")
        value = rf"\textbf{{{value}}}" if best else value
        half = (cell.high - cell.low) / 2
        spread = rf" {{\scriptsize $\pm$ {digits(half)}}}" if math.isfinite(half) else ""
        sign = r"\neq" if mark == "≠" else mark  # LaTeX stops at the character itself
        return f"{value}{f'$^{{{sign}}}$' if sign else ''}{spread}"

    head = " & ".join(["Benchmark", "Metric", *map(escaped, names)])
    lines = [r"\begin{tabular}{ll" + "r" * len(names) + "}", r"\toprule", head + r" \\", r"\midrule"]
    arrows = {"↑": r"$\uparrow$", "↓": r"$\downarrow$", "↔": r"$\leftrightarrow$"}
    for key, sign, texts in _rows(cells, names, comparisons, write):
        arrow = arrows[sign]
        lines.append(" & ".join([escaped(key[0]), f"{escaped(key[1])} {arrow}", *(text or "--" for text in texts)]) + r" \\")
    notes = [f"% {note}" for note in _notes("95 % intervals, half their width after the sign", comparisons)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", *notes]) + "\n"


FIELDS = (
    "checkpoint", "stage", "benchmark", "metric", "value", "low", "high", "n", "higher_is_better", "neutral", "n_failed",
    "n_skipped", "n_overlap", "n_compared", "overlap", "seed", "signature", "run", "state", "source",
)  # fmt: skip
DIFFERENCE = (
    "baseline", "difference", "difference_low", "difference_high", "p_adjusted", "n_paired", "gained", "lost", "verdict"
)  # fmt: skip


def table(cells: Sequence[Cell], comparisons: Sequence[Comparison] = ()) -> tuple[list[str], list[list[Any]]]:
    """Return header and one row per score, with its difference from the baseline where there is one."""
    deltas = {(c.benchmark, c.metric, c.b): c for c in comparisons}
    made: list[list[Any]] = []
    for cell in cells:
        delta: list[Any] = [None] * len(DIFFERENCE)
        c = deltas.get((cell.benchmark, cell.metric, cell.checkpoint))
        if c is not None:
            flips = [c.gained, c.lost] if c.gained >= 0 else [None, None]
            delta = [c.a, c.difference, c.low, c.high, c.p_adjusted, c.n, *flips, verdict(c, cell.direction).kind]
        made.append([getattr(cell, name) for name in FIELDS] + delta)
    return [*FIELDS, *DIFFERENCE], made


def csv_text(cells: Sequence[Cell], comparisons: Sequence[Comparison] = ()) -> str:
    """Return one line of CSV per score; what is no number is left empty."""
    file = io.StringIO()
    header, rows = table(cells, comparisons)
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([csv_field(value) for value in row] for row in rows)
    return file.getvalue()


def csv_field(value: Any) -> Any:
    """Return a value as it goes into a table: no NaN, and no text that a spreadsheet would take for a formula."""
    if isinstance(value, float) and not math.isfinite(value):
        return ""
    return f"'{value}" if isinstance(value, str) and value[:1] in _FORMULA else value


def ordered(cells: Sequence[Cell]) -> tuple[list[Cell], list[str]]:
    """Return the scores benchmark by benchmark, and the names of the checkpoints in their order."""
    names = list(dict.fromkeys(cell.checkpoint for cell in cells))
    keys = list(dict.fromkeys((cell.benchmark, cell.metric) for cell in cells if cell.metric))
    places = {key: place for place, key in enumerate(keys)}
    kept = [cell for cell in cells if cell.metric]
    return sorted(kept, key=lambda cell: (places[cell.benchmark, cell.metric], names.index(cell.checkpoint))), names


def text(kind: str, cells: Sequence[Cell], comparisons: Sequence[Comparison] = ()) -> str:
    """Return scores as ``csv``, ``md`` or ``tex``."""
    rows, names = ordered(cells)
    if kind == "csv":
        return csv_text(rows, comparisons)
    return {"md": markdown, "tex": latex}[kind](rows, names, comparisons)


def copy_runs(runs: Sequence[str], folder: str) -> Work[tuple[str, tuple[str, ...]]]:
    """Copy results and samples into ``folder/<checkpoint>/``, as lm-eval lays them out, without keys of ours.

    Returns:
        The folder, and the files that were written.

    Raises:
        UserError: If a results file cannot be read, or the folder cannot be written.
    """
    written: list[str] = []
    for place, run in enumerate(runs):
        source = Path(run)
        yield Progress(place, len(runs), source.name)
        try:
            content = json.loads(source.read_text(encoding="utf-8"))
            content.pop(files.OURS, None)
            target = Path(folder) / files.sanitised(str(content.get("model_name_sanitized") or source.parent.name))
            if target.resolve() == source.parent.resolve():  # the copy would take our keys out of the run itself
                raise FileExistsError(_("the run itself is in this folder"))
            target.mkdir(parents=True, exist_ok=True)
            stamp = source.stem.removeprefix("results_")
            for sample in sorted(source.parent.glob(f"samples_*_{stamp}.jsonl")):
                write_bytes(target / sample.name, sample.read_bytes())
                written.append(str(target / sample.name))
            text = json.dumps(content, ensure_ascii=False, indent=2)
            write_bytes(target / source.name, text.encode("utf-8", "surrogatepass"))
            written.append(str(target / source.name))
        except (OSError, ValueError, AttributeError) as error:
            raise UserError(
                "export.runs",
                _("{path} could not be copied: {reason}.").format(path=run, reason=error),
                _("Choose another folder."),
            ) from error
    return folder, tuple(written)
