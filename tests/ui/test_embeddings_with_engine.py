"""The real window and engine on a lineage with one planted move: two clicks put it first; what is copied computes it again."""

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
from models.columns import Column
from models.records.embeddings import Drift, Neighbours
from tests.fakes import write_model

ROOT = Path(__file__).parents[2]
SECONDS = 240
PLANTED = 77


@pytest.fixture(scope="module")
def lineage(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two checkpoints that differ by a little noise, and by one token's embedding that points the other way."""
    import torch
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("planted")
    first = write_model(folder / "first", "llama", seed=0)
    second = write_model(folder / "second", "llama", seed=0)
    model = AutoModelForCausalLM.from_pretrained(second)
    with torch.no_grad():
        weight = model.get_input_embeddings().weight
        weight += 0.01 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
        weight[PLANTED] *= -1.5
    model.save_pretrained(second)
    return first, second


def rows_of(folder: Path) -> np.ndarray:
    from safetensors.numpy import load_file

    return np.asarray(load_file(folder / "model.safetensors")["model.embed_tokens.weight"], np.float64)


@pytest.fixture
def view(open_app: Callable[..., App], qtbot: Any, lineage: tuple[Path, Path]) -> Any:
    app = open_app(settings=Settings(text="The quick brown fox"))
    app.context.session.set_columns(tuple(Column(str(path), dtype="float32", label=path.name) for path in lineage))
    app.window.centre.show_view("embeddings")
    found = app.window.centre.view_widget("embeddings")
    assert found is not None
    found.app = app  # type: ignore[attr-defined]
    found.controls.rows.method.setCurrentIndex(found.controls.rows.method.findData("pca"))  # type: ignore[attr-defined]
    return found


def wait(qtbot: Any, view: Any, condition: Callable[[], bool]) -> None:
    session = view.app.context.session
    qtbot.waitUntil(lambda: session.is_settled and condition(), timeout=SECONDS * 1000)


def test_two_clicks_put_the_planted_move_first(view: Any, qtbot: Any, lineage: tuple[Path, Path]) -> None:
    qtbot.mouseClick(view.go, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(view.difference.button, Qt.MouseButton.LeftButton)
    wait(qtbot, view, lambda: bool(view.panels[0].content.bars.bars))
    found = view.answers["drift/1", -1][1]
    assert isinstance(found, Drift)
    assert found.places[0].tolist() == [PLANTED, PLANTED]
    a, b = (rows_of(path) for path in lineage)
    cosines = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    order = np.argsort(cosines, kind="stable")[: len(found.distance)]  # the list is by cosine unless told otherwise
    assert np.allclose(found.cosine, cosines[order], atol=1e-5)
    assert np.allclose(found.distance, np.linalg.norm(a - b, axis=1)[found.places[:, 0]], atol=1e-4)
    assert view.panels[0].content.bars.bars[0].value == 1
    assert "neighbours kept" in view.panels[0].content.title.whole()
    assert len(view.panels[0].content.scatter.marks.starts) == len(found.distance)
    header, table = view.table()
    assert len(table) == 2 * len(a)
    assert header[:3] == ["Column", "Id", "Token"]
    check_copies(view, lineage, found)


def check_copies(view: Any, lineage: tuple[Path, Path], found: Drift) -> None:
    """What "Copy as Python" and "Copy as command line" write is run, and gives the view's data."""
    columns = view.columns
    code = script(columns, view.text, "embeddings", {}, view.python())
    code += "\nimport json, sys\n"
    for line, also in (
        ("    print(name, points.xy.shape", "    KEPT.append([points.xy.tolist(), list(points.labels)])"),
        ("    for text, far in zip(moved", "    MOVED.append([list(moved.labels), moved.distance.tolist()])"),
    ):
        assert line in code
        code = code.replace(line, f"{also}\n{line}")
    code = "KEPT, MOVED = [], []\n" + code
    code += 'print("RESULT" + json.dumps([KEPT, MOVED]))\n'
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, encoding="utf-8",
                         timeout=SECONDS, check=False, env=environment)  # fmt: skip
    assert run.returncode == 0, run.stderr
    kept, moves = json.loads(run.stdout.split("RESULT")[1])
    for index in (0, 1):
        assert np.allclose(kept[index][0], view.sets[index].xy, atol=1e-3)
        assert kept[index][1] == view.sets[index].labels
    assert moves[1][0] == list(found.labels)
    assert np.allclose(moves[1][1], found.distance, atol=1e-4)
    line = command_line(columns, view.text, (*view.command(), "--json")).splitlines()[1]
    run = subprocess.run([sys.executable, "-m", "lab", *shlex.split(line)[1:]], cwd=ROOT, capture_output=True, text=True,
                         encoding="utf-8", timeout=SECONDS, check=False, env=environment)  # fmt: skip
    assert run.returncode == 0, run.stderr
    shown = json.loads(run.stdout)
    assert np.allclose([[p["x"], p["y"]] for p in shown["projection"]["points"]], view.sets[1].xy, atol=1e-3)
    assert [m["text"] for m in shown["drift"]["moved"]] == list(found.labels)
    assert np.allclose([m["distance"] for m in shown["drift"]["moved"]], found.distance, atol=1e-4)


def test_neighbours_on_screen_equal_brute_force(view: Any, qtbot: Any, lineage: tuple[Path, Path]) -> None:
    qtbot.mouseClick(view.go, Qt.MouseButton.LeftButton)
    wait(qtbot, view, lambda: all(points.complete for points in view.sets.values()) and len(view.sets) == 2)
    view.search.setText("#50")
    qtbot.keyClick(view.search, Qt.Key.Key_Return)
    wait(qtbot, view, lambda: all(panel.content.bars.bars for panel in view.panels[:2]))
    for index, path in enumerate(lineage):
        rows = rows_of(path)
        cosines = rows @ rows[50] / np.linalg.norm(rows, axis=1) / np.linalg.norm(rows[50])
        order = [n for n in np.argsort(-cosines).tolist() if n != 50][:15]
        found = view.answer(index, "neighbours")
        assert isinstance(found, Neighbours)
        assert found.ids.tolist() == order
        assert np.allclose(found.scores, cosines[order], atol=1e-5)
        assert [bar.label for bar in view.panels[index].content.bars.bars] == [f"{cosines[n]:.3f}" for n in order]


def test_hidden_states_follow_the_prompt_and_colours_come_from_the_engine(view: Any, qtbot: Any) -> None:
    rows = view.controls.rows
    rows.source.setCurrentIndex(rows.source.findData("hidden"))
    rows.layer.setValue(1)
    view.controls.colour.setCurrentIndex(view.controls.colour.findData("score"))
    qtbot.mouseClick(view.go, Qt.MouseButton.LeftButton)
    wait(qtbot, view, lambda: bool(view.sets) and "score" in view.sets[0].values and view.sets[0].complete)
    first = list(view.sets[0].labels)
    assert first[1] == "The"
    assert np.isfinite(view.sets[0].values["score"].values[1:]).all()
    view.app.context.session.set_text("A model reads")
    wait(qtbot, view, lambda: bool(view.sets) and view.sets[0].complete and list(view.sets[0].labels) != first)
    assert view.sets[0].labels[1] == "A"
    view.app.context.session.select({"token": 2}, "tokens")
    wait(qtbot, view, lambda: view.answer(0, "neighbours") is not None)
    assert view.chosen == (2, view.sets[0].labels[2])


def test_vectors_are_written_for_the_projector(view: Any, qtbot: Any, tmp_path: Path, lineage: tuple[Path, Path]) -> None:
    qtbot.mouseClick(view.go, Qt.MouseButton.LeftButton)
    wait(qtbot, view, lambda: bool(view.sets) and view.sets[0].complete)
    view.on_vectors(str(tmp_path))
    wait(qtbot, view, lambda: (tmp_path / "second-input-vectors.npy").is_file() and not view.export_folder)
    lines = (tmp_path / "first-input-vectors.tsv").read_text(encoding="utf-8").splitlines()
    names = (tmp_path / "first-input-metadata.tsv").read_text(encoding="utf-8").splitlines()
    rows = rows_of(lineage[0])
    assert len(lines) == len(names) - 1 == len(rows)
    assert np.allclose([float(v) for v in lines[7].split("\t")], rows[7], atol=1e-6)
    assert names[0].split("\t")[:3] == ["token", "id", "kind"]
    assert names[8].split("\t")[1] == "7"
    assert np.allclose(np.load(tmp_path / "second-input-vectors.npy", allow_pickle=False), rows_of(lineage[1]), atol=1e-6)
