"""Lineages: checkpoints tied by parent links, kept in ``lineage.json`` beside them."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from models.errors import UserError
from models.files import write_json
from models.words import _

FILE = "lineage.json"
STAGES = ("pretrain", "sft", "reward", "rlhf", "dpo", "other")


@dataclass(frozen=True)
class LineageEntry:
    """One checkpoint of a lineage.

    Args:
        name: Unique within the lineage.
        path: Folder of the checkpoint, relative to the folder of ``lineage.json`` (or absolute).
        stage: One of ``STAGES``.
        parent: Name of the checkpoint it was trained from; empty for the first.
    """

    name: str
    path: str
    stage: str = "other"
    parent: str = ""


@dataclass(frozen=True)
class Lineage:
    """A named family of checkpoints, in order, and the folder that their paths are relative to."""

    name: str
    folder: Path
    checkpoints: tuple[LineageEntry, ...]

    def entry(self, name: str) -> LineageEntry:
        """Return the checkpoint called ``name``; ``UserError`` if there is none."""
        for entry in self.checkpoints:
            if entry.name == name:
                return entry
        known = ", ".join(item.name for item in self.checkpoints)
        raise UserError(
            "lineage.unknown",
            _("Lineage {name!r} has no checkpoint {checkpoint!r}.").format(name=self.name, checkpoint=name),
            _("It has: {kinds}.").format(kinds=known),
        )

    def path_of(self, name: str) -> Path:
        """Return the folder of the checkpoint called ``name``."""
        return self.folder / self.entry(name).path

    def ancestors(self, name: str) -> list[LineageEntry]:
        """Return the chain of parents of ``name``, nearest first."""
        chain: list[LineageEntry] = []
        parent = self.entry(name).parent
        while parent:
            chain.append(self.entry(parent))
            parent = chain[-1].parent
        return chain


def read_lineage(path: Path) -> Lineage:
    """Read ``lineage.json`` (the file or its folder); ``UserError`` if it is missing, malformed or inconsistent."""
    file = path / FILE if path.is_dir() else path
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        entries = tuple(_entry(item) for item in content["checkpoints"])
        lineage = Lineage(str(content["name"]), file.parent, entries)
    except OSError as cause:
        raise UserError(
            "lineage.missing", _("{path} cannot be read: {reason}.").format(path=file, reason=cause.strerror), path=str(file)
        ) from cause
    except (ValueError, KeyError, TypeError, AttributeError) as cause:
        raise UserError(
            "lineage.malformed",
            _("{file} is not a lineage.").format(file=file),
            _("It must hold a name and checkpoints, each with name, path, stage and parent."),
            path=str(file),
        ) from cause
    _check(lineage, file)
    return lineage


def _entry(item: dict[str, object]) -> LineageEntry:
    return LineageEntry(str(item["name"]), str(item["path"]), str(item.get("stage") or "other"), str(item.get("parent") or ""))


def _check(lineage: Lineage, file: Path) -> None:
    seen: set[str] = set()
    for entry in lineage.checkpoints:
        if entry.name in seen:
            raise UserError(
                "lineage.twice", _("{file} names checkpoint {name!r} twice.").format(file=file, name=entry.name), _("Rename one.")
            )
        if entry.stage not in STAGES:
            raise UserError(
                "lineage.stage",
                _("{file}: stage {stage!r} of {name!r} is unknown.").format(file=file, stage=entry.stage, name=entry.name),
                _("Use {names}.").format(names=STAGES),
            )
        if entry.parent and entry.parent not in seen:
            raise UserError(
                "lineage.parent",
                _("{file}: {name!r} has the parent {parent!r}, which does not stand before it.").format(
                    file=file, name=entry.name, parent=entry.parent
                ),
                _("List parents before their children."),
            )
        seen.add(entry.name)


def write_lineage(lineage: Lineage) -> Path:
    """Write ``lineage.json`` into the lineage's folder, atomically, and return its path."""
    _check(lineage, lineage.folder / FILE)
    content = {"name": lineage.name, "checkpoints": [asdict(entry) for entry in lineage.checkpoints]}
    target = lineage.folder / FILE
    write_json(target, content)
    return target


def export_lineage(source: Path, target: Path) -> Lineage:
    """Copy the checkpoints of a lineage to ``target/<name>/`` with a ``lineage.json``; returns the new lineage.

    Run folders, training states and journals stay behind: what is copied is what others need to open the lineage and,
    where it was trained on an invented world, the held-out items on which it is judged (``world/test``).
    """
    lineage = read_lineage(source)
    target.mkdir(parents=True, exist_ok=True)
    for entry in lineage.checkpoints:
        folder = target / entry.name
        if folder.exists():
            shutil.rmtree(folder)
        shutil.copytree(lineage.path_of(entry.name), folder)
    items = source / "world" / "test"
    if items.is_dir():
        shutil.copytree(items, target / "world" / "test", dirs_exist_ok=True)
    entries = tuple(LineageEntry(item.name, item.name, item.stage, item.parent) for item in lineage.checkpoints)
    exported = Lineage(lineage.name, target, entries)
    write_lineage(exported)
    return exported
