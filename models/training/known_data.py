"""On which files was a checkpoint trained, and are they here? From manifests alone: its own and those of its parents.

A file counts only if its SHA-256 is the one that the manifest notes. Files of an invented world are written again from its
settings where they are gone: the hash says whether they are the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.events import Progress, Work
from models.manifest import file_hash
from models.places import cache_folder
from models.words import _

MANIFEST, NOTES, WORLD = "manifest.json", "recipe.json", "world"
LEVELS, GENERATIONS = 4, 16
WORLDS_KEPT = 2


@dataclass(frozen=True)
class DataFile:
    """A file that was trained on: its name in the recipe, where it is, and its SHA-256."""

    name: str
    path: Path
    sha256: str


@dataclass(frozen=True)
class TrainingData:
    """What a checkpoint was trained on, as far as that is known.

    Args:
        files: Those that are here as they were, of it and of the checkpoints that it came from.
        lacking: Files that are gone or have changed, and ancestors that nothing tells about.
        told: Whether anything tells at all.
    """

    files: tuple[DataFile, ...] = ()
    lacking: tuple[str, ...] = ()
    told: bool = False

    @property
    def whole(self) -> bool:
        """Whether everything that it was trained on is here."""
        return self.told and bool(self.files) and not self.lacking


def training_data(checkpoint: Path, known: Callable[[str], bool] = lambda _sha256: False) -> Work[TrainingData]:
    """Return what a checkpoint was trained on, its ancestors' data included; hashing large files yields progress.

    Args:
        checkpoint: Its path.
        known: SHA-256 → whether nobody needs the file any more, because all that is wanted of it is known; it is not looked for.
    """
    found = TrainingData()
    place: Path | None = checkpoint.resolve()
    for _generation in range(GENERATIONS):
        manifest = _manifest(place) if place is not None else {}
        if place is None or "data" not in manifest:
            name = manifest.get("name") or (place.name if place is not None else checkpoint.name)
            return replace(found, lacking=(*found.lacking, str(name))) if found.told else found
        found = yield from _with(found, place, manifest, known)
        parent = _parent(manifest)
        if not parent:
            return found
        place = _folder_of(parent, place)
        if place is None:
            return replace(found, lacking=(*found.lacking, parent))
    return found


def _manifest(place: Path) -> Mapping[str, Any]:
    return _json(place / MANIFEST) if place.is_dir() else {}


def _json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _parent(manifest: Mapping[str, Any]) -> str:
    """Return the name of the checkpoint whose weights were trained on; empty for one that began from nothing."""
    parents = manifest.get("parents")
    return str(parents.get("parent") or "") if isinstance(parents, Mapping) else ""


def _folder_of(name: str, child: Path) -> Path | None:
    """Return the folder of a parent: beside the child, a step of the same run, or where its path says."""
    above = child.parents[: LEVELS - 1]
    beside = [place for top in above for place in (top / name / "checkpoint", top / name)]
    places = [Path(name)] if Path(name).is_absolute() else [*beside, *(Path(top) / name for top in _recipe_folders(child))]
    return next((place for place in places if (place / MANIFEST).is_file() or (place / "config.json").is_file()), None)


def _recipe_folders(place: Path) -> Iterator[str]:
    for top in place.parents[:LEVELS]:
        folder = _json(top / NOTES).get("folder")
        if isinstance(folder, str):
            yield folder


def _with(
    found: TrainingData, place: Path, manifest: Mapping[str, Any], known: Callable[[str], bool]
) -> Work[TrainingData]:
    """Return what is known with the data of one more checkpoint."""
    data = manifest.get("data")
    settings = manifest.get("settings")
    aside = settings.get("dev") if isinstance(settings, Mapping) else ""
    files, lacking, have = list(found.files), list(found.lacking), {file.sha256 for file in found.files}
    for name, digest in data.items() if isinstance(data, Mapping) else ():
        if name == aside or digest in have:  # held out, or known from a descendant
            continue
        recipe = str(manifest.get("recipe") or "")
        path = Path(name) if known(str(digest)) else (yield from _here(str(name), str(digest), place, recipe))
        if path is None:
            lacking.append(str(name))
        else:
            files.append(DataFile(str(name), path, str(digest)))
            have.add(digest)
    return TrainingData(tuple(files), tuple(dict.fromkeys(lacking)), True)


def _here(name: str, digest: str, place: Path, recipe: str) -> Work[Path | None]:
    """Return where a file is that has this hash; None if it is nowhere."""
    tops = [str(top) for top in [place, *place.parents[:LEVELS]]] + list(_recipe_folders(place))
    for path in dict.fromkeys([Path(name)] if Path(name).is_absolute() else [Path(top) / name for top in tops]):
        if path.is_file() and (yield from file_hash(path)) == digest:
            return path
    if Path(name).parts[:1] != (WORLD,):
        return None
    for settings in _worlds(place, recipe):
        path = (yield from _world(settings)) / Path(*Path(name).parts[1:])
        if path.is_file() and (yield from file_hash(path)) == digest:
            return path
    return None


def _worlds(place: Path, recipe: str) -> Iterator[Mapping[str, Any]]:
    """Yield the settings of worlds that a checkpoint may have been trained on: of its run, and of our recipe of that name."""
    for top in place.parents[:LEVELS]:
        settings = _json(top / "world" / "facts.json").get("settings") or _json(top / "world.json")
        if isinstance(settings, Mapping) and settings:
            yield settings.get("settings", settings)
    from importlib.resources import files

    from models.training.recipe import load_recipe

    ours = Path(str(files("assets").joinpath("recipes"))) / f"{Path(recipe).name}.yaml"
    if recipe and ours.is_file():
        loaded = load_recipe(ours, [])
        if loaded.world is not None:
            yield loaded.world


def _world(settings: Mapping[str, Any]) -> Work[Path]:
    """Return the folder of a world that is written from its settings, once; the cache keeps a few."""
    from models.world.splits import write_world

    root = cache_folder("worlds")
    folder = root / hashlib.sha256(json.dumps(dict(settings), sort_keys=True).encode()).hexdigest()[:16]
    if (folder / "facts.json").is_file():
        return folder
    yield Progress(0, 0, _("writing the texts that it was trained on"))
    unfinished = folder.with_suffix(f".{os.getpid()}.tmp")  # another evaluation may be writing the same one
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        write_world(unfinished, settings)
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    except (UserError, OSError):  # settings of another version, or a full disk: then the data are not known
        shutil.rmtree(unfinished, ignore_errors=True)
    _forget(root, folder)
    return folder


def _forget(root: Path, kept: Path) -> None:
    others = sorted((path for path in root.iterdir() if path != kept), key=lambda path: path.stat().st_mtime)
    for path in others[: max(0, len(others) - WORLDS_KEPT + 1)]:
        shutil.rmtree(path, ignore_errors=True)
