"""Branches: continuations as a tree, grown by hand or searched by beams, and many answers at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from PySide6.QtWidgets import QFileDialog, QWidget

from lab.ui.view import Failure, View, Want
from lab.ui.views._branches_growth import Growth
from lab.ui.views._branches_panel import BranchPanel, data
from lab.ui.views._branches_tools import BEAMS, HAND, SAMPLES, BranchTools
from lab.ui.widgets.colors import scheme
from lab.ui.widgets.columns import ColumnView
from lab.ui.widgets.figure import add_menu
from lab.ui.widgets.panel import ColumnPanel
from lab.ui.widgets.text import shorten
from models.branches import Node, Saved, added, banned, load, removed, save
from models.columns import Column, Sampler
from models.errors import UserError
from models.records.chain import SamplerChain
from models.records.samples import DrawnSample, SampleSet
from models.words import _

TOP = 40
OPS = {HAND: "sampler_chain", BEAMS: "beams", SAMPLES: "draw_samples"}


class BranchesView(ColumnView):
    """One tree for each column, each with its own undo."""

    def __init__(self) -> None:
        super().__init__()
        self.grown: list[Growth] = []
        self._samples: dict[int, dict[int, DrawnSample]] = {}
        self._serial, self._active, self._row, self._own_text = 0, 0, -1, ""
        self._started: dict[str, dict[str, Any]] = {}
        self.set = BranchTools(self.tools)
        self.set.pressed.connect(self._on_pressed)
        self.set.changed.connect(self._on_changed)

    @property
    def main_slot(self) -> str:  # type: ignore[override]
        """The request that fills the panels in this mode."""
        return OPS[self.set.now()]

    # the view contract -----------------------------------------------------------------------------------------------
    def make_content(self, index: int) -> QWidget:
        """Build tree, bars and table of one column."""
        panel = BranchPanel()
        panel.tree.setAccessibleName(_("Tree of column {n}").format(n=index + 1))
        panel.bars.setAccessibleName(_("Next tokens of column {n}").format(n=index + 1))
        panel.table.setAccessibleName(_("Answers of column {n}").format(n=index + 1))
        panel.tree.chosen.connect(lambda node: self._on_node(index, node))
        panel.tree.activated.connect(lambda node: self._on_node(index, node))
        panel.tree.removed.connect(lambda node: self._on_removed(index, node))
        panel.tree.undone.connect(lambda: self._undo(index))
        panel.tree.redone.connect(lambda: self._redo(index))
        panel.bars.clicked.connect(lambda row: self._on_row(index, row))
        panel.bars.activated.connect(lambda row: self._on_token(index, row))
        for widget in (panel.tree, panel.bars, panel.table):
            self.offer_look(add_menu(widget, self.table, self.message.emit), index)
        return panel

    def set_columns(self, columns: tuple[Column, ...]) -> None:
        """Show these columns; the trees of those that did not change are kept."""
        old = dict(zip(self.columns, self.grown, strict=False))
        if columns and not self.columns:
            first = columns[0].sampler
            usual = f"temperature={first.temperature:g}" if first.temperature != 1 else ""
            self.set.set_chain(first.chain or usual)
        if columns != self.columns:
            self._started.clear()
            self.grown = [old.get(column) or Growth() for column in columns]
            self._active = min(self._active, max(len(columns) - 1, 0))
        super().set_columns(columns)

    def set_text(self, text: str) -> None:
        """Take a new text; its trees begin anew."""
        if text != self.text:
            self.grown = [Growth() for _column in self.columns]
            self._started.clear()
            self._own_text = ""
        super().set_text(text)

    def base(self) -> str:
        """Return the text that the trees grow from: the prompt bar's, or that of an opened file."""
        return self._own_text or self.text

    def wanted(self, index: int) -> Want | None:
        """Return what the mode needs of a column."""
        mode = self.set.now()
        if mode == HAND:
            tree = self.grown[index].tree
            column = self._column(index, tree.nodes[tree.current].banned)
            params = {"column": column, "text": self.base(), "path": tree.ids(), "top": TOP}
            return Want("sampler_chain", "sampler_chain", params, index)
        started = self._started.get(mode)
        if started is None:
            return None
        params = {
            "column": started["columns"][index], "text": self.base(), "path": started["paths"][index], **started["settings"]
        }  # fmt: skip
        return Want(OPS[mode], OPS[mode], params, index, streamed=mode == SAMPLES, fresh=started["serial"])

    def written(self, index: int) -> Mapping[str, Any] | None:
        """Return the path that is looked at, or the answer of the table's row."""
        content, paths = self.panels[index].content, self._paths()
        assert isinstance(content, BranchPanel)
        ids = content.chosen_ids(self.set.now(), paths[index] if index < len(paths) else (), self.answer(index))
        return {"ids": ids, "prompt": self.base()} if ids else None

    def extra_wants(self) -> list[Want]:
        """Return the runs of tokens that are being drawn."""
        wants = []
        for index, growth in enumerate(self.grown):
            if growth.asked:
                column = self._column(index, growth.banned, growth.length, growth.seed)
                params = {"column": column, "text": self.base(), "path": growth.before}
                wants.append(Want("grow", "grow", params, index, streamed=True, fresh=growth.asked))
        return wants

    def set_partial(self, want: Want, value: Any) -> None:
        """Add a drawn token, or a finished answer."""
        if want.slot == "grow" and want.column < len(self.grown) and self.grown[want.column].asked == want.fresh:
            self.grown[want.column].take(value)
        elif want.slot == "draw_samples" and isinstance(value, DrawnSample):
            self._samples.setdefault(want.column, {})[value.index] = value
        self.redraw_soon()

    def set_answer(self, want: Want, value: Any) -> None:
        """Keep an answer; a run is over."""
        if want.slot == "grow":
            self._end(want)
            return
        super().set_answer(want, value)

    def set_failure(self, want: Want, failure: Failure) -> None:
        """Show why there is no answer; a run is over."""
        if want.slot == "grow":
            self._end(want)
            if failure.kind != "cancelled":
                self.message.emit(f"{failure.what} {failure.hint}".strip())
            return
        super().set_failure(want, failure)

    def _end(self, want: Want) -> None:
        if want.column < len(self.grown) and self.grown[want.column].asked == want.fresh:
            self.grown[want.column].asked = 0
        self.progress.pop((want.slot, want.column), None)
        self.redraw_soon()

    def set_selection(self, selection: dict[str, Any]) -> None:
        """Look at the node that a path of tokens leads to, in the trees that have it."""
        path = selection.get("path")
        if not isinstance(path, list | tuple):
            return
        for growth in self.grown:
            node = 0
            for id in path:
                node = next((n for n in growth.tree.children(node) if growth.tree.nodes[n].id == id), -1)
                if node < 0:
                    break
            if node >= 0:
                growth.look_at(node)
        self.redraw_soon()

    def python(self) -> str:
        """Return the calls that give what the mode shows."""
        return self.set.calls(self._paths(), TOP)

    def command(self) -> tuple[str, ...]:
        """Return what the mode shows as a flag, for the path of the active column."""
        paths = self._paths()
        return self.set.flags(paths[self._active] if paths else (), TOP)

    def _paths(self) -> tuple[tuple[int, ...], ...]:
        """Return for each column the path that the mode's figure is about."""
        started = self._started.get(self.set.now())
        return tuple(started["paths"]) if started else tuple(growth.tree.ids() for growth in self.grown)

    def state(self) -> dict[str, Any]:
        """Return the settings; trees are saved as files."""
        return {**super().state(), **self.set.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        super().restore(state)
        self.set.restore(state)

    def demonstrate(self) -> None:
        """Draw some tokens, for a picture."""
        if self.text and self.columns:
            self._run(self.set.length.value())

    # drawing ---------------------------------------------------------------------------------------------------------
    def redraw(self) -> None:
        """Draw the panels and enable what can be done."""
        super().redraw()
        busy = any(growth.asked for growth in self.grown)
        growth = self.grown[self._active] if self.grown else Growth()
        states = {
            "step": not busy, "more": not busy, "ban": self._candidate() is not None, "undo": bool(growth.past),
            "redo": bool(growth.future), "save": any(len(one.tree.nodes) > 1 for one in self.grown), "open": True,
        }  # fmt: skip
        for name, button in self.set.buttons.items():
            button.setEnabled(bool(self.columns and self.text) and states.get(name, True))

    def ready(self, panel: ColumnPanel, index: int) -> bool:
        """Return whether a column can be drawn; if not, its panel says why."""
        if self.text and self.set.now() != HAND and not self._started.get(self.set.now()):
            panel.show_message(_("Nothing was asked for yet."), _("Set what you want above, then press the button at its right."))
            return False
        if self.main_slot == "draw_samples" and self._samples.get(index) and self.answer(index) is None:
            return True
        return super().ready(panel, index)

    def draw(self, panel: ColumnPanel, index: int) -> None:
        """Draw one column."""
        content, mode, found = panel.content, self.set.now(), self.answer(index)
        assert isinstance(content, BranchPanel)
        content.set_mode(mode)
        content.tree.color = content.bars.color = scheme(self.palette()).columns[index % 4]
        if mode == HAND:
            panel.note.set_whole(shorten(found.distribution.note, 200))
            content.show_hand(self.grown[index].tree, found, self.base())
            return
        panel.note.set_whole(shorten(found.receipt, 200) if found is not None else "")
        if mode == BEAMS:
            content.show_beams(found, self.set.dropped.isChecked(), self.base())
            return
        part = self._samples.get(index, {})
        samples = list(found.samples) if isinstance(found, SampleSet) else [part[n] for n in sorted(part)]
        content.show_samples(samples, self._started[SAMPLES]["settings"]["n"])

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return the nodes of the trees, the candidates of the beams, or the answers."""
        names, mode = [column.name for column in self.columns], self.set.now()
        shown = [growth.tree for growth in self.grown] if mode == HAND else [self.answer(i) for i in range(len(names))]
        return data(mode, [(name, one) for name, one in zip(names, shown, strict=False) if one is not None])

    # slots -----------------------------------------------------------------------------------------------------------
    def _column(self, index: int, bans: tuple[int, ...] = (), length: int = 0, seed: int = -1) -> Column:
        """Return a column with the sampler of the controls, and with tokens banned."""
        return replace(self.columns[index], sampler=self.set.sampler(bans, length, seed))

    def _candidate(self) -> tuple[int, Node] | None:
        """Return (column, node) of the bar that is chosen."""
        found = self.answer(self._active, "sampler_chain") if self.columns else None
        if self.set.now() != HAND or not isinstance(found, SamplerChain) or not 0 <= self._row < len(found.distribution.ids):
            return None
        if found.path != self.grown[self._active].tree.ids():
            return None
        own, row = found.distribution, self._row
        node = Node(
            id=int(own.ids[row]), text=own.texts[row], probability=min(float(own.probabilities[row]), 1.0),
            sampled=min(float(own.sampled[row]), 1.0),
        )  # fmt: skip
        return self._active, node

    def _on_changed(self) -> None:
        self.redraw_soon()
        self.changed.emit()

    def _on_pressed(self, name: str) -> None:
        actions: dict[str, Callable[[], None]] = {
            "step": lambda: self._run(1), "more": lambda: self._run(self.set.length.value()), "ban": self._ban,
            "undo": lambda: self._undo(self._active), "redo": lambda: self._redo(self._active), "save": self._save,
            "open": self._open, "search": self._search, "draw_many": self._draw_many,
        }  # fmt: skip
        actions[name]()

    def _run(self, length: int) -> None:
        """Draw tokens behind the node that each column looks at; every run of a tree has a seed of its own."""
        for growth in self.grown:
            self._serial += 1
            growth.begin(self._serial, length, self.set.seed.value() + len(growth.tree.nodes) - 1)
        self._on_changed()

    def _search(self) -> None:
        self._start(BEAMS, self.set.beam_settings())

    def _draw_many(self) -> None:
        self._samples.clear()
        self._start(SAMPLES, {"n": self.set.count.value()})

    def _start(self, mode: str, settings: dict[str, Any]) -> None:
        self._serial += 1
        columns = [self._column(i) for i in range(len(self.columns))]
        if mode == BEAMS:
            columns = [replace(column, sampler=Sampler()) for column in columns]
        paths = [growth.tree.ids() for growth in self.grown]
        self._started[mode] = {"settings": settings, "columns": columns, "paths": paths, "serial": self._serial}
        for key in [key for key in self.answers if key[0] == OPS[mode]]:
            del self.answers[key]
        self._on_changed()

    def _on_node(self, index: int, node: int) -> None:
        self._active = index
        if self.set.now() == HAND and node < len(self.grown[index].tree.nodes):
            self.grown[index].look_at(node)
            self._row = -1
            self.selected.emit({"path": list(self.grown[index].tree.ids()), "position": -1})
            self._on_changed()

    def _on_removed(self, index: int, node: int) -> None:
        self._active = index
        if self.set.now() == HAND and not self.grown[index].asked:
            self.grown[index].change(removed(self.grown[index].tree, node))
            self._on_changed()

    def _on_row(self, index: int, row: int) -> None:
        self._active, self._row = index, row
        self.redraw_soon()

    def _on_token(self, index: int, row: int) -> None:
        """Put the token of a bar behind the node that is looked at."""
        self._active, self._row = index, row
        chosen = self._candidate()
        if chosen is None:
            return
        growth = self.grown[index]
        try:
            growth.change(added(growth.tree, growth.tree.current, chosen[1]))
        except UserError as error:
            self.message.emit(f"{error.what} {error.hint}")
        self._row = -1
        self.selected.emit({"path": list(growth.tree.ids()), "position": -1})
        self._on_changed()

    def _ban(self) -> None:
        chosen = self._candidate()
        if chosen is not None:
            growth = self.grown[chosen[0]]
            growth.change(banned(growth.tree, growth.tree.current, chosen[1].id))
            self._row = -1
            self._on_changed()

    def _undo(self, index: int) -> None:
        self.grown[index].undo()
        self._on_changed()

    def _redo(self, index: int) -> None:
        self.grown[index].redo()
        self._on_changed()

    def _save(self) -> None:
        path, _kind = QFileDialog.getSaveFileName(self, _("Save all trees as a file"), "branches.json", "JSON (*.json)")
        if path:
            self.save_to(Path(path))

    def save_to(self, path: Path) -> None:
        """Write all trees to a file; what goes wrong is said in the status bar."""
        names = tuple(column.name for column in self.columns)
        try:
            save(path, Saved(self.base(), -1, self.set.chain_text(), names, tuple(growth.tree for growth in self.grown)))
        except UserError as error:
            self.message.emit(f"{error.what} {error.hint}".strip())
        else:
            self.message.emit(_("Saved {path}.").format(path=path))

    def _open(self) -> None:
        path, _kind = QFileDialog.getOpenFileName(self, _("Open trees that were saved"), "", "JSON (*.json)")
        if path:
            self.open_from(Path(path))

    def open_from(self, path: Path) -> None:
        """Show the trees of a file, with the text that they grew from; what goes wrong is said in the status bar."""
        try:
            saved = load(path)
        except UserError as error:
            self.message.emit(f"{error.what} {error.hint}".strip())
            return
        self._own_text = "" if saved.text == self.text else saved.text
        self.set.set_chain(saved.chain)
        for growth, tree in zip(self.grown, saved.trees, strict=False):
            growth.change(tree)
        other = [name for name, column in zip(saved.checkpoints, self.columns, strict=False) if name != column.name]
        if other:
            self.message.emit(_("These trees were grown by {names}.").format(names=", ".join(saved.checkpoints)))
        self._on_changed()


def _title() -> str:
    return _("Branches")


def _tip() -> str:
    return _("Continuations as a tree: grown by hand, searched by beams, or many answers at once")


VIEW = View("branches", 45, _title, _tip, BranchesView)
