"""The lower half of the page of runs: answers side by side, curves, and how well each score predicts errors."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from PySide6.QtCore import QItemSelection, Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSplitter,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from lab.ui.views import _hallucination_data as data
from lab.ui.views._hallucination_kinds import KindsPart
from lab.ui.views._hallucination_tools import fill_box
from lab.ui.widgets.answer_log import MARKS, AnswerLog, answer_turns, verdict_name
from lab.ui.widgets.chat_log import Turn
from lab.ui.widgets.colors import Rgb, scheme
from lab.ui.widgets.flow import ToolRow
from lab.ui.widgets.legend import ColorKey
from lab.ui.widgets.panel import Elided
from lab.ui.widgets.rows import RowsTable
from lab.ui.widgets.run_form import TYPING_MILLISECONDS, timer
from lab.ui.widgets.xy_plot import XyPlot
from models.records.hallucination import AnswerColumn, QuestionAnswer
from models.uncertainty import scores
from models.words import _


class AnswersPart(QWidget):
    """Filter, table of questions, and the selected one in full for every checkpoint."""

    picked = Signal(str)
    """Id of the question that was selected."""
    opened = Signal(str, str)
    """Name of another view, and the checkpoint whose answer it is to show."""
    labelled = Signal(str, str)
    """Checkpoint, and what a person says of its answer to the selected question."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.answers: data.Answers = {}
        self.ids: list[str] = []
        self._colors: Mapping[str, Rgb] = {}
        self._full: object = None
        self.filter, self.search, self.count = QComboBox(self), QLineEdit(self), QLabel(self)
        for name in data.FILTERS:
            self.filter.addItem(data.filter_name(name), name)
        self.filter.setAccessibleName(_("Filter of questions"))
        self.search.setPlaceholderText(_("Search in questions and answers"))
        self.search.setAccessibleName(_("Search in questions and answers"))
        self.search.setClearButtonEnabled(True)
        self.search.setMinimumWidth(130)
        self.tools = ToolRow(self)
        self.tools.add(self.filter, self.search, self.count)
        self.who = QComboBox(self)
        self.to_tokens, self.to_attention = QPushButton(_("Tokens"), self), QPushButton(_("Attention"), self)
        self.tools.labelled(_("Answer of"), self.who, _("Whose answer is opened in another view, or labelled"))
        self.to_tokens.setToolTip(_("Show prompt and answer in the Tokens view, with their exact tokens"))
        self.to_attention.setToolTip(_("Show prompt and answer in the Attention view, with their exact tokens"))
        self.tools.add(self.to_tokens, self.to_attention)
        for button in (self.to_tokens, self.to_attention):
            button.clicked.connect(self._on_open)
        self.verdicts = {name: QPushButton(MARKS[name], self) for name in ("correct", "hallucinated", "abstained")}
        for name, button in self.verdicts.items():
            button.setToolTip(_("Say that this answer is: {verdict}").format(verdict=verdict_name(name)))
            button.clicked.connect(partial(self._on_label, name))
        self.tools.add(*self.verdicts.values())
        self.grid, self.full = RowsTable(self), AnswerLog(self)
        self.grid.setAccessibleName(_("Questions and answers"))
        self.grid.rows.color = self._color
        self.full.follow = False
        self.full.explained = data.explained()
        self.full.setAccessibleName(_("The selected question in full"))
        splitter = QSplitter(Qt.Orientation.Horizontal, self)
        splitter.addWidget(self.grid)
        splitter.addWidget(self.full)
        splitter.setSizes([640, 420])
        splitter.setChildrenCollapsible(False)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.tools)
        layout.addWidget(splitter, 1)
        self.filter.currentIndexChanged.connect(self.fill)
        self._typing = timer(self, TYPING_MILLISECONDS, self.fill, single=True)
        self.search.textChanged.connect(self._typing.start)
        self.search.returnPressed.connect(self.fill)
        self.grid.selectionModel().selectionChanged.connect(self._on_selected)

    def set_answers(self, answers: data.Answers, colors: Mapping[str, Rgb]) -> None:
        """Show these answers, by checkpoint."""
        if [self.who.itemText(i) for i in range(self.who.count())] != list(answers):
            self.who.clear()
            self.who.addItems(list(answers))
        self.answers, self._colors, self._full = answers, colors, None
        self.fill()

    def fill(self) -> None:
        """Show the questions that pass the filter."""
        self._typing.stop()
        header, rows, self.ids = data.question_rows(self.answers, str(self.filter.currentData()), self.search.text())
        fresh = header != self.grid.rows.header
        self.grid.set_rows(header, rows)
        for column in range(len(header) if fresh else 0):
            self.grid.setColumnWidth(column, min(self.grid.columnWidth(column), 210))
        total = len({one.id for found in self.answers.values() for one in found})
        self.count.setText(_("{shown} of {n}").format(shown=len(rows), n=total))
        if rows and not self.grid.selectedIndexes():
            self.grid.show_row(0)
        self._show_full()

    def chosen(self) -> dict[str, QuestionAnswer]:
        """Return every checkpoint's answer to the selected question."""
        rows = sorted({index.row() for index in self.grid.selectedIndexes()})
        if not rows or rows[0] >= len(self.ids):
            return {}
        id = self.ids[rows[0]]
        found = {name: next((one for one in answers if one.id == id), None) for name, answers in self.answers.items()}
        return {name: one for name, one in found.items() if one is not None}

    def _on_selected(self, _now: QItemSelection, _before: QItemSelection) -> None:
        found = self._show_full()
        if found:
            self.picked.emit(next(iter(found.values())).id)

    def _on_open(self) -> None:
        if self.who.currentText() in self.chosen():
            self.opened.emit("tokens" if self.sender() is self.to_tokens else "attention", self.who.currentText())

    def _on_label(self, verdict: str) -> None:
        if self.who.currentText() in self.chosen():
            self.labelled.emit(self.who.currentText(), verdict)

    def _show_full(self) -> dict[str, QuestionAnswer]:
        found = self.chosen()
        key = (tuple((name, id(one)) for name, one in found.items()), scheme(self.palette()))
        if key != self._full:
            self._full = key
            self.full.set_turns(self._turns(found))
        return found

    def _turns(self, found: Mapping[str, QuestionAnswer]) -> list[Turn]:
        if not found:
            return []
        first = next(iter(found.values()))
        right = "; ".join(first.references) or _("(nothing can be known)")
        turns = [Turn(_("Question"), first.question), Turn(_("Right"), right)]
        for name, one in found.items():
            if one.passages:
                turns.append(Turn(_("{name}: retrieved").format(name=name), "\n".join(one.passages)))
            turns += answer_turns(name, self._colors.get(name), one, data.score_text(one))
        return turns

    def _color(self, row: int, column: int) -> Rgb | None:
        colors = scheme(self.palette())
        if not 1 <= column <= len(self.answers) or row >= len(self.grid.rows.rows):
            return None
        mark = str(self.grid.rows.rows[row][column])[:1]
        return {MARKS["correct"]: colors.good, MARKS["hallucinated"]: colors.bad, MARKS["abstained"]: colors.warn}.get(mark)


