"""The window under the clock: first frame, first answer, heartbeat. Prints one line of JSON last.

``python -m tests.bench.window --until first_frame|answer|heartbeat [--seconds N] [--busy MODEL]``
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PySide6.QtCore import QObject, Qt, QTimer, Slot
from PySide6.QtWidgets import QApplication

BEAT_MS = 5
TIMEOUT_SECONDS = 400


class Heartbeat(QObject):
    """A timer of 5 ms; keeps the gaps between its beats."""

    def __init__(self) -> None:
        super().__init__()
        self.gaps: list[float] = []
        self._last = 0.0
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)

    def start(self) -> None:
        self._last = time.perf_counter()
        self._timer.start(BEAT_MS)

    def stop(self) -> dict[str, float]:
        """Return the median, the 99th percentile and the worst gap in milliseconds."""
        self._timer.stop()
        gaps = 1000 * np.asarray(self.gaps or [0.0])
        middle, high = np.percentile(gaps, [50, 99])
        return {"p50": float(middle), "p99": float(high), "worst": float(gaps.max()), "beats": len(self.gaps)}

    @Slot()
    def _beat(self) -> None:
        now = time.perf_counter()
        self.gaps.append(now - self._last)
        self._last = now


class Run(QObject):
    """Opens the real window, measures, closes it."""

    def __init__(self, asked: argparse.Namespace, app: QApplication) -> None:
        super().__init__()
        from lab.ui.app import App, spare_collector
        from lab.ui.engine import engine_command

        self.asked = asked
        self.app = app
        self.result: dict[str, Any] = {}
        self.heartbeat = Heartbeat()
        self.born = psutil.Process().create_time()
        self.whole = App(engine_command())
        self.whole.window.first_painted.connect(self.on_first_frame)
        self.whole.window.centre.docks_made.connect(self.on_docks)
        self.whole.window.centre.docks_made.connect(spare_collector)  # as the real start does
        self.job: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self.asked.busy:
            from models.columns import Column

            column = Column(self.asked.busy)
            columns = tuple(replace(column, label=f"{n + 1}") for n in range(4))
            self.whole.context.session.set_columns(columns)
            self.whole.context.session.set_text(long_text())
            self.job = start_training()
        self.whole.start()

    @Slot()
    def on_first_frame(self) -> None:
        self.result["first_frame"] = time.time() - self.born
        if self.asked.until == "first_frame":
            self.finish()
        elif self.asked.until == "heartbeat":
            self.heartbeat.start()
            QTimer.singleShot(int(self.asked.seconds * 1000), self, self.finish)

    @Slot()
    def on_docks(self) -> None:
        """Wrap the first view's ``set_answer`` so that its first answer is noted when it has been drawn."""
        widget = self.whole.window.centre.view_widget("tokens")
        if widget is None:
            QTimer.singleShot(0, self, self.on_docks)
            return
        draws = widget.set_answer

        def noted(want: Any, value: Any) -> None:
            draws(want, value)
            if "answer" not in self.result:
                self.app.processEvents()
                self.result["answer"] = time.time() - self.born
                if self.asked.until == "answer":
                    QTimer.singleShot(0, self, self.finish)

        widget.set_answer = noted  # type: ignore[method-assign]

    @Slot()
    def finish(self) -> None:
        if self.asked.until == "heartbeat":
            self.result |= self.heartbeat.stop()
        if self.job is not None:
            self.job.terminate()
            self.job.wait()
        self.whole.close()
        self.app.quit()


def long_text() -> str:
    """Return about 1,024 tokens of plain English."""
    sentence = "The lighthouse keeper wrote down the colour of the sea every morning before he lit the stove. "
    return (sentence * 60)[:5400]


def start_training() -> subprocess.Popen[bytes]:
    """Start a small training job as the window would: our own command line, which makes way for it."""
    from models.priority import JOB, make_way

    folder = tempfile.mkdtemp(prefix="triptych-bench-")
    recipe = Path("assets") / "recipes" / "quick.yaml"
    command = [sys.executable, "-m", "lab", "train", str(recipe), "--output", folder]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    make_way(JOB, child.pid)
    return child


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--until", choices=("first_frame", "answer", "heartbeat"), default="first_frame")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--busy", default="")
    asked = parser.parse_args()
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    os.environ["TRIPTYCH_HOME"] = tempfile.mkdtemp(prefix="triptych-bench-home-")
    app = QApplication(["triptych"])
    run = Run(asked, app)
    QTimer.singleShot(TIMEOUT_SECONDS * 1000, run, run.finish)
    run.start()
    app.exec()
    print(json.dumps(run.result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
