"""The open checkpoints of one process: opened on demand, shared by columns, the least recently used closed first."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.columns import Column
from models.errors import UserError
from models.events import Note, Progress, Work
from models.records.checkpoints import Loaded
from models.words import _

Mark = tuple[tuple[str, int, int], ...]
Key = tuple[str, str, str, str]
RESULTS = 20
TRACES = 16
TRACE_BYTES = 1_500_000_000
"""Of all remembered forwards together; the newest is always kept."""
_SHARE_OF_MEMORY = 0.7
_SHARE_OF_CARD = 0.9
"""Of what is free on a card that a model may take: a forward needs some too."""
_HEAVY = (
    "transformers.modeling_utils",
    "transformers.models.auto.modeling_auto",
    "transformers.models.llama.modeling_llama",
)
_LATER = "sklearn.decomposition"
LATER_SECONDS = 8.0
"""How long the first answers have the processor for themselves before projections' library is imported."""


class Warm:
    """Imports torch and transformers in a thread of its own, so that listing and describing are answered meanwhile."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._begun = threading.Lock()
        self.error: BaseException | None = None

    def start(self) -> None:
        """Begin; does nothing the second time."""
        if self._begun.acquire(blocking=False):
            threading.Thread(target=self._import, name="engine-warm", daemon=True).start()

    def _import(self) -> None:
        try:
            from models.lean import lean
            from models.quiet import hush

            hush()
            importlib.import_module("torch")
            with lean():
                for name in _HEAVY:
                    importlib.import_module(name)
        except BaseException as error:  # noqa: BLE001 - told to whoever waits
            self.error = error
        self._done.set()
        if self.error is None:
            time.sleep(LATER_SECONDS)
            with contextlib.suppress(ImportError):
                importlib.import_module(_LATER)

    def wait(self) -> Work[None]:
        """Wait until the imports are done, beginning them if need be, and yield so that others are served."""
        self.start()
        while not self._done.wait(0.02):
            yield Progress(0, 0, _("starting torch"))
        if self.error is not None:
            raise self.error


def loader(column: Column) -> Work[Any]:
    """Open a column's checkpoint with the library."""
    from models.library import load

    return load(column)


def _for_column(opened: Any, column: Column) -> Any:
    """Return the open model with this column's adapter as strong as it says; the weights are shared."""
    return opened if column.adapter == 1 else replace(opened, adapter=column.adapter)


