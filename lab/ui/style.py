"""The style sheet, written once for both themes."""

from __future__ import annotations

from string import Template
from typing import Any

_SHEET = Template("""
QToolTip { background: $raised; color: $text; border: 1px solid $border; padding: 4px 6px; }
QMainWindow::separator { background: $window; width: 5px; height: 5px; }
QMainWindow::separator:hover { background: $accent_soft; }
QMenuBar { background: $window; border-bottom: 1px solid $border; padding: 1px 4px; }
QMenuBar::item { padding: 4px 9px; border-radius: 4px; background: transparent; }
QMenuBar::item:selected { background: $hover; }
QMenu { background: $raised; border: 1px solid $border; padding: 4px; }
QMenu::item { padding: 5px 26px 5px 22px; border-radius: 4px; }
QMenu::item:selected { background: $accent_soft; color: $text; }
QMenu::item:disabled { color: $muted; }
QMenu::separator { height: 1px; background: $border; margin: 4px 6px; }
QMenu::icon { padding-left: 6px; }
QStatusBar { background: $window; border-top: 1px solid $border; color: $muted; }
QStatusBar::item { border: 0; }
QStatusBar QLabel { color: $muted; padding: 0 4px; }

QDockWidget { color: $muted; }
QDockWidget::title { background: $window; padding: 5px 8px; text-align: left; }
QTabWidget::pane { border: 0; border-top: 1px solid $border; background: $base; }
QTabBar { background: transparent; qproperty-drawBase: 0; }
QTabBar::tab { background: transparent; color: $muted; padding: 6px 13px; border: 0; border-bottom: 2px solid transparent; }
QTabBar::tab:hover { color: $text; background: $hover; }
QTabBar::tab:disabled { color: $border; }
QTabBar::tab:selected { color: $text; border-bottom: 2px solid $accent; }

QPushButton { background: $raised; color: $text; border: 1px solid $border; border-radius: 5px; padding: 4px 12px; }
QPushButton:hover { background: $hover; }
QPushButton:pressed { background: $sunken; }
QPushButton:disabled { color: $muted; background: $window; }
QPushButton:checked { background: $accent_soft; border-color: $accent; }
QPushButton:focus { border-color: $accent; }
QPushButton[primary="true"] { background: $accent; color: $accent_text; border-color: $accent; font-weight: 600; }
QPushButton[primary="true"]:hover { border-color: $text; }
QPushButton[primary="true"]:disabled { background: $sunken; color: $muted; border-color: $border; }
QPushButton[flat="true"] { background: transparent; border-color: transparent; padding: 3px 8px; }
QPushButton[flat="true"]:hover { background: $hover; }
QPushButton::menu-indicator { subcontrol-position: right center; subcontrol-origin: padding; right: 6px; }
QToolButton { background: transparent; border: 1px solid transparent; border-radius: 5px; padding: 3px; color: $text; }
QToolButton:hover { background: $hover; }
QToolButton:pressed, QToolButton:checked { background: $accent_soft; }
QToolButton:focus { border-color: $accent; }
QToolButton::menu-indicator { image: none; }

QLineEdit, QPlainTextEdit, QTextEdit, QTextBrowser { background: $base; color: $text; border: 1px solid $border;
    border-radius: 5px; selection-background-color: $accent; selection-color: $accent_text; }
QLineEdit { padding: 4px 7px; }
QComboBox, QAbstractSpinBox { min-height: 21px; }
QLineEdit:focus, QPlainTextEdit:focus, QTextEdit:focus { border-color: $accent; }
QLineEdit:disabled { color: $muted; background: $window; }

QAbstractItemView { background: $base; color: $text; border: 0; outline: 0; selection-background-color: $accent_soft;
    selection-color: $text; alternate-background-color: $window; }
QTreeView::item, QListView::item { padding: 3px 2px; border-radius: 4px; }
QListWidget::item { padding: 5px 6px; }
QTreeView::item:hover, QListView::item:hover { background: $hover; }
QTreeView::item:selected, QListView::item:selected { background: $accent_soft; color: $text; }
QTableView { gridline-color: $grid; }
QTableView::item { padding: 2px 6px; }
QTableView::item:selected { background: $accent_soft; color: $text; }
QHeaderView { background: $window; border: 0; }
QHeaderView::section { background: $window; color: $muted; border: 0; border-bottom: 1px solid $border; padding: 4px 7px; }
QTableCornerButton::section { background: $window; border: 0; }

QScrollBar:vertical { background: transparent; width: 10px; margin: 0; }
QScrollBar:horizontal { background: transparent; height: 10px; margin: 0; }
QScrollBar::handle { background: $border; border-radius: 4px; margin: 1px; min-height: 24px; min-width: 24px; }
QScrollBar::handle:hover { background: $muted; }
QScrollBar::add-line, QScrollBar::sub-line { width: 0; height: 0; }
QScrollBar::add-page, QScrollBar::sub-page { background: transparent; }
QProgressBar { background: $sunken; border: 0; border-radius: 3px; text-align: center; color: $text; max-height: 6px; }
QProgressBar::chunk { background: $accent; border-radius: 3px; }
QScrollArea { border: 0; background: transparent; }
QSplitter::handle { background: $border; }
QSplitter::handle:horizontal { width: 1px; }
QSplitter::handle:vertical { height: 1px; }
QGroupBox { border: 1px solid $border; border-radius: 6px; margin-top: 9px; padding-top: 6px; }
QGroupBox::title { subcontrol-origin: margin; left: 9px; padding: 0 4px; color: $muted; }

QLabel[role="muted"] { color: $muted; }
QLabel[role="title"] { font-weight: 600; }
QLabel[role="heading"] { font-weight: 600; font-size: ${heading}pt; }
QLabel[role="section"] { color: $muted; font-weight: 600; font-size: ${small}pt; }
QLabel[role="bad"] { color: $bad; }
QLabel[role="warn"] { color: $warn; }
QLabel[role="good"] { color: $good; }
QFrame[role="card"] { background: $raised; border: 1px solid $border; border-radius: 7px; }
QFrame[role="popup"], QDialog[role="popup"] { background: $raised; border: 1px solid $border; }
QFrame[role="bar"] { background: $window; border: 0; border-bottom: 1px solid $border; }
QFrame[role="panel"], QWidget[role="panel"] { background: $base; }
QFrame[role="line"] { background: $border; border: 0; max-height: 1px; min-height: 1px; }
QFrame[level="info"] { background: $accent_soft; border: 0; }
QFrame[level="good"] { background: $good_soft; border: 0; }
QFrame[level="warning"] { background: $warn_soft; border: 0; }
QFrame[level="error"] { background: $bad_soft; border: 0; }
""")


def style_sheet(theme: Any, zoom: float) -> str:
    """Return the style sheet in a theme's colours."""
    sizes = {"heading": round(13 * zoom, 1), "small": round(8.5 * zoom, 1)}
    return _SHEET.substitute(vars(theme) | sizes)
