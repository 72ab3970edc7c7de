"""Several panels are drawn one after the other, between which the window goes on; a direct redraw draws all."""

from __future__ import annotations

from typing import Any

import pytest

from lab.ui.widgets import columns
from tests.ui import samples as made
from tests.ui.test_view_contract import build, fill


@pytest.fixture
def drawn(qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, list[int]]:
    """A view with four columns, and the panels that were drawn since."""
    view = build(qtbot, "salience", 4)
    fill(view)
    view._timer.stop()
    view._next.stop()
    view._undrawn = []
    found: list[int] = []
    original = view._redraw_panel
    monkeypatch.setattr(columns, "SLICE_SECONDS", 0.0)
    monkeypatch.setattr(view, "_redraw_panel", lambda index: (found.append(index), original(index)))
    return view, found


def test_every_slice_draws_one_panel_and_none_is_forgotten(drawn: tuple[Any, list[int]], qtbot: Any) -> None:
    view, found = drawn
    view.redraw_soon()
    view._redraw_slice()
    assert found == [0]
    view.redraw_soon()  # something is new: the first panel again, but behind those that wait already
    qtbot.waitUntil(lambda: len(found) == 5 and not view._next.isActive() and not view._timer.isActive())
    assert found == [0, 1, 2, 3, 0]


def test_a_direct_redraw_draws_all_and_ends_the_waiting(drawn: tuple[Any, list[int]]) -> None:
    view, found = drawn
    view.redraw_soon()
    view._redraw_slice()
    view.redraw()
    assert found == [0, 0, 1, 2, 3]
    assert view._undrawn == []


def test_columns_that_went_are_not_drawn(drawn: tuple[Any, list[int]], qtbot: Any) -> None:
    view, found = drawn
    view.redraw_soon()
    view._redraw_slice()
    view.set_columns(made.COLUMNS[:2])
    fill(view)
    found.clear()
    view.redraw_soon()
    qtbot.waitUntil(lambda: not view._next.isActive() and not view._timer.isActive())
    assert found == [0, 1]
