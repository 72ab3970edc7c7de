"""Small parts of the window: palette, models, settings, forms, exports, times."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel

from lab.settings import Settings, load
from lab.ui.actions import ACTIONS, MENUS, SECOND_SHORTCUTS
from lab.ui.column_form import ColumnForm
from lab.ui.export import save_picture, save_table
from lab.ui.formats import count, duration, size
from lab.ui.jobs_panel import JobsPanel, command_line, time_left
from lab.ui.open_dialog import forecast
from lab.ui.palette import matches, plain
from lab.ui.rail import lineage_rows, run_rows
from lab.ui.store import Store, column_from_json, column_to_json
from lab.ui.tables import CHECKPOINT_MIME, ROW, Row, TreeModel
from lab.ui.view import ViewWidget
from models.columns import Column, Sampler
from models.errors import UserError
from models.records.checkpoints import CheckpointRef, Description, Lineage
from models.records.scores import Job


def test_the_palette_finds_by_words_in_any_order_and_puts_beginnings_first() -> None:
    names = ["Save picture of view …", "&Open checkpoint …", "Theme: dark", "Copy picture of view"]
    assert [names[i] for i in matches("pic view", names)] == ["Save picture of view …", "Copy picture of view"]
    assert matches("open", names) == [1]
    assert matches("xyz", names) == []
    assert len(matches("", names)) == len(names)
    assert plain("&Open checkpoint …") == "Open checkpoint"


def test_no_two_actions_share_an_id_or_a_shortcut() -> None:
    ids = [spec.id for spec in ACTIONS]
    keys = [spec.shortcut for spec in ACTIONS if spec.shortcut] + list(SECOND_SHORTCUTS.values())
    assert len(set(ids)) == len(ids)
    assert len(set(keys)) == len(keys)
    assert {spec.menu for spec in ACTIONS} <= {name for name, _title in MENUS} | {""}


def outline(model: TreeModel, parent: Any = None, depth: int = 0) -> list[str]:
    lines = []
    for number in range(model.rowCount(parent) if parent is not None else model.rowCount()):
        index = model.index(number, 0, parent) if parent is not None else model.index(number, 0)
        row = index.data(ROW)
        lines.append("  " * depth + row.text + (f" [{row.badge}]" if row.badge else "") + (" !" if row.error else ""))
        lines += outline(model, index, depth + 1)
    return lines


def test_the_rail_draws_lineages_with_stages_and_broken_ones() -> None:
    refs = (CheckpointRef("base", "/b", "pretrain"), CheckpointRef("bad", "/x", error="no config.json"))
    rows = lineage_rows([Lineage("Demo", "/d", refs), Lineage("Empty", "/e")])
    assert outline(TreeModel(rows)) == ["Demo", "  base [pretrain]", "  bad !", "Empty", "  no checkpoints here"]
    assert outline(TreeModel(lineage_rows([Lineage("Demo", "/d", refs)], "BASE"))) == ["Demo", "  base [pretrain]"]


def test_the_tree_model_is_sound(qtmodeltester: Any) -> None:
    model = TreeModel([Row("a", "A", "lineage", children=(Row("b", "B", "checkpoint", path="/b"),)), Row("c", "C", "note")])
    qtmodeltester.check(model)
    index = model.index_of("b")
    assert index.data(ROW).path == "/b"
    assert index.parent().data(ROW).id == "a"
    assert bytes(model.mimeData([index]).data(CHECKPOINT_MIME).data()) == b"/b"
    assert not model.index_of("nothing").isValid()
    assert not model.flags(model.index_of("c")) & Qt.ItemFlag.ItemIsSelectable


def job(**changes: Any) -> Job:
    base = Job("1", "/runs/1", "train", "SFT", "running", 25, 100, "step 25", 1000.0, 50.0, ("triptych", "train", "a b.yaml"))
    return dataclasses.replace(base, **changes)


def test_time_left_and_the_command_of_a_job() -> None:
    assert time_left(job(), now=1050.0) == pytest.approx(150.0)
    assert time_left(job(state="done"), now=1050.0) == 0
    assert time_left(job(done=0), now=1050.0) == 0
    assert command_line(job()) == "triptych train 'a b.yaml'"


def test_jobs_are_listed_with_those_alive_first(qtbot: Any) -> None:
    panel = JobsPanel()
    qtbot.addWidget(panel)
    with qtbot.waitSignal(panel.count_changed) as alive:
        old, new = job(id="old", state="done", started=1.0), job(id="new", state="failed", started=9.0, error="no disk")
        panel.set_jobs((old, new, job()))
    assert alive.args == [1]
    assert [row.job.id for row in panel.rows if row.job] == ["1", "new", "old"]
    assert "no disk" in panel.rows[1].state.text()
    assert not panel.rows[1].stop.isVisibleTo(panel)
    with qtbot.waitSignal(panel.stop_requested) as stopped:
        panel.rows[0].stop.click()
    assert stopped.args == ["1"]
    rows = list(panel.rows)
    panel.set_jobs((job(done=50),))
    assert panel.rows == rows
    assert [row.isVisibleTo(panel) for row in panel.rows] == [True, False, False]
    assert run_rows([job()])[0].badge == "running"


def test_a_job_that_stopped_is_resumed_once(qtbot: Any) -> None:
    panel = JobsPanel()
    qtbot.addWidget(panel)
    stopped = job(state="crashed", command=("triptych", "eval", "ckpt", "--output-path", "/runs/1"))
    panel.set_jobs((stopped, job(id="2", state="done")))
    asked: list[Any] = []
    panel.resume_requested.connect(asked.append)
    first, second = panel.rows[0].resume, panel.rows[1].resume
    assert first.isVisibleTo(panel)
    assert not second.isVisibleTo(panel)
    first.click()
    assert asked == [stopped]
    assert not first.isVisibleTo(panel)


def test_the_form_returns_the_column_it_was_given(qtbot: Any) -> None:
    column = Column("/m", "cuda:3", "float16", "int8", "template", "Be brief.", False, Sampler(0.7, 40, 0.9, 32, 11), "mine")
    form = ColumnForm(column, ("auto", "cpu"))
    qtbot.addWidget(form)
    assert form.column() == column
    with qtbot.waitSignal(form.changed) as changed:
        form.temperature.setValue(0.0)
    assert changed.args[0].sampler.temperature == 0.0
    with qtbot.assertNotEmitted(form.changed):
        form.set_column(Column("/other"))
    assert form.column() == Column("/other")


def test_columns_survive_the_settings_and_nonsense_does_not() -> None:
    column = Column("/m", dtype="float16", sampler=Sampler(temperature=0.5, seed=3), label="x")
    assert column_from_json(column_to_json(column)) == column
    assert column_from_json({"checkpoint": "/m", "dtype": 3, "sampler": {"seed": "no", "top_k": 5}, "new": 1}) == Column(
        "/m", sampler=Sampler(top_k=5)
    )
    chained = Column("/m", sampler=Sampler(chain="top_k=4,temperature=0.5"))
    assert column_from_json(column_to_json(chained)) == chained
    assert column_from_json({"checkpoint": "/m", "sampler": {"chain": "no chain"}}) == Column("/m")
    assert column_from_json({"checkpoint": ""}) is None
    assert column_from_json("/m") is None


def test_the_store_writes_what_changed(tmp_path: Path, qtbot: Any) -> None:
    store = Store(Settings(), tmp_path / "settings.json")
    store.update(theme="dark")
    for n in range(60):
        store.remember_text(f"text {n % 55}")
    store.remember_text("  ")
    store.flush()
    read, problem = load(tmp_path / "settings.json")
    assert problem == ""
    assert read.theme == "dark"
    assert read.history[0] == "text 4"
    assert len(read.history) == 50
    store.deleteLater()


class Painted(ViewWidget):
    def __init__(self) -> None:
        super().__init__()
        QLabel("hello", self)

    def table(self) -> tuple[list[str], list[list[Any]]]:
        return ["token", "nats"], [["é, 中", 1.5], ['"', None]]


def test_pictures_and_data_are_saved(qtbot: Any, tmp_path: Path) -> None:
    view = Painted()
    qtbot.addWidget(view)
    view.resize(120, 40)
    save_picture(view, tmp_path / "a.png")
    save_picture(view, tmp_path / "a.svg")
    save_table(view, tmp_path / "a.csv")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "a.svg").read_text(encoding="utf-8")
    with (tmp_path / "a.csv").open(encoding="utf-8-sig", newline="") as file:
        assert list(csv.reader(file)) == [["token", "nats"], ["é, 中", "1.5"], ['"', ""]]
    save_picture(view, tmp_path / "named.csv")  # no kind of picture: a PNG beside it
    assert (tmp_path / "named.csv.png").read_bytes().startswith(b"\x89PNG")
    for name in ("no/a.png", "no/a.svg"):
        with pytest.raises(UserError, match="could not be written"):
            save_picture(view, tmp_path / name)
    with pytest.raises(UserError, match="could not be written"):
        save_table(view, tmp_path / "no" / "a.csv")


def test_numbers_as_people_read_them() -> None:
    assert [size(n) for n in (0, 999, 141_000, 7_900_000, 2.5e9, 25e9)] == ["", "999 B", "141 KB", "7.9 MB", "2.5 GB", "25.0 GB"]
    assert [duration(s) for s in (0.2, 12, 200, 3900)] == ["", "12 s", "3 min 20 s", "1 h 05 min"]
    assert [count(n) for n in (300, 34_720, 135e6, 1.2e9)] == ["300", "34.7 K", "135 M", "1.2 B"]


def test_the_memory_forecast_counts_what_is_quantised() -> None:
    what = Description("m", "/m", "llama", "L", "decoder", parameters={"embedding": 100, "mlp": 1000}, memory={"F16": 2200})
    assert forecast(what, "auto", "") == 2200
    assert forecast(what, "float32", "") == 4400
    assert forecast(what, "float32", "int8") == 400 + 1060
    assert forecast(what, "bfloat16", "int4") == 200 + 600
