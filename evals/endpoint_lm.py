"""Endpoints behind lm-eval: its own classes ask, each answer is kept under its key as soon as it is there.

As with checkpoints, a request is looked up first, and ``Missing`` is raised with those that have no answer yet.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from evals import endpoint_asking, shards
from evals.answering import REPEAT_SEED
from evals.benchmark import Answer, Likelihood
from evals.endpoints import Endpoint
from evals.harness import looked_up
from evals.options import EvalSettings
from evals.shards import Others
from evals.store import ResponseStore, number, unnumber
from evals.tasks import Plan
from models.errors import UserError
from models.events import Progress, Work
from models.words import _

WAVES = 4
"""Requests that are under way at once are handed over in portions of so many rounds."""


@dataclass(frozen=True)
class TextRequest:
    """One question to an endpoint: ``score``, ``rolling`` or ``generate``, in texts.

    ``context`` of a chat is the JSON of its messages; ``settings``: JSON of lm-eval's generation settings.
    """

    kind: str
    context: str
    continuation: str = ""
    settings: str = ""
    seed: int = 0
    repeat: int = 0


class EndpointLM(LM):  # type: ignore[misc]
    """An endpoint as lm-eval sees it."""

    masked = False

    def __init__(self, endpoint: Endpoint, api: Any, store: ResponseStore | Others, seed: int) -> None:
        """Answer for an endpoint from a store; ``api`` is lm-eval's class that asks it."""
        super().__init__()
        self.endpoint, self.api, self.store, self.seed = endpoint, api, store, seed
        self.who = endpoint.identity()
        self.keys: dict[str, list[str]] = {}
        self._texts: dict[str, Any] = {}

    @property
    def tokenizer_name(self) -> str:
        """A name for lm-eval's caches, which stay off."""
        return self.who.tokenizer

    def apply_chat_template(self, chat_history: Any, add_generation_prompt: bool = True) -> Any:
        """Return messages as lm-eval's class hands them on: rendered by a tokenizer of ours, or for the server to render."""
        return self.api.apply_chat_template(chat_history, add_generation_prompt)

    def chat_template(self, chat_template: bool | str = False) -> str:
        """Return the template's text where the prompts are rendered here."""
        return str(self.api.chat_template(chat_template) or "") if self.api.tokenizer is not None else ""

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Return (log-likelihood of the continuation, whether greedy decoding gives it) of each request."""
        made = [TextRequest("score", str(request.args[0]), str(request.args[1])) for request in requests]
        values = zip(looked_up(self, made, requests), made, strict=True)  # what is missing is asked for before tokens are counted
        return [(Likelihood.of(unnumber(value[0]), self._n_tokens(one)), bool(value[1])) for value, one in values]

    def _n_tokens(self, one: TextRequest) -> int:
        """Return how many tokens a continuation has, split from its context as it is for the request."""
        if not one.context:
            return len(self.api.tok_encode(one.continuation))
        return len(self.api._encode_pair(one.context, one.continuation)[1])

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Return the log-likelihood of each whole text, with its number of tokens."""
        made = [TextRequest("rolling", str(request.args[0])) for request in requests]
        values = zip(looked_up(self, made, requests), made, strict=True)
        return [Likelihood.of(unnumber(value), len(self.api.tok_encode(one.context))) for value, one in values]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Return the answer to each prompt; it knows how it ended."""
        seen: Counter[tuple[Any, ...]] = Counter()
        made = []
        for request in requests:
            context, settings = request.args[:2]
            text = str(getattr(context, "prompt", context))
            self._texts[text] = context
            who = (request.task_name, request.doc_id, request.idx)
            chance = (self.seed, seen[who]) if float(settings.get("temperature") or 0.0) > 0 else (0, 0)
            made.append(TextRequest("generate", text, "", json.dumps(settings, sort_keys=True), *chance))
            seen[who] += 1
        return [Answer.of(value["text"], value["stop"]) for value in looked_up(self, made, requests)]

    def answer(self, requests: Mapping[str, TextRequest], n_batch: int) -> Work[int]:
        """Ask for what is missing and keep it; returns how many answers came.

        Raises:
            UserError: If the endpoint does not answer, refuses, or answers in another form.
        """
        shard = self.store.shard if isinstance(self.store, Others) else None
        own = [key for place, key in enumerate(requests) if shard is None or shard.holds(place)]
        missing = [key for key in own if key not in self.store]
        done = len(own) - len(missing)
        yield Progress(done, len(own), _("answering"))
        for portion in self._portions({key: requests[key] for key in missing}):
            self._ask(portion)
            done += len(portion)
            yield Progress(done, len(own), _("answering"))
        return len(missing)

    def _portions(self, missing: Mapping[str, TextRequest]) -> Iterator[dict[str, TextRequest]]:
        """Yield requests that are asked in one go: of one kind, settings and seed, as many as are under way at once."""
        concurrent = max(int(self.endpoint.given.get("num_concurrent") or 1), 1)
        most = self.api._batch_size * (concurrent * WAVES if concurrent > 1 else 1)
        groups: dict[tuple[Any, ...], list[str]] = {}
        for key, one in missing.items():
            groups.setdefault((one.kind, one.settings, one.seed, one.repeat), []).append(key)
        for keys in groups.values():
            for start in range(0, len(keys), most):
                yield {key: missing[key] for key in keys[start : start + most]}

    def _ask(self, portion: Mapping[str, TextRequest]) -> None:
        one = next(iter(portion.values()))
        self.api._seed = one.seed + REPEAT_SEED * one.repeat
        kept = Kept(self.store, {_named(request): key for key, request in portion.items()})
        self.api.cache_hook = kept
        ask = {"score": self.api.loglikelihood, "rolling": self.api.loglikelihood_rolling, "generate": self.api.generate_until}
        instances = [self._instance(request, place) for place, request in enumerate(portion.values())]
        with endpoint_asking.quiet(), endpoint_asking.problems(self.endpoint):
            values = ask[one.kind](instances, disable_tqdm=True)
        rest = {key: _value(one.kind, value) for key, value in zip(portion, values, strict=True) if key not in self.store}
        self.store.put(rest)

    def _instance(self, request: TextRequest, place: int) -> Instance:
        kinds = {"score": "loglikelihood", "rolling": "loglikelihood_rolling", "generate": "generate_until"}
        given: dict[str, tuple[Any, ...]] = {
            "score": (request.context, request.continuation), "rolling": (request.context,),
            "generate": (self._texts.get(request.context, request.context), json.loads(request.settings or "{}")),
        }  # fmt: skip
        return Instance(kinds[request.kind], {}, given[request.kind], place)

    def facts(self, chat: bool) -> dict[str, Any]:
        """Return what the receipt says besides what every one says."""
        served = sorted(getattr(self.api, "served", ()))
        return {"chat_template_text": self.chat_template(True) if chat else "", "answered_as": ", ".join(served)}

    def config(self) -> dict[str, Any]:
        """Return what a results file of lm-eval says of the model."""
        given = {"model": self.endpoint.model, "base_url": self.endpoint.url, **self.endpoint.given}
        return {"model": self.endpoint.api, "model_args": given}


class Kept:
    """In place of lm-eval's cache: each answer goes into the store at the moment when it has come."""

    def __init__(self, store: ResponseStore | Others, keys: Mapping[tuple[str, ...], str]) -> None:
        self.store, self.keys = store, keys

    def add_partial(self, method: str, asked: Any, value: Any) -> None:
        """Keep an answer; windows of a longer text have no key of their own."""
        kinds = {"loglikelihood": "score", "loglikelihood_rolling": "rolling", "generate_until": "generate"}
        if asked is None or kinds[method] not in {name[0] for name in self.keys}:
            return
        first = str(getattr(asked[0], "prompt", asked[0]))
        name = ("score", first, str(asked[1])) if method == "loglikelihood" else (kinds[method], first)
        key = self.keys.get(name)
        if key is not None and key not in self.store:
            self.store.put({key: _value(kinds[method], value)})


