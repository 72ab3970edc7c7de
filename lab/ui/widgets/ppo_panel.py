"""One step of PPO from the inside: prompt, sampled answer, reward, KL, advantage, ratio, clipped update, in real numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QLabel, QScrollArea, QSplitter, QVBoxLayout, QWidget

from lab.ui.widgets.colors import Rgb, levels, scheme
from lab.ui.widgets.flow import ToolRow
from lab.ui.widgets.rows import RowsTable
from lab.ui.widgets.strip_layout import Glyph
from lab.ui.widgets.text import plain, shorten, tooltip, visible
from lab.ui.widgets.token_strip import StripGroup, TokenStrip
from models.records.arrays import Array
from models.records.ppo import PpoExample
from models.words import N_, _

COLORS = {"kl": N_("KL"), "rewards": N_("Reward"), "advantages": N_("Advantage"), "ratio": N_("Ratio"), "loss": N_("Loss")}
LONGEST = 600


def titles() -> list[tuple[str, str]]:
    """Return (title, explanation) of the columns of the table."""
    return [
        (_("Place"), _("Of the token in the answer, from 0")),
        (_("Token"), _("What the policy sampled: its action")),
        (_("log π old"), _("Log-probability when it was sampled, in nats")),
        (_("log π ref"), _("Log-probability by the frozen reference")),
        (_("KL"), _("log π old − log π ref")),
        (_("Reward"), _("−β KL; at the last token what the answer is paid comes on top")),
        (_("V"), _("What the value head expected from here on")),
        (_("A (GAE)"), _("How much better it went than expected: Σ (γλ)^k δ, δ = r + γ V' − V")),
        (_("A"), _("The advantage that is used: mean 0 and variance 1 over the rollout, unless whitening is off")),
        (_("Return"), _("A (GAE) + V: what the value head is trained towards")),
        (_("log π now"), _("Log-probability in this update, before the optimizer's step")),
        (_("Ratio"), _("π now / π old; 1 in the first update of a rollout")),
        (_("Clipped"), _("The ratio within 1 ± clip_ratio")),
        (_("Loss"), _("max(−A ρ, −A clip(ρ))")),
        (_("Stopped"), _("yes: the clipped branch is the larger one, and the token gives no gradient")),
    ]  # fmt: skip


def token_rows(example: PpoExample) -> list[list[Any]]:
    """Return one row for each token, as ``titles`` names them."""
    arrays: list[Array] = [
        example.old, example.reference, example.kl, example.rewards, example.values, example.raw, example.advantages,
        example.returns, example.new, example.ratio, example.clipped_ratio, example.loss,
    ]  # fmt: skip
    return [
        [at, visible(token, 48, " "), *(float(array[at]) for array in arrays), _("yes") if example.stopped[at] else ""]
        for at, token in enumerate(example.tokens)
    ]


def story(example: PpoExample) -> list[str]:
    """Return the step told in sentences, from the prompt to the update."""
    ended = _("it ended by itself") if example.ended else _("it was cut off")
    kl = float(example.kl.sum())
    scaled = _("; brought to unit variance over the rollout") if example.scaled else ""
    ratios = _("Ratios go from {low:.3f} to {high:.3f}; {n} of {count} tokens are clipped and give no gradient.").format(
        low=float(example.ratio.min()), high=float(example.ratio.max()), n=int(example.stopped.sum()), count=len(example.tokens)
    )
    return [
        _("1  Prompt (state): {text}").format(text=shorten(plain(example.prompt), LONGEST)),
        _("2  Sampled answer (action), {n} tokens, {ended}: {text}").format(
            n=len(example.tokens), ended=ended, text=shorten(plain(example.answer), LONGEST)
        ),
        _("3  Reward: the reward model gives {learned:+.3f}; the answer is paid {paid:+.3f}.").format(
            learned=example.learned, paid=example.paid
        ),
        _("4  KL to the reference: {kl:+.3f} nats in all; at β = {beta:g} it adds {cost:+.3f} to the reward{scaled}.").format(
            kl=kl, beta=example.beta, cost=-example.beta * kl, scaled=scaled
        ),
        _("5  Advantage: γ = {gamma:g}, λ = {lam:g}; the value head expected {value:+.3f}, it became {got:+.3f}.").format(
            gamma=example.gamma, lam=example.lam, value=float(example.values[0]), got=float(example.returns[0])
        ),
        _("6  Ratio: pass {turn} of {passes} over rollout {rollout}.").format(
            turn=example.turn + 1, passes=example.passes, rollout=example.rollout
        ) + " " + ratios,
        _("7  Clipped update: their mean loss is {loss:+.4f}; the ratio is trusted within {low:g} … {high:g}.").format(
            loss=float(example.loss.mean()), low=1 - example.clip_ratio, high=1 + example.clip_ratio
        ),
    ]  # fmt: skip


def token_story(example: PpoExample, at: int) -> str:
    """Return one token's way through the step, as a calculation."""
    last = at == len(example.tokens) - 1
    paid = f" + {example.paid:.3f}" if last else ""
    lines = [
        f"{visible(example.tokens[at])!s}  ({at})",
        f"KL = {example.old[at]:.4f} − ({example.reference[at]:.4f}) = {example.kl[at]:+.4f}",
        f"r = −{example.beta:g} × ({example.kl[at]:.4f}){paid} = {example.rewards[at]:+.4f}",
        f"A = {example.raw[at]:+.4f} → {example.advantages[at]:+.4f}" if example.whitened else f"A = {example.raw[at]:+.4f}",
        f"ρ = exp({example.new[at]:.4f} − ({example.old[at]:.4f})) = {example.ratio[at]:.4f} → {example.clipped_ratio[at]:.4f}",
        f"max(−A ρ, −A clip ρ) = {example.loss[at]:+.4f}",
    ]
    return tooltip(*lines)


