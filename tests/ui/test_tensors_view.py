"""The Tensors view: widgets by themselves, and the whole through the real window and the real engine."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt

from lab.settings import Settings
from lab.ui.as_python import command_line, script
from lab.ui.views._tensor_changes import short_names
from lab.ui.views._tensor_list import AUTOMATIC_BYTES
from lab.ui.widgets.tensor_detail import TensorDetailPanel, color_top
from lab.ui.widgets.tensor_model import BAD, BYTES, MEAN, NAME, SHAPE
from lab.ui.widgets.tensor_tree import TensorTree
from models.columns import Column
from models.records.tensors import TensorList
from tests.ui import samples as made
from tests.ui.test_view_contract import build, fill, texts
from tests.ui.test_with_engine import lineage_columns, settled

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tree(qtbot):
    widget = TensorTree()
    qtbot.addWidget(widget)
    widget.set_list(made.tensor_list())
    return widget


def labels(tree, parent=None):
    model = tree.rows
    rows = range(model.rowCount() if parent is None else model.rowCount(parent))
    indexes = [model.index(i, 0) if parent is None else model.index(i, 0, parent) for i in rows]
    return {index.data(): index for index in indexes}


def test_the_tree_has_modules_and_counts_what_is_in_them(tree):
    top = labels(tree)
    assert list(top) == ["lm_head.weight", "model", "odd.<b>bold</b>·⟨202E⟩gnp.weight"]
    model = top["model"]
    assert model.siblingAtColumn(SHAPE).data() == "2.25 K"
    assert list(labels(tree, model)) == ["embed_tokens.weight", "layers", "norm.weight"]
    layers = labels(tree, labels(tree, model)["layers"])
    assert list(layers) == ["0", "1", "2"]
    assert list(labels(tree, layers["1"])) == ["mlp.up_proj.weight", "self_attn.q_proj.weight"]
    tied = top["lm_head.weight"]
    assert "embed_tokens" in tied.siblingAtColumn(SHAPE).data()
    assert tied.siblingAtColumn(BYTES).data() == "0"


def test_every_row_finds_its_way_back(tree):
    for row in range(len(tree.rows.names)):
        index = tree.rows.index_of(row)
        assert tree.rows.tensor_at(index) == row
        while index.parent().isValid():
            index = index.parent()
        assert not index.parent().isValid()


def test_statistics_arrive_bit_by_bit_and_nan_is_red(tree):
    whole = made.tensor_statistics()
    tree.rows.add_statistics(made.tensor_statistics(made.TENSORS[:2]))
    assert tree.rows.raw(tree.rows.names.index(made.TENSORS[0]), MEAN) == pytest.approx(
        float(made.tensor_statistics(made.TENSORS[:2]).mean[0])
    )
    assert tree.rows.raw(len(tree.rows.names) - 1, MEAN) is None
    tree.rows.add_statistics(whole)
    bad = labels(tree)["odd.<b>bold</b>·⟨202E⟩gnp.weight"]
    assert bad.siblingAtColumn(BAD).data() == "25.00 %"
    assert bad.data(Qt.ItemDataRole.ForegroundRole) is not None
    assert labels(tree)["model"].data(Qt.ItemDataRole.ForegroundRole) is None
    assert "&lt;b&gt;" in bad.data(Qt.ItemDataRole.ToolTipRole)


def test_a_click_on_a_title_sorts_and_a_search_filters(tree, qtbot):
    tree.rows.add_statistics(made.tensor_statistics())
    tree._on_title(MEAN)
    means = [tree.rows.raw(int(i), MEAN) for i in tree.rows._order]
    known = [m for m in means if m is not None]
    assert known == sorted(known, reverse=True)
    assert means[-1] is None  # the tied matrix has no numbers
    tree._on_title(MEAN)
    assert [m for m in (tree.rows.raw(int(i), MEAN) for i in tree.rows._order) if m is not None] == sorted(known)
    tree.set_needle("Q_PROJ")
    assert sorted(tree.rows.names[int(i)] for i in tree.rows._order) == [n for n in tree.rows.names if "q_proj" in n]
    tree.set_sorted(None)
    assert not tree.rows.is_tree  # a search is a list
    tree.set_needle("")
    assert tree.rows.is_tree
    tree._on_title(SHAPE)
    sizes = [np.prod([int(n) for n in tree.rows.cell(int(i), SHAPE).split("×")]) for i in tree.rows._order
             if not tree.rows.cell(int(i), SHAPE).startswith("=")]  # fmt: skip
    assert sizes == sorted(sizes)


def test_thirty_thousand_tensors_are_listed_lazily(qtbot):
    places = [(layer, expert, part) for layer in range(40) for expert in range(250) for part in "abc"]
    names = tuple(f"model.layers.{layer}.mlp.experts.{expert}.{part}" for layer, expert, part in places)
    n = len(names)
    listed = TensorList("x", names, ((4, 4),) * n, ("F32",) * n, np.full(n, 64, np.int64), ("mlp",) * n, ("f",) * n, n_tensors=n)
    widget = TensorTree()
    qtbot.addWidget(widget)
    widget.set_list(listed)
    assert len(widget.rows._nodes) < 60  # only what is unfolded was made
    assert widget.rows.index_of(n - 1).isValid()
    assert len(widget.rows._nodes) < 400


def test_colours_end_where_most_values_do_and_survive_nothing():
    assert color_top(np.array([[np.nan, np.inf]])) == 1.0
    assert color_top(np.zeros((3, 3))) == 1.0
    assert color_top(np.array([[0.0] * 9999 + [5.0]])) == 5.0
    assert color_top(np.ones((2, 2)) * -2) == 2.0


def test_the_detail_says_the_exact_value_under_the_mouse_and_marks_nan(qtbot):
    panel = TensorDetailPanel()
    qtbot.addWidget(panel)
    panel.resize(600, 300)
    detail = made.tensor_detail()
    panel.set_detail(detail, log=True)
    panel.show()
    panel._on_hovered(7, 2)
    assert panel.read_out.whole() == f"[7, 2] = {float(detail.matrix[7, 2]):.8g}"
    panel._on_hovered(-1, -1)
    assert "every value" in panel.read_out.whole()
    bad = panel.map._rendered(10.0).pixelColor(4, 3)
    good = panel.map._rendered(10.0).pixelColor(0, 0)
    assert bad.red() > 150
    assert bad.green() < 100
    assert bad != good
    asked = []
    panel.region_asked.connect(asked.append)
    panel._on_clicked(3, 3)
    assert asked == []  # every value is seen already
    heights = panel.histogram.heights()
    panel.histogram.set_log(False)
    assert (panel.histogram.heights() <= heights + 1e-9).all()
    assert panel.histogram.bar_text(0).endswith(f"{int(detail.counts[0]):,}")


def test_module_names_are_as_short_as_they_can_be():
    assert short_names(["mlp.up_proj", "self_attn.q_proj", "norm"]) == ["up_proj", "q_proj", "norm"]
    assert short_names(["a.q.bias", "b.q.bias", "a.q"]) == ["a.q.bias", "b.q.bias", "q"]


def test_large_files_wait_for_the_button(qtbot):
    view = build(qtbot, "tensors", 1)
    page = view.page("list")
    want = view.wants()[0]
    small = made.tensor_list(want.params["path"])
    values = {**small.__dict__, "n_bytes": small.n_bytes + AUTOMATIC_BYTES}
    view.set_answer(want, TensorList(**values))
    view.redraw()
    assert [w.op for w in view.wants()] == ["tensor_list"]
    view.show()
    assert page.numbers.isVisible()
    page.numbers.setChecked(True)
    assert "tensor_statistics" in {w.op for w in view.wants()}


def test_headers_wait_for_no_model(qtbot):
    view = build(qtbot, "tensors", 2)
    assert all(not want.opens and "column" not in want.params for want in view.wants())
    fill(view)
    view.show_page("changes")
    assert all(not want.opens for want in view.wants())
    assert [want.column for want in view.wants()] == [1]


def test_another_reference_asks_again_and_old_answers_are_not_shown(qtbot):
    view = build(qtbot, "tensors", 3)
    view.show_page("changes")
    fill(view)
    page = view.page("changes")
    assert {row[0] for row in view.table()[1]} == {"sft", "ppo"}
    page.reference.setCurrentIndex(2)
    page.redraw()
    assert view.table()[1] == []
    assert [(w.column, w.params["first"]) for w in view.wants()] == [(0, "/models/demo/ppo"), (1, "/models/demo/ppo")]
    fill(view)
    assert {row[0] for row in view.table()[1]} == {"pretrain", "sft"}


def test_one_checkpoint_alone_has_no_changes(qtbot):
    view = build(qtbot, "tensors", 1)
    view.show_page("changes")
    view.show()
    view.redraw()
    assert "second checkpoint" in texts(view)
    assert view.wants() == []


def test_cards_mark_what_differs(qtbot):
    view = build(qtbot, "tensors", 2)
    view.show_page("cards")
    fill(view)
    _header, rows = view.table()
    marked = [row for row in rows if row[1].startswith("≠")]
    assert [row[2:] for row in marked] == [["/models/demo/pretrain", "/models/demo/sft"]]
    view.page("cards").only.setChecked(True)
    assert view.table()[1] == marked


# through the window ----------------------------------------------------------------------------------------------------
@pytest.fixture
def view_of(open_app, qtbot, tiny_lineage):
    app = open_app(settings=Settings(text="The quick brown fox", folders=(str(tiny_lineage),)))
    app.context.session.set_columns(lineage_columns(tiny_lineage)[:2])
    app.window.centre.show_view("tensors")
    qtbot.waitUntil(lambda: app.window.centre.view_widget("tensors") is not None, timeout=60_000)
    settled(app, qtbot)
    return app, app.window.centre.view_widget("tensors")


def test_lists_details_and_changes_arrive(view_of, qtbot, tiny_lineage):
    from safetensors.numpy import load_file

    app, view = view_of
    arrays = load_file(tiny_lineage / "sft" / "model.safetensors")
    mean = view.table()[0].index("Mean")
    qtbot.waitUntil(lambda: {row[0] for row in view.table()[1] if row[mean] is not None} == {"pretrain", "sft"}, timeout=60_000)
    ours = {row[1]: row for row in view.table()[1] if row[0] == "sft"}
    assert set(ours) == set(arrays)
    for name, values in arrays.items():
        assert ours[name][mean] == pytest.approx(float(values.astype(np.float64).mean()), abs=1e-6)
    page = view.page("list")
    name = next(name for name in arrays if arrays[name].ndim == 2 and "attn" in name)
    tree = page.panels[0].content.tree
    index = tree.rows.index_of(tree.rows.names.index(name))
    tree.scrollTo(index)
    qtbot.mouseClick(tree.viewport(), Qt.MouseButton.LeftButton, pos=tree.visualRect(index.siblingAtColumn(NAME)).center())
    assert app.context.session.selection["tensor"] == name
    qtbot.waitUntil(lambda: page.panels[1].content.detail.detail is not None, timeout=60_000)
    np.testing.assert_array_equal(page.panels[1].content.detail.detail.matrix, arrays[name].astype(np.float32))

    view.show_page("changes")
    settled(app, qtbot)
    before = load_file(tiny_lineage / "pretrain" / "model.safetensors")
    found = {row[1]: row[2] for row in view.table()[1]}
    for name, values in arrays.items():
        old = before[name].astype(np.float64)
        want = np.linalg.norm(values - old) / np.linalg.norm(old)
        assert found[name] == pytest.approx(want, rel=1e-5, abs=1e-9)
    changes = view.page("changes").panels[1].content
    qtbot.waitUntil(lambda: bool(changes.places), timeout=60_000)  # it is drawn
    place = changes.map.place_of(0.5, 0.5)
    qtbot.mouseClick(changes.map, Qt.MouseButton.LeftButton, pos=QPointF(place).toPoint())
    qtbot.waitUntil(lambda: changes.detail.detail is not None, timeout=60_000)
    shown = changes.detail.detail
    delta = arrays[shown.name].astype(np.float32) - before[shown.name].astype(np.float32)
    np.testing.assert_allclose(shown.matrix.ravel(), delta.ravel())


def test_what_is_copied_computes_what_is_shown(qtbot, tiny_lineage):
    columns = tuple(Column(str(tiny_lineage / name), label=name) for name in ("pretrain", "sft"))
    from lab.ui.views.tensors import VIEW
    from models.engine_ops import Operations
    from models.events import finish

    view, operations = VIEW.make(), Operations()
    qtbot.addWidget(view)
    view.set_columns(columns)
    outputs = {}
    for page in ("list", "changes", "cards"):
        view.show_page(page)
        for _round in range(3):
            for want in view.wants():
                view.set_answer(want, finish(operations.ask(want.op, **want.params)))
            view.redraw()
        outputs[page] = (view.table(), view.command(), view.python())
    lines = command_line(columns[1:], "x", (*outputs["list"][1], *outputs["changes"][1], *outputs["cards"][1], "--json"))
    words = shlex.split(lines)
    run = [sys.executable, "-m", "lab", *words[1:]]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    header, rows = outputs["list"][0]
    theirs = {t["name"]: t for t in told["tensors"]["tensors"]}
    for row in [row for row in rows if row[0] == "sft"]:
        assert theirs[row[1]]["mean"] == pytest.approx(row[header.index("Mean")], rel=1e-5, abs=1e-12)
        assert theirs[row[1]]["bytes"] == row[header.index("Bytes")]
    changed = {t["name"]: t["relative"] for t in told["changes"]["tensors"]}
    assert {row[1]: pytest.approx(row[2], rel=1e-5) for row in outputs["changes"][0][1]} == changed
    flat = {label: value for group in told["card"].values() for label, value in group.items()}
    assert flat["hidden_size"] == next(row[3] for row in outputs["cards"][0][1] if "hidden_size" in row[1])

    scripts = [script(columns, "x", "tensors", {}, outputs[page][2]) for page in outputs]
    program = "\n".join(f"exec({text!r}, {{}})" for text in scripts)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, timeout=200,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
    assert done.returncode == 0, done.stderr
    name, relative = outputs["changes"][0][1][0][1:3]
    line = next(line for line in done.stdout.splitlines() if line.startswith(f"{name} ") and len(line.split()) == 5)
    assert float(line.split()[1]) == pytest.approx(relative, rel=1e-4)
