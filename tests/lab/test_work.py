"""Work on the command line: journal, stopping, errors."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from lab import work
from lab.runs import RunFolder, Tail, lock_held, summarise
from lab.work import Stopped, follow, journalled
from models.errors import UserError
from models.events import Note, Progress, Work


def counting(n: int, closed: list[str] | None = None, stop: Path | None = None) -> Work[int]:
    try:
        for i in range(n):
            if stop is not None and i == 3:
                stop.touch()
            yield Progress(i, n, "counting")
    finally:
        if closed is not None:
            closed.append("saved")
    return n


def test_follow_returns_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    def talking() -> Work[str]:
        yield Note("a choice was made")
        return "end"

    assert follow(talking()) == "end"
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "a choice was made" in captured.err


def test_journal_has_every_event_and_the_end(tmp_path: Path) -> None:
    assert journalled(counting(5), tmp_path, "eval", "t", ()) == 5
    rows = Tail(tmp_path / "events.jsonl").read()
    assert [r["event"] for r in rows] == ["started", "progress", "progress", "ended"]  # not every one: once a second
    assert [r["done"] for r in rows[1:3]] == [0, 4]
    assert rows[-1]["state"] == "done"


def test_work_is_closed_when_the_journal_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []

    def full(*_things: object, **_settings: object) -> None:
        assert closed == []
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunFolder, "append", full)
    with pytest.raises(OSError, match="No space left"):
        journalled(counting(5, closed), tmp_path, "train", "t", ())
    assert closed == ["saved"]
    assert not lock_held(tmp_path)
    assert "No space left" in summarise(tmp_path).error


def test_a_stop_file_saves_and_stops(tmp_path: Path) -> None:
    closed: list[str] = []
    with pytest.raises(Stopped):
        journalled(counting(1000, closed, tmp_path / "STOP"), tmp_path, "train", "t", ())
    assert closed == ["saved"]
    job = summarise(tmp_path)
    assert job.state == "stopped"
    assert job.done < 10


def test_one_interrupt_saves_and_stops(tmp_path: Path) -> None:
    closed: list[str] = []

    def interrupted() -> Work[int]:
        inner = counting(1000, closed)
        for i, event in enumerate(inner):
            if i == 5:
                os.kill(os.getpid(), signal.SIGINT)
            try:
                yield event
            finally:
                if i >= 5:
                    inner.close()
        return 0

    with pytest.raises(Stopped):
        journalled(interrupted(), tmp_path, "train", "t", ())
    assert closed == ["saved"]
    assert summarise(tmp_path).state == "stopped"


def test_an_error_is_written_down_and_flies_on(tmp_path: Path) -> None:
    def failing() -> Work[int]:
        yield Progress(0, 1)
        raise UserError("x.y", "the file z is empty.", "Fill it.")

    with pytest.raises(UserError):
        journalled(failing(), tmp_path, "train", "t", ())
    job = summarise(tmp_path)
    assert (job.state, job.error) == ("failed", "the file z is empty. Fill it.")


def test_a_busy_run_is_a_user_error(tmp_path: Path) -> None:
    def outer() -> Work[int]:
        yield Progress(0, 1)
        with pytest.raises(UserError, match="another process"):
            journalled(counting(1), tmp_path, "train", "t", ())
        return 1

    assert journalled(outer(), tmp_path, "train", "t", ()) == 1


def test_progress_in_a_log_is_counted_whole_and_says_nothing_of_an_unknown_end(capsys: pytest.CaptureFixture[str]) -> None:
    for event in (Progress(0, 0, "asking the Hub"), Progress(768.113, 1296, "answering"), Progress(0.5, 1, "reading")):
        work._plain_display()(event)
    assert capsys.readouterr().err.splitlines() == ["asking the Hub", "answering 768/1296", "reading 50%"]