class CurvesPart(QWidget):
    """Calibration, risk–coverage and the penalised score, every checkpoint in its colour."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.confidence, self.score = QComboBox(self), QComboBox(self)
        for box, names, usual in (
            (self.confidence, scores.CONFIDENCES, scores.CONFIDENCES[0]), (self.score, tuple(scores.SCORES), "semantic_entropy")
        ):  # fmt: skip
            fill_box(box, [(scores.title(name), name, scores.explanation(name)) for name in names], usual)
        self.tools = ToolRow(self)
        self.tools.labelled(_("Confidence"), self.confidence, _("Whose calibration is drawn"))
        self.tools.labelled(_("Score"), self.score, _("By which answers are kept back, least sure first"))
        self.key = ColorKey(self)
        self.plots = tuple(XyPlot(self) for _n in range(3))
        row = QHBoxLayout()
        row.setSpacing(8)
        for plot in self.plots:
            row.addWidget(plot, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.setSpacing(4)
        self.tools.add(self.key)
        layout.addWidget(self.tools)
        layout.addLayout(row, 1)

    def show_columns(self, columns: list[AnswerColumn], colors: Mapping[str, Rgb]) -> None:
        """Draw these columns."""
        name, score = str(self.confidence.currentData()), str(self.score.currentData())
        none = _("No scores: this remedy has none, or too few answers were given.")
        reliability, risk, penalty = self.plots
        reliability.set_axes(_("Calibration"), scores.title(name), _("share right"), diagonal=True)
        reliability.set_curves(data.reliability_curves(columns, name, colors), empty=none)
        risk.set_axes(_("Risk–coverage"), _("share answered"), _("share wrong of those"))
        risk.set_curves(data.risk_curves(columns, score, colors), empty=none)
        curves, low = data.penalty_curves(columns, colors)
        penalty.set_axes(_("Penalised score"), "t", _("+1 right, 0 silent, −t/(1−t) wrong"))
        penalty.set_curves(curves, low, 1.0, empty=none)
        said = [(one.checkpoint, colors[one.checkpoint]) for one in columns if one.qualities or one.reliabilities]
        self.key.set_entries(tuple(said))


class QualityPart(QWidget):
    """A table: every score, its AUROC and AURAC for each checkpoint."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.grid, self.note = RowsTable(self), Elided(parent=self)
        self.grid.setAccessibleName(_("How well each score predicts errors"))
        self.grid.rows.tip = self._tip
        self._names: list[str] = []
        self.note.set_whole(
            _("Over the answers that were given. 0.5 is chance; compare with the length, which knows nothing.")
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.addWidget(self.note)
        layout.addWidget(self.grid, 1)

    def show_columns(self, columns: list[AnswerColumn]) -> None:
        """Show these columns."""
        header, rows, tips = data.quality_rows(columns)
        self._names = data.quality_names(columns)
        self.grid.set_rows(header, rows, tips)

    def _tip(self, row: int, _column: int) -> str:
        name = self._names[row] if row < len(self._names) else ""
        return f"{scores.title(name)}: {scores.explanation(name)}" if name else ""


class LowerHalf(QTabWidget):
    """The four parts as tabs."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setDocumentMode(True)
        self.answers, self.curves, self.quality = AnswersPart(self), CurvesPart(self), QualityPart(self)
        self.kinds = KindsPart(self)
        for widget, title, tip in (
            (self.answers, _("Answers side by side"), _("Every question with what each checkpoint said")),
            (self.kinds, _("Kinds of questions"), _("Where each checkpoint is right, invents and abstains")),
            (self.curves, _("Calibration"), _("How far confidence, coverage and a price for errors can be trusted")),
            (self.quality, _("Scores"), _("Which score of uncertainty tells wrong answers from right ones")),
        ):
            self.setTabToolTip(self.addTab(widget, title), tip)
        for box in (self.curves.confidence, self.curves.score):
            box.currentIndexChanged.connect(self.changed)

    def show_columns(self, columns: list[AnswerColumn], colors: Mapping[str, Rgb]) -> None:
        """Draw these columns."""
        self.curves.show_columns(columns, colors)
        self.kinds.show_columns(columns, colors)
        self.quality.show_columns(columns)

    def state(self) -> dict[str, Any]:
        """Return tab, filter, confidence and score."""
        return {
            "tab": self.currentIndex(), "filter": self.answers.filter.currentData(),
            "confidence": self.curves.confidence.currentData(), "score": self.curves.score.currentData(),
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back, silently."""
        boxes = {
            "filter": self.answers.filter, "confidence": self.curves.confidence, "score": self.curves.score,
        }  # fmt: skip
        for name, box in boxes.items():
            at = box.findData(state.get(name))
            if at >= 0:
                box.blockSignals(True)
                box.setCurrentIndex(at)
                box.blockSignals(False)
        tab = state.get("tab")
        if isinstance(tab, int) and 0 <= tab < self.count():
            self.setCurrentIndex(tab)
