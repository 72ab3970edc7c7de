"""What a step of a training will take: memory by parts against what is free, time, disk."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QFormLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from lab.ui.widgets.colors import qcolor, scheme
from lab.ui.widgets.text import tooltip
from models.records.training import TrainPlan
from models.words import _

BAR_HEIGHT = 22


def size_text(count: float) -> str:
    """Return bytes in a unit that suits them; a dash for what was not measured."""
    if count < 0:
        return "–"
    for unit, limit in (("KB", 1e6), ("MB", 1e9)):
        if count < limit:
            return f"{count / (limit / 1000):,.1f} {unit}"
    return f"{count / 1e9:,.2f} GB"


def time_text(seconds: float) -> str:
    """Return a length of time in words."""
    if seconds < 90:
        return _("{n:.0f} s").format(n=seconds)
    if seconds < 5400:
        return _("{n:.0f} min").format(n=seconds / 60)
    return _("{n:.1f} h").format(n=seconds / 3600)


def plan_rows(plan: TrainPlan) -> list[tuple[str, str, str]]:
    """Return (what, how much, what that is) of a plan."""
    frozen = plan.parameters - plan.trained
    weights = f"{plan.trained:,}" + (_(" of {n:,}").format(n=plan.parameters) if frozen else "")
    pace = _("{total} for {steps:,} steps, from {n} steps of {pace:.3g} s that were taken").format(
        total=time_text(plan.seconds), steps=plan.steps, n=plan.measured, pace=plan.seconds_per_step
    )
    return [
        (_("Device"), f"{plan.device} · {plan.precision} · {plan.method}", _("Where, in which precision, by which method")),
        (_("Trained weights"), weights, _("Those that the optimizer moves")),
        (_("Memory"), _("{need}, of {free} that are free").format(need=size_text(plan.memory), free=size_text(plan.free)),
         _("All parts together; a process needs some hundred megabytes besides")),
        (_("A step"), _("{n:,.0f} predictions").format(n=plan.units), _("Predicted tokens, or pairs, on average")),
        (_("Time"), pace, _("Sampling included, evaluations and saving not; the steps were thrown away")),
        (_("Disk"), _("{need}, of {free} that are free").format(need=size_text(plan.disk), free=size_text(plan.disk_free)),
         _("The checkpoint, kept states and copies")),
    ]  # fmt: skip


def plan_warnings(plan: TrainPlan) -> list[str]:
    """Return what will go wrong."""
    said = []
    if plan.memory > plan.free:
        said.append(_("It needs more memory than is free: lower batch_size or block, train an adapter, or set checkpointing."))
    if plan.disk > plan.disk_free:
        said.append(_("It needs more room on the disk than there is: keep fewer states and copies."))
    return said


class MemoryBar(QWidget):
    """The parts of the memory in a row, as long as they are large, with their names below."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.parts: list[tuple[str, int]] = []
        self.free = 0
        self.setMinimumHeight(BAR_HEIGHT + 2 * self.fontMetrics().height() + 10)

    def set_plan(self, plan: TrainPlan) -> None:
        """Show a plan's memory."""
        self.parts = [
            (_("weights"), plan.weights), (_("gradients"), plan.gradients), (_("optimizer"), plan.optimizer),
            (_("activations"), max(0, plan.activations)),
        ]  # fmt: skip
        self.free = plan.free
        lines = [f"{name}: {size_text(count)}" for name, count in self.parts]
        self.setToolTip(tooltip(*lines, _("free: {size}").format(size=size_text(plan.free))))
        self.setAccessibleName("; ".join(lines))
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw the parts and their key."""
        painter, colors = QPainter(self), scheme(self.palette())
        total = max(sum(count for _name, count in self.parts), 1)
        x, key, height, line = 0.0, 0, BAR_HEIGHT, self.fontMetrics().height()
        for at, (name, count) in enumerate(self.parts):
            width = self.width() * count / total
            color = colors.columns[at % len(colors.columns)]
            painter.fillRect(QRectF(x, 0, max(width - 1, 0.5), height), qcolor(color))
            x += width
            text = f"{name} {size_text(count)}"
            wide = self.fontMetrics().horizontalAdvance(text) + 22
            row, place = (1, key - self.width()) if key + wide > self.width() else (0, key)
            top = height + 5 + max(row, 0) * (line + 1)
            left = max(place, 0) if row else place
            painter.fillRect(QRectF(left, top + line / 2 - 4, 8, 8), qcolor(color))
            painter.setPen(qcolor(colors.text))
            painter.drawText(QRectF(left + 12, top, wide, line), Qt.AlignmentFlag.AlignVCenter, text)
            key = self.width() + int(left) + wide if row else key + wide
        painter.end()

    def sizeHint(self) -> QSize:
        """Return room for the bar and two lines of names."""
        return QSize(320, BAR_HEIGHT + 2 * self.fontMetrics().height() + 10)


class PlanCard(QScrollArea):
    """A plan as rows, a bar of its memory, and warnings."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setFrameShape(QScrollArea.Shape.NoFrame)
        self.plan: TrainPlan | None = None
        inside = QWidget(self)
        self.bar = MemoryBar(inside)
        self.warning, self.notes = QLabel(inside), QLabel(inside)
        self._form = QFormLayout()
        self._form.setVerticalSpacing(5)
        self._labels: list[tuple[QLabel, QLabel]] = []
        layout = QVBoxLayout(inside)
        layout.addWidget(self.warning)
        layout.addWidget(self.bar)
        layout.addLayout(self._form)
        layout.addWidget(self.notes)
        layout.addStretch(1)
        for label in (self.warning, self.notes):
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setWidget(inside)

    def set_plan(self, plan: TrainPlan) -> None:
        """Show a plan."""
        self.plan = plan
        self.bar.set_plan(plan)
        rows = plan_rows(plan)
        while len(self._labels) < len(rows):
            pair = (QLabel(self.widget()), QLabel(self.widget()))
            pair[1].setWordWrap(True)
            pair[1].setTextFormat(Qt.TextFormat.PlainText)
            self._labels.append(pair)
            self._form.addRow(*pair)
        for (name, value), (what, much, tip) in zip(self._labels, rows, strict=True):
            name.setText(what)
            value.setText(much)
            for label in (name, value):
                label.setToolTip(tooltip(tip))
        warnings = plan_warnings(plan)
        self.warning.setText("\n".join(f"⚠ {text}" for text in warnings))
        self.warning.setVisible(bool(warnings))
        self.notes.setText("\n".join(plan.notes))
