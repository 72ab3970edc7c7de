"""Salience: which tokens a prediction comes from, for each column, by five methods, or why one token and not another."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from PySide6.QtWidgets import QWidget

from lab.ui.view import View, Want
from lab.ui.widgets.colors import scheme
from lab.ui.widgets.columns import ColumnView
from lab.ui.widgets.figure import add_menu
from lab.ui.widgets.legend import Legend
from lab.ui.widgets.panel import ColumnPanel
from lab.ui.widgets.salience_controls import CHEAP, Controls, method_names
from lab.ui.widgets.salience_panel import SaliencePanel, Scored, Segmented, headline, scored, sums, what
from lab.ui.widgets.text import shorten, signed, visible
from lab.ui.widgets.token_strip import StripGroup
from models.records.arrays import Array
from models.records.salience import Salience, SalienceQuestion, difference_salience, shares, written
from models.records.tokens import Token
from models.words import _

MOST_SUMS = 16
LONG_TEXT = 4000
"""Characters; a longer text is never explained without being asked."""
Pair: TypeAlias = tuple[Array, Array]
"""Of the text's tokens, of the target's."""


class SalienceView(ColumnView):
    """A coloured strip and a ranked list per column; click a token to explain it."""

    main_slot = "salience"

    def __init__(self) -> None:
        super().__init__()
        self._approved: tuple[Any, ...] = ()
        self._group, self._targets = StripGroup(self), StripGroup(self)
        self._fresh, self._scale = False, 1.0
        self._segmented = Segmented()
        self._sums: dict[int, tuple[Array, Any, Scored]] = {}
        self._drawn: dict[int, tuple[Salience, tuple[Any, ...]]] = {}
        self.controls = Controls(self.tools, self)
        self.add_difference()
        self.legend = Legend(self)
        self.tools.add(self.legend)
        self.controls.changed.connect(self._on_asked)
        self.controls.redraw.connect(self.redraw_soon)
        self.controls.compute.connect(self._on_compute)

    # the view contract -------------------------------------------------------------------------------------------------
    def make_content(self, index: int) -> QWidget:
        """Build strip and list of one column."""
        panel = SaliencePanel()
        panel.strip.setAccessibleName(_("Tokens of column {n}").format(n=index + 1))
        panel.target.setAccessibleName(_("Target tokens of column {n}").format(n=index + 1))
        panel.bars.setAccessibleName(_("Tokens that count most in column {n}").format(n=index + 1))
        panel.clicked.connect(lambda token, in_target: self._on_clicked(index, token, in_target))
        add_menu(panel, self.table, self.message.emit)
        return panel

    def wanted(self, index: int) -> Want | None:
        """Return the request of a column; of an expensive method only once Compute was pressed for this question."""
        if self._is_expensive() and self._asked_for() != self._approved:
            return None
        return Want("salience", "salience", self._params(index), index)

    def _is_expensive(self) -> bool:
        return self.controls.question().method not in CHEAP or len(self.text) > LONG_TEXT

    def _asked_for(self) -> tuple[Any, ...]:
        return self.text, self.controls.question(), self.controls.target.text()

    def set_text(self, text: str) -> None:
        """Take a new text and explain what comes after it."""
        if text != self.text:
            self.controls.set_position(-1)
        super().set_text(text)

    def set_selection(self, selection: dict[str, Any]) -> None:
        """Explain the selected token."""
        token = selection.get("token")
        if not isinstance(token, int) or isinstance(token, bool) or token < 0:
            return
        lengths = [len(one.target_tokens) for one in self._found() if one.target_tokens]
        if not lengths or token <= max(lengths):  # other views number the tokens of a target that this one may not have
            self.controls.set_position(token)
            self.redraw_soon()

    def state(self) -> dict[str, Any]:
        """Return method, settings and difference."""
        return {**super().state(), **self.controls.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        super().restore(state)
        self.controls.restore(state)

    def demonstrate(self) -> None:
        """Show what taking each token away changes."""
        self.controls.method.setCurrentIndex(self.controls.method.findData("occlusion"))
        self._on_compute(True)

    def python(self) -> str:
        """Return lines that compute the scores."""
        question, usual = self.controls.question(), SalienceQuestion()
        given = [
            f"{name}={value!r}" for name, value in vars(question).items() if name != "method" and value != getattr(usual, name)
        ]
        target = self.controls.target.text()
        if target:
            given.insert(0, f"target={target!r}")
        return (
            f"    found = checkpoint.salience({', '.join(['TEXT', repr(question.method), *given])})\n"
            '    print(name, f"{found.question.statistic} of {found.text!r}: {found.value:.4f}", *found.notes)\n'
            "    for token, score in zip((*found.tokens, *found.target_tokens), (*found.scores, *found.target_scores)):\n"
            '        print(f"  {token.text or token.piece!r:20} {score:+9.4f}")\n'
        )

    def command(self) -> tuple[str, ...]:
        """Return the question as flags."""
        target = self.controls.target.text()
        flags = ("--salience", written(self.controls.question()), "--position", str(self.controls.position.value()))
        return (*flags, "--target", target) if target else flags

    # drawing -----------------------------------------------------------------------------------------------------------
    def redraw(self) -> None:
        """Draw panels, legend and what the controls offer; in a slice only once all scores are put together."""
        if not self._put_together():
            self._next.start()
            return
        self.controls.show_kinds({found.kind for found in self._found()} or {"decoder"})
        self.controls.show_running(bool(self.columns) and self._is_running())
        self.controls.go.setVisible(self._is_expensive())
        self._scale = self._top()
        self._show_legend()
        super().redraw()
        shown = [panel.content for panel in self.panels if panel.isVisibleTo(self) and not panel.message()]
        panels = [content for content in shown if isinstance(content, SaliencePanel)]
        if self._fresh and panels and (self.difference.pair() or not self._undrawn):
            self._fresh = False
            self._group.set_strips([content.strip for content in panels])
            self._targets.set_strips([content.target for content in panels])

    def _put_together(self) -> bool:
        """Sum the scores of one column after the other while a slice lasts; returns whether all are summed."""
        for one in self._found():
            known = self._sums.get(id(one.scores))
            made = self._scored(one.tokens, one.scores, self.text)
            is_new = known is None or known[2] is not made
            if is_new and time.perf_counter() > self._deadline:
                return False
        return True

    def ready(self, panel: ColumnPanel, index: int) -> bool:
        """Return whether a column can be drawn; an expensive method waits to be asked for."""
        if self.text and self.wanted(index) is None and not self._is_current(index):
            method = method_names()[self.controls.question().method]
            what_for = _("{method} takes many passes through the model.") if len(self.text) <= LONG_TEXT else _(
                "{method} of a long text takes time and memory.")  # fmt: skip
            panel.show_message(what_for.format(method=method), _("Press Compute to run it."))
            return False
        return super().ready(panel, index)

    def _is_current(self, index: int) -> bool:
        """Return whether the answer of a column is to the present question."""
        found = self.answers.get((self.main_slot, index))
        return found is not None and found[0].params == self._params(index)

    def _is_running(self) -> bool:
        if not self._is_expensive() or self._asked_for() != self._approved:
            return False
        failed = {key[1] for key, (want, _failure) in self.failures.items() if want.params == self._params(key[1])}
        return any(index not in failed and not self._is_current(index) for index in self.asked())

    def _params(self, index: int) -> dict[str, Any]:
        text, question, target = self._asked_for()
        return {"column": self.columns[index], "text": text, "question": question, "target": target}

    def draw(self, panel: ColumnPanel, index: int) -> None:
        """Draw one column."""
        found, content = self.answer(index), panel.content
        assert isinstance(content, SaliencePanel)
        content.sums.set_whole(sums(found))
        self._draw(content, found, *self._values(found), headline(found))
        panel.note.set_whole(shorten("; ".join(found.notes), 300))

    def draw_difference(self, panel: ColumnPanel, a: int, b: int) -> None:
        """Draw the scores of b minus those of a."""
        first, second, content = self.answer(a), self.answer(b), panel.content
        assert isinstance(content, SaliencePanel)
        try:
            text, target = difference_salience(first, second, self.controls.share.isChecked())
        except ValueError:
            panel.show_message(
                _("The two columns do not explain the same token of the same text."),
                _("Write the token to explain; columns with different tokenizers cannot be subtracted."),
            )
            return
        change = _("{what}: {a} → {b}").format(what=what(second), a=f"{first.value:.3f}", b=f"{second.value:.3f}")
        total = float(np.nansum(text, dtype=np.float64) + np.nansum(target, dtype=np.float64))
        content.sums.set_whole(_("scores sum to {total}").format(total=self._number(total)))
        self._draw(content, second, text, target, change)

    def _draw(self, content: SaliencePanel, found: Salience, text: Array, target: Array, said: str) -> None:
        content.summary.set_whole(said)
        method = method_names()[found.question.method]
        base = _("baseline: {name}").format(name=found.baseline) if found.baseline else ""
        passes = _("{n} passes").format(n=found.n_forwards)
        content.convention.set_whole("; ".join(part for part in (method, base, passes, found.convention) if part))
        self._show_scores(content, found, text, target)
        in_target = bool(found.target_tokens)
        last = len(found.target_tokens if in_target else found.tokens)
        content.mark(found.position if found.position < last else -1, in_target)

    def _show_scores(self, content: SaliencePanel, found: Salience, text: Array, target: Array) -> None:
        """Colour strips and fill bars, unless they show this already."""
        controls = self.controls
        key = (
            controls.chosen(controls.level), controls.share.isChecked(), controls.target.text(), self._scale, self._signed(),
            self.difference.pair(), scheme(self.palette()).background, float(np.nansum(text)), float(np.nansum(target)),
        )  # fmt: skip
        known = self._drawn.get(id(content))
        if known is not None and known[0] is found and known[1] == key:
            return
        self._drawn[id(content)] = (found, key)
        parts = self._scored(found.tokens, text, self.text), self._scored(found.target_tokens, target)
        self._fresh |= content.show_scores(*parts, self._scale, self._signed(), self._number)

    def _number(self, value: float) -> str:
        if self.controls.share.isChecked():
            return f"{signed(100 * value, 1)} %"
        return signed(value, 3)

    def _values(self, found: Salience) -> tuple[Array, Array]:
        """Return the scores as shown: as they are, or as shares of all of them."""
        if not self.controls.share.isChecked():
            return found.scores, found.target_scores
        both = shares(np.concatenate([found.scores, found.target_scores]))
        return both[: len(found.scores)], both[len(found.scores) :]

    def _found(self) -> list[Salience]:
        found = [self.answer(i) for i in self.asked()] if self.columns else []
        return [one for one in found if isinstance(one, Salience)]

    def _signed(self) -> bool:
        return self.controls.question().reduction == "sum" or self.difference.pair() is not None

    def _top(self) -> float:
        """Return the end of the colour scale, the same for all columns: the largest score of a segment."""
        sizes: list[float] = []
        for part in self._shown_parts():
            finite = np.abs(part.values[np.isfinite(part.values)])
            sizes += [float(finite.max())] if finite.size else []
        return max(sizes, default=1.0) or 1.0

    def _scored(self, tokens: tuple[Token, ...], values: Array, text: str | None = None) -> Scored:
        """Put scores together to the chosen segments; ``text``: what the tokens' offsets count in, else the target."""
        said = self.controls.target.text() if text is None else text
        parts = self._segmented.of(tokens, self.controls.chosen(self.controls.level), said)
        known = self._sums.get(id(values))
        if known is None or known[0] is not values or known[1] is not parts:
            while len(self._sums) >= MOST_SUMS:
                del self._sums[next(iter(self._sums))]
            known = self._sums[id(values)] = values, parts, scored(tokens, values, parts)
        return known[2]

    def _shown_parts(self) -> list[Scored]:
        found, pair = self._found(), self.difference.pair()
        if pair and len(found) == 2:
            try:
                values = [difference_salience(found[0], found[1], self.controls.share.isChecked())]
            except ValueError:
                return []
            found = found[1:]
        else:
            values = [self._values(one) for one in found]
        shown = [self._scored(one.tokens, text, self.text) for one, (text, _target) in zip(found, values, strict=True)]
        return shown + [self._scored(one.target_tokens, target) for one, (_text, target) in zip(found, values, strict=True)]

    def _show_legend(self) -> None:
        self.legend.setVisible(bool(self._found()))
        top, with_sign = self._scale, self._signed()
        title = _("Difference of scores") if self.difference.pair() else _("Score: against – for") if with_sign else _("Score")
        self.legend.set_scale(title, self._number(-top) if with_sign else "0", self._number(top), with_sign)

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return one row per segment of each column: what it says, its score and its share."""
        header = [_("Column"), _("Part"), "#", _("Text"), _("Score"), _("Share")]
        rows: list[list[Any]] = []
        asked, pair = self.asked() if self.columns else (), self.difference.pair()
        found = [(self.columns[i].name, self.answer(i)) for i in asked if self.answer(i) is not None]
        for name, one in found:
            share = shares(np.concatenate([one.scores, one.target_scores]))
            both = share[: len(one.scores)], share[len(one.scores) :]
            rows += self._rows(name, one, (one.scores, one.target_scores), both)
        if pair and len(found) == 2:
            (first, a), (second, b) = found
            try:
                plain, portions = difference_salience(a, b), difference_salience(a, b, share=True)
            except ValueError:
                return header, rows
            rows += self._rows(f"{second} − {first}", b, plain, portions)
        return (header, rows) if rows else ([], [])

    def _rows(self, name: str, one: Salience, scores: Pair, share: Pair) -> list[list[Any]]:
        rows: list[list[Any]] = []
        parts = ((_("text"), one.tokens, self.text), (_("target"), one.target_tokens, None))
        for (part, tokens, text), own, shared in zip(parts, scores, share, strict=True):
            values, portions = self._scored(tokens, own, text), self._scored(tokens, shared, text)
            rows += [
                [name, part, segment.first, visible(segment.text, 200), _finite(values.values[i]), _finite(portions.values[i])]
                for i, segment in enumerate(values.parts)
            ]
        return rows

    # slots -------------------------------------------------------------------------------------------------------------
    def _on_compute(self, start: bool) -> None:
        self._approved = self._asked_for() if start else ()
        self._on_asked()

    def _on_clicked(self, index: int, token: int, in_target: bool) -> None:
        pair = self.difference.pair()
        found = self.answer(pair[1] if pair else index)
        if found is None or found.kind == "reward":
            return
        if in_target != bool(found.target_tokens):
            self.message.emit(_("Tokens of the source are given, not predicted; click one of the target."))
            return
        own = found.target_tokens if in_target else found.tokens
        before = [one for one in (*(found.tokens if in_target else ()), *own[:token]) if not one.special]
        if found.kind != "encoder" and (token == 0 or not before):
            self.message.emit(_("Nothing comes before the first token, so nothing predicts it."))
            return
        self.controls.set_position(token)
        self.selected.emit({"token": token, "column": index})
        self._on_asked()


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _title() -> str:
    return _("Salience")


def _tip() -> str:
    return _("Which tokens a prediction comes from, and why one token and not another")


VIEW = View("salience", 36, _title, _tip, SalienceView)
