"""What the program remembers: one settings dataclass in one JSON file."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.files import write_json
from models.words import LANGUAGES, _

VERSION = 1
THEMES = ("system", "light", "dark")
ITEMS: dict[str, type] = {"folders": str, "recent": str, "history": str, "columns": dict, "layouts": str}
"""What stands in the lists and tables of the settings; the views look at theirs themselves."""


def home() -> Path:
    """Return the folder of settings and runs; the variable TRIPTYCH_HOME overrides the system's place."""
    override = os.environ.get("TRIPTYCH_HOME")
    if override:
        return Path(override).expanduser()
    from platformdirs import user_data_dir

    return Path(user_data_dir("triptych", appauthor=False))


def settings_path() -> Path:
    """Return where the settings are kept."""
    return home() / "settings.json"


def runs_root() -> Path:
    """Return the folder in which runs are made unless an output folder is given."""
    return home() / "runs"


@dataclass(frozen=True)
class Settings:
    """Everything that outlives the window.

    Args:
        language: ``"en"``, ``"zh_CN"`` or empty for the system's.
        theme: ``"system"``, ``"light"`` or ``"dark"``.
        folders: Folders whose checkpoints the rail lists, besides the bundled ones.
        recent: Checkpoints opened lately, newest first.
        device: Default device. ``dtype``: default dtype. ``quantize``: default quantisation.
        window_geometry: Qt's own state, base64. ``window_state``: the docks, base64.
        columns: The columns last shown, as JSON values.
        text: The text of the prompt bar.
        history: Texts entered lately, newest first.
        views: View name → what the view remembers.
        layouts: Name → saved window state, base64.
        zoom: Size of the window's text, 1 is usual.
    """

    language: str = ""
    theme: str = "system"
    folders: tuple[str, ...] = ()
    recent: tuple[str, ...] = ()
    device: str = "auto"
    dtype: str = "auto"
    quantize: str = ""
    window_geometry: str = ""
    window_state: str = ""
    columns: tuple[dict[str, Any], ...] = ()
    text: str = ""
    history: tuple[str, ...] = ()
    views: dict[str, Any] = field(default_factory=dict)
    layouts: dict[str, str] = field(default_factory=dict)
    zoom: float = 1.0


def _matches(name: str, value: Any, default: Any) -> bool:
    """Return whether a value can be that of a setting."""
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    if isinstance(default, float):
        return isinstance(value, int | float) and 0 < value < 100
    if not isinstance(value, list if isinstance(default, tuple) else type(default)):
        return False
    if name in ITEMS:
        return all(isinstance(item, ITEMS[name]) for item in (value.values() if isinstance(value, dict) else value))
    return value in THEMES if name == "theme" else value in ("", *LANGUAGES) if name == "language" else True


def load(path: Path | None = None) -> tuple[Settings, str]:
    """Read the settings. Returns them and a sentence on what was wrong with the file, empty if nothing.

    A file that cannot be used is moved aside, never deleted, and defaults are returned.
    """
    path = path or settings_path()
    defaults = Settings()
    if not path.exists():
        return defaults, ""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict) or data.get("version") != VERSION:
            raise ValueError(_("it is not of this version"))
    except (OSError, ValueError, RecursionError) as error:
        aside = path.with_suffix(".unreadable.json")
        try:
            path.replace(aside)
        except OSError:
            return defaults, _("{path} could not be read ({reason}); defaults are used.").format(path=path, reason=error)
        text = _("{path} could not be read ({reason}); it was kept as {name} and defaults are used.")
        return defaults, text.format(path=path, reason=error, name=aside.name)
    known: dict[str, Any] = {}
    dropped: list[str] = []
    for item in dataclasses.fields(Settings):
        if item.name not in data:
            continue
        value = data[item.name]
        if _matches(item.name, value, getattr(defaults, item.name)):
            known[item.name] = tuple(value) if isinstance(value, list) else value
        else:
            dropped.append(item.name)
    text = _("{path}: defaults are used for {names}.")
    problem = text.format(path=path, names=", ".join(dropped)) if dropped else ""
    return Settings(**known), problem


def save(settings: Settings, path: Path | None = None) -> None:
    """Write the settings atomically."""
    write_json(path or settings_path(), {"version": VERSION, **dataclasses.asdict(settings)})
