"""The engine's process with a checkpoint on a card: it answers, gives the card back, says what does not fit, can be lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from models.columns import Column, Sampler
from models.protocol import Frames, encode
from tests.fakes import TEXT

CHILD = "from lab.serving import operations; from models.engine import main; main(operations())"


class Client:
    """Talks to an engine in a process of its own."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.frames, self.found, self.number = Frames(), [], 0
        self.hello = self.next()

    def next(self) -> Any:
        assert self.process.stdout is not None
        while not self.found:
            data = os.read(self.process.stdout.fileno(), 1 << 16)
            assert data, "the engine ended"
            self.found += list(self.frames.feed(data))
        return self.found.pop(0)

    def ask(self, op: str, **params: Any) -> Any:
        """Return the answer, or the error that it was answered with."""
        self.number += 1
        assert self.process.stdin is not None
        self.process.stdin.write(encode({"type": "request", "id": self.number, "key": "", "op": op, "params": params}))
        self.process.stdin.flush()
        while True:
            message = self.next()
            if message.get("id") == self.number and message["type"] in ("reply", "error"):
                return message.get("value", message.get("error"))

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


@pytest.fixture
def client(card: str) -> Iterator[Client]:
    made = Client()
    yield made
    made.close()


def test_the_window_is_told_of_the_card_and_answered(client: Client, tiny: Callable[..., Path], card: str) -> None:
    rows = client.ask("devices")
    assert rows[0]["name"].startswith(card)
    column = Column(str(tiny("llama")), device=card, sampler=Sampler(temperature=0.0, max_new_tokens=5))
    assert client.ask("open", column=column).device.startswith(card)
    assert len(client.ask("attention_grid", column=column, text=TEXT).thumbnails)
    assert len(client.ask("generate", column=column, prompt=TEXT).token_ids) > 0
    auto = client.ask("open", column=Column(str(tiny("llama", 1))))
    assert auto.device.startswith(card) or card == "cpu"
    assert client.ask("open", column=Column(str(tiny("llama", 2)), device="cpu")).device == "cpu"


def test_a_killed_engine_leaves_the_card_to_the_next(tiny: Callable[..., Path], card: str) -> None:
    column = Column(str(tiny("llama")), device=card)
    first = Client()
    first.ask("open", column=column)
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    for pipe in (first.process.stdin, first.process.stdout):
        assert pipe is not None
        pipe.close()
    second = Client()
    assert second.ask("lens", column=column, text=TEXT).tokens
    second.close()
