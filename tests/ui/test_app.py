"""The program around the window: uncaught errors, crashes, ended jobs; in child processes where the process itself matters."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.settings import Settings
from lab.ui.app import App
from lab.ui.crashes import FOLDER, take_reports
from models.records.scores import Job

FAKE = Path(__file__).with_name("fake_engine.py")
ROOT = Path(__file__).parents[2]
START = """
import sys, threading
from PySide6.QtCore import QTimer
from lab.ui import app as program
made = []
class Kept(program.App):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        made.append(self)
        self.context.client.greeted.connect(self.misbehave)
        self.timer = QTimer(self)
        self.timer.timeout.connect(self.look)
        self.timer.start(50)
    def misbehave(self):
        MISBEHAVE
    def look(self):
        if self.context.client.state == "ready" and len(self.context.hub.history) >= int(sys.argv[2]):
            self.timer.stop()
            print("|".join(message.what for message in self.context.hub.history), flush=True)
            self.window.close()
program.App = Kept
sys.exit(program.main(f"{sys.executable} {sys.argv[1]}"))
"""


def start(home: Path, misbehave: str, n_messages: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TRIPTYCH_HOME": str(home), "QT_QPA_PLATFORM": "offscreen"}
    command = [sys.executable, "-c", START.replace("MISBEHAVE", misbehave), str(FAKE), str(n_messages)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False)


def test_an_error_in_a_slot_or_a_thread_is_told_and_the_window_goes_on(home: Path) -> None:
    run = start(home, "threading.Thread(target=lambda: 1 / 0).start(); raise ValueError('in a slot')", 2)
    assert run.returncode == 0, run.stderr
    assert "ValueError: in a slot" in run.stdout
    assert "ZeroDivisionError" in run.stdout
    assert list((home / FOLDER).iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_crash_is_reported_at_the_next_start_and_only_once(home: Path) -> None:
    crash = start(home, "import faulthandler; faulthandler._sigsegv()")
    assert crash.returncode != 0
    again = start(home, "pass", 1)
    assert "crashed last time" in again.stdout
    third = start(home, "pass")
    assert "crashed last time" not in third.stdout


def test_without_a_place_to_write_the_window_starts_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    home = str(tmp_path / "file" / "home")
    code = "import sys; from pathlib import Path; from lab.ui.crashes import CrashFile; CrashFile(Path(sys.argv[1])).close()"
    subprocess.run([sys.executable, "-c", code, home], check=True)
    assert take_reports(Path(home)) == []


def test_a_living_window_keeps_its_crash_file(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    mine = tmp_path / FOLDER / f"{os.getpid()}.log"
    mine.write_text("not yet", encoding="utf-8")
    gone = tmp_path / FOLDER / "999999999.log"
    gone.write_text("Fatal Python error: Segmentation fault", encoding="utf-8")
    empty = tmp_path / FOLDER / "999999998.log"
    empty.touch()
    assert take_reports(tmp_path) == ["Fatal Python error: Segmentation fault"]
    assert mine.exists()
    assert not gone.exists()
    assert not empty.exists()
    assert take_reports(tmp_path) == []


def test_the_end_of_a_job_is_told(open_app: Callable[..., App], qtbot: Any, messages: Any) -> None:
    app = open_app([sys.executable, str(FAKE)], Settings(text="a"), start=False)
    job = Job("1", "/runs/1", "eval", "World", "running", 1, 2)
    app.context.catalogue._on_jobs((job, dataclasses.replace(job, id="2")))
    app.context.catalogue._timer.stop()
    done = dataclasses.replace(job, state="done")
    failed = dataclasses.replace(job, id="2", state="failed", error="The disk is full.")
    app.context.catalogue._on_jobs((done, failed))
    app.context.catalogue._timer.stop()
    assert messages.expect("World is done").action is not None
    assert messages.expect("World failed").hint == "The disk is full."
    app.context.catalogue._on_jobs((done, failed))
    app.context.catalogue._timer.stop()
    assert len(messages.all) == 2
