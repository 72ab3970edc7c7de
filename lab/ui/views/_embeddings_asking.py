"""What the Embeddings view asks of the engine, and how its answers are written down again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lab.ui.view import Want
from lab.ui.views import _embeddings_looks as looks
from lab.ui.views._embeddings_more import mask_of, runs_of
from lab.ui.views._embeddings_select import Picks
from lab.ui.widgets.point_set import PointSet
from models.records.arrays import Array
from models.records.embeddings import Analogy, Drift, Neighbours, PlaneAsked, RowsAsked, terms
from models.words import _

if TYPE_CHECKING:
    from lab.ui.views.embeddings import EmbeddingsView

N_NEIGHBOURS = 15
N_MOVED = 200
TABLES = ("input", "output")


def list_kind(view: EmbeddingsView) -> str:
    """Return what is listed below the planes: in a difference always what moved."""
    return "drift" if view.difference.pair() else str(view.controls.rows.list.currentData())


def listed(view: EmbeddingsView, index: int) -> Want | None:
    """Return the request for the list of one column: neighbours of the chosen point, or of a sum."""
    points, kind = view.sets.get(index), list_kind(view)
    if points is None or not points.complete or view.projected is None:
        return None
    rows, _plane = view.asked_now()
    metric = view.controls.rows.metric.currentData()
    if kind == "analogy" and rows.source in TABLES:
        plus, minus = terms(view.controls.words.text())
        if not plus:
            return None
        params = {
            "column": view.columns[index], "plus": plus, "minus": minus, "metric": metric, "k": N_NEIGHBOURS,
            "source": rows.source, "exclude": not view.controls.with_inputs.isChecked(),
        }  # fmt: skip
        return Want("analogy", "analogy", params, index)
    place = view.place(index)
    if kind != "neighbours" or view.chosen is None:
        return None
    if place < 0 and rows.source not in TABLES:
        return None
    token: int | str = place if place >= 0 else view.chosen[1]
    if rows.source in TABLES and place >= 0:
        token = int(points.ids[place])
    params = {"column": view.columns[index], "token": token, "metric": metric, "k": N_NEIGHBOURS, "rows": rows}
    return Want("neighbours", "neighbours", params, index)


def parts(view: EmbeddingsView) -> list[Want]:
    """Return the requests for the points that are on screen, part by part."""
    if view._sets_of is None or view._sets_of != view.plane_want():
        return []
    found = []
    for index in view.asked():
        facts = view.sets[index].facts
        for start in range(0, facts.n_points, facts.part):
            params = {**view._sets_of.params, "index": index, "start": start, "count": facts.part}
            found.append(Want(f"points/{index}/{start}", "points", params))
    return found


def coloured(view: EmbeddingsView) -> list[Want]:
    """Return the requests for numbers to colour or size by that are not known with the points."""
    if view._sets_of is None or view._sets_of != view.plane_want():
        return []
    rows, plane = view.asked_now()
    found = []
    for name in {str(box.currentData() or "") for box in (view.controls.colour, view.controls.size)} - set(looks.KNOWN):
        for index in view.asked():
            facts = view.sets[index].facts
            for start in range(0, facts.n_points, 4 * facts.part):
                params = {
                    "columns": view.columns, "rows": rows, "index": index, "name": name, "align": plane.align, "start": start,
                    "text": view.text if name in ("frequency", "score") else "", "count": 4 * facts.part,
                }  # fmt: skip
                found.append(Want(f"values/{name}/{index}/{start}", "point_values", params))
    return found


def moved(view: EmbeddingsView) -> list[Want]:
    """Return the requests for what moved: from the first column of a difference to its second, or to every other."""
    if list_kind(view) != "drift" or view.projected is None or view._sets_of is None:
        return []
    rows, plane = view.asked_now()
    pair = view.difference.pair()
    pairs = [pair] if pair else [(0, index) for index in range(1, len(view.columns))]
    metric = view.controls.rows.metric.currentData()
    return [
        Want(f"drift/{b}", "drift", {"columns": (view.columns[a], view.columns[b]), "rows": rows, "align": plane.align,
                                     "metric": metric, "top": N_MOVED})
        for a, b in pairs
    ]  # fmt: skip


def others(view: EmbeddingsView) -> list[Want]:
    """Return the requests for tables of positions, and for files of vectors."""
    found = []
    rows, _plane = view.asked_now()
    if rows.source == "positions":
        found += [Want("positions", "positions", {"column": view.columns[n]}, n) for n in view.asked()]
    if view.export_folder:
        params = {"columns": tuple(view.columns[n] for n in view.asked()), "rows": rows, "folder": view.export_folder}
        found.append(Want("export", "export_vectors", params, fresh=view._exports))
    return found


def place_of_row(view: EmbeddingsView, index: int, row: int) -> int:
    """Return the point that a row of the list stands for, -1 for none."""
    found: Any = shown_list(view, index)
    points = view.sets.get(index)
    if found is None or points is None or row >= len(found.labels if isinstance(found, Drift) else found.ids):
        return -1
    if isinstance(found, Drift):
        return int(found.places[row, 1])
    if isinstance(found, Neighbours) and found.places is not None:
        return int(found.places[row])
    return points.find(int(found.ids[row]), found.texts[row])


def shown_list(view: EmbeddingsView, index: int) -> Neighbours | Analogy | Drift | None:
    """Return the list that is shown below a column's plane."""
    kind = list_kind(view)
    if kind == "drift":
        held = view.answers.get((f"drift/{index}", -1))
        wanted = {want.slot: want for want in moved(view)}
        return held[1] if held is not None and held[0] == wanted.get(f"drift/{index}") else None
    held = view.answers.get((kind, index))
    return held[1] if held is not None and held[0] == listed(view, index) else None


