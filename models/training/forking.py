"""A new run that begins from a saved step of another one, with other settings: its earlier steps and its state are taken over.

Files are linked, not copied, where the disk allows it: a checkpoint's files are replaced as a whole and never written into.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.events import Note
from models.files import write_json
from models.training.checkpoints import is_complete
from models.training.sharding import put
from models.training.stage import as_settings
from models.words import _

FORKED = "forked.json"
START = "start"
"""Folder of the weights that a run begins from, where there is no whole state."""
PLACES = ("state", "snapshots")
OF_OTHERS = ("grpo", "rloo", "kto")
"""Stages that TRL's trainers do."""
KEPT_EVENTS = ("metrics", "answers", "ppo")


@dataclass(frozen=True)
class Origin:
    """What a run begins from.

    Args:
        run: Folder of the other run.
        name: Name of its step.
        step: Optimizer steps done there.
        folder: The saved folder ``step-N``.
        exact: Whether that is a whole state (weights, optimizer, random generators), or weights alone.
    """

    run: Path
    name: str
    step: int
    folder: Path
    exact: bool

    def __str__(self) -> str:
        return f"{self.run}/{self.name}/step-{self.step}"


def find_origin(text: str) -> Origin:
    """Return what ``RUN/NAME/step-N`` (or ``RUN/step-N``, or the folder itself) means; a state is preferred to a copy.

    Raises:
        UserError: If nothing complete was saved there.
    """
    path = Path(text).expanduser().absolute()
    number = path.name.removeprefix("step-")
    if not path.name.startswith("step-") or not number.isdigit():
        raise _nothing(text, _("Write RUN/STEP/step-N."))
    above = path.parent.parent if path.parent.name in PLACES else path.parent
    if above.is_dir() and not any((above / place).is_dir() for place in PLACES):
        inside = sorted(child for child in above.iterdir() if any((child / place / path.name).is_dir() for place in PLACES))
        if len(inside) > 1:
            names = ", ".join(child.name for child in inside)
            raise _nothing(text, _("Several of its steps have one: {names}. Name the step too.").format(names=names))
        above = inside[0] if inside else above
    places = (path.parent.name,) if path.parent.name in PLACES else PLACES
    for place in places:
        folder = above / place / path.name
        if is_complete(folder):
            return Origin(above.parent, above.name, int(number), folder, place == "state")
    saved = ", ".join(dict.fromkeys(found.name for place in PLACES for found in sorted((above / place).glob("step-*"))))
    raise _nothing(text, _("There are: {names}.").format(names=saved) if saved else _("Set save_every or snapshot_every."))


def _nothing(text: str, hint: str) -> UserError:
    return UserError("training.fork", _("Nothing complete was saved at {path}.").format(path=text), hint)


def fork(origin: Origin, recipe: Any, output: Path) -> None:
    """Prepare ``output`` so that the recipe, resumed there, goes on from ``origin``.

    Raises:
        UserError: If the recipe has no such step, or of another kind.
    """
    before = _read(origin.run / origin.name / "config.json")
    names = [step.name for step in recipe.steps]
    kind = next((step.stage.name for step in recipe.steps if step.name == origin.name), "")
    if kind != before.get("stage"):
        raise UserError(
            "training.fork",
            _("{origin} is a step of the kind {kind}; the recipe has no such step called {name!r}.").format(
                origin=origin, kind=before.get("stage", "?"), name=origin.name
            ),
            _("Begin from the recipe of that run."),
        )
    if kind in OF_OTHERS:
        raise UserError(
            "training.fork",
            _("Runs of {kind} cannot be forked: its trainer goes on with the same settings only.").format(kind=kind),
            _("Name one of its checkpoints as the parent of a new run."),
        )
    output.mkdir(parents=True, exist_ok=True)
    earlier = {step.name: as_settings(step.settings) for step in recipe.steps[: names.index(origin.name)]}
    for name in ("world", *earlier):
        if (origin.run / name / "done.json").is_file():
            _link(origin.run / name, output / name)
            _take_over(output / name / "done.json", earlier.get(name, {}))
    folder = output / origin.name
    folder.mkdir(exist_ok=True)
    _link(origin.folder, folder / ("state" if origin.exact else START) / (f"step-{origin.step}" if origin.exact else ""))
    lines = _past(origin.run / origin.name / "events.jsonl", origin.step)
    (folder / "events.jsonl").write_text("".join(lines), encoding="utf-8")
    state = _read(origin.folder / "state.json") if origin.exact else {}
    write_json(
        folder / FORKED,
        {
            "from": str(origin), "step": origin.step, "exact": origin.exact, "fingerprint": state.get("fingerprint", ""),
            "optimizer": before.get("settings", {}).get("optimizer", ""),
        },
    )  # fmt: skip


