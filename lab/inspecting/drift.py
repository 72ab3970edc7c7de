"""`--drift CKPT`: what moved since another checkpoint, in the original space."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from lab.inspecting._section import Question, Section, Table
from lab.inspecting._vectors import plane_asked, rows_asked
from models.columns import Column
from models.engine_ops import Operations
from models.events import Work


def ask(operations: Operations, column: Column, question: Question) -> Work[dict[str, Any]]:
    """Return the rows that moved most, and how many neighbours stayed."""
    since = replace(column, checkpoint=str(question.value), label="")
    named = {
        "rows": rows_asked(question), "align": plane_asked(replace(question, value="pca")).align, "top": question.top,
        "metric": str(question.others.get("metric") or "euclidean"),
    }  # fmt: skip
    found = yield from operations.ask("drift", (since, column), **named)
    moved = zip(found.labels, found.places, found.distance, found.cosine, found.overlap, strict=True)
    return {
        "since": found.a, "align": found.align, "matched": found.matched, "rows": found.n_shared,
        "mean_distance": found.mean_distance, "residual": found.residual,
        "overlap": {"k": found.k, "score": found.score, "low": found.low, "high": found.high, "n": found.n_scored,
                    "seed": found.seed},
        "moved": [
            {"text": text, "places": [int(n) for n in place], "distance": float(far), "cosine": float(cosine),
             "overlap": float(kept)}
            for text, place, far, cosine, kept in moved
        ],
    }  # fmt: skip


def tables(shown: dict[str, Any]) -> Iterator[Table]:
    """Yield one row per row that moved."""
    rows = [[repr(m["text"]), f"{m['distance']:.4f}", f"{m['cosine']:.4f}", f"{m['overlap']:.2f}"] for m in shown["moved"]]
    score = shown["overlap"]
    title = (
        f"Moved most since {shown['since']} ({shown['align']}, {shown['rows']} rows matched by {shown['matched']}; "
        f"neighbours kept {score['score']:.3f} [{score['low']:.3f}, {score['high']:.3f}], n={score['n']})"
    )
    yield title, ["text", "distance", "cosine", f"overlap of {score['k']}"], rows


SECTION = Section(
    "drift", 122, "--drift", "Rows that moved most since the checkpoint at this path; --rows, --metric, --plane.", ask,
    tables, metavar="CKPT", needs_text=False,
)  # fmt: skip