class Shelf:
    """Open models by what must be equal for two columns to share one.

    Args:
        load: ``load(column) -> Work[OpenModel]``.
        budget: Bytes that all models may take together; 0 for 70 % of the machine's memory (or the environment
            variable TRIPTYCH_MEMORY, in bytes).
    """

    def __init__(self, load: Callable[[Column], Work[Any]] = loader, budget: int = 0) -> None:
        self._load = load
        self._models: OrderedDict[Key, Any] = OrderedDict()
        self._marks: dict[Key, tuple[Path, Mark]] = {}
        self._opening: set[Key] = set()
        self._traces: OrderedDict[tuple[Key, float, tuple[int, ...], tuple[int, ...], Hashable], Any] = OrderedDict()
        self._results: OrderedDict[Hashable, Any] = OrderedDict()
        self._working: set[Hashable] = set()
        self._budget = budget or int(os.environ.get("TRIPTYCH_MEMORY") or 0)
        self.warm = Warm()

    @property
    def budget(self) -> int:
        """Bytes that all models may take together."""
        if not self._budget:
            import psutil

            self._budget = int(psutil.virtual_memory().total * _SHARE_OF_MEMORY)
        return self._budget

    def open(self, column: Column) -> Work[Any]:
        """Return the column's open model, opening it if need be; two columns that ask at once share one load.

        One whose files were changed since is opened again; one whose files are gone stays as it is.

        Raises:
            UserError: If it cannot be opened; the other models stay open.
        """
        if not isinstance(column, Column):
            raise UserError("engine.column", _("This is not a column."))
        if not column.checkpoint:
            raise UserError("engine.checkpoint", _("No checkpoint was chosen."), _("Choose one in the rail."))
        key = column.weights_key
        if key in self._models and not self._is_outdated(key):
            self._models.move_to_end(key)
            return _for_column(self._models[key], column)
        from models.library import locate, mark

        place = yield from locate(column.checkpoint)  # a mistyped path need not wait for torch
        yield from self.warm.wait()
        while key in self._opening:
            time.sleep(0.002)
            yield Progress(0, 0, _("opening {name}").format(name=column.name))
        if key in self._models:
            if not self._is_outdated(key):
                self._models.move_to_end(key)
                return _for_column(self._models[key], column)
            yield Note(_("{name} was changed on disk and is opened again").format(name=column.name))
            self._drop(key)
        self._opening.add(key)
        try:
            yield from self._make_room(place, column)
            seen = mark(place)
            opened = yield from self._load(column)
        finally:
            self._opening.discard(key)
        self._models[key], self._marks[key] = opened, (place, seen)
        return _for_column(opened, column)

    def _is_outdated(self, key: Key) -> bool:
        """Return whether the files of an open model are others now."""
        from models.library import mark

        place, before = self._marks.get(key, (Path(), ()))
        return bool(before) and mark(place) not in (before, ())

    def _make_room(self, place: Path, column: Column) -> Work[None]:
        from models.library import forecast

        needed = forecast(place, column.dtype, column.quantize)
        while (key := self._in_the_way(column, needed)) is not None:
            yield Note(_("{name} was closed to make room in memory").format(name=key[0]))
            self._drop(key)

    def _in_the_way(self, column: Column, needed: int) -> Key | None:
        """Return which open model has to go: the oldest of the device whose memory is short; None if there is room."""
        from models import devices

        where = devices.pick(column.device)
        there = [key for key, opened in self._models.items() if opened.device == where]
        if where.startswith("cuda"):  # a card has its own memory
            return there[0] if there and needed > _SHARE_OF_CARD * devices.memory(where)[0] else None
        here = [key for key, opened in self._models.items() if not opened.device.startswith("cuda")]
        return here[0] if here and self.used(here) + needed > self.budget else None

    def used(self, keys: Sequence[Key] = ()) -> int:
        """Return the bytes of these open models; of all if none is named."""
        return sum(int(self._models[key].loaded.actual_bytes) for key in keys or self._models)

    def remembered(self, key: Hashable, work: Callable[[], Work[Any]]) -> Work[Any]:
        """Return the result of work, done at most once for a key while all models stay open.

        Those who ask while it is being done wait for it.
        """
        while key in self._working:
            time.sleep(0.002)
            yield Progress(0, 0, "")
        if key not in self._results:
            self._working.add(key)
            try:
                self._results[key] = yield from work()
            finally:
                self._working.discard(key)
            while len(self._results) > RESULTS:
                self._results.popitem(last=False)
        self._results.move_to_end(key)
        return self._results[key]

    def _drop(self, key: Key) -> None:
        del self._models[key]
        self._marks.pop(key, None)
        self._results.clear()
        for trace_key in [known for known in self._traces if known[0] == key]:
            del self._traces[trace_key]
        if "torch" in sys.modules:
            from models.memory import release

            release()
        else:
            gc.collect()

    def forget(self) -> None:
        """Forget what was remembered of finished work; models and traces stay."""
        self._results.clear()

    def close(self, path: str) -> None:
        """Close every model of a path; an empty path closes all."""
        for key in [key for key in self._models if not path or key[0] == path]:
            self._drop(key)

    def loaded(self) -> tuple[Loaded, ...]:
        """Return what is open, least recently used first."""
        return tuple(opened.loaded for opened in self._models.values())

    def trace(
        self, column: Column, opened: Any, ids: Sequence[int], target_ids: Sequence[int] = (),
        edited: tuple[Hashable, Callable[[], Any]] | None = None,
    ) -> Any:  # fmt: skip
        """Return the forward over these ids, run at most once while it is remembered.

        ``edited``: what is different in it, and the function that runs it so.
        """
        from models.trace import run

        key = (column.weights_key, column.adapter, tuple(ids), tuple(target_ids), edited[0] if edited else None)
        if key not in self._traces:
            self._traces[key] = edited[1]() if edited else run(opened, ids, target_ids)
            sizes = [trace.n_bytes for trace in self._traces.values()]
            while len(sizes) > 1 and (len(sizes) > TRACES or sum(sizes) > TRACE_BYTES):
                self._traces.popitem(last=False)
                sizes.pop(0)
        self._traces.move_to_end(key)
        return self._traces[key]