def origin_of(folder: Path) -> dict[str, Any]:
    """Return what a step's run folder notes of where it was forked from; empty if it was not."""
    return _read(folder / FORKED)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _link(source: Path, target: Path) -> None:
    shutil.copytree(source, target, copy_function=_link_file, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.tmp", "*.old"))


def _take_over(done: Path, settings: Mapping[str, Any]) -> None:
    """Note the new recipe's settings of a finished step if they are the old ones, paths that were made whole aside."""
    content = _read(done)
    plain = json.loads(json.dumps(dict(settings)))
    if content.get("settings") != plain and _moved(content.get("settings"), plain):
        write_json(done, {**content, "settings": plain})


def _moved(before: Any, now: Any) -> bool:
    """Return whether two settings are the same but for relative paths that have become whole ones."""
    if isinstance(before, dict) and isinstance(now, dict):
        return before.keys() == now.keys() and all(_moved(before[name], now[name]) for name in before)
    if isinstance(before, list) and isinstance(now, list):
        return len(before) == len(now) and all(_moved(*pair) for pair in zip(before, now, strict=True))
    if before == now or not (isinstance(before, str) and isinstance(now, str)):
        return bool(before == now)
    parts = [part for part in Path(before).parts if part != ".."]
    return Path(now).is_absolute() and bool(parts) and list(Path(now).parts[-len(parts) :]) == parts


def _link_file(source: str, target: str) -> None:
    if Path(source).suffix == ".jsonl" and Path(source).name == "events.jsonl":  # the one file that grows
        shutil.copyfile(source, target)
        return
    try:
        os.link(source, target)
    except OSError:  # another disk, or none that knows links
        shutil.copyfile(source, target)


def _past(journal: Path, step: int) -> Iterator[str]:
    """Yield the lines of a journal that tell of the steps up to ``step``."""
    if not journal.is_file():
        return
    with journal.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict) and row.get("event") in KEPT_EVENTS and 0 <= row.get("step", -1) <= step:
                yield line if line.endswith("\n") else f"{line}\n"


def check_shapes(trained: Mapping[str, Mapping[str, Any]], tensors: Mapping[str, Mapping[str, Any]], what: str) -> None:
    """Raise ``UserError`` unless saved weights are those of the modules that are trained now, name by name and shape by shape."""
    for module, values in trained.items():
        saved = tensors.get(module, {})
        other = [name for name, value in values.items() if name not in saved or saved[name].shape != value.shape]
        if other or set(saved) - set(values):
            name = (other or sorted(set(saved) - set(values)))[0]
            raise UserError(
                "training.fork",
                _("{what} cannot go on here: {name} is not there, or has another shape.").format(what=what, name=name),
                _("Keep the model, the method and the tokenizer as they were."),
            )


def take_weights(values: Mapping[str, Any], folder: Path, what: str) -> None:
    """Copy the weights that a forked run begins with into parameters, by name; ``UserError`` if they do not fit."""
    import torch
    from safetensors.torch import load_file

    weights = load_file(folder / START / "model.safetensors") if (folder / START / "model.safetensors").is_file() else {}
    check_shapes({"model": values}, {"model": weights}, what)
    with torch.no_grad():
        for name, value in values.items():
            put(weights[name], value)


def say_forked(forked: Mapping[str, Any], step: int, total: int) -> Note:
    """Return what to say of a run that began from another; ``UserError`` if nothing is left for it to do."""
    if step >= total:
        raise UserError(
            "training.fork",
            _("{origin} has {step} steps behind it, and the settings ask for {total}.").format(
                origin=forked["from"], step=step, total=total
            ),
            _("Raise steps or epochs, or begin from an earlier step."),
        )
    return Note(_("forked from {origin}, with other settings").format(origin=forked["from"]))
