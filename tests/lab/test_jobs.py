"""Jobs start detached, wait for each other, and stop when asked."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from lab import jobs
from lab.job_commands import resumed
from lab.runs import RunFolder
from lab.settings import runs_root
from models import priority
from models.errors import UserError
from models.events import Progress
from models.records.scores import Job


@pytest.fixture(autouse=True)
def _fresh_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path / "home"))


@pytest.fixture
def spawned(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    started: list[tuple[str, ...]] = []
    monkeypatch.setattr(jobs, "spawn", lambda argv, run: started.append(argv) or 0)
    return started


def running(name: str) -> RunFolder:
    run = RunFolder(runs_root() / name)
    run.start("train", name, ())
    run.append(Progress(1, 2))
    return run


def test_only_our_own_commands_are_jobs() -> None:
    with pytest.raises(UserError, match="rm -rf is not a job"):
        jobs.start(("rm", "-rf"))
    with pytest.raises(UserError):
        jobs.start(())


def test_a_job_gets_an_output_folder_of_its_own(spawned: list[tuple[str, ...]]) -> None:
    job = jobs.start(("eval", "ckpt", "--tasks", "a"))
    assert spawned[0][:4] == ("eval", "ckpt", "--tasks", "a")
    assert spawned[0][4] == "--output-path"
    assert Path(spawned[0][5]).parent == runs_root()
    assert job.command == ("triptych", *spawned[0])
    jobs.start(("train", "r.yaml", "--output", "/tmp/mine"))
    assert spawned[1] == ("train", "r.yaml", "--output", "/tmp/mine")


def test_a_second_job_waits_until_the_first_has_ended(spawned: list[tuple[str, ...]]) -> None:
    first = running("one")
    job = jobs.start(("train", "r.yaml"), title="second")
    assert spawned == []
    assert [(j.title, j.state) for j in jobs.listed()] == [("second", "queued"), ("one", "running")]
    jobs.advance()
    assert spawned == []
    first.end("done")
    jobs.advance()
    assert [argv[:2] for argv in spawned] == [("train", "r.yaml")]
    assert jobs.read_queue() == []
    assert job.state == "queued"


def test_a_job_counts_from_the_moment_it_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    children: list[subprocess.Popen[bytes]] = []

    def spawn(argv: tuple[str, ...], run: Path) -> int:
        run.mkdir(parents=True)
        children.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))
        return children[-1].pid

    monkeypatch.setattr(jobs, "spawn", spawn)
    try:
        jobs.start(("train", "a.yaml"), title="first")
        jobs.start(("train", "b.yaml"), title="second")
        jobs.start(("train", "c.yaml"), title="third")
        for _look in range(3):
            jobs.advance()  # the first has not come so far as to lock its folder
        assert len(children) == 1
        assert [job.title for job in jobs.listed()] == ["second", "third", "first"]
        assert {job.state for job in jobs.listed()} == {"queued"}
        end(children[0])
        jobs.advance()
        jobs.advance()
        assert len(children) == 2
        assert [row.title for row in jobs.read_queue()] == ["third"]
    finally:
        for child in children:
            end(child)


def end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.communicate()


def test_a_job_that_never_began_says_why(spawned: list[tuple[str, ...]]) -> None:
    job = jobs.start(("train", "nothing.yaml"), title="in vain")
    folder = Path(job.path)
    folder.mkdir(parents=True)
    (folder / "console.log").write_text("some noise\nnothing.yaml cannot be read.\n\n", encoding="utf-8")
    (found,) = jobs.listed()
    assert (found.title, found.state, found.error) == ("in vain", "failed", "nothing.yaml cannot be read.")


ADD = """
import sys
from lab import jobs
for number in range(20):
    jobs.start(("train", f"{sys.argv[1]}-{number}.yaml"))
"""


def test_two_that_queue_at_once_lose_nothing() -> None:
    first = running("one")
    adding = [subprocess.Popen([sys.executable, "-c", ADD, name]) for name in ("a", "b")]
    assert [child.wait() for child in adding] == [0, 0]
    assert len(jobs.read_queue()) == 40
    first.end("done")


@pytest.mark.parametrize("words", [("-o", "/x/y"), ("--output", "/x/y"), ("--output=/x/y",), ("--output_path=/x/y",)])
def test_every_spelling_of_the_output_folder_counts(words: tuple[str, ...], spawned: list[tuple[str, ...]]) -> None:
    assert jobs.start(("eval", "ckpt", "--tasks", "a", *words)).path == "/x/y"
    assert spawned == [("eval", "ckpt", "--tasks", "a", *words)]


def test_stopping(spawned: list[tuple[str, ...]]) -> None:
    first = running("one")
    waiting = jobs.start(("train", "r.yaml"))
    jobs.stop(waiting.id)
    assert jobs.read_queue() == []
    jobs.stop(str(first.path))
    assert first.stop_asked()
    first.end("stopped")
    with pytest.raises(UserError, match="not a run"):
        jobs.stop("nowhere")


def test_a_real_job_outlives_its_starter_and_says_why_it_failed() -> None:
    job = jobs.start(("train", "no-such-recipe.yaml"))
    started = psutil.Process(jobs._children[-1].pid)
    assert int(started.nice()) == min(int(psutil.Process().nice()) + priority.JOB, priority.LAST)  # it makes way for the window
    log = Path(job.path) / "console.log"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and "no-such-recipe.yaml" not in (log.read_text() if log.exists() else ""):
        time.sleep(0.05)
    assert "no-such-recipe.yaml" in log.read_text()
    assert "Traceback" not in log.read_text()
    while time.monotonic() < deadline and jobs._children:
        jobs.reap()
    assert jobs._children == []


def test_a_job_that_has_not_begun_yet_is_stopped_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process runs but has not locked its folder: a STOP file would be swept away when it does."""
    children: list[subprocess.Popen[bytes]] = []

    def spawn(argv: tuple[str, ...], run: Path) -> int:
        run.mkdir(parents=True)
        children.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]))
        return children[-1].pid

    monkeypatch.setattr(jobs, "spawn", spawn)
    job = jobs.start(("eval", "ckpt", "--tasks", "a"))
    try:
        assert [one.state for one in jobs.listed()] == ["queued"]
        jobs.stop(job.id)
        assert children[0].wait(timeout=60) != 0
    finally:
        end(children[0])
    assert jobs.listed() == []
    with pytest.raises(UserError, match="is not a run"):
        jobs.stop(job.id)


def test_what_goes_on_where_it_stopped_and_what_does_not() -> None:
    def job(state: str, *words: str) -> Job:
        return Job("/runs/x", "/runs/x", words[0] if words else "", "x", state, command=("triptych", *words) if words else ())

    eval_words = ("eval", "ckpt", "--tasks", "a", "--output-path", "/runs/x")
    for state in ("stopped", "crashed", "failed"):
        assert resumed(job(state, *eval_words)) == eval_words
    assert resumed(job("stopped", "hallucination", "ckpt")) == ("hallucination", "ckpt", "--output", "/runs/x")
    train = ("train", "r.yaml", "--output", "/runs/x", "--resume")
    assert resumed(job("stopped", *train)) == resumed(job("stopped", *train[:-1])) == train
    for nothing in (job("done", *eval_words), job("running", *eval_words), job("stopped"), job("stopped", "demo"),
                    job("stopped", "eval", "ckpt", "-o", "there")):  # fmt: skip
        assert resumed(nothing) == ()
