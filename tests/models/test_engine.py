"""The engine: order, cancelling, replacing, errors, and that no bad message ends it."""

from __future__ import annotations

import os
import queue
import random
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from models import cancelling, priority
from models.columns import Column, Sampler
from models.engine import Engine, describe_error
from models.errors import UserError
from models.events import Note, Partial, Progress
from models.protocol import MAX_MESSAGE, Frames, encode
from models.records.checkpoints import Lineage
from models.records.sampling import Generation
from models.records.tokens import TokenStrip

WAIT = 60.0


class Client:
    """Talks to an engine that runs in a thread of this process."""

    def __init__(self, operations: dict[str, Callable[..., Any]]) -> None:
        self.reading, self._theirs = os.pipe()
        theirs_in, self.writing = os.pipe()
        self.engine = Engine(operations, theirs_in, os.fdopen(self._theirs, "wb", buffering=0))
        self.thread = threading.Thread(target=self.engine.serve, args=({"devices": (), "memory": (1, 2)},), daemon=True)
        self.thread.start()
        self.messages: queue.Queue[Any] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.kept: list[Any] = []

    def _read(self) -> None:
        frames = Frames()
        while data := os.read(self.reading, 65536):
            for message in frames.feed(data):
                self.messages.put(message)

    def raw(self, data: bytes) -> None:
        os.write(self.writing, data)

    def ask(self, number: int, op: str, key: str = "", **params: Any) -> None:
        self.raw(encode({"type": "request", "id": number, "key": key, "op": op, "params": params}))

    def cancel(self, number: int) -> None:
        self.raw(encode({"type": "cancel", "id": number}))

    def next(self) -> Any:
        return self.messages.get(timeout=WAIT)

    def until(self, number: int, *kinds: str) -> Any:
        """Return the first message of these kinds for a request, earlier ones first; others are kept in order."""
        for place, message in enumerate(self.kept):
            if message.get("id") == number and message["type"] in kinds:
                return self.kept.pop(place)
        while True:
            message = self.next()
            if message.get("id") == number and message["type"] in kinds:
                return message
            self.kept.append(message)

    def close(self) -> None:
        os.close(self.writing)
        self.thread.join(WAIT)
        assert not self.thread.is_alive()


def count(n: int = 3) -> Iterator[Any]:
    for number in range(n):
        yield Partial(number)
    return n


GO = threading.Event()
SEEN: list[str] = []


def endless() -> Iterator[Any]:
    try:
        while True:
            yield Partial("more")
            GO.wait(0.001)
    finally:
        SEEN.append("closed")


def layers() -> Iterator[Any]:
    """One step that never yields but checks as a layer's hook does."""
    yield Partial("begun")
    while True:
        cancelling.check()
        GO.wait(0.001)


def broken() -> Iterator[Any]:
    yield Note("about to break")
    raise ZeroDivisionError("by design")


def panicking() -> Iterator[Any]:
    class PanicException(BaseException):
        pass

    yield Progress(0, 1)
    raise PanicException("rust")


def mendable() -> Iterator[Any]:
    yield from ()
    raise UserError("test.mend", "This file is wrong.", "Use another.")


def large(n: int) -> Iterator[Any]:
    yield from ()
    return np.zeros(n, dtype=np.uint8)


def strange() -> Iterator[Any]:
    yield Partial(object())
    return {1, 2}


OPERATIONS = {
    "count": count, "endless": endless, "layers": layers, "broken": broken, "panicking": panicking,
    "mendable": mendable, "large": large, "strange": strange, "project": count,
}  # fmt: skip


@pytest.fixture
def client() -> Iterator[Client]:
    client = Client(OPERATIONS)
    assert client.next()["type"] == "hello"
    yield client
    client.close()


def test_partials_then_the_reply(client: Client) -> None:
    client.ask(1, "count", n=2)
    assert [client.next() for _ in range(3)] == [
        {"type": "partial", "id": 1, "value": 0}, {"type": "partial", "id": 1, "value": 1},
        {"type": "reply", "id": 1, "value": 2},
    ]  # fmt: skip


def test_requests_are_served_in_turn(client: Client) -> None:
    client.ask(1, "endless")
    client.until(1, "partial")
    client.ask(2, "count")
    assert client.until(2, "reply")["value"] == 3
    client.ask(3, "project")  # waits behind the interactive ones, but is not starved
    assert client.until(3, "reply")["value"] == 3
    client.until(1, "partial")
    client.cancel(1)
    assert client.until(1, "error")["error"]["kind"] == "cancelled"


