"""The painted tree: rows, keys, drawing of many nodes; the growth of one column with its undo."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import Qt

from lab.ui.views._branches_growth import Growth
from lab.ui.views._branches_panel import beam_table, beam_twigs, sample_facts, twigs
from lab.ui.widgets.branch_tree import BranchTree, Twig, rows_of
from models.branches import Node, Tree, added
from models.records.samples import statistics_of
from models.records.sampling import Step
from tests.ui import samples as made


def test_the_first_child_stays_on_its_row() -> None:
    assert rows_of([]) == []
    assert rows_of([-1]) == [0]
    assert rows_of([-1, 0, 1, 2]) == [0, 0, 0, 0]
    assert rows_of([-1, 0, 0, 1, 1, 2]) == [0, 0, 2, 0, 1, 2]


@given(st.lists(st.integers(0, 30), max_size=60))
def test_no_two_nodes_share_a_place(choices: list[int]) -> None:
    parents = [-1, *(choice % (n + 1) for n, choice in enumerate(choices))]
    depth = [0] * len(parents)
    for node, parent in enumerate(parents[1:], start=1):
        depth[node] = depth[parent] + 1
    places = list(zip(rows_of(parents), depth, strict=True))
    assert len(set(places)) == len(places)


def show(qtbot: Any, parents: list[int]) -> BranchTree:
    tree = BranchTree()
    qtbot.addWidget(tree)
    tree.resize(400, 200)
    tree.set_tree([Twig(parent, f"t{n}", "1 %", 0.5) for n, parent in enumerate(parents)], 0)
    tree.chosen.connect(lambda node: tree.set_tree(tree.twigs, node))
    tree.show()
    return tree


def test_keys_walk_the_tree(qtbot: Any) -> None:
    tree = show(qtbot, [-1, 0, 1, 1, 0])
    keys = {"R": Qt.Key.Key_Right, "L": Qt.Key.Key_Left, "D": Qt.Key.Key_Down, "U": Qt.Key.Key_Up, "H": Qt.Key.Key_Home}
    for key, node in zip("RRDDURLHL", (1, 2, 3, 4, 3, 3, 1, 0, 0), strict=True):
        qtbot.keyClick(tree, keys[key])
        assert tree.current == node, key
    with qtbot.waitSignal(tree.removed) as told:
        qtbot.keyClick(tree, Qt.Key.Key_Delete)
    assert told.args == [0]
    with qtbot.waitSignal(tree.redone):
        qtbot.keyClick(tree, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)


def test_a_click_chooses(qtbot: Any) -> None:
    tree = show(qtbot, [-1, 0, 1])
    with qtbot.waitSignal(tree.chosen) as told:
        qtbot.mousePress(tree.viewport(), Qt.MouseButton.LeftButton, pos=tree.place_of(2).center())
    assert told.args == [2]
    with qtbot.waitSignal(tree.activated):
        qtbot.mouseDClick(tree.viewport(), Qt.MouseButton.LeftButton, pos=tree.place_of(1).center())


def test_a_large_tree_is_drawn_in_parts(qtbot: Any) -> None:
    chance = np.random.default_rng(0)
    tree = show(qtbot, [-1, *(int(chance.integers(0, n + 1)) for n in range(5000))])
    tree.grab()
    assert tree.verticalScrollBar().maximum() > 1000
    tree.verticalScrollBar().setValue(5000)
    tree.grab()


def step(index: int, id: int) -> Step:
    return Step(index, id, f" {id}", 0.5, 1.0, 1.0, 0, "", np.arange(1), ("",), np.ones(1, np.float32))


def test_a_run_is_one_change() -> None:
    growth = Growth()
    growth.begin(1, 3, 7)
    for n, id in enumerate((5, 6, 7)):
        growth.take(step(n, id))
    assert growth.tree.ids() == (5, 6, 7)
    assert [node.seed for node in growth.tree.nodes] == [-1, 7, 7, 7]
    growth.undo()
    assert growth.tree == Tree()
    growth.redo()
    assert growth.tree.ids() == (5, 6, 7)
    growth.look_at(1)
    growth.begin(2, 2, 9)
    growth.take(step(0, 8))
    growth.look_at(0)  # looked elsewhere while it is drawn
    growth.take(step(1, 9))
    assert growth.tree.current == 0
    assert growth.tree.ids(5) == (5, 8, 9)
    growth.take(step(0, 8))  # begun again: nothing twice
    growth.take(step(1, 9))
    assert len(growth.tree.nodes) == 6


def test_what_a_tree_shows() -> None:
    tree = added(added(Tree(), 0, Node(id=5, text="<b>\n", probability=0.5, seed=2)), 1, Node(id=6, text="", probability=0.25))
    drawn = twigs(tree, "The end of a long text")
    assert [twig.text for twig in drawn] == ["…of a long text", "<b>⏎", "#6"]
    assert drawn[2].label == "25.00 %"
    assert "p = 12.50 %" in drawn[2].tip[3]
    assert "seed 2" in drawn[1].tip[4]


def test_what_a_beam_search_shows() -> None:
    found = made.beam_tree()
    whole, origin = beam_twigs(found, True, "text")
    assert origin == list(range(10))
    kept, origin = beam_twigs(found, False, "text")
    assert origin == [0, 1, 2, 4, 5, 7, 9]
    assert [twig.parent for twig in kept] == [-1, 0, 0, 1, 1, 3, 4]
    assert kept[5].label.startswith("#1")
    assert beam_table(found)[1][0][2] == " the cat."
    assert len(whole) == 10


def test_samples_in_a_line() -> None:
    line = sample_facts(statistics_of(made.sample_set(3).samples), 5)
    assert "3 / 5 answers" in line
    assert "1 duplicates" in line
    assert sample_facts(statistics_of([]), 5) == "drawing…"
    assert pytest.approx(0.0) == statistics_of(made.sample_set(1).samples).n_duplicates
