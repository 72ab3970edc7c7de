"""Log-likelihoods: of continuations given contexts, and of whole texts in rolling windows. Batched, with shared prefixes.

A number never depends on its batch: rows are padded where it cannot be seen (on the right under causal attention, or
on the left with masks and position ids), scores are float32 log-probabilities summed in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from models.answers import Answered as Answered
from models.answers import generate_many as generate_many
from models.continuations import Answer, answers
from models.errors import UserError
from models.events import Note, Partial, Progress, Work
from models.opened import OpenModel
from models.prompts import tokenizer_of
from models.room import room_of
from models.trace import check_ids, context_length
from models.words import _

Pair: TypeAlias = tuple[Sequence[int], Sequence[int]]
_DEFAULT_LENGTH = 2048


def max_length(opened: OpenModel) -> int:
    """Return how many tokens the model takes at a time; 2,048 where its family sets no limit (lm-eval's default)."""
    return context_length(opened) or _DEFAULT_LENGTH


def prefix_token(opened: OpenModel) -> int:
    """Return the token that stands before a text that has none: BOS, else EOS (lm-eval's rule).

    Raises:
        UserError: If the tokenizer has neither.
    """
    tokenizer = tokenizer_of(opened)
    for name in ("bos_token_id", "eos_token_id"):
        value = getattr(tokenizer, name, None)
        if isinstance(value, int):
            return value
    if opened.eos_ids:
        return opened.eos_ids[0]
    raise UserError("tokenizer.prefix", _("The tokenizer of {name} has neither BOS nor EOS.").format(name=opened.name))


def windows(ids: Sequence[int], prefix: int, length: int, context: int = 1) -> list[tuple[list[int], list[int]]]:
    """Return (context, predicted) windows of a text; every token is predicted exactly once.

    As lm-eval's ``get_rolling_token_windows`` followed by ``make_disjoint_window``: the first window predicts all it
    can after ``prefix``; each later one is full and predicts its last tokens, at most ``length − context + 1``.

    Raises:
        ValueError: Unless 1 ≤ context ≤ length.
    """
    if not 1 <= context <= length:
        raise ValueError(f"context {context} must lie between 1 and the length {length}")
    ids = list(ids)
    if not ids:
        return []
    first = min(length, len(ids))
    found = [([prefix], ids[:first])]
    done, step = first, length - context + 1
    while done < len(ids):
        end = done + min(len(ids) - done, step)
        found.append((ids[end - length - 1 : done], ids[done:end]))
        done = end
    return found


def score(opened: OpenModel, pairs: Sequence[Pair], batch_size: int = 0) -> Work[list[Answer]]:
    """Return (sum of ln p of the continuation in nats, whether greedy decoding gives exactly it) of every pair.

    What all contexts begin with (few-shot examples) is computed once. Pairs with the same context share one forward over
    it; their continuations are then scored together on its cache. Where memory runs out batches are halved from then on.

    Args:
        opened: A decoder (context and continuation are one text) or an encoder-decoder (source and target).
        pairs: (context ids, continuation ids); the context of a decoder must not be empty.
        batch_size: Rows of a forward; 0 to fill the memory (on a processor by length).

    Yields:
        ``Progress`` in pairs, and ``Partial((index, answer))`` as soon as a pair is answered.

    Raises:
        UserError: If the model scores no text, or a continuation is longer than it takes.
    """
    if opened.kind not in ("decoder", "encoder-decoder"):
        raise UserError("score.kind", _("{name} does not give probabilities to texts.").format(name=opened.name))
    scored: list[Answer | None] = [None] * len(pairs)
    fitted, n_cut = _fit(opened, pairs)
    if n_cut:
        yield Note(_("{n} contexts were longer than the model takes and were cut on the left").format(n=n_cut), "warning")
    done, room = 0, room_of(opened)
    halved = room.n_halved
    for found in answers(opened, fitted, room, batch_size):
        for index, answer in found:
            scored[index] = answer
            done += 1
            yield Partial((index, answer))
        if room.n_halved > halved:
            halved = room.n_halved
            yield Note(_("memory ran out; batches are half as large from here on ({n} tokens)").format(n=room.tokens), "warning")
        yield Progress(done, len(pairs), _("scoring"))
    return [answer for answer in scored if answer is not None]


def _fit(opened: OpenModel, pairs: Sequence[Pair]) -> tuple[list[tuple[tuple[int, ...], tuple[int, ...]]], int]:
    """Return pairs as tuples that fit the model, and how many contexts were cut."""
    most, fitted, n_cut = max_length(opened), [], 0
    for context, continuation in pairs:
        before, after = tuple(context), tuple(continuation)
        check_ids(opened, [*before, *after])
        if opened.kind == "decoder" and not before:
            raise UserError("score.context", _("A continuation needs at least one token before it, such as BOS."))
        if len(after) > most:
            raise UserError(
                "score.long",
                _("A continuation has {n} tokens; the model takes {most}.").format(n=len(after), most=most),
                _("Use a shorter one."),
            )
        room = most if opened.kind == "encoder-decoder" else most - max(len(after) - 1, 0)
        n_cut += len(before) > room
        fitted.append((before[-room:], after))
    return fitted, n_cut


def rolling(
    opened: OpenModel, texts: Sequence[Sequence[int]], batch_size: int = 0, *, length: int = 0, context: int = 1,
    prefix: int | None = None,
) -> Work[list[float]]:  # fmt: skip
    """Return the sum of ln p of every token of each text, in rolling windows (see ``windows``).

    Args:
        opened: A decoder.
        texts: Token ids, without BOS.
        batch_size: Rows of a forward; 0 to choose by length.
        length: Tokens of a window; 0 for all that the model takes.
        context: Tokens that a later window sees at least before what it predicts.
        prefix: Token before each text; None for ``prefix_token``.

    Yields:
        ``Progress`` in windows, and ``Partial((index, log-likelihood))`` when the last window of a text is done.
    """
    if opened.kind != "decoder":
        raise UserError("score.rolling", _("{name} gives no probability to a text by itself.").format(name=opened.name))
    first = prefix_token(opened) if prefix is None else prefix
    pairs: list[Pair] = []
    owner: list[int] = []
    left = [0] * len(texts)
    for index, ids in enumerate(texts):
        cut = windows(ids, first, length or max_length(opened), context)
        pairs += cut
        owner += [index] * len(cut)
        left[index] = len(cut)
    totals = [0.0] * len(texts)
    for index in (n for n, count in enumerate(left) if count == 0):
        yield Partial((index, 0.0))
    work = score(opened, pairs, batch_size)
    for event in work:
        if not isinstance(event, Partial):
            yield event
            continue
        window, (log, _greedy) = event.value
        text = owner[window]
        totals[text] += log
        left[text] -= 1
        if left[text] == 0:
            yield Partial((text, totals[text]))
    return totals


def pseudo(opened: OpenModel, texts: Sequence[Sequence[int]], batch_size: int = 0) -> Work[list[float]]:
    """Return pseudo-log-likelihoods of an encoder: the sum over tokens of ln p, each masked by itself (Salazar 2020).

    Special tokens are not counted. ``batch_size`` is chosen by length; the argument is there for symmetry.
    """
    import numpy as np

    from models.surprisal import pseudo as one
    from models.tokens import special_ids

    del batch_size
    totals = []
    specials = special_ids(tokenizer_of(opened))
    for index, ids in enumerate(texts):
        skipped = np.array([token in specials for token in ids], dtype=bool)
        scores = yield from one(opened, list(ids), skipped.tolist())
        totals.append(-float(scores.surprisal[~skipped].astype(np.float64).sum()))  # NaN of a broken model stays NaN
        yield Partial((index, totals[-1]))
    return totals
