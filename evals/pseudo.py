"""Encoders as judges of text: pseudo-log-likelihoods, each token masked by itself (Salazar et al. 2020, arXiv 1910.14659).

What is made of them is named so: ``pseudo_word_perplexity`` is no perplexity, and only encoders with one tokenizer compare.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evals.store import Request, number
from models.errors import UserError
from models.events import Work
from models.words import _

if TYPE_CHECKING:
    from models.opened import OpenModel

PERPLEXITIES = ("word_perplexity", "byte_perplexity", "token_perplexity", "bits_per_byte", "perplexity")
SIGNATURE = "|pseudo-log-likelihood"
AFTER = "after"


def request(plain: Sequence[int], with_special: Sequence[int], n_context: int) -> Request:
    """Return what is asked about a text: ``[CLS]`` and the context, the scored tokens, and what the tokenizer adds after.

    Args:
        plain: Ids of the whole text without special tokens.
        with_special: The same with them.
        n_context: How many of ``plain`` are only seen.
    """
    n = len(plain)
    starts = [place for place in range(len(with_special) - n + 1) if list(with_special[place : place + n]) == list(plain)]
    first = starts[0] if starts else 0
    before = [*with_special[:first], *plain[:n_context]] if starts else list(plain[:n_context])
    after = tuple(with_special[first + n :]) if starts else ()
    return Request("pseudo", tuple(before), tuple(plain[n_context:]), ((AFTER, after),))


def answer(opened: OpenModel, requests: Sequence[Request], batch_size: int) -> Work[list[Any]]:
    """Return [pseudo-log-likelihood in nats, whether every masked token is the most probable one] of each request.

    A text that is longer than the model takes is scored in pieces that do not see each other; a context is cut on the left.

    Raises:
        UserError: If the checkpoint has no masked-language head.
    """
    del batch_size
    found = []
    for one in requests:
        total, best = 0.0, True
        for ids, skip in pieces(one, room(opened)):
            value, all_best = yield from _piece(opened, ids, skip)
            total, best = total + value, best and all_best
        found.append([number(total), best])
    return found


def pieces(one: Request, most: int) -> list[tuple[list[int], list[bool]]]:
    """Return (ids, which are not scored) of each piece of a request that fits ``most`` tokens."""
    after = list(dict(one.decoding)[AFTER])
    head = list(one.context[:1])
    context, scored = list(one.context), list(one.continuation)
    if len(context) + len(scored) + len(after) > most:
        width = max(1, most - len(head) - len(after))
        if len(scored) <= width:
            context = head + context[len(context) - (width - len(scored)) :] if width > len(scored) else head
        else:
            context = head
        parts = [scored[start : start + width] for start in range(0, len(scored), width)]
    else:
        parts = [scored]
    return [([*context, *part, *after], [True] * len(context) + [False] * len(part) + [True] * len(after)) for part in parts]


def room(opened: OpenModel) -> int:
    """Return how many tokens an encoder sees at a time; 512 where its family sets no limit."""
    from models.trace import context_length

    return context_length(opened) or 512


def _piece(opened: OpenModel, ids: Sequence[int], skip: Sequence[bool]) -> Work[tuple[float, bool]]:
    from models.surprisal import pseudo

    scores = yield from pseudo(opened, ids, skip)
    scored = [place for place, skipped in enumerate(skip) if not skipped]
    total = -float(scores.surprisal[scored].astype(float).sum())
    return (total if math.isfinite(total) else math.nan), bool((scores.rank[scored] == 0).all())


def renamed(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping whose perplexities are called what they are: pseudo-perplexities."""
    made = {}
    for key, value in row.items():
        metric = key.partition(",")[0]
        made[f"pseudo_{key}" if metric.removesuffix("_stderr") in PERPLEXITIES else key] = value
    if isinstance(made.get("metrics"), list):
        made["metrics"] = [f"pseudo_{name}" if name in PERPLEXITIES else name for name in made["metrics"]]
    return made


def refuse_generation(path: str) -> None:
    """Raise ``UserError``: an encoder writes nothing."""
    raise UserError(
        "eval.kind",
        _("{name} is an encoder: it scores text but writes none.").format(name=path),
        _("Choose tasks of log-likelihood: multiple choice or perplexity."),
    )
