"""Curves of metrics over optimizer steps: one small plot for each metric, one colour for each run, a shared cross-hair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QEvent, QPointF, Qt, QTimer, Signal
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from lab.ui.widgets.colors import Rgb, qcolor, scheme
from lab.ui.widgets.panel import Elided
from lab.ui.widgets.text import number, tooltip
from models.records.arrays import Array
from models.records.curves import smoothed

PLOT_WIDTH, PLOT_HEIGHT = 250, 165
RAW_ALPHA = 90
AXIS_WIDTH, SMALL = 52, 1e-3
"""Pixels of the axis of values; steps between its ticks that are written with an exponent."""


@dataclass(frozen=True, eq=False)
class Line:
    """One run's curve of a metric: (n,) steps and (n,) finite values; ``color`` is the number of the run's colour."""

    name: str
    steps: Array
    values: Array
    color: int = 0


def shown_values(values: Array, log: bool) -> Array:
    """Return values as they are drawn: their logarithm to base 10 where asked for, NaN where there is none."""
    if not log:
        return np.asarray(values, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(values > 0, np.log10(np.asarray(values, np.float64)), np.nan)


def value_at(line: Line, step: float) -> tuple[int, float] | None:
    """Return (step, value) of the report nearest to a step, or None where the curve has no point."""
    if not len(line.steps):
        return None
    at = int(np.argmin(np.abs(line.steps - step)))
    return int(line.steps[at]), float(line.values[at])


class ValueAxis(pg.AxisItem):  # type: ignore[misc]
    """An axis whose small values are short enough to be drawn: pyqtgraph leaves out what is wider than the axis."""

    def tickStrings(self, values: Sequence[float], scale: float, spacing: float) -> list[str]:
        """Return pyqtgraph's texts, those of steps below a thousandth as 1.5e-4."""
        step = spacing * scale
        if self.logMode or not 0 < step < SMALL:
            return list(super().tickStrings(values, scale, spacing))
        return [_short(value * scale, step) for value in values]


def _short(value: float, step: float) -> str:
    """Return a value with the digits that tell it from its neighbours a step away, as 1.5e-4."""
    if abs(value) < step / 10:
        return "0"
    digits = max(0, math.floor(math.log10(abs(value)) + 1e-9) - math.floor(math.log10(step) + 1e-9))
    mantissa, exponent = f"{value:.{digits}e}".split("e")
    return f"{mantissa}e{int(exponent)}"


