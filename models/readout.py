"""Logits of chosen positions only: the body of a model once, its head on the rows that are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from models.opened import OpenModel
from models.running import cache_of, forward_of

_CHUNK_VALUES = 24_000_000
"""Logits that are made at a time (96 MB in float32)."""
_proven: WeakKeyDictionary[Any, Callable[[Any], Any] | None] = WeakKeyDictionary()


@dataclass
class Output:
    """What one forward left: hidden rows with the function that makes logits of them, or the logits themselves."""

    states: Any
    readout: Callable[[Any], Any] | None
    cache: Any = None

    def scores(self, rows: Any, positions: Any, targets: Any) -> tuple[Any, Any]:
        """Return (ln p of the targets, whether each is the most probable), on the processor.

        Args:
            rows: (n,) rows of the batch.
            positions: (n,) positions in the batch whose next token is scored.
            targets: (n,) token ids.

        Returns:
            (n,) float64 and (n,) bool.
        """
        import torch

        picked = self.states[rows, positions]
        n_vocab = int(self._logits(picked[:1]).shape[-1]) if len(picked) else 1
        size = max(1, _CHUNK_VALUES // n_vocab)
        logs, best = [], []
        with torch.inference_mode():
            for start in range(0, len(picked), size):
                logits = self._logits(picked[start : start + size])
                wanted = targets[start : start + size]
                top = logits.max(-1)
                # ln p = (x − max) − ln Σ exp(x − max), in place: a second matrix of logits would double the memory
                own = logits.gather(1, wanted[:, None])[:, 0] - top.values
                total = logits.sub_(top.values[:, None]).exp_().sum(-1)
                logs.append((own - total.log()).cpu().double())
                best.append((top.indices == wanted).cpu())
        if not logs:
            return torch.zeros(0, dtype=torch.float64), torch.zeros(0, dtype=torch.bool)
        return torch.cat(logs), torch.cat(best)

    def logits(self, rows: Any, positions: Any) -> Any:
        """Return float32 logits (n, vocab) after the chosen positions."""
        return self._logits(self.states[rows, positions])

    def _logits(self, picked: Any) -> Any:
        import torch

        with torch.inference_mode():
            logits = picked if self.readout is None else self.readout(picked)
            return logits.to(torch.float32, copy=self.readout is None)


def forward(opened: OpenModel, inputs: Mapping[str, Any], keep_cache: bool = False) -> Output:
    """Run a batch.

    Args:
        opened: A decoder or encoder-decoder.
        inputs: Tensors by parameter name (``input_ids``, ``attention_mask``, ``position_ids``, a cache by its ``cache_name``, …).
        keep_cache: Whether the key-value cache is kept.
    """
    import torch

    from models.trace import accepts

    readout = proven(opened)
    model = opened.model if readout is None else body(opened)
    options: dict[str, Any] = {"use_cache": keep_cache} if accepts(opened.model, "use_cache") else {}
    given = {name: value for name, value in inputs.items() if name != "position_ids" or accepts(opened.model, name)}
    with torch.inference_mode(), forward_of(opened):
        outputs = model(**given, **options, return_dict=True)
    states = outputs.logits if readout is None else outputs.last_hidden_state
    return Output(states, readout, cache_of(outputs))


def left_padded(rows: Sequence[Sequence[int]], device: str) -> dict[str, Any]:
    """Return ``input_ids``, and mask and position ids if the rows differ in length, padded on the left."""
    import torch

    width = max(len(row) for row in rows)
    batch = torch.tensor([[0] * (width - len(row)) + list(row) for row in rows], device=device)
    if all(len(row) == width for row in rows):
        return {"input_ids": batch}
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    return {"input_ids": batch, "attention_mask": mask, "position_ids": (mask.cumsum(-1) - 1).clamp(min=0)}


def body(opened: OpenModel) -> Any:
    """Return the model without its head."""
    return opened.model.base_model


def proven(opened: OpenModel) -> Callable[[Any], Any] | None:
    """Return the function from the body's last hidden rows to logits, if it reproduces the model's own; else None."""
    if opened.model not in _proven:
        _proven[opened.model] = _prove(opened)
    return _proven[opened.model]


def _prove(opened: OpenModel) -> Callable[[Any], Any] | None:
    import torch

    from models.trace import prove_readout

    inner = body(opened)
    if opened.kind != "decoder" or inner is opened.model or opened.model.get_output_embeddings() is None:
        return None
    rows = int(opened.model.get_input_embeddings().weight.shape[0])
    ids = torch.tensor([[1 % rows, 5 % rows, 3 % rows]], device=opened.device)
    with torch.inference_mode():
        whole = opened.model(input_ids=ids, return_dict=True)
        try:
            states = inner(input_ids=ids, return_dict=True).last_hidden_state
        except (AttributeError, TypeError):
            return None
    return prove_readout(opened, states[0], whole.logits[0])
