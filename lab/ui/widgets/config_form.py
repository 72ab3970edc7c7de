"""A form made from a settings dataclass: one field for each setting, its help as the tool tip, what is unusual marked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_origin, get_type_hints

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QCheckBox, QComboBox, QFormLayout, QFrame, QLabel, QLineEdit, QScrollArea, QWidget

from lab.ui.widgets.text import tooltip
from models.words import _

PARTS = re.compile(r'\s*"[^"]*"\s*|[^,]+')
"""Of a list in a field: with commas between; one that has commas itself stands in quotation marks."""
Choices = Mapping[str, tuple[str, ...]]


def setting_fields(kind: type[Any], prefix: str = "") -> list[tuple[str, Any, Any, str]]:
    """Return (dotted name, type, default, help) of every setting of a dataclass, nested ones included."""
    hints, usual = get_type_hints(kind), kind()
    found: list[tuple[str, Any, Any, str]] = []
    for item in fields(kind):
        hint, name = hints[item.name], f"{prefix}{item.name}"
        if isinstance(hint, type) and is_dataclass(hint):
            found += setting_fields(hint, f"{name}.")
        elif not _of_records(hint):
            found.append((name, hint, getattr(usual, item.name), str(item.metadata.get("help", ""))))
    return found


def _of_records(hint: Any) -> bool:
    """Return whether a setting is a mapping or a sequence of dataclasses: it has no field here, and is written in the YAML."""
    if str(hint).startswith("tuple["):
        return is_dataclass(hint.__args__[0])
    return get_origin(hint) in (dict, Mapping) or hint in (dict, Any)


def as_text(value: Any) -> str:
    """Return a setting as its field shows it."""
    if isinstance(value, list | tuple):
        return ", ".join(f'"{part}"' if "," in str(part) else str(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def from_text(text: str, hint: Any) -> Any:
    """Return what a field's text means as a value for YAML; raises ``ValueError`` with a sentence if it means nothing."""
    text = text.strip()
    if str(hint).startswith("tuple["):
        items = [part.strip().strip('"') for part in PARTS.findall(text) if part.strip()]
        return [from_text(part, hint.__args__[0]) for part in items]
    if hint is int:
        try:
            return int(float(text)) if float(text) == int(float(text)) else _raise(_("a whole number"))
        except (ValueError, OverflowError):
            return _raise(_("a whole number"))
    if hint is float:
        try:
            return float(text)
        except ValueError:
            return _raise(_("a number"))
    return text


def _raise(wanted: str) -> Any:
    raise ValueError(_("It must be {wanted}.").format(wanted=wanted))


class ConfigForm(QScrollArea):
    """The settings of one stage. ``values()`` are those that differ from the usual."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.fields: dict[str, QWidget] = {}
        self._known: dict[str, tuple[Any, Any, str]] = {}
        self._kept: dict[str, Any] = {}

    def set_kind(self, kind: type[Any], values: Mapping[str, Any], choices: Choices, first: tuple[str, ...] = ()) -> None:
        """Show the settings of a dataclass.

        Args:
            kind: Frozen dataclass whose fields all have defaults.
            values: Dotted name → value that differs from the usual.
            choices: Name of a setting → what it may be.
            first: Names that come first, in this order.
        """
        inside = QWidget(self)
        form = QFormLayout(inside)
        form.setContentsMargins(4, 4, 8, 4)
        form.setVerticalSpacing(4)
        self.fields, self._known = {}, {}
        known = {name: (hint, usual, text) for name, hint, usual, text in setting_fields(kind)}
        for name in [*(name for name in first if name in known), *(name for name in known if name not in first)]:
            hint, usual, text = known[name]
            field = self._field(inside, name, hint, values.get(name, usual), choices)
            label = QLabel(name, inside)
            label.setBuddy(field)
            field.setAccessibleName(name)
            for widget in (field, label):
                widget.setToolTip(tooltip(f"{name} = {as_text(usual)}", _(text) if text else ""))
            self.fields[name], self._known[name] = field, (hint, usual, text)
            form.addRow(label, field)
        self._kept = {name: value for name, value in values.items() if name not in known}
        self.setWidget(inside)
        self._mark()

    def _field(self, parent: QWidget, name: str, hint: Any, value: Any, choices: Choices) -> QWidget:
        if hint is bool:
            box = QCheckBox(parent)
            box.setChecked(bool(value))
            box.toggled.connect(self._on_changed)
            return box
        if name.split(".")[-1] in choices and hint is str:
            options = QComboBox(parent)
            offered = choices[name.split(".")[-1]]
            options.addItems([*offered, *([] if str(value) in offered else [str(value)])])  # what cannot be stays to be seen
            options.setCurrentText(str(value))
            options.currentTextChanged.connect(self._on_changed)
            return options
        line = QLineEdit(as_text(value), parent)
        line.setMinimumWidth(110)
        line.textChanged.connect(self._on_changed)
        return line

    def values(self) -> dict[str, Any]:
        """Return dotted name → value of every setting that is not the usual one and can be read, and what has no field."""
        found: dict[str, Any] = dict(self._kept)
        for name, field in self.fields.items():
            hint, usual, _text = self._known[name]
            try:
                value = self._value(field, hint)
            except ValueError:
                continue
            if value != (list(usual) if isinstance(usual, tuple) else usual):
                found[name] = value
        return found

    def problems(self) -> dict[str, str]:
        """Return dotted name → why its text cannot be read."""
        found: dict[str, str] = {}
        for name, field in self.fields.items():
            try:
                self._value(field, self._known[name][0])
            except ValueError as error:
                found[name] = str(error)
        return found

    def _value(self, field: QWidget, hint: Any) -> Any:
        if isinstance(field, QCheckBox):
            return field.isChecked()
        text = field.currentText() if isinstance(field, QComboBox) else field.text() if isinstance(field, QLineEdit) else ""
        return from_text(text, hint)

    def _on_changed(self, *_given: object) -> None:
        self._mark()
        self.changed.emit()

    def _mark(self) -> None:
        """Write the names of unusual settings bold, and of those that cannot be read with a mark."""
        inside, values, problems = self.widget(), self.values(), self.problems()
        form = inside.layout() if inside is not None else None
        if not isinstance(form, QFormLayout):
            return
        for name, field in self.fields.items():
            label = form.labelForField(field)
            if isinstance(label, QLabel):
                font = label.font()
                font.setBold(name in values or name in problems)
                label.setFont(font)
                label.setText(f"⚠ {name}" if name in problems else name)
