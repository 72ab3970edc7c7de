"""Collect the declared constant (VIEW, STAGE, METRIC, BENCHMARK) of every module in a folder."""

from __future__ import annotations

import importlib
import pkgutil
import traceback
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Discovered:
    """One module of a kind: its value, or the error that it raised on import."""

    name: str
    value: Any = None
    error: str = ""


def discover(package: str, constant: str) -> list[Discovered]:
    """Import each module of ``package`` and collect ``constant``.

    Names that start with ``_`` are helpers and skipped, and so are modules without the constant. A module that cannot
    be imported becomes a row with its error, so that one broken file does not take the others with it.
    """
    found: list[Discovered] = []
    folder = importlib.import_module(package)
    for info in sorted(pkgutil.iter_modules(folder.__path__), key=lambda item: item.name):
        if info.name.startswith("_"):
            continue
        try:
            module = importlib.import_module(f"{package}.{info.name}")
        except Exception:  # noqa: BLE001 - a broken plug-in is shown, not fatal
            found.append(Discovered(info.name, error=traceback.format_exc()))
            continue
        if hasattr(module, constant):
            found.append(Discovered(info.name, getattr(module, constant)))
    return found
