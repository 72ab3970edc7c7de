"""A run of hallucination on disk: ``hallucination.json`` (settings and columns) and one JSONL of answers per column.

The answers are written first and the table last, so a table never names answers that are not there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import lzma
import math
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evals.files import absolute, folders_with, plain, relative, sanitised
from evals.hallucination.abstention import CLASSES
from evals.store import FILE as RESPONSES
from models.errors import UserError
from models.files import write_bytes, write_json, write_text
from models.records.hallucination import (
    AnswerColumn,
    AnswerPage,
    AnswerTokens,
    DrawnAnswer,
    HallucinationRun,
    KindRates,
    PenaltyCurve,
    QuestionAnswer,
    Rate,
    Reliability,
    ScoreQuality,
)
from models.words import _

TABLE, REPORT, PACKED = "hallucination.json", "hallucination.html", "answers.tar.xz"
TO_LABEL = "to_label.jsonl"
LABELS = "labels.jsonl"
"""What people said in the window."""
REVISION = 1


def answers_file(folder: Path, checkpoint: str, remedy: str) -> Path:
    """Return where a column's answers are kept."""
    return folder / sanitised(checkpoint) / f"answers_{remedy}.jsonl"


def write_answers(path: Path, answers: Sequence[QuestionAnswer]) -> None:
    """Write a column's answers."""
    lines = "".join(json.dumps(_row(one), ensure_ascii=False) + "\n" for one in answers)
    write_bytes(path, lines.encode("utf-8", "surrogatepass"))


def _row(record: Any) -> Any:
    """Return a record as JSON has it: arrays as lists, numbers that are none as null."""
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        return {entry.name: _row(getattr(record, entry.name)) for entry in dataclasses.fields(record)}
    if isinstance(record, np.ndarray):
        return [_row(value) for value in record.tolist()]
    if isinstance(record, float):
        return float(f"{record:.7g}") if math.isfinite(record) else None  # not decimals: 1 − P(True) can be 1e-9
    if isinstance(record, Mapping):
        return {str(name): _row(value) for name, value in record.items()}
    if isinstance(record, list | tuple):
        return [_row(value) for value in record]
    return plain(record)


def read_answers(path: Path, start: int = 0, count: int = 0) -> tuple[list[QuestionAnswer], int]:
    """Return a column's answers from ``start`` on (``count`` of them, 0 for all), and how many there are.

    Raises:
        UserError: If the file cannot be read.
    """
    try:
        text = _read(path).decode("utf-8", "surrogatepass")
        lines = text.rstrip("\n").split("\n") if text else []  # splitlines() would cut at other marks too, which answers may hold
        kept = lines[start : start + count] if count else lines[start:]
        return [_answer(json.loads(line)) for line in kept], len(lines)
    except (OSError, EOFError, lzma.LZMAError, tarfile.TarError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            "hallucination.answers",
            _("The answers in {path} cannot be read.").format(path=path),
            _("Start the same command again: it writes them anew."),
            path=str(path),
        ) from error


def _read(path: Path) -> bytes:
    """Return a file's bytes, from the archive beside where the run was made compact."""
    packed = path.with_name(PACKED)
    if path.exists() or not packed.exists():
        return path.read_bytes()
    with tarfile.open(packed, "r:xz") as archive:
        member = archive.extractfile(path.name)
        if member is None:
            raise FileNotFoundError(path)
        return member.read()


def compact(folder: Path) -> None:
    """Keep of a finished run what is needed to look at it: the table, and each checkpoint's answers in one archive.

    What it was computed from goes: started again, it asks everything anew.

    Raises:
        UserError: If there is no table.
    """
    columns = read_table(folder).columns
    for name in dict.fromkeys(one.checkpoint for one in columns):
        paths = [answers_file(folder, name, one.remedy) for one in columns if one.checkpoint == name]
        if found := [path for path in paths if path.is_file()]:
            write_bytes(found[0].with_name(PACKED), _packed(found))
        for path in (*found, paths[0].with_name(RESPONSES)):
            path.unlink(missing_ok=True)
    for path in (*folder.glob(f"checker-*/{RESPONSES}"), folder / REPORT):
        path.unlink(missing_ok=True)
    for path in folder.glob("checker-*"):
        path.rmdir()
    content = json.loads((folder / TABLE).read_text(encoding="utf-8"))
    write_text(folder / TABLE, json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n")


def _packed(paths: Sequence[Path]) -> bytes:
    """Return an archive of files; no time or owner in it: the same answers are the same bytes."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:xz", preset=9) as archive:
        for path in paths:
            content, entry = path.read_bytes(), tarfile.TarInfo(path.name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return whole.getvalue()


def _answer(row: Mapping[str, Any]) -> QuestionAnswer:
    known = _known(QuestionAnswer, row)
    tokens, drawn = row.get("tokens"), row.get("samples") or ()
    known["tokens"] = (
        AnswerTokens(tuple(tokens["ids"]), tuple(tokens["texts"]), _array(tokens["logprobs"]), _array(tokens["entropies"]))
        if tokens
        else None
    )
    known["samples"] = tuple(DrawnAnswer(**_known(DrawnAnswer, {**one, "logprob": _float(one["logprob"])})) for one in drawn)
    return QuestionAnswer(**known)


def _known(kind: Any, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a record that a row has, lists as tuples."""
    found = {entry.name: row[entry.name] for entry in dataclasses.fields(kind) if entry.name in row}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}


