"""Two threads of one process may write the same file at once: the last one wins and nothing is left behind."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models import files, manifest, places
from models.events import finish


@pytest.mark.parametrize("write", [files.write_json, manifest.keep])
def test_writers_of_one_file_do_not_disturb_each_other(tmp_path: Path, write: Callable[[Path, Any], None]) -> None:
    target, failures = tmp_path / "verdict.json", []
    barrier = threading.Barrier(4)

    def work(number: int) -> None:
        barrier.wait()
        try:
            for turn in range(20):
                write(target, {"writer": number, "turn": turn})
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert json.loads(target.read_text(encoding="utf-8"))["turn"] == 19
    assert [path.name for path in tmp_path.iterdir()] == ["verdict.json"]


def test_a_full_cache_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "weights").write_bytes(b"abc")

    def full(_path: Path, _value: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(manifest, "write_json", full)
    assert finish(manifest.file_hash(tmp_path / "weights")).startswith("ba7816bf")


def test_a_folder_in_tmp_that_others_could_write_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setattr(places, "_temporary", lambda: shared)
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path / "file"))  # no folder can be made in it
    shared.chmod(0o700)
    assert places.cache_folder("gguf") == shared / "gguf"
    assert places.is_ours(shared / "gguf" / "x")
    shared.chmod(0o777)
    assert not places.cache_folder("gguf").is_relative_to(shared)
    assert not places.is_ours(shared / "gguf" / "x")
