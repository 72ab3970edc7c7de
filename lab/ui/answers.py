"""Requests of the views on their way: equal ones are sent once, known answers are given at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from lab.ui.engine import EngineClient, Handlers
from lab.ui.view import Failure, Want
from models.protocol import ProtocolError, encode
from models.words import _

PURE = frozenset({
    "tokens", "attention_grid", "attention", "attention_pair", "head_cost", "distribution", "describe", "render",
    "sampler_chain", "beams", "divergence",
    "project", "points", "neighbours", "analogy", "drift", "point_values", "positions", "tensor_list",
    "tensor_statistics", "tensor", "tensor_changes", "lens", "lens_difference", "norms", "attribution", "neurons",
    "effect", "encode", "vocabulary",
})  # fmt: skip
"""Operations whose answer depends on their parameters alone, as long as the files stay the same."""
DOING = frozenset({"start_job", "stop_job", "start_training", "vote", "label_answer", "export_runs", "export_vectors"})
"""Operations that do something: they are asked once, and heard to the end even if the view is hidden meanwhile."""
KEPT = 48

Place = tuple[str, int, str]
"""View, column, slot."""


class Receiver(Protocol):
    """Who takes the answers (the session)."""

    def on_answer(self, name: str, want: Want, outcome: Any, part: str) -> None:
        """Take an answer, or a part of one."""


@dataclass
class _Flight:
    """One request that was sent, and everybody who waits for it."""

    receiver: Receiver
    waiting: dict[Place, Want] = field(default_factory=dict)
    number: int = 0

    def tell(self, value: Any, part: str) -> None:
        """Hand an answer to everybody who waits for it."""
        for (name, _column, _slot), want in list(self.waiting.items()):
            self.receiver.on_answer(name, want, value, part)


class Answers(QObject):
    """Between the views' wants and the engine's requests."""

    idle = Signal()
    """Nothing is on its way any more."""

    def __init__(self, client: EngineClient, parent: QObject) -> None:
        super().__init__(parent)
        self._client = client
        self._flights: dict[bytes, _Flight] = {}
        self._known: OrderedDict[bytes, Any] = OrderedDict()
        self._ready: list[tuple[Receiver, str, Want, Any]] = []
        self._hand_out = QTimer(self)
        self._hand_out.setSingleShot(True)
        self._hand_out.timeout.connect(self._on_hand_out)

    @property
    def n_pending(self) -> int:
        """How many requests are on their way or about to be handed out."""
        return len(self._flights) + len(self._ready)

    def forget(self) -> None:
        """Forget every answer, so that all is asked again, but for what does something."""
        self._known.clear()
        for identity, flight in list(self._flights.items()):
            if not any(want.op in DOING for want in flight.waiting.values()):
                del self._flights[identity]
                self._client.cancel(flight.number)

    def stop(self) -> None:
        """Cancel everything and tell those who wait."""
        flights, self._flights = list(self._flights.values()), {}
        for flight in flights:
            self._client.cancel(flight.number)
            flight.tell(Failure("cancelled", _("Stopped.")), "failure")
        self.settle()

    def keep_only(self, wanted: Mapping[Place, tuple[Want, dict[str, Any]]]) -> None:
        """Cancel what nobody wants any more."""
        for identity, flight in list(self._flights.items()):
            flight.waiting = {
                place: want for place, want in flight.waiting.items() if place in wanted and wanted[place][0] == want
            }
            if not flight.waiting:
                del self._flights[identity]
                self._client.cancel(flight.number)

    def ask(self, name: str, want: Want, params: dict[str, Any], receiver: Receiver) -> None:
        """Have a want answered: from memory, by a request under way, or by a new one."""
        try:
            identity = encode([want.op, params, want.fresh, name if want.streamed else ""])
        except (ProtocolError, UnicodeEncodeError) as error:
            long = _("This text is too long to be looked into."), _("Use a shorter one.")
            half = _("This text holds half of a character."), _("Take it out.")
            receiver.on_answer(name, want, Failure("user", *(long if isinstance(error, ProtocolError) else half)), "failure")
            return
        place = (name, want.column, want.slot)
        if identity in self._known:
            self._known.move_to_end(identity)
            entry = (receiver, name, want, self._known[identity])
            self._ready = [*(item for item in self._ready if item[1:3] != entry[1:3]), entry]
            self._hand_out.start(0)
        elif identity in self._flights:
            self._flights[identity].waiting[place] = want
        else:
            flight = _Flight(receiver, {place: want})
            self._flights[identity] = flight
            landing = _Landing(self, identity, flight, want.op in PURE)
            flight.number = self._client.ask(want.op, params, landing.handlers())

    def land(self, identity: bytes, flight: _Flight) -> bool:
        """Take a request off the list; False if it was given up."""
        if self._flights.get(identity) is not flight:
            return False
        del self._flights[identity]
        return True

    def keep(self, identity: bytes, value: Any) -> None:
        """Remember an answer; the least recently used one goes."""
        self._known[identity] = value
        while len(self._known) > KEPT:
            self._known.popitem(last=False)

    @Slot()
    def _on_hand_out(self) -> None:
        ready, self._ready = self._ready, []
        for receiver, name, want, value in ready:
            receiver.on_answer(name, want, value, "reply")
        self.settle()

    def settle(self) -> None:
        """Say so if nothing is on its way."""
        if not self.n_pending:
            self.idle.emit()


@dataclass(frozen=True)
class _Landing:
    """Listens to one request and hands its answer to everybody who waits for it."""

    answers: Answers
    identity: bytes
    flight: _Flight
    keep: bool

    def handlers(self) -> Handlers:
        return Handlers(self.on_reply, self.on_failure, self.on_partial, self.on_progress)

    def on_reply(self, value: Any) -> None:
        if self.answers.land(self.identity, self.flight):
            if self.keep:
                self.answers.keep(self.identity, value)
            self.flight.tell(value, "reply")
            self.answers.settle()

    def on_failure(self, failure: Failure) -> None:
        if self.answers.land(self.identity, self.flight):
            self.flight.tell(failure, "failure")
            self.answers.settle()

    def on_partial(self, value: Any) -> None:
        self.flight.tell(value, "partial")

    def on_progress(self, value: Any) -> None:
        self.flight.tell(value, "progress")
