"""Views that are opened and closed again and again leave nothing behind."""

import gc

import numpy as np
import psutil
import pytest
from PySide6.QtCore import QEvent
from PySide6.QtWidgets import QApplication

from tests.ui.test_view_contract import FOUND, NAMES, fill, made

views = pytest.mark.parametrize("name", NAMES)
KILOBYTES = 10.0
"""Most that a view may leave behind each time."""


def open_and_close(name: str) -> None:
    """Make a view, fill it with answers, draw it, close it."""
    widget = FOUND[name].value.make()
    widget.set_columns(made.COLUMNS[:3])
    widget.set_text(made.TEXT)
    if hasattr(widget, "_on_project"):
        widget._on_project()
    widget.resize(900, 600)
    widget.show()
    fill(widget)
    QApplication.processEvents()
    widget.grab()
    widget.close()
    widget.deleteLater()
    del widget
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    QApplication.processEvents()


def growth(name: str, cycles: int, every: int) -> tuple[float, float]:
    """Return kilobytes and Python objects that a cycle usually adds.

    Medians between looks, the first third left out: an allocator takes a large piece now and then, a leak grows each time.
    """
    process, sizes, objects = psutil.Process(), [], []
    for cycle in range(cycles):
        open_and_close(name)
        if cycle % every == every - 1:
            gc.collect()
            sizes.append(process.memory_full_info().uss / 1024)
            objects.append(len(gc.get_objects()))
    start = len(sizes) // 3
    return tuple(float(np.median(np.diff(values[start:]))) / every for values in (sizes, objects))


@views
def test_no_object_and_no_widget_is_left(qapp, name):
    before = len(qapp.allWidgets())
    _kilobytes, objects = growth(name, 9, 1)
    assert objects < 1
    assert len(qapp.allWidgets()) == before


@pytest.mark.slow
@views
def test_memory_stays_where_it_is(qapp, name):
    kilobytes, objects = growth(name, 90, 5)
    assert kilobytes < KILOBYTES
    assert objects < 1
