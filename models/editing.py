"""Forwards of a shelf's columns with edits: what is patched is fetched from its own forward first; the change of the logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.columns import Column
from models.errors import UserError
from models.events import Progress, Work
from models.interventions import Plan, capture, intervened
from models.lens import Seen, divergence, note_of
from models.prompts import prepare
from models.records.interventions import Edit, Effect
from models.running import adapter
from models.shelf import Shelf
from models.tokens import token_texts
from models.trace import run
from models.unembedding import unembedding_of
from models.words import _

_CHUNK_VALUES = 6_000_000


def looked(shelf: Shelf, column: Column, text: str, target: str = "", edits: Sequence[Edit] = ()) -> Work[tuple[Seen, Plan]]:
    """Return a column's forward over a text with these edits, and the plan of them; each forward is run once.

    Raises:
        UserError: If an edit cannot be made.
    """
    opened = yield from shelf.open(column)
    prepared = prepare(opened, column, text, target)
    if not edits:
        return Seen(opened, prepared, shelf.trace(column, opened, prepared.ids, prepared.target_ids)), {}
    plan: dict[Edit, Any] = {}
    for edit in edits:
        plan[edit] = (yield from _source(shelf, column, edit, text, target)) if edit.how == "patch" else None
    opened = yield from shelf.open(column)  # opening a source may have closed it

    def forward() -> Any:
        with intervened(opened.model, tuple(plan), plan):
            return run(opened, prepared.ids, prepared.target_ids)

    edited = (tuple(edits), forward)
    return Seen(opened, prepared, shelf.trace(column, opened, prepared.ids, prepared.target_ids, edited)), plan


def _source(shelf: Shelf, column: Column, edit: Edit, text: str, target: str) -> Work[Any]:
    """Return the activation (time, width) that an edit patches from."""
    source = edit.column or column
    opened = yield from shelf.open(source)
    prepared = prepare(opened, source, edit.text or text, edit.target or ("" if edit.text else target))
    key = ("source", source.weights_key, source.adapter, prepared.ids, prepared.target_ids, edit.site)

    def work() -> Work[Any]:
        yield Progress(0, 0, _("forward that is patched from"))
        return capture(opened, prepared.ids, prepared.target_ids, [edit.site])[edit.site]

    return (yield from shelf.remembered(key, work))


def place_of(seen: Seen, position: int) -> int:
    """Return a position counted from the beginning; −1 is the last.

    Raises:
        UserError: If the text has no such token.
    """
    n_tokens = len(seen.prepared.shown)
    if not -n_tokens <= position < n_tokens:
        raise UserError(
            "distribution.position",
            _("There is no token {n}; tokens are 0 to {last}.").format(n=position, last=n_tokens - 1),
        )
    return position % n_tokens


def effect(before: Seen, after: Seen, position: int = -1, top: int = 20) -> Work[Effect]:
    """Return how edits changed the predictions.

    Args:
        before: The forward without edits.
        after: The one with them, of the same model and text.
        position: Token after which the movers are listed; −1 for the last.
        top: How many tokens, those whose probability changed most.

    Raises:
        UserError: If the checkpoint predicts no tokens.
    """
    import torch

    place = place_of(before, position)
    with torch.inference_mode():
        step = max(1, _CHUNK_VALUES // int(_logits(before, 0, 1).shape[-1]))
    parted = []
    n_tokens = len(before.prepared.shown)
    for at in range(0, n_tokens, step):
        with torch.inference_mode():  # never over a yield: others compute meanwhile
            logs = [torch.log_softmax(_logits(seen, at, min(at + step, n_tokens)), dim=-1) for seen in (before, after)]
            parted.append(divergence(*logs).cpu().numpy())
        yield Progress(min(at + step, n_tokens), n_tokens, _("change of the logits"))
    with torch.inference_mode():
        logits = torch.stack([_logits(seen, place, place + 1)[0] for seen in (before, after)])  # (2, vocab)
        p = torch.softmax(logits, dim=-1)
        best = torch.topk((p[1] - p[0]).abs(), min(top, p.shape[-1])).indices
        entropy = -torch.special.xlogy(p, p).sum(-1)
    ids = best.cpu().numpy().astype(np.int64)
    rows, shares = logits[:, best].cpu().numpy(), p[:, best].cpu().numpy()  # (2, k)
    return Effect(
        place, ids, tuple(token_texts(before.opened.tokenizer, ids.tolist())), rows[0], rows[1], shares[0], shares[1],
        np.concatenate(parted), tuple(token.text for token in before.prepared.shown), float(entropy[0]), float(entropy[1]),
        note_of(before),
    )  # fmt: skip


def _logits(seen: Seen, start: int, end: int) -> Any:
    with adapter(seen.opened.model, seen.opened.adapter):
        return unembedding_of(seen.opened).of_final(seen.states[-1][start:end])
