"""Where the contents of messages stand in what a chat template wrote, and which tokens are the template's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models.errors import UserError
from models.records.tokens import Token
from models.safety import render_template
from models.tokens import Span

_EDGES = ("\ue002", "\ue003")


def content_spans(template: str, messages: Sequence[Mapping[str, str]], shown: str, allowed: Mapping[str, Any]) -> list[Span]:
    """Return where in the rendered text the messages' contents stand, found by rendering them once more with marked edges.

    A template that does not pass contents on as they are is searched for them, one after the other, instead.
    """
    marked = []
    for message in messages:
        core = message["content"].strip()
        before, _core, after = message["content"].partition(core) if core else (message["content"], "", "")
        marked.append({**message, "content": f"{before}{_EDGES[0]}{core}{_EDGES[1]}{after}" if core else before})
    try:
        text = render_template(template, marked, add_generation_prompt=True, **allowed)
    except UserError:
        text = ""
    spans: list[Span] = []
    plain = start = 0
    for letter in text:
        if letter == _EDGES[0]:
            start = plain
        elif letter == _EDGES[1]:
            spans.append((start, plain))
        else:
            plain += 1
    if text.replace(_EDGES[0], "").replace(_EDGES[1], "") == shown:
        return spans
    return _searched(messages, shown)


def _searched(messages: Sequence[Mapping[str, str]], shown: str) -> list[Span]:
    spans, position = [], 0
    for message in messages:
        core = message["content"].strip()
        place = shown.find(core, position) if core else -1
        if place >= 0:
            position = place + len(core)
            spans.append((place, position))
    return spans


def template_flags(tokens: Sequence[Token], text: str, contents: Sequence[Span]) -> tuple[bool, ...]:
    """Return for each token whether it stands outside of all contents.

    Args:
        tokens: The tokens.
        text: What they are the tokens of.
        contents: (start, end) of the messages' contents in it, in characters.
    """
    inside = np.zeros(len(text) + 1, dtype=bool)
    for start, end in contents:
        inside[start:end] = True
    return tuple(not (token.start >= 0 and bool(inside[token.start : token.end].any())) for token in tokens)
