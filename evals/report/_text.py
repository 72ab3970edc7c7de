"""Text and numbers as the report shows them: everything escaped, long or odd text tamed."""

from __future__ import annotations

import html
import math
import re
import unicodedata

LONGEST = 1200
MARKS = 8
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


def escape(text: object) -> str:
    """Return text that is safe between tags and inside attributes, odd characters made visible."""
    return html.escape(visible(str(text)), quote=True)


def visible(text: str) -> str:
    """Return text without terminal codes and piles of marks, control and direction characters written as codes."""
    out, marks = [], 0
    for letter in _ANSI.sub("", text):
        kind = unicodedata.category(letter)
        marks = marks + 1 if kind in ("Mn", "Me") else 0
        if marks > MARKS:
            continue
        coded = kind in ("Cc", "Cf", "Cs") and letter not in "\n\t"
        out.append(f"\\u{ord(letter):04x}" if coded else letter)
    return "".join(out)


def shown(text: str) -> str:
    """Return a model's text as escaped HTML, cut where it is very long."""
    cut = text[:LONGEST]
    return escape(cut) + (" …" if len(text) > LONGEST and not _all_marks(text[LONGEST:]) else "")


def _all_marks(text: str) -> bool:
    return all(unicodedata.category(letter) in ("Mn", "Me") for letter in text)


def number(value: float, scale: float = 1.0) -> str:
    """Return a number in at most four figures, a dash for none."""
    if not math.isfinite(value):
        return "–"
    if abs(value) >= 1e5:
        return f"{value:.2e}"
    return (
        f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) >= 100 else f"{value:.3f}".rstrip("0").rstrip(".")
    )


def signed(value: float) -> str:
    """Return a difference with its sign."""
    return number(value) if not math.isfinite(value) or value <= 0 else f"+{number(value)}"


def p_value(value: float) -> str:
    """Return a p value."""
    return "–" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"
