"""The SFT stage: a pretrained model learns to answer in the chat template, from answers only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import UserError
from models.events import Note, Work
from models.training.data import Texts, need_rows
from models.training.llama import open_causal, pick_device
from models.training.packed import PackedTask, count_targets, row_documents
from models.training.running import gather_inputs, read_all, train_and_publish
from models.training.stage import Stage, TrainSettings, Workspace, help_text
from models.words import _


@dataclass(frozen=True)
class SftSettings(TrainSettings):
    """Settings of the SFT stage."""

    parent: str = field(default="pretrain", metadata=help_text("Step or folder to start from."))
    data: tuple[str, ...] = field(default=(), metadata=help_text("JSONL files of {messages} (or {text})."))
    dev: str = field(default="", metadata=help_text("JSONL file to evaluate on."))
    replay: tuple[str, ...] = field(default=(), metadata=help_text("JSONL files of pretraining texts to mix in."))
    replay_rows: int = field(default=0, metadata=help_text("How many of those texts, drawn by seed."))
    max_rows: int = field(default=0, metadata=help_text("Read at most so many rows of each file; 0 reads all."))
    init_tokens: tuple[str, ...] = field(
        default=(), metadata=help_text("TOKEN=WORDS|WORDS: a token never seen before starts as the mean of these words' tokens.")
    )
    epochs: float = field(default=2.0, metadata=help_text("Passes over the data, when steps is 0."))


def start_tokens(model: Any, tokenizer_file: Path, assignments: Sequence[str]) -> None:
    """Set embeddings of new tokens to the mean of known ones (tied output embeddings follow), so that SFT need not find them.

    Raises:
        UserError: an assignment is not TOKEN=WORDS, or names a token that the vocabulary lacks.
    """
    import torch
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    table = model.get_input_embeddings().weight
    for assignment in assignments:
        token, _equals, words = assignment.partition("=")
        number = tokenizer.token_to_id(token)
        sources = [ids for text in words.split("|") if (ids := tokenizer.encode(text, add_special_tokens=False).ids)]
        if number is None or not sources:
            hint = _("Write TOKEN=WORDS with a token of the vocabulary.")
            raise UserError(
                "training.setting",
                _("init_tokens has {assignment!r}.").format(assignment=assignment),
                hint,
                setting="init_tokens",
            )
        with torch.no_grad():
            table[number] = torch.stack([table[ids].mean(0) for ids in sources]).mean(0)


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
    start_tokens(model, parent / "tokenizer.json", settings.init_tokens)
    yield Note(_("sft: {n:,} rows, {n_tokens:,} answer tokens").format(n=len(rows), n_tokens=count_targets(documents)))
    task = PackedTask(model, documents, held_out, settings, texts.pad)
    return (yield from train_and_publish(task, settings, workspace, inputs=inputs, stage="sft"))


STAGE = Stage("sft", "Supervised fine-tuning", SftSettings, run, "sft")
