"""The pretrain stage: a model learns the language of plain text, from nothing or from a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.events import Note, Work
from models.training.architectures import (
    CAUSAL,
    KINDS,
    MASKED,
    OBJECTIVES,
    check_tokenizer,
    check_values,
    new_model,
    objective_of,
    open_model,
)
from models.training.data import Document, Texts, need_rows
from models.training.llama import ModelShape, new_llama, pick_device, place
from models.training.masked import MaskedTask
from models.training.packed import PackedTask, count_targets, describe_laid, lay_out, row_documents
from models.training.parents import find_parent
from models.training.running import gather_inputs, train_and_publish
from models.training.sources import load_rows
from models.training.spans import SpanTask
from models.training.stage import Stage, TrainSettings, Workspace, check_choice, help_text
from models.words import _


@dataclass(frozen=True)
class PretrainSettings(TrainSettings):
    """Settings of the pretrain stage."""

    parent: str = field(default="", metadata=help_text("Step or folder to go on from; empty starts from nothing."))
    tokenizer: str = field(default="tokenizer", metadata=help_text("Step or folder with the tokenizer, from nothing."))
    data: tuple[str, ...] = field(default=(), metadata=help_text("Files of texts: txt, JSONL, CSV or Parquet with {text}."))
    dev: str = field(default="", metadata=help_text("File to evaluate on."))
    max_rows: int = field(default=0, metadata=help_text("Read at most so many rows of each file; 0 reads all."))
    objective: str = field(default="auto", metadata=help_text("causal, masked (encoders), span (T5), or auto by the family."))
    mask_share: float = field(default=0.15, metadata=help_text("Share of the tokens hidden by masked and span."))
    span_length: float = field(default=3.0, metadata=help_text("Mean length of a span lost by span."))
    model: ModelShape = field(default=ModelShape(), metadata=help_text("Shape of the model."))
    config: Mapping[str, Any] = field(
        default_factory=dict, metadata=help_text("Any configuration of transformers instead: model_type and its keys.")
    )
    lr: float = field(default=1.5e-3, metadata=help_text("Highest learning rate."))
    weight_decay: float = field(default=0.1, metadata=help_text("AdamW weight decay of matrices."))

    def __post_init__(self) -> None:
        """Raise ``UserError`` for a value that cannot work."""
        super().__post_init__()
        check_choice("objective", self.objective, OBJECTIVES)
        for name, least in (("mask_share", 0.0), ("span_length", 1.0)):
            if not least <= getattr(self, name) <= (1.0 if name == "mask_share" else 1e6):
                raise UserError(
                    "training.setting",
                    _("{name} is {value}.").format(name=name, value=getattr(self, name)),
                    _("It must be a share.") if name == "mask_share" else _("It must be at least {least}.").format(least=1),
                    setting=name,
                )
        if not isinstance(self.config, Mapping):
            raise UserError("training.setting", _("config is no mapping."), _("Write model_type and its keys."), setting="config")
        if self.config:
            check_values(self.config)


@dataclass(frozen=True)
class Start:
    """Where pretraining starts: the objective, the texts' tokenizer, the model, and the names of what they come from."""

    objective: str
    texts: Texts
    model: Any
    parents: Mapping[str, str]
    folder: Path | None = None


def begin(settings: PretrainSettings, workspace: Workspace) -> Work[Start]:
    """Return the model to train: a new one, or a checkpoint's with the head of the objective.

    Raises:
        UserError: If the family, the objective and the tokenizer do not go together.
    """
    device = pick_device(settings.device)
    if settings.parent:
        kinds = ("decoder", "encoder", "encoder-decoder") if settings.objective == "auto" else KINDS[settings.objective]
        parent = yield from find_parent(workspace, settings.parent, kinds)
        texts = Texts(parent.texts)
        objective = _objective(settings, _family(parent.folder))
        check_tokenizer(objective, texts)
        model = parent.open(device) if objective == CAUSAL else open_model(parent.folder, objective, device)
        return Start(objective, texts, model, {"parent": settings.parent}, parent.texts)
    texts = Texts(workspace.checkpoint(settings.tokenizer))
    objective = _objective(settings, str(settings.config.get("model_type", "llama")))
    check_tokenizer(objective, texts)
    if settings.config:
        model = new_model(settings.config, objective, texts, settings.seed)
    else:
        model = new_llama(settings.model, len(texts), (texts.bos, texts.end, texts.pad), settings.seed)
    return Start(objective, texts, place(model, device), {"tokenizer": settings.tokenizer})


def _family(folder: Path) -> str:
    from models.configs import read_config

    return read_config(folder).family


def _objective(settings: PretrainSettings, family: str) -> str:
    found = objective_of(family)
    if settings.objective not in ("auto", found):
        raise UserError(
            "training.setting",
            _("objective is {objective}, but {family} models learn by {found}.").format(
                objective=settings.objective, family=family, found=found
            ),
            _("Leave objective out, or choose another family."),
            setting="objective",
        )
    return found


def make_task(start: Start, documents: list[Document], held_out: list[Document], settings: PretrainSettings) -> PackedTask:
    """Return the task of the objective."""
    if start.objective == CAUSAL:
        return PackedTask(start.model, documents, held_out, settings, start.texts.pad)
    kind = MaskedTask if start.objective == MASKED else SpanTask
    return kind(start.model, documents, held_out, settings, start.texts)


def run(settings: PretrainSettings, workspace: Workspace) -> Work[Mapping[str, Any]]:
    """Train and write ``checkpoint/``."""
    rows = yield from load_rows(workspace, settings.data, bad_rows=settings.bad_rows, limit=settings.max_rows)
    need_rows("pretrain", rows)
    files = [*settings.data, *([settings.dev] if settings.dev else [])]
    start = yield from begin(settings, workspace)
    inputs = gather_inputs(workspace, files, start.parents, texts=start.folder)
    laid = lay_out(start.texts, rows, settings.block)
    yield from describe_laid(laid, settings.block)
    documents = laid.documents
    dev = yield from load_rows(workspace, [settings.dev] if settings.dev else [], bad_rows=settings.bad_rows)
    held_out = row_documents(start.texts, dev, settings.block)
    size = sum(value.numel() for value in start.model.parameters())
    yield Note(
        _("pretrain: {size:,} parameters, {n:,} texts, {n_tokens:,} tokens").format(
            size=size, n=len(rows), n_tokens=count_targets(documents)
        )
    )
    task = make_task(start, documents, held_out, settings)
    task.decode = start.texts.tokenizer.decode
    metrics = yield from train_and_publish(task, settings, workspace, inputs=inputs, stage="pretrain")
    return {**metrics, "parameters": size}


STAGE = Stage("pretrain", "Pretraining", PretrainSettings, run, "pretrain", parallel=True)