class CurvePlot(QFrame):
    """One metric: raw values thin, smoothed ones on top."""

    hovered = Signal(float)
    """The step under the mouse; NaN when it leaves."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "card")
        self.title, self.readout = Elided(parent=self), Elided(parent=self)
        self.title.setMinimumWidth(60)
        self.readout.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.readout.hide()
        self.plot = pg.PlotWidget(self, axisItems={"left": ValueAxis("left")})
        self.plot.setMenuEnabled(False)
        self.plot.hideButtons()
        self.plot.getPlotItem().getAxis("left").setWidth(AXIS_WIDTH)
        self.plot.getViewBox().setMouseEnabled(x=True, y=False)
        self.plot.getViewBox().enableAutoRange()
        self.cross = pg.InfiniteLine(angle=90, movable=False)
        self.plot.addItem(self.cross, ignoreBounds=True)
        self.cross.hide()
        self._items: list[tuple[pg.PlotDataItem, pg.PlotDataItem]] = []
        self.lines: tuple[Line, ...] = ()
        top = QHBoxLayout()
        top.addWidget(self.title, 1)
        top.addWidget(self.readout, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 4)
        layout.setSpacing(2)
        layout.addLayout(top)
        layout.addWidget(self.plot, 1)
        self.setMinimumSize(PLOT_WIDTH, PLOT_HEIGHT)
        self.plot.scene().sigMouseMoved.connect(self._on_moved)

    def set_title(self, title: str, tip: str) -> None:
        """Name the metric; the tool tip explains it."""
        self.title.set_whole(title)
        self.title.setToolTip(tooltip(title, tip))
        self.plot.setAccessibleName(title)

    def set_lines(self, lines: Sequence[Line], weight: float, log: bool) -> None:
        """Draw these curves, smoothed by ``weight`` (0: raw only), on a logarithmic axis if ``log``."""
        self.lines = tuple(lines)
        colors = scheme(self.palette())
        self._recolour()
        while len(self._items) < len(lines):
            self._items.append((self.plot.plot(), self.plot.plot()))
        for number_of, (raw, smooth) in enumerate(self._items):
            if number_of >= len(lines):
                raw.setData([], [])
                smooth.setData([], [])
                continue
            line = lines[number_of]
            color: Rgb = colors.columns[line.color % len(colors.columns)]
            faint = qcolor(color)
            faint.setAlpha(RAW_ALPHA if weight else 255)
            steps = np.asarray(line.steps, np.float64)
            dots = {"symbol": "o", "symbolSize": 5, "symbolBrush": qcolor(color), "symbolPen": None} if len(steps) < 12 else {}
            raw.setData(steps, shown_values(line.values, log), pen=pg.mkPen(faint, width=1), connect="finite", **dots)
            if weight and len(steps):
                smooth.setData(steps, shown_values(smoothed(line.values, weight), log), pen=pg.mkPen(qcolor(color), width=2))
            else:
                smooth.setData([], [])
        self.plot.getPlotItem().getAxis("left").setLogMode(log)

    def set_cross(self, step: float) -> None:
        """Put the cross-hair at a step and read the curves there; NaN takes it away."""
        there = math.isfinite(step) and bool(self.lines)
        self.cross.setVisible(there)
        self.readout.setVisible(there)  # else the title has the whole line
        if not there:
            self.readout.set_whole("")
            return
        self.cross.setPos(step)
        read = {line.name: found for line in self.lines if (found := value_at(line, step)) is not None}
        texts = {name: f"{at}: {number(value, 4)}" for name, (at, value) in read.items()}
        self.readout.set_whole("  ".join(texts.values()), "\n".join(f"{name} {text}" for name, text in texts.items()))

    def _recolour(self) -> None:
        colors = scheme(self.palette())
        self.plot.setBackground(qcolor(colors.background))
        self.cross.setPen(pg.mkPen(qcolor(colors.muted), width=1, style=Qt.PenStyle.DashLine))
        for side in ("left", "bottom"):
            axis = self.plot.getPlotItem().getAxis(side)
            axis.setPen(qcolor(colors.line))
            axis.setTextPen(qcolor(colors.muted))

    def _on_moved(self, place: QPointF) -> None:
        inside = self.plot.getPlotItem().sceneBoundingRect().contains(place)
        self.hovered.emit(float(self.plot.getViewBox().mapSceneToView(place).x()) if inside else float("nan"))

    def leaveEvent(self, event: QEvent) -> None:
        """Take the cross-hairs away."""
        super().leaveEvent(event)
        self.hovered.emit(float("nan"))


class CurveGrid(QScrollArea):
    """Plots beside and below each other, as many across as fit; one cross-hair for all."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self._inside = QWidget(self)
        self._grid = QGridLayout(self._inside)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(6)
        self.setWidget(self._inside)
        self.plots: dict[str, CurvePlot] = {}
        self._across = 0
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(0)
        self._soon.timeout.connect(self._arrange)

    def plot(self, metric: str) -> CurvePlot:
        """Return the plot of a metric, made when it is first asked for."""
        if metric not in self.plots:
            made = CurvePlot(self._inside)
            made.hovered.connect(self._on_hovered)
            self.plots[metric] = made
            self._across = 0
        return self.plots[metric]

    def keep(self, metrics: Sequence[str]) -> None:
        """Show the plots of these metrics, in this order, and drop the others."""
        for metric in [metric for metric in self.plots if metric not in metrics]:
            self.plots.pop(metric).deleteLater()
            self._across = 0
        ordered = {metric: self.plots[metric] for metric in metrics if metric in self.plots}
        if list(ordered) != list(self.plots):
            self._across = 0
        self.plots = ordered
        self._arrange()

    def _arrange(self) -> None:
        gap = self._grid.spacing()
        across = max(1, (self.viewport().width() + gap) // (PLOT_WIDTH + gap))
        if across == self._across:
            return
        self._across = across
        for at, made in enumerate(self.plots.values()):
            self._grid.removeWidget(made)
            self._grid.addWidget(made, at // across, at % across)
            made.show()

    def _on_hovered(self, step: float) -> None:
        for made in self.plots.values():
            made.set_cross(step)

    def resizeEvent(self, event: QEvent) -> None:
        """Put as many plots across as fit, once Qt has given out the room: within that the plots would keep their old size."""
        super().resizeEvent(event)  # type: ignore[arg-type]
        self._soon.start()
