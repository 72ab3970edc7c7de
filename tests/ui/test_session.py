"""The session: what it asks for whom, what it drops, what it remembers, without any process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QApplication

from lab.ui.centre import Centre
from lab.ui.engine import Handlers
from lab.ui.session import Session
from lab.ui.view import Failure, View, ViewWidget, Want
from lab.ui.views.salience import SalienceView
from lab.ui.widgets.pages import Page, PagedView
from models.columns import Column, Sampler
from models.discover import Discovered
from models.events import Progress
from models.records.checkpoints import Loaded

A, B = Column("/a"), Column("/b")


class FakeClient(QObject):
    """Takes requests down and lets the test answer them."""

    state_changed = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.state = "ready"
        self.asked: dict[int, tuple[str, dict[str, Any], Handlers]] = {}
        self.cancelled: list[int] = []

    def ask(self, op: str, params: Mapping[str, Any], handlers: Handlers, key: str = "") -> int:
        number = len(self.asked) + 1
        self.asked[number] = (op, dict(params), handlers)
        return number

    def cancel(self, number: int) -> None:
        self.cancelled.append(number)

    def of(self, op: str) -> list[int]:
        return [number for number, (name, _params, _handlers) in self.asked.items() if name == op]

    def answer(self, number: int, value: Any) -> None:
        self.asked[number][2].reply(value)

    def open_all(self) -> None:
        for number in self.of("open"):
            self.answer(number, Loaded(self.asked[number][1]["column"].checkpoint, "cpu", "float32", "", 1, 1, 0.0))


class FakeView(ViewWidget):
    """Wants the tokens of the text for every column."""

    def __init__(self) -> None:
        super().__init__()
        self.columns: tuple[Column, ...] = ()
        self.text = ""
        self.fresh = 0
        self.answers: list[tuple[Want, Any]] = []
        self.failures: list[tuple[Want, Failure]] = []
        self.progress: list[Progress] = []
        self.selections: list[dict[str, Any]] = []

    def set_columns(self, columns: tuple[Column, ...]) -> None:
        self.columns = columns

    def set_text(self, text: str) -> None:
        self.text = text

    def wants(self) -> list[Want]:
        return [Want("strip", "tokens", {"text": self.text}, i, fresh=self.fresh) for i in range(len(self.columns))]

    def set_answer(self, want: Want, value: Any) -> None:
        self.answers.append((want, value))

    def set_progress(self, want: Want, progress: Progress) -> None:
        self.progress.append(progress)

    def set_failure(self, want: Want, failure: Failure) -> None:
        self.failures.append((want, failure))

    def set_selection(self, selection: dict[str, Any]) -> None:
        self.selections.append(selection)


@pytest.fixture
def client() -> Iterator[FakeClient]:
    made = FakeClient()
    yield made
    made.deleteLater()


@pytest.fixture
def session(client: FakeClient) -> Iterator[Session]:
    made = Session(client)  # type: ignore[arg-type]
    yield made
    made.deleteLater()


@pytest.fixture
def view(qtbot: Any) -> FakeView:
    made = FakeView()
    qtbot.addWidget(made)
    return made


def shown(session: Session, client: FakeClient, view: FakeView, qtbot: Any, *columns: Column) -> None:
    """Show columns in a visible view, all of them open."""
    session.attach("v", view)
    session.set_visible("v", True)
    session.set_columns(columns)
    qtbot.waitUntil(lambda: len(client.of("open")) == len({c.weights_key for c in columns}))
    client.open_all()


def test_wants_wait_for_the_column_to_be_open_and_carry_it(session: Any, client: Any, view: Any, qtbot: Any) -> None:
    session.set_text("hello")
    session.attach("v", view)
    session.set_visible("v", True)
    session.set_columns((A,))
    qtbot.waitUntil(lambda: client.of("open") == [1])
    assert client.of("tokens") == []
    client.open_all()
    qtbot.waitUntil(lambda: len(client.of("tokens")) == 1)
    assert client.asked[client.of("tokens")[0]][1] == {"text": "hello", "column": A}
    client.answer(client.of("tokens")[0], "strip")
    assert view.answers == [(Want("strip", "tokens", {"text": "hello"}, 0), "strip")]


def test_a_hidden_view_is_asked_nothing(session: Any, client: Any, view: Any, qtbot: Any) -> None:
    session.attach("v", view)
    session.set_columns((A,))
    qtbot.waitUntil(lambda: bool(client.of("open")))
    client.open_all()
    qtbot.waitUntil(lambda: session.is_settled)
    assert client.of("tokens") == []
    session.set_visible("v", True)
    qtbot.waitUntil(lambda: len(client.of("tokens")) == 1)


def test_a_late_answer_never_reaches_the_view(session: Any, client: Any, view: Any, qtbot: Any) -> None:
    session.set_text("old")
    shown(session, client, view, qtbot, A)
    qtbot.waitUntil(lambda: len(client.of("tokens")) == 1)
    session.set_text("new")
    qtbot.waitUntil(lambda: len(client.of("tokens")) == 2)
    old, new = client.of("tokens")
    assert client.cancelled == [old]
    client.answer(old, "late")
    assert view.answers == []
    client.answer(new, "now")
    assert [value for _want, value in view.answers] == ["now"]


def test_two_views_that_want_the_same_share_one_request(session: Any, client: Any, view: Any, qtbot: Any) -> None:
    other = FakeView()
    qtbot.addWidget(other)
    session.attach("w", other)
    session.set_visible("w", True)
    shown(session, client, view, qtbot, A)
    qtbot.waitUntil(lambda: len(client.of("tokens")) == 1)
    client.answer(client.of("tokens")[0], "both")
    assert [value for _want, value in view.answers] == ["both"]
    assert [value for _want, value in other.answers] == ["both"]


def test_a_known_answer_is_given_without_asking(session: Any, client: Any, view: Any, qtbot: Any) -> None:
    session.set_text("one")
    shown(session, client, view, qtbot, A)
    qtbot.waitUntil(lambda: len(client.of("tokens")) == 1)
    client.answer(client.of("tokens")[0], "first")
    session.set_text("two")
    qtbot.waitUntil(lambda: len(client.of("tokens")) == 2)
    session.set_text("one")
    qtbot.waitUntil(lambda: len(view.answers) == 2)
    assert [value for _want, value in view.answers] == ["first", "first"]
    assert len(client.of("tokens")) == 2
    session.refresh()
    qtbot.waitUntil(lambda: len(client.of("open")) == 2)
    client.open_all()
    qtbot.waitUntil(lambda: len(client.of("tokens")) == 3)


def test_columns_with_the_same_weights_are_opened_once(session: Any, client: Any, view: Any, qtbot: Any) -> None:
    hot = Column("/a", sampler=Sampler(temperature=2.0))
    shown(session, client, view, qtbot, A, hot)
    assert len(client.of("open")) == 1
    qtbot.waitUntil(lambda: len(client.of("tokens")) == 2)


def test_a_column_that_cannot_be_opened_says_so_in_its_panel_only(session: Any, client: Any, view: Any, qtbot: Any) -> None:
    session.attach("v", view)
    session.set_visible("v", True)
    session.set_columns((A, B))
    qtbot.waitUntil(lambda: len(client.of("open")) == 2)
    first, second = client.of("open")
    failure = Failure("user", "No memory.", "Close one.")
    client.asked[first][2].failure(failure)
    client.answer(second, Loaded("/b", "cpu", "float32", "", 1, 1, 0.0))
    qtbot.waitUntil(lambda: len(client.of("tokens")) == 1)
    assert client.asked[client.of("tokens")[0]][1]["column"] == B
    assert [(want.column, told) for want, told in view.failures] == [(0, failure)]


def test_an_opening_that_nobody_waits_for_is_cancelled(session: Any, client: Any, view: Any, qtbot: Any) -> None:
    session.set_columns((A,))
    qtbot.waitUntil(lambda: client.of("open") == [1])
    session.set_columns((B,))
    qtbot.waitUntil(lambda: client.of("open") == [1, 2])
    assert client.cancelled == [1]


def test_undo_and_redo_bring_back_columns_and_selection(session: Any, view: Any, qtbot: Any) -> None:
    session.attach("v", view)
    session.set_columns((A,))
    session.select({"token": 3})
    session.set_columns((A, B))
    session.undo()
    assert (session.columns, session.selection) == ((A,), {"token": 3})
    session.undo()
    assert (session.columns, session.selection) == ((A,), {})
    session.redo()
    session.redo()
    assert session.columns == (A, B)
    session.redo()
    assert session.columns == (A, B)
    assert view.columns == (A, B)


def test_a_selection_reaches_every_view_but_its_own(session: Any, view: Any, qtbot: Any) -> None:
    other = FakeView()
    qtbot.addWidget(other)
    session.attach("v", view)
    session.attach("w", other)
    view.selections.clear()
    other.selections.clear()
    view.selected.emit({"layer": 1, "head": 2})
    assert view.selections == []
    assert other.selections == [{"layer": 1, "head": 2}]


def test_typing_is_taken_when_it_rests(session: Any, view: Any, qtbot: Any) -> None:
    session.attach("v", view)
    with qtbot.waitSignal(session.text_changed, timeout=5_000) as taken:
        for text in ("h", "he", "hel"):
            session.edit_text(text)
    assert taken.args == ["hel"]
    assert view.text == "hel"


def test_a_restarted_engine_is_asked_everything_again(session: Any, client: Any, view: Any, qtbot: Any) -> None:
    session.set_text("x")
    shown(session, client, view, qtbot, A)
    qtbot.waitUntil(lambda: len(client.of("tokens")) == 1)
    client.state = "dead"
    client.asked[client.of("tokens")[0]][2].failure(Failure("cancelled", "The engine is not running."))
    client.state_changed.emit("dead")
    assert view.failures[0][1].kind == "cancelled"
    client.state = "starting"
    client.state_changed.emit("starting")
    qtbot.waitUntil(lambda: len(client.of("open")) == 2)
    client.answer(client.of("open")[1], Loaded("/a", "cpu", "float32", "", 1, 1, 0.0))
    qtbot.waitUntil(lambda: len(client.of("tokens")) == 2)


def test_a_pressed_button_asks_an_equal_request_again(session: Any, client: Any, view: Any, qtbot: Any) -> None:
    shown(session, client, view, qtbot, A)
    qtbot.waitUntil(lambda: len(client.of("tokens")) == 1)
    client.answer(client.of("tokens")[0], "x")
    view.changed.emit()
    view.fresh = 1
    view.changed.emit()
    qtbot.waitUntil(lambda: len(client.of("tokens")) == 2)


def test_a_text_that_comes_back_while_the_view_is_hidden_is_answered_again(
    session: Any, client: Any, view: Any, qtbot: Any
) -> None:
    session.set_text("one")
    shown(session, client, view, qtbot, A)
    qtbot.waitUntil(lambda: len(client.of("tokens")) == 1)
    client.answer(client.of("tokens")[0], "first")
    session.set_visible("v", False)
    session.set_text("two")
    session.set_text("one")
    qtbot.waitUntil(lambda: session.is_settled)
    session.set_visible("v", True)
    qtbot.waitUntil(lambda: len(view.answers) == 2)
    assert len(client.of("tokens")) == 1


def test_a_column_that_stays_is_not_asked_again(session: Any, client: Any, view: Any, qtbot: Any) -> None:
    shown(session, client, view, qtbot, A)
    qtbot.waitUntil(lambda: len(client.of("tokens")) == 1)
    client.answer(client.of("tokens")[0], "first")
    session.set_columns((A, B))
    qtbot.waitUntil(lambda: len(client.of("open")) == 2)
    client.answer(client.of("open")[1], Loaded("/b", "cpu", "float32", "", 1, 1, 0.0))
    qtbot.waitUntil(lambda: len(client.of("tokens")) == 2)
    assert client.asked[client.of("tokens")[1]][1]["column"] == B
    assert len(view.answers) == 1


def test_more_than_four_columns_are_cut(session: Any) -> None:
    session.set_columns(tuple(Column(f"/{n}") for n in range(6)))
    assert len(session.columns) == 4


@pytest.mark.parametrize(("text", "why"), [("中" * 1_500_000, "too long"), ("half \ud800", "half of a character")])
def test_a_text_that_cannot_be_sent_is_told_in_the_view(
    session: Any, client: Any, view: Any, qtbot: Any, text: str, why: str
) -> None:
    shown(session, client, view, qtbot, A)
    qtbot.waitUntil(lambda: len(client.of("tokens")) == 1)
    session.set_text(text)
    qtbot.waitUntil(lambda: len(view.failures) == 1)
    assert why in view.failures[0][1].what
    assert len(client.of("tokens")) == 1
    session.set_text("short")
    qtbot.waitUntil(lambda: len(client.of("tokens")) == 2)


class PressedView(FakeView):
    """Starts a job until it hears that it was started, and wants the tokens besides."""

    pressed = True

    def wants(self) -> list[Want]:
        return [*super().wants(), *([Want("start", "start_job", {"argv": ("eval",)}, fresh=1)] if self.pressed else [])]

    def set_answer(self, want: Want, value: Any) -> None:
        self.pressed = self.pressed and want.slot != "start"
        super().set_answer(want, value)

    def set_failure(self, want: Want, failure: Failure) -> None:
        self.pressed = self.pressed and want.slot != "start"
        super().set_failure(want, failure)


@pytest.mark.parametrize("how", ["hidden", "hidden and shown", "refreshed", "engine lost"])
def test_what_was_begun_is_begun_once_and_heard_whatever_happens_meanwhile(
    session: Any, client: Any, qtbot: Any, how: str
) -> None:
    view = PressedView()
    qtbot.addWidget(view)
    shown(session, client, view, qtbot, A)
    qtbot.waitUntil(lambda: len(client.of("start_job")) == len(client.of("tokens")) == 1)
    started, tokens = client.of("start_job")[0], client.of("tokens")[0]
    if how == "refreshed":
        session.refresh()
    else:
        session.set_visible("v", False)
    qtbot.waitUntil(lambda: tokens in client.cancelled)
    if how == "hidden and shown":
        session.set_visible("v", True)
        qtbot.waitUntil(lambda: len(client.of("tokens")) == 2)
    if how == "engine lost":
        client.asked[started][2].failure(Failure("cancelled", "The engine is not running."))
        client.state_changed.emit("dead")
        client.state_changed.emit("starting")
    else:
        client.answer(started, "job 1")
        assert [value for _want, value in view.answers] == ["job 1"]
    session.set_visible("v", True)
    client.open_all()
    qtbot.waitUntil(lambda: not session._soon.isActive())
    assert not view.pressed
    assert started not in client.cancelled
    assert len(client.of("start_job")) == 1


def test_what_a_selection_says_is_forgotten_with_its_language_and_the_selection_stays(session: Session) -> None:
    for head in (1, 2):
        session.select({"layer": 0, "head": head, "title": f"L0H{head}", "facts": {"Entropy": "1.5 nats"}})
    session.forget_words()
    assert session.selection == {"layer": 0, "head": 2}
    session.undo()
    assert session.selection == {"layer": 0, "head": 1}
    session.redo()
    assert session.selection == {"layer": 0, "head": 2}


def test_what_a_view_remembers_is_not_lost_while_it_is_made(session: Session, qtbot: Any) -> None:
    centre = Centre(session, {"first": {"zoom": 2}})
    qtbot.addWidget(centre)
    centre.show()
    made: list[FakeView] = []

    def make() -> FakeView:
        made.append(FakeView())
        return made[-1]

    for _step in centre._docks([Discovered("first", View("first", 1, lambda: "first", lambda: "first", make))]):
        QApplication.processEvents()  # as between the turns in which the docks are made
        assert centre.view_states() == {"first": {"zoom": 2}}
    assert len(made) == 1
    assert centre.view_states() == {"first": made[0].state()}


def test_the_columns_that_a_view_had_chosen_are_chosen_again(session: Session, qtbot: Any) -> None:
    chosen = {"on": True, "first": 2, "second": 0}
    session.set_columns((A, B, Column("/c")))
    centre = Centre(session, {"salience": {"difference": chosen}})
    qtbot.addWidget(centre)
    centre.show()
    centre.make_docks([Discovered("salience", View("salience", 1, lambda: "s", lambda: "s", SalienceView))])
    qtbot.waitUntil(lambda: centre.current == "salience")
    view: Any = centre.view_widget("salience")
    assert view.difference.state() == chosen
    assert view.difference.pair() == (2, 0)
    pages = PagedView(tuple(Page(name, lambda: "", lambda: "", SalienceView) for name in ("first", "second")), "pages")
    qtbot.addWidget(pages)
    pages.set_columns(session.columns)
    pages.restore({"pages": {"second": {"difference": chosen}}})
    later: Any = pages.page("second")
    assert later.difference.pair() == (2, 0)


def test_a_tab_chosen_while_the_views_are_made_is_the_one_that_asks(client: FakeClient, session: Session, qtbot: Any) -> None:
    centre = Centre(session, {})
    qtbot.addWidget(centre)
    made: dict[str, FakeView] = {}

    def view(name: str, order: int) -> Discovered:
        def make() -> FakeView:
            made[name] = FakeView()
            if name == "first":
                centre.show_view("second")  # as a click would, while the first view is made
            return made[name]

        return Discovered(name, View(name, order, lambda: name, lambda: name, make))

    session.set_columns((A,))
    session.set_text("x")
    centre.show()
    with qtbot.waitSignal(centre.docks_made):
        centre.prepare([view("first", 1), view("second", 2)])
    qtbot.waitUntil(lambda: centre.current == "second")
    client.open_all()
    qtbot.waitUntil(lambda: bool(client.of("tokens")))
    for number in client.of("tokens"):
        client.answer(number, "strip")
    assert [len(made[name].answers) for name in ("first", "second")] == [0, 1]
