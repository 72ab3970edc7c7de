"""The engine's process with a checkpoint on a card: it answers, gives the card back, says what does not fit, can be lost."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from models.columns import Column, Sampler
from tests.fakes import TEXT
from tests.models.test_engine import Process

CHILD = "from lab.serving import operations; from models.engine import main; main(operations())"


class Client(Process):
    """An engine with all its operations, whose errors are seen."""

    def __init__(self) -> None:
        super().__init__(CHILD, stderr=None)
        self.next()

    def answer(self, op: str, **params: Any) -> Any:
        """Return the answer, or the error that it was answered with."""
        return self.ask(op, **params)[0]


@pytest.fixture
def client(card: str) -> Iterator[Client]:
    made = Client()
    yield made
    made.close()


def test_the_window_is_told_of_the_card_and_answered(client: Client, tiny: Callable[..., Path], card: str) -> None:
    rows = client.answer("devices")
    assert rows[0]["name"].startswith(card)
    column = Column(str(tiny("llama")), device=card, sampler=Sampler(temperature=0.0, max_new_tokens=5))
    assert client.answer("open", column=column).device.startswith(card)
    assert len(client.answer("attention_grid", column=column, text=TEXT).thumbnails)
    assert len(client.answer("generate", column=column, prompt=TEXT).token_ids) > 0
    auto = client.answer("open", column=Column(str(tiny("llama", 1))))
    assert auto.device.startswith(card) or card == "cpu"
    assert client.answer("open", column=Column(str(tiny("llama", 2)), device="cpu")).device == "cpu"


def test_a_killed_engine_leaves_the_card_to_the_next(tiny: Callable[..., Path], card: str) -> None:
    column = Column(str(tiny("llama")), device=card)
    first = Client()
    first.answer("open", column=column)
    first.child.send_signal(signal.SIGKILL)
    first.child.wait()
    for pipe in (first.child.stdin, first.child.stdout):
        assert pipe is not None
        pipe.close()
    second = Client()
    assert second.answer("lens", column=column, text=TEXT).tokens
    second.close()
