"""The file of blind votes: one JSON line each, appended and flushed to the disk; the reward stage reads it as it is."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evals.votes import CRITERIA, TIE, tallies
from lab.settings import home
from models.errors import UserError
from models.records.votes import Votes
from models.words import _

FIELDS = ("prompt", "answers", "order_shown", "choice", "criterion", "judge", "time")


def votes_path() -> Path:
    """Return where votes are kept."""
    return home() / "votes.jsonl"


def read() -> Votes:
    """Return what the votes come to so far."""
    rows = list(_rows(votes_path()))
    return Votes(str(votes_path()), len(rows), tallies(rows), {})


def add(vote: Mapping[str, Any]) -> Votes:
    """Append a vote and return what all come to.

    Args:
        vote: ``prompt`` (messages), ``answers`` (two of ``checkpoint``, ``text``, ``token_ids``), ``order_shown`` (places of
            the answers from left to right), ``choice`` (place of the better answer, or ``tie``), ``criterion``, ``judge`` and
            ``time`` (seconds since 1970).

    Raises:
        UserError: If it is no vote.
    """
    row = {name: vote.get(name) for name in FIELDS}
    if row["criterion"] not in CRITERIA or row["choice"] not in (0, 1, TIE) or len(row["answers"] or ()) != 2:
        raise UserError("votes.vote", _("This is no vote between two answers."), _("Choose A, B or a tie."))
    path = votes_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        whole = file.tell() == 0 or path.read_bytes()[-1:] == b"\n"
        line = json.dumps(row, ensure_ascii=False) + "\n"
        file.write((b"" if whole else b"\n") + line.encode("utf-8", "surrogatepass"))
        file.flush()
        os.fsync(file.fileno())
    found = read()
    return Votes(found.path, found.n, found.tallies, row)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        try:
            row = json.loads(line.decode("utf-8", "surrogatepass"))
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row
