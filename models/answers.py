"""Answers of many prompts in batches, for evaluation: greedy or sampled, the same at any batch size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.batched import started
from models.chain import is_greedy
from models.columns import Sampler
from models.errors import UserError
from models.events import Note, Partial, Progress, Work
from models.generation import answer_text, refuse_unless_generating, start
from models.opened import OpenModel
from models.prompts import eos_ids, start_id
from models.sampling import check_sampler, draw, sampled, sees_before
from models.trace import check_ids, context_length
from models.words import _

ROWS = 16
"""Prompts that are answered together when the batch size is chosen here."""
PROMPT_TOKENS = 4096
_SPARE = 0.25
"""Finished rows leave the batch when they are at least this share of it."""


@dataclass(frozen=True)
class Answered:
    """One answer. ``stop`` is eos, until, length, limit or nan; ``logprob`` the sum of ln p of its tokens."""

    text: str
    token_ids: tuple[int, ...]
    stop: str
    logprob: float


@dataclass
class _Row:
    index: int
    prompt: list[int]
    generator: Any
    prefix: tuple[int, ...] = ()
    ids: list[int] = field(default_factory=list)
    logprob: float = 0.0
    stop: str = ""
    text: str = ""
    told: bool = False


def generate_many(  # noqa: PLR0913 - all but the first three are named
    opened: OpenModel, prompts: Sequence[Sequence[int]], sampler: Sampler, *, until: Sequence[str] = (),
    batch_size: int = 0, seeds: Sequence[int] = (), prefix: Sequence[int] = (),
) -> Work[list[Answered]]:  # fmt: skip
    """Answer many prompts.

    Args:
        opened: A decoder or encoder-decoder.
        prompts: Token ids of each prompt (source).
        sampler: How to choose; temperature 0 is greedy.
        until: An answer ends before the first of these texts.
        batch_size: Prompts answered together; 0 for at most ``ROWS``.
        seeds: Seed of each prompt; ``sampler.seed`` + index when empty.
        prefix: How every answer of an encoder-decoder begins, without its start token; it is no part of the answers.

    Yields:
        ``Progress`` in prompts and ``Partial((index, Answered))`` for each that is finished.

    Raises:
        UserError: If the model cannot generate, or a prompt or the sampler is not usable.
    """
    import torch

    check_sampler(sampler)
    refuse_unless_generating(opened)
    if seeds and len(seeds) != len(prompts):
        raise ValueError(f"{len(seeds)} seeds for {len(prompts)} prompts")
    fitted, n_cut = _fit(opened, prompts, sampler)
    if n_cut:
        yield Note(_("{n} prompts were longer than the model takes and were cut on the left").format(n=n_cut), "warning")
    chances = [torch.Generator().manual_seed(seeds[n] if seeds else sampler.seed + n) for n in range(len(fitted))]
    rows = [_Row(n, ids, chance, tuple(prefix)) for n, (ids, chance) in enumerate(zip(fitted, chances, strict=True))]
    answers: dict[int, Answered] = {}
    for batch in _batches(rows, batch_size):
        for finished in _answer(opened, batch, sampler, tuple(until)):
            for row in finished:
                answers[row.index] = Answered(row.text, tuple(row.ids), row.stop, row.logprob)
                yield Partial((row.index, answers[row.index]))
            yield Progress(len(answers), len(prompts), _("answering"))
    return [answers[n] for n in range(len(prompts))]


def _fit(opened: OpenModel, prompts: Sequence[Sequence[int]], sampler: Sampler) -> tuple[list[list[int]], int]:
    """Return prompts that leave room for the answer, and how many were cut."""
    most, n_cut, fitted = context_length(opened), 0, []
    room = most - (0 if opened.kind == "encoder-decoder" else sampler.max_new_tokens)
    if most and room < 1:
        raise UserError(
            "generate.room",
            _("The model takes {most} tokens; an answer of {n} leaves no room for a prompt.").format(
                most=most, n=sampler.max_new_tokens
            ),
            _("Ask for fewer tokens (of a benchmark: --gen-kwargs max_gen_toks=…)."),
        )
    for number, prompt in enumerate(prompts):
        ids = list(prompt)
        if not ids:
            raise UserError("text.empty", _("Prompt {n} has no tokens.").format(n=number + 1), _("Start it with BOS."))
        check_ids(opened, ids)
        n_cut += bool(most) and len(ids) > room
        fitted.append(ids[-room:] if most else ids)
    return fitted, n_cut


def _batches(rows: Sequence[_Row], batch_size: int) -> Iterator[list[_Row]]:
    """Cut rows, longest prompts first, so that prompts of one length stand together."""
    batch: list[_Row] = []
    for row in sorted(rows, key=lambda row: -len(row.prompt)):
        longest = len(batch[0].prompt) if batch else 0
        many = len(batch) >= (batch_size or ROWS)
        if batch and (many or (not batch_size and (len(batch) + 1) * longest > PROMPT_TOKENS)):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _answer(opened: OpenModel, rows: list[_Row], sampler: Sampler, until: tuple[str, ...]) -> Iterator[list[_Row]]:
    """Answer one batch; yields the rows that a step finished (often none)."""
    import torch

    state, logits = yield from started(opened, [row.prompt for row in rows], rows[0].prefix)
    padded = len(rows) > 1 and not state.can_keep  # a recurrent state would have read the padding
    if padded or (state.cache is None and sampler.max_new_tokens > 1):
        yield from _one_by_one(opened, rows, sampler, until)
        return
    active = list(rows)
    for step in range(1, sampler.max_new_tokens + 1):
        _choose(opened, active, logits, sampler, until)
        yield [row for row in active if row.stop and not row.told]
        going = [n for n, row in enumerate(active) if not row.stop]
        for row in active:
            row.told = bool(row.stop)
        if not going or step == sampler.max_new_tokens:
            break
        ids = torch.tensor([[row.ids[-1] if row.ids else 0] for row in active], device=opened.device)
        spare = len(active) - len(going)
        if spare >= max(1, int(_SPARE * len(active))) and state.can_keep:
            keep = torch.tensor(going, device=opened.device)
            state.keep(keep)
            ids, active = ids[keep], [active[n] for n in going]
        logits = state.step(ids)
    yield _ended(opened, active)


def _choose(opened: OpenModel, rows: Sequence[_Row], logits: Any, sampler: Sampler, until: tuple[str, ...]) -> None:
    """Choose the next token of every row that still goes on; logits (rows, vocab)."""
    import torch

    ends = eos_ids(opened)
    broken = torch.isnan(logits).any(-1).tolist()
    logs = torch.log_softmax(logits, dim=-1)
    greedy, chained = is_greedy(sampler), bool(sampler.chain)
    before = _before(opened, rows) if sees_before(sampler) else ()
    after = logits if greedy and not chained else sampled(logits, sampler, before)
    best = after.argmax(-1).tolist() if greedy else []
    for n, row in enumerate(rows):
        if row.stop:
            continue
        if broken[n]:
            row.stop, row.text = "nan", answer_text(opened, row.ids)
            continue
        token = best[n] if greedy else draw(after[n], row.generator)
        row.ids.append(token)
        row.logprob += float(logs[n, token])
        if token in ends:
            row.stop, row.text = "eos", answer_text(opened, row.ids)
        elif until:
            _cut(opened, row, until)


def _before(opened: OpenModel, rows: Sequence[_Row]) -> list[list[int]]:
    """Return the ids before each row's next token, as the decoder was fed them."""
    if opened.kind == "encoder-decoder":
        return [[start_id(opened), *row.prefix, *row.ids] for row in rows]
    return [[*row.prompt, *row.ids] for row in rows]


def _cut(opened: OpenModel, row: _Row, until: tuple[str, ...]) -> None:
    """End a row whose text holds one of the texts that end an answer."""
    text = answer_text(opened, row.ids)
    places = [text.find(mark) for mark in until if mark and mark in text]
    if places:
        row.stop, row.text = "until", text[: min(places)]


def _ended(opened: OpenModel, rows: Sequence[_Row]) -> list[_Row]:
    """End the rows that go on, because their length is reached; returns them."""
    ended = [row for row in rows if not row.stop]
    for row in ended:
        row.stop, row.text = "length", answer_text(opened, row.ids)
    return ended


def _one_by_one(opened: OpenModel, rows: Sequence[_Row], sampler: Sampler, until: tuple[str, ...]) -> Iterator[list[_Row]]:
    """Answer rows of a family without a key-value cache, each by itself."""
    for row in rows:
        decoder, feed = start(opened, row.prompt, row.prefix)
        for _step in range(sampler.max_new_tokens):
            _choose(opened, [row], decoder.feed(feed)[None], sampler, until)
            if row.stop:
                break
            feed = [row.ids[-1]]
            yield []
        _ended(opened, [row])
        yield [row]
