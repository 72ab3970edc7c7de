"""Hallucination: runs with verdicts, uncertainty and remedies; one question asked now; and the knowledge cutoff."""

from __future__ import annotations

from lab.ui.view import View, ViewWidget
from lab.ui.views._hallucination_cutoff import CutoffPage
from lab.ui.views._hallucination_question import QuestionPage
from lab.ui.views._hallucination_runs import RunsPage
from lab.ui.widgets.pages import Page, PagedView
from models.words import _


def _make() -> ViewWidget:
    pages = (
        Page("runs", _runs, _runs_tip, RunsPage),
        Page("question", _question, _question_tip, QuestionPage),
        Page("cutoff", _cutoff, _cutoff_tip, CutoffPage),
    )
    return PagedView(pages, _("Pages of hallucination"))


def _runs() -> str:
    return _("Runs")


def _runs_tip() -> str:
    return _("Verdicts, calibration and remedies of many questions, checkpoint by checkpoint")


def _question() -> str:
    return _("One question")


def _question_tip() -> str:
    return _("The prompt as a question: the answer token by token, other answers by meaning, how sure the model is")


def _cutoff() -> str:
    return _("Knowledge cutoff")


def _cutoff_tip() -> str:
    return _("What happened after a checkpoint's texts: remedies, what each teaches, and what each forgets")


def _title() -> str:
    return _("Hallucination")


def _tip() -> str:
    return _("Where checkpoints invent, abstain, and know it: verdicts, uncertainty, calibration, remedies")


VIEW = View("hallucination", 65, _title, _tip, _make)
