"""Train: recipes, runs and their curves; one step of PPO from the inside; what a reward model has learned."""

from __future__ import annotations

from lab.ui.view import View, ViewWidget
from lab.ui.views._train_clinic import ClinicPage
from lab.ui.views._train_ppo import PpoPage
from lab.ui.views._train_runs import RunsPage
from lab.ui.widgets.pages import Page, PagedView
from models.words import _


def _make() -> ViewWidget:
    pages = (
        Page("runs", _runs, _runs_tip, RunsPage),
        Page("ppo", _ppo, _ppo_tip, PpoPage),
        Page("clinic", _clinic, _clinic_tip, ClinicPage),
    )
    return PagedView(pages, _("Pages of the training"))


def _runs() -> str:
    return _("Runs")


def _runs_tip() -> str:
    return _("Write a recipe, look ahead, start it, and watch its curves and answers")


def _ppo() -> str:
    return _("Inside one PPO step")


def _ppo_tip() -> str:
    return _("Prompt, sampled answer, reward, KL, advantage, ratio and clipped update of a run, token by token")


def _clinic() -> str:
    return _("Reward model")


def _clinic_tip() -> str:
    return _("How often a reward model is right, how sure it is, what it pays for besides, and its most confident mistakes")


def _title() -> str:
    return _("Train")


def _tip() -> str:
    return _("Write a recipe, start it, and watch its curves: losses, rewards, KL, entropy, speed")


VIEW = View("train", 55, _title, _tip, _make)
