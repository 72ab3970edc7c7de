"""One column of the Branches view, and what it shows as nodes, rows and lines."""

from __future__ import annotations

import math
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QSplitter, QVBoxLayout, QWidget

from lab.ui.views._branches_tools import BEAMS, HAND, SAMPLES
from lab.ui.widgets.bars import Bar, BarList
from lab.ui.widgets.branch_tree import PALE, PLAIN, STRONG, BranchTree, Twig
from lab.ui.widgets.panel import Elided
from lab.ui.widgets.rows import RowsTable
from lab.ui.widgets.text import number, percent, visible
from models.branches import Tree
from models.records.beams import DROPPED, FINISHED, BeamTree
from models.records.chain import SamplerChain
from models.records.samples import DrawnSample, SampleStatistics, statistics_of
from models.words import _


class BranchPanel(QWidget):
    """A tree above, a line of facts, and below it bars (by hand) or a table (beams, samples)."""

    def __init__(self) -> None:
        super().__init__()
        self.splitter = QSplitter(Qt.Orientation.Vertical, self)
        self.splitter.setChildrenCollapsible(False)
        self.tree, lower = BranchTree(self.splitter), QWidget(self.splitter)
        self.said, self.facts, self.bars, self.table = Elided(), Elided(), BarList(), RowsTable()
        self.table.setMinimumHeight(50)
        layout = QVBoxLayout(lower)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        for widget in (self.said, self.facts):
            layout.addWidget(widget)
        layout.addWidget(self.bars, 1)
        layout.addWidget(self.table, 1)
        self.splitter.setSizes([220, 260])
        whole = QVBoxLayout(self)
        whole.setContentsMargins(4, 2, 4, 2)
        whole.addWidget(self.splitter)

    def set_mode(self, mode: str) -> None:
        """Show what a mode needs."""
        self.tree.setVisible(mode != SAMPLES)
        self.said.setVisible(mode == HAND)
        self.bars.setVisible(mode == HAND)
        self.table.setVisible(mode != HAND)

    def show_hand(self, tree: Tree, found: SamplerChain | None, before: str) -> None:
        """Show a tree that is grown by hand, and what could follow; ``found`` is of another node while it is waited for."""
        here = found if found is not None and found.path == tree.ids() else None
        self.tree.set_tree(twigs(tree, before), tree.current)
        said = "".join(tree.nodes[n].text for n in tree.path())
        tail = before[-20:] + said
        self.said.set_whole(("…" if len(tail) > 60 else "") + visible(tail[-60:], 60, " ") + " ▮", before[-200:] + said)
        self.facts.set_whole(hand_facts(tree, here))
        if here is not None:
            rows = candidates(here, tree)
            self.bars.set_bars(rows, max((max(bar.value, bar.second if bar.second > 0 else 0.0) for bar in rows), default=1.0))

    def show_beams(self, found: BeamTree, dropped: bool, before: str) -> None:
        """Show a beam search; the path to its best hypothesis is marked."""
        drawn, origin = beam_twigs(found, dropped, before)
        best = origin.index(found.sequences[0].node) if found.sequences else 0
        self.tree.set_tree(drawn, best)
        self.facts.set_whole(beam_facts(found))
        self.table.set_rows(*beam_table(found))

    def chosen_ids(self, mode: str, path: tuple[int, ...], found: Any) -> tuple[int, ...]:
        """Return the token ids behind the text of the path, or of the row of the table (the first, where none is chosen)."""
        if mode == HAND:
            return path
        rows = () if found is None else found.sequences if mode == BEAMS else found.samples
        row = max(self.table.currentIndex().row(), 0)
        return (*path, *rows[row].token_ids) if row < len(rows) else ()

    def show_samples(self, samples: list[DrawnSample], asked: int) -> None:
        """Show the answers that are there."""
        self.facts.set_whole(sample_facts(statistics_of(samples), asked))
        self.table.set_rows(*sample_table(samples))


def shown_text(text: str, id: int) -> str:
    """Return a token as it stands in a node."""
    return visible(text, 18) or f"#{id}"