def _array(values: Sequence[float | None]) -> Any:
    return np.array([math.nan if value is None else value for value in values], np.float32)


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)


PAGE = 300
"""Answers of one page: with samples and tokens about a megabyte."""


def page(folder: Path, checkpoint: str, remedy: str, start: int) -> AnswerPage:
    """Return some of a column's answers.

    Raises:
        UserError: If they cannot be read.
    """
    found, total = read_answers(answers_file(folder, checkpoint, remedy), start, PAGE)
    return AnswerPage(start, total, tuple(found))


def runs_in(folders: Sequence[Path], depth: int = 2) -> list[HallucinationRun]:
    """Return the runs in these folders and (``depth`` levels) below them, newest first; damaged ones are left out."""
    runs = []
    for folder in folders_with(TABLE, folders, depth):
        with contextlib.suppress(UserError):
            runs.append(read_table(folder))
    return runs


def write_table(folder: Path, title: str, settings: Mapping[str, Any], columns: Sequence[AnswerColumn]) -> Path:
    """Write the table of a run; paths of checkpoints are kept relative to it."""
    rows = [{**_row(one), "path": relative(one.path, folder)} for one in columns]
    content = {"revision": REVISION, "title": title, "settings": plain(settings), "columns": rows}
    write_json(folder / TABLE, content)
    return folder / TABLE


def read_table(folder: Path) -> HallucinationRun:
    """Return a run's table.

    Raises:
        UserError: If there is none, or it is damaged.
    """
    path = folder / TABLE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        columns = tuple(_column(row, folder) for row in content["columns"])
        settings = {str(name): _said(value) for name, value in content["settings"].items()}
        return HallucinationRun(str(folder), str(content["title"]), settings, columns)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            "hallucination.table",
            _("{path} holds no table of hallucination.").format(path=folder),
            _("Make one with `triptych hallucination CKPT --output {path}`.").format(path=folder),
            path=str(path),
        ) from error


def _said(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


RATES = ("correct", "hallucinated", "abstained", "good", "given_attempted", "false_abstention", "unanswerable", "difference")


def _rate(row: Mapping[str, Any]) -> Rate:
    return Rate(_float(row["value"]), _float(row["low"]), _float(row["high"]), int(row["n"]))


def _column(row: Mapping[str, Any], folder: Path) -> AnswerColumn:
    known = _known(AnswerColumn, row)
    known |= {name: _rate(row[name]) for name in RATES}
    known["p"] = _float(row["p"])
    known["path"] = absolute(str(row["path"]), folder)
    known["cells"] = {name: tuple(map(_float, shares)) for name, shares in row["cells"].items()}
    known["extra"] = {name: _float(value) for name, value in row["extra"].items()}
    known["qualities"] = tuple(_numbers(ScoreQuality, one) for one in row["qualities"])
    known["reliabilities"] = tuple(_numbers(Reliability, one) for one in row["reliabilities"])
    known["kinds"] = tuple(_kind(one) for one in row.get("kinds", ()))
    known["penalty"] = _numbers(PenaltyCurve, row["penalty"]) if row["penalty"] else None
    return AnswerColumn(**known)


def _kind(row: Mapping[str, Any]) -> KindRates:
    rates = {name: _rate(row[name]) for name in ("correct", "hallucinated", "abstained")}
    return KindRates(**{**_known(KindRates, row), **rates})


def _numbers(kind: Any, row: Mapping[str, Any]) -> Any:
    """Return a record of arrays, numbers and a name from its row."""
    made = {}
    for entry in dataclasses.fields(kind):
        value = row[entry.name]
        if isinstance(value, list):
            made[entry.name] = _array(value) if entry.name != "counts" else np.array(value, np.int32)
        else:
            made[entry.name] = _float(value) if value is None or isinstance(value, float) else value
    return kind(**made)


def add_label(folder: Path, id: str, answer: str, verdict: str) -> None:
    """Keep what a person said of an answer; an empty verdict takes it back. The next start of the run counts it.

    Raises:
        UserError: For another verdict, or where there is no run.
    """
    if verdict not in ("", *CLASSES) or not (folder / TABLE).is_file():
        raise UserError(
            "hallucination.label",
            _("{verdict!r} cannot be kept for {path}.").format(verdict=verdict, path=folder),
            _("Label answers of a run as correct, abstained or hallucinated."),
        )
    line = json.dumps(plain({"id": id, "answer": answer, "verdict": verdict}), ensure_ascii=False) + "\n"
    try:
        with (folder / LABELS).open("ab") as file:
            file.write(line.encode("utf-8", "surrogatepass"))
    except PermissionError as error:
        raise UserError(
            "hallucination.label_denied",
            _("{path} cannot be written.").format(path=folder / LABELS),
            _("The bundled run is there to look at: label answers of a run of your own."),
            path=str(folder / LABELS),
        ) from error


def write_to_label(folder: Path, answers: Sequence[QuestionAnswer]) -> None:
    """Write what a person could label: each different answer to a question from a file, its verdict left empty.

    Filled in, the file is what ``--labels`` reads.
    """
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for one in answers:
        key = (one.id, one.said)
        rows.setdefault(
            key, {"id": one.id, "question": one.question, "references": list(one.references), "answer": one.said, "verdict": ""}
        )
    if rows:
        lines = "".join(json.dumps(plain(row), ensure_ascii=False) + "\n" for row in rows.values())
        write_bytes(folder / TO_LABEL, lines.encode("utf-8", "surrogatepass"))
