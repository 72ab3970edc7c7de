"""`--beams BEAMS:TOKENS:PENALTY`: a beam search as its hypotheses and its tree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lab.inspecting._section import Question, Section, Table, number
from lab.inspecting.sampler import ids_of
from models.columns import Column
from models.engine_ops import Operations
from models.errors import UserError
from models.events import Work
from models.words import _


def parse(text: str) -> dict[str, Any]:
    """Read ``BEAMS``, ``BEAMS:TOKENS`` or ``BEAMS:TOKENS:PENALTY``, with ``:early`` behind to stop early.

    Raises:
        UserError: If it is none of them.
    """
    parts = text.split(":")
    early = parts[-1] == "early"
    parts = parts[:-1] if early else parts
    try:
        beams, tokens, penalty = int(parts[0]), int(parts[1] if len(parts) > 1 else 16), float(parts[2] if len(parts) > 2 else 1)
    except (ValueError, IndexError):
        parts = ["", "", "", ""]
    if len(parts) > 3:
        raise UserError(
            "inspect.beams",
            _("--beams {text} is no beam search.").format(text=text),
            _("Write BEAMS:TOKENS:PENALTY, such as 4:16:1."),
        )
    return {"num_beams": beams, "max_new_tokens": tokens, "length_penalty": penalty, "early_stopping": early}


def ask(operations: Operations, column: Column, question: Question) -> Work[dict[str, Any]]:
    """Return hypotheses, best first, and every candidate with its parent."""
    named = {"position": question.position, "path": ids_of(question.path), "target": question.target}
    found = yield from operations.ask("beams", column, question.text, **parse(str(question.value)), **named)
    nodes = zip(found.parents, found.ids, found.texts, found.logprobs, found.totals, found.states, strict=True)
    return {
        "num_beams": found.num_beams, "length_penalty": found.length_penalty, "steps": found.steps,
        "sequences": [
            {"text": s.text, "token_ids": list(s.token_ids), "score": number(s.score), "logprob": s.logprob, "ended": s.ended}
            for s in found.sequences
        ],
        "nodes": [
            {"parent": int(p), "id": int(i), "text": t, "logprob": float(x), "total": float(y), "state": int(z)}
            for p, i, t, x, y, z in nodes
        ],
    }  # fmt: skip


def tables(shown: dict[str, Any]) -> Iterator[Table]:
    """Yield the hypotheses."""
    rows = [
        [str(n), f"{s['score']:.4f}", f"{s['logprob']:.3f}", str(len(s["token_ids"])), str(s["ended"]), repr(s["text"])]
        for n, s in enumerate(shown["sequences"], start=1)
    ]
    title = f"{shown['num_beams']} beams, length penalty {shown['length_penalty']:g} (all candidates: --json)"
    yield title, ["", "score", "ln p", "tokens", "ended", "text"], rows


SECTION = Section(
    "beams", 34, "--beams", "A beam search: beams, tokens, length penalty, such as 4:16:1.", ask, tables,
    metavar="BEAMS:TOKENS:PENALTY",
)  # fmt: skip
