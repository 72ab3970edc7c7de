"""Text to tokens and back: ids, pieces, bytes, character spans, and which tokens together make one character."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from models.errors import UserError
from models.records.tokens import Token
from models.words import _

_BYTE_PIECE = re.compile(r"^<0x([0-9A-Fa-f]{2})>$")
Span = tuple[int, int]


def encode_plain(tokenizer: Any, text: str, add_special: bool = True, allow_special: bool = False) -> list[int]:
    """Return the token ids of a text.

    Args:
        tokenizer: A transformers tokenizer.
        text: Any text. A special token written out in it (``<|endoftext|>``) is encoded as the text that it is.
        add_special: Whether the tokenizer adds what it adds by itself, such as BOS.
        allow_special: Whether special tokens written out in the text become those tokens.
    """
    return encode_with_spans(tokenizer, text, add_special, allow_special)[0]


def encode_with_spans(
    tokenizer: Any, text: str, add_special: bool = True, allow_special: bool = False
) -> tuple[list[int], list[Span]]:
    """Return ids, and for each its (start, end) in characters; (-1, -1) where it stands for no text or none is known."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        encoded = tokenizer(text, add_special_tokens=add_special, split_special_tokens=not allow_special)
        ids = [int(i) for i in encoded["input_ids"]]
        return ids, [(-1, -1)] * len(ids)
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = not allow_special
    try:
        encoding = backend.encode(text, add_special_tokens=add_special)
    except Exception as cause:  # the library raises no other kind
        raise UserError(
            "tokenizer.text",
            _("The tokenizer has no tokens for a part of this text ({reason}).").format(reason=" ".join(str(cause).split())),
            _("Leave out the characters that it does not know."),
        ) from cause
    added = encoding.special_tokens_mask
    spans = [(-1, -1) if added[i] else (int(a), int(b)) for i, (a, b) in enumerate(encoding.offsets)]
    return list(encoding.ids), spans


def tokens_of(tokenizer: Any, text: str, ids: Sequence[int], spans: Sequence[Span] | None = None) -> tuple[Token, ...]:
    """Return a record per token: piece, text, bytes, span, special flag, group.

    Where the tokens' bytes, one after the other, are exactly the text's UTF-8, spans are computed from them (they then
    hold for any byte-level or SentencePiece tokenizer); otherwise the tokenizer's own spans are kept.
    """
    pieces = piece_names(tokenizer, ids)
    specials = special_ids(tokenizer)
    style = piece_style(tokenizer)
    data = [_bytes_of(piece, style, i in specials) for piece, i in zip(pieces, ids, strict=True)]
    is_special = [i in specials for i in ids]
    given = list(spans) if spans is not None else [(-1, -1)] * len(ids)
    placed = _spans_from_bytes(text, data, is_special, given) or given
    groups = _groups(data, is_special)
    texts = _texts(data, groups)
    return tuple(
        Token(int(i), texts[n], pieces[n], data[n], placed[n][0], placed[n][1], is_special[n], groups[n])
        for n, i in enumerate(ids)
    )


