"""A batch that is fed token by token: prompts of one length are read together, and the cache of all grows in place."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from models.opened import OpenModel
from models.prompts import start_id
from models.readout import left_padded
from models.running import cache_name, cache_of, forward_of, is_plain, keeps_keys
from models.trace import accepts

Reading: TypeAlias = Generator[list[Any], None, tuple["State", Any]]
_FORWARD = {"cpu": 24}
_FORWARD_ELSEWHERE = 1024
"""Tokens that could be read in the time that one more forward costs by itself (weights once through, calls of kernels)."""
_ROOM = 64
"""Positions that a cache grows by at least."""


@dataclass
class State:
    """A batch that is fed token by token: what the next forward of a batch is given besides its new tokens."""

    opened: OpenModel
    inputs: dict[str, Any]
    mask: Any
    cache: Any = None

    def step(self, ids: Any) -> Any:
        """Feed (rows, n) new ids and return float32 logits (rows, vocab) after the last."""
        import torch

        model = self.opened.model
        options: dict[str, Any] = {"use_cache": True} if accepts(model, "use_cache") else {}
        if accepts(model, "logits_to_keep"):
            options["logits_to_keep"] = 1
        if self.cache is not None:
            options[cache_name(model)] = self.cache
        with torch.inference_mode(), forward_of(self.opened):
            outputs = model(**self._given(ids), **options, return_dict=True)
        self.cache = cache_of(outputs)
        return outputs.logits[:, -1].float()

    def _given(self, ids: Any) -> dict[str, Any]:
        import torch

        if self.opened.kind == "encoder-decoder":
            return {**self.inputs, "decoder_input_ids": ids}
        if self.cache is None:
            return self.inputs
        given: dict[str, Any] = {"input_ids": ids}
        if self.mask is not None:
            self.mask = torch.cat([self.mask, torch.ones_like(ids)], dim=1)
            given["attention_mask"] = self.mask
            if accepts(self.opened.model, "position_ids"):
                given["position_ids"] = self.mask.sum(-1, keepdim=True) - 1
        return given

    @property
    def can_keep(self) -> bool:
        """Whether rows can be chosen from its cache (recurrent families have none that can)."""
        return keeps_keys(self.cache)

    def keep(self, rows: Any) -> None:
        """Leave only these rows in the batch."""
        self.cache.batch_select_indices(rows)
        if self.mask is not None:
            self.mask = self.mask[rows]
        if self.opened.kind == "encoder-decoder":
            self.inputs["attention_mask"] = self.inputs["attention_mask"][rows]
            encoded = self.inputs["encoder_outputs"]
            encoded["last_hidden_state"] = encoded["last_hidden_state"][rows]


def begin(opened: OpenModel, prompts: Sequence[Sequence[int]], prefix: Sequence[int] = ()) -> tuple[State, Any]:
    """Return the state before the first step of a batch, and the ids (rows, n) of the first step."""
    import torch

    if opened.kind != "encoder-decoder":
        inputs = left_padded(prompts, opened.device)
        if not accepts(opened.model, "position_ids"):
            inputs.pop("position_ids", None)
        return State(opened, inputs, inputs.get("attention_mask")), inputs["input_ids"]
    width = max(len(prompt) for prompt in prompts)
    batch = torch.tensor([[*prompt] + [0] * (width - len(prompt)) for prompt in prompts], device=opened.device)
    mask = torch.tensor([[1] * len(p) + [0] * (width - len(p)) for p in prompts], device=opened.device)
    with torch.inference_mode(), forward_of(opened):
        encoded = opened.model.get_encoder()(input_ids=batch, attention_mask=mask, return_dict=True)
    first = torch.tensor([[start_id(opened), *prefix]] * len(prompts), device=opened.device)
    return State(opened, {"encoder_outputs": encoded, "attention_mask": mask}, None), first


def started(opened: OpenModel, prompts: Sequence[Sequence[int]], prefix: Sequence[int] = ()) -> Reading:
    """Read the prompts; yields empty lists between forwards and returns (state, float32 logits (rows, vocab)).

    Prompts of different lengths are read in groups, so that little padding is: transformers' generate reads all of them as
    long as the longest. Their caches are then one, padded on the left as a batch is that was read at once.
    """
    groups = lengths_apart([len(prompt) for prompt in prompts], _FORWARD.get(opened.device.split(":")[0], _FORWARD_ELSEWHERE))
    if opened.kind == "encoder-decoder" or len(groups) == 1:
        return _read(opened, prompts, prefix)
    read: list[tuple[State, Any]] = []
    for group in groups:
        read.append(_read(opened, [prompts[row] for row in group]))
        if not is_plain(read[0][0].cache):  # it slides, or keeps a state: what is padded cannot be put in afterwards
            return _read(opened, prompts)
        yield []
    return _joined(opened, prompts, groups, read)


def _read(opened: OpenModel, prompts: Sequence[Sequence[int]], prefix: Sequence[int] = ()) -> tuple[State, Any]:
    state, ids = begin(opened, prompts, prefix)
    logits = state.step(ids)
    if is_plain(state.cache):
        grow(state.cache)
    return state, logits


def lengths_apart(lengths: Sequence[int], forward: int) -> list[list[int]]:
    """Return the rows in groups of which each is read in one forward, at the least cost together.

    Args:
        lengths: Tokens of each row.
        forward: What a forward costs by itself, in tokens. A group costs that, and its longest row for each of its rows.
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    best: list[tuple[int, int]] = [(0, 0)]  # of the first n rows: the least cost, and where their last group begins
    for end in range(1, len(order) + 1):
        best.append(min((best[b][0] + forward + (end - b) * lengths[order[b]], b) for b in range(end)))
    groups, end = [], len(order)
    while end:
        begins = best[end][1]
        groups.append(order[begins:end])
        end = begins
    return groups[::-1]


