"""The KTO stage: a policy learns from answers that are good or bad by themselves, without pairs; the trainer is TRL's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.events import Note, Work
from models.training.data import Row, Texts, as_messages, need_rows
from models.training.formats import LABELLED
from models.training.llama import pick_device, without_dropout
from models.training.methods import MethodSettings
from models.training.parents import find_parent
from models.training.running import gather_inputs
from models.training.sources import load_rows
from models.training.stage import Stage, Workspace, check_at_least, help_text
from models.training.trl_run import Edge, check_edge, need_trl, open_policy, rows_of, train_by_trl
from models.words import _


@dataclass(frozen=True)
class KtoSettings(MethodSettings):
    """Settings of the KTO stage."""

    parent: str = field(default="sft", metadata=help_text("Step or folder to start from; also the reference."))
    data: tuple[str, ...] = field(default=(), metadata=help_text("Files of {prompt, completion, label}, or of pairs."))
    dev: str = field(default="", metadata=help_text("File of the same kind to evaluate on."))
    beta: float = field(default=0.1, metadata=help_text("Inverse temperature of the implied reward."))
    desirable_weight: float = field(default=1.0, metadata=help_text("Weight of the losses of good answers."))
    undesirable_weight: float = field(default=1.0, metadata=help_text("Weight of the losses of bad answers."))
    max_length: int = field(default=256, metadata=help_text("Longer texts are cut at their end."))
    batch_size: int = field(default=32, metadata=help_text("Answers of a micro-batch; the KL is estimated within it."))
    lr: float = field(default=5e-5, metadata=help_text("Highest learning rate."))

    def __post_init__(self) -> None:
        """Raise ``UserError`` for a value that cannot work."""
        super().__post_init__()
        check_edge(self)
        check_at_least("batch_size", self.batch_size, 2)


def order_of(count: int, seed: int) -> list[int]:
    """Return the order in which rows are trained on: TRL goes through them as they are given, so they are shuffled before."""
    order: list[int] = np.random.default_rng([seed, 29]).permutation(count).tolist()
    return order


def labelled(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return rows as TRL's KTO trainer reads them: prompt and completion as messages, whether the answer is good."""
    return [
        {
            "prompt": list(as_messages(row["prompt"])),
            "completion": list(as_messages(row["completion"], "assistant")),
            "label": bool(row["label"]),
        }
        for row in rows
    ]


def run(settings: KtoSettings, workspace: Workspace) -> Work[Mapping[str, Any]]:
    """Train the policy and write ``checkpoint/``.

    Source: Ethayarajh et al. 2024, arXiv 2402.01306.
    """
    need_trl(workspace)
    rows = yield from load_rows(workspace, settings.data, LABELLED, bad_rows=settings.bad_rows)
    need_rows("kto", rows)
    parent = yield from find_parent(workspace, settings.parent)
    dev = [settings.dev] if settings.dev else []
    held_out = yield from load_rows(workspace, dev, LABELLED, bad_rows=settings.bad_rows)
    inputs = gather_inputs(workspace, [*settings.data, *dev], {"parent": settings.parent}, parent)
    device, texts = pick_device(settings.device), Texts(parent.texts)
    good = sum(bool(row["label"]) for row in rows)
    yield Note(_("kto: {good:,} good answers, {bad:,} bad ones").format(good=good, bad=len(rows) - good))
    arguments = {
        "beta": settings.beta,
        "desirable_weight": settings.desirable_weight,
        "undesirable_weight": settings.undesirable_weight,
        "max_length": settings.max_length,
    }
    data = rows_of(labelled([rows[at] for at in order_of(len(rows), settings.seed)]))
    parts: dict[str, Any] = {"train_dataset": data, "processing_class": texts.tokenizer}
    if held_out:
        parts["eval_dataset"] = rows_of(labelled(held_out))
    model = open_policy(parent, settings, device)
    if settings.method == "full":
        parts["ref_model"] = without_dropout(parent.open(device)).requires_grad_(False)
    edge = Edge("KTOTrainer", arguments, parts, {"kl": "objective/kl"})
    return (yield from train_by_trl(edge, model, settings, workspace, inputs=inputs, stage="other"))


STAGE = Stage("kto", "Good and bad answers (KTO)", KtoSettings, run, "other")
