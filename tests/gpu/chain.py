"""A small chain of stages for the tests of a card: what each is told, and what its run said."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.discover import discover
from models.events import Metrics, Note, finish
from models.training.llama import ModelShape
from tests.models.training import run_stage, workspace, write_corpus

SHAPE = ModelShape(layers=2, width=64, heads=4, kv_heads=2, feed_forward=96, context=128)
STAGES = {found.name: found.value for found in discover("models.training", "STAGE")}
COMMON = {"block": 64, "dtype": "fp32", "warmup": 2}
DATA: dict[str, dict[str, Any]] = {
    "pretrain": {"data": ("texts.jsonl",), "model": SHAPE, "steps": 40, "batch_size": 8, "dev": "texts.jsonl", "lr": 5e-3},
    "sft": {"data": ("talk.jsonl",), "steps": 40, "batch_size": 8, "lr": 1e-2},
    "reward": {"pairs": ("pairs.jsonl",), "parent": "sft", "steps": 20, "batch_size": 8, "lr": 3e-3},
    "dpo": {"pairs": ("pairs.jsonl",), "parent": "sft", "steps": 20, "batch_size": 8, "lr": 1e-3},
    "kto": {"data": ("pairs.jsonl",), "parent": "sft", "steps": 6, "batch_size": 4},
    "ppo": {"prompts": ("prompts.jsonl",), "rollouts": 6, "rollout_size": 16, "minibatch": 8, "max_new_tokens": 8,
            "replay": ("talk.jsonl",), "replay_rows": 4, "entropy": 0.01},
    "grpo": {"prompts": ("prompts.jsonl",), "steps": 3, "rule": "models.training.labels:shortest", "answers": 4, "batch_size": 16,
             "max_new_tokens": 12},
    "rloo": {"prompts": ("prompts.jsonl",), "steps": 3, "rule": "models.training.labels:shortest", "answers": 4, "batch_size": 16,
             "max_new_tokens": 12},
}  # fmt: skip


@dataclass
class Told:
    """What a run said."""

    metrics: dict[str, Any] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)
    values: list[dict[str, float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def settings(stage: str, **more: Any) -> Any:
    """Return the settings of a stage."""
    usual = {**COMMON, **DATA[stage], **more}
    known = STAGES[stage].settings.__dataclass_fields__
    return STAGES[stage].settings(**{name: value for name, value in usual.items() if name in known})


def run(stage: str, root: Path, step: str = "", *, resume: bool = False, until: int = 0, **more: Any) -> Told:
    """Run a stage; ``until`` closes it after so many steps, as a person who stops it does."""
    told = Told()
    work = STAGES[stage].run(settings(stage, **more), workspace(root, step or stage, resume=resume))
    while True:
        try:
            event = next(work)
        except StopIteration as end:
            told.metrics = dict(end.value)
            return told
        if isinstance(event, Metrics):
            told.values.append(dict(event.values))
            if "loss" in event.values:
                told.losses.append(event.values["loss"])
                if until and event.step == until:
                    work.close()
                    return told
        if isinstance(event, Note):
            told.notes.append(event.text)


def begin(root: Path) -> Path:
    """Write texts, a tokenizer and, on the processor, the first three stages that others start from."""
    write_corpus(root)
    tokenizer = STAGES["tokenizer"]
    run_stage(tokenizer, tokenizer.settings(data=("texts.jsonl", "talk.jsonl"), vocab_size=300), root)
    for stage in ("pretrain", "sft", "reward"):
        run(stage, root, device="cpu", precision="fp32")
    return root


def opened(path: Path, device: str) -> Any:
    """Open what a stage wrote."""
    from models import library

    return finish(library.load(path, device=device))
