"""Log-likelihoods: of continuations given contexts, and of whole texts in rolling windows. Batched, with shared prefixes.

A number never depends on its batch: rows are padded where it cannot be seen (on the right under causal attention, or
on the left with masks and position ids), scores are float32 log-probabilities summed in float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

from models.answers import Answered as Answered
from models.answers import generate_many as generate_many
from models.errors import UserError
from models.events import Note, Partial, Progress, Work
from models.opened import OpenModel
from models.prompts import start_id, tokenizer_of
from models.readout import Output, forward, left_padded
from models.running import cache_name
from models.trace import check_ids, context_length
from models.words import _

Pair: TypeAlias = tuple[Sequence[int], Sequence[int]]
Answer: TypeAlias = tuple[float, bool]
TOKENS = 2048
"""Tokens of one forward when the batch size is chosen here; larger ones are no faster on a processor."""
CACHE_TOKENS = 16_384
"""Tokens that the copies of a context's cache may hold together."""
_DEFAULT_LENGTH = 2048
T = TypeVar("T")


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
    raise UserError("tokenizer.prefix", _("The tokenizer of {name} has neither BOS nor EOS.").format(name=opened.path))


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

    Pairs with the same context share one forward over it; their continuations are then scored together on its cache.

    Args:
        opened: A decoder (context and continuation are one text) or an encoder-decoder (source and target).
        pairs: (context ids, continuation ids); the context of a decoder must not be empty.
        batch_size: Rows of a forward; 0 to choose by length.

    Yields:
        ``Progress`` in pairs, and ``Partial((index, answer))`` as soon as a pair is answered.

    Raises:
        UserError: If the model scores no text, or a continuation is longer than it takes.
    """
    if opened.kind not in ("decoder", "encoder-decoder"):
        raise UserError("score.kind", _("{name} does not give probabilities to texts.").format(name=opened.path))
    answers: list[Answer | None] = [None] * len(pairs)
    fitted, n_cut = _fit(opened, pairs)
    if n_cut:
        yield Note(_("{n} contexts were longer than the model takes and were cut on the left").format(n=n_cut), "warning")
    done = 0
    for found in _answers(opened, fitted, batch_size):
        for index, answer in found:
            answers[index] = answer
            done += 1
            yield Partial((index, answer))
        yield Progress(done, len(pairs), _("scoring"))
    return [answer for answer in answers if answer is not None]


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


def _answers(
    opened: OpenModel, pairs: Sequence[tuple[tuple[int, ...], tuple[int, ...]]], batch_size: int
) -> Iterator[list[tuple[int, Answer]]]:
    groups: dict[tuple[int, ...], list[int]] = {}
    empty = []
    for index, (context, continuation) in enumerate(pairs):
        if continuation:
            groups.setdefault(context, []).append(index)
        else:
            empty.append((index, (0.0, True)))
    if empty:
        yield empty
    lone: list[int] = []
    shared: list[tuple[tuple[int, ...], list[int]]] = []
    for context, members in groups.items():
        longest = max(len(pairs[n][1]) for n in members)
        if opened.kind == "decoder" and (len(members) == 1 or len(context) <= longest):
            lone += members
        else:
            shared += [(context, part) for part in _parts(members, len(context) + longest, batch_size)]
    lone.sort(key=lambda n: -(len(pairs[n][0]) + len(pairs[n][1])))
    for batch in _batches(lone, [(len(pairs[n][0]) + len(pairs[n][1]) - 1, 1) for n in lone], batch_size):
        yield _whole(opened, pairs, batch)
    shared.sort(key=lambda group: -len(group[0]))
    share = _shared if opened.kind == "decoder" else _from_source
    for several in _batches(shared, [(len(context), len(part)) for context, part in shared], batch_size):
        yield share(opened, pairs, several)


def _parts(members: list[int], width: int, batch_size: int) -> list[list[int]]:
    """Cut the continuations of one context so that the copies of its cache stay small."""
    size = max(1, min(batch_size or len(members), CACHE_TOKENS // width))
    return [members[start : start + size] for start in range(0, len(members), size)]


def _batches(items: Sequence[T], sizes: Sequence[tuple[int, int]], batch_size: int) -> Iterator[list[T]]:
    """Cut items, longest first, into batches.

    Args:
        items: What to cut.
        sizes: For each (tokens of its forward, rows that it becomes).
        batch_size: Rows of a batch at most (but one item at least); 0 for about ``TOKENS`` tokens.
    """
    batch: list[T] = []
    width = n_rows = 0
    for item, (length, rows) in zip(items, sizes, strict=True):
        wider = max(width, length)
        full = (
            n_rows + rows > batch_size
            if batch_size
            else (len(batch) + 1) * wider > TOKENS or (n_rows + rows) * wider > CACHE_TOKENS
        )
        if batch and full:
            yield batch
            batch, wider, n_rows = [], length, 0
        batch.append(item)
        width, n_rows = wider, n_rows + rows
    if batch:
        yield batch


def _whole(
    opened: OpenModel, pairs: Sequence[tuple[tuple[int, ...], tuple[int, ...]]], members: Sequence[int]
) -> list[tuple[int, Answer]]:
    """Score pairs, each in one row: padded on the right, where causal attention never looks."""
    import torch

    rows = [[*pairs[n][0], *pairs[n][1][:-1]] for n in members]
    width = max(len(row) for row in rows)
    batch = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=opened.device)
    output = forward(opened, {"input_ids": batch})
    starts = [len(pairs[n][0]) - 1 for n in members]
    return _collect(output, members, [pairs[n][1] for n in members], starts, opened.device)


def _collect(
    output: Output, members: Sequence[int], targets: Sequence[Sequence[int]], starts: Sequence[int], device: str
) -> list[tuple[int, Answer]]:
    """Return the answers of rows whose targets are predicted from consecutive positions, from ``starts`` on."""
    import torch

    rows = [row for row, target in enumerate(targets) for _token in target]
    places = [start + n for start, target in zip(starts, targets, strict=True) for n in range(len(target))]
    wanted = torch.tensor([token for target in targets for token in target], device=device)
    logs, best = output.scores(torch.tensor(rows, device=device), torch.tensor(places, device=device), wanted)
    answers, begin = [], 0
    for member, target in zip(members, targets, strict=True):
        end = begin + len(target)
        answers.append((member, (float(logs[begin:end].sum()), bool(best[begin:end].all()))))
        begin = end
    return answers


def _shared(
    opened: OpenModel,
    pairs: Sequence[tuple[tuple[int, ...], tuple[int, ...]]],
    groups: Sequence[tuple[tuple[int, ...], list[int]]],
) -> list[tuple[int, Answer]]:
    """Score several continuations of each context: contexts once, then all continuations on copies of their cache."""
    import torch

    contexts = [context for context, _members in groups]
    inputs = left_padded(contexts, opened.device)
    output = forward(opened, inputs, keep_cache=True)
    width = int(inputs["input_ids"].shape[1])
    owner = [row for row, (_context, members) in enumerate(groups) for _member in members]
    members = [member for _context, group in groups for member in group]
    if not hasattr(output.cache, "batch_select_indices"):
        return _whole(opened, pairs, members)
    rows = torch.tensor(owner, device=opened.device)
    firsts = torch.tensor([pairs[n][1][0] for n in members], device=opened.device)
    logs, best = output.scores(rows, torch.full_like(rows, width - 1), firsts)
    total = {n: (float(log), bool(top)) for n, log, top in zip(members, logs, best, strict=True)}
    longer = [place for place, n in enumerate(members) if len(pairs[n][1]) > 1]
    if longer:
        chosen = [members[place] for place in longer]
        rest = _on_cache(opened, output, inputs, [owner[place] for place in longer], [pairs[n][1] for n in chosen])
        for n, (log, top) in zip(chosen, rest, strict=True):
            total[n] = (total[n][0] + log, total[n][1] and top)
    return [(n, total[n]) for n in members]


def _on_cache(
    opened: OpenModel, output: Output, inputs: dict[str, Any], owner: Sequence[int], targets: Sequence[Sequence[int]]
) -> list[Answer]:
    """Score the second and later tokens of continuations, each row on its context's cache."""
    import torch

    device, n_rows = opened.device, len(owner)
    rows = torch.tensor(list(owner), device=device)
    cache = output.cache
    cache.batch_select_indices(rows)
    length = max(len(target) for target in targets) - 1
    batch = torch.tensor([[*target[:-1]] + [0] * (length - len(target) + 1) for target in targets], device=device)
    given: dict[str, Any] = {"input_ids": batch, cache_name(opened.model): cache}
    if "attention_mask" in inputs:
        mask = inputs["attention_mask"][rows]
        given["attention_mask"] = torch.cat([mask, torch.ones_like(batch)], dim=1)
        given["position_ids"] = mask.sum(-1, keepdim=True) + torch.arange(length, device=device)[None]
    later = forward(opened, given, keep_cache=True)
    found = _collect(later, range(n_rows), [target[1:] for target in targets], [0] * n_rows, device)
    return [answer for _row, answer in found]


