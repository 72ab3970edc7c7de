"""How an endpoint is asked: lm-eval's own class, quiet, and every failure as one sentence without the key."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from evals.benchmark import Answer
from evals.endpoints import KEY_NAME, Endpoint
from models.errors import UserError
from models.words import _

STOPS = {"length": "length", "max_tokens": "length", "content_filter": "filter"}
"""Why the server says that an answer ended → our word; others are its natural end."""


def asking(endpoint: Endpoint, scores: bool) -> Any:
    """Return lm-eval's class for an endpoint, ready to ask.

    Raises:
        UserError: If likelihoods are needed and there is no tokenizer that splits context and continuation.
    """
    from lm_eval.api.registry import get_model
    from lm_eval.models import openai_completions as _registered  # noqa: F401 - fills the registry

    given = dict(endpoint.given)
    if (endpoint.api.startswith("openai-") or given.pop(KEY_NAME, "")) and not endpoint.key:
        raise UserError("endpoint.key", _("There is no key for {url}.").format(url=endpoint.url), key_hint(endpoint))
    backend = str(given.pop("tokenizer_backend", "") or "")
    named = given.get("tokenizer")
    if not backend and not endpoint.chat:
        backend = "huggingface" if named else "remote" if _tokenizes(endpoint) else "none"
    if scores and backend in ("none", "None"):
        raise UserError(
            "endpoint.tokenizer",
            _("Log-likelihoods need the model's tokenizer, to know where the context ends."),
            _("Name its folder: --model-args tokenizer=FOLDER."),
        )
    given |= {"tokenizer_backend": backend} if backend else {}
    given |= {"auth_token": endpoint.key} if backend == "remote" and endpoint.key else {}
    if endpoint.chat:
        given |= {"tokenizer_backend": None, "tokenized_requests": False}
    try:
        kind = _telling(get_model(endpoint.api), endpoint.key)
        return kind(model=endpoint.model, base_url=endpoint.url, batch_size=1 if endpoint.chat else endpoint.n_batch, **given)
    except (OSError, ValueError, ImportError) as error:
        raise UserError(
            "endpoint.open",
            _("{url} cannot be asked: {reason}.").format(url=endpoint.url, reason=_first(error, endpoint)),
            _("Check tokenizer=… of --model-args, and {name} in the environment.").format(name=endpoint.key_name),
        ) from error


def _tokenizes(endpoint: Endpoint) -> bool:
    """Return whether the server tells its tokenizer, as vLLM does."""
    from lm_eval.utils import check_remote_tokenizer_support

    return bool(check_remote_tokenizer_support(endpoint.url, timeout=5, auth_token=endpoint.key or None, max_retries=1))


def _telling(kind: type[Any], key: str) -> type[Any]:
    """Return lm-eval's class with its key, and an answer that knows why it ended, and the server what it calls itself."""

    class Telling(kind):  # type: ignore[misc]
        api_key = key
        served: frozenset[str] = frozenset()

        def parse_generations(self, outputs: Any, **more: Any) -> list[Any]:
            """Return the answers as lm-eval reads them, each with how it ended."""
            texts = list(super().parse_generations(outputs, **more))
            every = outputs if isinstance(outputs, list) else [outputs]
            self.served |= {
                " ".join(str(one[name]) for name in ("model", "system_fingerprint") if one.get(name)) for one in every
            } - {""}
            rows = [row for one in every for row in sorted(one["choices"], key=lambda row: row["index"])]
            reasons = [STOPS.get(str(row.get("finish_reason")), "eos") for row in rows]
            return [
                Answer.of(text or "", "none" if text is None else stop) for text, stop in zip(texts, reasons, strict=True)
            ]

    return Telling


@contextmanager
def quiet() -> Iterator[None]:
    """Keep lm-eval's bars and its words about each attempt off the terminal: events and one sentence say it."""
    from lm_eval.models import api_models

    class Gather:
        @staticmethod
        async def gather(*work: Any, **_settings: Any) -> list[Any]:
            """Let those under way come to their end, so that their answers are kept, before a failure is told."""
            found = await asyncio.gather(*work, return_exceptions=True)
            for one in found:
                if isinstance(one, BaseException):
                    raise one
            return list(found)

    logger = logging.getLogger(api_models.__name__)
    before = api_models.tqdm, api_models.tqdm_asyncio, logger.level
    api_models.tqdm, api_models.tqdm_asyncio = partial(api_models.tqdm, disable=True), Gather
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        api_models.tqdm, api_models.tqdm_asyncio = before[:2]
        logger.setLevel(before[2])


@contextmanager
def problems(endpoint: Endpoint) -> Iterator[None]:
    """Turn whatever a server may do into one sentence.

    Raises:
        UserError: In place of the error.
    """
    import aiohttp

    try:
        yield
    except (OSError, aiohttp.ClientError, ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        raise problem(error, endpoint) from error  # those of requests are OSError


def problem(error: Exception, endpoint: Endpoint) -> UserError:
    """Return what a failed request means, in a sentence without the key."""
    import aiohttp
    import requests

    status = getattr(getattr(error, "response", None), "status_code", None) or getattr(error, "status", None)
    if isinstance(status, int) and status:
        return _refused(status, endpoint, error)
    if isinstance(error, requests.Timeout | TimeoutError):
        return UserError(
            "endpoint.timeout",
            _("{url} did not answer within {n} s.").format(url=endpoint.url, n=endpoint.timeout),
            _("Answers so far are kept. Run it again, with more time: --model-args timeout=600."),
        )
    if isinstance(error, requests.ConnectionError | aiohttp.ClientError | OSError):
        return UserError(
            "endpoint.reach",
            _("{url} cannot be reached.").format(url=endpoint.url),
            _("Is the server running? Answers so far are kept; run the same command again."),
        )
    return UserError(
        "endpoint.answer",
        _("{url} answers in a form that cannot be read: {reason}.").format(url=endpoint.url, reason=_first(error, endpoint)),
        _("Log-likelihoods need a completions endpoint that supports echo with logprobs."),
    )


def _refused(status: int, endpoint: Endpoint, error: Exception) -> UserError:
    """Return what an HTTP status means."""
    body = str(getattr(getattr(error, "response", None), "text", "") or "")
    hints = {
        401: key_hint(endpoint),
        404: _("Check the address and the name of the model."),
        429: _("It asks for fewer requests at once: lower num_concurrent. Answers so far are kept."),
    }
    hint = hints.get(401 if status == 403 else status, _("Answers so far are kept; run the same command again."))
    what = _("{url} refuses with HTTP {status}").format(url=endpoint.url, status=status)
    return UserError("endpoint.refused", f"{what}{': ' + _clean(body, endpoint) if body.strip() else ''}.", hint)


def key_hint(endpoint: Endpoint) -> str:
    """Return where the key belongs."""
    return _("Put the key into the environment: export {name}=…").format(name=endpoint.key_name)


def _first(error: BaseException, endpoint: Endpoint) -> str:
    return _clean(f"{type(error).__name__}: {error}", endpoint)


def _clean(text: str, endpoint: Endpoint) -> str:
    """Return the first words of a text, the key taken out."""
    text = text.replace(endpoint.key, "…") if len(endpoint.key) > 3 else text
    return " ".join(text.split())[:200].rstrip(".")
