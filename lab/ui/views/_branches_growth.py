"""One column's tree while it grows: its undo and redo, and the run of tokens that is being drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from models.branches import Node, Tree, added
from models.records.sampling import Step

MOST_UNDO = 200


@dataclass
class Growth:
    """A tree with its past and future.

    Args:
        asked: Serial number of the run that is being drawn; 0 for none.
        start: The node that the run began behind. ``tip``: its last token so far.
        length: How many tokens the run asks for. ``seed``: of the run. ``before``: ids of its path, ``banned``: its bans.
    """

    tree: Tree = field(default_factory=Tree)
    past: list[Tree] = field(default_factory=list)
    future: list[Tree] = field(default_factory=list)
    asked: int = 0
    start: int = 0
    tip: int = 0
    length: int = 0
    seed: int = 0
    before: tuple[int, ...] = ()
    banned: tuple[int, ...] = ()

    def change(self, tree: Tree) -> None:
        """Take a changed tree; the old one can be had back."""
        if tree.nodes != self.tree.nodes:
            self.past = [*self.past, self.tree][-MOST_UNDO:]
            self.future = []
        self.tree = tree

    def look_at(self, node: int) -> None:
        """Look at another node."""
        self.tree = replace(self.tree, current=node)

    def undo(self) -> None:
        """Go back to the tree before the last change; a run that is being drawn is given up."""
        self.asked = 0
        if self.past:
            self.future.append(self.tree)
            self.tree = self.past.pop()

    def redo(self) -> None:
        """Take an undone change again."""
        self.asked = 0
        if self.future:
            self.past.append(self.tree)
            self.tree = self.future.pop()

    def begin(self, serial: int, length: int, seed: int) -> None:
        """Begin a run behind the node that is looked at."""
        self.asked, self.length, self.seed = serial, length, seed
        self.start = self.tip = self.tree.current
        self.before, self.banned = self.tree.ids(), self.tree.nodes[self.tree.current].banned
        self.past = [*self.past, self.tree][-MOST_UNDO:]
        self.future = []

    def take(self, step: Step) -> None:
        """Put a drawn token behind the run's last; a run that begins again (an engine was restarted) changes nothing twice."""
        if step.index == 0:
            self.tip = self.start
        following = self.tree.current == self.tip
        looked = self.tree.current
        node = Node(
            id=step.id, text=step.text, probability=min(math.exp(-step.surprisal), 1.0), sampled=min(step.probability, 1.0),
            seed=self.seed,
        )  # fmt: skip
        tree = added(self.tree, self.tip, node)
        self.tip = tree.current
        self.tree = tree if following else replace(tree, current=looked)
