"""Masked language modelling for encoders: some tokens are hidden, and the model says which they were."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from models.training.data import Batch, Document, Texts, make_batch
from models.training.packed import EVAL_ROWS, PackedTask

if TYPE_CHECKING:
    from torch import Tensor

    from models.training.pretrain import PretrainSettings

HEADS = ("cls", "lm_head", "predictions", "generator_lm_head")
KEPT, SWAPPED = 0.1, 0.1
"""Shares of the chosen tokens that stay as they are, or become any other token; the rest become the mask."""
Ids = np.ndarray[Any, np.dtype[np.int64]]

_HEADS: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
_PACKED: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


def hide(ids: Ids, special: Ids, share: float, mask: int, size: int, generator: np.random.Generator) -> tuple[Ids, Ids]:
    """Return the ids with some hidden, ``(length,)``, and the positions chosen, ``(chosen,)``; at least one is.

    Of the chosen tokens 80 % become the mask, 10 % any token, 10 % stay; special tokens are never chosen.

    Source: Devlin et al. 2018, arXiv 1810.04805, section 3.1.
    """
    free = np.flatnonzero(~np.isin(ids, special))
    if not len(free):
        return ids, free
    count = max(1, round(share * len(free)))
    chosen = np.sort(generator.choice(free, count, replace=False))
    hidden, draw = ids.copy(), generator.random(count)
    hidden[chosen[draw >= KEPT + SWAPPED]] = mask
    swapped = chosen[(draw >= KEPT) & (draw < KEPT + SWAPPED)]
    hidden[swapped] = generator.integers(0, size, len(swapped))
    return hidden, chosen


class MaskedTask(PackedTask):
    """Mean negative log-likelihood of hidden tokens. What is hidden follows from seed, step and document alone."""

    def __init__(
        self, model: Any, documents: Sequence[Document], held_out: Sequence[Document], settings: PretrainSettings, texts: Texts
    ) -> None:
        super().__init__(model, documents, held_out, settings, texts.pad)
        self.share, self.mask, self.size = settings.mask_share, texts.mask, len(texts)
        self.special = np.asarray(texts.tokenizer.all_special_ids, np.int64)

    def batches(self, step: int) -> list[Batch]:
        """Return the micro-batches of a step: the next rows of the plan, some of their tokens hidden."""
        start = step * self.per_step
        rows = self.rows[start : start + self.per_step]
        return [
            self._batch([[(n, self.documents[n]) for n in row] for row in rows[at : at + self.micro]], step)
            for at in range(0, len(rows), self.micro)
        ]

    def _batch(self, rows: Sequence[Sequence[tuple[int, Document]]], step: int) -> Batch:
        import torch

        hidden, places, answers = [], [], []
        for row in rows:
            line = []
            for number, document in row:
                generator = np.random.default_rng([self.settings.seed, 29, step, number])
                ids, chosen = hide(document.ids, self.special, self.share, self.mask, self.size, generator)
                line.append(Document(ids, document.trained))
                places.append(chosen)
                answers.append(document.ids[chosen])
            hidden.append(line)
        batch = make_batch(hidden, self.pad_id)
        lengths = [len(document.ids) for line in hidden for document in line]
        starts = batch.last.numpy() - np.asarray(lengths) + 1
        source = np.concatenate([chosen + start for chosen, start in zip(places, starts, strict=True)])
        owner = np.repeat(np.arange(len(places)), [len(chosen) for chosen in places])
        arrays = (torch.as_tensor(array, dtype=torch.long) for array in (source, np.concatenate(answers), owner))
        return replace(batch, **dict(zip(("source", "target", "owner"), arrays, strict=True))).to(self.device)

    def loss(self, batch: Batch) -> tuple[Any, dict[str, float]]:
        """Return the summed negative log-likelihood in nats, and the share of hidden tokens that are the likeliest."""
        from models.training.forward import gather_logprobs

        logits = masked_logits(self.model, batch)
        right = float((logits.detach().argmax(-1) == batch.target).float().mean()) if len(batch.target) else 0.0
        return -gather_logprobs(logits, batch.target).sum(), {"mean_token_accuracy": right}

    def evaluate(self) -> dict[str, float]:
        """Return ``eval_loss`` (nats per hidden token) and its accuracy; the same tokens are hidden every time."""
        import torch

        total, right, count = 0.0, 0.0, 0
        self.model.eval()
        for start in range(0, len(self.held_out), EVAL_ROWS):
            rows = [[(start + at, document)] for at, document in enumerate(self.held_out[start : start + EVAL_ROWS])]
            with torch.no_grad():
                batch = self._batch(rows, -1 % 2**32)
                loss, metrics = self.loss(batch)
            total, count = total + float(loss), count + len(batch.target)
            right += metrics["mean_token_accuracy"] * len(batch.target)
        if not count:
            return {}
        return {"eval_loss": total / count, "eval_mean_token_accuracy": right / count,
                "eval_perplexity": math.exp(min(total / count, 700.0))}  # fmt: skip


def masked_logits(model: Any, batch: Batch) -> Tensor:
    """Return the logits of the batch's targets, ``(targets, vocab)``, in fp32; documents of one row do not see each other."""
    if model not in _PACKED:
        _PACKED[model], _HEADS[model] = _try_out(model)
    states = (_packed if _PACKED[model] else _alone)(model, batch)
    states = states.reshape(-1, states.shape[-1])[batch.source]
    head = getattr(model, _HEADS[model])
    return head(states).float()  # type: ignore[no-any-return]


def _packed(model: Any, batch: Batch) -> Tensor:
    import torch

    device = batch.input_ids.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
    same = batch.document[:, :, None] == batch.document[:, None, :]  # (rows, time, time)
    bias = torch.zeros(same.shape, dtype=dtype, device=same.device).masked_fill_(~same, torch.finfo(dtype).min)[:, None]
    states: Tensor = model.base_model(input_ids=batch.input_ids, attention_mask=bias, position_ids=batch.position_ids)[0]
    return states


def _alone(model: Any, batch: Batch) -> Tensor:
    from models.training.forward import run_alone

    return run_alone(model, batch)


def _try_out(model: Any) -> tuple[bool, str]:
    """Return whether documents may share a row, and which part of the model makes logits of its states.

    Raises:
        UserError: If none of the known parts does.
    """
    import torch

    from models.errors import UserError
    from models.training.forward import ALIKE, probe
    from models.words import _

    was_training = model.training
    model.eval()
    batch = probe(model)
    real = (batch.document >= 0).flatten()
    with torch.no_grad():
        alone = _alone(model, batch).reshape(len(real), -1)[real]
        try:
            packed = _packed(model, batch).reshape(len(real), -1)[real]
            alike = bool((packed - alone).abs().max() <= ALIKE * alone.abs().max())
        except (ValueError, TypeError, RuntimeError, IndexError, AttributeError):
            alike = False  # its attention takes no such mask
        ids = batch.input_ids[:1, :8]
        whole, states = model(input_ids=ids).logits, model.base_model(input_ids=ids)[0]
        heads = [name for name in HEADS if callable(getattr(model, name, None))]
        fits = [name for name in heads if torch.allclose(getattr(model, name)(states), whole, atol=1e-4, rtol=1e-3)]
    model.train(was_training)
    if not fits:
        raise UserError(
            "training.family",
            _("Models of the family {family!r} cannot be trained here: their logits are made in a way of their own.").format(
                family=model.config.model_type
            ),
            _("Choose another model."),
        )
    return alike, fits[0]
