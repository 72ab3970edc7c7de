"""The Embeddings view's panels: points with their looks, arrows of what moved, the list below."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QRectF

from lab.ui.views import _embeddings_asking as asking
from lab.ui.views import _embeddings_looks as looks
from lab.ui.views._embeddings_lists import analogy_bars, arithmetic, drift_bars, drift_title, neighbour_bars
from lab.ui.widgets.colors import scheme
from lab.ui.widgets.panel import ColumnPanel
from lab.ui.widgets.point_layer import Layer
from lab.ui.widgets.point_set import PointSet
from lab.ui.widgets.points_panel import PointsPanel
from lab.ui.widgets.text import number, visible
from models.records.embeddings import Analogy, Drift, Neighbours, PositionTable, overlap
from models.words import _

if TYPE_CHECKING:
    from lab.ui.views.embeddings import EmbeddingsView

MOST_MARKS = 200
MOST_ARROWS = 200
NO_NUMBERS = ("pacmap", "tsne", "umap")


def draw_points(view: EmbeddingsView, content: PointsPanel, indexes: tuple[int, ...], whole: QRectF) -> None:
    """Draw the points of one column, or of two on top of each other, with rings, labels and arrows."""
    first = view.sets[indexes[0]]
    colors = scheme(view.palette())
    names = (str(view.controls.colour.currentData() or ""), str(view.controls.size.currentData() or ""))
    versions = tuple(part for n in indexes for part in (
        id(view.sets[n]), view.sets[n].version, _mark(view.picks.picked.get(n)), _mark(view.picks.shown.get(n))))  # fmt: skip
    moved_to = content.scatter.range() if content.scatter.layers else None
    if content.is_new(*versions, names, colors.background, indexes):
        sets = [view.sets[n] for n in view.sets]
        layers = []
        for n in indexes:
            layer = Layer(view.sets[n], colors.columns[n % 4], pale=colors.line)
            layer.picked, layer.shown = view.picks.picked.get(n), view.picks.shown.get(n)
            if len(indexes) == 1:  # in a difference the colour says which column it is
                looks.colour(layer, names[0], looks.scale_of(sets, names[0]), colors)
            looks.resize(layer, names[1], looks.scale_of(sets, names[1]))
            layers.append(layer)
        content.scatter.set_layers(layers)
    if moved_to is None or moved_to != whole:
        content.scatter.set_range(whole)
    x, y = (*first.facts.axes, "", "")[:2]
    content.scatter.set_axes(_titles(first, (x, y)), first.facts.method not in NO_NUMBERS)
    _draw_marks(view, content, indexes)


def say_why_not(view: EmbeddingsView, panel: ColumnPanel, index: int) -> bool:
    """Return whether there are points; if not, the panel says why, how far they are, or what to do."""
    want, failed = view.plane_want(), view.failures.get(("project", -1))
    if want is None:
        if view.projected is not None:
            panel.show_message(_("No text yet."), _("Hidden states are those of the text in the prompt bar."))
        else:
            panel.show_message(_("Nothing is projected yet."), _("Choose the rows above and press Project."))
        return False
    if failed is not None and failed[0] == want:
        if failed[1].kind == "cancelled":
            panel.show_message(_("Stopped."), _("Choose the rows above and press Project."))
            return False
        colors = scheme(view.palette())
        tint = colors.bad if failed[1].kind == "bug" else colors.warn
        panel.show_message(failed[1].what, failed[1].hint, failed[1].details, tint)
        return False
    if want != view._sets_of or index not in view.sets or not view.sets[index].n_there:
        progress = view.progress.get(("project", -1))
        share = f" {100 * progress.done / progress.total:.0f} %" if progress and progress.total > 0 else ""
        panel.busy.set_share(progress.done / progress.total if progress and progress.total > 0 else 2.0)
        panel.show_message(_("Projecting…"), f"{progress.what}{share}" if progress else "")
        return False
    return True


def _mark(mask: np.ndarray | None) -> int:
    return 0 if mask is None else id(mask)


def _titles(points: PointSet, axes: tuple[str, str]) -> tuple[str, str]:
    shares = [f" · {100 * share:.1f} %" for share in points.explained[:2]] + ["", ""]
    return f"{axes[0]}{shares[0]}", f"{axes[1]}{shares[1]}"


def _draw_marks(view: EmbeddingsView, content: PointsPanel, indexes: tuple[int, ...]) -> None:
    index = indexes[0]
    found = asking.shown_list(view, index)
    marks: list[int] = list(view.picks.hits.get(index, ()))[:MOST_MARKS] if view.picks.picked else []
    starts = ends = np.zeros((0, 2), np.float32)
    if isinstance(found, Drift):
        places = found.places[:MOST_ARROWS]
        origin = view.difference.pair() or (0, index)
        if origin[0] in view.sets and view.sets[origin[0]].complete:
            starts, ends = view.sets[origin[0]].xy[places[:, 0]], view.sets[index].xy[places[:, 1]]
        marks = marks or places[:12, 1].tolist()
    elif isinstance(found, Neighbours) and found.places is not None:
        marks = marks or found.places.tolist()
    elif isinstance(found, Analogy):
        marks = marks or found.ids.tolist()
    content.scatter.set_marks(marks, view.place(index))
    content.scatter.set_arrows(starts, ends)


def draw_list(view: EmbeddingsView, content: PointsPanel, index: int) -> None:
    """Draw the list below a plane; or say why there is none."""
    content.bars.color = scheme(view.palette()).columns[index % 4]
    rows, _plane = view.asked_now()
    table = view.answer(index, "positions")
    if rows.source == "positions" and isinstance(table, PositionTable) and view.chosen is None:
        _draw_table(content, table)
        return
    content.show_bars()
    found = asking.shown_list(view, index)
    if isinstance(found, Drift):
        content.title.set_whole(drift_title(found))
        content.bars.set_bars(drift_bars(found, view.controls.rows.metric.currentData() == "cosine"), 1.0)
    elif isinstance(found, Analogy):
        content.title.set_whole(arithmetic(found))
        content.bars.set_bars(analogy_bars(found), 1.0)
    elif isinstance(found, Neighbours):
        other = asking.shown_list(view, 0) if index else None
        text = _("Nearest to {token} ({metric})")
        box = view.controls.rows.metric
        text = text.format(token=visible(found.query), metric=box.itemText(box.findData(found.metric)))
        if isinstance(other, Neighbours):
            kept = _("{n:.0%} as in {name}").format(n=overlap(other, found), name=view.columns[0].name)
            text = f"{text} · {kept}"
        content.title.set_whole(text)
        content.bars.set_bars(neighbour_bars(found, other if isinstance(other, Neighbours) else None), 1.0)
    else:
        content.title.set_whole(_why_no_list(view, index))
        content.bars.set_bars([], 1.0)


def _why_no_list(view: EmbeddingsView, index: int) -> str:
    kind = asking.list_kind(view)
    rows, _plane = view.asked_now()
    slot = (f"drift/{index}", -1) if kind == "drift" else (kind, index)
    failed = view.failures.get(slot)
    wanted = asking.listed(view, index) if kind != "drift" else next((w for w in asking.moved(view) if w.slot == slot[0]), None)
    if failed is not None and failed[0] == wanted:
        return f"{failed[1].what} {failed[1].hint}".strip()
    if kind == "drift":
        if len(view.columns) < 2:
            return _("Open a second column to see what moved.")
        if not index:
            return _("The other columns are compared with this one.")
        progress = view.progress.get(slot)
        share = f" {100 * progress.done / progress.total:.0f} %" if progress and progress.total > 0 else ""
        return _("Comparing…") + share
    if kind == "analogy":
        if rows.source not in asking.TABLES:
            return _("Sums are of rows of the embedding tables.")
        return _("Working…") if wanted else _("Write a sum of words above, such as king - man + woman.")
    if wanted is not None:
        return _("Working…")
    if view.chosen is not None and view.place(index) < 0:
        return _("{token} is not among these points.").format(token=visible(view.chosen[1]))
    return _("Click a point, or find a token, to see its neighbours.")


def _draw_table(content: PointsPanel, table: PositionTable) -> None:
    """Draw a positional table as colours: for rotary angles their cosine, so that a turn is a turn."""
    values = np.cos(table.values) if table.kind == "rotary" else table.values
    top = float(np.nanmax(np.abs(values), initial=1e-9))
    content.table.set_matrix(values.T.astype(np.float32), -top, top, signed=True)
    names = [f"λ {wave:.3g}" for wave in table.wavelengths.tolist()] or [str(n) for n in range(values.shape[1])]
    content.table.set_labels(names, [str(n) for n in range(values.shape[0])])
    titles = {
        "rotary": _("Rotary: cosine of the angle of each pair of dimensions (down, with its wavelength) at each position"),
        "learned": _("Learned table: dimensions (down) by positions"),
        "sinusoidal": _("Sinusoidal table: dimensions (down) by positions"),
        "relative": _("Relative bias: heads (down) by buckets of distance"),
    }
    content.title.set_whole(titles[table.kind])
    content.show_table()


def note_of(view: EmbeddingsView, index: int) -> str:
    """Return what stands beside a column's name: how many points, how many are selected, and how they were made."""
    points = view.sets[index]
    counted = _("{n} points").format(n=f"{len(points):,}")
    if not points.complete:
        counted = _("{n} of {all} points").format(n=f"{points.n_there:,}", all=f"{len(points):,}")
    picked = view.picks.n_picked(index)
    chosen = _("{n} selected").format(n=f"{picked:,}") if picked else ""
    shown = view.picks.shown.get(index)
    alone = _("{n} shown").format(n=f"{int(shown.sum()):,}") if shown is not None else ""
    return " · ".join(part for part in (counted, chosen, alone, points.facts.note) if part)


def hover_text(points: PointSet, place: int) -> list[str]:
    """Return the lines of the tool tip of a point."""
    lines = [visible(points.labels[place], 200) or "∅", _("id {id}").format(id=int(points.ids[place])),
             f"{_('Norm')} {number(float(points.norms[place]))}", looks.kind_names()[int(points.kinds[place])]]  # fmt: skip
    for name, held in points.values.items():
        value = float(held.values[place])
        lines.append(f"{name} {held.names[int(value)] if held.names and value == value else number(value)}")
    return lines
