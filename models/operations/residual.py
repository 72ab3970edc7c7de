"""The residual stream of a text: logit lens, norms, attribution of a logit, neurons, and what edits change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.columns import Column
from models.events import Work
from models.operations._asked import check_text
from models.records.attribution import Attribution, Neurons
from models.records.interventions import Edit, Effect
from models.records.lens import Lens, LensDifference, Norms
from models.shelf import Shelf

if TYPE_CHECKING:
    from models.attribution import Target, Written
    from models.lens import Seen

Edits = tuple[Edit, ...]


def lens(  # noqa: PLR0913 - these are the wire's parameters, given by name
    shelf: Shelf, column: Column, text: str, region: tuple[int, ...] = (), top: int = 8, target: str = "", edits: Edits = ()
) -> Work[Lens]:  # fmt: skip
    """Return what the model would say after each layer, at the positions of ``region`` (start, end)."""
    from models.editing import looked
    from models.lens import lens as look

    check_text(text)
    seen, _plan = yield from looked(shelf, column, text, target, edits)
    return (yield from look(seen, tuple(region), int(top)))


def lens_difference(
    shelf: Shelf, columns: tuple[Column, ...], text: str, region: tuple[int, ...] = (), target: str = "", edits: Edits = ()
) -> Work[LensDifference]:  # fmt: skip
    """Return KL and Jensen–Shannon divergence between two columns after each layer."""
    from models.editing import looked
    from models.lens import difference

    check_text(text)
    first, _plan = yield from looked(shelf, columns[0], text, target, edits)
    second, _plan = yield from looked(shelf, columns[1], text, target, edits)
    return (yield from difference(first, second, tuple(region)))


def norms(
    shelf: Shelf, column: Column, text: str, region: tuple[int, ...] = (), target: str = "", edits: Edits = ()
) -> Work[Norms]:  # fmt: skip
    """Return the norms of the residual stream and of what is added to it."""
    from models.editing import looked
    from models.norms import norms as measure

    check_text(text)
    seen, plan = yield from looked(shelf, column, text, target, edits)
    return measure(seen.opened, seen.prepared, tuple(region), plan)


def attribution(  # noqa: PLR0913 - these are the wire's parameters, given by name
    shelf: Shelf, column: Column, text: str, position: int = -1, token: int | str = -1, against: int | str = -1,
    target: str = "", edits: Edits = (),
) -> Work[Attribution]:  # fmt: skip
    """Return the share of each part in the logit of a token (-1: the most probable), or in that of one minus another."""
    from models.attribution import attribute

    seen, kept, wanted = yield from _taken_apart(shelf, (column, text, target, tuple(edits)), position, (token, against))
    return attribute(seen.opened, kept, wanted, seen.trace, split=not edits)


def neurons(  # noqa: PLR0913 - these are the wire's parameters, given by name
    shelf: Shelf, column: Column, text: str, layer: int, position: int = -1, token: int | str = -1,
    against: int | str = -1, top: int = 20, target: str = "", edits: Edits = (),
) -> Work[Neurons]:  # fmt: skip
    """Return the neurons of one MLP that write most to a token, and the tokens that they promote."""
    from models.neurons import top_neurons

    seen, kept, wanted = yield from _taken_apart(shelf, (column, text, target, tuple(edits)), position, (token, against))
    return top_neurons(seen.opened, kept, wanted, int(layer), int(top))


def effect(  # noqa: PLR0913 - these are the wire's parameters, given by name
    shelf: Shelf, column: Column, text: str, edits: Edits, position: int = -1, top: int = 20, target: str = ""
) -> Work[Effect]:  # fmt: skip
    """Return how edits change the predictions."""
    from models.editing import effect as compare
    from models.editing import looked

    check_text(text)
    before, _plan = yield from looked(shelf, column, text, target)
    after, _plan = yield from looked(shelf, column, text, target, tuple(edits))
    return (yield from compare(before, after, int(position), int(top)))


def _taken_apart(
    shelf: Shelf, asked: tuple[Column, str, str, Edits], position: int, tokens: tuple[int | str, int | str]
) -> Work[tuple[Seen, Written, Target]]:
    """Return (the forward, what was written around the position, whose logit is taken apart)."""
    from models.attribution import BLOCK, check, parts_of, written
    from models.editing import looked, place_of

    column, text, target, edits = asked
    check_text(text)
    seen, plan = yield from looked(shelf, column, text, target, edits)
    place = place_of(seen, int(position))
    ids = (column.weights_key, column.adapter, seen.prepared.ids, seen.prepared.target_ids)

    def work() -> Work[Written]:
        yield from ()
        return written(seen.opened, seen.prepared, place, plan)

    kept = yield from shelf.remembered(("written", ids, edits, place // BLOCK), work)
    if edits:  # whether the parts make the whole can be seen without edits only
        bare, own, _wanted = yield from _taken_apart(shelf, (column, text, target, ()), position, tokens)
        parts_of(bare.opened, check(bare.opened), own, place)
    return seen, kept, _target(seen, place, tokens)


def _target(seen: Seen, place: int, tokens: tuple[int | str, int | str]) -> Target:
    from models.attribution import Target
    from models.embeddings.nearest import token_id
    from models.tokens import token_texts

    token, against = tokens
    if token in (-1, ""):
        token = int(seen.trace.logits_of(place, place + 1)[0].argmax())
    found: Any = [token_id(seen.opened, one) for one in (token, against) if one not in (-1, "")]
    return Target(place, tuple(found), tuple(token_texts(seen.opened.tokenizer, found)))


OPERATIONS = {
    "lens": lens, "lens_difference": lens_difference, "norms": norms, "attribution": attribution, "neurons": neurons,
    "effect": effect,
}  # fmt: skip
