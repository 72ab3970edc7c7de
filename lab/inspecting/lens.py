"""`--lens STATISTIC`: what the model would say after each layer, at every position."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from lab.inspecting._section import Question, Section, Table, number
from models.columns import Column
from models.engine_ops import Operations
from models.errors import UserError
from models.events import Work
from models.lens_names import BETWEEN, CELLS
from models.words import _

NORMS = ("norm", "attention_norm", "mlp_norm")
STATISTICS = ("top", *CELLS, *NORMS, *BETWEEN)
STEP = 256
_ROOM = 12
"""Columns of a table for a terminal; the JSON has all."""


def ask(operations: Operations, column: Column, question: Question) -> Work[dict[str, Any]]:
    """Return a statistic of every layer and position (``values[row][position]``), in regions that fit into memory."""
    statistic = str(question.value)
    if statistic not in STATISTICS:
        raise UserError(
            "lens.statistic",
            _("--lens {name}: there is no such statistic.").format(name=statistic),
            _("It is one of: {known}.").format(known=", ".join(STATISTICS)),
        )
    if statistic in BETWEEN and not question.against:
        raise UserError(
            "lens.against",
            _("--lens {name} compares two checkpoints.").format(name=statistic),
            _("Name the other one with --against."),
        )
    strip = yield from operations.ask("tokens", column, question.text, question.target)
    n_tokens, parts = len(strip.tokens), []
    for start in range(0, n_tokens, STEP):
        parts.append((yield from _region(operations, column, question, (start, min(start + STEP, n_tokens)))))
    rows = [[value for part in parts for value in part[1][row]] for row in range(len(parts[0][1]))]
    return {"statistic": statistic, "rows": list(parts[0][0]), "tokens": [t.text for t in strip.tokens], "values": rows}


def _region(
    operations: Operations, column: Column, question: Question, region: tuple[int, int]
) -> Work[tuple[tuple[str, ...], list[list[Any]]]]:
    """Return (names of the rows, their values) of some positions."""
    from models.api_residual import read_edits

    statistic = str(question.value)
    named = {"region": region, "target": question.target, "edits": read_edits(question.edits)}
    if statistic in BETWEEN:
        pair = (replace(column, checkpoint=question.against), column)
        between = yield from operations.ask("lens_difference", pair, question.text, **named)
        return between.rows, _numbers(getattr(between, statistic))
    if statistic in NORMS:
        norms = yield from operations.ask("norms", column, question.text, **named)
        values = {"norm": norms.residual, "attention_norm": norms.attention, "mlp_norm": norms.mlp}[statistic]
        names = ("embed", *(f"L{layer}" for layer in range(len(norms.mlp))))
        return names[len(names) - len(values) :], _numbers(values)
    lens = yield from operations.ask("lens", column, question.text, top=1, **named)
    if statistic == "top":
        return lens.rows, [[lens.pieces[int(cell)] for cell in row] for row in lens.top[..., 0]]
    return lens.rows, _numbers(getattr(lens, statistic))


def _numbers(values: Any) -> list[list[float | None]]:
    return [[number(float(value)) for value in row] for row in values]


def tables(shown: dict[str, Any]) -> Iterator[Table]:
    """Yield the last positions, the last layer on top."""
    first = max(0, len(shown["tokens"]) - _ROOM)
    header = ["layer", *(f"{first + n}: {text!r}" for n, text in enumerate(shown["tokens"][first:]))]
    rows = [
        [name, *(_cell(value) for value in values[first:])]
        for name, values in zip(reversed(shown["rows"]), reversed(shown["values"]), strict=True)
    ]
    left = f" (positions {first} and later; all: --json)" if first else ""
    yield f"Logit lens, {shown['statistic']}{left}", header, rows


def _cell(value: Any) -> str:
    return "" if value is None else repr(value) if isinstance(value, str) else f"{value:.3g}"


SECTION = Section(
    "lens", 50, "--lens", "The logit lens: " + ", ".join(STATISTICS) + " of every layer and token.", ask, tables,
    metavar="STATISTIC",
)  # fmt: skip
