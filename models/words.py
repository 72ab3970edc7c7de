"""The words that people read, in the language that they chose (gettext, one catalogue)."""

from __future__ import annotations

import gettext
import locale
import os
from importlib.resources import files

LANGUAGES = {"en": "English", "zh_CN": "中文"}
_catalogue: gettext.NullTranslations = gettext.NullTranslations()
_language = "en"


def system_language() -> str:
    """Return the language of this machine's settings, ``"zh_CN"`` or ``"en"``."""
    name = os.environ.get("TRIPTYCH_LANGUAGE") or os.environ.get("LC_ALL") or os.environ.get("LANG") or ""
    name = name or (locale.getlocale()[0] or "")
    return "zh_CN" if name.lower().startswith(("zh", "chinese")) else "en"


def set_language(name: str = "") -> str:
    """Choose the language of every later ``_()``; empty means the system's. Returns the name chosen."""
    global _catalogue, _language
    name = name or system_language()
    _language = name
    folder = str(files("assets").joinpath("translations"))
    _catalogue = gettext.translation("triptych", folder, [name], fallback=True)
    return name


def current_language() -> str:
    """Return the language chosen last."""
    return _language


def _(text: str) -> str:
    """Return the text in the chosen language."""
    return _catalogue.gettext(text) if text else ""


def N_(text: str) -> str:
    """Mark a text for the catalogue without translating it yet; ``_(...)`` does that where it is shown."""
    return text


def ngettext(one: str, many: str, n: int) -> str:
    """Return the singular or plural form for ``n`` in the chosen language."""
    return _catalogue.ngettext(one, many, n)
