"""Colours, fonts and the style sheet: light, dark, or as the system has it."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QFont, QFontDatabase, QPalette
from PySide6.QtWidgets import QApplication

from lab.ui.style import style_sheet

THEMES = ("system", "light", "dark")


@dataclass(frozen=True)
class Theme:
    """Every colour of the window, as ``"#rrggbb"``.

    Args:
        dark: Whether light text stands on a dark ground.
        columns: One colour for each of the four columns; told apart by colour-blind readers too.
        window: Ground of the window; ``base`` of fields and views, ``raised`` of cards, ``sunken`` of wells.
        hover: Ground of what the mouse is over; ``accent_soft`` of what is selected.
    """

    dark: bool
    window: str
    base: str
    raised: str
    sunken: str
    hover: str
    text: str
    muted: str
    border: str
    accent: str
    accent_text: str
    accent_soft: str
    good: str
    warn: str
    bad: str
    good_soft: str
    warn_soft: str
    bad_soft: str
    grid: str
    columns: tuple[str, str, str, str]
    stages: dict[str, str]

    def __hash__(self) -> int:
        return hash(self.dark)


LIGHT = Theme(
    dark=False, window="#f4f5f7", base="#ffffff", raised="#ffffff", sunken="#e9ebef", hover="#eceff4",
    text="#1d2129", muted="#636b78", border="#d7dbe2", accent="#2f5bd3", accent_text="#ffffff", accent_soft="#e3eafb",
    good="#177245", warn="#8f5f00", bad="#bf3026", good_soft="#e2f3e9", warn_soft="#fbf0d9", bad_soft="#fbe5e3",
    grid="#e3e6eb", columns=("#0072b2", "#c25e00", "#007f5f", "#a33f7c"),
    stages={
        "pretrain": "#5b6472", "sft": "#2463b8", "reward": "#94610a",
        "rlhf": "#7438b8", "dpo": "#0b756b", "other": "#717988",
    },
)  # fmt: skip
DARK = Theme(
    dark=True, window="#17191e", base="#1d2026", raised="#242830", sunken="#121418", hover="#2a2f38",
    text="#e3e6eb", muted="#99a1ae", border="#343a45", accent="#7ea2ff", accent_text="#10131a", accent_soft="#2a3654",
    good="#52c58a", warn="#e3b04b", bad="#f27d74", good_soft="#1d3328", warn_soft="#3a301b", bad_soft="#422422",
    grid="#2c313a", columns=("#56b4e9", "#f0a24a", "#43c9a2", "#df93c3"),
    stages={
        "pretrain": "#a4adbb", "sft": "#79aef5", "reward": "#e0b04f",
        "rlhf": "#bd93f5", "dpo": "#4fc9bb", "other": "#99a1ae",
    },
)  # fmt: skip

_current = LIGHT


def current() -> Theme:
    """Return the theme in use."""
    return _current


def column_colour(index: int) -> str:
    """Return the colour of the column at ``index``."""
    return _current.columns[index % len(_current.columns)]


def stage_colour(stage: str) -> str:
    """Return the colour of a training stage's name."""
    return _current.stages.get(stage, _current.stages["other"])


def mono(scale: float = 1.0) -> QFont:
    """Return the fixed-pitch font, ``scale`` times the size of the window's."""
    font = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)
    font.setPointSizeF(QApplication.font().pointSizeF() * scale)
    return font


def can_write_chinese() -> bool:
    """Return whether a font with Chinese characters is installed."""
    return bool(QFontDatabase.families(QFontDatabase.WritingSystem.SimplifiedChinese))


def resolve(name: str) -> Theme:
    """Return the theme called ``name``; ``"system"`` is what the system says."""
    if name == "system":
        hints = QApplication.styleHints()
        return DARK if hints.colorScheme() == Qt.ColorScheme.Dark else LIGHT
    return DARK if name == "dark" else LIGHT


def apply(app: QApplication, name: str, zoom: float = 1.0) -> Theme:
    """Give the application a theme: palette, style sheet, font and the plots' colours."""
    global _current
    _current = resolve(name)
    if app.style().objectName().lower() != "fusion":
        app.setStyle("Fusion")
    app.setFont(_font(zoom))
    app.setPalette(_palette(_current))
    app.setStyleSheet(style_sheet(_current, zoom))
    colour_plots()
    return _current


def colour_plots() -> None:
    """Tell pyqtgraph the colours, if it is in use."""
    pyqtgraph = sys.modules.get("pyqtgraph")
    if pyqtgraph is not None and hasattr(pyqtgraph, "setConfigOptions"):
        pyqtgraph.setConfigOptions(background=_current.base, foreground=_current.muted, antialias=True)


def _font(zoom: float) -> QFont:
    system = QFontDatabase.systemFont(QFontDatabase.SystemFont.GeneralFont)
    known = set(QFontDatabase.families())
    wanted = ["Inter", "Segoe UI", "SF Pro Text", "Noto Sans", "Cantarell", "Ubuntu", system.family(), "DejaVu Sans"]
    chinese = ["Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei UI", "Source Han Sans SC", "WenQuanYi Micro Hei"]
    families = [name for name in [*wanted, *chinese] if name in known]
    font = QFont(families or [system.family()])
    font.setPointSizeF(max(6.0, round(9.5 * zoom, 1)))
    font.setHintingPreference(QFont.HintingPreference.PreferVerticalHinting)
    return font


def _palette(theme: Theme) -> QPalette:
    palette = QPalette()
    roles = {
        QPalette.ColorRole.Window: theme.window, QPalette.ColorRole.WindowText: theme.text,
        QPalette.ColorRole.Base: theme.base, QPalette.ColorRole.AlternateBase: theme.window,
        QPalette.ColorRole.Text: theme.text, QPalette.ColorRole.Button: theme.raised,
        QPalette.ColorRole.ButtonText: theme.text, QPalette.ColorRole.BrightText: theme.bad,
        QPalette.ColorRole.Highlight: theme.accent, QPalette.ColorRole.HighlightedText: theme.accent_text,
        QPalette.ColorRole.ToolTipBase: theme.raised, QPalette.ColorRole.ToolTipText: theme.text,
        QPalette.ColorRole.PlaceholderText: theme.muted, QPalette.ColorRole.Link: theme.accent,
        QPalette.ColorRole.LinkVisited: theme.accent, QPalette.ColorRole.Accent: theme.accent,
        QPalette.ColorRole.Light: theme.raised, QPalette.ColorRole.Midlight: theme.hover,
        QPalette.ColorRole.Mid: theme.border, QPalette.ColorRole.Dark: theme.border,
        QPalette.ColorRole.Shadow: theme.sunken,
    }  # fmt: skip
    for role, colour in roles.items():
        palette.setColor(role, QColor(colour))
    for role in (QPalette.ColorRole.Text, QPalette.ColorRole.WindowText, QPalette.ColorRole.ButtonText):
        faded = QColor(theme.muted)
        faded.setAlpha(150)
        palette.setColor(QPalette.ColorGroup.Disabled, role, faded)
    return palette
