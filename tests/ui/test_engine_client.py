"""The engine client: answers, order, death, nonsense."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.ui.engine import EngineClient, Handlers, engine_command, reason_of_death
from lab.ui.view import Failure
from models.protocol import encode

FAKE = Path(__file__).with_name("fake_engine.py")


@pytest.fixture
def client(qtbot: Any) -> Iterator[Callable[..., EngineClient]]:
    made: list[EngineClient] = []

    def build(*arguments: str, wait: bool = True) -> EngineClient:
        client = EngineClient([sys.executable, str(FAKE), *arguments], {"PYTHONPATH": str(FAKE.parents[2])})
        made.append(client)
        if wait:
            with qtbot.waitSignal(client.greeted, timeout=60_000):
                client.start()
        return client

    yield build
    for each in made:
        each.close()
        each.deleteLater()


class Heard:
    """Collects what a request is told."""

    def __init__(self) -> None:
        self.said: list[tuple[str, Any]] = []

    def handlers(self) -> Handlers:
        return Handlers(
            reply=lambda value: self.said.append(("reply", value)),
            failure=lambda value: self.said.append(("failure", value)),
            partial=lambda value: self.said.append(("partial", value)),
            progress=lambda value: self.said.append(("progress", value)),
        )

    def done(self) -> bool:
        return any(kind in ("reply", "failure") for kind, _value in self.said)


def test_a_request_is_answered_with_progress_and_parts_in_order(client: Any, qtbot: Any) -> None:
    engine, heard = client(), Heard()
    engine.ask("stream", {"a": (1, 2)}, heard.handlers())
    qtbot.waitUntil(heard.done, timeout=10_000)
    kinds = [kind for kind, _value in heard.said]
    assert kinds == ["progress", "partial", "partial", "partial", "reply"]
    assert [value for kind, value in heard.said if kind == "partial"] == [0, 1, 2]
    assert heard.said[0][1].what == "half"


def test_requests_made_before_the_engine_runs_are_sent(client: Any, qtbot: Any) -> None:
    engine, heard = client(wait=False), Heard()
    engine.start()
    engine.ask("echo", {"text": "é中"}, heard.handlers())
    qtbot.waitUntil(heard.done, timeout=60_000)
    assert heard.said[-1] == ("reply", {"text": "é中"})


def test_a_newer_request_with_the_same_key_silences_the_older(client: Any, qtbot: Any) -> None:
    engine, older, newer = client(), Heard(), Heard()
    engine.ask("echo", {"n": 1}, older.handlers(), key="k")
    engine.ask("echo", {"n": 2}, newer.handlers(), key="k")
    qtbot.waitUntil(newer.done, timeout=10_000)
    assert older.said == []
    assert newer.said[-1] == ("reply", {"n": 2})
    assert engine.n_pending == 0


def test_nothing_is_told_about_a_cancelled_request(client: Any, qtbot: Any) -> None:
    engine, heard, after = client(), Heard(), Heard()
    number = engine.ask("stream", {}, heard.handlers())
    engine.cancel(number)
    engine.ask("echo", {}, after.handlers())
    qtbot.waitUntil(after.done, timeout=10_000)
    assert heard.said == []


def test_one_that_cannot_take_its_answer_does_not_keep_the_others_from_theirs(client: Any, qtbot: Any) -> None:
    engine, heard = client("--mute", "echo"), Heard()

    def stumble(_value: object) -> None:
        raise RuntimeError("a view that stumbles")

    first = engine.ask("echo", {}, Handlers(reply=stumble))
    second = engine.ask("echo", {}, heard.handlers())
    engine._arrived.append(b"".join(encode({"type": "reply", "id": number, "value": 5}) for number in (first, second)))
    with pytest.raises(RuntimeError, match="stumbles"):
        engine._on_pump()
    qtbot.waitUntil(heard.done, timeout=10_000)
    assert heard.said == [("reply", 5)]


def test_errors_of_users_and_bugs_are_told_apart(client: Any, qtbot: Any) -> None:
    engine, user, bug = client("--fail", "echo"), Heard(), Heard()
    engine.ask("echo", {}, user.handlers())
    engine.ask("bug", {}, bug.handlers())
    qtbot.waitUntil(bug.done, timeout=10_000)
    assert user.said[-1] == ("failure", Failure("user", "echo cannot be done.", "Do something else."))
    assert bug.said[-1][1].kind == "bug"
    assert bug.said[-1][1].details == "Traceback"


def test_a_four_megabyte_answer_arrives_whole(client: Any, qtbot: Any) -> None:
    engine, heard = client(), Heard()
    engine.ask("big", {}, heard.handlers())
    qtbot.waitUntil(heard.done, timeout=20_000)
    arrays = heard.said[-1][1]
    assert [array.shape for array in arrays] == [(250_000,)] * 4


def test_an_engine_that_exits_fails_what_was_asked_and_says_why(client: Any, qtbot: Any) -> None:
    engine, heard = client("--mute", "echo"), Heard()
    engine.ask("echo", {}, heard.handlers())
    with qtbot.waitSignal(engine.died, timeout=10_000) as death:
        engine.ask("die", {}, Handlers())
    assert "exit code 3" in death.args[0]
    assert "a line on stderr" in death.args[1]
    assert heard.said[-1][1].kind == "cancelled"
    assert engine.state == "dead"


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_killed_engine_is_named_so_and_can_be_started_again(client: Any, qtbot: Any) -> None:
    engine = client()
    with qtbot.waitSignal(engine.died, timeout=10_000) as death:
        os.kill(engine.pid, signal.SIGKILL)
    assert "signal 9" in death.args[0]
    refused = Heard()
    engine.ask("echo", {}, refused.handlers())
    qtbot.waitUntil(refused.done, timeout=5_000)
    assert refused.said[-1][1].kind == "cancelled"
    with qtbot.waitSignal(engine.greeted, timeout=60_000):
        engine.restart()
    heard = Heard()
    engine.ask("echo", {"again": True}, heard.handlers())
    qtbot.waitUntil(heard.done, timeout=10_000)
    assert heard.said[-1] == ("reply", {"again": True})


def test_an_engine_that_talks_nonsense_is_ended(client: Any, qtbot: Any) -> None:
    engine = client("--garbage", wait=False)
    with qtbot.waitSignal(engine.died, timeout=60_000) as death:
        engine.start()
    assert "protocol" in death.args[0]


def test_another_protocol_is_refused_in_one_sentence(client: Any, qtbot: Any) -> None:
    engine = client("--protocol", "99", wait=False)
    with qtbot.waitSignal(engine.died, timeout=60_000) as death:
        engine.start()
    assert "99" in death.args[0]
    assert engine.state == "dead"


def test_a_command_that_does_not_exist_is_named(qtbot: Any) -> None:
    engine = EngineClient(["/nowhere/engine"])
    with qtbot.waitSignal(engine.died, timeout=10_000) as death:
        engine.start()
    assert "/nowhere/engine" in death.args[0]
    engine.deleteLater()


def test_the_engine_command_is_split_as_a_shell_would() -> None:
    assert engine_command('ssh "gpu box" triptych engine') == ["ssh", "gpu box", "triptych", "engine"]
    assert engine_command("")[1:] == ["-m", "lab", "engine"]


def test_reasons_of_death() -> None:
    assert "exit code 7" in reason_of_death(7, crashed=False)
    assert "SIGSEGV" in reason_of_death(11, crashed=True)
    assert "memory" in reason_of_death(9, crashed=True)
