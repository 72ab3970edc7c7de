"""The open models of one process: found before anything heavy is imported, opened again when their files changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from models import hub, library
from models.columns import Column
from models.engine_ops import Operations
from models.errors import UserError
from models.events import Note, Work, finish
from models.shelf import Shelf

MISSING = """
import sys
from lab.cli import run
assert run({argv!r}) == 2
assert "torch" not in sys.modules, "torch was imported to say that a path is wrong"
"""


@pytest.fixture
def folder(tiny: Callable[..., Path], tmp_path: Path) -> Path:
    """A tiny checkpoint that a test may change."""
    return Path(shutil.copytree(tiny("llama"), tmp_path / "copy"))


def names() -> Shelf:
    """A shelf whose models are only the paths that they were opened from."""

    def load(column: Column) -> Iterator[Any]:
        yield from ()
        return SimpleNamespace(loaded=SimpleNamespace(path=column.checkpoint, actual_bytes=1))

    shelf = Shelf(load)
    shelf.warm._done.set()
    return shelf


@pytest.mark.parametrize(
    "argv",
    [["inspect", "/nowhere/at/all", "--text", "x"], ["generate", "/nowhere/at/all", "--prompt", "x"]],
    ids=["inspect", "generate"],
)
def test_a_missing_path_is_said_without_torch(argv: list[str]) -> None:
    ended = subprocess.run([sys.executable, "-c", MISSING.format(argv=argv)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "There is no checkpoint /nowhere/at/all." in ended.stderr


@pytest.mark.parametrize("content", ["empty folder", "text"])
def test_what_is_no_checkpoint_is_refused(content: str, tmp_path: Path) -> None:
    place = tmp_path / "thing"
    place.mkdir() if content == "empty folder" else place.write_text("hello")
    with pytest.raises(UserError, match="is not a checkpoint"):
        finish(names().open(Column(str(place))))


def test_a_model_is_opened_again_when_its_files_changed(folder: Path) -> None:
    shelf = names()
    first = finish(shelf.open(Column(str(folder))))
    assert finish(shelf.open(Column(str(folder)))).loaded is first.loaded
    os.utime(folder / "model.safetensors", ns=(1, 1))
    events = list(shelf.open(Column(str(folder))))
    assert any(isinstance(event, Note) and "changed on disk" in event.text for event in events)
    second = finish(shelf.open(Column(str(folder))))
    assert second.loaded is not first.loaded
    assert len(shelf.loaded()) == 1


def test_a_model_whose_files_are_gone_stays_open(folder: Path) -> None:
    shelf = names()
    first = finish(shelf.open(Column(str(folder))))
    shutil.rmtree(folder)
    assert finish(shelf.open(Column(str(folder)))).loaded is first.loaded
    shelf.close("")
    with pytest.raises(UserError, match="There is no checkpoint"):
        finish(shelf.open(Column(str(folder))))


def test_a_name_on_the_hub_is_opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(name: str) -> Iterator[Any]:
        asked.append(name)
        yield from ()
        return folder

    monkeypatch.setattr(library, "fetch", fetch)
    assert hub.hub_name("owner/name") == "owner/name"
    assert finish(names().open(Column("owner/name"))).loaded.path == "owner/name"
    assert asked == ["owner/name"]


def test_another_language_forgets_what_was_said() -> None:
    operations = Operations()
    shelf = operations.shelf
    assert finish(shelf.remembered("a", lambda: said("one"))) == "one"
    assert finish(shelf.remembered("a", lambda: said("two"))) == "one"
    finish(operations.ask("language", "en"))
    assert finish(shelf.remembered("a", lambda: said("two"))) == "two"


def said(word: str) -> Work[str]:
    yield from ()
    return word
