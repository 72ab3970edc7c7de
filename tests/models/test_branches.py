"""The tree of branches: growing, banning, removing; saved and read back; files that are no tree."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.branches import Node, Saved, Tree, added, allowed, banned, load, removed, save
from models.errors import UserError


def grown() -> Tree:
    tree = added(Tree(), 0, Node(id=5, text=" a", probability=0.5))
    tree = added(tree, 1, Node(id=6, text=" b", probability=0.25, sampled=0.5, seed=3))
    tree = added(tree, 1, Node(id=7, text=" c", probability=0.1))
    return added(tree, 3, Node(id=8, text="\n", probability=1.0))


def test_paths_and_probabilities() -> None:
    tree = grown()
    assert [node.parent for node in tree.nodes] == [-1, 0, 1, 1, 3]
    assert tree.current == 4
    assert tree.ids() == (5, 7, 8)
    assert tree.ids(2) == (5, 6)
    assert tree.ids(0) == ()
    assert tree.logprob() == pytest.approx(math.log(0.5 * 0.1))
    assert tree.logprob(0) == 0.0
    assert tree.children(1) == [2, 3]
    assert added(Tree(), 0, Node(id=1, probability=0.0)).logprob() == -math.inf


def test_a_token_that_is_there_is_only_looked_at() -> None:
    tree = grown()
    again = added(tree, 1, Node(id=6))
    assert again.nodes == tree.nodes
    assert again.current == 2


def test_removing_takes_what_follows() -> None:
    tree = removed(grown(), 3)
    assert [node.id for node in tree.nodes] == [-1, 5, 6]
    assert tree.current == 1
    assert removed(tree, 0) == tree
    assert removed(tree, 99) == tree
    assert removed(grown(), 1) == Tree()
    two = removed(grown(), 2)
    assert [node.parent for node in two.nodes] == [-1, 0, 1, 2]


def test_banning_removes_the_branch_and_is_taken_back() -> None:
    tree = banned(grown(), 1, 7)
    assert tree.nodes[1].banned == (7,)
    assert tree.current == 1
    assert [node.id for node in tree.nodes] == [-1, 5, 6]
    assert banned(tree, 1, 7).nodes[1].banned == (7,)
    assert allowed(tree, 1).nodes[1].banned == ()


def test_saved_and_reopened(tmp_path: Path) -> None:
    saved = Saved("The dog\n狗", -1, "top_k=3", ("sft", "ppo"), (banned(grown(), 1, 9), Tree()))
    save(tmp_path / "deep" / "tree.json", saved)
    assert load(tmp_path / "deep" / "tree.json") == saved
    with pytest.raises(UserError, match="could not be written"):
        save(tmp_path / "deep" / "tree.json" / "below.json", saved)


PARTS = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(st.lists(PARTS, max_size=4), PARTS, PARTS)
def test_any_nodes_are_a_tree_or_one_sentence(tmp_path_factory: Any, rows: list[Any], current: Any, text: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    tree = {"checkpoint": "x", "current": current, "nodes": [[-1, -1, "", 1.0, 1.0, -1, []], *rows]}
    data = {"format": "triptych-branches", "version": 1, "text": text, "position": -1, "chain": "", "trees": [tree]}
    path.write_text(json.dumps(data), encoding="utf-8")
    try:
        found = load(path)
    except UserError as error:
        assert "cannot be opened as a tree" in error.what  # noqa: PT017
    else:
        assert all(node.parent < n for n, node in enumerate(found.trees[0].nodes))
        assert len(found.trees[0].path()) <= len(rows)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe", "no JSON"), (b"{", "no JSON"), (b"[" * 5000, "no JSON"), (b"[1]", "no tree of branches"),
        (b'{"format": "triptych-branches", "version": 2}', "version is 2"),
        (b'{"format": "triptych-branches", "version": 1}', "damaged"),
    ],
)  # fmt: skip
def test_bad_files_are_one_sentence(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "tree.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said):
        load(path)
    with pytest.raises(UserError, match="cannot be opened"):
        load(tmp_path / "missing.json")
