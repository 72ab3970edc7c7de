"""What "Copy as Python" writes runs, and computes what the window shows."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest

from lab.ui.as_python import VIEWS, open_call, script
from models.columns import Column, Sampler


@pytest.mark.parametrize("view", [*VIEWS, "evaluate"])
def test_the_script_of_every_view_runs(tiny_lineage: Path, view: str) -> None:
    columns = (
        Column(str(tiny_lineage / "pretrain"), dtype="float32", sampler=Sampler(temperature=0.0, max_new_tokens=3)),
        Column(str(tiny_lineage / "sft"), label="it's"),
    )
    text = script(columns, 'The "dog"\nruns 狗', view, {"layer": 1, "head": 2})
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(text, view, "exec"), {})
    assert "pretrain" in said.getvalue()
    assert "it's" in said.getvalue()


def test_only_what_is_unusual_is_written() -> None:
    assert open_call(Column("/m")) == "open_checkpoint('/m')"
    assert open_call(Column("/m", device="cuda:1", quantize="int4")) == "open_checkpoint('/m', device='cuda:1', quantize='int4')"


def test_columns_of_the_same_name_are_numbered() -> None:
    text = script((Column("/a/m"), Column("/b/m")), "x", "tokens", {})
    assert "'1 m'" in text
    assert "'2 m'" in text
