"""Answers of a conversation as JSON values, and back: text, tokens with their colours and alternatives, how it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from lab.ui.widgets.conversation import Exchange, Reply
from models.records.sampling import Generation, Step

ALTERNATIVES = 5
MOST_TOKENS = 1200
"""How many tokens of a conversation are remembered with their colours, the newest first; older answers as text."""
_KINDS: dict[str, type | tuple[type, ...]] = {"str": str, "int": int, "float": (int, float), "tuple[int, ...]": (list, tuple)}


def exchanges_to(exchanges: Sequence[Exchange]) -> list[dict[str, Any]]:
    """Return a conversation as JSON values, the newest answers with their tokens."""
    left = MOST_TOKENS
    saved: list[dict[str, Any]] = []
    for exchange in reversed(exchanges):
        replies = {}
        for index, reply in exchange.replies.items():
            whole = bool(reply.steps) and len(reply.steps) <= left and reply.state in ("done", "stopped")
            left -= len(reply.steps) if whole else 0
            replies[str(index)] = reply_to(reply) if whole else reply.said()
        saved.append({"user": exchange.user, "replies": replies})
    return saved[::-1]


def exchange_from(saved: Mapping[str, Any]) -> Exchange:
    """Return an exchange that ``exchanges_to`` wrote; what makes no sense in it is left out."""
    replies = saved.get("replies", {})
    known = replies.items() if isinstance(replies, Mapping) else ()
    return Exchange(str(saved.get("user", "")), {int(i): reply_from(reply) for i, reply in known if str(i).isdecimal()})


def reply_to(reply: Reply) -> dict[str, Any]:
    """Return an answer as JSON values; numbers as exact as they are shown."""
    tokens, before = [], ""
    for step in reply.steps:
        same = _common(before, step.text_so_far)
        top = zip(step.top_ids, step.top_texts, step.top_probabilities, strict=True)
        others = [[int(id), text, _short(p)] for id, text, p in list(top)[:ALTERNATIVES]]
        numbers = [_short(step.probability), _short(step.surprisal), _short(step.entropy), int(step.rank)]
        tokens.append([int(step.id), step.text, same, step.text_so_far[same:], *numbers, others])
        before = step.text_so_far
    ended = asdict(reply.generation) if reply.generation is not None else None
    return {"state": reply.state, "text": reply.said(), "tokens": tokens, "ended": ended}


def _common(before: str, now: str) -> int:
    """Return how many characters two texts begin with alike; the end of a text may change when a token completes it."""
    if now.startswith(before):
        return len(before)
    return next((n for n, (a, b) in enumerate(zip(before, now, strict=False)) if a != b), min(len(before), len(now)))


def _short(value: float) -> float:
    return float(f"{float(value):.5g}")


def reply_from(saved: Any) -> Reply:
    """Return an answer that ``reply_to`` wrote, or one that was remembered as its text."""
    if not isinstance(saved, Mapping):
        return Reply("done", text=str(saved))
    text, state = str(saved.get("text", "")), str(saved.get("state", "done"))
    try:
        steps = _steps(saved.get("tokens", ()))
    except (TypeError, ValueError, OverflowError):
        return Reply("done", text=text)
    return Reply(state if state in ("done", "stopped") else "done", steps, text, _generation(saved.get("ended")))


def _steps(rows: Any) -> list[Step]:
    steps: list[Step] = []
    text = ""
    for index, (id, own, same, added, *numbers, others) in enumerate(rows):
        text = text[: int(same)] + str(added)
        probability, surprisal, entropy, rank = numbers
        ids = np.array([int(other[0]) for other in others], dtype=np.int64)
        shares = np.array([float(other[2]) for other in others], dtype=np.float32)
        steps.append(
            Step(
                index, int(id), str(own), float(probability), float(surprisal), float(entropy), int(rank), text,
                ids, tuple(str(other[1]) for other in others), shares,
            )
        )  # fmt: skip
    return steps


def _generation(saved: Any) -> Generation | None:
    """Return how an answer ended; None if that was not remembered whole."""
    if not isinstance(saved, Mapping):
        return None
    values: dict[str, Any] = {item.name: saved.get(item.name) for item in fields(Generation)}
    kinds = {item.name: _KINDS.get(str(item.type), object) for item in fields(Generation)}
    if not all(isinstance(value, kinds[name]) for name, value in values.items()):
        return None
    given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return Generation(**given)