def test_cancelling_closes_the_generator(client: Client) -> None:
    SEEN.clear()
    client.ask(1, "endless")
    client.until(1, "partial")
    client.cancel(1)
    assert client.until(1, "error")["error"]["kind"] == "cancelled"
    assert SEEN == ["closed"]


def test_a_computation_that_does_not_yield_is_cancelled_by_its_hook(client: Client) -> None:
    client.ask(1, "layers")
    client.until(1, "partial")
    client.cancel(1)
    assert client.until(1, "error")["error"]["kind"] == "cancelled"
    client.ask(2, "count")
    assert client.until(2, "reply")["value"] == 3


def test_a_newer_request_with_the_same_key_replaces_the_older(client: Client) -> None:
    client.ask(1, "layers", key="tokens/0")
    client.until(1, "partial")
    client.ask(2, "count", key="tokens/0")
    assert client.until(1, "error")["error"]["kind"] == "cancelled"
    assert client.until(2, "reply")["value"] == 3
    client.ask(3, "count", key="tokens/1")
    assert client.until(3, "reply")["value"] == 3


def test_a_cancel_that_comes_before_its_request_counts(client: Client) -> None:
    client.cancel(9)
    client.ask(9, "endless")
    assert client.until(9, "error")["error"]["kind"] == "cancelled"


def test_errors_of_every_kind(client: Client) -> None:
    client.ask(1, "broken")
    assert client.until(1, "progress")["value"] == Note("about to break")
    error = client.until(1, "error")["error"]
    assert (error["kind"], error["id"]) == ("bug", "ZeroDivisionError")
    assert "by design" in error["what"]
    assert "test_engine.py" in error["details"]
    client.ask(2, "panicking")
    assert client.until(2, "error")["error"]["kind"] == "bug"
    client.ask(3, "mendable")
    assert client.until(3, "error")["error"] == {
        "kind": "user", "id": "test.mend", "what": "This file is wrong.", "hint": "Use another.", "details": "",
    }  # fmt: skip
    client.ask(4, "nothing")
    assert client.until(4, "error")["error"]["id"] == "engine.operation"
    client.ask(5, "count", wrong=1)
    assert client.until(5, "error")["error"]["id"] == "engine.params"
    client.ask(6, "count", n="three")
    assert client.until(6, "error")["error"]["kind"] == "bug"
    client.ask(7, "strange")
    assert client.until(7, "error")["error"]["id"] == "ProtocolError"
    client.ask(8, "count")
    assert client.until(8, "reply")["value"] == 3


def test_out_of_memory_is_for_the_user() -> None:
    assert describe_error(MemoryError())["kind"] == "user"
    assert describe_error(RuntimeError("DefaultCPUAllocator: can't allocate memory"))["id"] == "memory"


def test_no_answer_is_larger_than_a_message(client: Client) -> None:
    client.ask(1, "large", n=MAX_MESSAGE)
    assert client.until(1, "error")["error"]["kind"] == "bug"
    client.ask(2, "large", n=MAX_MESSAGE - 100)
    assert client.until(2, "reply")["value"].nbytes == MAX_MESSAGE - 100


