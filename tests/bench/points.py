"""Points under the clock: the frames of a drag and the search for the point under the mouse."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

SIZE = (900, 600)
PART = 40_000


def _set(n: int) -> Any:
    from lab.ui.widgets.point_set import PointSet
    from models.records.embeddings import PlaneFacts, Projection

    chance = np.random.default_rng(0)
    middles = chance.normal(0, 3, (12, 2))
    xy = (middles[np.arange(n) % 12] + chance.normal(0, 0.6, (n, 2))).astype(np.float32)
    (x0, y0), (x1, y1) = xy.min(axis=0), xy.max(axis=0)
    points = PointSet(PlaneFacts("c", n, PART, "pca", "input", box=(float(x0), float(x1), float(y0), float(y1))))
    for start in range(0, n, PART):
        some = xy[start : start + PART]
        ids = np.arange(start, start + len(some), dtype=np.int32)
        points.add(Projection("c", some, tuple(map(str, ids.tolist())), ids, np.ones(len(some), np.float32), "pca", "input",
                              start=start, total=n))  # fmt: skip
    return points


def frames(n: int, count: int = 120) -> tuple[list[float], list[float]]:
    """Return milliseconds of the frames of a drag over n points, and of finding the point under the mouse."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from PySide6.QtCore import QPointF
    from PySide6.QtGui import QImage
    from PySide6.QtWidgets import QApplication

    from lab.ui.widgets.scatter import Scatter

    app = QApplication.instance() or QApplication(["bench"])
    scatter = Scatter()
    scatter.resize(*SIZE)
    scatter.set_points(_set(n), (0, 114, 178))
    scatter.show_all()
    scatter.show()
    app.processEvents()
    scatter.finish_drawing()
    picture = QImage(*SIZE, QImage.Format.Format_RGB32)
    dragged, found = [], []
    for step in range(count):
        rect = scatter.range()
        begin = time.perf_counter()
        scatter.set_range(rect.translated(rect.width() * (0.012 if step < count // 2 else -0.012), 0))
        scatter.render(picture)
        app.processEvents()  # a portion of the next picture, where one is being drawn
        dragged.append(1e3 * (time.perf_counter() - begin))
    for step in range(count):
        place = QPointF(SIZE[0] * (0.1 + 0.8 * step / count), SIZE[1] * 0.5)
        begin = time.perf_counter()
        scatter.index_at(place)
        found.append(1e3 * (time.perf_counter() - begin))
    scatter.close()
    scatter.deleteLater()
    app.processEvents()
    return dragged, found
