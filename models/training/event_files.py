"""TensorBoard's event files, written without TensorBoard: records of a length, a checksum, a message, and its checksum.

Formats: TFRecord (tensorflow.org/tutorials/load_data/tfrecord) and the messages Event and Summary (tensorflow/core/util/
event.proto and tensorflow/core/framework/summary.proto): wall_time = 1 (double), step = 2, file_version = 3, summary = 5, in it
value = 1, and in that tag = 1, simple_value = 2 (float).
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from models.files import outlast_full_disk

POLYNOMIAL = 0x82F63B78
MASK_DELTA = 0xA282EAD8
LARGEST = 3.4028234663852886e38
"""Of float32: a perplexity can be larger."""


@cache
def _table() -> tuple[int, ...]:
    found = []
    for byte in range(256):
        for _bit in range(8):
            byte = (byte >> 1) ^ (POLYNOMIAL if byte & 1 else 0)
        found.append(byte)
    return tuple(found)


def crc32c(data: bytes) -> int:
    """Return the Castagnoli CRC of bytes (RFC 3720, appendix B.4)."""
    value, table = 0xFFFFFFFF, _table()
    for byte in data:
        value = (value >> 8) ^ table[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


def _masked(data: bytes) -> bytes:
    value = crc32c(data)
    return struct.pack("<I", (((value >> 15) | (value << 17)) + MASK_DELTA) & 0xFFFFFFFF)


def record(message: bytes) -> bytes:
    """Return a message as one TFRecord."""
    length = struct.pack("<Q", len(message))
    return length + _masked(length) + message + _masked(message)


def _number(value: int) -> bytes:
    """Return a whole number that is not negative as a varint."""
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _field(number: int, content: bytes) -> bytes:
    return _number(number << 3 | 2) + _number(len(content)) + content


def scalars_event(step: int, values: Mapping[str, float], seconds: float) -> bytes:
    """Return an Event that holds one number for each tag."""
    summary = b"".join(
        _field(1, _field(1, tag.encode("utf-8")) + b"\x15" + struct.pack("<f", min(max(value, -LARGEST), LARGEST)))
        for tag, value in values.items()
    )
    return b"\x09" + struct.pack("<d", seconds) + b"\x10" + _number(step) + _field(5, summary)


class EventFile:
    """An event file in a folder, named as TensorBoard looks for it; every write is flushed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        now = time.time()
        name = f"events.out.tfevents.{int(now)}.{socket.gethostname()}.{os.getpid()}.0"
        self._file = (folder / name).open("ab")
        self._write(b"\x09" + struct.pack("<d", now) + _field(3, b"brain.Event:2"))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Append the numbers of a step."""
        self._write(scalars_event(step, values, time.time()))

    def close(self) -> None:
        """Close the file."""
        with outlast_full_disk():
            self._file.close()

    def _write(self, message: bytes) -> None:
        with outlast_full_disk():
            self._file.write(record(message))
            self._file.flush()
