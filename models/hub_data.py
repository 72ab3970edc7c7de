"""Training data by name from the Hugging Face Hub, where there is a network; kept as a JSONL file like any other."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.events import Note, Progress, Work
from models.hub import PART, PREFIX, ask_hub, is_offline
from models.places import cache_folder
from models.threads import in_thread
from models.words import _

SLICE = r"[A-Za-z0-9][\w.%:\[\]+-]{0,95}"
NAME = re.compile(rf"^(?P<name>{PART}/{PART})(@(?P<revision>{PART}))?(:(?P<config>{PART}))?(#(?P<split>{SLICE}))?$", re.ASCII)
SPLIT = "train"
CHECKPOINTS = frozenset({"parent", "reward_model", "tokenizer", "checkpoint", "compare"})
"""Settings whose ``hub:`` names mean a checkpoint."""


def kept_file(name: str) -> Path:
    """Return where the rows of ``hub:OWNER/NAME[@REVISION][:CONFIG][#SPLIT]`` are kept.

    Raises:
        UserError: If it is not such a name.
    """
    match = _match(name)
    readable = re.sub(r"[^\w.-]", "_", match["name"])
    return cache_folder("datasets") / f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:16]}.jsonl"


def named(settings: Any) -> Iterator[str]:
    """Yield every data set on the Hub that a stage's settings name."""
    for one in fields(settings):
        value = getattr(settings, one.name)
        values = value if isinstance(value, tuple) else (value,)
        if one.name not in CHECKPOINTS:
            yield from (text for text in values if isinstance(text, str) and text.startswith(PREFIX))


def fetch_named(settings: Any) -> Work[None]:
    """Have every data set on the Hub that settings name on this machine.

    Raises:
        UserError: If a name is none, there is no network, or the Hub does not give it.
    """
    for name in named(settings):
        yield from fetch_data(name)


def fetch_data(name: str) -> Work[Path]:
    """Return the JSONL file of a data set on the Hub; downloaded once (delete the file to have it again).

    The ``datasets`` library reads it, which runs no script of a data set.

    Raises:
        UserError: As ``fetch_named``.
    """
    path, match = kept_file(name), _match(name)
    if path.is_file():
        return path
    yield Progress(0, 0, _("asking the Hub"))
    info = None if is_offline() else (yield from ask_hub("dataset", match["name"], match["revision"]))
    if info is None:
        raise UserError(
            "hub.data_offline",
            _("The data set {name} is not on this machine and the Hub cannot be reached.").format(name=match["name"]),
            _("Download it where there is a network, and name its file."),
            name=match["name"],
        )
    told = _("downloading {name}").format(name=match["name"])
    rows = yield from in_thread(lambda: _write(match, info.sha, path), told)
    yield Note(_("{name}: {n:,} rows fetched from the Hub, commit {commit}").format(name=name, n=rows, commit=info.sha[:12]))
    return path


def _match(name: str) -> re.Match[str]:
    match = NAME.match(name.removeprefix(PREFIX))
    if match is None or ".." in name:
        raise UserError(
            "hub.data_name",
            _("{name!r} is not the name of a data set on the Hub.").format(name=name),
            _("Write hub:OWNER/NAME, or hub:OWNER/NAME:CONFIG#SPLIT."),
            name=name,
        )
    return match


def _write(match: re.Match[str], commit: str, path: Path) -> int:
    """Read the rows with the ``datasets`` library and write them as JSONL; returns how many."""
    import datasets

    datasets.disable_progress_bars()  # ours says how far it is
    split = match["split"] or SPLIT
    try:
        found = datasets.load_dataset(match["name"], match["config"], split=split, revision=commit)
    except (ValueError, OSError, RuntimeError, datasets.exceptions.DatasetsError) as cause:
        raise UserError(
            "hub.data",
            _("The data set {name} cannot be read: {reason}.").format(
                name=match["name"], reason=" ".join(str(cause).split())[:300].rstrip(".")
            ),
            _("Name its configuration and split: hub:OWNER/NAME:CONFIG#SPLIT."),
            name=match["name"],
        ) from cause
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        found.to_json(str(staged), lines=True, force_ascii=False)
        with staged.open("rb") as file:
            os.fsync(file.fileno())
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)
    return len(found)
