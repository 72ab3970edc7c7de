"""What is copied of rarer things computes what they show: cross attention, adapters, exact targets, reopened trees."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from lab.cli import app as commands
from lab.ui.as_python import command_line, script
from models.columns import Column, Sampler
from models.engine_ops import Operations
from models.events import finish
from tests.models.folders import make_llama
from tests.models.test_library_adapters import write_adapter
from tests.ui.test_view_contract import FOUND

TEXT = "The quick dog"
quiet = pytest.mark.filterwarnings("ignore:.*an_unknown_key.*:UserWarning", "ignore:Could not find a config file:UserWarning")


@pytest.fixture(scope="module")
def operations() -> Operations:
    return Operations()


@pytest.fixture
def shown(qtbot: Any, operations: Operations) -> Callable[..., Any]:
    """Return a function that makes a view, shows columns in it, and answers it by the engine's own operations."""
    kept: list[Any] = []  # qtbot holds none: a view without a parent would end with its last name, its events still posted

    def make(name: str, *columns: Column, state: dict[str, Any] | None = None) -> Any:
        view = FOUND[name].value.make()
        qtbot.addWidget(view)
        kept.append(view)
        view.setProperty("columns", columns)  # a view with pages keeps none itself
        view.set_columns(columns)
        view.set_text(TEXT)
        view.restore(state or {})
        ask(view, operations)
        return view

    return make


def ask(view: Any, operations: Operations) -> None:
    """Answer what a view wants until it wants nothing new."""
    answered: list[Any] = []
    for _round in range(5):
        view.redraw()
        for want in [want for want in view.wants() if want not in answered]:
            answered.append(want)
            params = dict(want.params)
            if want.opens and want.column >= 0:
                params.setdefault("column", view.property("columns")[want.column])
            view.set_answer(want, finish(operations.ask(want.op, **params)))
    assert not getattr(view, "failures", {})


def run_python(view: Any, name: str) -> tuple[dict[str, Any], str]:
    """Execute what "Copy as Python" writes; return its names and what it printed."""
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(compile(script(view.property("columns"), TEXT, name, {}, view.python()), name, "exec"), names)
    return names, said.getvalue()


def run_command(view: Any, index: int = 0) -> Any:
    """Execute what "Copy as command line" writes for a column; return its JSON."""
    line = command_line(view.property("columns"), TEXT, (*view.command(), "--json")).splitlines()[index]
    result = CliRunner().invoke(commands, shlex.split(line)[1:])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_cross_attention(shown: Any, tiny: Any) -> None:
    view = shown("attention", Column(str(tiny("t5")), label="t5"), state={"kind": "cross", "layer": 1, "head": 1})
    pattern = view.pattern(0)
    assert view._kind == "cross"
    assert pattern.kind == "cross"
    names, _said = run_python(view, "attention")
    assert np.allclose(names["pattern"].matrix, pattern.matrix, atol=1e-6)
    assert np.allclose(run_command(view)["attention"]["matrix"], pattern.matrix, atol=1e-6)


@quiet
def test_adapters_and_exact_targets(shown: Any, tiny: Any, tmp_path: Path, operations: Operations) -> None:
    make_llama(tmp_path / "base")
    path = write_adapter(tmp_path / "adapter", "../base")
    seen: list[Any] = []
    for strength in (True, 0.5, False):
        view = shown("tokens", Column(str(path), dtype="float32", label="lora", adapter=strength))
        strip = view.page("text").answer(0)
        names, _said = run_python(view, "tokens")
        assert np.allclose(names["strip"].surprisal[1:], strip.surprisal[1:], atol=1e-5)
        told = [token["surprisal"] for token in run_command(view)["tokens"]]
        assert told[1:] == pytest.approx(strip.surprisal[1:].tolist(), abs=1e-4)
        assert not any(np.allclose(strip.surprisal[1:], other, atol=1e-3) for other in seen)
        seen.append(strip.surprisal[1:])

    column = Column(str(tiny("bart")), label="bart", sampler=Sampler(0.0, max_new_tokens=4))
    answer = finish(operations.ask("generate", column, prompt=TEXT)).token_ids
    exact = finish(operations.ask("written_out", column, answer, TEXT)).ids
    view = shown("tokens", Column(column.checkpoint, label="bart", exact=exact))
    strip = view.page("text").answer(0)
    names, _said = run_python(view, "tokens")
    assert tuple(token.id for token in strip.tokens)[1:] == answer
    assert [token.id for token in names["strip"].tokens] == [token.id for token in strip.tokens]
    assert [token["id"] for token in run_command(view)["tokens"]] == [token.id for token in strip.tokens]
    view = shown("sampling", Column(column.checkpoint, label="bart", exact=exact))
    found = view.answer(0).distribution
    _names, said = run_python(view, "sampling")
    assert f"{found.texts[0]!r:20} {float(found.probabilities[0]):8.4f}" in said
    assert [token["id"] for token in run_command(view)["sampler"]["tokens"]] == found.ids.tolist()


def test_a_reopened_tree(shown: Any, tiny_lineage: Path, tmp_path: Path, operations: Operations) -> None:
    column = Column(str(tiny_lineage / "sft"), dtype="float32", label="sft", sampler=Sampler(0.0))
    view = shown("branches", column)
    for row in (0, 1):  # two tokens, then back and another branch
        view.panels[0].content.bars.activated.emit(row)
        ask(view, operations)
    view.save_to(tmp_path / "tree.json")
    path = view.grown[0].tree.ids()
    assert len(path) == 2
    again = shown("branches", column)
    again.open_from(tmp_path / "tree.json")
    ask(again, operations)
    assert again.grown[0].tree.ids() == path
    found = again.answer(0).distribution
    _names, said = run_python(again, "branches")
    assert f"{found.texts[0]!r}" in said
    assert f"{float(found.probabilities[0]):.4f}" in said
    told = run_command(again)["sampler"]
    assert [token["id"] for token in told["tokens"]] == found.ids.tolist()