def _from_source(
    opened: OpenModel,
    pairs: Sequence[tuple[tuple[int, ...], tuple[int, ...]]],
    groups: Sequence[tuple[tuple[int, ...], list[int]]],
) -> list[tuple[int, Answer]]:
    """Score targets given sources: each source is encoded once."""
    import torch

    device = opened.device
    sources = [context or (start_id(opened),) for context, _members in groups]
    width = max(len(source) for source in sources)
    batch = torch.tensor([[*source] + [0] * (width - len(source)) for source in sources], device=device)
    mask = torch.tensor([[1] * len(source) + [0] * (width - len(source)) for source in sources], device=device)
    with torch.inference_mode():
        encoded = opened.model.get_encoder()(input_ids=batch, attention_mask=mask, return_dict=True)
    owner = torch.tensor([row for row, (_context, group) in enumerate(groups) for _member in group], device=device)
    members = [member for _context, group in groups for member in group]
    targets = [pairs[n][1] for n in members]
    length = max(len(target) for target in targets)
    start = start_id(opened)
    decoder = torch.tensor([[start, *target[:-1]] + [0] * (length - len(target)) for target in targets], device=device)
    encoded["last_hidden_state"] = encoded["last_hidden_state"][owner]
    given = {"encoder_outputs": encoded, "attention_mask": mask[owner], "decoder_input_ids": decoder}
    return _collect(forward(opened, given), members, targets, [0] * len(members), device)


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
        raise UserError("score.rolling", _("{name} gives no probability to a text by itself.").format(name=opened.path))
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
