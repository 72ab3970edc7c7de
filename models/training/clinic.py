"""A reward model looked at over preference pairs: every answer scored, in either order, with what its form is like."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import UserError
from models.events import Note, Progress, Work
from models.records.clinic import Clinic, Mistake
from models.words import N_, _

BATCH = 16
MISTAKES = 12
LONGEST = 2048
EVASIVE = re.compile(
    r"\b(i (do not|don't|cannot|can't) (know|say|help|answer|tell)|sorry|unable to|no record)\b|不知道|无法|抱歉|不能回答", re.I
)
FORMATS: dict[str, Callable[[str], bool]] = {
    N_("several lines"): lambda text: "\n" in text.strip(),
    N_("list"): lambda text: bool(re.search(r"^\s*([-*•]|\d+[.)])\s", text, re.M)),
    N_("markdown"): lambda text: bool(re.search(r"\*\*|^#|`", text, re.M)),
    N_("digits"): lambda text: bool(re.search(r"\d", text)),
    N_("a question"): lambda text: text.rstrip().endswith(("?", "？")),
    N_("abstains or refuses"): lambda text: bool(EVASIVE.search(text)),
    N_("Chinese"): lambda text: bool(re.search(r"[\u4e00-\u9fff]", text)),
}
"""What an answer may look like: name → whether a text does."""


def examine(path: Path, files: Sequence[Path], *, limit: int = 0, device: str = "auto") -> Work[Clinic]:
    """Score every pair of some files with a reward model.

    Args:
        path: Folder of the reward model (a classifier with one label).
        files: Of pairs, in any form that the reward stage reads.
        limit: Most pairs; 0 for all.
        device: auto, cpu, cuda or cuda:N.

    Raises:
        UserError: If it is no reward model, or the pairs cannot be read or are all too long.
    """
    from models.library import describe
    from models.training.data import Texts, need_rows
    from models.training.llama import open_reward, pick_device
    from models.training.pairs import fitting_pairs

    described = describe(str(path))
    if described.kind != "reward":
        raise UserError(
            "clinic.kind",
            _("{name} is no reward model.").format(name=described.name),
            _("Choose a checkpoint of the reward stage: one with a score instead of a vocabulary."),
        )
    rows, notes = yield from _read(files, limit)
    need_rows("reward", rows)
    texts = Texts(path)
    yield Progress(0, 0, _("opening {name}").format(name=described.name))
    model = open_reward(path, pick_device(device)).eval()
    longest = min(int(getattr(model.config, "max_position_embeddings", LONGEST) or LONGEST), LONGEST)
    found = fitting_pairs(texts, rows, longest)
    if not found:
        what = _("Every pair is longer than the {longest} tokens that {name} reads.")
        raise UserError("clinic.long", what.format(longest=longest, name=described.name), _("Choose other pairs."))
    kept, pairs = list(found), list(found.values())
    scores = yield from _scores(model, pairs, texts.pad)
    shift = float(getattr(model.config, "reward_shift", 0.0))
    return _clinic(str(path), files, [rows[at] for at in kept], pairs, scores - shift, (len(rows) - len(kept), notes, kept))


def _read(files: Sequence[Path], limit: int) -> Work[tuple[list[Any], tuple[str, ...]]]:
    from models.training.sources import PAIRS, describe_source, read_source

    rows: list[Any] = []
    notes: list[str] = []
    for file in files:
        if not file.is_file():
            raise UserError("clinic.file", _("There is no file {name!r}.").format(name=str(file)), _("Name a file of pairs."))
        source = yield from read_source(file, PAIRS, skip=True, limit=limit)
        notes += [note.text for note in describe_source(source) if isinstance(note, Note)]
        rows.extend(source.rows)
    return (rows[:limit] if limit else rows), tuple(notes)


def _scores(model: Any, pairs: Sequence[Any], pad: int) -> Work[Any]:
    """Return (4, N) scores: better and worse answer, with the better one first in its row, then with the worse one first."""
    import torch

    from models.training.data import make_batch
    from models.training.forward import scores

    device = str(next(model.parameters()).device)
    found = np.zeros((4, len(pairs)), np.float32)
    order = sorted(range(len(pairs)), key=lambda at: sum(len(document.ids) for document in pairs[at]))  # little filling
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        for turn in (0, 1):
            rows = [[pairs[at][turn], pairs[at][1 - turn]] for at in chosen]
            with torch.no_grad():
                values = scores(model, make_batch(rows, pad).to(device)).cpu().numpy().reshape(-1, 2)
            found[2 * turn, chosen], found[2 * turn + 1, chosen] = values[:, turn], values[:, 1 - turn]
        yield Progress(min(start + BATCH, len(order)), len(order), _("pairs"))
    return found


def _clinic(
    path: str, files: Sequence[Path], rows: Sequence[Any], pairs: Sequence[Any], scores: Any, rest: tuple[Any, ...]
) -> Clinic:
    from models.training.data import as_messages
    from models.training.pairs import answer_text

    dropped, notes, numbers = rest
    answers = [[answer_text(row[side]) for row in rows] for side in ("chosen", "rejected")]
    lengths: list[Any] = [np.array([int(pair[side].trained.sum()) for pair in pairs], np.int32) for side in (0, 1)]
    flags: list[Any] = [np.array([[test(text) for text in texts] for test in FORMATS.values()], bool) for texts in answers]
    margins = scores[0] - scores[1]
    worst = [int(at) for at in np.argsort(margins, kind="stable")[:MISTAKES] if margins[at] < 0]
    mistakes = tuple(
        Mistake(
            numbers[at] + 1, "\n".join(str(message["content"]) for message in as_messages(rows[at]["prompt"])), answers[0][at],
            answers[1][at], float(scores[0, at]), float(scores[1, at]),
        )
        for at in worst
    )  # fmt: skip
    return Clinic(
        path, tuple(map(str, files)), scores[0], scores[1], lengths[0], lengths[1], tuple(FORMATS), flags[0], flags[1],
        scores[2] - scores[3], mistakes, dropped, notes,
    )  # fmt: skip
