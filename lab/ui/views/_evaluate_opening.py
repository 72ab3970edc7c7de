"""From an answer in Evaluate to its tokens in another view: in which columns, and with which exact token ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from evals.endpoints import is_endpoint
from lab.ui.widgets.score_matrix import Row, ScoreMatrix
from models.columns import Column
from models.records.evaluations import ItemAnswer
from models.records.scores import Cell
from models.records.tokens import ExactText

MOST_COLUMNS = 4
Place = tuple[str, str, str]


def places(matrix: ScoreMatrix, row: Row) -> tuple[Place, ...]:
    """Return (checkpoint, results file, task) of every score of a row that has items."""
    cells = [(name, matrix.cells.get((row, name))) for name in matrix.checkpoints]
    return tuple((name, cell.run, cell.benchmark) for name, cell in cells if cell is not None and cell.run and cell.metric)


@dataclass(frozen=True)
class Opening:
    """An answer that is on its way to another view: its tokens are asked for in every column.

    Args:
        view: Name of the view.
        answer: The answer.
        columns: In which it will be shown. ``chosen``: place of the one that gave it; -1 if that is not on this machine.
        serial: Tells it from earlier ones.
    """

    view: str
    answer: ItemAnswer
    columns: tuple[Column, ...]
    chosen: int
    serial: int

    def params(self, place: int) -> dict[str, Any]:
        """Return the parameters of the request for the tokens of one column."""
        scored = bool(self.answer.choices)
        text = self.answer.choices[self.answer.picked] if scored and self.answer.picked >= 0 else self.answer.text
        column = replace(self.columns[place], exact=())
        return {"column": column, "prompt": self.answer.given, "answer": text, "rendered": self.answer.rendered, "scored": scored}

    def result(self, found: Mapping[int, ExactText | None]) -> tuple[str, tuple[Column, ...]]:
        """Return the text, and the columns with their exact tokens where they could be made."""
        best = found.get(self.chosen) or next((one for one in found.values() if one is not None), None)
        text = best.text if best is not None else f"{self.answer.given}{self.answer.text}"
        columns = []
        for place, column in enumerate(self.columns):
            exact = found.get(place)
            columns.append(replace(column, prompt="plain", system="", exact=exact.ids if exact is not None else ()))
        return text, tuple(columns)


def opening_columns(columns: tuple[Column, ...], cells: Mapping[str, Cell], name: str) -> tuple[tuple[Column, ...], int]:
    """Return the columns in which an answer is shown, and the place of the checkpoint that gave it.

    Those that are open, if it is among them; else the checkpoints of the score's row, it among them.
    """
    path = cells[name].path if name in cells and not is_endpoint(cells[name].path) else ""
    known = [column.checkpoint.rstrip("/") for column in columns]
    if not path or path.rstrip("/") in known:
        return columns, known.index(path.rstrip("/")) if path else -1
    others = [other for other, cell in cells.items() if cell.path and not is_endpoint(cell.path)]
    kept = others[:MOST_COLUMNS] if name in others[:MOST_COLUMNS] else [*others[: MOST_COLUMNS - 1], name]
    made = tuple(Column(cells[other].path, label=other) for other in kept)
    return made, kept.index(name)
