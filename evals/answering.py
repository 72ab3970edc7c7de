"""Compute the answers that a store does not have, in fixed batches, each kept as soon as it is there.

Requests are sorted by length and cut into batches in a way that does not depend on which are known already, and a batch is
kept in one write. So a run that was killed goes on with the same batches, and its numbers come out the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from evals import pseudo
from evals.shards import Others
from evals.store import Request, ResponseStore, number
from models.columns import Sampler
from models.events import Event, Note, Partial, Progress, Work
from models.opened import OpenModel
from models.words import _

if TYPE_CHECKING:
    from models.answers import Answered

TOKENS_PER_BATCH, FORWARDS = 4096, 2
"""A batch that is kept at once holds so many tokens, or so many forwards of a GPU."""
ANSWERS_PER_BATCH = 64
SMALL = 30_000_000
"""Parameters below which a model is small: four times as much goes into a batch."""
REPEAT_SEED = 1_000_003
"""Added to the seed for each further answer to one prompt."""
Batch: TypeAlias = dict[str, Request]


def answer(opened: OpenModel, requests: Mapping[str, Request], store: ResponseStore | Others, batch_size: int = 0) -> Work[int]:
    """Answer what is missing and keep it.

    Args:
        opened: The checkpoint.
        requests: Key → request, of one kind, known ones included.
        store: Where answers are kept; that of a share answers only the share's batches.
        batch_size: Requests per batch; 0 chooses by length.

    Returns:
        How many answers were computed.
    """
    shard = store.shard if isinstance(store, Others) else None
    own = [one for place, one in enumerate(batches(requests, opened, batch_size)) if shard is None or shard.holds(place)]
    total, done, computed = sum(map(len, own)), sum(key in store for batch in own for key in batch), 0
    yield Progress(done, total, _("answering"))
    for batch in own:
        missing = {key: request for key, request in batch.items() if key not in store}
        if not missing:
            continue
        values = yield from _counted(_compute(opened, list(missing.values()), batch_size), done, total)
        store.put(dict(zip(missing, values, strict=True)))
        done, computed = done + len(missing), computed + len(missing)
        yield Progress(done, total, _("answering"))
    return computed


def batches(requests: Mapping[str, Request], opened: OpenModel, batch_size: int = 0) -> Iterator[Batch]:
    """Yield the requests longest first, same contexts together, by count or by the tokens that have to be computed.

    A context counts once, and what it begins with like the batch's first one (few-shot examples) not again.
    """
    scale = 4 if is_small(opened) else 1
    most = max(TOKENS_PER_BATCH * scale, FORWARDS * room_tokens(opened))
    order = sorted(requests.items(), key=lambda row: _sort_key(row[1]))
    batch: Batch = {}
    n_tokens = 0
    first: Request | None = None
    last: tuple[int, ...] | None = None
    for key, request in order:
        together = request.kind == "score" and request.context == last
        n = len(request.continuation) + (0 if together else len(request.context) - _shared(first, request))
        limit = batch_size or (ANSWERS_PER_BATCH * scale if request.kind == "generate" else 0)
        full = len(batch) >= limit if limit else n_tokens + n > most
        if batch and full and not together:
            yield batch
            batch, n_tokens, first, n = {}, 0, None, len(request.continuation) + len(request.context)
        batch[key] = request
        first = first or request
        n_tokens += n
        last = request.context
    if batch:
        yield batch


def is_small(opened: OpenModel) -> bool:
    """Return whether a model is so small that more goes into a batch."""
    return bool(sum(p.numel() for p in opened.model.parameters()) < SMALL)


def room_tokens(opened: OpenModel) -> int:
    """Return how many tokens a forward of a GPU holds, 0 of a processor."""
    from models.room import room_of

    return 0 if opened.device == "cpu" else room_of(opened).tokens


def _shared(first: Request | None, request: Request) -> int:
    """Return how many tokens of a context are computed with those of the batch's first one."""
    from models.continuations import LEAST_PREFIX, common

    if first is None or request.kind != "score":
        return 0
    n = common(first.context, request.context)
    return n if n >= LEAST_PREFIX else 0


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
    yield from _told(opened, pairs, [value for value, _greedy in found])
    return [[number(value), bool(greedy)] for value, greedy in found]


def _told(opened: OpenModel, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], values: Sequence[float]) -> Work[None]:
    """Say once what half precision changes in these scores."""
    from models import half

    found = yield from half.measure(opened, pairs, values)
    if found is not None:
        text = _("{dtype} beside float32 on {n} requests: log-likelihoods differ by {mean} nats on average, at most {worst}")
        yield Note(text.format(dtype=found.dtype, n=found.n, mean=f"{found.mean:.3g}", worst=f"{found.worst:.3g}"))


def _rolling(opened: OpenModel, requests: Sequence[Request], batch_size: int) -> Work[list[Any]]:
    from models.scoring import max_length, rolling

    texts = [request.continuation for request in requests]
    found = yield from rolling(opened, texts, batch_size, prefix=requests[0].context[0])
    fitting = [n for n, text in enumerate(texts) if len(text) <= max_length(opened)]
    yield from _told(opened, [(requests[n].context, texts[n]) for n in fitting], [found[n] for n in fitting])
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
    seeds = [request.seed + REPEAT_SEED * request.repeat for request in same]

    def work(left: Sequence[int], size: int) -> Work[list[Answered]]:
        chosen, own = [prompts[n] for n in left], [seeds[n] for n in left]
        return generate_many(opened, chosen, sampler, until=settings["until"], batch_size=size, seeds=own)

    answers = yield from _patiently(work, len(same), batch_size or len(same), opened)
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


def _patiently(
    work: Callable[[Sequence[int], int], Work[list[Answered]]], n: int, batch_size: int, opened: OpenModel
) -> Work[list[Answered]]:
    """Answer n prompts; where memory runs out, those that are not finished in batches of half the size.

    Raises:
        UserError: If memory runs out for a single prompt.
    """
    from models.memory import release
    from models.room import no_room, room_of

    room = room_of(opened)
    done: dict[int, Answered] = {}
    while len(done) < n:
        left = [place for place in range(n) if place not in done]
        size = room.rows(batch_size)
        problem = yield from _until_full(work(left, size), left, done)
        if problem is None:
            continue
        release()
        if min(size, len(left)) == 1:
            raise no_room() from problem
        room.used = 0
        room.halve()
        yield Note(_("memory ran out; {n} prompts at a time from here on").format(n=room.rows(batch_size)), "warning")
    return [done[place] for place in range(n)]


def _until_full(work: Work[list[Answered]], left: Sequence[int], done: dict[int, Answered]) -> Work[BaseException | None]:
    """Forward events and keep what is finished; returns the error if memory ran out."""
    from models.memory import is_out_of_memory

    try:
        while True:
            event = next(work)
            if isinstance(event, Partial):
                place, answered = event.value
                done[left[place]] = answered
            yield event
    except StopIteration:
        return None
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return error.with_traceback(None)


KINDS: dict[str, Callable[[OpenModel, Sequence[Request], int], Work[list[Any]]]] = {
    "score": _score,
    "rolling": _rolling,
    "generate": _generate,
    "pseudo": pseudo.answer,
}
