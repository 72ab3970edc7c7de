"""Descriptions, scores and comparisons as rows of text, for the command line."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence

from evals.report.titles import verdict_of
from models.records.checkpoints import Description
from models.records.scores import Cell, Comparison, Job


def size(n_bytes: float) -> str:
    """Return a number of bytes in the unit that suits it."""
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"


def description_rows(d: Description) -> list[list[str]]:
    """Return name and value of everything that is known about a checkpoint."""
    total = sum(d.parameters.values())
    rows = [["path", d.path], ["stage", d.stage], ["family", d.family], ["architecture", d.architecture], ["format", d.kind]]
    rows += [[name, value] for name, value in d.facts.items()]
    rows += [["parameters", f"{total:,}"]]
    rows += [[f"  {name}", f"{n:,} ({n / max(total, 1):.1%})"] for name, n in d.parameters.items() if n]
    rows += [[f"stored as {dtype}", size(n)] for dtype, n in d.memory.items()]
    rows += [[f"tokenizer {name}", value] for name, value in d.tokenizer.items()]
    rows += [["chat template", d.chat_template or "none"]]
    rows += [["dropped from config.json", ", ".join(d.dropped_keys)]] if d.dropped_keys else []
    rows += [["warning", text] for text in d.warnings]
    return rows + [[f"no {name}", why] for name, why in d.unavailable.items() if why]


def _interval(low: float, high: float) -> str:
    return f"[{low:.4g}, {high:.4g}]" if math.isfinite(low) and math.isfinite(high) else "not estimated"


CELL_HEADER = ["checkpoint", "benchmark", "metric", "value", "95% interval", "n", "in training data", "note"]
UNKNOWN = "?"


def cell_rows(cells: Iterable[Cell]) -> list[list[str]]:
    """Return one row per score; NaN is written as invalid, and where there is none at all a dash."""
    rows = []
    for c in cells:
        value = f"{c.value:.4g} {c.arrow}" if math.isfinite(c.value) else "invalid" if c.metric else "–"
        notes = [c.state] if c.state != "done" else []
        notes += [f"{c.n_failed} failed"] if c.n_failed else []
        interval = _interval(c.low, c.high) if c.metric else ""
        rows.append([c.checkpoint, c.benchmark, c.metric, value, interval, asked(c), in_training(c), ", ".join(notes)])
    return rows


def failures(cells: Iterable[Cell]) -> list[str]:
    """Return why there is no score, each reason once, behind those whom it befell."""
    found: dict[tuple[str, str], list[str]] = {}
    for c in cells:
        if c.state == "failed":
            found.setdefault((" / ".join(part for part in (c.benchmark, c.metric) if part), c.signature), []).append(c.checkpoint)
    return [f"{', '.join(dict.fromkeys(names))} × {what}: {why}" for (what, why), names in found.items()]


def conventions(cells: Iterable[Cell]) -> list[str]:
    """Return the signatures of the scores, each once; metrics that differ by their names alone share a line."""
    found: dict[str, list[str]] = {}
    for signature in dict.fromkeys(c.signature for c in cells if c.state != "failed" and c.signature):
        name, _bar, rest = signature.partition("|")
        found.setdefault(rest, []).append(name)
    return [f"{', '.join(names)}|{rest}" if rest else ", ".join(names) for rest, names in found.items()]


def print_cells(cells: Sequence[Cell]) -> None:
    """Print a table of scores, and below it, as wide as the terminal, why some are missing and by which conventions."""
    rows = cell_rows(cells)
    kept = [place for place in range(len(CELL_HEADER)) if place < 6 or any(row[place] not in ("", UNKNOWN) for row in rows)]
    print_table("Scores", [CELL_HEADER[at] for at in kept], [[row[at] for at in kept] for row in rows], whole=("value", "n"))
    print_failures(failures(cells))
    print_lines("Conventions:", conventions(cells))


def print_failures(texts: Iterable[str]) -> None:
    """Print what went wrong, if anything did, as wide as the terminal."""
    print_lines("Failed:", texts)


def print_lines(heading: str, texts: Iterable[str]) -> None:
    """Print texts below their heading, set in; nothing where there are none."""
    from rich.console import Console, Group
    from rich.padding import Padding
    from rich.text import Text

    if lines := [Padding(Text(text), (0, 0, 0, 2), expand=False) for text in texts]:
        Console().print(Group(Text(heading), *lines))


def asked(cell: Cell) -> str:
    """Return how many items were scored, of how many where some were left out (``--limit``, ``--samples``)."""
    return f"{cell.n} of {cell.n + cell.n_skipped}" if cell.n_skipped else str(cell.n)


def in_training(cell: Cell) -> str:
    """Return how many of a score's items stand in the training data, ``?`` where that is not known."""
    if cell.n_overlap < 0:
        return UNKNOWN
    share = f" ({cell.n_overlap / cell.n_compared:.1%})" if cell.n_overlap and cell.n_compared else ""
    return f"{cell.n_overlap}/{cell.n_compared}{share}"


