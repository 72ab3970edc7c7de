"""`--render MESSAGES`: messages as the checkpoint's template writes them, with the tokens and what may be wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from lab.inspecting._section import Question, Section, Table
from models.columns import Column
from models.engine_ops import Operations
from models.errors import UserError
from models.events import Work
from models.words import _


def read(text: str) -> tuple[dict[str, str], ...]:
    """Return messages from JSON, or one user message from any other text.

    Raises:
        UserError: If it is JSON, but no list of role and content.
    """
    if not text.lstrip().startswith("["):
        return ({"role": "user", "content": text},)
    try:
        messages = json.loads(text)
    except ValueError as cause:
        raise _bad(str(cause)) from cause
    keys = ("role", "content")
    if not all(isinstance(m, dict) and all(isinstance(m.get(key), str) for key in keys) for m in messages):
        raise _bad(_("a message is not a role and a content"))
    return tuple({key: message[key] for key in keys} for message in messages)


def _bad(reason: str) -> UserError:
    return UserError(
        "inspect.messages",
        _("--render was given no messages: {reason}.").format(reason=reason),
        _('Write a text, or JSON such as [{"role": "user", "content": "Hello"}].'),
    )


def ask(operations: Operations, column: Column, question: Question) -> Work[dict[str, Any]]:
    """Return the rendered text, its tokens and which are the template's, and warnings."""
    found = yield from operations.ask("render", column, read(str(question.value)))
    tokens = [
        {"id": t.id, "piece": t.piece, "template": bool(own), "special": t.special}
        for t, own in zip(found.tokens, found.template, strict=True)
    ]
    return {"text": found.text, "tokens": tokens, "convention": found.convention, "warnings": list(found.warnings)}


def tables(shown: dict[str, Any]) -> Iterator[Table]:
    """Yield the text and warnings, and the tokens."""
    notes = [["text", repr(shown["text"])], ["convention", shown["convention"]]]
    yield "Rendered", ["", ""], notes + [["warning", warning] for warning in shown["warnings"]]
    rows = [[str(t["id"]), repr(t["piece"]), "template" if t["template"] else ""] for t in shown["tokens"]]
    yield "Tokens", ["id", "piece", ""], rows


SECTION = Section(
    "render", 13, "--render", "Messages (JSON) or one user message by the chat template; needs no text.", ask, tables,
    metavar="MESSAGES", needs_text=False,
)  # fmt: skip
