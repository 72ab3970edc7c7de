"""Sampling many answers at once from a model in training: left padding, one cache, finished rows dropped."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.events import Progress, Work
from models.running import cache_name
from models.words import _

if TYPE_CHECKING:
    from torch import Tensor

COMPACT_BELOW = 0.7  # share of unfinished rows below which the others are dropped


@dataclass(frozen=True)
class Answer:
    """Sampled token ids, the end token included if it came."""

    ids: tuple[int, ...]
    ended: bool


class _Cache:
    """Keys and values of all layers in memory set aside once; what a Llama-style attention asks of a cache."""

    def __init__(self, total: int) -> None:
        self.total, self.length = total, 0
        self.keys: dict[int, Tensor] = {}
        self.values: dict[int, Tensor] = {}

    def update(self, key: Tensor, value: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Store new keys and values, ``(rows, heads, new, size)``; return all so far."""
        if layer_idx not in self.keys:
            shape = (*key.shape[:2], self.total, key.shape[3])
            self.keys[layer_idx], self.values[layer_idx] = key.new_empty(shape), value.new_empty(shape)
        end = self.length + key.shape[2]
        self.keys[layer_idx][:, :, self.length : end] = key
        self.values[layer_idx][:, :, self.length : end] = value
        return self.keys[layer_idx][:, :, :end], self.values[layer_idx][:, :, :end]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return how many positions are stored."""
        return self.length

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but these."""
        self.keys = {layer: value[rows] for layer, value in self.keys.items()}
        self.values = {layer: value[rows] for layer, value in self.values.items()}


