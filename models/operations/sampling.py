"""What comes next: the distribution after a token, and whole answers."""

from __future__ import annotations

from collections.abc import Mapping

from models.columns import Column
from models.events import Work
from models.operations._asked import check_text
from models.records.sampling import Distribution, Generation
from models.shelf import Shelf


def distribution(
    shelf: Shelf, column: Column, text: str, position: int = -1, top: int = 50, target: str = ""
) -> Work[Distribution]:
    """Return the distribution after a token (at a mask, for an encoder)."""
    from models.prompts import prepare
    from models.surprisal import distribution_at

    check_text(text)
    opened = yield from shelf.open(column)
    prepared = prepare(opened, column, text, target, echo=False)
    trace = None
    if opened.kind != "encoder":
        trace = shelf.trace(column, opened, prepared.ids, prepared.target_ids)
    return distribution_at(opened, prepared, trace, column.sampler, int(position), int(top))


def generate(
    shelf: Shelf, column: Column, messages: tuple[Mapping[str, str], ...] = (), prompt: str = ""
) -> Work[Generation]:
    """Answer messages, or continue a prompt; each token is a partial answer."""
    from models.generation import generate as go_on
    from models.prompts import conversation, prepare

    if not messages:
        check_text(prompt)
    opened = yield from shelf.open(column)
    prepared = conversation(opened, column, messages) if messages else prepare(opened, column, prompt, echo=False)
    return (yield from go_on(opened, prepared.ids, column.sampler, prepared.convention))


OPERATIONS = {"distribution": distribution, "generate": generate}
