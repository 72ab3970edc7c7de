"""`--effect`: what `--edits` change in the predictions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lab.inspecting._section import Question, Section, Table
from models.columns import Column
from models.engine_ops import Operations
from models.errors import UserError
from models.events import Work
from models.words import _


def ask(operations: Operations, column: Column, question: Question) -> Work[dict[str, Any]]:
    """Return the tokens whose probability changed most, and KL to the unedited at every position."""
    from models.api_residual import read_edits
    from models.records.interventions import edit_name

    edits = read_edits(question.edits)
    if not edits:
        raise UserError("effect.edits", _("--effect needs edits."), _("Give them with --edits."))
    found = yield from operations.ask("effect", column, question.text, edits, question.position, question.top, question.target)
    numbers = zip(found.ids, found.texts, found.logits_before, found.logits_after, found.before, found.after, strict=True)
    return {
        "edits": [edit_name(edit) for edit in edits], "position": found.position,
        "tokens": [
            {"id": int(i), "text": text, "logit_before": float(a), "logit_after": float(b), "before": float(p), "after": float(q)}
            for i, text, a, b, p, q in numbers
        ],
        "kl": [float(value) for value in found.kl],
    }  # fmt: skip


def tables(shown: dict[str, Any]) -> Iterator[Table]:
    """Yield the tokens that moved."""
    title = f"{'; '.join(shown['edits'])}: KL {shown['kl'][shown['position']]:.4f} nats after token {shown['position']}"
    rows = [
        [repr(t["text"]), f"{t['before']:.4f}", f"{t['after']:.4f}", f"{t['logit_after'] - t['logit_before']:+.4f}"]
        for t in shown["tokens"]
    ]
    yield title, ["token", "before", "after", "logit"], rows


SECTION = Section("effect", 54, "--effect", "What --edits change in the predictions.", ask, tables)
