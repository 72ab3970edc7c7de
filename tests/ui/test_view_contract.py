"""What every view must keep to, one test for all."""

import json

import pytest
from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QComboBox,
    QLabel,
    QLineEdit,
    QPushButton,
    QToolButton,
    QWidget,
)

from lab.ui import theme
from lab.ui.view import Failure, View, ViewWidget, Want
from lab.ui.widgets.columns import ColumnView
from lab.ui.widgets.figure import save_png, save_svg
from models.discover import discover
from models.words import set_language
from tests.ui import hallucination_samples as hallucination
from tests.ui import samples as made
from tests.ui import within_samples as within

ANSWERS = made.ANSWERS | within.ANSWERS | hallucination.ANSWERS
FOUND = {found.name: found for found in discover("lab.ui.views", "VIEW")}
NAMES = tuple(FOUND)
views = pytest.mark.parametrize("name", NAMES)
BAD_TEXT = "<img src=file:///etc/passwd><b>bold</b> \u202egnp.exe e" + "\u0301" * 2000 + " \x1b[31m =cmd() " + "x" * 300


def build(qtbot, name, n=3, text=made.TEXT) -> ViewWidget:
    view: View = FOUND[name].value
    widget = view.make()
    qtbot.addWidget(widget)
    widget.set_columns(made.COLUMNS[:n])
    widget.set_text(text)
    if hasattr(widget, "_on_project"):
        widget._on_project()
    widget.resize(1100, 640)
    return widget


SAMPLING = {
    "distribution": lambda column, params: made.distribution(column),
    "grow": lambda column, params: made.generation(),
    "beams": lambda column, params: made.beam_tree(column),
    "draw_samples": lambda column, params: made.sample_set(params["n"]),
    "divergence": lambda column, params: made.divergence(params["text"]),
    "sampler_chain": lambda column, params: made.sampler_chain(
        column, chain=params["column"].sampler.chain, presets=params.get("presets", ()), path=params["path"]
    ),
}


def answer(want: Want, widget: ViewWidget, text: str = made.TEXT):
    """Return what the engine could answer to a want."""
    column, params = want.column, want.params
    if want.op in ANSWERS:
        return ANSWERS[want.op](want)
    if want.op == "tokens":
        return made.token_strip(text, column)
    if want.op == "attention_grid":
        return made.grid(seed=column)
    if want.op == "attention":
        return made.head(params["layer"], params["head"], seed=column)
    if want.op in SAMPLING:
        return SAMPLING[want.op](column, params)
    if want.op in made.EMBEDDINGS:
        return made.EMBEDDINGS[want.op](params, max(column, 0))
    if want.op == "generate":
        return made.generation(text)
    return {
        "results": made.cells(), "jobs": (made.training_job(),), "compare": made.comparisons(),
        "training_run": made.training_run(),
    }[want.op]  # fmt: skip


def fill(widget: ViewWidget, text: str = made.TEXT) -> None:
    """Answer everything that a view wants, until it wants nothing new."""
    answered: list[Want] = []
    for _round in range(5):
        for want in [want for want in widget.wants() if want not in answered]:
            answered.append(want)
            widget.set_answer(want, answer(want, widget, text))
        widget.redraw()


def texts(widget: QWidget) -> str:
    """Return all that can be read in labels (of pages that are shown)."""
    return "\n".join(label.text() for label in widget.findChildren(QLabel) if label.isVisibleTo(widget))


def test_every_view_is_found():
    assert {"tokens", "attention", "embeddings", "sampling", "chat", "train", "evaluate", "tensors"} <= set(FOUND)
    assert not [found.error for found in FOUND.values() if found.error]
    orders = [found.value.order for found in FOUND.values()]
    assert len(set(orders)) == len(orders)


def test_every_view_declares_itself():
    for name in NAMES:
        view = FOUND[name].value
        assert isinstance(view, View)
        assert view.name == name
        assert view.title()
        assert view.tip().strip()


@views
def test_it_fits_a_small_place_and_takes_one_to_four_columns(qtbot, name):
    widget = build(qtbot, name)
    fill(widget)
    hint = widget.minimumSizeHint().expandedTo(widget.minimumSize())
    assert hint.width() <= 640
    assert hint.height() <= 560
    widget.show()
    for n in (1, 2, 4, 3):  # one to four columns, then back
        widget.set_columns(made.COLUMNS[:n])
        fill(widget)


@views
def test_it_says_what_to_do_when_there_is_nothing(qtbot, name):
    widget = FOUND[name].value.make()
    qtbot.addWidget(widget)
    widget.set_columns(())
    widget.set_text("")
    widget.show()
    widget.redraw()
    assert all(want.op in {"results", "jobs", "hallucination_runs"} for want in widget.wants())
    assert len(texts(widget)) > 10
    assert widget.table()[1] == []


@views
def test_it_shows_a_failure_in_place(qtbot, name):
    widget = build(qtbot, name)
    widget.show()
    if name == "chat":
        widget.redraw()
        widget.edit.setPlainText("Hello")
        widget._on_send()
    for want in widget.wants():
        widget.set_failure(want, Failure("user", "The <b>gizmo</b> is missing.", "Fetch one.", "details"))
    widget.redraw()
    shown = texts(widget)
    if name == "chat":
        shown += widget.panels[0].content.toPlainText()
    assert "The <b>gizmo</b> is missing." in shown
    assert "Fetch one." in shown
    fill(widget)
    assert "gizmo" not in texts(widget)  # it goes on after a failure


