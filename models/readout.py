"""Logits of chosen positions only: the body of a model once, its head on the rows that are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from models.opened import OpenModel
from models.running import cache_of, forward_of

_CHUNK_VALUES = 24_000_000
"""Logits that are made at a time (96 MB in float32): with few rows a product is slow."""
_CACHED_VALUES = 800_000
"""Logits whose softmax is taken at a time on a processor: each pass over them finds them in its cache."""
Readout: TypeAlias = Callable[[Any], Any] | None
_proven: WeakKeyDictionary[Any, tuple[Readout, int]] = WeakKeyDictionary()


@dataclass
class Output:
    """What one forward left: hidden rows with the function that makes logits of them, or the logits themselves."""

    states: Any
    readout: Callable[[Any], Any] | None
    n_vocab: int
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
        size = self._rows(_CHUNK_VALUES)
        logs, best = [torch.zeros(0, dtype=torch.float64)], [torch.zeros(0, dtype=torch.bool)]
        for start in range(0, len(picked), size):
            logits, wanted = self._made(picked[start : start + size]), targets[start : start + size]
            step = self._rows(_CACHED_VALUES) if logits.device.type == "cpu" else size
            for at in range(0, len(logits), step):
                log, top = self._scores(logits[at : at + step], wanted[at : at + step])
                logs.append(log.cpu().double())
                best.append(top.cpu())
        return torch.cat(logs), torch.cat(best)

    def logits(self, rows: Any, positions: Any) -> Any:
        """Return float32 logits (n, vocab) after the chosen positions."""
        return self._made(self.states[rows, positions]).float()

    def _scores(self, logits: Any, targets: Any) -> tuple[Any, Any]:
        """Return float32 (ln p of the targets, whether each is the most probable, the first of those that tie).

        torch's own log-softmax, as lm-eval takes it: its sum over a vocabulary of 49,152 is 5e-6 too small on a processor,
        which adds up over a text. A number that is to be compared with published ones must be the same number.
        """
        import torch

        with torch.inference_mode():
            logs = torch.log_softmax(logits, -1, dtype=torch.float32)
            own = logs.gather(1, targets[:, None])[:, 0]
            best = own == logs.amax(-1)
            first = best.nonzero()[:, 0]
            best[first] = logs[first].argmax(-1) == targets[first]
            return own, best

    def _rows(self, n_values: int) -> int:
        """Return of how many rows there may be logits at a time."""
        return max(1, n_values // self.n_vocab)

    def _made(self, picked: Any) -> Any:
        """Return logits in the dtype in which the model makes them."""
        import torch

        with torch.inference_mode():
            return picked if self.readout is None else self.readout(picked)


def forward(opened: OpenModel, inputs: Mapping[str, Any], keep_cache: bool = False) -> Output:
    """Run a batch.

    Args:
        opened: A decoder or encoder-decoder.
        inputs: Tensors by parameter name (``input_ids``, ``attention_mask``, ``position_ids``, a cache by its ``cache_name``, …).
        keep_cache: Whether the key-value cache is kept.
    """
    import torch

    from models.trace import accepts

    readout, n_vocab = proven(opened)
    model = opened.model if readout is None else body(opened)
    options: dict[str, Any] = {"use_cache": keep_cache} if accepts(opened.model, "use_cache") else {}
    given = {name: value for name, value in inputs.items() if name != "position_ids" or accepts(opened.model, name)}
    with torch.inference_mode(), forward_of(opened):
        outputs = model(**given, **options, return_dict=True)
    states = outputs.logits if readout is None else outputs.last_hidden_state
    return Output(states, readout, n_vocab or int(states.shape[-1]), cache_of(outputs))


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


def proven(opened: OpenModel) -> tuple[Readout, int]:
    """Return the function from the body's last hidden rows to logits that reproduces the model's own, and the vocabulary's size.

    Where none does it is None, and the size 0.
    """
    if opened.model not in _proven:
        _proven[opened.model] = _prove(opened)
    return _proven[opened.model]


def _prove(opened: OpenModel) -> tuple[Readout, int]:
    import torch

    from models.trace import prove_readout

    inner = body(opened)
    if opened.kind != "decoder" or inner is opened.model or opened.model.get_output_embeddings() is None:
        return None, 0
    rows = int(opened.model.get_input_embeddings().weight.shape[0])
    ids = torch.tensor([[1 % rows, 5 % rows, 3 % rows]], device=opened.device)
    with torch.inference_mode():
        whole = opened.model(input_ids=ids, return_dict=True)
        try:
            states = inner(input_ids=ids, return_dict=True).last_hidden_state
        except (AttributeError, TypeError):
            return None, 0
    readout = prove_readout(opened, states[0], whole.logits[0])
    return readout, 0 if readout is None else int(whole.logits.shape[-1])
