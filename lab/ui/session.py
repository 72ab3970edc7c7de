"""What the window is about: columns, text and selection; asks the engine what the visible views want."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from lab.ui.answers import DOING, PURE, Answers
from lab.ui.engine import EngineClient, Handlers
from lab.ui.history import History, Snapshot
from lab.ui.view import Failure, ViewWidget, Want
from models.columns import Column
from models.events import Progress
from models.records.checkpoints import Loaded

MAX_COLUMNS = 4
WORDS = ("title", "facts")
"""Entries of a selection that are shown as they are."""
TYPING_MS = 300
"""How long the text must rest before the views are asked again."""


Weights = tuple[str, str, str, str]
"""What columns with the same loaded model have in common (``Column.weights_key``)."""


@dataclass(frozen=True)
class ColumnState:
    """How far a column's checkpoint is: closed, opening, open or failed."""

    state: str = "closed"
    progress: Progress | None = None
    loaded: Loaded | None = None
    failure: Failure | None = None


@dataclass
class _Attached:
    """A view that takes part: its widget, whether it can be seen, and what it was asked and told last."""

    widget: ViewWidget
    visible: bool = False
    wants: dict[tuple[int, str], Want] = field(default_factory=dict)
    told: dict[tuple[int, str], Want] = field(default_factory=dict)

    def now(self) -> dict[tuple[int, str], Want]:
        """Return what it wants; hidden, it still wants to hear of what it had begun to do, lest it do that twice."""
        if self.visible:
            return {(want.column, want.slot): want for want in self.widget.wants()}
        return {slot: want for slot, want in self.wants.items() if want.op in DOING}

    def has_heard(self, want: Want) -> None:
        """Take note that a want was answered; what does something is over with that."""
        slot = (want.column, want.slot)
        self.told[slot] = want
        if want.op in DOING:
            self.wants.pop(slot, None)


