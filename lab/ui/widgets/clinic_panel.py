"""What a reward model makes of preference pairs: figures in words, margins, calibration, length, form, mistakes."""

from __future__ import annotations

import math
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QLabel, QScrollArea, QTabWidget, QVBoxLayout, QWidget

from lab.ui.widgets.bin_chart import Bin, BinChart
from lab.ui.widgets.rows import RowsTable
from models.records.clinic import (
    Bins,
    Clinic,
    by_length,
    calibration,
    format_effects,
    histogram,
    length_correlation,
)
from models.words import _

MATTERS = 0.2
"""Size of a rank correlation with length, and a gap of accuracy, from which a warning is given."""
FEW = 20
SOUND = 1e-3


def summary(clinic: Clinic) -> list[str]:
    """Return the figures in words."""
    low, high = clinic.interval
    error, rho = calibration(clinic)[1], length_correlation(clinic)
    lines = [
        _("{n:,} pairs, {dropped:,} left out as too long").format(n=len(clinic.margins), dropped=clinic.dropped),
        _("Pair accuracy {share:.1%} (95 %: {low:.1%} – {high:.1%}); 50 % is chance").format(
            share=clinic.accuracy, low=low, high=high
        ),
        _("Loss {loss:.4f} nats per pair; a model without an opinion has ln 2 = {none:.4f}").format(
            loss=clinic.loss, none=math.log(2)
        ),
        _("Mean margin {margin:+.3f}; calibration error {error:.1%}").format(margin=float(clinic.margins.mean()), error=error),
    ]
    if rho == rho:
        lines.append(_("Score and length: rank correlation {rho:+.2f}").format(rho=rho))
    order = _("Answers in the other order: {n} verdicts change, a margin by {most:.2g} at most")
    return [*lines, order.format(n=clinic.order_changes, most=clinic.order_difference), *clinic.notes]


def warnings(clinic: Clinic) -> list[str]:
    """Return bad signs in words."""
    said = []
    low, _high = clinic.interval
    if low <= 0.5:
        said.append(_("It cannot be told from chance on these pairs."))
    if clinic.loss > math.log(2):
        said.append(_("It would be better to have no opinion: its confident mistakes cost more than it gains."))
    rho = length_correlation(clinic)
    if abs(rho) > 0.5:
        said.append(_("Its score follows the length of an answer (ρ = {rho:+.2f}).").format(rho=rho))
    if clinic.order_changes or clinic.order_difference > SOUND * (1 + float(abs(clinic.margins).max())):
        said.append(_("Its scores depend on the order of the answers: they are not kept apart."))
    for effect in format_effects(clinic):
        gap = effect.chosen_right - effect.rejected_right
        if min(effect.only_chosen, effect.only_rejected) >= FEW and abs(gap) > MATTERS:
            text = _("“{name}” sways it: right in {a:.0%} where the better answer alone has it, in {b:.0%} where the worse one.")
            said.append(text.format(name=_(effect.name), a=effect.chosen_right, b=effect.rejected_right))
    return said


def margin_bins(clinic: Clinic) -> list[Bin]:
    """Return the histogram of the margins: wrong ones red, right ones green."""
    edges, counts = histogram(clinic)
    return [
        Bin(float(count), f"{edges[at]:.3g}", (f"{edges[at]:.3g} … {edges[at + 1]:.3g}: {count}",),
            kind="good" if edges[at] >= -1e-12 else "bad")
        for at, count in enumerate(counts)
    ]  # fmt: skip


def share_bins(bins: Bins, marked: bool, digits: str) -> list[Bin]:
    """Return accuracy in bins; ``marked``: beside what the bin's mean promised."""
    found = []
    for at, count in enumerate(bins.counts):
        share, mean = float(bins.accuracy[at]), float(bins.means[at])
        edges = f"{bins.edges[at]:{digits}} … {bins.edges[at + 1]:{digits}}"
        tip = (edges, _("{n} pairs, {share:.1%} right").format(n=count, share=share) if count else _("no pairs"))
        found.append(Bin(share, f"{bins.edges[at]:{digits}}", tip, mean if marked and count else math.nan))
    return found


