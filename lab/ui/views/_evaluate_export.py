"""The menu "Export" of Evaluate: the matrix as a table for a paper or a page, and the runs as lm-eval writes them."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFileDialog, QMenu

from evals.export import latex, markdown
from lab.ui.view import Want
from lab.ui.widgets.figure import write_csv
from models.files import write_bytes
from models.words import _

if TYPE_CHECKING:
    from lab.ui.views.evaluate import EvaluateView

WRITERS: dict[str, Callable[..., str]] = {"md": markdown, "tex": latex}


def scores_command(paths: tuple[str, ...], more: tuple[str, ...], baseline: str) -> str:
    """Return the command that prints the scores in these folders, or with a baseline the differences from it.

    Args:
        paths: Folders of results; none for the usual ones.
        more: Folders besides.
        baseline: Name of a checkpoint, or empty.
    """
    besides = [word for folder in more for word in ("--more", folder)]
    asked = ["--baseline", baseline] if baseline else ["--scores"]
    return shlex.join(["triptych", "compare", *paths, *besides, *asked]) + "\n"


def scores_script(paths: tuple[str, ...], more: tuple[str, ...], baseline: str) -> str:
    """Return Python lines that read the scores in these folders and, with a baseline, the differences from it."""
    lines = [
        "from evals.results import cells, compare" if baseline else "from evals.results import cells",
        "from lab.places import result_folders", "", f"folders = result_folders({paths!r}, {more!r})",
        "for cell in cells(folders):",
        "    print(cell.checkpoint, cell.benchmark, cell.metric, cell.value, cell.low, cell.high, cell.n, cell.state)",
    ]  # fmt: skip
    if baseline:
        lines += [
            f"for row in compare(folders, {baseline!r}):",
            "    print(row.b, row.benchmark, row.metric, row.difference, row.low, row.high, row.p_adjusted, row.verdict)",
        ]
    return "\n".join([*lines, ""])


class ExportMenu:
    """Copies and saves what Evaluate shows."""

    def __init__(self, view: EvaluateView) -> None:
        self.view = view
        self.menu = QMenu(view)
        self.menu.setToolTipsVisible(True)
        self._asked: dict[str, Any] = {}
        self._serial = 0
        entries = (
            (_("Save as CSV…"), self._save_csv, _("One row per score, with interval, n, seed, signature and difference")),
            (_("Copy as Markdown"), self._copy_markdown, ""),
            (_("Save as Markdown…"), self._save_markdown, ""),
            (_("Copy as LaTeX"), self._copy_latex, _("A tabular of booktabs")),
            (_("Save as LaTeX…"), self._save_latex, _("A tabular of booktabs")),
            (_("Copy runs in lm-eval's layout…"), self._save_runs, _("Results and samples files, one folder per checkpoint")),
        )
        for text, slot, tip in entries:
            action = self.menu.addAction(text)
            action.setToolTip(tip or text)
            action.triggered.connect(slot)

    def text(self, kind: str) -> str:
        """Return the matrix on screen as Markdown (``md``) or LaTeX (``tex``)."""
        matrix = self.view.matrix()
        rows = self.view.scores.table.visible_rows() or list(matrix.rows)
        cells = [matrix.cells[row, name] for row in rows for name in matrix.checkpoints if (row, name) in matrix.cells]
        return WRITERS[kind](cells, matrix.checkpoints, list(matrix.comparisons.values()))

    def wants(self) -> list[Want]:
        """Return the request to copy runs, if there is one."""
        return [Want("export", "export_runs", self._asked, fresh=self._serial)] if self._asked else []

    def taken(self, value: Any) -> str:
        """Take the answer to it; return what to say."""
        self._asked = {}
        return _("{n} files written to {folder}.").format(n=len(value[1]), folder=value[0])

    def failed(self) -> None:
        """Ask no more."""
        self._asked = {}

    def copy_runs(self, folder: str) -> None:
        """Have the runs of the scores on screen copied into a folder."""
        runs = tuple(dict.fromkeys(cell.run for cell in self.view.matrix().cells.values() if cell.run and cell.metric))
        self._asked, self._serial = {"runs": runs, "folder": folder}, self._serial + 1
        self.view.changed.emit()

    def save(self, kind: str, path: str) -> None:
        """Write the matrix as ``csv``, ``md`` or ``tex`` and say so."""
        try:
            if kind == "csv":
                write_csv(path, *self.view.table())
            else:
                write_bytes(Path(path), self.text(kind).encode("utf-8", "replace"))
        except OSError as error:
            self.view.message.emit(_("Could not save {path}: {error}").format(path=path, error=error))
        else:
            self.view.message.emit(_("Saved {path}.").format(path=path))

    def _ask_path(self, kind: str) -> None:
        path, _filter = QFileDialog.getSaveFileName(self.view, _("Save"), f"scores.{kind}", f"*.{kind}")
        if path:
            self.save(kind, path)

    def _save_csv(self) -> None:
        self._ask_path("csv")

    def _save_markdown(self) -> None:
        self._ask_path("md")

    def _save_latex(self) -> None:
        self._ask_path("tex")

    def _copy_markdown(self) -> None:
        self._copy("md")

    def _copy_latex(self) -> None:
        self._copy("tex")

    def _copy(self, kind: str) -> None:
        QGuiApplication.clipboard().setText(self.text(kind))
        self.view.message.emit(_("Table copied."))

    def _save_runs(self) -> None:
        folder = QFileDialog.getExistingDirectory(self.view, _("Copy runs into a folder"))
        if folder:
            self.copy_runs(folder)
