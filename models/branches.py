"""A tree of continuations grown by hand: token by token, with branches; it is saved as JSON and read back."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.files import write_json
from models.words import _

FORMAT, VERSION = "triptych-branches", 1
MOST_NODES = 20_000
LARGEST_FILE = 20_000_000


@dataclass(frozen=True)
class Node:
    """One token of a tree; node 0 is the text before it.

    Args:
        parent: Index of the node before it, always smaller; -1 for node 0.
        id: Token id; -1 for node 0. ``text``: what it says.
        probability: Of the model itself, given the path before it.
        sampled: After the sampler; 0 where the token was forced against it.
        seed: With which it was drawn; -1 where a person chose it.
        banned: Token ids that may not follow.
    """

    parent: int = -1
    id: int = -1
    text: str = ""
    probability: float = 1.0
    sampled: float = 1.0
    seed: int = -1
    banned: tuple[int, ...] = ()


@dataclass(frozen=True)
class Tree:
    """All nodes, each behind its parent, and the one that is looked at."""

    nodes: tuple[Node, ...] = (Node(),)
    current: int = 0

    def path(self, node: int = -1) -> tuple[int, ...]:
        """Return the nodes from below the root to ``node`` (the current one unless named)."""
        found: list[int] = []
        node = self.current if node < 0 else node
        while node > 0:
            found.append(node)
            node = self.nodes[node].parent
        return tuple(reversed(found))

    def ids(self, node: int = -1) -> tuple[int, ...]:
        """Return the token ids from the text to ``node``."""
        return tuple(self.nodes[n].id for n in self.path(node))

    def logprob(self, node: int = -1) -> float:
        """Return ln p of the whole path to ``node`` under the model itself, nats."""
        values = [self.nodes[n].probability for n in self.path(node)]
        return sum(math.log(p) if p > 0 else -math.inf for p in values)

    def children(self, node: int) -> list[int]:
        """Return the nodes that follow ``node``, oldest first."""
        return [n for n, one in enumerate(self.nodes) if one.parent == node and n > 0]


def added(tree: Tree, parent: int, node: Node) -> Tree:
    """Return the tree with a token behind ``parent``, looked at; one that is there already is only looked at.

    Raises:
        UserError: If the tree has grown too large.
    """
    for child in tree.children(parent):
        if tree.nodes[child].id == node.id:
            return replace(tree, current=child)
    if len(tree.nodes) >= MOST_NODES:
        raise UserError("branches.large", _("The tree already has {n} tokens.").format(n=len(tree.nodes)), _("Remove a branch."))
    return Tree((*tree.nodes, replace(node, parent=parent)), len(tree.nodes))


def removed(tree: Tree, node: int) -> Tree:
    """Return the tree without ``node`` and all that follows it; its parent is looked at. Node 0 stays."""
    if not 0 < node < len(tree.nodes):
        return tree
    gone = {node}
    for n in range(node + 1, len(tree.nodes)):
        if tree.nodes[n].parent in gone:
            gone.add(n)
    kept = [n for n in range(len(tree.nodes)) if n not in gone]
    place = {old: new for new, old in enumerate(kept)}
    nodes = tuple(replace(tree.nodes[n], parent=place.get(tree.nodes[n].parent, -1)) for n in kept)
    return Tree(nodes, place[tree.nodes[node].parent])


def banned(tree: Tree, node: int, id: int) -> Tree:
    """Return the tree in which a token may not follow ``node``; the branch that begins with it is removed."""
    child = next((n for n in tree.children(node) if tree.nodes[n].id == id), 0)
    tree = replace(removed(tree, child), current=node) if child else tree
    nodes = list(tree.nodes)
    nodes[node] = replace(nodes[node], banned=tuple(dict.fromkeys((*nodes[node].banned, id))))
    return Tree(tuple(nodes), node)


def allowed(tree: Tree, node: int) -> Tree:
    """Return the tree in which every token may follow ``node`` again."""
    nodes = list(tree.nodes)
    nodes[node] = replace(nodes[node], banned=())
    return replace(tree, nodes=tuple(nodes))


@dataclass(frozen=True)
class Saved:
    """What a file holds: the text, the chain, and one tree for each checkpoint."""

    text: str
    position: int
    chain: str
    checkpoints: tuple[str, ...]
    trees: tuple[Tree, ...]


def save(path: Path, saved: Saved) -> None:
    """Write trees as JSON, whole or not at all.

    Raises:
        UserError: If the file cannot be written.
    """
    data = {
        "format": FORMAT, "version": VERSION, "text": saved.text, "position": saved.position, "chain": saved.chain,
        "trees": [
            {"checkpoint": name, "current": tree.current, "nodes": [_to_json(node) for node in tree.nodes]}
            for name, tree in zip(saved.checkpoints, saved.trees, strict=True)
        ],
    }  # fmt: skip
    try:
        write_json(path, data)
    except OSError as error:
        said = _("{path} could not be written: {why}.").format(path=path, why=error.strerror)
        raise UserError("branches.write", said) from error


def _to_json(node: Node) -> list[Any]:
    return [node.parent, node.id, node.text, node.probability, node.sampled, node.seed, list(node.banned)]


def load(path: Path) -> Saved:
    """Read what ``save`` wrote.

    Raises:
        UserError: If the file cannot be read, or is no tree of this version.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise _bad(path, _("it is larger than any tree"))
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _bad(path, error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:
        raise _bad(path, _("it is no JSON")) from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise _bad(path, _("it is no tree of branches"))
    if data.get("version") != VERSION:
        raise _bad(path, _("its version is {n}, this program reads {own}").format(n=str(data.get("version"))[:20], own=VERSION))
    try:
        return _read(data)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise _bad(path, _("its nodes are damaged")) from error


def _bad(path: Path, why: str) -> UserError:
    return UserError("branches.file", _("{path} cannot be opened as a tree: {why}.").format(path=path, why=why))


def _read(data: dict[str, Any]) -> Saved:
    rows = data["trees"]
    if not isinstance(rows, list) or not 1 <= len(rows) <= 4:
        raise ValueError("trees")
    trees = tuple(_tree(row["nodes"], row["current"]) for row in rows)
    position = data["position"]
    if not isinstance(data["text"], str) or not isinstance(data["chain"], str) or type(position) is not int:
        raise ValueError("text")
    return Saved(data["text"], position, data["chain"], tuple(str(row["checkpoint"]) for row in rows), trees)


def _tree(rows: Sequence[Any], current: int) -> Tree:
    if not isinstance(rows, list) or not 1 <= len(rows) <= MOST_NODES or type(current) is not int or not 0 <= current < len(rows):
        raise ValueError("nodes")
    nodes = tuple(_node(n, row) for n, row in enumerate(rows))
    return Tree(nodes, current)


def _node(number: int, row: Any) -> Node:
    parent, id, text, probability, sampled, seed, bans = row
    if not all(type(value) is int for value in (parent, id, seed, *_ids(bans))) or not isinstance(text, str):
        raise ValueError("node")
    if (parent != -1 or number) and not 0 <= parent < number:
        raise ValueError("parent")
    if number and not 0 <= id < 2**31:
        raise ValueError("id")
    values = [float(value) for value in (probability, sampled)]
    if not all(0.0 <= value <= 1.0001 for value in values):
        raise ValueError("probability")
    return Node(parent, id, text, values[0], values[1], seed, tuple(bans))


def _ids(values: Any) -> Iterable[Any]:
    if not isinstance(values, list):
        raise ValueError("banned")
    return values
