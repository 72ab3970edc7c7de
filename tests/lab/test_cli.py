"""The command line: spellings, exit codes, one-line errors."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lab.cli import run
from lab.inspecting._heads import parse_head, parse_pair
from models.errors import UserError
from models.places import bundled_root


def triptych(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "lab", *words], capture_output=True, text=True, check=False)


def test_help_lists_every_command_without_heavy_imports() -> None:
    code = (
        "import sys; sys.argv = ['triptych', '--help']\n"
        "from lab.__main__ import main\nassert main() == 0\n"
        "heavy = {'torch', 'transformers', 'lm_eval', 'PySide6', 'numpy'} & set(sys.modules)\nassert not heavy, heavy"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    for command in ["demo", "inspect", "generate", "train", "eval", "compare", "index", "engine", "doctor", "models", "jobs"]:
        assert f" {command} " in result.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["no-such-command"],
        ["inspect"],
        ["inspect", "x"],
        ["eval", "x", "--tasks", "a"],
        ["generate", "x", "--prompt", "a", "--max-new-tokens", "many"],
        ["demo", "--no-such-option"],
    ],
)
def test_wrong_usage_is_one_line_and_code_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 2
    captured = capsys.readouterr()
    assert len(captured.err.strip().splitlines()) == 1
    assert "--help" in captured.err


@pytest.mark.parametrize("spelling", ["--max-new-tokens", "--max_new_tokens"])
def test_both_spellings(spelling: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", "/no/such/checkpoint", "--prompt", "a_b", spelling, "3"]) == 2
    error = capsys.readouterr().err
    assert "/no/such/checkpoint" in error
    assert len(error.strip().splitlines()) == 1


def test_a_user_error_names_the_file_and_has_no_traceback_unless_asked() -> None:
    plain = triptych("models", "info", "/no/such/model")
    assert plain.returncode == 2
    assert "/no/such/model" in plain.stderr
    assert "Traceback" not in plain.stderr
    assert plain.stdout == ""
    assert "Traceback" in triptych("models", "info", "/no/such/model", "--debug").stderr


def test_jobs_list_as_json(monkeypatch: pytest.MonkeyPatch, tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path))
    assert run(["jobs", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize(("text", "head"), [("5.3", (5, 3)), ("L5H3", (5, 3)), ("l0h11", (0, 11)), (" 1.2 ", (1, 2))])
def test_heads_are_read_in_both_notations(text: str, head: tuple[int, int]) -> None:
    assert parse_head(text) == head


@pytest.mark.parametrize("text", ["", "5", "a.b", "5.3.1", "-1.2", "5."])
def test_what_names_no_head_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="LAYER\\.HEAD"):
        parse_head(text)


def test_a_query_and_a_key_are_read() -> None:
    assert parse_pair("L5H3:11:-1", "--pair") == (5, 3, 11, -1)
    for text in ("5.3", "5.3:1", "5.3:a:b", ":1:2"):
        with pytest.raises(UserError, match="LAYER\\.HEAD"):
            parse_pair(text, "--pair")


@pytest.mark.parametrize("words", [["--heads", "induction"], ["--heads"], ["--heads", "induction-share"]])
def test_heads_without_a_statistic_are_ranked_by_induction(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    path = str(bundled_root() / "sft")
    assert run(["inspect", path, "--text", "Velmora was. Velmora was", *words, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["heads"]
    values = [head["induction_share"] for head in shown["heads"]]
    assert shown["statistic"] == "induction_share"
    assert values == sorted(values, reverse=True)
    assert len(values) == 12
    assert run(["inspect", path, "--text", "a", "--heads", "colour"]) == 2
    assert "previous" in capsys.readouterr().err


def test_the_command_line_is_english_in_any_locale() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRIPTYCH_LANGUAGE"}
    environment |= {"LANG": "zh_CN.UTF-8", "LC_ALL": "zh_CN.UTF-8"}
    path = str(bundled_root() / "pretrain")
    words = [sys.executable, "-m", "lab", "models", "info", path]
    shown = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    assert not re.search("[\u4e00-\u9fff]", shown.stdout)
    assert "Architecture" in shown.stdout
    environment["TRIPTYCH_LANGUAGE"] = "zh_CN"
    in_chinese = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    assert re.search("[\u4e00-\u9fff]", in_chinese.stdout)


def test_a_reader_that_goes_away_is_no_error() -> None:
    ended = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m lab models list --json | head -c 10"], capture_output=True, text=True, check=True
    )
    assert (len(ended.stdout), ended.stderr) == (10, "")


@pytest.mark.parametrize("command", ["demo", "eval"])
def test_a_folder_that_cannot_be_written_is_one_line(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    target = str(tmp_path / "file" / "out")
    words = {"demo": ["demo", "--headless", "--output", target], "eval": ["eval", "x", "--tasks", "a", "--output-path", target]}
    assert run(words[command]) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    assert "Not a directory" in error


def test_convert_writes_beside_its_file_as_the_hint_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"a": torch.ones(2)}, tmp_path / "old.pt")
    assert run(["inspect", str(tmp_path / "old.pt"), "--text", "x"]) == 2
    hint = capsys.readouterr().err
    assert f"triptych models convert {tmp_path / 'old.pt'}" in hint
    assert run(["models", "convert", str(tmp_path / "old.pt")]) == 0
    assert (tmp_path / "old-safetensors" / "model.safetensors").is_file()


def test_a_run_of_many_benchmarks_is_called_by_the_first_ones() -> None:
    from lab.cli_eval import _few

    assert _few(["arc_easy", "piqa"]) == "arc_easy,piqa"
    assert _few([f"task{n}" for n in range(14)]) == "task0,task1,task2,… (14)"
