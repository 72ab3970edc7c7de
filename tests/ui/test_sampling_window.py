"""Sampling, Branches and Divergence through the real window and engine: chain, force, ban, branch, undo, save, reopen."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt

from lab.settings import Settings
from lab.ui.app import App
from lab.ui.as_python import command_line, script
from models.api import open_checkpoint
from models.columns import Column, Sampler

ROOT = Path(__file__).parents[2]
SECONDS = 240
pytestmark = pytest.mark.slow
TEXT = "The quick brown fox"


def columns_of(folder: Path) -> tuple[Column, ...]:
    return tuple(Column(str(folder / stage), dtype="float32", label=stage) for stage in ("pretrain", "sft"))


@pytest.fixture
def window(open_app: Callable[..., App], qtbot: Any, tiny_lineage: Path) -> Callable[[str], tuple[App, Any]]:
    """Return ``window(view)``: the app with two columns and the view, settled."""

    def build(name: str) -> tuple[App, Any]:
        app = open_app(settings=Settings(text=TEXT, folders=(str(tiny_lineage),)))
        app.context.session.set_columns(columns_of(tiny_lineage))
        app.window.centre.show_view(name)
        qtbot.waitUntil(lambda: app.window.centre.view_widget(name) is not None, timeout=60_000)
        settle(app, qtbot)
        return app, app.window.centre.view_widget(name)

    return build


def settle(app: App, qtbot: Any) -> None:
    session = app.context.session
    qtbot.waitUntil(
        lambda: session.is_settled and all(session.state_of(c).state == "open" for c in session.columns), timeout=SECONDS * 1000
    )
    view = app.window.centre.view_widget()
    if view is not None:
        view.redraw()


def run_python(source: str) -> str:
    run = subprocess.run(
        [sys.executable, "-"], input=source, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", timeout=SECONDS,
        check=False, env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout


def run_command(line: str) -> Any:
    words = shlex.split(line)
    run = subprocess.run(
        [sys.executable, "-m", "lab", *words[1:], "--json"], cwd=ROOT, capture_output=True, text=True, encoding="utf-8",
        timeout=SECONDS, check=False, env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_the_chain_is_edited_and_copied(window: Any, qtbot: Any, tiny_lineage: Path) -> None:
    app, view = window("sampling")
    view.editor.set_chain("repetition_penalty=1.5,top_k=6,temperature=0.5")
    view.editor.changed.emit()
    settle(app, qtbot)
    own = open_checkpoint(str(tiny_lineage / "sft"), dtype="float32").sampler(TEXT, view.editor.chain())
    shown = view.answer(1)
    assert shown.chain == "repetition_penalty=1.5,top_k=6,temperature=0.5"
    for ours, stage in zip(own.stages, shown.stages, strict=True):
        assert stage.probabilities == pytest.approx(ours.probabilities, abs=1e-5)
    assert shown.stages[1].n_left == 6
    assert "6 left" in view.editor.rows[1].result.whole()

    view.panels[1].content.bars.activated.emit(0)  # put the first token behind the text, in both columns
    settle(app, qtbot)
    token = int(shown.distribution.ids[0])
    assert [view.answer(i).path for i in (0, 1)] == [(token,), (token,)]
    view.panels[0].content.bars.clicked.emit(1)
    view.redraw()
    banned = int(view.answer(0).distribution.ids[1])
    view.ban.click()
    settle(app, qtbot)
    found = view.answer(0)
    assert found.distribution.sampled[found.distribution.ids.tolist().index(banned)] == 0

    source = script(app.context.session.columns, TEXT, "sampling", {}, view.python())
    printed = run_python(source)
    line = f"  {found.distribution.texts[0]!r:20} {float(found.distribution.probabilities[0]):8.4f}"
    assert line in printed
    told = run_command(command_line(app.context.session.columns[:1], TEXT, view.command()))["sampler"]
    assert told["sampled"] == pytest.approx(found.distribution.sampled.tolist(), abs=1e-5)
    assert [stage["stage"] for stage in told["stages"]] == [stage.text for stage in found.stages]


def test_force_branch_ban_undo_save_and_reopen(window: Any, qtbot: Any, tmp_path: Path) -> None:
    app, view = window("branches")
    tools = view.set
    tools.chain.setText("temperature=0.9")
    tools.chain.editingFinished.emit()
    tools.length.setValue(4)
    settle(app, qtbot)
    tools.buttons["more"].click()
    qtbot.waitUntil(lambda: all(len(g.tree.nodes) == 5 and not g.asked for g in view.grown), timeout=SECONDS * 1000)
    settle(app, qtbot)
    first = view.grown[0].tree
    whole = open_checkpoint(view.columns[0].checkpoint, dtype="float32").generate(
        TEXT, chain="temperature=0.9", max_new_tokens=4, seed=0
    )
    assert first.ids() == whole.token_ids  # the same draw as generate makes
    assert view.answer(0).path == first.ids()

    panel = view.panels[0].content
    panel.tree.setFocus()
    qtbot.keyClick(panel.tree, Qt.Key.Key_Home)
    settle(app, qtbot)
    assert view.grown[0].tree.current == 0
    taken = first.nodes[1].id
    row = next(n for n, id in enumerate(view.answer(0).distribution.ids) if int(id) != taken)
    forced = int(view.answer(0).distribution.ids[row])
    panel.bars.activated.emit(row)  # force another token: a branch
    settle(app, qtbot)
    tree = view.grown[0].tree
    assert tree.ids() == (forced,)
    assert len(tree.children(0)) == 2
    own = view.answer(0)
    assert own.path == (forced,)

    panel.bars.clicked.emit(0)
    view.redraw()
    gone = int(own.distribution.ids[0])
    tools.buttons["ban"].click()
    settle(app, qtbot)
    found = view.answer(0)
    assert found.chain.startswith(f"ban={gone},")
    assert found.distribution.sampled[found.distribution.ids.tolist().index(gone)] == 0
    tools.buttons["step"].click()
    qtbot.waitUntil(lambda: len(view.grown[0].tree.nodes) == 7 and not view.grown[0].asked, timeout=SECONDS * 1000)
    settle(app, qtbot)
    stepped = view.grown[0].tree
    assert stepped.nodes[-1].id != gone
    assert stepped.nodes[-1].parent == 5

    view.redraw()
    qtbot.keyClick(panel.tree, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    qtbot.keyClick(panel.tree, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert view.grown[0].tree.nodes == tree.nodes  # step and ban undone
    qtbot.keyClick(panel.tree, Qt.Key.Key_Y, Qt.KeyboardModifier.ControlModifier)
    qtbot.keyClick(panel.tree, Qt.Key.Key_Y, Qt.KeyboardModifier.ControlModifier)
    assert view.grown[0].tree.nodes == stepped.nodes
    settle(app, qtbot)

    view.save_to(tmp_path / "tree.json")
    kept = [growth.tree for growth in view.grown]
    tools.set_chain("")
    view.set_text("")
    view.set_text(TEXT)
    view.changed.emit()
    settle(app, qtbot)
    assert len(view.grown[0].tree.nodes) == 1
    view.open_from(tmp_path / "tree.json")
    assert [growth.tree for growth in view.grown] == kept
    assert tools.chain_text() == "temperature=0.9"
    (tmp_path / "bad.json").write_text("{", encoding="utf-8")
    said: list[str] = []
    view.message.connect(said.append)
    view.open_from(tmp_path / "bad.json")
    assert "cannot be opened as a tree" in said[-1]
    assert [growth.tree for growth in view.grown] == kept
    settle(app, qtbot)


def test_beams_and_samples_are_what_python_and_the_command_line_give(window: Any, qtbot: Any, tiny_lineage: Path) -> None:
    app, view = window("branches")
    tools = view.set
    tools.mode.setCurrentIndex(1)
    tools.beams.setValue(3)
    tools.length.setValue(5)
    view.redraw()
    assert "Nothing was asked for" in view.panels[0].message()
    tools.buttons["search"].click()
    settle(app, qtbot)
    found = view.answer(1)
    own = open_checkpoint(str(tiny_lineage / "sft"), dtype="float32").beams(TEXT, 3, max_new_tokens=5)
    assert [one.token_ids for one in found.sequences] == [one.token_ids for one in own.sequences]
    assert [one.score for one in found.sequences] == pytest.approx([one.score for one in own.sequences], abs=1e-5)
    assert len(view.panels[1].content.tree.twigs) == 1 + 3 * 5
    tools.dropped.setChecked(True)
    view.redraw()
    assert len(view.panels[1].content.tree.twigs) == len(found.ids)
    told = run_command(command_line(app.context.session.columns[1:], TEXT, view.command()))["beams"]
    assert [one["score"] for one in told["sequences"]] == pytest.approx([one.score for one in found.sequences], abs=1e-5)
    beams_script = script(app.context.session.columns, TEXT, "branches", {}, view.python())

    tools.mode.setCurrentIndex(2)
    tools.set_chain("top_k=20")
    tools.count.setValue(5)
    tools.buttons["draw_many"].click()
    settle(app, qtbot)
    samples = view.answer(0)
    assert len(samples.samples) == 5
    assert "distinct-1/2/3" in view.panels[0].content.facts.whole()
    told = run_command(command_line(app.context.session.columns[:1], TEXT, view.command()))["samples"]
    assert [tuple(one["token_ids"]) for one in told["samples"]] == [one.token_ids for one in samples.samples]
    printed = run_python(beams_script + script(app.context.session.columns, TEXT, "branches", {}, view.python()))
    assert all(repr(one.text) in printed for one in samples.samples)
    assert f"sft {found.sequences[0].score:.4f}" in printed


def test_divergence_and_both_distributions(window: Any, qtbot: Any) -> None:
    app, view = window("divergence")
    found = view.answer(-1)
    assert np.isfinite(found.js[1:]).all()
    most = int(np.nanargmax(found.js))
    view.panels[0].content.strip.clicked.emit(most)
    settle(app, qtbot)
    view.redraw()
    bars = view.panels[0].content.bars.bars
    first, second = view.answer(0, "first"), view.answer(1, "second")
    assert first.position == second.position == most - 1
    best = max(float(first.probabilities[0]), float(second.probabilities[0]))
    assert max(bars[0].value, bars[0].second) == pytest.approx(best)
    assert app.context.session.selection["token"] == most
    told = run_command(command_line(app.context.session.columns[:1], TEXT, view.command()))["divergence"]
    assert [t["js"] for t in told["tokens"][1:]] == pytest.approx(found.js[1:].tolist(), abs=1e-5)
    printed = run_python(script(app.context.session.columns, TEXT, "divergence", {}, view.python()))
    token = found.tokens[most]
    assert f"  {token.text!r:20} {float(found.kl[most]):8.4f} {float(found.kl_back[most]):8.4f}" in printed


def test_what_cannot_go_on_says_so(open_app: Callable[..., App], qtbot: Any, tiny: Callable[..., Path]) -> None:
    """Two kinds of model side by side: one sentence in each place, no traceback; the encoder's mask is sampled."""
    app = open_app(settings=Settings(text="the quick [MASK]"))
    app.context.session.set_columns((Column(str(tiny("bert"))), Column(str(tiny("llama")), sampler=Sampler(seed=3))))
    for name in ("sampling", "divergence", "branches"):
        app.window.centre.show_view(name)
        settle(app, qtbot)
    assert app.window.centre.view_widget("sampling").answer(0).distribution.n_vocab > 0
    divergence = app.window.centre.view_widget("divergence")
    divergence.redraw()
    assert "predict in different ways" in divergence.panels[0].message()
    branches = app.window.centre.view_widget("branches")
    said: list[str] = []
    branches.message.connect(said.append)
    branches.set.buttons["step"].click()
    qtbot.waitUntil(lambda: not any(g.asked for g in branches.grown), timeout=SECONDS * 1000)
    assert len(branches.grown[0].tree.nodes) == 1
    assert len(branches.grown[1].tree.nodes) == 2
    assert "fills masks" in said[0]
    settle(app, qtbot)
