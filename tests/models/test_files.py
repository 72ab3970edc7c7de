"""Two threads of one process may write the same file at once: the last one wins and nothing is left behind."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models import files, manifest


@pytest.mark.parametrize("write", [files.write_json, manifest.write_json])
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
