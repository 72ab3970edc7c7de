"""Is an answer correct, abstained or hallucinated? Counted in the closed world; by reference, judge or person elsewhere.

Who said so stands beside every verdict: ``world`` (the oracle), ``reference`` (the answer holds a reference), ``judge`` (a file
that a judge model wrote), ``person`` (a file of labels; wins over the others).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.hallucination.abstention import ABSTAINED, CLASSES, CORRECT, HALLUCINATED
from models.errors import UserError
from models.uncertainty.pieces import normalised, words
from models.uncertainty.verbal import abstains
from models.words import _

WORLD = {
    "correct": CORRECT, "confirmed": CORRECT, "corrected": CORRECT, "abstained": ABSTAINED, "refused": ABSTAINED,
    "wrong": HALLUCINATED, "hallucinated": HALLUCINATED, "accepted": HALLUCINATED, "complied": HALLUCINATED,
    "outdated": HALLUCINATED,
}  # fmt: skip
"""The oracle's words → what they count as. An empty or cut-off answer is ``wrong`` there, so it counts as hallucinated here."""
SYNONYMS = {
    "right": CORRECT, "true": CORRECT, "incorrect": HALLUCINATED, "wrong": HALLUCINATED, "false": HALLUCINATED,
    "not_attempted": ABSTAINED, "not attempted": ABSTAINED, "refused": ABSTAINED, "unknown": ABSTAINED,
}  # fmt: skip
"""Words of other graders that mean one of the three, compared as a whole: never by a letter that occurs somewhere."""


@dataclass(frozen=True)
class Judged:
    """A verdict (one of the three), the detailed word, who said so, and whether it is what the question asks for."""

    verdict: str
    word: str
    source: str
    good: bool


def by_reference(answer: str, references: Sequence[str], truncated: bool = False, question: str = "") -> Judged:
    """Judge an answer by its references.

    Correct: the words of a reference stand in the answer, next to each other (folded, without punctuation). A reference that
    stands in the question itself must be the whole answer: to repeat the question is no answer. Abstained: a listed phrase and no
    reference. Anything else is hallucinated, an empty or cut-off answer too. Without references the question has no answer that
    can be known, and abstaining is good. Meant for short answers; long ones need a judge or a person.
    """
    said, asked = words(answer), words(question)
    wanted = [words(reference) for reference in references if words(reference)]
    holds = any(said == right if within(right, asked) else within(right, said) for right in wanted)
    if not said or (truncated and not holds):
        return Judged(HALLUCINATED, "empty" if not said else "cut", "reference", False)
    if holds:
        return Judged(CORRECT, "correct", "reference", True)
    if abstains(answer):
        return Judged(ABSTAINED, "abstained", "reference", not any(words(reference) for reference in references))
    return Judged(HALLUCINATED, "hallucinated", "reference", False)


def within(part: Sequence[str], whole: Sequence[str]) -> bool:
    """Return whether words stand, next to each other and in order, among others."""
    n = len(part)
    return any(list(whole[i : i + n]) == list(part) for i in range(len(whole) - n + 1))


def by_world(item: Mapping[str, Any], answer: str, truncated: bool = False) -> Judged:
    """Judge an answer to an item of the closed world: its oracle knows every fact."""
    from models.world.verdicts import judge

    found = judge(item, answer, truncated)
    return Judged(WORLD[found.name], found.name, "world", found.good)


@dataclass(frozen=True)
class Labels:
    """Verdicts on answers from a file, by the id of the question and the words of the answer."""

    source: str
    verdicts: Mapping[tuple[str, str], str]

    def of(self, question: str, answer: str) -> str:
        """Return the verdict on an answer, empty if the file has none."""
        return self.verdicts.get((question, normalised(answer)), "")


def read_labels(path: Path, source: str) -> Labels:
    """Read a judge's or a person's file: JSONL or CSV with the fields ``id``, ``answer`` and ``verdict``.

    Rows without a verdict are not labelled (any more) and are left out; of several rows the last counts.

    Raises:
        UserError: If the file cannot be read, a field is missing, or a verdict is none of the three.
    """
    found: dict[tuple[str, str], str] = {}
    for number, row in enumerate(read_rows(path), 1):
        verdict = str(row.get("verdict") or "").strip().casefold()
        if not verdict:
            found.pop((str(row.get("id")), normalised(str(row.get("answer")))), None)
            continue
        verdict = SYNONYMS.get(verdict, verdict)
        if verdict not in CLASSES or not isinstance(row.get("answer"), str) or "id" not in row:
            raise UserError(
                "labels.row",
                _("Row {number} of {path} is no verdict.").format(number=number, path=path),
                _("A row needs id, answer and verdict: correct, abstained or hallucinated."),
                path=str(path),
                row=number,
            )
        found[str(row["id"]), normalised(row["answer"])] = verdict
    return Labels(source, found)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSONL, JSON, CSV or Parquet file (by its ending; anything else is JSONL), which may lack fields.

    Raises:
        UserError: If it cannot be read, or a line is no row.
    """
    from evals import rows

    endings = {".csv": "csv", ".parquet": "parquet"}
    try:
        return rows.read(path, endings.get(path.suffix.lower(), "json"), ragged=True)
    except UserError as error:
        if error.id == "data.empty":  # nobody has said anything yet
            return []
        raise


def judged(own: Judged, labels: Sequence[Labels], question: str, answer: str, answerable: bool) -> Judged:
    """Return the verdict of the first file that has one on this answer, else ``own``."""
    for one in labels:
        if verdict := one.of(question, answer):
            good = verdict == CORRECT or (verdict == ABSTAINED and not answerable)
            return Judged(verdict, verdict, one.source, good)
    return own
