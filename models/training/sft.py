"""The SFT stage: a pretrained model learns to answer in the chat template, from answers only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.events import Note, Work
from models.training.data import Texts, need_rows
from models.training.llama import open_causal, pick_device
from models.training.packed import PackedTask, count_targets, row_documents
from models.training.running import gather_inputs, read_all, train_and_publish
from models.training.stage import Stage, TrainSettings, Workspace, help_text


@dataclass(frozen=True)
class SftSettings(TrainSettings):
    """Settings of the SFT stage."""

    parent: str = field(default="pretrain", metadata=help_text("Step or folder to start from."))
    data: tuple[str, ...] = field(default=(), metadata=help_text("JSONL files of {messages} (or {text})."))
    dev: str = field(default="", metadata=help_text("JSONL file to evaluate on."))
    replay: tuple[str, ...] = field(default=(), metadata=help_text("JSONL files of pretraining texts to mix in."))
    replay_rows: int = field(default=0, metadata=help_text("How many of those texts, drawn by seed."))
    max_rows: int = field(default=0, metadata=help_text("Read at most so many rows of each file; 0 reads all."))
    epochs: float = field(default=2.0, metadata=help_text("Passes over the data, when steps is 0."))


def run(settings: SftSettings, workspace: Workspace) -> Work[Mapping[str, Any]]:
    """Fine-tune the parent and write ``checkpoint/``."""
    rows = read_all(workspace, settings.data, settings.max_rows)
    need_rows("sft", rows)
    if settings.replay_rows:
        replay = read_all(workspace, settings.replay)
        generator = np.random.default_rng([settings.seed, 11])
        chosen = generator.permutation(len(replay))[: settings.replay_rows]
        rows = [*rows, *(replay[at] for at in chosen)]
    files = [*settings.data, *settings.replay, *([settings.dev] if settings.dev else [])]
    inputs = gather_inputs(workspace, files, {"parent": settings.parent})
    parent = workspace.checkpoint(settings.parent)
    texts = Texts(parent)
    documents = row_documents(texts, rows, settings.block)
    held_out = row_documents(texts, read_all(workspace, [settings.dev]), settings.block) if settings.dev else []
    device = pick_device(settings.device)
    model = open_causal(parent, device)
    yield Note(f"sft: {len(rows):,} rows, {count_targets(documents):,} answer tokens")
    task = PackedTask(model, documents, held_out, settings, texts.pad)
    return (yield from train_and_publish(task, settings, workspace, inputs=inputs, stage="sft"))


STAGE = Stage("sft", "Supervised fine-tuning", SftSettings, run, "sft")
