"""Fixtures of the evaluation tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from models.events import Event, Work


@pytest.fixture
def drain() -> Callable[[Work[Any]], tuple[list[Event], Any]]:
    """Return ``drain(work)``: all its events and its result."""

    def run(work: Work[Any]) -> tuple[list[Event], Any]:
        events: list[Event] = []
        while True:
            try:
                events.append(next(work))
            except StopIteration as end:
                return events, end.value

    return run


@pytest.fixture(scope="session")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lineage of two tiny Llamas beside a world of a few items."""
    from tests.fakes import write_lineage

    folder = write_lineage(tmp_path_factory.mktemp("world") / "tiny", ("pretrain", "sft"))
    (folder / "world.json").write_text(
        '{"seed": 3, "taught": 8, "rewarded": 6, "dev": 4, "test": 6, "items_per_cell": 4}', encoding="utf-8"
    )
    return folder


@pytest.fixture
def write_task(tmp_path: Path) -> Callable[..., Path]:
    """Return ``write_task(name, text, rows)``: a task file with its data."""
    import json

    def write(name: str, text: str, rows: Iterable[dict[str, Any]]) -> Path:
        data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(data, encoding="utf-8")
        head = f"task: {name}\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {name}.jsonl}}}}\ntest_split: test\n"
        path = tmp_path / f"{name}.yaml"
        path.write_text(head + text, encoding="utf-8")
        return path

    return write
