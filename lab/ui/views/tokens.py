"""Tokens: a text as each column's tokens, tokenizers side by side, the vocabulary, messages as a prompt."""

from __future__ import annotations

from lab.ui.view import View, ViewWidget
from lab.ui.views._tokens_messages import MessagesPage
from lab.ui.views._tokens_pairs import PairsPage
from lab.ui.views._tokens_text import TextPage
from lab.ui.views._tokens_vocabulary import VocabularyPage
from lab.ui.widgets.pages import Page, PagedView
from models.words import _


def _make() -> ViewWidget:
    pages = (
        Page("text", _text, _text_tip, TextPage),
        Page("pairs", _pairs, _pairs_tip, PairsPage),
        Page("vocabulary", _vocabulary, _vocabulary_tip, VocabularyPage),
        Page("messages", _messages, _messages_tip, MessagesPage),
    )
    return PagedView(pages, _("Pages of the tokens"))


def _text() -> str:
    return _("Text")


def _text_tip() -> str:
    return _("The text as tokens, words, sentences or lines, coloured by surprisal, entropy or rank")


def _pairs() -> str:
    return _("Tokenizers")


def _pairs_tip() -> str:
    return _("The text under every column's tokenizer, aligned by character: counts and boundaries")


def _messages() -> str:
    return _("Messages")


def _messages_tip() -> str:
    return _("Messages, the text that the chat template makes of them, and its tokens, with warnings")


def _vocabulary() -> str:
    return _("Vocabulary")


def _vocabulary_tip() -> str:
    return _("Every entry: search, sort, find those that were perhaps never trained")


def _title() -> str:
    return _("Tokens")


def _tip() -> str:
    return _("The text as tokens, coloured by how much each one surprised the model")


VIEW = View("tokens", 10, _title, _tip, _make)