def masks_to(picks: Picks) -> dict[str, Any]:
    """Return selection and shown points as JSON values."""
    both = (("picked", picks.picked), ("shown", picks.shown))
    return {name: {str(index): runs_of(mask) for index, mask in masks.items()} for name, masks in both}


def masks_from(state: Mapping[str, Any], sets: dict[int, PointSet]) -> tuple[dict[int, Array], dict[int, Array]]:
    """Return what ``masks_to`` wrote, for the columns that there are."""
    found: list[dict[int, Array]] = []
    for name in ("picked", "shown"):
        held = state.get(name)
        there = held if isinstance(held, Mapping) else {}
        masks = {index: mask_of(there.get(str(index)), len(points)) for index, points in sets.items()}
        found.append({index: mask for index, mask in masks.items() if mask is not None})
    return found[0], found[1]


def table(view: EmbeddingsView) -> tuple[list[str], list[list[Any]]]:
    """Return one row per column and point."""
    header = [_("Column"), _("Id"), _("Token"), "x", "y", _("Norm"), _("Kind of token")]
    kinds = looks.kind_names()
    found: list[list[Any]] = []
    for index in view.asked():
        points = view.sets.get(index)
        if points is not None:
            name = view.columns[index].name
            values = zip(points.ids.tolist(), points.labels, points.xy.tolist(), points.norms.tolist(), points.kinds.tolist(),
                         strict=True)  # fmt: skip
            found += [[name, id, label, xy[0], xy[1], norm, kinds[kind]] for id, label, xy, norm, kind in values]
    return header, found


def _named(rows: RowsAsked, plane: PlaneAsked) -> str:
    """Return the fields that are not the usual ones, as keyword arguments; the prompt is called TEXT."""
    usual_rows, usual_plane, words = RowsAsked(), PlaneAsked(), []
    for record, usual in ((rows, usual_rows), (plane, usual_plane)):
        for name, value in vars(record).items():
            if name != "method" and value != getattr(usual, name):
                words.append(f"{name}=TEXT" if name == "text" else f"{name}={value!r}")
    return "".join(f", {word}" for word in words)


