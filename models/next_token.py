"""The place at which a next token is predicted: in a text, after tokens put behind it, or at a mask."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from models.columns import Column, Sampler
from models.errors import UserError
from models.generation import Decoder, start
from models.opened import OpenModel
from models.prompts import Prepared
from models.records.sampling import Distribution
from models.sampling import Spot, next_distribution
from models.shelf import Shelf
from models.surprisal import masked_logits
from models.trace import Trace, check_ids, check_length
from models.words import _

_REMEMBERED = 64
"""Predictions of one model, 200 KB each for a vocabulary of 50,000."""
_LONGEST_CACHE = 2048
"""Tokens of a path whose key-value cache is kept."""
_Place: TypeAlias = tuple[tuple[int, ...], tuple[int, ...], float]


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
    logits = _last_logits(opened, prepared.ids if prepared.target_ids else (), before)
    return Spot(logits, len(before) - 1, before, -1, len(before), prepared.convention)


@dataclass
class _Walk:
    """What is remembered of the paths that were walked in one model: predictions, and the last decoder with its cache."""

    logits: OrderedDict[_Place, Any] = field(default_factory=OrderedDict)
    source: tuple[int, ...] = ()
    adapter: float = True
    decoder: Decoder | None = None


def _last_logits(opened: OpenModel, source: tuple[int, ...], before: tuple[int, ...]) -> Any:
    """Return float32 logits (vocab,) after ``before``; a step from the last path is one forward of the new tokens only.

    Args:
        opened: The model.
        source: What an encoder-decoder's encoder is given.
        before: What the decoder is given, its start token first.
    """
    walk = _walks.setdefault(opened.model, _Walk())
    key = (source, before, opened.adapter)
    if key not in walk.logits:
        walk.logits[key] = _walked(opened, walk, source, before)
        while len(walk.logits) > _REMEMBERED:
            walk.logits.popitem(last=False)
    walk.logits.move_to_end(key)
    return walk.logits[key]


def _walked(opened: OpenModel, walk: _Walk, source: tuple[int, ...], before: tuple[int, ...]) -> Any:
    check_ids(opened, before)
    check_length(opened, len(before))
    known = walk.decoder
    goes_on = known is not None and 0 < len(known.fed) < len(before) and tuple(known.fed) == before[: len(known.fed)]
    if known is None or not goes_on or (walk.source, walk.adapter) != (source, opened.adapter):
        known, _feed = start(opened, source or before[:1])
        walk.source, walk.adapter = source, opened.adapter
    walk.decoder = None  # a forward that breaks off leaves a cache that nobody may use
    logits = known.feed(before[len(known.fed) :])
    walk.decoder = known if len(before) <= _LONGEST_CACHE else None
    return logits


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


_walks: WeakKeyDictionary[Any, _Walk] = WeakKeyDictionary()


def mask_place(opened: OpenModel, prepared: Prepared) -> int:
    """Return the first mask in a text, else its last token that is not special."""
    mask = getattr(opened.tokenizer, "mask_token_id", None)
    if mask in prepared.ids:
        return prepared.ids.index(mask)
    plain = [n for n, token in enumerate(prepared.tokens) if not token.special]
    if not plain:
        raise UserError("text.empty", _("The text has no tokens."), _("Type a text."))
    return plain[-1]
