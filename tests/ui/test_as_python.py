"""What "Copy as Python" writes runs, and computes what the window shows."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

from lab.ui.as_python import VIEWS, command_line, open_call, script
from models.columns import Column, Sampler

RUN_ALL = """
import json, sys
for name, text in json.load(sys.stdin).items():
    print("==", name)
    exec(compile(text, name, "exec"), {})
"""


def test_the_script_of_every_view_runs(tiny_lineage: Path) -> None:
    """In one process of its own, as the user would run them."""
    columns = (
        Column(str(tiny_lineage / "pretrain"), dtype="float32", sampler=Sampler(temperature=0.0, max_new_tokens=3)),
        Column(str(tiny_lineage / "sft"), label="it's"),
    )
    views = [*VIEWS, "evaluate"]
    texts = {view: script(columns, 'The "dog"\nruns 狗', view, {"layer": 1, "head": 2}) for view in views}
    command = [sys.executable, "-c", RUN_ALL]
    root = Path(__file__).parents[2]
    run = subprocess.run(
        command, input=json.dumps(texts), cwd=root, capture_output=True, text=True, encoding="utf-8", timeout=280, check=False,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    parts = run.stdout.split("== ")[1:]
    assert [part.split("\n")[0] for part in parts] == views
    assert all("pretrain" in part and "it's" in part for part in parts)


def test_only_what_is_unusual_is_written() -> None:
    assert open_call(Column("/m")) == "open_checkpoint('/m')"
    assert open_call(Column("/m", device="cuda:1", quantize="int4")) == "open_checkpoint('/m', device='cuda:1', quantize='int4')"


def test_what_stands_around_the_text_is_written() -> None:
    column = Column("/m", prompt="template", system="Be brief.", adapter=False)
    assert open_call(column) == "open_checkpoint('/m', prompt='template', system='Be brief.', adapter=False)"
    words = shlex.split(command_line((column,), "Hi", ("--heads", "entropy")))
    assert words[-4:] == ["--chat", "--system", "Be brief.", "--no-adapter"]
    assert shlex.split(command_line((Column("/m", exact=(1, 22)),), "Hi", ()))[-2:] == ["--exact", "1+22"]


def test_columns_of_the_same_name_are_numbered() -> None:
    text = script((Column("/a/m"), Column("/b/m")), "x", "tokens", {})
    assert "'1 m'" in text
    assert "'2 m'" in text


def test_the_command_line_of_a_view_runs_and_prints_what_it_shows(tiny_lineage: Path) -> None:
    columns = (Column(str(tiny_lineage / "sft"), dtype="float32", label="it's"),)
    line = command_line(columns, "The \"dog\" isn't 狗", ("--attention", "1.2", "--next", "3", "--json"))
    words = shlex.split(line)
    assert words[0] == "triptych"
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-m", "lab", *words[1:]], cwd=root, capture_output=True, text=True, encoding="utf-8", timeout=280,
        check=False, env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    shown = json.loads(run.stdout)
    assert (shown["attention"]["layer"], shown["attention"]["head"]) == (1, 2)
    assert len(shown["next"]) == 3
    assert "tokens" not in shown