def piece_names(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """Return the vocabulary's own names of some ids; ``<id>`` for one that the vocabulary does not have."""
    names = tokenizer.convert_ids_to_tokens([int(i) for i in ids])
    return [str(name) if name is not None else f"<{i}>" for name, i in zip(names, ids, strict=True)]


@lru_cache(maxsize=16)
def special_ids(tokenizer: Any) -> frozenset[int]:
    """Return every id that stands for a special token."""
    marked = {int(i) for i, token in tokenizer.added_tokens_decoder.items() if getattr(token, "special", False)}
    return frozenset(marked | {int(i) for i in tokenizer.all_special_ids})


def piece_bytes(tokenizer: Any, ids: Sequence[int], pieces: Sequence[str]) -> list[bytes]:
    """Return the bytes that each of some entries stands for."""
    style, specials = piece_style(tokenizer), special_ids(tokenizer)
    return [_bytes_of(piece, style, i in specials) for piece, i in zip(pieces, ids, strict=True)]


def token_texts(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """Return what each token says by itself, spaces included; a part of a character shows as ``�``."""
    style, specials = piece_style(tokenizer), special_ids(tokenizer)
    names = piece_names(tokenizer, ids)
    return [_bytes_of(name, style, i in specials).decode("utf-8", "replace") for name, i in zip(names, ids, strict=True)]


@lru_cache(maxsize=16)
def piece_style(tokenizer: Any) -> str:
    """Return how pieces are written: ``byte-level``, ``sentencepiece``, ``wordpiece`` or ``plain``."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    decoder = getattr(backend, "decoder", None)
    if decoder is None:
        if hasattr(tokenizer, "byte_decoder"):
            return "byte-level"
        return "sentencepiece" if hasattr(tokenizer, "sp_model") else "plain"
    kinds = set(_types(json.loads(decoder.__getstate__())))
    if "ByteLevel" in kinds:
        return "byte-level"
    if kinds & {"ByteFallback", "Metaspace"} or "▁" in decoder.__getstate__().decode("utf-8"):
        return "sentencepiece"
    return "wordpiece" if "WordPiece" in kinds else "plain"


def _types(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["type"]] if isinstance(node.get("type"), str) else []
        return own + [name for value in node.values() for name in _types(value)]
    return [name for item in node for name in _types(item)] if isinstance(node, list) else []


@lru_cache(maxsize=1)
def _byte_of_letter() -> dict[str, int]:
    """Return the byte that each letter of a byte-level vocabulary stands for (GPT-2's table, Radford et al. 2019).

    Printable bytes of Latin-1 stand for themselves, the others for the letters from U+0100 on, in order.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(byte): byte for byte in printable}
    others = [byte for byte in range(256) if chr(byte) not in table]
    table.update({chr(0x100 + n): byte for n, byte in enumerate(others)})
    return table


def _bytes_of(piece: str, style: str, special: bool) -> bytes:
    if special or style == "plain":
        return piece.encode("utf-8", "replace")
    if style == "byte-level":
        table = _byte_of_letter()
        if all(letter in table for letter in piece):
            return bytes(table[letter] for letter in piece)
        return piece.encode("utf-8", "replace")
    if style == "sentencepiece":
        match = _BYTE_PIECE.match(piece)
        return bytes([int(match[1], 16)]) if match else piece.replace("▁", " ").encode("utf-8", "replace")
    return piece.removeprefix("##").encode("utf-8", "replace")


def _spans_from_bytes(text: str, data: Sequence[bytes], special: Sequence[bool], given: Sequence[Span]) -> list[Span] | None:
    """Return spans counted in bytes, or None if the tokens do not spell the text byte for byte."""
    inside = [not s or given[n][0] >= 0 for n, s in enumerate(special)]  # a special token written out in the text counts
    spelled = b"".join(part for part, counts in zip(data, inside, strict=True) if counts)
    encoded = text.encode("utf-8", "surrogatepass")
    prefix = 1 if spelled == b" " + encoded else 0  # the space that SentencePiece puts before a text
    if not prefix and spelled != encoded:
        return None
    character = [n for n, letter in enumerate(text) for _ in letter.encode("utf-8", "surrogatepass")] + [len(text)]
    spans: list[Span] = []
    position = -prefix
    for part, counts in zip(data, inside, strict=True):
        if not counts:
            spans.append((-1, -1))
            continue
        start, position = max(position, 0), position + len(part)
        last = character[position - 1] + 1 if position > start else character[min(start, len(encoded))]
        spans.append((character[start], last))
    return spans


def _complete(data: bytes) -> str:
    """Return ``yes`` for whole UTF-8 characters, ``more`` if the last is unfinished, ``no`` if it is not UTF-8."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return "more" if error.reason == "unexpected end of data" else "no"
    return "yes"


def _groups(data: Sequence[bytes], special: Sequence[bool]) -> list[int]:
    """Return a group number for tokens that only together make characters, -1 for all others."""
    groups = [-1] * len(data)
    pending: list[int] = []
    number = 0

    def close() -> None:
        nonlocal number
        if len(pending) > 1:
            for index in pending:
                groups[index] = number
            number += 1
        pending.clear()

    for index, part in enumerate(data):
        if special[index]:
            close()
            continue
        if pending and _complete(b"".join(data[i] for i in pending) + part) == "no":
            close()
        pending.append(index)
        if _complete(b"".join(data[i] for i in pending)) != "more":
            close()
    close()
    return groups


def _texts(data: Sequence[bytes], groups: Sequence[int]) -> list[str]:
    """Return each token's text; every token of a group shows the whole group."""
    whole: dict[int, bytes] = {}
    for part, group in zip(data, groups, strict=True):
        if group >= 0:
            whole[group] = whole.get(group, b"") + part
    return [(whole[group] if group >= 0 else part).decode("utf-8", "replace") for part, group in zip(data, groups, strict=True)]
