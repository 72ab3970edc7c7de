"""Log-likelihoods of continuations: what all contexts begin with once, each context once, continuations on its cache."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from models.opened import OpenModel
from models.prompts import start_id
from models.readout import Output, forward, left_padded
from models.room import CACHE_TOKENS, Room, batches, carefully, in_two
from models.running import cache_name, is_plain, keeps_keys

Fitted: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]
Group: TypeAlias = tuple[tuple[int, ...], list[int]]
Answer: TypeAlias = tuple[float, bool]
LEAST_PREFIX = 24
"""Tokens that contexts must share at their beginning before it is worth computing them by themselves."""


@dataclass(frozen=True)
class Prefix:
    """Tokens with which all contexts begin, such as few-shot examples, and their cache (one row)."""

    ids: tuple[int, ...] = ()
    cache: Any = None

    def rows(self, n: int, device: str) -> Any:
        """Return a cache of n rows; this one stays as it is."""
        import torch

        cache = copied(self.cache)
        cache.batch_select_indices(torch.zeros(n, dtype=torch.long, device=device))
        return cache


NONE = Prefix()


def answers(opened: OpenModel, pairs: Sequence[Fitted], room: Room, batch_size: int = 0) -> Iterator[list[tuple[int, Answer]]]:
    """Yield (place, (sum of ln p, whether greedy)) of all pairs, batch by batch.

    Args:
        opened: A decoder or an encoder-decoder.
        pairs: (context, continuation), which fit the model.
        room: What a forward may hold.
        batch_size: Rows of a forward; 0 to fill the room.
    """
    empty = [(index, (0.0, True)) for index, (_context, continuation) in enumerate(pairs) if not continuation]
    if empty:
        yield empty
    prefix = _prefix(opened, pairs)
    lone, shared = _sorted(opened, pairs, room, batch_size, len(prefix.ids))
    skip = len(prefix.ids)
    sizes = [(len(pairs[n][0]) + len(pairs[n][1]) - 1 - skip, 1) for n in lone]
    for batch in batches(lone, sizes, room, batch_size):
        yield from carefully(lambda part: _whole(opened, pairs, part, prefix), batch, room, in_two)
    for groups in batches(shared, [(len(c) - skip, len(part)) for c, part in shared], room, batch_size):
        yield from carefully(lambda part: _together(opened, pairs, part, prefix), groups, room, _fewer)


def _sorted(opened: OpenModel, pairs: Sequence[Fitted], room: Room, batch_size: int, skip: int) -> tuple[list[int], list[Group]]:
    """Return pairs that are scored in one row, and contexts with several continuations, each longest first."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, (context, continuation) in enumerate(pairs):
        if continuation:
            groups.setdefault(context, []).append(index)
    lone: list[int] = []
    shared: list[Group] = []
    for context, members in groups.items():
        longest = max(len(pairs[n][1]) for n in members)
        if opened.kind == "decoder" and (len(members) == 1 or len(context) - skip <= longest):
            lone += members
        else:
            shared += [(context, part) for part in _parts(members, len(context) + longest, room, batch_size)]
    lone.sort(key=lambda n: -(len(pairs[n][0]) + len(pairs[n][1])))
    shared.sort(key=lambda group: -len(group[0]))
    return lone, shared


def _parts(members: list[int], width: int, room: Room, batch_size: int) -> list[list[int]]:
    """Cut the continuations of one context so that the copies of its cache stay small."""
    size = max(1, min(room.rows(batch_size) or len(members), CACHE_TOKENS * room.tokens // width))
    return [members[start : start + size] for start in range(0, len(members), size)]


def _fewer(groups: list[Group]) -> tuple[list[Group], list[Group]] | None:
    """Return half of the contexts and the other half; of a single context half of its continuations."""
    if len(groups) > 1:
        return in_two(groups)
    context, members = groups[0]
    halves = in_two(members)
    return None if halves is None else ([(context, halves[0])], [(context, halves[1])])


def _prefix(opened: OpenModel, pairs: Sequence[Fitted]) -> Prefix:
    """Return what all contexts begin with, computed once."""
    contexts = {context for context, continuation in pairs if continuation}
    if opened.kind != "decoder" or len(contexts) < 2:
        return NONE
    first = min(contexts)
    length = min(common(first, max(contexts)), min(map(len, contexts)) - 1)  # what these two share, all share
    if length < LEAST_PREFIX:
        return NONE
    ids = first[:length]
    output = forward(opened, left_padded([ids], opened.device), keep_cache=True)
    return Prefix(ids, output.cache) if is_plain(output.cache) else NONE


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many tokens two texts begin with alike."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def copied(cache: Any) -> Any:
    """Return a cache of its own over the same tensors (plain layers replace theirs and never write into them)."""
    other = copy.copy(cache)
    other.layers = [copy.copy(layer) for layer in cache.layers]
    return other


def _whole(opened: OpenModel, pairs: Sequence[Fitted], members: Sequence[int], prefix: Prefix = NONE) -> list[tuple[int, Answer]]:
    """Score pairs, each in one row: padded on the right, where causal attention never looks."""
    import torch

    skip = len(prefix.ids)
    rows = [[*pairs[n][0][skip:], *pairs[n][1][:-1]] for n in members]
    width = max(len(row) for row in rows)
    batch = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=opened.device)
    given: dict[str, Any] = {"input_ids": batch}
    if skip:
        given[cache_name(opened.model)] = prefix.rows(len(rows), opened.device)
    output = forward(opened, given, keep_cache=bool(skip))
    starts = [len(pairs[n][0]) - skip - 1 for n in members]
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
    found, begin = [], 0
    for member, target in zip(members, targets, strict=True):
        end = begin + len(target)
        found.append((member, (float(logs[begin:end].sum()), bool(best[begin:end].all()))))
        begin = end
    return found


def _together(opened: OpenModel, pairs: Sequence[Fitted], groups: Sequence[Group], prefix: Prefix) -> list[tuple[int, Answer]]:
    if opened.kind == "decoder":
        return _shared(opened, pairs, groups, prefix)
    return _from_source(opened, pairs, groups)


def _shared(opened: OpenModel, pairs: Sequence[Fitted], groups: Sequence[Group], prefix: Prefix) -> list[tuple[int, Answer]]:
    """Score several continuations of each context: contexts once, then all continuations on copies of their cache."""
    import torch

    inputs = _contexts(opened, [context for context, _members in groups], prefix)
    output = forward(opened, inputs, keep_cache=True)
    width = int(inputs["input_ids"].shape[1])
    owner = [row for row, (_context, members) in enumerate(groups) for _member in members]
    members = [member for _context, group in groups for member in group]
    if not keeps_keys(output.cache):
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


def _contexts(opened: OpenModel, contexts: Sequence[Sequence[int]], prefix: Prefix) -> dict[str, Any]:
    """Return the forward's inputs: contexts after the prefix, padded on the left, on the prefix's cache."""
    import torch

    skip, n = len(prefix.ids), len(contexts)
    inputs = left_padded([context[skip:] for context in contexts], opened.device)
    if not skip:
        return inputs
    inputs[cache_name(opened.model)] = prefix.rows(n, opened.device)
    if "attention_mask" in inputs:
        before = torch.ones((n, skip), dtype=inputs["attention_mask"].dtype, device=opened.device)
        inputs["attention_mask"] = torch.cat([before, inputs["attention_mask"]], dim=1)
        inputs["position_ids"] = inputs["position_ids"] + skip
    return inputs


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


def _from_source(opened: OpenModel, pairs: Sequence[Fitted], groups: Sequence[Group]) -> list[tuple[int, Answer]]:
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