def choose(logits: Tensor, generator: Any, temperature: float = 1.0, top_p: float = 1.0) -> Tensor:
    """Draw a token of each row: ``(rows, vocab)`` to ``(rows,)``; temperature 0 takes the likeliest."""
    import torch

    if temperature == 0:
        return logits.argmax(-1)
    probabilities = (logits.float() if temperature == 1 else logits.float() / temperature).softmax(-1)
    if top_p < 1:
        ordered, index = probabilities.sort(-1, descending=True)
        ordered[ordered.cumsum(-1) - ordered > top_p] = 0.0
        probabilities = torch.zeros_like(probabilities).scatter(-1, index, ordered)
    # The largest p / exponential is a draw from p (the exponential race), and faster than multinomial.
    noise = torch.empty_like(probabilities).exponential_(generator=generator)
    return probabilities.div_(noise).argmax(-1)


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn; ``temperature`` 0 is greedy, ``bf16`` draws from a copy of the weights in that type."""

    max_new_tokens: int = 48
    temperature: float = 1.0
    top_p: float = 1.0
    batch_size: int = 128
    bf16: bool = False


def sample_answers(
    model: Any, prompts: Sequence[Sequence[int]], end: int, sampling: Sampling, seed: Sequence[int]
) -> Work[list[Answer]]:
    """Draw an answer to each prompt (token ids), in the given order; same seed, same answers."""
    import numpy as np
    import torch

    if sampling.bf16:
        model = copy.deepcopy(model).bfloat16()  # half the time of fp32, and of autocast, on a processor that has bf16
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(int(np.random.SeedSequence(list(seed)).generate_state(1)[0]))
    order = sorted(range(len(prompts)), key=lambda at: len(prompts[at]))
    answers: dict[int, Answer] = {}
    training = model.training
    model.eval()
    for start in range(0, len(order), sampling.batch_size):
        chosen = order[start : start + sampling.batch_size]
        drawn = yield from _sample_batch(model, [prompts[at] for at in chosen], end, sampling, generator)
        answers.update(zip(chosen, drawn, strict=True))
        yield Progress(len(answers), len(order), _("answers"))
    model.train(training)
    return [answers[at] for at in range(len(prompts))]


def _sample_batch(
    model: Any, prompts: Sequence[Sequence[int]], end: int, sampling: Sampling, generator: Any
) -> Work[list[Answer]]:
    """Draw answers to one batch of prompts, a token a step."""
    import torch

    with torch.no_grad():
        state = _Rows(model, prompts, end, sampling)
        logits = state.read_prompts()
    for step in range(sampling.max_new_tokens):
        with torch.no_grad():
            more = state.add(choose(logits, generator, sampling.temperature, sampling.top_p))
            if not more or step == sampling.max_new_tokens - 1:
                break
            logits = state.next_logits()
        if step % 16 == 15:
            yield Progress(step, sampling.max_new_tokens, _("tokens"))
    return state.answers()


class _Rows:
    """The unfinished rows of one batch."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], end: int, sampling: Sampling) -> None:
        import torch

        self.model, self.prompts, self.end = model, prompts, end
        self.device = next(model.parameters()).device
        self.dtype = next(model.parameters()).dtype
        longest = max(len(ids) for ids in prompts)
        self.total = longest + sampling.max_new_tokens
        self.longest = longest
        self.rows = torch.arange(len(prompts), device=self.device)
        lengths = torch.tensor([len(ids) for ids in prompts], device=self.device)
        self.positions = lengths - 1
        self.cache = _Cache(self.total)
        columns = torch.arange(self.total, device=self.device)
        hidden_key = columns[None] < (longest - lengths)[:, None]  # (rows, total): left padding
        low = torch.finfo(self.dtype).min
        self.key_bias = torch.zeros(hidden_key.shape, dtype=self.dtype, device=self.device).masked_fill_(hidden_key, low)
        self.drawn: list[list[int]] = [[] for _ in prompts]
        self.latest = self.positions

    def read_prompts(self) -> Tensor:
        """Run the prompts; return the logits of the first answer tokens, ``(rows, vocab)``."""
        import torch

        ids = torch.full((len(self.prompts), self.longest), self.end, device=self.device)
        for at, prompt in enumerate(self.prompts):
            ids[at, self.longest - len(prompt) :] = torch.tensor(list(prompt), device=self.device)
        time = self.longest
        starts = (self.longest - 1 - self.positions)[:, None]
        positions = (torch.arange(time, device=self.device)[None] - starts).clamp_min(0)
        low = torch.finfo(self.dtype).min
        future = torch.full((time, time), low, dtype=self.dtype, device=self.device).triu(1)
        bias = torch.minimum(self.key_bias[:, None, None, :time], future[None, None])  # (rows, 1, time, time)
        return self._forward(ids, bias, positions)

    def next_logits(self) -> Tensor:
        """Run the newest tokens; return the logits of the next ones, ``(rows, vocab)``."""
        bias = self.key_bias[:, None, None, : self.cache.length + 1]
        return self._forward(self.latest[:, None], bias, self.positions[:, None])

    def _forward(self, ids: Tensor, bias: Tensor, positions: Tensor) -> Tensor:
        body = self.model.base_model
        given = {"input_ids": ids, "attention_mask": bias, "position_ids": positions, cache_name(body): self.cache}
        output = body(**given, use_cache=True)
        self.cache.length += ids.shape[1]
        logits: Tensor = self.model.get_output_embeddings()(output.last_hidden_state[:, -1])
        return logits

    def add(self, tokens: Tensor) -> bool:
        """Take the drawn tokens, ``(rows,)``; returns whether any row is unfinished."""
        for row, token in zip(self.rows.tolist(), tokens.tolist(), strict=True):
            if not self.drawn[row] or self.drawn[row][-1] != self.end:
                self.drawn[row].append(token)
        self.latest = tokens
        self.positions = self.positions + 1
        unfinished = [at for at, row in enumerate(self.rows.tolist()) if self.drawn[row][-1] != self.end]
        if len(unfinished) < COMPACT_BELOW * len(self.rows):
            self._keep(unfinished)
        return bool(unfinished)

    def _keep(self, unfinished: list[int]) -> None:
        import torch

        kept = torch.tensor(unfinished, dtype=torch.long, device=self.device)
        self.rows, self.latest, self.positions = self.rows[kept], self.latest[kept], self.positions[kept]
        self.key_bias = self.key_bias[kept]
        self.cache.keep(kept)

    def answers(self) -> list[Answer]:
        """Return what was drawn for each prompt."""
        return [Answer(tuple(ids), bool(ids) and ids[-1] == self.end) for ids in self.drawn]
