"""Commands of the Help menu: guide, shortcuts, palette, messages, about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.ui.message_bar import TextDialog, history_text
from models.words import _

if TYPE_CHECKING:
    from lab.ui.window import Window


class HelpCommands:
    """What helps to find one's way."""

    def __init__(self, window: Window) -> None:
        self._window = window

    def guide(self) -> None:
        """Show the guide."""
        from lab.ui.guide import GuideDialog

        GuideDialog(self._window).show()

    def shortcuts(self) -> None:
        """Show every shortcut."""
        from lab.ui.sheet import ShortcutSheet

        ShortcutSheet(list(self._window.actions_by_id.values()), self._window).open()

    def palette(self) -> None:
        """Find a command by typing a part of its name."""
        from lab.ui.palette import CommandPalette

        CommandPalette(list(self._window.actions_by_id.values()), self._window).open()

    def messages(self) -> None:
        """Show all messages so far."""
        TextDialog(_("Messages so far"), history_text(self._window.context.hub), self._window).open()

    def about(self) -> None:
        """Say what this program is."""
        from lab.ui.sheet import AboutDialog

        AboutDialog(self._window.context.client.hello, self._window).open()
