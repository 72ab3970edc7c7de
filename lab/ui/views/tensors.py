"""Tensors: what the files of every checkpoint hold, what a stage changed in the weights, and the cards side by side."""

from __future__ import annotations

from lab.ui.view import View, ViewWidget
from lab.ui.views._tensor_cards import CardsPage
from lab.ui.views._tensor_changes import ChangesPage
from lab.ui.views._tensor_list import TensorsPage
from lab.ui.widgets.pages import Page, PagedView
from models.words import _


def _make() -> ViewWidget:
    pages = (
        Page("list", _tensors, _tensors_tip, TensorsPage),
        Page("changes", _changes, _changes_tip, ChangesPage),
        Page("cards", _cards, _cards_tip, CardsPage),
    )
    return PagedView(pages, _("Pages of the tensors"))


def _tensors() -> str:
    return _("Weights")


def _tensors_tip() -> str:
    return _("Every tensor of the files: shape, type, statistics, histogram and picture; the model need not be loaded")


def _changes() -> str:
    return _("Changes")


def _changes_tip() -> str:
    return _("What a stage changed in the weights of another, by layer and module")


def _cards() -> str:
    return _("Architecture")


def _cards_tip() -> str:
    return _("The checkpoints' architecture, tokenizer and settings side by side, differences marked")


def _title() -> str:
    return _("Tensors")


def _tip() -> str:
    return _("The weights in the files of every checkpoint, and what a stage of training changed in them")


VIEW = View("tensors", 70, _title, _tip, _make)
