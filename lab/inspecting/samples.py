"""`--samples N:TOKENS:SEED:CHAIN`: many answers to one text, and how much they differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from lab.inspecting._section import Question, Section, Table, number
from lab.inspecting.sampler import ids_of
from models.chain import parse as parse_chain
from models.chain import written
from models.columns import Column, Sampler
from models.engine_ops import Operations
from models.errors import UserError
from models.events import Work
from models.words import _


def parse(text: str) -> tuple[int, Sampler]:
    """Read ``N``, ``N:TOKENS``, ``N:TOKENS:SEED`` or ``N:TOKENS:SEED:CHAIN``; return (n, sampler).

    Raises:
        UserError: If it is none of them.
    """
    parts = [*text.split(":", 3), "", "", ""][:4]
    numbers = [parts[0], parts[1] or "32", parts[2] or "0"]
    if not all(piece.isascii() and piece.isdigit() and len(piece) < 10 for piece in numbers):
        raise UserError(
            "inspect.samples",
            _("--samples {text} asks for no answers.").format(text=text),
            _("Write N:TOKENS:SEED:CHAIN, such as 8:32:0:top_p=0.9."),
        )
    n, tokens, seed = (int(piece) for piece in numbers)
    return n, Sampler(max_new_tokens=tokens, seed=seed, chain=written(parse_chain(parts[3])))


def ask(operations: Operations, column: Column, question: Question) -> Work[dict[str, Any]]:
    """Return the answers and their statistics."""
    n, sampler = parse(str(question.value))
    named = {"position": question.position, "path": ids_of(question.path), "target": question.target}
    found = yield from operations.ask("draw_samples", replace(column, sampler=sampler), question.text, n, **named)
    statistics = asdict(found.statistics)
    kept = {name: number(value) if isinstance(value, float) else value for name, value in statistics.items()}
    kept["distinct"] = [number(value) for value in statistics["distinct"]]
    return {"receipt": found.receipt, "statistics": kept, "samples": [asdict(one) for one in found.samples]}


def tables(shown: dict[str, Any]) -> Iterator[Table]:
    """Yield the answers, then what they have in common."""
    rows = [
        [str(one["seed"]), str(len(one["token_ids"])), f"{one['logprob']:.2f}", one["stop"], repr(one["text"])]
        for one in shown["samples"]
    ]
    yield "Answers", ["seed", "tokens", "ln p", "ended", "text"], rows
    yield "Statistics", ["", "value"], [[name, _value(value)] for name, value in shown["statistics"].items()]


def _value(value: Any) -> str:
    if isinstance(value, list):
        return " / ".join(_value(one) for one in value)
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


SECTION = Section(
    "samples", 36, "--samples", "Many answers: how many, tokens, seed, sampler chain, such as 8:32:0:top_p=0.9.", ask, tables,
    metavar="N:TOKENS:SEED:CHAIN",
)  # fmt: skip
