"""The place at which a next token is predicted: in a text, after tokens put behind it, or at a mask."""

from __future__ import annotations

from collections.abc import Sequence

from models.columns import Column, Sampler
from models.errors import UserError
from models.opened import OpenModel
from models.prompts import Prepared
from models.records.sampling import Distribution
from models.sampling import Spot, next_distribution
from models.shelf import Shelf
from models.surprisal import masked_logits
from models.trace import Trace
from models.words import _


def find(shelf: Shelf, column: Column, opened: OpenModel, prepared: Prepared, position: int, path: Sequence[int] = ()) -> Spot:
    """Return the prediction after a token of a prepared text, or after more tokens put behind that one.

    Args:
        shelf: Remembers the forward.
        column: The column that asks.
        opened: Its model.
        prepared: The text as tokens.
        position: Index of the token, −1 for the last; for an encoder see ``spot_in``.
        path: Token ids that stand behind that token instead of what the text goes on with.

    Raises:
        UserError: If there is no such token, or the model predicts none.
    """
    if not path:
        trace = None
        if opened.kind != "encoder":
            trace = shelf.trace(column, opened, prepared.ids, prepared.target_ids)
        return spot_in(opened, prepared, trace, position)
    place = checked_place(opened, prepared, position)
    given = tuple(prepared.target_ids or prepared.ids)
    before = (*given[: place + 1], *(int(i) for i in path))
    ids, target_ids = (prepared.ids, before) if prepared.target_ids else (before, ())
    trace = shelf.trace(column, opened, ids, target_ids)
    logits = trace.logits_of(len(before) - 1, len(before))[0]
    return Spot(logits, len(before) - 1, before, -1, len(before), prepared.convention)


def checked_place(opened: OpenModel, prepared: Prepared, position: int) -> int:
    """Return the index of the token after which more can be put; ``UserError`` if there is none, or nothing can be put."""
    if opened.kind == "encoder":
        raise UserError("distribution.path", _("An encoder fills masks; nothing can be put behind its text."))
    if opened.kind == "reward":
        raise UserError("distribution.reward", _("A reward model scores a text and predicts no tokens."))
    _check_position(prepared, position)
    return position if position >= 0 else len(prepared.shown) - 1


def _check_position(prepared: Prepared, position: int) -> None:
    last = len(prepared.shown) - 1
    if not -1 <= position <= last:
        raise UserError(
            "distribution.position",
            _("There is no token {n}; tokens are 0 to {last}.").format(n=position, last=last),
        )


def spot_in(opened: OpenModel, prepared: Prepared, trace: Trace | None, position: int = -1) -> Spot:
    """Return the prediction after a token of a prepared text; for an encoder the one at a mask.

    Args:
        opened: The model.
        prepared: The text as tokens.
        trace: The forward over it; None for an encoder, which is run with the mask instead.
        position: Index of the token, −1 for the last (for an encoder: for the first mask in the text, else the last
            token that is not special). An encoder's token at this place is masked.

    Raises:
        UserError: If there is no such token, or the model predicts none.
    """
    tokens = prepared.shown
    if opened.kind != "encoder":
        place = checked_place(opened, prepared, position)
        if trace is None:
            raise UserError("distribution.reward", _("A reward model scores a text and predicts no tokens."))
        actual = tokens[place + 1].id if place + 1 < len(tokens) else -1
        before = trace.predicting_ids[: place + 1]
        return Spot(trace.logits_of(place, place + 1)[0], place, before, actual, len(tokens), prepared.convention)
    _check_position(prepared, position)
    place = position if position >= 0 else mask_place(opened, prepared)
    actual = prepared.ids[place]
    hidden = actual == opened.tokenizer.mask_token_id
    note = _("at the mask, the text on both sides seen")
    logits = masked_logits(opened, prepared.ids, [place])[0]
    return Spot(logits, place, prepared.ids, -1 if hidden else actual, len(tokens), note)


def distribution_at(
    opened: OpenModel, prepared: Prepared, trace: Trace | None, sampler: Sampler, position: int = -1, top: int = 50
) -> Distribution:
    """Return the distribution at ``spot_in``, before and after the sampler; ``top`` tokens of it."""
    return next_distribution(opened.tokenizer, spot_in(opened, prepared, trace, position), sampler, top)


def mask_place(opened: OpenModel, prepared: Prepared) -> int:
    """Return the first mask in a text, else its last token that is not special."""
    mask = getattr(opened.tokenizer, "mask_token_id", None)
    if mask in prepared.ids:
        return prepared.ids.index(mask)
    plain = [n for n, token in enumerate(prepared.tokens) if not token.special]
    if not plain:
        raise UserError("text.empty", _("The text has no tokens."), _("Type a text."))
    return plain[-1]