def python(view: EmbeddingsView) -> str:
    """Return lines that compute the points, and the list below them."""
    if view.plane_want() is None:
        return ""
    rows, plane = view.asked_now()
    several = ", together=list(checkpoints.values())" if len(view.columns) > 1 else ""
    lines = [
        f"    points = checkpoint.project({plane.method!r}{several}{_named(rows, plane)})",
        "    print(name, points.xy.shape, points.note)",
    ]
    metric, own = view.controls.rows.metric.currentData(), _named(rows, PlaneAsked())
    found = shown_list(view, view.drawn(view.asked()[0]))
    if isinstance(found, Analogy):
        plus, minus = terms(view.controls.words.text())
        exclude = "" if found.excluded else ", exclude=False"
        lines.append(f"    near = checkpoint.analogy({list(plus)!r}, {list(minus)!r}, k={N_NEIGHBOURS}, metric={metric!r}, "
                     f"source={rows.source!r}{exclude})")  # fmt: skip
    elif isinstance(found, Neighbours):
        want = listed(view, view.asked()[0])
        token = want.params["token"] if want is not None else 0
        lines.append(f"    near = checkpoint.neighbours({token!r}, k={N_NEIGHBOURS}, metric={metric!r}{own})")
    if isinstance(found, Analogy | Neighbours):
        lines += ["    for text, score in zip(near.texts, near.scores):", '        print(f"  {text!r:20} {score:8.4f}")']
    elif list_kind(view) == "drift" and len(view.columns) > 1:
        pair = view.difference.pair()
        first = pair[0] if pair else 0
        lines += [
            f"    since = list(checkpoints.values())[{first}]",
            f"    moved = checkpoint.drift(since, align={plane.align!r}, metric={metric!r}, top={N_MOVED}{own})",
            "    for text, far in zip(moved.labels, moved.distance):", '        print(f"  {text!r:20} {far:8.4f}")',
        ]  # fmt: skip
    return "\n".join(lines) + "\n"


def command(view: EmbeddingsView) -> tuple[str, ...]:
    """Return the flags of ``triptych inspect`` that print the points, and the list below them."""
    if view.plane_want() is None:
        return ()
    rows, plane = view.asked_now()
    flags = ["--projection", plane.method, "--rows", ":".join([rows.source, str(rows.layer), rows.place])]
    settings = plane_words(plane)
    flags += ["--plane", settings] if settings else []
    flags += ["--texts", rows.file] if rows.file else []
    for column in view.columns if len(view.columns) > 1 else ():
        flags += ["--together", column.checkpoint]
    flags += ["--metric", str(view.controls.rows.metric.currentData())]
    found = shown_list(view, view.drawn(view.asked()[0]))
    if isinstance(found, Analogy):
        flags += ["--analogy", view.controls.words.text(), "--top", str(N_NEIGHBOURS)]
        flags += [] if found.excluded else ["--with-inputs"]
    elif isinstance(found, Neighbours):
        want = listed(view, view.asked()[0])
        token = want.params["token"] if want is not None else 0
        flags += ["--neighbours", f"#{token}" if isinstance(token, int) else token, "--top", str(N_NEIGHBOURS)]
    elif isinstance(found, Drift):
        pair = view.difference.pair()
        flags += ["--drift", view.columns[pair[0] if pair else 0].checkpoint, "--top", str(N_MOVED)]
    return tuple(flags)


def plane_words(plane: PlaneAsked) -> str:
    """Return the settings that are not the usual ones as ``name=value;…``, as ``--plane`` reads them."""
    usual, words = PlaneAsked(), []
    for name, value in vars(plane).items():
        if name == "method" or value == getattr(usual, name):
            continue
        if name == "axes":
            value = "|".join(",".join(end) for end in value)
        elif name == "components":
            value = ",".join(str(n) for n in value)
        words.append(f"{name}={value}")
    return ";".join(words)
