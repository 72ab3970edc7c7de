"""What a view is: a widget that draws the data it is given and says what data it wants.

A view never fetches. The session reads ``wants()``, asks the engine, and hands every answer back through
``set_answer``. A view says ``changed`` when what it wants has changed (another head was clicked), and the session asks
again; late answers never reach it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from models.columns import Column
from models.events import Progress


@dataclass(frozen=True)
class Want:
    """One request to the engine.

    Args:
        slot: The view's own name for the answer. A newer want of the same column and slot replaces the older.
        op: Operation of the engine, such as ``"tokens"``; ``params`` go with it.
        column: Index of the column that it is for, -1 for all of them together.
        streamed: Whether partial answers are wanted (``set_partial``).
        fresh: Change it to have an equal request asked again (a button was pressed).
        opens: Whether it is about the column's open model; False for what needs its files only, and waits for nothing.
    """

    slot: str
    op: str
    params: Mapping[str, Any] = field(default_factory=dict)
    column: int = -1
    streamed: bool = False
    fresh: int = 0
    opens: bool = True


@dataclass(frozen=True)
class Failure:
    """Why a want was not answered, in words for the reader. ``kind`` is user, bug or cancelled."""

    kind: str
    what: str
    hint: str = ""
    details: str = ""


class ViewWidget(QWidget):
    """Base of every view's widget. Setters never emit ``changed``."""

    changed = Signal()
    """What the view wants has changed: the session calls ``wants()`` again."""
    selected = Signal(dict)
    """Something was selected; the session tells the other views through ``set_selection``."""
    message = Signal(str)
    """A short sentence for the status bar."""
    open_requested = Signal(str, str, tuple)
    """Name of another view, a text and columns: the window shows that text there, in these columns (none: those there are)."""

    def set_columns(self, columns: tuple[Column, ...]) -> None:
        """Show these one to four columns; forgets the answers of columns that changed."""
        raise NotImplementedError

    def set_text(self, text: str) -> None:
        """Take the text of the prompt bar."""
        raise NotImplementedError

    def wants(self) -> list[Want]:
        """Return what the view needs now; called only while the view is visible."""
        raise NotImplementedError

    def set_answer(self, want: Want, value: Any) -> None:
        """Draw the answer to a want."""
        raise NotImplementedError

    def set_partial(self, want: Want, value: Any) -> None:
        """Draw a part of a streamed answer."""

    def set_progress(self, want: Want, progress: Progress) -> None:
        """Show how far the answer is."""

    def set_failure(self, want: Want, failure: Failure) -> None:
        """Show why there is no answer, in place."""
        raise NotImplementedError

    def set_selection(self, selection: dict[str, Any]) -> None:
        """Follow a selection made in another view, such as ``{"token": 3}`` or ``{"layer": 1, "head": 2}``."""

    def runs_changed(self) -> None:
        """Ask anew for what runs write: one has begun or ended, started here or in a terminal."""

    def state(self) -> dict[str, Any]:
        """Return what to remember (JSON values): chosen layer, head, scale, ..."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state`` returned; ignores what it does not know."""

    def python(self) -> str:
        """Return Python lines that compute what is shown, in a loop over ``name, checkpoint`` with a text ``TEXT``.

        They are indented by four spaces and call ``models/api.py``. Empty: the window writes its usual lines.
        """
        return ""

    def command(self) -> tuple[str, ...]:
        """Return the flags of ``triptych inspect CKPT --text TEXT`` that print what is shown; empty: surprisals."""
        return ()

    def script(self) -> str:
        """Return a whole Python script that computes what is shown, where no loop over the columns can.

        Empty: the window writes one around ``python``.
        """
        return ""

    def command_line(self) -> str | None:
        """Return whole command lines that print what is shown, where ``triptych inspect`` cannot.

        None: the window writes them with the flags of ``command``. Empty: no command prints it.
        """
        return None

    def demonstrate(self) -> None:
        """Do what makes the view show something when it needs a click for that; called for pictures only."""

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return header and rows of the data on screen, for "Save data as CSV"."""
        return [], []


@dataclass(frozen=True)
class View:
    """A kind of view, as its module declares it in ``VIEW``.

    Args:
        name: Stable name, such as ``"tokens"``. ``order`` sorts the views in the window.
        title: Function that returns the title in the chosen language.
        tip: Function that returns one sentence for the tooltip.
        make: Builds the widget; called when the view is first shown.
    """

    name: str
    order: int
    title: Callable[[], str]
    tip: Callable[[], str]
    make: Callable[[], ViewWidget]
