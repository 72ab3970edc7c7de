"""Run folders tell the truth about a job, whatever became of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.runs import RunBusy, RunFolder, Tail, event_to_json, find_runs, lock_held, summarise
from models.events import Metrics, Note, Partial, Progress, Saved
from models.records.scores import Cell

CHILD = """
import sys, time
from pathlib import Path
from lab.runs import RunFolder
from models.events import Progress
run = RunFolder(Path(sys.argv[1]))
run.start("train", "a run", ("triptych", "train"))
run.append(Progress(3, 10, "steps"))
print("ready", flush=True)
time.sleep(60)
"""


def finished(path: Path, state: str = "done", error: str = "") -> RunFolder:
    run = RunFolder(path)
    run.start("eval", "scores", ("triptych", "eval", "x"))
    run.append(Progress(1, 4, "items"))
    run.append(Progress(4, 4, "items"))
    run.end(state, error)
    return run


def test_a_finished_run(tmp_path: Path) -> None:
    finished(tmp_path / "r")
    job = summarise(tmp_path / "r")
    assert (job.state, job.done, job.total, job.what, job.kind, job.title) == ("done", 4, 4, "items", "eval", "scores")
    assert job.command == ("triptych", "eval", "x")
    assert not lock_held(tmp_path / "r")


def test_a_failed_run_keeps_its_reason(tmp_path: Path) -> None:
    finished(tmp_path / "r", "failed", "no space left")
    assert (summarise(tmp_path / "r").state, summarise(tmp_path / "r").error) == ("failed", "no space left")


def test_a_killed_run_reads_crashed_and_a_living_one_running(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path / "r")], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child, child.stdout:
        assert child.stdout.readline() == b"ready\n"
        job = summarise(tmp_path / "r")
        assert (job.state, job.done) == ("running", 3)
        with pytest.raises(RunBusy):
            RunFolder(tmp_path / "r").start("train", "second", ())
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    job = summarise(tmp_path / "r")
    assert job.state == "crashed"
    assert "resumed" in job.error
    assert job.done == 3


def test_the_stop_file_is_seen_and_cleared_by_the_next_start(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.start("train", "", ())
    assert not run.stop_asked()
    (tmp_path / "STOP").touch()
    assert run.stop_asked()
    run.end("stopped")
    again = RunFolder(tmp_path)
    again.start("train", "", ())
    assert not again.stop_asked()
    again.end("done")


def test_tail_gives_complete_lines_only_and_each_once(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    tail = Tail(path)
    assert tail.read() == []
    path.write_bytes(b'{"a": 1}\n{"a": ')
    assert tail.read() == [{"a": 1}]
    assert tail.read() == []
    with path.open("ab") as file:
        file.write('"二"}\nnot json\n[1]\n{"a": 3}\n'.encode())
    assert tail.read() == [{"a": "二"}, {"a": 3}]
    assert tail.offset == path.stat().st_size


@pytest.mark.parametrize(
    ("event", "name"),
    [
        (Progress(1, 2, "x"), "progress"),
        (Metrics(3, {"loss": 1.5}), "metrics"),
        (Saved("p", 4), "saved"),
        (Note("hm", "warning"), "note"),
        (Partial(Cell("a", "sft", "b", "m", 1.0, 0.0, 2.0, 3, True)), "partial"),
    ],
)
def test_every_event_becomes_json(event: object, name: str) -> None:
    row = json.loads(json.dumps(event_to_json(event)))  # type: ignore[arg-type]
    assert row["event"] == name
    assert row["time"] > 1.6e9


def test_runs_are_found_but_not_the_parts_inside_them(tmp_path: Path) -> None:
    finished(tmp_path / "a")
    finished(tmp_path / "a" / "pretrain")
    finished(tmp_path / "deep" / "b")
    (tmp_path / "deep" / "c").mkdir()
    assert sorted(p.name for p in find_runs((tmp_path,))) == ["a", "b"]


def test_what_comes_after_a_torn_line_is_kept(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.start("train", "", ())
    run.end("done")
    with (tmp_path / "events.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"event": "progr')
    again = RunFolder(tmp_path)
    again.start("train", "", ())
    again.append(Note("hello"))
    again.end("failed", "why")
    assert [row["event"] for row in Tail(tmp_path / "events.jsonl").read()] == ["started", "ended", "started", "note", "ended"]
    assert summarise(tmp_path).error == "why"


def test_a_look_at_a_run_reads_only_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunFolder(tmp_path)
    run.start("train", "", ())
    for step in range(3000):
        run.append(Metrics(step, {"loss": 1.0}))
    assert summarise(tmp_path).state == "running"
    size = (tmp_path / "events.jsonl").stat().st_size
    offsets: list[int] = []
    inner = Tail.read
    monkeypatch.setattr(Tail, "read", lambda self, limit=4000: offsets.append(self.offset) or inner(self, limit))
    run.append(Progress(3, 9, "x"))
    run.end("done")
    job = summarise(tmp_path)
    assert (job.state, job.done) == ("done", 3)
    assert min(offsets) == size
    (tmp_path / "events.jsonl").write_text('{"event": "started", "time": 5}\n', encoding="utf-8")  # begun again
    assert summarise(tmp_path).state == "crashed"


def test_progress_is_written_now_and_then_and_at_its_end(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.start("eval", "", ())
    for step in range(1, 1001):
        run.append(Progress(step, 1000, "items"))
    run.append(Progress(0, 0, "saving"))
    run.end("done")
    rows = [row for row in Tail(tmp_path / "events.jsonl").read() if row["event"] == "progress"]
    assert len(rows) < 10
    assert [(row["done"], row["what"]) for row in rows[-2:]] == [(1000, "items"), (0, "saving")]


def test_somebody_who_looks_does_not_keep_a_run_from_starting(tmp_path: Path) -> None:
    import fcntl
    import threading

    (tmp_path / "run.lock").touch()
    with (tmp_path / "run.lock").open("r", encoding="utf-8") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        letting_go = threading.Timer(0.1, lambda: fcntl.flock(looking, fcntl.LOCK_UN))
        letting_go.start()
        run = RunFolder(tmp_path)
        run.start("train", "", ())
        run.end("done")
        letting_go.join()


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
ROWS = st.lists(
    JSON
    | st.fixed_dictionaries(
        {"event": st.sampled_from(["started", "ended", "progress", "note"])},
        optional=dict.fromkeys(("time", "done", "total", "what", "state", "error"), JSON),
    ),
    max_size=6,
)


@settings(max_examples=150, deadline=None)
@given(rows=ROWS, config=JSON, tail=st.binary(max_size=20))
def test_no_journal_breaks_the_list_of_jobs(rows: list[object], config: object, tail: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        (run / "config.json").write_text(json.dumps(config), encoding="utf-8")
        (run / "events.jsonl").write_bytes("".join(json.dumps(row) + "\n" for row in rows).encode() + tail)
        job = summarise(run)
        assert job.path == folder
        assert job.seconds >= 0
