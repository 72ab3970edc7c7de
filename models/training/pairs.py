"""Preference pairs as documents: a prompt with its better and its worse answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.errors import UserError
from models.events import Event
from models.training.data import Batch, Document, Row, Texts, as_messages, pack_batch
from models.training.labels import conversations
from models.training.stage import TrainSettings
from models.words import _


@dataclass(frozen=True)
class PairBatch:
    """Pairs packed into rows: ``chosen`` and ``rejected`` are the document numbers of each pair, ``(pairs,)``."""

    packed: Batch
    chosen: Any
    rejected: Any

    def to(self, device: str) -> PairBatch:
        """Return the batch on a device."""
        return PairBatch(self.packed.to(device), self.chosen.to(device), self.rejected.to(device))


def answer_document(prompt: Sequence[int], answer: Sequence[int]) -> Document:
    """Return a prompt and its answer as a document of which only the answer is trained."""
    ids = np.asarray([*prompt, *answer], np.int64)
    return Document(ids, np.arange(len(ids)) >= len(prompt))


def answer_text(value: Any) -> str:
    """Return the text of an answer given as a string or as one assistant message."""
    messages = as_messages(value, "assistant")
    if len(messages) != 1:
        raise UserError(
            "training.row", _("An answer has {n} messages.").format(n=len(messages)), _("chosen and rejected need one each.")
        )
    return str(messages[0]["content"])


def pair_documents(texts: Texts, rows: Sequence[Row], longest: int) -> tuple[list[tuple[Document, Document]], int]:
    """Return (chosen, rejected) documents of each row, and how many rows were dropped as longer than ``longest``."""
    pairs = list(fitting_pairs(texts, rows, longest).values())
    if not pairs:
        raise UserError(
            "training.row", _("Every pair is longer than max_length {longest}.").format(longest=longest), _("Raise max_length.")
        )
    return pairs, len(rows) - len(pairs)


def fitting_pairs(texts: Texts, rows: Sequence[Row], longest: int) -> dict[int, tuple[Document, Document]]:
    """Return row number (from 0) → (chosen, rejected) documents of the rows that are not longer than ``longest``."""
    for number, row in enumerate(rows, 1):
        if "chosen" not in row or "rejected" not in row:
            raise UserError(
                "training.row", _("Pair {number} lacks chosen or rejected.").format(number=number), _("Give each row both.")
            )
    prompts = texts.prompts(conversations(rows))
    chosen = texts.answers([answer_text(row["chosen"]) for row in rows])
    rejected = texts.answers([answer_text(row["rejected"]) for row in rows])
    return {
        at: (answer_document(prompt, better), answer_document(prompt, worse))
        for at, (prompt, better, worse) in enumerate(zip(prompts, chosen, rejected, strict=True))
        if len(prompt) + max(len(better), len(worse)) <= longest
    }


def pair_batch(pairs: Sequence[tuple[Document, Document]], block: int, pad_id: int) -> PairBatch:
    """Pack pairs into one batch."""
    import torch

    documents = [document for pair in pairs for document in pair]
    packed, order = pack_batch(documents, block, pad_id)
    return PairBatch(packed, torch.as_tensor(order[0::2]), torch.as_tensor(order[1::2]))


class PairPlan:
    """Which pairs a step reads: every epoch shuffled anew; a function of the step alone."""

    def __init__(self, count: int, settings: TrainSettings) -> None:
        self.count, self.settings = count, settings
        self._orders: dict[int, list[int]] = {}
        self.per_step = settings.batch_size * settings.accumulate
        self.total = settings.steps * self.per_step if settings.steps else round(count * settings.epochs)
        self.total_steps = settings.steps or max(1, math.ceil(self.total / self.per_step))

    def micro_batches(self, step: int, size: int = 0) -> list[list[int]]:
        """Return the pair numbers of each micro-batch of a step, ``size`` pairs each (0: as the settings say)."""
        end = min(max(self.total, 1), (step + 1) * self.per_step)
        numbers = [self._order(at // self.count)[at % self.count] for at in range(step * self.per_step, end)]
        size = size or self.settings.batch_size
        return [numbers[at : at + size] for at in range(0, len(numbers), size)]

    def _order(self, epoch: int) -> list[int]:
        if epoch not in self._orders:
            generator = np.random.default_rng([self.settings.seed, 13, epoch])
            self._orders[epoch] = generator.permutation(self.count).tolist()
        return self._orders[epoch]


class PairTask:
    """What reward and DPO share with the loop: the plan of pairs, and no state beyond the step."""

    total_steps: int
    modules: Mapping[str, Any]
    micro: int
    decode: Callable[[Sequence[int]], str] | None = None

    def prepare(self, step: int) -> Iterator[Event]:
        """Nothing has to be prepared."""
        return iter(())

    def weight(self, batch: PairBatch) -> float:
        """Return the number of pairs."""
        return float(len(batch.chosen))

    def extra(self) -> dict[str, Any]:
        """Return nothing: batches depend on the step alone."""
        return {}

    def tensors(self, step: int) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def restore(self, extra: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
        """Take back nothing."""
