"""Ask an open checkpoint and keep every answer at once: its text, token ids, and ln p and entropy of each token.

Answers are kept in the run's ``ResponseStore`` under their response keys, so a killed run computes only what is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evals.answering import REPEAT_SEED, is_small
from evals.store import Identity, Request, ResponseStore, number, response_key, seed_of, unnumber
from models.columns import Column, Sampler
from models.errors import UserError
from models.events import Note, Progress, Work
from models.opened import OpenModel
from models.scoring import max_length
from models.words import _

ROWS, ROWS_OF_SMALL = 32, 256


@dataclass(frozen=True)
class Answer:
    """One answer as it is kept; ``logprobs`` and ``entropies`` of its tokens in nats."""

    text: str
    stop: str
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    entropies: tuple[float, ...]

    @property
    def truncated(self) -> bool:
        """Whether it was cut at its limit."""
        return self.stop in ("length", "limit")

    @property
    def logprob(self) -> float:
        """Sum of ln p of its tokens under the model itself, nats."""
        return float(sum(self.logprobs))


@dataclass
class Asker:
    """An open checkpoint with its store: requests go in, answers come out."""

    opened: OpenModel
    who: Identity
    store: ResponseStore
    seed: int = 0

    def prompt(self, messages: Sequence[Mapping[str, str]]) -> tuple[int, ...]:
        """Return the token ids of messages: by the checkpoint's own template, or plainly where it has none.

        A template that takes no system message gets it at the head of the user's.
        """
        from models import prompts

        column = Column(self.opened.path, prompt="template" if self.opened.chat_template else "plain")
        if not self.opened.chat_template:
            return prompts.prepare(self.opened, column, plain_text(messages), echo=False).ids
        try:
            return prompts.conversation(self.opened, column, messages).ids
        except UserError:
            if messages[0]["role"] != "system" or len(messages) < 2:
                raise
            merged = {"role": messages[1]["role"], "content": f"{messages[0]['content']}\n{messages[1]['content']}"}
            return prompts.conversation(self.opened, column, (merged, *messages[2:])).ids

    def written(self, ids: Sequence[int]) -> str:
        """Return what token ids write, special tokens left out."""
        from models.prompts import written

        return written(self.opened.tokenizer, ids)

    def request(self, ids: Sequence[int], max_new_tokens: int, temperature: float = 0.0, repeat: int = 0) -> Request:
        """Return the request for an answer; a checkpoint that is prompted plainly ends it at a line break.

        Drawn answers to different prompts draw from generators of their own: their luck is not shared.
        """
        until = () if self.opened.chat_template else ("\n",)
        decoding = (("max_new_tokens", max_new_tokens), ("temperature", float(temperature)), ("until", until))
        return Request("answer", tuple(ids), (), decoding, seed_of(self.seed, ids) if temperature else self.seed, repeat)

    def choice(self, ids: Sequence[int], text: str) -> Request:
        """Return the request for ln p of a word after a prompt; where there is no template a blank goes before it."""
        from models.prompts import tokenizer_of
        from models.tokens import encode_plain

        said = text if self.opened.chat_template else f" {text}"
        return Request("score", tuple(ids), tuple(encode_plain(tokenizer_of(self.opened), said, add_special=False)))

    def answer(self, requests: Sequence[Request]) -> Work[int]:
        """Compute and keep what is missing; return how many that was.

        Yields:
            ``Progress`` in requests.
        """
        keyed = {response_key(self.who, request): request for request in requests}
        done, computed = sum(key in self.store for key in keyed), 0
        yield Progress(done, len(keyed), _("answering"))
        n_cut = sum(self._is_long(request) for key, request in keyed.items() if key not in self.store)
        if n_cut:
            yield Note(_("{n} contexts were longer than the model takes and were cut on the left").format(n=n_cut), "warning")
        for batch in _batches(keyed, self._rows()):
            missing = {key: request for key, request in batch.items() if key not in self.store}
            if missing:
                values = yield from _counted(self._compute(list(missing.values())), done, len(keyed), len(missing))
                self.store.put(dict(zip(missing, values, strict=True)))
                done, computed = done + len(missing), computed + len(missing)
                yield Progress(done, len(keyed), _("answering"))
        return computed

    def _is_long(self, request: Request) -> bool:
        """Return whether prompt and answer are longer together than the model takes."""
        after = int(dict(request.decoding).get("max_new_tokens", 0)) or len(request.continuation) - 1
        return self.opened.kind == "decoder" and len(request.context) + after > max_length(self.opened)

    def known(self, request: Request) -> Answer:
        """Return an answer that is kept."""
        value = self.store[response_key(self.who, request)]
        numbers = {name: tuple(map(unnumber, value[name])) for name in ("logprobs", "entropies")}
        return Answer(str(value["text"]), str(value["stop"]), tuple(value["ids"]), **numbers)

    def score(self, request: Request) -> float:
        """Return ln p that is kept."""
        return unnumber(self.store[response_key(self.who, request)][0])

    def _rows(self) -> int:
        return ROWS_OF_SMALL if is_small(self.opened) else ROWS

    def _compute(self, requests: Sequence[Request]) -> Work[list[Any]]:
        return (yield from (_scores if requests[0].kind == "score" else _answers)(self.opened, requests))


def plain_text(messages: Sequence[Mapping[str, str]]) -> str:
    """Return messages as one text for a base model: an answer stands after its question, a blank line after each pair."""
    parts: list[str] = []
    for message in messages:
        if message["role"] == "assistant" and parts:
            parts[-1] += f" {message['content']}\n\n"
        else:
            parts.append(message["content"] + ("\n\n" if message["role"] == "system" else ""))
    return "".join(parts)


def _batches(keyed: Mapping[str, Request], rows: int) -> Iterator[dict[str, Request]]:
    """Yield requests of one kind and one decoding together, longest first, in a way that no stored answer changes."""
    order = sorted(keyed.items(), key=lambda row: (row[1].kind, repr(row[1].decoding), -len(row[1].context), row[1].context,
                                                   row[1].repeat, row[1].continuation))  # fmt: skip
    batch: dict[str, Request] = {}
    last = None
    for key, request in order:
        kind = (request.kind, request.decoding)
        if batch and (len(batch) >= rows or kind != last):
            yield batch
            batch = {}
        batch[key] = request
        last = kind
    if batch:
        yield batch


def _counted(work: Work[list[Any]], done: int, total: int, n: int) -> Work[list[Any]]:
    """Forward progress inside a batch as answers on top of what was done before; what was cut is told once for all batches."""
    while True:
        try:
            event = next(work)
        except StopIteration as end:
            found: list[Any] = end.value
            return found
        if isinstance(event, Progress) and event.total:
            yield Progress(done + 0.9 * n * min(event.done / event.total, 1.0), total, _("answering"))


def _answers(opened: OpenModel, requests: Sequence[Request]) -> Work[list[Any]]:
    from models.answers import generate_many
    from models.confidence import token_scores
    from models.trace import context_length

    settings = dict(requests[0].decoding)
    sampler = Sampler(temperature=settings["temperature"], max_new_tokens=settings["max_new_tokens"], seed=requests[0].seed)
    most = 0 if opened.kind == "encoder-decoder" else context_length(opened)
    room = max(1, most - sampler.max_new_tokens) if most else 0
    prompts = [request.context[-room:] for request in requests]  # what does not fit goes, on the left
    seeds = [request.seed + REPEAT_SEED * request.repeat for request in requests]
    found = yield from generate_many(opened, prompts, sampler, until=settings["until"], batch_size=len(requests), seeds=seeds)
    scores = yield from token_scores(opened, [(prompt, one.token_ids) for prompt, one in zip(prompts, found, strict=True)])
    return [
        {
            "text": one.text,
            "stop": one.stop,
            "ids": list(one.token_ids),
            "logprobs": [number(round(value, 6)) for value in each.logprobs],
            "entropies": [number(round(value, 6)) for value in each.entropies],
        }
        for one, each in zip(found, scores, strict=True)
    ]


def _scores(opened: OpenModel, requests: Sequence[Request]) -> Work[list[Any]]:
    from models.scoring import score

    found = yield from score(opened, [(request.context, request.continuation) for request in requests])
    return [[number(value), bool(greedy)] for value, greedy in found]
