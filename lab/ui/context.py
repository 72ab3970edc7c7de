"""What outlives the window when it is built anew: engine, session, messages, settings, lists."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QObject

from lab.ui.catalogue import Catalogue
from lab.ui.engine import EngineClient
from lab.ui.messages import MessageHub
from lab.ui.session import Session
from lab.ui.store import Store


@dataclass(frozen=True)
class Context:
    """Everything that the parts of the window share; passed to their constructors."""

    client: EngineClient
    session: Session
    hub: MessageHub
    store: Store
    catalogue: Catalogue

    def objects(self) -> tuple[QObject, ...]:
        """Return the parts, in the order in which they can be let go."""
        return (self.session, self.catalogue, self.store, self.hub, self.client)
