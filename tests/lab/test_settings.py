"""Settings survive, and a bad file never stops the program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab import settings as kept
from lab.settings import Settings


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "settings.json"
    wanted = Settings(language="zh_CN", folders=("/a", "/b"), views={"tokens": {"unit": "bits"}}, columns=({"checkpoint": "x"},))
    kept.save(wanted, path)
    assert kept.load(path) == (wanted, "")
    assert [p.name for p in path.parent.iterdir()] == ["settings.json"]


def test_missing_file_is_defaults_without_a_word(tmp_path: Path) -> None:
    assert kept.load(tmp_path / "none.json") == (Settings(), "")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 99}', b"\xff\xfe", b"null", b"[" * 100_000])
def test_unreadable_file_is_kept_aside(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "settings.json"
    path.write_bytes(content)
    found, problem = kept.load(path)
    assert found == Settings()
    assert str(path) in problem
    assert (tmp_path / "settings.unreadable.json").read_bytes() == content


def test_values_of_the_wrong_type_are_left_out_and_named(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"version": 1, "theme": 3, "folders": ["/a"], "zoom": True, "unknown": 1}))
    found, problem = kept.load(path)
    assert found == Settings(folders=("/a",))
    assert "theme" in problem
    assert "zoom" in problem


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("folders", [1]), ("history", [None]), ("recent", [["a"]]), ("columns", ["x"]), ("layouts", {"views": 5}),
        ("theme", "purple"), ("language", "tlh"), ("zoom", 0), ("zoom", float("nan")), ("zoom", 1e9),
    ],
)  # fmt: skip
def test_values_that_the_window_could_not_use_are_left_out(tmp_path: Path, name: str, value: object) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"version": 1, name: value}))
    found, problem = kept.load(path)
    assert found == Settings()
    assert name in problem


def test_home_can_be_moved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path / "数据 x"))
    assert kept.settings_path() == tmp_path / "数据 x" / "settings.json"
    assert kept.runs_root() == tmp_path / "数据 x" / "runs"
