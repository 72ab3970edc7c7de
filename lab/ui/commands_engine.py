"""Commands on the engine: restart it, stop what it computes, say that it died."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.ui.messages import Message
from models.words import _

if TYPE_CHECKING:
    from lab.ui.window import Window


class EngineCommands:
    """What can be done with the engine."""

    def __init__(self, window: Window) -> None:
        self._window = window

    def restart(self) -> None:
        """Start the engine anew; columns, text and views stay."""
        self._window.message_bar.dismiss()
        self._window.context.client.restart()

    def stop_all(self) -> None:
        """Stop what is being computed for the views."""
        self._window.context.session.stop_all()

    def report_death(self, reason: str, stderr: str) -> None:
        """Say that the engine died, why, and offer a restart."""
        self._window.context.hub.post(
            Message(
                "error",
                _("The engine stopped: {reason}.").format(reason=reason),
                _("Columns, text and views are kept; nothing is computed until it is restarted."),
                stderr,
                (_("Restart engine"), self.restart),
            )
        )