def _named(request: TextRequest) -> tuple[str, ...]:
    return (request.kind, request.context, request.continuation) if request.kind == "score" else (request.kind, request.context)


def _value(kind: str, value: Any) -> Any:
    """Return an answer as the store keeps it."""
    if kind == "score":
        return [number(float(value[0])), bool(value[1])]
    if kind == "rolling":
        return number(float(value))
    return {"text": str(value), "stop": getattr(value, "stop", "eos")}


def model_of(
    endpoint: Endpoint, planned: Plan, store: ResponseStore | Others, settings: EvalSettings
) -> tuple[EndpointLM, bool]:
    """Return an endpoint as lm-eval sees it, and whether its prompts are messages.

    Raises:
        UserError: If the tasks ask for likelihoods and it cannot say any, or a prompt's form does not fit it.
    """
    asked = shards.kinds(planned)
    scores = bool(asked - {"generate"})
    if scores and endpoint.chat:
        raise UserError(
            "endpoint.chat",
            _("{name} needs log-likelihoods, and a chat endpoint gives none.").format(name=planned.name),
            _("Give the completions address of the same server (…/v1/completions), or choose tasks that generate."),
        )
    wanted = settings.apply_chat_template
    if endpoint.chat and wanted is False:
        raise UserError(
            "endpoint.template",
            _("A chat endpoint takes messages only."),
            _("Leave --apply-chat-template out, or give the completions address of the same server."),
        )
    if isinstance(wanted, str):
        raise UserError(
            "endpoint.template",
            _("Prompts of an endpoint take the template of its server or its tokenizer, not {wanted!r}.").format(wanted=wanted),
            _("Give --apply-chat-template without a name."),
        )
    api = endpoint_asking.asking(endpoint, scores)
    benchmark = planned.benchmark
    own = bool(benchmark is not None and benchmark.chat and getattr(api.tokenizer, "chat_template", None))
    return EndpointLM(endpoint, api, store, settings.torch_seed), endpoint.chat or (own if wanted is None else bool(wanted))
