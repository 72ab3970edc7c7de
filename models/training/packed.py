"""The task of predicting next tokens in packed documents: pretraining, SFT and replay."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.errors import UserError
from models.events import Event, Note
from models.training.data import Batch, Document, Row, Texts, make_batch, pack_batch, plan_rows
from models.training.stage import TrainSettings
from models.words import _

EVAL_ROWS = 16


@dataclass(frozen=True)
class Laid:
    """Rows as documents. ``cut`` counts the rows that lost their end, ``dropped`` those of which nothing is trained.

    ``tails`` holds the lost ids by the number of the document.
    """

    documents: list[Document]
    cut: int
    dropped: int
    tails: Mapping[int, Any] = field(default_factory=dict)


def lay_out(texts: Texts, rows: Sequence[Row], block: int) -> Laid:
    """Return rows as documents: ``messages`` are trained on answers only, completions too, ``text`` on every token.

    A long text becomes several documents. A conversation longer than ``block`` keeps its first ``block`` tokens, if an
    answer starts among them.

    Raises:
        UserError: If a row has none of them.
    """
    for number, row in enumerate(rows, 1):
        if not {"text", "messages", "completion"} & row.keys():
            raise UserError(
                "training.row", _("Row {number} has neither text nor messages.").format(number=number), _("Give each row one.")
            )
    plain = texts.documents([str(row["text"]) for row in rows if "text" in row], block)
    others = [row for row in rows if "text" not in row]
    whole = texts.chats([row["messages"] for row in others if "completion" not in row])
    pairs = [row for row in others if "completion" in row]
    whole += texts.completions([str(row["prompt"]) for row in pairs], [str(row["completion"]) for row in pairs])
    cut = [Document(document.ids[:block], document.trained[:block]) for document in whole]
    numbers = [at for at, document in enumerate(cut) if document.trained[1:].any()]
    tails = {
        len(plain) + place: whole[at].ids[block:] for place, at in enumerate(numbers) if len(whole[at].ids) > block
    }
    return Laid(plain + [cut[at] for at in numbers], len(tails), len(cut) - len(numbers), tails)


def row_documents(texts: Texts, rows: Sequence[Row], block: int) -> list[Document]:
    """Return the documents of ``lay_out``."""
    return lay_out(texts, rows, block).documents


def describe_laid(laid: Laid, block: int) -> Iterator[Event]:
    """Say how many rows were cut or dropped; nothing if none was."""
    if laid.cut or laid.dropped:
        yield Note(
            _("{cut:,} rows are longer than block {block} and were cut, {dropped:,} dropped: no answer starts within it").format(
                cut=laid.cut, block=block, dropped=laid.dropped
            ),
            "warning",
        )


def count_targets(documents: Sequence[Document]) -> int:
    """Return how many tokens are predicted in documents."""
    return sum(int(document.trained[1:].sum()) for document in documents)


class PackedTask:
    """Mean negative log-likelihood of the trained tokens of packed documents.

    Args:
        model: Causal language model, already on its device.
        documents: What to learn.
        held_out: What to evaluate on; may be empty.
        settings: The stage's settings.
        pad_id: Fills rows up.
    """

    def __init__(
        self,
        model: Any,
        documents: Sequence[Document],
        held_out: Sequence[Document],
        settings: TrainSettings,
        pad_id: int,
    ) -> None:
        self.model, self.documents, self.held_out = model, documents, held_out
        self.settings, self.block, self.pad_id = settings, settings.block, pad_id
        self.device = str(next(model.parameters()).device)
        self.modules: Mapping[str, Any] = {"model": model}
        self.per_step, self.micro = settings.batch_size * settings.accumulate, settings.batch_size
        self.decode: Callable[[Sequence[int]], str] | None = None
        lengths = [len(document.ids) for document in documents]
        if settings.steps:
            row_count = settings.steps * self.per_step
            one = max(1, len(plan_rows(lengths, self.block, 1.0, settings.seed)))
            self.rows = plan_rows(lengths, self.block, row_count / one + 1.0, settings.seed)
            self.total_steps = settings.steps
        else:
            self.rows = plan_rows(lengths, self.block, settings.epochs, settings.seed)
            self.total_steps = math.ceil(len(self.rows) / self.per_step)

    def prepare(self, step: int) -> Iterator[Event]:
        """Nothing has to be prepared."""
        return iter(())

    def batches(self, step: int) -> list[Batch]:
        """Return the micro-batches of a step: the next rows of the plan."""
        start = step * self.per_step
        rows = self.rows[start : start + self.per_step]
        size = self.micro
        return [
            make_batch([[self.documents[n] for n in row] for row in rows[at : at + size]], self.pad_id).to(self.device)
            for at in range(0, len(rows), size)
        ]

    def weight(self, batch: Batch) -> float:
        """Return the number of predicted tokens."""
        return float(len(batch.target))

    def loss(self, batch: Batch) -> tuple[Any, dict[str, float]]:
        """Return the summed negative log-likelihood in nats."""
        from models.training.forward import target_logprobs

        return -target_logprobs(self.model, batch).sum(), {}

    def evaluate(self) -> dict[str, float]:
        """Return ``eval_loss`` (nats per predicted token) and ``eval_perplexity`` of the held-out documents."""
        if not self.held_out:
            return {}
        loss = mean_nll(self.model, self.held_out, self.block, self.pad_id, self.device)
        return {"eval_loss": loss, "eval_perplexity": math.exp(min(loss, 700.0))}

    def extra(self) -> dict[str, Any]:
        """Return nothing: batches depend on the step alone."""
        return {}

    def tensors(self, step: int) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def restore(self, extra: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
        """Take back nothing."""


def mean_nll(model: Any, documents: Sequence[Document], block: int, pad_id: int, device: str = "cpu") -> float:
    """Return the mean negative log-likelihood of the trained tokens, in nats."""
    import torch

    from models.training.forward import target_logprobs

    model.eval()
    total, count = 0.0, 0
    with torch.no_grad():  # not inference_mode: what FSDP gathers in it could not be trained with
        for start in range(0, len(documents), EVAL_ROWS * 4):
            batch = pack_batch(documents[start : start + EVAL_ROWS * 4], block, pad_id)[0].to(device)
            total -= float(target_logprobs(model, batch).sum())
            count += len(batch.target)
    return total / max(1, count)


class Replay:
    """Documents of an earlier stage, mixed into a later one so that it forgets less: a few each step."""

    def __init__(self, documents: Sequence[Document], count: int, block: int, pad_id: int, seed: int) -> None:
        self.documents, self.count, self.block, self.pad_id = documents, count, block, pad_id
        self.seed = seed

    def batch(self, step: int) -> Batch:
        """Return the documents of a step, drawn by its number."""
        generator = np.random.default_rng([self.seed, 7, step])
        chosen = generator.choice(len(self.documents), size=min(self.count, len(self.documents)), replace=False)
        return pack_batch([self.documents[at] for at in chosen], self.block, self.pad_id)[0]
