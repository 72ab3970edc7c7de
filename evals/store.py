"""Answered requests, kept on disk as they come, so that a killed evaluation computes only what is missing.

One file of JSON lines, append-only; the answers of one batch are one line. A line is whole or it is not there: what a kill
tore off at the end is cut away when the file is opened. So a batch is known or it is not, and one that is computed again
comes out the same to the last bit. The key of a request is a hash of everything that its answer depends on.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SCORER_REVISION = 3
"""Raised when models/scoring.py or this package changes what an answer is."""
FILE = "responses.jsonl"


@dataclass(frozen=True)
class Identity:
    """What all answers of one open checkpoint depend on; hashes are hexadecimal SHA-256."""

    weights: str
    tokenizer: str
    template: str
    dtype: str
    quantize: str
    device_kind: str
    scorer: int = SCORER_REVISION


@dataclass(frozen=True)
class Request:
    """One question to the model.

    Args:
        kind: ``score``, ``rolling`` or ``generate``.
        context: Token ids that go before; of a rolling text its prefix.
        continuation: Token ids that are scored; empty for generation.
        decoding: Settings of generation; empty otherwise.
        seed: Of sampling.
        repeat: Which of several answers to the same prompt.
    """

    kind: str
    context: tuple[int, ...]
    continuation: tuple[int, ...] = ()
    decoding: tuple[tuple[str, Any], ...] = ()
    seed: int = 0
    repeat: int = 0


def seed_of(seed: int, ids: Sequence[int]) -> int:
    """Return the seed of the answers to one prompt: different prompts draw from generators of their own."""
    return int(hashlib.sha256(f"{seed}\n{tuple(ids)!r}".encode()).hexdigest()[:8], 16)


def response_key(identity: DataclassInstance, request: DataclassInstance) -> str:
    """Return the hash of all that the answer depends on. The batch size is recorded elsewhere, not keyed.

    Args:
        identity: An ``Identity``, or an endpoint's.
        request: A ``Request``, or one in texts.
    """
    text = json.dumps([asdict(identity), asdict(request)], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def score_key(keys: Sequence[str], metric: str, revision: str) -> str:
    """Return the hash that identifies one score: the ordered answers (and hashes of their items), and what scored them."""
    return hashlib.sha256("\n".join([metric, revision, *keys]).encode("utf-8")).hexdigest()


class ResponseStore:
    """The answers of one run, by key. One writer; reading needs no lock."""

    def __init__(self, path: Path) -> None:
        """Open or create the file and read what is whole in it."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._known = self._read()
        self._file: IO[bytes] | None = None

    def _read(self) -> dict[str, Any]:
        if not self.path.exists():
            return {}
        whole, known = 0, {}
        for line in _lines(self.path):
            whole += len(line)
            known.update(_parsed(line))
        if whole < self.path.stat().st_size:
            os.truncate(self.path, whole)
        return known

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def __len__(self) -> int:
        return len(self._known)

    def __getitem__(self, key: str) -> Any:
        return self._known[key]

    def put(self, rows: Mapping[str, Any], sync: bool = False) -> None:
        """Keep answers: one line for all, written to the system, and to the disk if ``sync``."""
        if not rows:
            return
        if self._file is None:
            self._file = self.path.open("ab", buffering=0)
        line = json.dumps({"answers": dict(rows)}, ensure_ascii=False) + "\n"
        left = memoryview(line.encode("utf-8", "surrogatepass"))
        while left:  # a disk that is nearly full takes a part and says so
            left = left[self._file.write(left) :]
        if sync:
            os.fsync(self._file.fileno())
        self._known.update(rows)

    def close(self) -> None:
        """Flush to the disk and close."""
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None


def batches_in(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the answers of each whole line of a store's file; the file is not touched, somebody may be writing it."""
    if path.exists():
        for line in _lines(path):
            yield _parsed(line)


def stored(path: Path) -> dict[str, Any]:
    """Return all answers of a store's file, as :func:`batches_in` reads it."""
    return {key: value for batch in batches_in(path) for key, value in batch.items()}


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the lines that are whole, up to the first that is not."""
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            yield line


def _parsed(line: bytes) -> dict[str, Any]:
    """Return a line's answers by key; none of one that something else damaged: they are computed again."""
    try:
        row = json.loads(line.decode("utf-8", "surrogatepass"))
    except ValueError:
        return {}
    found = row.get("answers") if isinstance(row, dict) else None
    if isinstance(found, dict):
        return found
    if isinstance(row, dict) and isinstance(row.get("key"), str) and "value" in row:  # as the first version wrote it
        return {row["key"]: row["value"]}
    return {}


def number(value: float) -> float | None:
    """Return a number as JSON keeps it: null for NaN and infinity."""
    return float(value) if math.isfinite(value) else None


def unnumber(value: float | None) -> float:
    """Return what :func:`number` wrote, NaN for null."""
    return math.nan if value is None else float(value)
