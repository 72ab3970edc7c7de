"""models.scoring as simply as it can be said: one request at a time, no cache, no batches. Slow and easy to trust."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from models.columns import Sampler
from models.events import Partial, Progress


@dataclass(frozen=True)
class Answered:
    text: str
    token_ids: tuple[int, ...]
    stop: str
    logprob: float


def max_length(opened) -> int:
    return int(getattr(opened.config, "max_position_embeddings", 0) or getattr(opened.config, "n_positions", 0) or 2048)


def prefix_token(opened) -> int:
    bos = opened.tokenizer.bos_token_id
    return int(bos if bos is not None else opened.tokenizer.eos_token_id)


def log_probabilities(opened, ids: Sequence[int]):
    with torch.no_grad():
        logits = opened.model(input_ids=torch.tensor([list(ids)], device=opened.device)).logits[0]
    return torch.log_softmax(logits.float(), dim=-1)


def _pair(opened, context: Sequence[int], continuation: Sequence[int]) -> tuple[float, bool]:
    whole = [*context, *continuation][-(max_length(opened) + 1) :]
    n = len(continuation)
    table = log_probabilities(opened, whole[:-1])[-n:]
    total = sum(float(table[i, token]) for i, token in enumerate(continuation))
    return total, bool((table.argmax(dim=-1).cpu() == torch.tensor(list(continuation))).all())


def score(opened, pairs, batch_size: int = 0):
    found = []
    for index, (context, continuation) in enumerate(pairs):
        found.append(_pair(opened, context, continuation))
        yield Partial((index, found[-1]))
        yield Progress(index + 1, len(pairs))
    return found


def rolling(opened, texts, batch_size: int = 0, *, length: int = 0, context: int = 1, prefix: int | None = None):
    found = []
    size = length or max_length(opened)
    for index, ids in enumerate(texts):
        total = 0.0
        for start in range(0, len(ids), size):
            part = list(ids[start : start + size])
            before = [prefix if prefix is not None else prefix_token(opened)] if start == 0 else list(ids[:start])
            before = before[-(size - len(part) + 1) :]
            total += _pair(opened, before, part)[0]
        found.append(total)
        yield Partial((index, total))
        yield Progress(index + 1, len(texts))
    return found


def generate_many(opened, prompts, sampler: Sampler, *, until=(), batch_size: int = 0, seeds=()):
    found = []
    for index, prompt in enumerate(prompts):
        ids, made, stop, total = list(prompt), [], "length", 0.0
        generator = torch.Generator().manual_seed(seeds[index] if seeds else sampler.seed + index)
        while len(made) < sampler.max_new_tokens:
            table = log_probabilities(opened, ids)[-1].cpu()
            if not math.isfinite(float(table.max())):
                stop = "nan"
                break
            if sampler.temperature > 0:
                token = int(torch.multinomial(torch.softmax(table / sampler.temperature, -1), 1, generator=generator))
            else:
                token = int(table.argmax())
            total += float(table[token])
            if token in opened.eos_ids:
                stop = "eos"
                break
            made.append(token)
            ids.append(token)
        text = opened.tokenizer.decode(made, skip_special_tokens=True)
        cuts = [text.index(mark) for mark in until if mark in text]
        if cuts:
            text, stop = text[: min(cuts)], "until"
        found.append(Answered(text, tuple(made), stop, total))
        yield Partial((index, found[-1]))
        yield Progress(index + 1, len(prompts))
    return found
