"""Blind voting in Chat: which two answers are shown, in which order, and the vote that comes of it."""

from __future__ import annotations

import getpass
import random
import time
from collections.abc import Sequence
from typing import Any

from lab.ui.view import Want
from lab.ui.widgets.conversation import Exchange, Reply
from lab.ui.widgets.vote_pane import VotePane
from models.columns import Column
from models.records.votes import Votes
from models.words import _

FINISHED = ("done", "stopped")


def names_of(columns: Sequence[Column]) -> list[str]:
    """Return the columns' names, told apart by their settings' place where two are called alike."""
    names = [column.name for column in columns]
    return [f"{name} #{place + 1}" if names.count(name) > 1 else name for place, name in enumerate(names)]


class Voting:
    """Draws the pairs and makes the votes; the window's answers come through ``take``."""

    def __init__(self, pane: VotePane, seed: int | None = None) -> None:
        self.pane = pane
        self.on = False
        self.pair: tuple[int, int] | None = None
        """Columns shown as A and B."""
        self.revealed = False
        self._chance = random.Random(seed)
        self._vote: dict[str, Any] = {}
        self._serial = 0

    def draw_pair(self, exchange: Exchange | None, columns: Sequence[Column]) -> None:
        """Choose two of the columns that answer, and their order, at random, once for each exchange."""
        if exchange is None or self.pair is not None:
            return
        places = [place for place in sorted(exchange.replies) if place < len(columns)]
        if len(places) > 1:
            first, second = self._chance.sample(places, 2)
            self.pair = (first, second)

    def choose(self, places: Sequence[int]) -> list[int]:
        """Choose which two of these columns shall answer the next message, in the order in which they are shown."""
        self.again()
        if len(places) < 2:
            return []
        first, second = self._chance.sample(list(places), 2)
        self.pair = (first, second)
        return [first, second]

    def again(self) -> None:
        """Forget the pair: the next answers are another question, or another pair of the same."""
        self.pair, self.revealed = None, False
        self.pane.show_waiting("", _("Write a message below; two of the columns answer it, without their names."))

    def wants(self) -> list[Want]:
        """Return the requests for the win rates and for writing a vote."""
        if not self.on:
            return []
        found = [Want("votes", "votes", {})]
        if self._vote:
            found.append(Want("vote", "vote", {"vote": self._vote}, fresh=self._serial))
        return found

    def vote(self, name: str, exchange: Exchange, columns: Sequence[Column], messages: Sequence[dict[str, str]]) -> None:
        """Make a vote of a choice; it is written by the engine."""
        if self.pair is None or self.revealed or self._vote:
            return
        names, shown = names_of(columns), self.pair
        places = sorted(shown)
        answers = [_answer(names[place], exchange.replies[place]) for place in places]
        order = [places.index(place) for place in shown]
        choice: int | str = "tie" if name == "tie" else order["AB".index(name)]
        self._vote = {
            "prompt": list(messages), "answers": answers, "order_shown": order, "choice": choice,
            "criterion": str(self.pane.criterion.currentData()), "judge": _judge(), "time": round(time.time(), 3),
        }  # fmt: skip
        self._serial += 1

    def take(self, value: Votes, columns: Sequence[Column], written: bool) -> None:
        """Show the win rates, and after a vote who wrote what."""
        tip = _("All votes in {path}; a tie counts half; Wilson's interval").format(path=value.path)
        self.pane.set_tallies(value.tallies, tip)
        if written:
            self._vote, self.revealed = {}, True
            if self.pair is not None and max(self.pair) < len(columns):
                names = names_of(columns)
                said = _("Written to {path}: {n} votes. Write the next message below.").format(path=value.path, n=value.n)
                self.pane.reveal(names[self.pair[0]], names[self.pair[1]], said)

    def failed(self) -> None:
        """Let the vote be tried again."""
        self._vote = {}

    def draw(self, exchange: Exchange | None, columns: Sequence[Column]) -> None:
        """Show the pair, or what is waited for."""
        if exchange is None:
            self.pane.show_waiting("", _("Write a message below; two of the columns answer it, without their names."))
            return
        self.draw_pair(exchange, columns)
        if self.revealed:
            return
        if self.pair is None:
            self.pane.show_waiting(exchange.user, _("Blind votes need two columns that can chat."))
            return
        replies = [exchange.replies.get(place) for place in self.pair]
        if any(reply is None or reply.state == "failed" for reply in replies):
            self.pane.show_waiting(exchange.user, _("One of the two gave no answer: there is nothing to compare."))
        elif all(reply is not None and reply.state in FINISHED for reply in replies):
            if not self.pane.can_vote():
                self.pane.show_answers(exchange.user, *(reply.said() for reply in replies if reply is not None))
        else:
            self.pane.show_waiting(exchange.user, _("Both answers are being written…"))


def _answer(name: str, reply: Reply) -> dict[str, Any]:
    ids = reply.generation.token_ids if reply.generation is not None else [step.id for step in reply.steps]
    return {"checkpoint": name, "text": reply.said(), "token_ids": [int(i) for i in ids]}


def _judge() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""
