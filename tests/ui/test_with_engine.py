"""The real window with the real engine and tiny models: answers arrive, killing the engine loses nothing, nothing is left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtGui import QImage

from lab.settings import Settings
from lab.ui.app import App
from lab.ui.engine import Handlers
from lab.ui.pictures import SHEET_WIDTH, contact_sheet
from models.columns import Column, Sampler

ROOT = Path(__file__).parents[2]
FAKE = Path(__file__).with_name("fake_engine.py")
SECONDS = 240


def lineage_columns(folder: Path) -> tuple[Column, ...]:
    return tuple(Column(str(folder / stage), label=stage) for stage in ("pretrain", "sft", "rlhf"))


def settled(app: App, qtbot: Any) -> None:
    session = app.context.session
    qtbot.waitUntil(
        lambda: session.is_settled and all(session.state_of(c).state == "open" for c in session.columns), timeout=SECONDS * 1000
    )


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_answers_arrive_and_survive_the_engine(
    open_app: Callable[..., App], qtbot: Any, messages: Any, tiny_lineage: Path, tmp_path: Path
) -> None:
    """Open a lineage, read an answer, kill the engine while it answers, restart, close."""
    app = open_app(settings=Settings(text="The quick brown fox", folders=(str(tiny_lineage),)))
    app.context.session.set_columns(lineage_columns(tiny_lineage))
    settled(app, qtbot)
    view = app.window.centre.view_widget("tokens")
    assert view is not None
    header, rows = view.table()
    assert len(rows) >= 4
    assert len(header) == len(rows[0])
    before = str((header, rows))
    values = [value for row in rows for value in row if isinstance(value, float)]
    assert np.isfinite(values).any()

    long = Column(str(tiny_lineage / "sft"), sampler=Sampler(temperature=1.0, max_new_tokens=4_000))
    steps: list[Any] = []
    failures: list[Any] = []
    app.context.client.ask(
        "generate", {"column": long, "prompt": "The"}, Handlers(failure=failures.append, partial=steps.append)
    )
    qtbot.waitUntil(lambda: len(steps) >= 2, timeout=SECONDS * 1000)
    os.kill(app.context.client.pid, signal.SIGKILL)
    qtbot.waitUntil(lambda: bool(failures), timeout=20_000)
    assert "signal 9" in messages.expect("engine stopped").what
    assert failures[0].kind == "cancelled"
    assert str(view.table()) == before

    app.window.message_bar.act.click()
    qtbot.waitUntil(lambda: app.context.client.state == "ready", timeout=SECONDS * 1000)
    settled(app, qtbot)
    assert app.context.session.text == "The quick brown fox"
    assert str(view.table()) == before


def test_one_picture_of_each_asked_view(tiny_lineage: Path, tmp_path: Path) -> None:
    """The picture command draws with the real window and the real engine, without a screen."""
    command = [
        sys.executable, "-m", "lab.ui.pictures", "--output", str(tmp_path / "out"), "--views", "tokens",
        "--columns", str(tiny_lineage / "pretrain"), str(tiny_lineage / "sft"), "--text", "The dog", "--size", "900x600",
        "--themes", "light,dark",
    ]  # fmt: skip
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert run.returncode == 0, run.stderr
    names = [Path(line).name for line in run.stdout.splitlines()]
    assert names == ["tokens-light-en.png", "tokens-dark-en.png"]
    assert len({path.read_bytes() for path in (tmp_path / "out").iterdir()}) == 2
    sheet = contact_sheet(sorted((tmp_path / "out").iterdir()), tmp_path / "sheet.png")
    assert sheet.stat().st_size < 400_000
    assert QImage(str(sheet)).width() == SHEET_WIDTH
    wrong = [*command[:4], str(tmp_path / "no"), "--views", "nothing", "--engine", f"{sys.executable} {FAKE}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(wrong, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert run.returncode == 2
    assert "no view nothing" in run.stderr


CLOSER = """
import random, sys
from PySide6.QtCore import QTimer, qInstallMessageHandler
from PySide6.QtWidgets import QApplication
told = []
qInstallMessageHandler(lambda kind, where, text: told.append(text) if "plugin does not support" not in text else None)
from lab.ui.app import App
chance = random.Random(int(sys.argv[1]))
application = QApplication(["triptych"])
for _ in range(int(sys.argv[2])):
    app = App([sys.executable, sys.argv[3]])
    app.finished.connect(application.quit)
    app.start()
    QTimer.singleShot(chance.choice([0, 1, 20, 100, 300, 700, 1500]), app.window.close)
    application.exec()
    app.window.deleteLater()
    for item in (*app.context.objects(), app):
        item.deleteLater()
    application.processEvents()
assert told == [], told
"""


def test_the_window_can_be_closed_at_any_moment(home: Path) -> None:
    """Closed during its first frame, while views are made, while answers arrive: no crash, no warning, no process left."""
    seed = random.Random(7).randrange(1_000)
    command = [sys.executable, "-c", CLOSER, str(seed), "12", str(FAKE)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Traceback" not in run.stderr