@views
def test_its_table_is_a_table_and_its_state_comes_back(qtbot, name):
    widget = build(qtbot, name)
    if name == "chat":
        widget.redraw()
        widget.edit.setPlainText("Hello")
        widget._on_send()
    fill(widget)
    header, rows = widget.table()
    assert rows
    assert all(len(row) == len(header) for row in rows)
    assert all(value is None or isinstance(value, str | int | float | bool) for row in rows for value in row)
    before = json.loads(json.dumps(widget.state()))
    other = build(qtbot, name)
    other.restore(before)
    assert json.loads(json.dumps(other.state())) == before
    nonsense = dict.fromkeys(widget.state(), "?") | {"unknown": [1], "difference": 7}
    nonsense |= {"chains": ["no chain", 7], "presets": {"a": "b"}}
    other.restore(nonsense)
    fill(other)


@views
def test_setters_never_say_changed(qtbot, name):
    widget = build(qtbot, name)
    fill(widget)
    said = []
    widget.changed.connect(lambda: said.append("changed"))
    widget.selected.connect(lambda _s: said.append("selected"))
    widget.set_selection({"token": 2, "layer": 1, "head": 1})
    widget.set_text("Another text.")
    widget.set_columns(made.COLUMNS[1:3])
    widget.restore(widget.state())
    for want in widget.wants():
        widget.set_answer(want, answer(want, widget))
    assert said == []


@views
def test_texts_from_models_are_only_text(qtbot, name):
    widget = build(qtbot, name, text=BAD_TEXT)
    widget.show()
    if name == "chat":
        widget.redraw()
        widget.edit.setPlainText(BAD_TEXT)
        widget._on_send()
        for want in [want for want in widget.wants() if want.op == "generate"]:
            for step in made.steps(BAD_TEXT):
                widget.set_partial(want, step)
    fill(widget, BAD_TEXT)
    widget.set_selection({"token": 1})
    widget.grab()
    if name == "chat":
        said = widget.panels[0].content.toPlainText()
        assert "<b>bold</b>" in said
        assert "\u202e" not in said


@views
def test_nothing_is_cut_off_in_either_language_and_theme(qtbot, qapp, name):
    for language, look in (("en", "light"), ("zh_CN", "dark")):
        set_language(language)
        theme.apply(qapp, look)
        widget = build(qtbot, name)
        fill(widget)
        widget.resize(1000, 620)
        widget.show()
        qapp.processEvents()
        for button in (*widget.findChildren(QPushButton), *widget.findChildren(QToolButton)):
            if button.isVisible() and button.text():
                assert button.width() >= button.minimumSizeHint().width() - 1, button.text()
                assert button.height() >= button.minimumSizeHint().height() - 1, button.text()
        name_all(widget)
    theme.apply(qapp, "light")


def name_all(widget):
    """Everything that the keyboard reaches says what it is."""
    for child in widget.findChildren(QWidget):
        inner = isinstance(child.parent(), QComboBox | QAbstractSpinBox) or child.objectName().startswith("qt_")
        if child.focusPolicy() == Qt.FocusPolicy.NoFocus or inner or "pyqtgraph" in type(child).__module__:
            continue
        if isinstance(child, QComboBox | QAbstractSpinBox | QLineEdit | QAbstractButton):
            said = child.accessibleName() or child.toolTip() or (child.text() if hasattr(child, "text") else "")
            assert said, f"{type(child).__name__} in {type(child.parent()).__name__} has no name"


@views
def test_it_can_be_saved_and_follows_a_change_of_theme(qtbot, qapp, tmp_path, name):
    theme.apply(qapp, "light")
    widget = build(qtbot, name)
    fill(widget)
    widget.show()
    light = widget.grab().toImage()
    save_png(widget, str(tmp_path / "view.png"))
    save_svg(widget, str(tmp_path / "view.svg"))
    assert (tmp_path / "view.png").stat().st_size > 5000
    assert "<svg" in (tmp_path / "view.svg").read_text()
    with pytest.raises(OSError, match="could not be written"):
        save_png(widget, str(tmp_path / "no" / "such" / "folder.png"))
    theme.apply(qapp, "dark")
    qtbot.waitUntil(lambda: not _timer_active(widget))
    dark = widget.grab().toImage()
    assert _mean(light) > 170
    assert _mean(dark) < 90
    theme.apply(qapp, "light")


@views
def test_a_text_of_ten_thousand_characters(qtbot, name):
    text = "The capital of Veltria is Ombra. " * 300
    widget = build(qtbot, name, text=text)
    fill(widget, text)
    widget.show()
    widget.grab()
    assert len(widget.findChildren(QWidget)) < 400  # items are painted, never one widget per token


def test_column_views_forget_only_the_columns_that_changed(qtbot):
    whole = build(qtbot, "tokens", 2)
    widget = whole.page("text")
    fill(widget)
    assert isinstance(widget, ColumnView)
    widget.set_columns((made.COLUMNS[0], made.COLUMNS[3]))
    assert widget.answer(0) is not None
    assert widget.answer(1) is None


def _timer_active(widget):
    return any(timer.isActive() and timer.isSingleShot() for timer in widget.findChildren(QTimer))


def _mean(image):
    small = image.scaled(64, 64)
    return sum(small.pixelColor(x, y).lightness() for x in range(0, 64, 4) for y in range(0, 64, 4)) / 256
