"""One answer of one update of PPO, written down with every number that its loss was made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from models.training.ppo import PpoTask
    from models.training.rollouts import Rollout

EXAMPLES = 200
"""About so many are written down of a run; each takes a few kilobytes of its journal."""


def example_values(task: PpoTask, rollout: Rollout, number: int, logprob: Any) -> dict[str, Any]:
    """Return an answer's numbers as JSON values, as ``models.records.ppo.example_from`` reads them.

    Args:
        task: Whose settings, tokenizer and step they are.
        rollout: Where the answer is.
        number: Of the answer in the rollout.
        logprob: Its log-probabilities in the update, before the optimizer moved, ``(tokens,)``.
    """
    settings, document = task.settings, rollout.documents[number]
    count = int(document.trained.sum())
    tokenizer = task.texts.tokenizer
    answer = [int(token) for token in document.ids[document.trained]]
    tables = {name: getattr(rollout, name) for name in ("old", "values", "advantages", "returns")}
    tables.update({name: rollout.seen[name] for name in ("reference", "rewards", "raw")})
    return {
        "prompt": tokenizer.decode([int(token) for token in document.ids[~document.trained]]),
        "answer": task.texts.decode(answer),
        "tokens": [tokenizer.decode([token]) for token in answer],
        "ids": answer,
        "ended": bool(answer) and answer[-1] == task.texts.end,
        **{name: _plain(table[number, :count]) for name, table in tables.items()},
        "new": _plain(logprob),
        "learned": _number(rollout.seen["learned"][number]),
        "paid": _number(rollout.seen["paid"][number]),
        "beta": task.price, "gamma": settings.gamma, "lam": settings.lam, "clip_ratio": settings.clip_ratio,
        "eos_penalty": settings.eos_penalty, "whitened": settings.whiten_advantages,
        "scaled": settings.whiten_rewards, "rollout": task.number,
        "turn": task.step % settings.updates // (settings.updates // settings.passes), "passes": settings.passes,
    }  # fmt: skip


def _plain(values: Any) -> list[float]:
    return [_number(value) for value in np.asarray(values.detach().cpu().float())]


def _number(value: Any) -> float:
    """Return a float32 in as many digits as it has."""
    return float(f"{float(value):.8g}")
