"""One question to every column: its answer token by token, drawn answers by meaning, every score of how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtWidgets import QComboBox, QDoubleSpinBox, QPushButton, QSpinBox, QWidget

from lab.ui.view import Failure, Want
from lab.ui.views._hallucination_data import explained, score_text
from lab.ui.widgets.answer_log import AnswerLog, answer_turns, clusters_of, steps_of
from lab.ui.widgets.chat_log import Turn
from lab.ui.widgets.columns import ColumnView
from lab.ui.widgets.figure import add_menu
from lab.ui.widgets.legend import Legend
from lab.ui.widgets.panel import ColumnPanel
from lab.ui.widgets.text import number
from models.columns import Column
from models.records.hallucination import AnswerPart, QuestionAnswer
from models.uncertainty.scores import SCORES, explanation, title
from models.words import _


class QuestionPage(ColumnView):
    """One panel for each column."""

    main_slot = "question"

    def __init__(self) -> None:
        super().__init__()
        self.parts: dict[int, list[AnswerPart]] = {}
        self._again = 0
        self._drawn: dict[int, object] = {}
        self.n, self.tokens, self.seed = QSpinBox(self), QSpinBox(self), QSpinBox(self)
        for box, low, high, value in ((self.n, 1, 64, 8), (self.tokens, 1, 512, 32), (self.seed, 0, 2**31 - 1, 0)):
            box.setRange(low, high)
            box.setValue(value)
            box.setKeyboardTracking(False)
        self.temperature, self.clustering = QDoubleSpinBox(self), QComboBox(self)
        self.temperature.setRange(0.05, 5.0)
        self.temperature.setSingleStep(0.1)
        self.temperature.setValue(1.0)
        self.temperature.setKeyboardTracking(False)
        for text, method in ((_("same words"), "exact"), (_("nearly the same words"), "lexical")):
            self.clustering.addItem(text, method)
        self.again = QPushButton(_("Ask again"), self)
        self.again.setToolTip(_("Draw other answers, with the next seed"))
        self.legend = Legend(self)
        self.legend.set_scale(_("surprisal, nats"), "0", "≥ 8")
        self.tools.labelled(_("Samples"), self.n, _("Answers drawn besides the greedy one"))
        self.tools.labelled(_("Temperature"), self.temperature, _("Of the drawn answers"))
        self.tools.labelled(_("Tokens"), self.tokens, _("Longest answer"))
        self.tools.labelled(_("Seed"), self.seed, _("Of the first drawn answer; each further one has the next"))
        self.tools.labelled(_("Same meaning"), self.clustering, _("Which answers count as saying the same"))
        self.tools.add(self.again, self.legend)
        for spin in (self.n, self.tokens, self.seed, self.temperature):
            spin.valueChanged.connect(self._on_asked)
        self.clustering.currentIndexChanged.connect(self._on_asked)
        self.again.clicked.connect(self._on_again)

    # the view contract -----------------------------------------------------------------------------------------------
    def make_content(self, index: int) -> QWidget:
        """Build one column's text."""
        content = AnswerLog()
        content.follow = False
        content.explained = explained()
        content.setAccessibleName(_("Answers of column {n}").format(n=index + 1))
        add_menu(content, self.table, self.message.emit)
        return content

    def settings(self) -> dict[str, Any]:
        """Return how is asked."""
        return {
            "n": self.n.value(), "temperature": round(self.temperature.value(), 2), "max_new_tokens": self.tokens.value(),
            "seed": self.seed.value(), "clustering": str(self.clustering.currentData()),
        }  # fmt: skip

    def wanted(self, index: int) -> Want | None:
        """Return the request for a column's answers."""
        params = {"column": self.columns[index], "text": self.text, **self.settings()}
        return Want("question", "question", params, index, streamed=True, fresh=self._again)

    def set_columns(self, columns: tuple[Column, ...]) -> None:
        """Show these columns; what another checkpoint said at that place is forgotten."""
        for index in {*self.parts, *self._drawn}:
            if self.columns[index : index + 1] != columns[index : index + 1]:
                self.parts.pop(index, None)
                self._drawn.pop(index, None)
        super().set_columns(columns)

    def set_text(self, text: str) -> None:
        """Take a new question."""
        if text != self.text:
            self._forget()
        super().set_text(text)

    def set_partial(self, want: Want, value: Any) -> None:
        """Take the greedy answer or one more drawn one."""
        if isinstance(value, AnswerPart) and want == self.wanted(want.column):
            if value.tokens is not None:  # the greedy answer comes first, again if the question was stopped meanwhile
                self.parts.pop(want.column, None)
            self.parts.setdefault(want.column, []).append(value)
            self.redraw_soon()

    def set_answer(self, want: Want, value: Any) -> None:
        """Take a whole answer."""
        self.parts.pop(want.column, None)
        super().set_answer(want, value)

    def set_failure(self, want: Want, failure: Failure) -> None:
        """Show why there is no whole answer; after a stop its parts stay."""
        if failure.kind != "cancelled":
            self.parts.pop(want.column, None)
        super().set_failure(want, failure)

    def ready(self, panel: ColumnPanel, index: int) -> bool:
        """Return whether there is something to show: a whole answer, or the parts of one."""
        return True if self.parts.get(index) and self.text else super().ready(panel, index)

    def python(self) -> str:
        """Return the call that gives the answers."""
        named = ", ".join(f"{name}={value!r}" for name, value in self.settings().items())
        chat = ", chat=True" if self.columns and all(column.prompt == "template" for column in self.columns) else ""
        return f"""    found = checkpoint.question(TEXT, {named}{chat})
    print(" ", repr(found.answer), {{name: round(value, 4) for name, value in found.scores.items()}})
    for sample in found.samples:
        print("   ", sample.cluster, repr(sample.text))
"""

    def command(self) -> tuple[str, ...]:
        """Return the flag that prints the answers."""
        asked = self.settings()
        names = ("n", "max_new_tokens", "seed", "temperature", "clustering")
        return ("--question", ":".join(f"{asked[name]:g}" if name == "temperature" else str(asked[name]) for name in names))

    def state(self) -> dict[str, Any]:
        """Return how is asked."""
        return self.settings()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it back, silently."""
        for name, box in (("n", self.n), ("max_new_tokens", self.tokens), ("seed", self.seed)):
            value = state.get(name)
            if isinstance(value, int) and not isinstance(value, bool):
                box.blockSignals(True)
                box.setValue(value)
                box.blockSignals(False)
        heat = state.get("temperature")
        if isinstance(heat, int | float) and not isinstance(heat, bool):
            self.temperature.blockSignals(True)
            self.temperature.setValue(float(heat))
            self.temperature.blockSignals(False)
        at = self.clustering.findData(state.get("clustering"))
        self.clustering.blockSignals(True)
        self.clustering.setCurrentIndex(max(at, 0))
        self.clustering.blockSignals(False)
        self.redraw_soon()

    # drawing ---------------------------------------------------------------------------------------------------------
    def draw(self, panel: ColumnPanel, index: int) -> None:
        """Draw one column's answer, or what there is of it."""
        found, parts, content = self.answer(index), self.parts.get(index), panel.content
        assert isinstance(content, AnswerLog)
        key = (id(found), len(parts or ()), self.palette().cacheKey())
        if self._drawn.get(index) == key:
            return
        self._drawn[index] = key
        if parts:
            n = sum(part.sample is not None for part in parts)
            panel.note.set_whole(_("{n} of {m} answers").format(n=n, m=self.n.value()))
            content.set_turns(self._growing(parts))
        elif isinstance(found, QuestionAnswer):
            entropy = found.scores.get("semantic_entropy")
            said = _("{m} meanings").format(m=len(clusters_of(found.samples, found.cluster)))
            more = "" if entropy is None else " · " + _("entropy {x} nats").format(x=number(entropy, 3))
            panel.note.set_whole(said + more, found.source)
            content.set_turns(answer_turns(_("Answer"), None, found, score_text(found)))

    @staticmethod
    def _growing(parts: list[AnswerPart]) -> list[Turn]:
        first = next((part for part in parts if part.tokens is not None), None)
        turns = []
        if first is not None and first.tokens is not None:
            turns.append(Turn(_("Answer"), first.answer or _("(empty answer)"), steps=steps_of(first.tokens)))
        texts = [part.sample.text.strip() or _("(empty)") for part in parts if part.sample is not None]
        return [*turns, Turn(_("Drawn so far"), "\n".join(texts))] if texts else turns

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return one row per column and score, and one per drawn answer."""
        header = [_("Column"), _("What"), _("Value"), _("Text"), _("Explanation")]
        rows: list[list[Any]] = []
        for index in range(len(self.columns)):
            found = self.answer(index)
            if isinstance(found, QuestionAnswer):
                name = self.columns[index].name
                rows.append([name, _("Answer"), found.cluster, found.answer, _("its cluster")])
                rows += [[name, _("Sample"), one.cluster, one.text, _("its cluster")] for one in found.samples]
                rows += [[name, title(s), float(found.scores[s]), "", explanation(s)] for s in SCORES if s in found.scores]
        return header, rows

    # slots -----------------------------------------------------------------------------------------------------------
    def _forget(self) -> None:
        self.parts.clear()
        self._drawn.clear()

    def _on_asked(self) -> None:
        self._forget()
        self.redraw_soon()
        self.changed.emit()

    def _on_again(self) -> None:
        self.seed.setValue(self.seed.value() + self.n.value())
