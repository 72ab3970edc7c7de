"""The SFT stage: a pretrained model learns to answer in the chat template, from answers only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import UserError
from models.events import Event, Note, Work
from models.training.data import Texts, need_rows
from models.training.forward import way_of
from models.training.llama import pick_device
from models.training.methods import MethodSettings, open_trainable
from models.training.packed import PackedTask, count_targets, describe_laid, lay_out, row_documents
from models.training.parents import find_parent
from models.training.running import gather_inputs, train_and_publish
from models.training.sources import load_rows
from models.training.stage import Stage, Workspace, help_text
from models.words import _


@dataclass(frozen=True)
class SftSettings(MethodSettings):
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

    def __post_init__(self) -> None:
        """Raise ``UserError`` for a value that cannot work."""
        super().__post_init__()
        if self.init_tokens and self.method != "full":
            raise UserError(
                "training.setting",
                _("init_tokens changes the base's own weights, which an adapter ({method}) leaves as they are.").format(
                    method=self.method
                ),
                _("Leave init_tokens out, or use full."),
                setting="init_tokens",
            )


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


def describe_model(model: Any) -> Iterator[Event]:
    """Say how many of the weights are trained, and when documents cannot share rows."""
    trained = sum(value.numel() for value in model.parameters() if value.requires_grad)
    total = sum(value.numel() for value in model.parameters())
    if trained < total:
        yield Note(_("{trained:,} of {total:,} weights are trained, the rest are frozen").format(trained=trained, total=total))
    if not way_of(model).packed:
        yield Note(
            _("{family} cannot keep the documents of a row apart: each gets its own row").format(family=model.config.model_type)
        )


def run(settings: SftSettings, workspace: Workspace) -> Work[Mapping[str, Any]]:
    """Fine-tune the parent and write ``checkpoint/``."""
    rows = yield from load_rows(workspace, settings.data, bad_rows=settings.bad_rows, limit=settings.max_rows)
    need_rows("sft", rows)
    if settings.replay_rows:
        replay = yield from load_rows(workspace, settings.replay, bad_rows=settings.bad_rows)
        generator = np.random.default_rng([settings.seed, 11])
        chosen = generator.permutation(len(replay))[: settings.replay_rows]
        rows = [*rows, *(replay[at] for at in chosen)]
    files = [*settings.data, *settings.replay, *([settings.dev] if settings.dev else [])]
    parent = yield from find_parent(workspace, settings.parent)
    inputs = gather_inputs(workspace, files, {"parent": settings.parent}, parent)
    texts = Texts(parent.texts)
    laid = lay_out(texts, rows, settings.block)
    yield from describe_laid(laid, settings.block)
    documents = laid.documents
    dev = yield from load_rows(workspace, [settings.dev] if settings.dev else [], bad_rows=settings.bad_rows)
    held_out = row_documents(texts, dev, settings.block)
    model = open_trainable(parent, settings, pick_device(settings.device))
    start_tokens(model, parent.texts / "tokenizer.json", settings.init_tokens)
    yield from describe_model(model)
    yield Note(_("sft: {n:,} rows, {n_tokens:,} answer tokens").format(n=len(rows), n_tokens=count_targets(documents)))
    task = PackedTask(model, documents, held_out, settings, texts.pad)
    task.decode = texts.tokenizer.decode
    return (yield from train_and_publish(task, settings, workspace, inputs=inputs, stage="sft"))


STAGE = Stage("sft", "Supervised fine-tuning", SftSettings, run, "sft", parallel=True)
