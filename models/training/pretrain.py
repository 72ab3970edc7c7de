"""The pretrain stage: a new Llama-style model learns to predict the next token of plain text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from models.events import Note, Work
from models.training.data import Texts, need_rows
from models.training.llama import ModelShape, new_llama, pick_device
from models.training.packed import PackedTask, count_targets, describe_laid, lay_out, row_documents
from models.training.running import gather_inputs, train_and_publish
from models.training.sources import load_rows
from models.training.stage import Stage, TrainSettings, Workspace, help_text
from models.words import _


@dataclass(frozen=True)
class PretrainSettings(TrainSettings):
    """Settings of the pretrain stage."""

    tokenizer: str = field(default="tokenizer", metadata=help_text("Step or folder with the tokenizer."))
    data: tuple[str, ...] = field(default=(), metadata=help_text("JSONL files of {text}."))
    dev: str = field(default="", metadata=help_text("JSONL file to evaluate on."))
    max_rows: int = field(default=0, metadata=help_text("Read at most so many rows of each file; 0 reads all."))
    model: ModelShape = field(default=ModelShape(), metadata=help_text("Shape of the model."))
    lr: float = field(default=1.5e-3, metadata=help_text("Highest learning rate."))
    weight_decay: float = field(default=0.1, metadata=help_text("AdamW weight decay of matrices."))


def run(settings: PretrainSettings, workspace: Workspace) -> Work[Mapping[str, Any]]:
    """Train from nothing and write ``checkpoint/``."""
    rows = yield from load_rows(workspace, settings.data, bad_rows=settings.bad_rows, limit=settings.max_rows)
    need_rows("pretrain", rows)
    files = [*settings.data, *([settings.dev] if settings.dev else [])]
    inputs = gather_inputs(workspace, files, {"tokenizer": settings.tokenizer})
    tokenizer = workspace.checkpoint(settings.tokenizer)
    texts = Texts(tokenizer)
    laid = lay_out(texts, rows, settings.block)
    yield from describe_laid(laid, settings.block)
    documents = laid.documents
    dev = yield from load_rows(workspace, [settings.dev] if settings.dev else [], bad_rows=settings.bad_rows)
    held_out = row_documents(texts, dev, settings.block)
    device = pick_device(settings.device)
    model = new_llama(settings.model, len(texts), (texts.bos, texts.end, texts.pad), settings.seed).to(device)
    size = sum(value.numel() for value in model.parameters())
    yield Note(
        _("pretrain: {size:,} parameters, {n:,} texts, {n_tokens:,} tokens").format(
            size=size, n=len(rows), n_tokens=count_targets(documents)
        )
    )
    task = PackedTask(model, documents, held_out, settings, texts.pad)
    metrics = yield from train_and_publish(task, settings, workspace, inputs=inputs, stage="pretrain")
    return {**metrics, "parameters": size}


STAGE = Stage("pretrain", "Pretraining", PretrainSettings, run, "pretrain", parent_field="")