@pytest.mark.parametrize("seed", range(4))
def test_no_bad_message_ends_it(client: Client, seed: int) -> None:
    chance = random.Random(seed)
    good = encode({"type": "request", "id": 5, "key": "", "op": "count", "params": {}})
    bad: list[bytes] = [
        encode(value)
        for value in (
            None, 3, "text", [], {}, {"type": "request"}, {"type": "request", "id": "x", "op": "count"},
            {"type": "request", "id": True, "op": "count"}, {"type": "request", "id": 6, "op": 7},
            {"type": "request", "id": 7, "op": "count", "params": [1]}, {"type": "cancel"}, {"type": "cancel", "id": 99},
            {"type": "request", "id": 8, "op": "count", "params": {1: 2}}, {"type": "reply", "id": 1, "value": 2},
            {"type": "request", "id": 10, "op": "count", "params": {"n": {"a": (1, 2)}}},
        )
    ]  # fmt: skip
    for _ in range(60):
        body = bytearray(good[4:])
        for _flip in range(chance.randrange(1, 4)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        bad.append(struct.pack("<I", len(body)) + bytes(body))
        junk = chance.randbytes(chance.randrange(0, 50))
        bad.append(struct.pack("<I", len(junk)) + junk)
    record = encode({"type": "request", "id": 11, "op": "count", "params": {"c": Column("x")}})[4:]
    for name in (b"Column", b"Nobody", b"array\x00"):
        body = record.replace(b"Column", name)
        bad.append(struct.pack("<I", len(body)) + body)
    chance.shuffle(bad)
    for data in bad:
        client.raw(data)
    client.ask(1_000_000, "count", n=1)
    assert client.until(1_000_000, "reply")["value"] == 1


def test_a_message_that_is_too_large_is_skipped(client: Client) -> None:
    client.raw(struct.pack("<I", MAX_MESSAGE + 1) + bytes(MAX_MESSAGE + 1))
    assert client.until(-1, "error")["error"]["id"] == "engine.frame"
    client.ask(1, "count")
    assert client.until(1, "reply")["value"] == 3


def test_a_stream_that_lost_its_frames_finds_them_again(client: Client) -> None:
    client.raw(b"\xff\xff\xff\xffnot a message at all")
    assert client.until(-1, "error")["error"]["id"] == "engine.frame"
    client.ask(1, "count")
    assert client.until(1, "reply")["value"] == 3


def test_progress_is_told_at_most_twenty_times_a_second() -> None:
    def busy() -> Iterator[Any]:
        for number in range(5000):
            yield Progress(number, 5000)
        return "done"

    client = Client({"busy": busy})
    client.next()
    client.ask(1, "busy")
    n_progress = 0
    while client.next()["type"] == "progress":
        n_progress += 1
    assert 1 <= n_progress < 500
    client.close()


def test_it_ends_with_its_input() -> None:
    client = Client(OPERATIONS)
    client.next()
    client.ask(1, "endless")
    client.until(1, "partial")
    client.close()


_CODE = """
import os
from models.engine import main
def shout():
    print("stray")
    os.write(1, b"stray")
    yield from ()
    return "heard"
main({"shout": shout})
"""


class Process:
    """The real engine as a child process."""

    def __init__(self, code: str = _CODE, stderr: int | None = subprocess.DEVNULL) -> None:
        command = [sys.executable, "-c", code]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr)
        self.frames, self.number = Frames(), 0
        self.waiting: list[Any] = []

    def next(self) -> Any:
        assert self.child.stdout is not None
        while not self.waiting:
            data = os.read(self.child.stdout.fileno(), 65536)
            if not data:
                raise EOFError
            self.waiting += list(self.frames.feed(data))
        return self.waiting.pop(0)

    def ask(self, op: str, **params: Any) -> tuple[Any, list[Any]]:
        assert self.child.stdin is not None
        self.number += 1
        message = {"type": "request", "id": self.number, "key": "", "op": op, "params": params}
        self.child.stdin.write(encode(message))
        self.child.stdin.flush()
        partials = []
        while True:
            answer = self.next()
            if answer["type"] == "partial":
                partials.append(answer["value"])
            if answer["type"] in ("reply", "error"):
                return answer.get("value", answer.get("error")), partials

    def close(self) -> int:
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.close()
        code = self.child.wait(WAIT)
        self.child.stdout.close()
        return code


def test_it_makes_way_for_the_window() -> None:
    engine = Process()
    engine.next()
    steps = int(psutil.Process(engine.child.pid).nice()) - int(psutil.Process().nice())
    assert steps == min(priority.ENGINE, priority.LAST - int(psutil.Process().nice()))
    assert engine.close() == 0


@pytest.mark.slow
def test_the_whole_engine_over_its_pipe(tiny: Callable[..., Path], tiny_lineage: Path) -> None:
    path = str(tiny("llama"))
    engine = Process()
    hello = engine.next()
    assert (hello["type"], hello["protocol"]) == ("hello", 1)
    assert hello["memory"][1] > 0
    assert engine.ask("shout") == ("heard", [])  # what prints to standard output spoils no message
    lineages, _ = engine.ask("list", folders=(str(tiny_lineage),))
    assert isinstance(lineages[-1], Lineage)
    assert [row.stage for row in lineages[-1].checkpoints] == ["pretrain", "sft", "rlhf"]
    column = Column(path, sampler=Sampler(max_new_tokens=5))
    strip, _ = engine.ask("tokens", column=column, text="The fox jumps")
    assert isinstance(strip, TokenStrip)
    answer, steps = engine.ask("generate", column=column, messages=({"role": "user", "content": "Hello"},))
    assert isinstance(answer, Generation)
    assert [step.id for step in steps] == list(answer.token_ids)
    error, _ = engine.ask("open", column=Column(path + "-nowhere"))
    assert error["kind"] == "user"
    assert "nowhere" in error["what"]
    assert engine.close() == 0