def twigs(tree: Tree, before: str) -> list[Twig]:
    """Return the nodes of a tree that was grown by hand; ``before`` is the text that it grows from."""
    root = Twig(-1, "…" + visible(before[-14:], 14, " ") if len(before) > 14 else visible(before, 14, " ") or "▮", _("text"))
    made = [root]
    for n, node in enumerate(tree.nodes[1:], start=1):
        logprob = tree.logprob(n) if n < 400 else math.nan
        tip = (
            f"{visible(node.text)}   {_('id {id}').format(id=node.id)}",
            _("model: {p}").format(p=percent(node.probability)),
            _("after the sampler: {p}").format(p=percent(node.sampled)),
            _("whole path: ln p = {x}, p = {p}").format(x=number(logprob, 3), p=percent(math.exp(logprob))),
            _("drawn with seed {n}").format(n=node.seed) if node.seed >= 0 else _("chosen by hand"),
            *([_("{n} tokens may not follow").format(n=len(node.banned))] if node.banned else []),
        )
        label = percent(node.probability)
        made.append(Twig(node.parent, shown_text(node.text, node.id), label, node.probability, PLAIN, tip))
    return made


def beam_twigs(found: BeamTree, dropped: bool, before: str) -> tuple[list[Twig], list[int]]:
    """Return the nodes of a beam search, and for each its index in the record; ``dropped``: those left behind too."""
    finished = {one.node: rank for rank, one in enumerate(found.sequences)}
    needed = set(range(len(found.ids))) if dropped else _needed(found)
    place: dict[int, int] = {}
    made: list[Twig] = []
    origin: list[int] = []
    for n in sorted(needed):
        place[n] = len(made)
        origin.append(n)
        if n == 0:
            made.append(Twig(-1, "…" + visible(before[-14:], 14, " "), _("text")))
            continue
        p, total = math.exp(float(found.logprobs[n])), float(found.totals[n])
        label = f"{total:.2f}"
        tips = [f"{visible(found.texts[n])}   {_('id {id}').format(id=int(found.ids[n]))}", _("model: {p}").format(p=percent(p))]
        tips.append(_("whole path: ln p = {x}, p = {p}").format(x=number(total, 3), p=percent(math.exp(total))))
        if n in finished:
            score = found.sequences[finished[n]].score
            label = f"#{finished[n] + 1}  {score:.3f}"
            tips.append(_("finished: rank {n}, score {x}").format(n=finished[n] + 1, x=number(score, 4)))
        look = STRONG if n in finished else PALE if found.states[n] == DROPPED else PLAIN
        text = shown_text(found.texts[n], int(found.ids[n]))
        made.append(Twig(place[int(found.parents[n])], text, label, p, look, tuple(tips)))
    return made, origin


def _needed(found: BeamTree) -> set[int]:
    """Return the nodes that were in the beam or finished; each has its parent among them."""
    return {0, *(n for n in range(1, len(found.ids)) if found.states[n] != DROPPED)}


def beam_table(found: BeamTree) -> tuple[list[str], list[list[Any]]]:
    """Return the hypotheses, best first."""
    header = ["#", _("Score"), _("Text"), "ln p", _("Tokens"), _("Ended")]
    rows: list[list[Any]] = [
        [rank, one.score, one.text, one.logprob, len(one.token_ids), _("yes") if one.ended else _("length")]
        for rank, one in enumerate(found.sequences, start=1)
    ]
    return header, rows


def beam_facts(found: BeamTree) -> str:
    """Return how the search went, in one line."""
    kept = int((found.states != DROPPED).sum()) - 1
    text = _("{beams} beams · {steps} steps · {n} candidates, {kept} kept · {done} finished")
    done = int((found.states == FINISHED).sum())
    return text.format(beams=found.num_beams, steps=found.steps, n=len(found.ids) - 1, kept=kept, done=done)


def sample_table(samples: list[DrawnSample]) -> tuple[list[str], list[list[Any]]]:
    """Return the answers in the order of their seeds."""
    header = [_("Seed"), _("Text"), _("Tokens"), _("ln p per token"), _("Ended")]
    rows: list[list[Any]] = []
    for one in samples:
        n = len(one.token_ids)
        rows.append([one.seed, one.text, n, one.logprob / n if n else None, one.stop])
    return header, rows


