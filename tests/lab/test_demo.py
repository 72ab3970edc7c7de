"""The demo draws its views once, as long as the program and the weights stay what they are."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from lab import demo
from lab.work import follow
from models.library import lineages
from models.records.checkpoints import Lineage
from models.records.scores import Cell, Comparison


@pytest.fixture
def line(tiny_lineage: Path, tmp_path: Path) -> Lineage:
    """A lineage whose weights a test may change."""
    import shutil

    (found,) = lineages([shutil.copytree(tiny_lineage, tmp_path / "lineage")])
    return found


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """The commands that would have drawn; each writes two files."""
    commands: list[list[str]] = []

    def run(command: list[str], **_settings: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        paths = [Path(command[command.index("--output") + 1]) / f"{name}.png" for name in ("tokens", "chat")]
        for path in paths:
            path.write_bytes(b"a picture")
        return subprocess.CompletedProcess(command, 0, "".join(f"{path}\n" for path in paths), "")

    monkeypatch.setattr(demo.subprocess, "run", run)
    return commands


def test_pictures_are_drawn_again_only_if_something_changed(
    line: Lineage, pictures: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    assert demo.drawn(output, line) == {}
    shots = follow(demo._pictures(output, line), quiet=True)
    assert sorted(shots) == ["chat", "tokens"]
    assert pictures[0][-3:] == [c.path for c in demo.generators(line)]
    assert demo.drawn(output, line) == shots

    (output / "chat.png").write_bytes(b"cut")
    assert demo.drawn(output, line) == {}
    follow(demo._pictures(output, line), quiet=True)
    weights = Path(line.checkpoints[0].path) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    assert demo.drawn(output, line) == {}
    follow(demo._pictures(output, line), quiet=True)
    assert demo.drawn(output, line) == shots
    (output / "pictures.json").write_text("{", encoding="utf-8")
    assert demo.drawn(output, line) == {}


def test_the_report_is_there_before_the_pictures(
    line: Lineage, pictures: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = Cell("sft", "sft", "world_unknown", "hallucination_rate", 0.5, 0.4, 0.6, 9, False)
    seen: list[bool] = []

    def score(_line: Lineage, _scores: Path, _limit: int) -> list[Cell]:
        return [cell]

    def compare(_scores: Path, _line: Lineage) -> list[Comparison]:
        return []

    inner = demo._pictures

    def draw(output: Path, line: Lineage) -> Any:
        seen.append((output / "report.html").exists() and (output / "results.json").exists())
        return inner(output, line)

    monkeypatch.setattr(demo, "demo_lineage", lambda: line)
    monkeypatch.setattr(demo, "_score", score)
    monkeypatch.setattr(demo, "_compare", compare)
    monkeypatch.setattr(demo, "_pictures", draw)
    for _start in range(2):
        assert demo.run_demo(tmp_path / "out", headless=True) == 0
        assert "tokens" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8").lower()
        assert (tmp_path / "out" / "report.html").read_text(encoding="utf-8").count("<img") == 2
    assert seen == [True]
    assert len(pictures) == 1