class PpoPanel(QWidget):
    """The story above, the answer coloured by one of its numbers, and every number of every token below."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.example: PpoExample | None = None
        self.story = QLabel(self)
        self.story.setWordWrap(True)
        self.story.setTextFormat(Qt.TextFormat.PlainText)
        self.story.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.story.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.story.setMargin(6)
        self.color = QComboBox(self)
        for name, title in COLORS.items():
            self.color.addItem(_(title), name)
        self.color.setCurrentIndex(2)
        self.strip, self._group, self.table = TokenStrip(self), StripGroup(self), RowsTable(self)
        self.strip.setAccessibleName(_("The sampled answer"))
        self.table.setAccessibleName(_("Numbers of the tokens"))
        self.strip.tip = self._tip
        self._group.set_strips([self.strip])
        tools = ToolRow(self)
        tools.labelled(_("Colour"), self.color, _("Which number colours the answer: blue below 0 (a ratio: below 1), red above"))
        self._lay_out(tools)
        self.color.currentIndexChanged.connect(self.refresh)
        self.strip.clicked.connect(self._on_token)
        self.table.selectionModel().currentRowChanged.connect(self._on_row)

    def _lay_out(self, tools: ToolRow) -> None:
        scroll = QScrollArea(self)
        scroll.setWidgetResizable(True)
        scroll.setWidget(self.story)
        scroll.setFrameShape(QScrollArea.Shape.NoFrame)
        middle = QWidget(self)
        column = QVBoxLayout(middle)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(tools)
        column.addWidget(self.strip, 1)
        split = QSplitter(Qt.Orientation.Vertical, self)
        split.setChildrenCollapsible(False)
        for widget in (scroll, middle, self.table):
            split.addWidget(widget)
        split.setSizes([190, 90, 240])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(split)

    def set_example(self, example: PpoExample) -> None:
        """Show an example."""
        self.example = example
        self.story.setText("\n".join(story(example)))
        named = titles()
        self.table.set_rows([title for title, _text in named], token_rows(example), [text for _title, text in named])
        self.strip.glyphs = [Glyph(visible(token) or "∅", at, at + 1, -1) for at, token in enumerate(example.tokens)]
        self.strip.set_selected(-1, -1)
        self.refresh()

    def refresh(self, *_given: object) -> None:
        """Draw the answer again, in the colours of the theme."""
        if self.example is None:
            return
        name = str(self.color.currentData())
        values = np.asarray(getattr(self.example, name), np.float64) - (1.0 if name == "ratio" else 0.0)
        most = max(float(np.abs(values).max()), 1e-9)
        self.strip.set_colors(scheme(self.palette()).diverging[levels(values, -most, most)])
        self._group.lay_out()
        self.table.rows.color = self._row_color

    def _row_color(self, row: int, column: int) -> Rgb | None:
        stopped = self.example is not None and row < len(self.example.tokens) and bool(self.example.stopped[row])
        return scheme(self.palette()).warn if stopped and column >= 11 else None

    def _tip(self, token: int) -> str:
        return token_story(self.example, token) if self.example is not None and 0 <= token < len(self.example.tokens) else ""

    def _on_token(self, token: int) -> None:
        self.strip.set_selected(token, token + 1)
        self.table.show_row(token)

    def _on_row(self, current: Any, _before: Any) -> None:
        self.strip.set_selected(current.row(), current.row() + 1)
        self.strip.show_token(current.row())
