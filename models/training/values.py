"""Plain values of a recipe as settings: checked, converted, and named when they do not fit."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from models.errors import UserError
from models.words import _


def make_settings(kind: type[Any], values: Mapping[str, Any], where: str) -> Any:
    """Build a settings dataclass from plain values, nested ones included; ``UserError`` names what does not fit."""
    known = {item.name for item in fields(kind)}
    check_keys(values, sorted(known), where)
    hints = get_type_hints(kind)
    return kind(**{name: convert_value(value, hints[name], f"{where}.{name}") for name, value in values.items()})


def convert_value(value: Any, hint: Any, where: str) -> Any:
    """Return a YAML value as the type of its field; ``UserError`` if it cannot be that."""
    if is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            raise _wrong(where, value, _("a mapping of settings"))
        return make_settings(hint, value, where)
    if str(hint).startswith("tuple["):
        inner = hint.__args__[0]
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(convert_value(item, inner, where) for item in items)
    if hint is bool and isinstance(value, bool):
        return value
    if hint in (int, float) and not isinstance(value, bool):
        return _number(value, hint, where)
    if hint is str and isinstance(value, str):
        return value
    if hint not in (bool, int, float, str):
        return value
    raise _wrong(where, value, {bool: _("true or false"), str: _("a text")}.get(hint, _("a number")))


def _number(value: Any, hint: type[int] | type[float], where: str) -> float:
    """YAML 1.1 reads ``1e-4`` as text, so texts that are numbers are taken too."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError) as cause:
        raise _wrong(where, value, _("a number")) from cause
    if not math.isfinite(number):  # an endless number of epochs would be planned for ever
        raise _wrong(where, value, _("a finite number"))
    if hint is float:
        return number
    if number != int(number):
        raise _wrong(where, value, _("a whole number"))
    return int(number)


def _wrong(where: str, value: Any, wanted: str) -> UserError:
    return UserError(
        "recipe.value",
        _("{where} is {value!r}.").format(where=where, value=value),
        _("It must be {wanted}.").format(wanted=wanted),
        setting=where,
    )


def check_keys(values: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    """Raise ``UserError`` for the first key that is not known, with the nearest one that is."""
    for key in values:
        if key not in known:
            raise unknown(str(key), known, where)


def unknown(key: str, known: Sequence[str], where: str) -> UserError:
    """Return the error for a name that is not known."""
    near = difflib.get_close_matches(key, known, 1, 0.5)
    hint = _("Did you mean {name!r}?").format(name=near[0]) if near else _("Known: {names}.").format(names=", ".join(known))
    return UserError(
        "recipe.unknown",
        _("{key!r} is unknown in {where}.").format(key=key, where=where),
        hint,
        key=key,
        nearest=near[0] if near else "",
    )
