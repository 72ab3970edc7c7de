"""What comes next: the distribution after a token, and whole answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from models.columns import Column
from models.events import Work
from models.operations._asked import check_text
from models.records.chain import SamplerChain
from models.records.sampling import Distribution, Generation
from models.shelf import Shelf


def distribution(
    shelf: Shelf, column: Column, text: str, position: int = -1, top: int = 50, target: str = ""
) -> Work[Distribution]:
    """Return the distribution after a token (at a mask, for an encoder)."""
    from models.next_token import find
    from models.sampling import next_distribution

    opened, prepared = yield from asked(shelf, column, text, target)
    spot = find(shelf, column, opened, prepared, int(position))
    return next_distribution(opened.tokenizer, spot, column.sampler, int(top))


def asked(shelf: Shelf, column: Column, text: str, target: str = "") -> Work[tuple[Any, Any]]:
    """Return (opened, prepared) of a text that is to be gone on with."""
    from models.prompts import prepare

    check_text(text)
    opened = yield from shelf.open(column)
    return opened, prepare(opened, column, text, target, echo=False)


def sampler_chain(  # noqa: PLR0913 - these are the wire's parameters, given by name
    shelf: Shelf, column: Column, text: str, position: int = -1, path: tuple[int, ...] = (),
    presets: tuple[tuple[str, str], ...] = (), top: int = 50, target: str = "",
) -> Work[SamplerChain]:  # fmt: skip
    """Return the prediction after a token (and a path of more tokens) through every stage of the column's sampler."""
    from models.next_token import find
    from models.staged import through
    from models.tokens import token_texts

    opened, prepared = yield from asked(shelf, column, text, target)
    spot = find(shelf, column, opened, prepared, int(position), path)
    found = through(opened, spot, column.sampler, presets, int(top))
    return replace(found, path=tuple(path), path_texts=tuple(token_texts(opened.tokenizer, list(path))))


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


OPERATIONS = {"distribution": distribution, "sampler_chain": sampler_chain, "generate": generate}