COMPARISON_HEADER = ["benchmark", "metric", "a", "b", "b - a", "95% interval", "p (Holm)", "n", "won / lost", "verdict"]
FLIP_HEADER = ["benchmark", "metric", "a", "b", "", "n", "won", "lost", "net"]


def comparison_rows(comparisons: Iterable[Comparison]) -> list[list[str]]:
    """Return one row per paired comparison."""
    return [
        [c.benchmark, c.metric, c.a, c.b, f"{c.difference:+.4g}", _interval(c.low, c.high), f"{c.p_adjusted:.3g}", str(c.n),
         f"{c.gained} / {c.lost}" if c.gained >= 0 else "", verdict_of(c)]
        for c in comparisons
    ]  # fmt: skip


def print_comparisons(comparisons: Sequence[Comparison]) -> None:
    """Print a table of differences; a baseline that all rows share is in the title, columns without entries are left out."""
    rows, baselines = comparison_rows(comparisons), {c.a for c in comparisons}
    one = len(baselines) == 1
    kept = [at for at, name in enumerate(COMPARISON_HEADER) if any(row[at] for row in rows) and not (one and name == "a")]
    title = f"Paired differences from {next(iter(baselines))}" if one else "Paired differences"
    header = ["difference" if one and COMPARISON_HEADER[at] == "b - a" else COMPARISON_HEADER[at] for at in kept]
    print_table(title, header, [[row[at] for at in kept] for row in rows], whole=("difference", "n"))


def flip_rows(comparisons: Iterable[Comparison], field: str) -> list[list[str]]:
    """Return one row per comparison and value of a field: items, won, lost."""
    return [
        [c.benchmark, c.metric, c.a, c.b, value, str(n), str(gained), str(lost), f"{gained - lost:+d}"]
        for c in comparisons
        for name, value, n, gained, lost in c.by
        if name == field
    ]


def short_value(cell: Cell | None) -> str:
    """Return a score with half the width of its interval, for a narrow table."""
    if cell is None:
        return ""
    if not math.isfinite(cell.value):
        return "invalid"
    half = (cell.high - cell.low) / 2
    return f"{cell.value:.3g} ±{half:.2g}" if math.isfinite(half) else f"{cell.value:.3g}"


def job_rows(jobs: Iterable[Job]) -> list[list[str]]:
    """Return one row per job: state, title, how far, seconds, folder."""
    return [
        [job.state, job.title, f"{job.done:g}/{job.total:g}" if job.total else "", f"{job.seconds:.0f} s", job.path]
        for job in jobs
    ]


def print_table(title: str, header: list[str], rows: list[list[str]], whole: Collection[str] = ()) -> None:
    """Print a table on standard output; nothing in it is taken for markup. ``whole``: columns that are never broken."""
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    natural = sum(max(cell_len(row[at]) for row in [header, *rows]) + 3 for at in range(len(header))) + 1
    padding = (0, 1) if natural <= console.width else (0, 0)  # each blank counts on a narrow terminal
    table = Table(title=title or None, title_justify="left", header_style="bold", padding=padding)
    for name in header:
        table.add_column(name, overflow="fold", no_wrap=name in whole)
    for row in rows:
        table.add_row(*[Text(cell) for cell in row])
    console.print(table)
