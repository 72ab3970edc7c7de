"""The journal of a run: one JSON line per event, appended and flushed."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from models.events import Event, Metrics, Note, Progress, Recorded, Saved
from models.files import outlast_full_disk


def as_record(event: Event) -> dict[str, Any] | None:
    """Return an event as a mapping for the journal; ``None`` for kinds that are not kept."""
    match event:
        case Metrics(step, values):
            return {"event": "metrics", "step": step, "values": {k: finite(v) for k, v in values.items()}}
        case Saved(path, step):
            return {"event": "saved", "path": path, "step": step}
        case Recorded(kind, step, values):
            return {"event": kind, "step": step, "values": dict(values)}
        case Note(text, level):
            return {"event": "note", "text": text, "level": level}
        case Progress(done, total, what):
            return {"event": "progress", "done": done, "total": total, "what": what}
        case _:
            return None


def finite(value: float) -> float | str:
    """Return a number that JSON can hold; NaN and infinities become their names, so that they are not lost."""
    return value if math.isfinite(value) else str(value)


class Journal:
    """Append-only ``events.jsonl``. Use as a context manager; progress is written at most once a second."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO | None = None
        self._last_progress = 0.0

    def __enter__(self) -> Journal:
        self._mend()
        self._file = self.path.open("a", encoding="utf-8")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            with outlast_full_disk():
                self._file.close()

    def write(self, event: Event) -> None:
        """Append one event."""
        now = time.time()
        if isinstance(event, Progress):
            if now - self._last_progress < 1.0 and event.done < event.total:
                return
            self._last_progress = now
        record = as_record(event)
        if record is not None:
            self.append({"time": round(now, 3), **record})

    def append(self, record: Mapping[str, Any]) -> None:
        """Append one mapping as a line."""
        assert self._file is not None, "the journal is used inside 'with'"
        with outlast_full_disk():
            self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
            self._file.flush()

    def _mend(self) -> None:
        """Cut a last line that a kill left half-written, so that the next one starts on its own line."""
        if not self.path.exists():
            return
        content = self.path.read_bytes()
        if content and not content.endswith(b"\n"):
            with self.path.open("r+b") as file:
                file.truncate(content.rfind(b"\n") + 1)


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Return the complete lines of a journal that may still be growing."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    return [json.loads(line) for line in lines if line.strip()]
