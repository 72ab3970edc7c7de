"""Span corruption for encoder-decoders: spans are cut out of a text, and the decoder writes what was in them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from models.training.data import Document, Texts, plan_rows
from models.training.packed import EVAL_ROWS, PackedTask

if TYPE_CHECKING:
    from torch import Tensor

    from models.training.pretrain import PretrainSettings

Ids = np.ndarray[Any, np.dtype[np.int64]]
IGNORED = -100


def cut_spans(
    ids: Ids, share: float, mean_length: float, sentinels: Sequence[int], end: int, generator: np.random.Generator
) -> tuple[Ids, Ids]:
    """Return (what the encoder reads, what the decoder writes).

    The text is cut into alternating kept and lost spans of random lengths. Each lost span is one sentinel in the input,
    and that sentinel with its tokens in the output, which a last sentinel and the end token close.

    Args:
        ids: Token ids of a text without its end token, ``(length,)``, at least 2.
        share: Share of the tokens that is lost.
        mean_length: Mean length of a lost span.
        sentinels: Ids of <extra_id_0>, <extra_id_1>, ...
        end: The end token.
        generator: Draws the lengths.

    Source: Raffel et al. 2019, arXiv 1910.10683, section 3.1.4.
    """
    length = len(ids)
    lost = min(max(1, round(share * length)), length - 1)
    spans = max(1, min(round(lost / mean_length), lost, length - lost, len(sentinels) - 1))
    gaps, kept = _parts(lost, spans, generator), _parts(length - lost, spans, generator)
    inputs: list[int] = []
    targets: list[int] = []
    at = 0
    for number in range(spans):
        inputs += [*ids[at : at + kept[number]], sentinels[number]]
        at += kept[number]
        targets += [sentinels[number], *ids[at : at + gaps[number]]]
        at += gaps[number]
    return np.asarray([*inputs, end], np.int64), np.asarray([*targets, sentinels[spans], end], np.int64)


def _parts(total: int, count: int, generator: np.random.Generator) -> list[int]:
    """Cut ``total`` into ``count`` parts of at least 1, every way alike."""
    cuts = np.sort(generator.choice(np.arange(1, total), count - 1, replace=False)) if count > 1 else np.asarray([], np.int64)
    return [int(part) for part in np.diff(np.concatenate([[0], cuts, [total]]))]


@dataclass(frozen=True)
class SpanBatch:
    """Texts with lost spans.

    Args:
        input_ids: ``(rows, source)``.
        document: Number of the text, -1 for padding, ``(rows, source)``.
        labels: What the decoder writes, -100 for padding, ``(rows, target)``.
    """

    input_ids: Tensor
    document: Tensor
    labels: Tensor

    def to(self, device: str) -> SpanBatch:
        """Return the batch on a device."""
        return SpanBatch(self.input_ids.to(device), self.document.to(device), self.labels.to(device))


class SpanTask(PackedTask):
    """Mean negative log-likelihood of what the decoder should write. One text a row."""

    def __init__(
        self, model: Any, documents: Sequence[Document], held_out: Sequence[Document], settings: PretrainSettings, texts: Texts
    ) -> None:
        super().__init__(model, documents, held_out, settings, texts.pad)
        self.shape = (settings.mask_share, settings.span_length)
        self.texts = texts
        epochs = settings.steps * self.per_step / len(documents) + 1.0 if settings.steps else settings.epochs
        self.rows = plan_rows([self.block] * len(documents), self.block, epochs, settings.seed)
        self.total_steps = settings.steps or math.ceil(len(self.rows) / self.per_step)

    def batches(self, step: int) -> list[Any]:
        """Return the micro-batches of a step: the next texts of the plan."""
        start = step * self.per_step
        numbers = [row[0] for row in self.rows[start : start + self.per_step]]
        return [
            self._batch([(n, self.documents[n]) for n in numbers[at : at + self.micro]], step)
            for at in range(0, len(numbers), self.micro)
        ]

    def _batch(self, texts: Sequence[tuple[int, Document]], step: int) -> SpanBatch:
        import torch

        pairs = []
        for number, document in texts:
            ids = document.ids[:-1] if len(document.ids) > 2 and document.ids[-1] == self.texts.end else document.ids
            generator = np.random.default_rng([self.settings.seed, 37, step, number])
            pairs.append(cut_spans(ids, *self.shape, self.texts.sentinels, self.texts.end, generator))
        source, target = (max(len(pair[side]) for pair in pairs) for side in (0, 1))
        inputs = np.full((len(pairs), source), self.pad_id, np.int64)
        document_of = np.full((len(pairs), source), -1, np.int64)
        labels = np.full((len(pairs), target), IGNORED, np.int64)
        for at, (read, written) in enumerate(pairs):
            inputs[at, : len(read)], document_of[at, : len(read)], labels[at, : len(written)] = read, at, written
        return SpanBatch(*(torch.as_tensor(array) for array in (inputs, document_of, labels))).to(self.device)

    def weight(self, batch: Any) -> float:
        """Return the number of tokens that the decoder writes."""
        return float((batch.labels != IGNORED).sum())

    def loss(self, batch: Any) -> tuple[Any, dict[str, float]]:
        """Return the summed negative log-likelihood in nats."""
        from torch.nn.functional import cross_entropy

        mask = (batch.document >= 0).long()
        logits = self.model(input_ids=batch.input_ids, attention_mask=mask, labels=batch.labels, use_cache=False).logits
        flat = logits.float().reshape(-1, logits.shape[-1])
        return cross_entropy(flat, batch.labels.reshape(-1), ignore_index=IGNORED, reduction="sum"), {}

    def evaluate(self) -> dict[str, float]:
        """Return ``eval_loss``, in nats per written token; the same spans are lost every time."""
        import torch

        total, count = 0.0, 0.0
        self.model.eval()
        for start in range(0, len(self.held_out), EVAL_ROWS):
            with torch.no_grad():
                batch = self._batch(list(enumerate(self.held_out[start : start + EVAL_ROWS], start)), -1 % 2**32)
                total, count = total + float(self.loss(batch)[0]), count + self.weight(batch)
        return {"eval_loss": total / count, "eval_perplexity": math.exp(min(total / count, 700.0))} if count else {}
