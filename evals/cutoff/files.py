"""Finished trials of a knowledge cutoff on disk: ``cutoff.json`` in the folder of each."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from evals.files import folders_with
from models.errors import UserError
from models.records.cutoff import CutoffRow, CutoffRun
from models.records.hallucination import Rate
from models.words import _

TABLE = "cutoff.json"


def read_run(folder: Path) -> CutoffRun:
    """Return the table of a finished trial.

    Raises:
        UserError: If there is none, or it is damaged.
    """
    path = Path(folder) / TABLE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = tuple(_row(one) for one in content["rows"])
        name = str(content["checkpoint"])
        return CutoffRun(str(folder), _("Cutoff of {name}").format(name=Path(name).name), name, rows)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            "cutoff.table",
            _("{path} holds no finished trial of a knowledge cutoff.").format(path=folder),
            _("Make one with `triptych cutoff CKPT --output {path}`.").format(path=folder),
            path=str(path),
        ) from error


def runs_in(folders: Sequence[Path]) -> list[CutoffRun]:
    """Return the trials in these folders and two levels below them, newest first; damaged ones are left out."""
    runs = []
    for folder in folders_with(TABLE, folders):
        with contextlib.suppress(UserError):
            runs.append(read_run(folder))
    return runs


def _row(row: Mapping[str, Any]) -> CutoffRow:
    return CutoffRow(**{entry.name: _value(row[entry.name]) for entry in fields(CutoffRow) if entry.name in row})


def _value(value: Any) -> Any:
    """Return a value as the record has it: a rate where there is one, NaN for null."""
    if isinstance(value, dict) and set(value) == {"value", "low", "high", "n"}:
        return Rate(_number(value["value"]), _number(value["low"]), _number(value["high"]), int(value["n"]))
    return math.nan if value is None else value


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
