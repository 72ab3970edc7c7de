"""Write GGUF files for tests, good and bad, byte by byte."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

from tests.models.folders import byte_alphabet

U8, U32, I32, F32, BOOL, STRING, ARRAY, U64 = 0, 4, 5, 6, 7, 8, 9, 10


def text(value: str | bytes, length: int | None = None) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw) if length is None else length % 2**64) + raw


def pair(key: str | bytes, kind: int, payload: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + payload


def u32(key: str, value: int) -> bytes:
    return pair(key, U32, struct.pack("<I", value))


def f32(key: str, value: float) -> bytes:
    return pair(key, F32, struct.pack("<f", value))


def string(key: str, value: str) -> bytes:
    return pair(key, STRING, text(value))


def array(key: str, kind: int, payload: bytes, n: int) -> bytes:
    return pair(key, ARRAY, struct.pack("<IQ", kind, n % 2**64) + payload)


def strings(key: str, values: list[str]) -> bytes:
    return array(key, STRING, b"".join(map(text, values)), len(values))


def tensor_row(name: str, shape: list[int], kind: int = 0, offset: int = 0, n_dims: int | None = None) -> bytes:
    dims = b"".join(struct.pack("<Q", n % 2**64) for n in shape)
    return text(name) + struct.pack("<I", len(shape) if n_dims is None else n_dims) + dims + struct.pack("<IQ", kind, offset)


def header(
    pairs: list[bytes], rows: list[bytes], version: int = 3, magic: bytes = b"GGUF",
    n_tensors: int | None = None, n_pairs: int | None = None,
) -> bytes:  # fmt: skip
    counts = (len(rows) if n_tensors is None else n_tensors) % 2**64, (len(pairs) if n_pairs is None else n_pairs) % 2**64
    return magic + struct.pack("<IQQ", version, *counts) + b"".join(pairs) + b"".join(rows)


def padded(data: bytes, alignment: int = 32) -> bytes:
    return data + bytes(-len(data) % alignment)


def write(path: Path, pairs: list[bytes], tensors: dict[str, tuple[list[int], int, bytes]]) -> Path:
    """Write a whole file: tensors are name → (ggml shape, ggml type, bytes)."""
    rows, body = [], b""
    for name, (shape, kind, data) in tensors.items():
        rows.append(tensor_row(name, shape, kind, len(body)))
        body = padded(body + data)
    path.write_bytes(padded(header(pairs, rows)) + body)
    return path


def floats(values: Any) -> tuple[list[int], int, bytes]:
    """Return the (shape, type, bytes) of a numpy array as F32."""
    numbers = np.ascontiguousarray(values, dtype=np.float32)
    return list(numbers.shape[::-1]), 0, numbers.tobytes()


def vocabulary(n: int) -> list[bytes]:
    """Return the pairs of a byte-level vocabulary of at least 256 + 6 entries with three merges."""
    tokens = ["<unk>", "<s>", "</s>", *byte_alphabet(), "he", "ll", "hell"]
    tokens += [f"extra{k}" for k in range(n - len(tokens))]
    kinds = [3] * 3 + [1] * (n - 3)
    return [
        string("tokenizer.ggml.model", "gpt2"),
        string("tokenizer.ggml.pre", "smollm"),
        strings("tokenizer.ggml.tokens", tokens),
        array("tokenizer.ggml.token_type", I32, np.array(kinds, "<i4").tobytes(), n),
        strings("tokenizer.ggml.merges", ["h e", "l l", "he ll"]),
        u32("tokenizer.ggml.bos_token_id", 1),
        u32("tokenizer.ggml.eos_token_id", 2),
        string("tokenizer.chat_template", "{{ messages[0]['content'] }}"),
    ]


def settings(architecture: str, **values: float) -> list[bytes]:
    """Return ``<architecture>.<key>`` pairs; ``__`` in a name stands for a dot."""
    rows = [string("general.architecture", architecture)]
    for name, value in values.items():
        key = f"{architecture}.{name.replace('__', '.')}"
        rows.append(f32(key, value) if isinstance(value, float) else u32(key, value))
    return rows