class Session(QObject):
    """Holds what is shown and brings the views the data that they want.

    The engine's answers go to the views that asked; what nobody wants any more is cancelled.
    """

    columns_changed = Signal(tuple)
    column_state_changed = Signal(int, object)
    """Index and ``ColumnState``."""
    text_changed = Signal(str)
    selection_changed = Signal(dict)
    history_changed = Signal()
    failed = Signal(object)
    """A ``Failure`` that is a bug, for the message bar; the view shows every failure itself."""
    settled = Signal()
    """Every visible view has all that it wants."""

    def __init__(self, client: EngineClient, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.client = client
        self.text = ""
        self.history = History(Snapshot())
        self._shown = Snapshot()
        self._states: dict[Weights, ColumnState] = {}
        self._opening: dict[Weights, int] = {}
        self._views: dict[str, _Attached] = {}
        self._answers = Answers(client, self)
        self._answers.idle.connect(self._on_idle)
        self._soon = _single_shot(self, 0, self._ask_now)
        self._typing = _single_shot(self, TYPING_MS, self._take_text)
        self._typed = ""
        client.state_changed.connect(self._on_engine_state)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns shown, at most four."""
        return self.history.current.columns

    @property
    def selection(self) -> dict[str, Any]:
        """What is selected."""
        return self.history.current.selection

    @property
    def is_settled(self) -> bool:
        """Whether nothing is being asked, opened or waited for."""
        waiting = self._soon.isActive() or self._typing.isActive() or self._answers.n_pending
        return not waiting and not self._opening

    def set_columns(self, columns: tuple[Column, ...]) -> None:
        """Show other columns; can be undone."""
        self._show(Snapshot(columns[:MAX_COLUMNS], self.selection if columns else {}), new=True)

    def edit_text(self, text: str) -> None:
        """Take text as it is typed; the views get it when the typing rests."""
        self._typed = text
        self._typing.start()

    def set_text(self, text: str) -> None:
        """Give the views this text now."""
        self._typed = text
        self._take_text()

    def select(self, selection: Mapping[str, Any], origin: str = "") -> None:
        """Take a selection made in the view ``origin`` and tell the other views; can be undone."""
        self._show(Snapshot(self.columns, dict(selection)), new=True, origin=origin)

    def undo(self) -> None:
        """Go back to what was shown before."""
        self._show(self.history.undo(), new=False)

    def redo(self) -> None:
        """Go forward to what was undone."""
        self._show(self.history.redo(), new=False)

    def attach(self, name: str, widget: ViewWidget) -> None:
        """Let a view take part; it is asked what it wants once it is visible."""
        self._views[name] = _Attached(widget)
        widget.set_columns(self.columns)
        widget.set_text(self.text)
        widget.set_selection(self.selection)
        widget.changed.connect(self._soon.start)
        widget.selected.connect(_Origin(self, name, widget).on_selected)

    def detach_all(self) -> None:
        """Forget every view, as when the window is built anew."""
        self._views.clear()
        self._answers.keep_only({})

    def forget_words(self) -> None:
        """Forget what selections say to the reader: it is in the language in which they were made."""
        self.history.leave_out(WORDS)
        self._shown = self.history.current

    def set_visible(self, name: str, visible: bool) -> None:
        """Take note that a view can be seen, or no longer can."""
        view = self._views.get(name)
        if view is not None and view.visible != visible:
            view.visible = visible
            self._soon.start()

    def refresh(self) -> None:
        """Ask everything again, as if nothing were known."""
        self._answers.forget()
        self._states = {key: state for key, state in self._states.items() if key in self._opening}
        for view in self._views.values():
            view.told.clear()
        self._soon.start()

    def stop_all(self) -> None:
        """Stop what is being computed; it is asked again when something changes."""
        self._answers.stop()

    def state_of(self, column: Column) -> ColumnState:
        """Return how far a column's checkpoint is."""
        return self._states.get(column.weights_key, ColumnState())

    def _show(self, snapshot: Snapshot, new: bool, origin: str = "") -> None:
        before = self._shown
        if new:
            self.history.push(snapshot)
        self._shown = snapshot
        if snapshot.columns != before.columns:
            pairs = enumerate(zip(snapshot.columns, before.columns, strict=False))
            same = {index for index, (new_column, old_column) in pairs if new_column == old_column}
            for view in self._views.values():
                view.widget.set_columns(snapshot.columns)
                view.told = {slot: want for slot, want in view.told.items() if slot[0] in same}
            self.columns_changed.emit(snapshot.columns)
        if snapshot.selection != before.selection:
            for name, view in self._views.items():
                if name != origin:
                    view.widget.set_selection(snapshot.selection)
            self.selection_changed.emit(snapshot.selection)
        self.history_changed.emit()
        self._soon.start()

    @Slot()
    def _take_text(self) -> None:
        self._typing.stop()
        if self._typed == self.text:
            return
        self.text = self._typed
        for view in self._views.values():
            view.widget.set_text(self.text)
            view.told = {slot: want for slot, want in view.told.items() if want.op not in PURE}
        self.text_changed.emit(self.text)
        self._soon.start()

    @Slot()
    def _ask_now(self) -> None:
        """Compare what the visible views want with what they have, and ask for the rest."""
        if self.client.state not in ("starting", "ready"):
            return
        self._open_columns()
        wanted: dict[tuple[str, int, str], tuple[Want, dict[str, Any]]] = {}
        for name, view in self._views.items():
            view.wants = view.now()
            if view.visible:
                view.told = {slot: want for slot, want in view.told.items() if view.wants.get(slot) == want}
            for slot, want in view.wants.items():
                if slot not in view.told and self._may_ask(name, view, want):
                    wanted[(name, *slot)] = (want, self._params(want))
        self._answers.keep_only(wanted)
        for (name, _column, _slot), (want, params) in wanted.items():
            self._answers.ask(name, want, params, self)
        self._on_idle()

    def _params(self, want: Want) -> dict[str, Any]:
        params = dict(want.params)
        if want.opens and 0 <= want.column < len(self.columns) and "column" not in params:
            params["column"] = self.columns[want.column]
        return params

    def _may_ask(self, name: str, view: _Attached, want: Want) -> bool:
        """Return whether the columns that a want needs are open; tells the view of one that cannot be opened."""
        for column in _columns_in(self._params(want)):
            state = self.state_of(column)
            if state.state == "failed" and state.failure is not None and want.column >= 0:
                view.told[(want.column, want.slot)] = want
                view.widget.set_failure(want, state.failure)
                return False
            if state.state in ("closed", "opening") and column in self.columns:
                return False
        return True

    def _open_columns(self) -> None:
        """Have every column opened that is not; an opening that nobody waits for any more is cancelled."""
        shown = {column.weights_key for column in self.columns}
        for key in [key for key in self._opening if key not in shown]:
            self.client.cancel(self._opening.pop(key))
            self._states.pop(key, None)
        for column in self.columns:
            if self.state_of(column).state == "closed":
                self._set_state(column.weights_key, ColumnState("opening"))
                self._opening[column.weights_key] = 0
                number = self.client.ask("open", {"column": column}, _Opening(self, column.weights_key).handlers())
                if column.weights_key in self._opening:
                    self._opening[column.weights_key] = number

    def _set_state(self, key: Weights, state: ColumnState) -> None:
        self._states[key] = state
        for index, column in enumerate(self.columns):
            if column.weights_key == key:
                self.column_state_changed.emit(index, state)

    def on_open(self, key: Weights, state: ColumnState) -> None:
        """Take note of how the opening of a checkpoint goes."""
        if key in self._opening:
            if state.state != "opening":
                del self._opening[key]
                self._soon.start()
            self._set_state(key, state)

    def on_answer(self, name: str, want: Want, outcome: Any, part: str) -> None:
        """Hand an answer (``part`` reply, partial, progress or failure) to the view that still wants it."""
        view = self._views.get(name)
        slot = (want.column, want.slot)
        if view is None or view.wants.get(slot) != want:
            return
        if part == "partial":
            view.widget.set_partial(want, outcome)
        elif part == "progress":
            view.widget.set_progress(want, outcome)
        elif part == "failure":
            view.has_heard(want)
            view.widget.set_failure(want, outcome)
            if outcome.kind == "bug":
                self.failed.emit(outcome)
        else:
            view.has_heard(want)
            view.widget.set_answer(want, outcome)

    @Slot(str)
    def _on_engine_state(self, state: str) -> None:
        if state in ("dead", "closed", "starting"):
            self._states.clear()
            self._opening.clear()
            for index in range(len(self.columns)):
                self.column_state_changed.emit(index, ColumnState())
        if state == "starting":
            for view in self._views.values():
                view.told.clear()
            self._soon.start()

    @Slot()
    def _on_idle(self) -> None:
        if self.is_settled:
            self.settled.emit()


@dataclass(frozen=True)
class _Opening:
    """Listens to the opening of one column."""

    session: Session
    key: Weights

    def handlers(self) -> Handlers:
        return Handlers(reply=self.on_reply, failure=self.on_failure, progress=self.on_progress)

    def on_reply(self, value: Any) -> None:
        self.session.on_open(self.key, ColumnState("open", loaded=value if isinstance(value, Loaded) else None))

    def on_failure(self, failure: Failure) -> None:
        state = ColumnState() if failure.kind == "cancelled" else ColumnState("failed", failure=failure)
        self.session.on_open(self.key, state)

    def on_progress(self, progress: Progress) -> None:
        self.session.on_open(self.key, ColumnState("opening", progress=progress))


class _Origin(QObject):
    """Remembers which view a selection comes from; lives as long as the view."""

    def __init__(self, session: Session, name: str, view: QObject) -> None:
        super().__init__(view)
        self._session = session
        self._name = name

    @Slot(dict)
    def on_selected(self, selection: dict[str, Any]) -> None:
        self._session.select(selection, self._name)


def _single_shot(parent: QObject, milliseconds: int, slot: Any) -> QTimer:
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    timer.timeout.connect(slot)
    return timer


def _columns_in(params: Mapping[str, Any]) -> Iterator[Column]:
    for value in params.values():
        if isinstance(value, Column):
            yield value
        elif isinstance(value, tuple | list):
            yield from (item for item in value if isinstance(item, Column))
