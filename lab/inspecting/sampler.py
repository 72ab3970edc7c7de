"""`--sampler CHAIN`: the next token through every stage of a sampler chain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lab.inspecting._section import Question, Section, Table, number
from models.columns import Column, Sampler
from models.engine_ops import Operations
from models.errors import UserError
from models.events import Work
from models.words import _

if TYPE_CHECKING:
    from models.records.chain import Outcome, SamplerChain, StageResult


def ask(operations: Operations, column: Column, question: Question) -> Work[dict[str, Any]]:
    """Return the distribution before and after the chain, and what each stage did."""
    asked = replace(column, sampler=Sampler(chain=str(question.value)))
    named = {"position": question.position, "top": question.top, "target": question.target, "path": ids_of(question.path)}
    found: SamplerChain = yield from operations.ask("sampler_chain", asked, question.text, **named)
    own = found.distribution
    return {
        "chain": found.chain, "position": own.position, "entropy": own.entropy, "support": own.support,
        "rank_of_actual": own.rank_of_actual, "surprisal_of_actual": number(own.surprisal_of_actual),
        "sampled_entropy": own.sampled_entropy, "tokens": _tokens(found, own.probabilities),
        "sampled": [float(p) for p in own.sampled], "stages": [_stage(stage) for stage in found.stages],
        "chosen": _chosen(found.outcomes[0]),
    }  # fmt: skip


def ids_of(path: str) -> tuple[int, ...]:
    """Read token ids joined by ``+``, in order.

    Raises:
        UserError: If a part is no id.
    """
    pieces = [piece.strip() for piece in path.split("+")] if path.strip() else []
    if not all(piece.isascii() and piece.isdigit() and len(piece) < 10 for piece in pieces):
        raise UserError(
            "inspect.path",
            _("--path {text} is no list of token ids.").format(text=path),
            _("Write ids joined by +, such as 12+7."),
        )
    return tuple(int(piece) for piece in pieces)


def _tokens(found: SamplerChain, probabilities: Any) -> list[dict[str, Any]]:
    rows = zip(found.distribution.ids, found.distribution.texts, probabilities, strict=True)
    return [{"id": int(i), "text": text, "probability": float(p)} for i, text, p in rows]


def _stage(stage: StageResult) -> dict[str, Any]:
    removed = zip(stage.removed_ids, stage.removed_texts, stage.removed_probabilities, strict=True)
    return {
        "stage": stage.text, "on": stage.on, "entropy": stage.entropy, "n_left": stage.n_left, "n_removed": stage.n_removed,
        "mass_removed": stage.mass, "removed": [{"id": int(i), "text": t, "probability": float(p)} for i, t, p in removed],
        "best": {"id": stage.best_id, "text": stage.best_text, "probability": stage.best_probability},
        "probabilities": [float(p) for p in stage.probabilities],
    }  # fmt: skip


def _chosen(outcome: Outcome) -> dict[str, Any]:
    return {
        "best": {"id": outcome.best_id, "text": outcome.best_text, "probability": outcome.best_probability},
        "drawn": {"id": outcome.drawn_id, "text": outcome.drawn_text, "probability": outcome.drawn_probability},
    }


def tables(shown: dict[str, Any]) -> Iterator[Table]:
    """Yield the model's own distribution, then one block for each stage."""
    own = [[str(t["id"]), repr(t["text"]), f"{t['probability']:.4f}"] for t in shown["tokens"]]
    said = f"entropy {shown['entropy']:.3f} nats, 95 % in {shown['support']} tokens"
    if shown["rank_of_actual"] >= 0:
        said += f", true token: rank {shown['rank_of_actual']}"
    yield f"Model: {said}", ["id", "text", "probability"], own
    for stage in shown["stages"]:
        yield _title(stage), ["", "id", "text", "probability"], _rows(shown, stage)


def _title(stage: dict[str, Any]) -> str:
    if not stage["on"]:
        return f"{stage['stage']}: off"
    left = f"entropy {stage['entropy']:.3f} nats, {stage['n_left']} tokens left"
    return f"{stage['stage']}: {left}, {stage['n_removed']} removed with {100 * stage['mass_removed']:.2f} %"


def _rows(shown: dict[str, Any], stage: dict[str, Any]) -> list[list[str]]:
    kept = sorted(zip(stage["probabilities"], shown["tokens"], strict=True), key=lambda pair: -pair[0])
    rows = [["", str(t["id"]), repr(t["text"]), f"{p:.4f}"] for p, t in kept if p > 0][:10]
    gone = stage["removed"][:3] if stage["on"] else []
    return rows + [["removed", str(t["id"]), repr(t["text"]), f"{t['probability']:.4f}"] for t in gone]


SECTION = Section(
    "sampler", 32, "--sampler", "The next token through every stage of a sampler, such as top_k=40,top_p=0.9,temperature=0.7.",
    ask, tables, metavar="CHAIN",
)  # fmt: skip
