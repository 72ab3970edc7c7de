"""Every text is in the Chinese catalogue, translated, with the same placeholders; the compiled file is current."""

from __future__ import annotations

import gettext
import re
import string
from io import BytesIO

import pytest
from babel.messages.catalog import Catalog

from models import words
from tests import translations


@pytest.fixture(scope="module")
def catalogue() -> Catalog:
    return translations.read()


def placeholders(text: str) -> list[tuple[str, str, str]]:
    """Return name, conversion and format of every field, sorted."""
    parsed = string.Formatter().parse(text)
    return sorted((name, conversion or "", form or "") for _literal, name, form, conversion in parsed if name is not None)


def pairs(catalogue: Catalog) -> list[tuple[str, str]]:
    """Return every text beside its translation, plural forms one by one."""
    found = []
    for message in catalogue:
        if not message.id:
            continue
        originals = [message.id] if isinstance(message.id, str) else list(message.id)
        strings = [message.string] if isinstance(message.string, str) else list(message.string)
        found += [(originals[-1], text) for text in strings]
    return found


def test_the_catalogue_holds_exactly_the_texts_of_the_code(catalogue: Catalog) -> None:
    held, wanted = {message.id for message in catalogue if message.id}, translations.collected()
    assert wanted - held == set(), "run: make translations, and translate what is new"
    assert held - wanted == set(), "run: make translations"
    assert not catalogue.obsolete


def test_every_text_is_translated_and_none_is_a_guess(catalogue: Catalog) -> None:
    assert translations.untranslated(catalogue) == []
    assert [message.id for message in catalogue if message.id and message.fuzzy] == []


def test_placeholders_are_those_of_the_original(catalogue: Catalog) -> None:
    wrong = [(original, text) for original, text in pairs(catalogue) if placeholders(original) != placeholders(text)]
    assert wrong == []


def test_line_breaks_and_menu_keys_are_kept(catalogue: Catalog) -> None:
    def shape(text: str) -> tuple[int, int]:
        return text.count("\n"), text.replace("&&", "").count("&")

    assert [(a, b) for a, b in pairs(catalogue) if shape(a) != shape(b)] == []


def test_sentences_are_chinese(catalogue: Catalog) -> None:
    """A translation that was forgotten by copying would pass the other tests."""

    def chinese(text: str) -> bool:
        return any("\u4e00" <= character <= "\u9fff" for character in text)

    def n_words(text: str) -> int:
        return len(re.findall(r"[a-z]{2,}", re.sub(r"{.*?}", "", text)))

    assert [a for a, b in pairs(catalogue) if n_words(a) > 2 and not chinese(b)] == []


def test_the_compiled_file_is_that_of_the_catalogue(catalogue: Catalog) -> None:
    with translations.MO.open("rb") as file:
        shipped = gettext.GNUTranslations(file)
    fresh = gettext.GNUTranslations(BytesIO(translations.compiled(catalogue)))
    for message in catalogue:
        if isinstance(message.id, str) and message.id:
            assert shipped.gettext(message.id) == fresh.gettext(message.id) == message.string
        elif message.id:
            assert shipped.ngettext(*message.id, 2) == fresh.ngettext(*message.id, 2)
    assert shipped.gettext("") == "" or "charset=utf-8" in shipped.gettext("").lower()


def test_texts_are_found_wherever_they_stand() -> None:
    source = 'a = _("one" " two"); b = f"{_(\'three\')} {words.ngettext(\'file\', \'files\', 2)}"; c = N_("four"); d = _(x)'
    assert set(translations.texts_of(source)) == {"one two", "three", "four", ("file", "files")}
    with pytest.raises(ValueError, match="f-string"):
        list(translations.texts_of('_(f"{x} things")'))


def test_an_update_keeps_translations_and_drops_what_is_gone() -> None:
    old = Catalog(locale="zh_CN")
    old.add("kept {n}", "保留 {n}")
    old.add("gone", "没了")
    new = translations.updated(old, {"kept {n}", "new"})
    assert {message.id: message.string for message in new if message.id} == {"kept {n}": "保留 {n}", "new": ""}
    assert translations.untranslated(new) == ["new"]


def test_the_program_reads_the_catalogue() -> None:
    before = words.current_language()
    try:
        assert words.set_language("zh_CN") == "zh_CN"
        assert words._("Surprisal") == "惊异度"
        assert words.set_language("en") == "en"
        assert words._("Surprisal") == "Surprisal"
    finally:
        words.set_language(before)


def test_the_engine_speaks_the_language_that_the_window_asks_for() -> None:
    from models.engine_ops import Operations
    from models.events import finish

    before = words.current_language()
    try:
        assert finish(Operations().table()["language"](name="zh_CN")) == "zh_CN"
        assert words._("Type a text.") == "请输入文本。"
    finally:
        words.set_language(before)
