"""The status bar: the engine's state, memory, and a way to the messages so far."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QStatusBar

from lab.ui import theme
from lab.ui.engine import EngineClient
from lab.ui.formats import size
from lab.ui.parts import label, tool
from models.words import _

SAY_MS = 6_000


def state_words(state: str) -> str:
    """Return what the engine's state is called."""
    return {
        "starting": _("engine starting"),
        "ready": _("engine ready"),
        "dead": _("engine stopped"),
        "closed": _("engine closed"),
    }[state]


class Status(QStatusBar):
    """Shows passing remarks at the left and the engine at the right."""

    messages_requested = Signal()

    def __init__(self, client: EngineClient) -> None:
        super().__init__()
        self._client = client
        self.setSizeGripEnabled(False)
        self._busy = label("")
        self._memory = label("")
        self._state = label("")
        messages = tool("bell", _("Messages so far"), 15)
        messages.clicked.connect(self.messages_requested)
        for each in (self._busy, self._memory, self._state, messages):
            self.addPermanentWidget(each)
        client.state_changed.connect(self._on_state)
        client.greeted.connect(self._on_hello)
        client.busy_changed.connect(self._on_busy)
        self._on_state(client.state)
        self._on_hello(client.hello)

    def say(self, text: str) -> None:
        """Show a remark for a few seconds."""
        self.showMessage(text, SAY_MS)

    def refresh_theme(self) -> None:
        """Use the new theme's colours."""
        self._on_state(self._client.state)

    @Slot(str)
    def _on_state(self, state: str) -> None:
        colours = theme.current()
        colour = {"ready": colours.good, "starting": colours.warn}.get(state, colours.bad)
        self._state.setText("● " + state_words(state))
        self._state.setStyleSheet(f"color: {colour};")

    @Slot(dict)
    def _on_hello(self, hello: dict[str, object]) -> None:
        memory = hello.get("memory")
        if isinstance(memory, tuple | list) and len(memory) == 2:
            self._show_memory(memory[0], memory[1])

    @Slot(tuple)
    def set_devices(self, devices: tuple[dict[str, Any], ...]) -> None:
        """Show the free memory of the device that is used unless said otherwise."""
        first = devices[0] if devices else {}
        if first.get("total"):
            self._show_memory(first.get("free", 0), first["total"])

    def _show_memory(self, free: float, total: float) -> None:
        self._memory.setText(_("{free} of {total} memory free").format(free=size(free), total=size(total)))

    @Slot(int)
    def _on_busy(self, n_pending: int) -> None:
        self._busy.setText(_("{n} under way").format(n=n_pending) if n_pending else "")
