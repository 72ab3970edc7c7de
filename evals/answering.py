"""Compute the answers that a store does not have, in fixed batches, each kept as soon as it is there.

Requests are sorted by length and cut into batches in a way that does not depend on which are known already, and a batch is
kept in one write. So a run that was killed goes on with the same batches, and its numbers come out the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from evals import pseudo
from evals.store import Request, ResponseStore, number
from models.columns import Sampler
from models.events import Event, Partial, Progress, Work
from models.opened import OpenModel
from models.words import _

TOKENS_PER_BATCH = 4096
ANSWERS_PER_BATCH = 64
SMALL = 30_000_000
"""Parameters below which a model is small: four times as much goes into a batch."""
Batch: TypeAlias = dict[str, Request]


def answer(opened: OpenModel, requests: Mapping[str, Request], store: ResponseStore, batch_size: int = 0) -> Work[int]:
    """Answer what is missing and keep it.

    Args:
        opened: The checkpoint.
        requests: Key → request, of one kind, known ones included.
        store: Where answers are kept.
        batch_size: Requests per batch; 0 chooses by length.

    Returns:
        How many answers were computed.
    """
    total, done, computed = len(requests), sum(key in store for key in requests), 0
    yield Progress(done, total, _("answering"))
    for batch in batches(requests, opened, batch_size):
        missing = {key: request for key, request in batch.items() if key not in store}
        if not missing:
            continue
        values = yield from _counted(_compute(opened, list(missing.values()), batch_size), done, total)
        store.put(dict(zip(missing, values, strict=True)))
        done, computed = done + len(missing), computed + len(missing)
        yield Progress(done, total, _("answering"))
    return computed


def batches(requests: Mapping[str, Request], opened: OpenModel, batch_size: int = 0) -> Iterator[Batch]:
    """Yield the requests longest first, same contexts together, by count or by tokens."""
    size = sum(p.numel() for p in opened.model.parameters())
    scale = 4 if size < SMALL else 1
    order = sorted(requests.items(), key=lambda row: _sort_key(row[1]))
    batch: Batch = {}
    n_tokens = 0
    last: tuple[int, ...] | None = None
    for key, request in order:
        n = len(request.context) + len(request.continuation)
        limit = batch_size or (ANSWERS_PER_BATCH * scale if request.kind == "generate" else 0)
        full = len(batch) >= limit if limit else n_tokens + n > TOKENS_PER_BATCH * scale
        together = request.kind == "score" and request.context == last
        if batch and full and not together:
            yield batch
            batch, n_tokens = {}, 0
        batch[key] = request
        n_tokens += n
        last = request.context
    if batch:
        yield batch


def _sort_key(request: Request) -> tuple[Any, ...]:
    n = len(request.context) + (len(request.continuation) if request.kind == "rolling" else 0)
    return (request.kind, repr(request.decoding), -n, request.context, request.repeat, request.continuation)


def _counted(work: Work[Any], done: int, total: int) -> Work[Any]:
    """Forward events, progress inside a batch counted on top of what was done before."""
    inside: Generator[Event, None, Any] = work
    while True:
        try:
            event = next(inside)
        except StopIteration as end:
            return end.value
        if isinstance(event, Progress):
            share = event.done / event.total if event.total else 0.0
            yield Progress(done + min(share, 1.0), total, _("answering"))
        elif not isinstance(event, Partial):
            yield event


def _compute(opened: OpenModel, requests: Sequence[Request], batch_size: int) -> Work[list[Any]]:
    return (yield from KINDS[requests[0].kind](opened, requests, batch_size))


def _score(opened: OpenModel, requests: Sequence[Request], batch_size: int) -> Work[list[Any]]:
    from models.scoring import score

    pairs = [(request.context, request.continuation) for request in requests]
    found = yield from score(opened, pairs, batch_size)
    return [[number(value), bool(greedy)] for value, greedy in found]


def _rolling(opened: OpenModel, requests: Sequence[Request], batch_size: int) -> Work[list[Any]]:
    from models.scoring import rolling

    texts = [request.continuation for request in requests]
    found = yield from rolling(opened, texts, batch_size, prefix=requests[0].context[0])
    return [number(value) for value in found]


def _generate(opened: OpenModel, requests: Sequence[Request], batch_size: int) -> Work[list[Any]]:
    from models.scoring import generate_many

    found: list[Any] = []
    settings = dict(requests[0].decoding)
    same = [request for request in requests if request.decoding == requests[0].decoding]
    sampler = Sampler(
        temperature=settings["temperature"],
        top_k=settings["top_k"],
        top_p=settings["top_p"],
        max_new_tokens=settings["max_new_tokens"],
        seed=requests[0].seed,
        chain=settings.get("chain", ""),
    )
    prompts = [request.context for request in same]
    seeds = [request.seed + 1_000_003 * request.repeat for request in same]
    answers = yield from generate_many(
        opened, prompts, sampler, until=settings["until"], batch_size=batch_size or len(same), seeds=seeds
    )
    found += [
        {"text": _written(opened, one), "stop": one.stop, "logprob": number(one.logprob), "n_tokens": len(one.token_ids)}
        for one in answers
    ]
    if len(same) < len(requests):
        found += yield from _generate(opened, requests[len(same) :], batch_size)
    return found


def _written(opened: OpenModel, answer: Any) -> str:
    """Return an answer's text as lm-eval reads it: a character that is not whole stays a mark, nothing after the text of EOS."""
    if answer.stop == "until":
        return str(answer.text)
    text = str(opened.tokenizer.decode(list(answer.token_ids), skip_special_tokens=True))
    end = opened.tokenizer.eos_token
    return text.split(end)[0] if end else text


KINDS: dict[str, Callable[[OpenModel, Sequence[Request], int], Work[list[Any]]]] = {
    "score": _score,
    "rolling": _rolling,
    "generate": _generate,
    "pseudo": pseudo.answer,
}
