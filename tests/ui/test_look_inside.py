"""An answer of Chat, Sampling or Branches is looked into in the other views, by the very token ids."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lab.ui.view import Failure
from lab.ui.widgets.columns import LOOK
from models.records.tokens import ExactText
from tests.ui import samples as made
from tests.ui.test_view_contract import build, fill


def written(view: Any) -> Any:
    """Return the request for the tokens of the first column's answer."""
    return next((want for want in view.wants() if want.slot == LOOK), None)


def prepared(name: str, qtbot: Any) -> Any:
    view = build(qtbot, name)
    if name == "chat":
        view.redraw()
        view.edit.setPlainText("Hello")
        view._on_send()
        for want in [want for want in view.wants() if want.op == "generate"]:
            for step in made.steps("Two words"):
                view.set_partial(want, step)
    fill(view)
    if name == "sampling":
        view._take_path((7, 8))
    if name == "branches":
        view._on_row(0, 0)
        view._on_token(0, 0)
    return view


@pytest.mark.parametrize("name", ["chat", "sampling", "branches"])
def test_an_answer_goes_to_the_tokens_view(qtbot: Any, name: str) -> None:
    view = prepared(name, qtbot)
    opened: list[tuple[Any, ...]] = []
    view.open_requested.connect(lambda *given: opened.append(given))
    assert written(view) is None
    view.look_inside(0)
    want = written(view)
    assert want.op == "written_out"
    assert want.params["ids"] == view.written(0)["ids"] != ()
    view.set_answer(replace(want, fresh=want.fresh + 5), ExactText("late", (9,), 1, ""))
    assert opened == []
    view.set_answer(want, ExactText("Hello Two", (1, 2, 3), 1, ""))
    ((target, text, columns),) = opened
    assert (target, text) == ("tokens", "Hello Two")
    assert [column.exact for column in columns] == [(1, 2, 3)] * len(view.columns)
    assert {column.prompt for column in columns} == {"plain"}
    assert written(view) is None


def test_nothing_written_is_nothing_to_look_into(qtbot: Any) -> None:
    view = build(qtbot, "sampling")
    fill(view)
    assert view.written(0) is None
    view.look_inside(0)
    assert written(view) is None
    view = prepared("sampling", qtbot)
    said: list[str] = []
    view.message.connect(said.append)
    view.look_inside(0)
    view.set_failure(written(view), Failure("user", "It is gone.", "Open it."))
    assert said == ["It is gone. Open it."]
    assert written(view) is None


def test_a_chat_outlives_being_looked_into(qtbot: Any) -> None:
    view = prepared("chat", qtbot)
    view.set_columns(tuple(replace(column, exact=(1, 2)) for column in view.columns))
    assert set(view.exchanges[0].replies) == {0, 1, 2}
    view.set_columns(tuple(replace(column, checkpoint="/other") for column in view.columns))
    assert view.exchanges[0].replies == {}
