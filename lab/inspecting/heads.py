"""`--heads [STATISTIC]`: all heads with their statistics, ranked by one of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lab.inspecting._section import Question, Section, Table, number
from models.columns import Column
from models.engine_ops import Operations
from models.errors import UserError
from models.events import Work
from models.words import _

SHORT = {
    "entropy": "entropy", "distance": "distance", "bos": "bos_share", "previous": "previous_share",
    "duplicate": "duplicate_share", "induction": "induction_share",
}  # fmt: skip


def statistic_of(text: str) -> str:
    """Return the name of a statistic from what was typed, short (``induction``) or whole (``induction_share``).

    Raises:
        UserError: If there is no such statistic.
    """
    name = SHORT.get(text, text.replace("-", "_"))
    if name not in SHORT.values():
        raise UserError(
            "inspect.statistic",
            _("There is no statistic {name}.").format(name=repr(text)),
            _("It is one of: {known}.").format(known=", ".join(SHORT)),
        )
    return name


def ask(operations: Operations, column: Column, question: Question) -> Work[dict[str, Any]]:
    """Return every head with all its statistics (null where the text does not have it), the highest first."""
    from models.records.attention import STATISTICS, rank_heads

    chosen = statistic_of(str(question.value))
    named = {"kind": question.kind, "target": question.target}
    grid = yield from operations.ask("attention_grid", column, question.text, **named)
    tables = {name: grid.statistic(name) for name in STATISTICS}
    heads = [
        {"head": rank.name, **{name: number(float(table[rank.layer, rank.head])) for name, table in tables.items()}}
        for rank in rank_heads(tables[chosen])
    ]
    return {"statistic": chosen, "kind": grid.kind, "note": grid.note, "top": question.top, "heads": heads}


def tables(shown: dict[str, Any]) -> Iterator[Table]:
    """Yield the first heads of the ranking."""
    names = [shown["statistic"], *(name for name in SHORT.values() if name != shown["statistic"])]
    rows = [
        [head["head"], *("–" if head[name] is None else f"{head[name]:.4f}" for name in names)]
        for head in shown["heads"][: shown["top"]]
    ]
    short = {name: word for word, name in SHORT.items()}
    title = f"Heads ranked by {short[shown['statistic']]} (all: --json)"
    yield title, ["head", *(short[name] for name in names)], rows


SECTION = Section(
    "heads", 19, "--heads", "All heads ranked by a statistic (the induction score if none is named).", ask, tables,
    metavar="STATISTIC", bare="induction",
)  # fmt: skip
