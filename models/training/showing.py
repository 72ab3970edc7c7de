"""A batch as a person can read it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

DOCUMENTS, CHARACTERS = 4, 400


def shown(batch: Any, decode: Callable[[Sequence[int]], str] | None) -> str:
    """Return the first documents of a batch as text, or as token ids if nobody can decode them; each cut."""
    packed = getattr(batch, "packed", batch)
    document = getattr(packed, "document", None)
    if document is None:
        return ""
    ids, numbers = packed.input_ids.flatten().tolist(), document.flatten().tolist()
    found: dict[int, list[int]] = {}
    for number, token in zip(numbers, ids, strict=True):
        if 0 <= number < DOCUMENTS:
            found.setdefault(number, []).append(token)
    texts = [decode(tokens) if decode else " ".join(map(str, tokens)) for _number, tokens in sorted(found.items())]
    return "\n".join(f"«{text[:CHARACTERS]}{'…' if len(text) > CHARACTERS else ''}»" for text in texts)