def sample_facts(found: SampleStatistics, asked: int) -> str:
    """Return how much the answers differ, in one line."""
    if not found.n:
        return _("drawing…")
    first, second, third = (number(value, 2) for value in found.distinct)
    count = f"{found.n}" if found.n >= asked else f"{found.n} / {asked}"
    parts = [
        _("{n} answers").format(n=count),
        f"distinct-1/2/3 {first} / {second} / {third}",
        _("length {mean} ({low}–{high})").format(mean=number(found.mean_length, 1), low=found.shortest, high=found.longest),
        _("repetition {p}").format(p=percent(found.repetition)),
        _("{n} duplicates").format(n=found.n_duplicates),
        _("mean surprisal {x} nats").format(x=number(-found.mean_logprob, 2)),
    ]
    return " · ".join(parts)


def hand_facts(tree: Tree, found: SamplerChain | None) -> str:
    """Return what is known of the node that is looked at, in one line."""
    node, parts = tree.nodes[tree.current], []
    if tree.current:
        logprob = tree.logprob()
        parts.append(_("path: {n} tokens, ln p = {x}").format(n=len(tree.path()), x=number(logprob, 2).replace("-", "−")))
        parts.append(_("drawn with seed {n}").format(n=node.seed) if node.seed >= 0 else _("chosen by hand"))
    if found is not None:
        parts.append(_("entropy {h} {unit}").format(h=number(found.distribution.entropy, 2), unit="nats"))
    if node.banned:
        parts.append(_("{n} tokens may not follow").format(n=len(node.banned)))
    return " · ".join(parts)


def candidates(found: SamplerChain, tree: Tree) -> list[Bar]:
    """Return the most probable next tokens; those that the tree already goes on with are marked."""
    own = found.distribution
    there = {tree.nodes[n].id for n in tree.children(tree.current)}
    rows = []
    for id, text, p, after in zip(own.ids, own.texts, own.probabilities, own.sampled, strict=True):
        same = abs(float(p) - float(after)) < 1e-6
        left = percent(float(after)) if after else _("cut")
        label = percent(float(p)) if same else f"{percent(float(p))} → {left}"
        tip = (f"{visible(text)}   {_('id {id}').format(id=int(id))}", _("double click or Return: put it behind the text"))
        second = math.nan if same else float(after)
        rows.append(Bar(shown_text(text, int(id)), float(p), label, second, int(id) in there, tip, "" if same else left))
    return rows


def node_rows(name: str, tree: Tree) -> list[list[Any]]:
    """Return one row per node of a tree; node 0 is the text."""
    rows: list[list[Any]] = []
    for n, node in enumerate(tree.nodes):
        rows.append([name, n, node.parent, node.id, node.text, node.probability, node.sampled, tree.logprob(n), node.seed])
    return rows


def beam_rows(name: str, found: BeamTree) -> list[list[Any]]:
    """Return one row per candidate of a beam search."""
    states = {DROPPED: _("dropped"), FINISHED: _("finished")}
    rows: list[list[Any]] = []
    for n in range(1, len(found.ids)):
        values = [float(found.logprobs[n]), float(found.totals[n]), states.get(int(found.states[n]), _("kept"))]
        rows.append([name, n, int(found.parents[n]), int(found.ids[n]), found.texts[n], *values])
    return rows


def data(mode: str, named: list[tuple[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """Return header and rows of what a mode shows; ``named``: (column, tree, beam search or answers)."""
    head = [_("Column"), "#", _("Parent"), _("Id"), _("Token")]
    if mode == HAND:
        header = [*head, _("Probability"), _("After sampler"), _("ln p of the path"), _("Seed")]
        return header, [row for name, tree in named for row in node_rows(name, tree)]
    if mode == BEAMS:
        return [*head, "ln p", _("ln p of the path"), _("State")], [row for name, one in named for row in beam_rows(name, one)]
    header, _none = sample_table([])
    return [_("Column"), *header], [[name, *row] for name, one in named for row in sample_table(list(one.samples))[1]]