def _joined(
    opened: OpenModel, prompts: Sequence[Sequence[int]], groups: list[list[int]], read: list[tuple[State, Any]]
) -> tuple[State, Any]:
    """Return one state and its logits of groups that were read one by one, the rows in the order of the prompts."""
    import torch

    width = max(len(prompt) for prompt in prompts)
    order = torch.tensor([row for group in groups for row in group], device=opened.device).argsort()
    inputs = left_padded(prompts, opened.device)
    with torch.inference_mode():
        cache = read[0][0].cache
        for number, layer in enumerate(cache.layers):
            others = [state.cache.layers[number] for state, _logits in read]
            layer.keys = torch.cat([_padded(other.keys, width) for other in others])[order]
            layer.values = torch.cat([_padded(other.values, width) for other in others])[order]
            for other in others[1:]:
                other.reset()
        logits = torch.cat([logits for _state, logits in read])[order]
    return State(opened, inputs, inputs["attention_mask"], cache), logits


def _padded(kept: Any, width: int) -> Any:
    """Return (rows, heads, width, size) with zeros on the left; what stands there is masked."""
    import torch

    return torch.nn.functional.pad(kept, (0, 0, width - kept.shape[2], 0))


def grow(cache: Any) -> None:
    """Let the layers of a plain cache write into room that they hold, where transformers copies all of it for each token."""
    for layer in cache.layers:
        layer.update = _Room(layer).update


class _Room:
    """Keys and values of a layer with free positions behind them."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        self._held: dict[str, Any] = {}

    def update(self, keys: Any, values: Any, *_given: Any, **_named: Any) -> tuple[Any, Any]:
        """Put new keys and values (rows, heads, n, size) behind the old and return all; in place of ``DynamicLayer.update``."""
        layer = self._layer
        layer.keys, layer.values = self._put("keys", layer.keys, keys), self._put("values", layer.values, values)
        return layer.keys, layer.values

    def _put(self, name: str, old: Any, new: Any) -> Any:
        n_old, n_all = old.shape[2], old.shape[2] + new.shape[2]
        held: Any = self._held.get(name)
        ours = held is not None and held.data_ptr() == old.data_ptr() and held.shape[0] == old.shape[0]  # rows may have gone
        if not ours or held.shape[2] < n_all:
            held = old.new_empty((*old.shape[:2], n_all + max(_ROOM, n_all // 4), old.shape[3]))
            held[:, :, :n_old] = old
            self._held[name] = held
        held[:, :, n_old:n_all] = new
        return held[:, :, :n_all]
