"""Messages between the window and the engine: msgpack over a pipe, arrays as raw bytes, no pickle.

A message on the wire is a 4-byte little-endian length and a msgpack map. From the window: ``request`` and ``cancel``.
From the engine: ``hello`` (first), ``progress``, ``partial``, ``reply``, ``error``. A request carries ``id``, ``key``,
``op`` and ``params``; a sequence always arrives as a tuple.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgpack

from models.columns import Column, Sampler
from models.discover import discover
from models.events import Metrics, Note, Partial, Progress, Saved

PROTOCOL = 1
MAX_MESSAGE = 4 * 1024 * 1024
_HEADER = struct.Struct("<I")


_DTYPES = {
    "float32": "f32", "float16": "f16", "int32": "i32", "int64": "i64", "uint8": "u8", "bool": "bool",
}  # fmt: skip
_NUMPY = {short: name for name, short in _DTYPES.items()}


@cache
def records() -> tuple[type, ...]:
    """Return what may cross the wire besides columns, events and plain values: the records of ``models/records``.

    Found at the first message, not at import: the window's first frame waits for no numpy.

    Raises:
        ImportError: If a module of records is broken; a missing record would be found out too late.
    """
    found = discover("models.records", "RECORDS")
    if broken := [item for item in found if item.error]:
        raise ImportError(broken[0].error)
    return tuple(record for item in found for record in item.value)


@cache
def _classes() -> dict[str, tuple[type, tuple[str, ...]]]:
    """Return name → class and the names of its fields."""
    known = (*records(), Column, Sampler, Progress, Partial, Metrics, Saved, Note)
    return {cls.__name__: (cls, tuple(field.name for field in dataclasses.fields(cls))) for cls in known}


class ProtocolError(Exception):
    """A message that this protocol does not allow."""


def _default(value: Any) -> Any:
    import numpy as np

    name = type(value).__name__
    cls, fields = _classes().get(name, (None, ()))
    if cls is type(value):
        return {"$": name, "v": [getattr(value, field) for field in fields]}
    if isinstance(value, np.ndarray):
        if value.dtype == np.float64:
            value = value.astype(np.float32)
        short = _DTYPES.get(value.dtype.name)
        if short is None:
            raise ProtocolError(f"arrays of {value.dtype} do not travel")
        return {"$": "array", "v": [short, list(value.shape), np.ascontiguousarray(value).tobytes()]}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple):
        return list(value)
    raise ProtocolError(f"{type(value).__name__} does not travel")


def _revive(data: dict[Any, Any]) -> Any:
    name = data.get("$")
    if name is None:
        return data
    if name == "array":
        import numpy as np

        short, shape, raw = data["v"]
        return np.frombuffer(raw, dtype=_NUMPY[short]).reshape(shape)
    if name not in _classes():
        raise ProtocolError(f"unknown record {name!r}")
    return _classes()[name][0](*data["v"])


def encode(message: Any) -> bytes:
    """Return one framed message.

    Raises:
        ProtocolError: If it holds something that does not travel, or is larger than 4 MB.
    """
    body = msgpack.packb(message, default=_default, use_bin_type=True, strict_types=False)
    if len(body) > MAX_MESSAGE:
        raise ProtocolError(f"message of {len(body)} bytes; {MAX_MESSAGE} is the limit")
    return bytes(_HEADER.pack(len(body)) + body)


def decode(body: bytes) -> Any:
    """Return the message in one frame's body.

    Raises:
        ProtocolError: If it is not a message of this protocol.
    """
    try:
        return msgpack.unpackb(body, object_hook=_revive, raw=False, strict_map_key=False, use_list=False)
    except ProtocolError:
        raise
    except Exception as error:
        raise ProtocolError(f"unreadable message: {error}") from error


class Frames:
    """Cut a byte stream into messages: ``feed`` bytes as they arrive, take whole messages out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        """Add bytes and yield every message that is now complete.

        Raises:
            ProtocolError: If a frame claims to be larger than allowed.
        """
        self._buffer += data
        while len(self._buffer) >= _HEADER.size:
            (length,) = _HEADER.unpack_from(self._buffer)
            if length > MAX_MESSAGE:
                raise ProtocolError(f"message of {length} bytes; {MAX_MESSAGE} is the limit")
            if len(self._buffer) < _HEADER.size + length:
                return
            body = bytes(self._buffer[_HEADER.size : _HEADER.size + length])
            del self._buffer[: _HEADER.size + length]
            yield decode(body)