class ClinicPanel(QScrollArea):
    """Words, three charts, and tables."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setFrameShape(QScrollArea.Shape.NoFrame)
        self.clinic: Clinic | None = None
        inside = QWidget(self)
        self.summary, self.warning = QLabel(inside), QLabel(inside)
        for label in (self.summary, self.warning):
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.margins, self.calibration, self.length = BinChart(inside), BinChart(inside), BinChart(inside)
        self.forms, self.mistakes = RowsTable(inside), RowsTable(inside)
        self.forms.setAccessibleName(_("What the form is worth"))
        self.mistakes.setAccessibleName(_("Most confident mistakes"))
        self.tabs = QTabWidget(inside)
        self.tabs.setDocumentMode(True)
        self.tabs.addTab(self.mistakes, _("Most confident mistakes"))
        self.tabs.addTab(self.forms, _("What the form is worth"))
        self.tabs.setMinimumHeight(150)
        charts = QGridLayout()
        for at, chart in enumerate((self.margins, self.calibration, self.length)):
            charts.addWidget(chart, 0, at)
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(4, 2, 4, 2)
        for widget in (self.warning, self.summary):
            layout.addWidget(widget)
        layout.addLayout(charts, 1)
        layout.addWidget(self.tabs, 1)
        self.setWidget(inside)

    def set_clinic(self, clinic: Clinic) -> None:
        """Show what was found."""
        self.clinic = clinic
        said = warnings(clinic)
        self.warning.setText("\n".join(f"⚠ {text}" for text in said))
        self.warning.setVisible(bool(said))
        self.summary.setText("\n".join(summary(clinic)))
        self.margins.set_bins(_("Margins"), _("score of the better answer − of the worse one"), margin_bins(clinic))
        self.calibration.set_bins(
            _("Calibration"), _("confidence σ(|margin|); bar: share right, line: promised"),
            share_bins(calibration(clinic)[0], True, ".2f"), percent=True,
        )  # fmt: skip
        self.length.set_bins(
            _("Accuracy and length"), _("tokens that the better answer is longer"), share_bins(by_length(clinic), False, ".0f"),
            0.5, True,
        )  # fmt: skip
        self.forms.set_rows(*form_rows(clinic))
        self.mistakes.set_rows(*mistake_rows(clinic))


def form_rows(clinic: Clinic) -> tuple[list[str], list[list[Any]], list[str]]:
    """Return header, rows and explanations of what each property of an answer's form is worth."""
    columns = [
        (_("Form"), _("Property of the answer's text")),
        (_("Answers"), _("How many have it")),
        (_("score with"), _("Mean score of answers that have it")),
        (_("score without"), _("Mean score of those that do not")),
        (_("better alone"), _("Pairs in which only the better answer has it")),
        (_("of them right"), _("Share of those pairs ordered the right way")),
        (_("worse alone"), _("Pairs in which only the worse answer has it")),
        (_("right of these"), _("Share of those pairs ordered the right way")),
    ]
    rows = [
        [_(e.name), e.n, e.with_score, e.without_score, e.only_chosen, e.chosen_right, e.only_rejected, e.rejected_right]
        for e in format_effects(clinic)
    ]
    return [title for title, _tip in columns], rows, [tip for _title, tip in columns]


def mistake_rows(clinic: Clinic) -> tuple[list[str], list[list[Any]]]:
    """Return header and rows of the most confident mistakes, worst first."""
    header = [_("Pair"), _("Margin"), _("better, score"), _("worse, score"), _("Prompt"), _("better answer"), _("worse answer")]
    return header, [
        [m.number, m.chosen_score - m.rejected_score, m.chosen_score, m.rejected_score, m.prompt, m.chosen, m.rejected]
        for m in clinic.mistakes
    ]


def pair_rows(clinic: Clinic) -> tuple[list[str], list[list[Any]]]:
    """Return header and a row for each pair: scores, margin, tokens."""
    scores, tokens = [_("better, score"), _("worse, score"), _("Margin")], [_("better, tokens"), _("worse, tokens")]
    header = [_("Pair"), *scores, *tokens, _("margin, other order")]
    columns = (clinic.chosen, clinic.rejected, clinic.margins, clinic.chosen_tokens, clinic.rejected_tokens, clinic.flipped)
    return header, [[at + 1, *(value.item() for value in row)] for at, row in enumerate(zip(*columns, strict=True))]
