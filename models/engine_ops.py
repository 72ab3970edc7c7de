"""What the engine answers about checkpoints. Torch-free until a model is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from models.columns import Column, Sampler
from models.errors import UserError
from models.events import Event, Work
from models.places import bundled_root
from models.records import (
    AttentionGrid,
    AttentionHead,
    Description,
    Distribution,
    Generation,
    Lineage,
    Loaded,
    Neighbours,
    Projection,
    TokenStrip,
)  # fmt: skip
from models.shelf import Shelf
from models.words import _, set_language

LONGEST_TEXT = 1_000_000
"""Characters. Tokenizers are slow on more, and no model takes it."""


def nothing() -> Iterator[Event]:
    """Yield nothing: makes a generator of a function that answers at once."""
    yield from ()


class Operations:
    """The engine's operations on models; ``table`` gives them by name."""

    def __init__(self, shelf: Shelf | None = None) -> None:
        self.shelf = shelf or Shelf()

    def table(self) -> dict[str, Callable[..., Work[Any]]]:
        """Return name → operation."""
        return {
            "list": self.list_checkpoints, "describe": self.describe, "devices": self.devices, "open": self.open,
            "close": self.close, "loaded": self.loaded, "tokens": self.tokens, "attention_grid": self.attention_grid,
            "attention": self.attention, "distribution": self.distribution, "generate": self.generate,
            "render": self.render, "project": self.project, "neighbours": self.neighbours, "language": self.language,
        }  # fmt: skip

    def language(self, name: str) -> Work[str]:
        """Speak this language from now on, in notes, receipts and errors."""
        yield from nothing()
        return set_language(name)

    def list_checkpoints(self, folders: tuple[str, ...] = ()) -> Work[tuple[Lineage, ...]]:
        """Return the bundled lineages first, then those of the folders."""
        from models.library import lineages

        yield from nothing()
        bundled = str(bundled_root())
        return tuple(lineages([bundled, *folders]))

    def describe(self, path: str) -> Work[Description]:
        """Return what a checkpoint's files say of it."""
        from models.library import describe

        yield from nothing()
        return describe(path)

    def devices(self) -> Work[tuple[dict[str, Any], ...]]:
        """Return every device of this machine, once torch is there."""
        from models.devices import summary

        yield from self.shelf.warm.wait()
        return tuple(summary())

    def open(self, column: Column) -> Work[Loaded]:
        """Open a checkpoint."""
        opened = yield from self.shelf.open(column)
        loaded: Loaded = opened.loaded
        return loaded

    def close(self, path: str = "") -> Work[None]:
        """Close a checkpoint; an empty path closes all."""
        yield from nothing()
        self.shelf.close(path)

    def loaded(self) -> Work[tuple[Loaded, ...]]:
        """Return what is open."""
        yield from nothing()
        return self.shelf.loaded()

    def traced(self, column: Column, text: str, target: str) -> Work[tuple[Any, Any, Any]]:
        """Return (opened, prepared, trace) of a text in a column."""
        from models.prompts import prepare

        check_text(text)
        opened = yield from self.shelf.open(column)
        prepared = prepare(opened, column, text, target)
        return opened, prepared, self.shelf.trace(column, opened, prepared.ids, prepared.target_ids)

    def tokens(self, column: Column, text: str, target: str = "") -> Work[TokenStrip]:
        """Return a text as tokens with their surprisals."""
        from models.surprisal import strip

        opened, prepared, trace = yield from self.traced(column, text, target)
        return (yield from strip(opened, prepared, trace))

    def attention_grid(self, column: Column, text: str, kind: str = "", target: str = "") -> Work[AttentionGrid]:
        """Return all heads of one kind at a glance."""
        from models.heads import grid

        _opened, prepared, trace = yield from self.traced(column, text, target)
        return (yield from grid(trace, kind, prepared.names))

    def attention(  # noqa: PLR0913 - these are the wire's parameters, given by name
        self, column: Column, text: str, layer: int, head: int, kind: str = "", region: tuple[int, ...] = (),
        target: str = "",
    ) -> Work[AttentionHead]:  # fmt: skip
        """Return one head's pattern."""
        from models.heads import attention_head

        _opened, prepared, trace = yield from self.traced(column, text, target)
        return attention_head(trace, int(layer), int(head), kind, prepared.names, tuple(region))

    def distribution(self, column: Column, text: str, position: int = -1, top: int = 50, target: str = "") -> Work[Distribution]:
        """Return the distribution after a token (at a mask, for an encoder)."""
        from models.prompts import prepare
        from models.surprisal import distribution_at

        check_text(text)
        opened = yield from self.shelf.open(column)
        prepared = prepare(opened, column, text, target, echo=False)
        trace = None
        if opened.kind != "encoder":
            trace = self.shelf.trace(column, opened, prepared.ids, prepared.target_ids)
        return distribution_at(opened, prepared, trace, column.sampler, int(position), int(top))

    def generate(self, column: Column, messages: tuple[Mapping[str, str], ...] = (), prompt: str = "") -> Work[Generation]:
        """Answer messages, or continue a prompt; each token is a partial answer."""
        from models.generation import generate
        from models.prompts import conversation, prepare

        if not messages:
            check_text(prompt)
        opened = yield from self.shelf.open(column)
        prepared = conversation(opened, column, messages) if messages else prepare(opened, column, prompt, echo=False)
        return (yield from generate(opened, prepared.ids, column.sampler, prepared.convention))

    def render(self, column: Column, messages: tuple[Mapping[str, str], ...]) -> Work[dict[str, Any]]:
        """Return messages as this column would give them to its model, with what may be wrong with that."""
        from models.prompts import conversation

        opened = yield from self.shelf.open(column)
        prepared = conversation(opened, column, messages)
        return {
            "text": prepared.text, "tokens": prepared.tokens, "warnings": prepared.warnings,
            "convention": prepared.convention,
        }  # fmt: skip

    def project(
        self, columns: tuple[Column, ...], source: str = "input", layer: int = -1, text: str = "",
        method: str = "pca", limit: int = 0,
    ) -> Work[tuple[Projection, ...]]:  # fmt: skip
        """Return rows of embedding matrices, or hidden states of a text, in a plane that all columns share."""
        from models.embeddings import Request, project

        request = Request(source, int(layer), text, method, int(limit))
        opened = []
        for column in columns:
            opened.append((yield from self.shelf.open(column)))
        key = (tuple(replace(column, sampler=Sampler()) for column in columns), request)
        found: tuple[Projection, ...] = yield from self.shelf.remembered(
            key, lambda: project(self.shelf, tuple(columns), opened, request)
        )
        return found

    def neighbours(
        self, column: Column, token: int | str, metric: str = "cosine", k: int = 12, source: str = "input"
    ) -> Work[Neighbours]:
        """Return the nearest rows of an embedding matrix in its own space."""
        from models.embeddings import neighbours

        opened = yield from self.shelf.open(column)
        return neighbours(opened, column.name, token, metric, int(k), source)


def check_text(text: Any) -> None:
    """Raise ``UserError`` unless this is a text with something in it."""
    if not isinstance(text, str) or not text:
        raise UserError("text.empty", _("There is no text."), _("Type one."))
    if len(text) > LONGEST_TEXT:
        raise UserError(
            "text.long",
            _("The text has {n} characters; at most {most} are looked into at a time.").format(n=len(text), most=LONGEST_TEXT),
            _("Use a shorter text."),
        )
