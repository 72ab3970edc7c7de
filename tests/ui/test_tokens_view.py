"""The Tokens view's pages: by themselves, and through the real window and the real engine."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt

from lab.settings import Settings
from lab.ui.as_python import command_line, script
from lab.ui.widgets.quantiles import quantile
from lab.ui.widgets.strip_layout import wrap
from lab.ui.widgets.token_panel import TokenPanel, glyph_values, piece_delta
from lab.ui.widgets.token_rows import LazyRows, token_tip
from lab.ui.widgets.token_strip import SLICE_SECONDS, StripGroup, TokenStrip
from lab.ui.widgets.virtual_rows import BLOCK, VirtualTable
from models.columns import Column, Sampler
from models.records.tokens import TokenStrip as Strip
from models.records.vocabulary import Encoded
from tests.ui import samples as made
from tests.ui.test_view_contract import build, fill, texts
from tests.ui.test_with_engine import lineage_columns, settled

ROOT = Path(__file__).parents[2]
LONG = "The capital of Veltria is Ombra, and words go on and on. " * 120


def page_of(qtbot, name, n=2, text=made.TEXT):
    view = build(qtbot, "tokens", n, text)
    view.show_page(name)
    view.show()
    fill(view, text)
    return view, view.page(name)


# strips ----------------------------------------------------------------------------------------------------------------
def test_long_texts_are_placed_in_slices_and_end_as_if_placed_at_once(qtbot):
    strips = []
    group = StripGroup()
    for seed in range(4):
        strip = TokenStrip()
        qtbot.addWidget(strip)
        strip.resize(260, 300)
        strip.glyphs = TokenPanel.cells(made.token_strip(LONG, seed), "token")
        strips.append(strip)
    group.set_strips(strips)
    assert group._work is not None  # it goes on later
    assert len(strips[0]._places) < len(strips[0].glyphs)
    strips[0].show_token(len(strips[0].glyphs) - 1)
    qtbot.waitUntil(lambda: group._work is None, timeout=20_000)
    places, _rows = wrap([s.glyphs for s in strips], [s.widths() for s in strips], min(s.room() for s in strips), 2)
    assert [s._places for s in strips] == places
    assert strips[0].verticalScrollBar().value() > 0  # the wish to see the last token was remembered
    assert SLICE_SECONDS <= 0.016
    group.deleteLater()


def test_dense_strips_show_more(qtbot):
    view, page = page_of(qtbot, "text", 1, LONG)
    strip = page.panels[0].content.strip
    qtbot.waitUntil(lambda: page._group._work is None, timeout=20_000)
    before = strip._places[-1].row * strip.row_height()
    page.controls.dense.setChecked(True)
    page.redraw()
    qtbot.waitUntil(lambda: page._group._work is None, timeout=20_000)
    assert strip._places[-1].row * strip.row_height() < before * 0.75
    view.grab()


def test_intensity_moves_the_end_of_the_scale(qtbot):
    _view, page = page_of(qtbot, "text")
    top = page._top()
    page.controls.intensity.setValue(page.controls.intensity.value() + 1)
    assert page._top() == pytest.approx(top / 2)
    page.redraw()
    colors = page.panels[0].content.strip._colors
    page.controls.intensity.setValue(1)
    page.redraw()
    assert not np.array_equal(colors, page.panels[0].content.strip._colors)


@pytest.mark.parametrize("level", ["word", "sentence", "line"])
def test_pieces_sum_over_their_tokens(qtbot, level):
    view, page = page_of(qtbot, "text", 1)
    page.level.setCurrentIndex(page.level.findData(level))
    page.redraw()
    strip = page.answer(0)
    header, rows = view.table()
    assert len(rows) < len(strip.tokens)
    total = sum(row[header.index("nats")] or 0 for row in rows)
    assert total == pytest.approx(float(np.nansum(strip.surprisal)), rel=1e-5)
    glyphs = page.panels[0].content.strip.glyphs
    assert [glyph.first for glyph in glyphs[1:]] == [glyph.last for glyph in glyphs[:-1]]
    page.controls.unit.setCurrentIndex(1)
    _header, bits = view.table()
    assert sum(row[3] or 0 for row in bits) == pytest.approx(total / np.log(2), rel=1e-5)


def test_ranks_of_a_piece_are_the_largest():
    values = np.array([np.nan, 1.0, 5.0, 2.0])
    assert glyph_values(values, [(0, 1), (1, 3), (3, 4)], "max").tolist()[1:] == [5.0, 2.0]
    assert np.isnan(glyph_values(values, [(0, 1), (1, 4)], "max")[0])
    assert glyph_values(values[:0], [], "max").tolist() == []


def test_words_can_be_subtracted_across_tokenizers():
    coarse = made.token_strip("the red fox")
    letters = tuple(made.Token(i, c, c, c.encode(), i, i + 1) for i, c in enumerate("the red fox"))
    n = len(letters)
    fine = Strip("the red fox", letters, np.ones(n, np.float32), np.ones(n, np.float32), np.zeros(n, np.int32))
    delta = piece_delta(coarse, fine, "word")
    assert len(delta) == 3
    assert delta[1] == pytest.approx(4 - float(coarse.surprisal[2]))
    assert piece_delta(coarse, fine, "token") is None


def test_what_was_written_is_marked_and_alternatives_are_told(qtbot):
    strip = made.token_strip(made.TEXT)
    n = len(strip.tokens)
    ids = np.tile(np.array([strip.tokens[2].id, 7], np.int32), (n, 1))
    own = Strip(strip.text, strip.tokens, strip.surprisal, strip.entropy, strip.rank, "c", ids,
                np.tile(np.array([0.5, 0.25], np.float32), (n, 1)), (" <b>x</b>", " y") * n, 4)  # fmt: skip
    tip = token_tip(own, 2, 1.0, "nats", [("", own)])
    assert "▸" in tip
    assert "50.00 %" in tip
    assert "&lt;b&gt;" in tip
    view = build(qtbot, "tokens", 1)
    view.show()
    want = view.wants()[0]
    view.set_answer(want, own)
    view.redraw()
    drawn = view.page("text").panels[0].content.strip
    assert drawn.generated == 4
    view.grab()
    smile = next(i for i, token in enumerate(own.tokens) if token.group >= 0)
    assert "one character of 4 tokens" in token_tip(own, smile, 1.0, "nats", [])


def test_rows_are_made_when_they_are_looked_at():
    seen = []
    rows = LazyRows(5, lambda i: seen.append(i) or [i])
    assert len(rows) == 5
    assert seen == []
    assert rows[3] == [3]
    assert rows[-1] == [4]
    assert rows[1:3] == [[1], [2]]
    with pytest.raises(IndexError):
        rows[5]
    assert list(rows) == [[0], [1], [2], [3], [4]]


@pytest.mark.parametrize("percent", [0, 12.5, 50, 98, 99.8, 100])
def test_quantiles_equal_numpys(percent):
    values = np.random.default_rng(0).normal(size=(31, 7))
    assert quantile(values, percent) == pytest.approx(float(np.percentile(values, percent)), rel=1e-12)
    assert quantile(np.array([3.0]), percent) == 3.0
    with pytest.raises(ValueError, match="no values"):
        quantile(np.zeros(0), percent)


def test_drawing_imports_nothing_slow():
    code = "import sys, numpy as np\nfrom lab.ui.widgets.token_panel import scale_top\nscale_top([np.arange(9.0)], 1.0)\n"
    done = subprocess.run([sys.executable, "-c", code + "assert 'numpy.ma' not in sys.modules"], cwd=ROOT, check=False)
    assert done.returncode == 0


# vocabulary ------------------------------------------------------------------------------------------------------------
def test_a_quarter_of_a_million_rows_are_fetched_as_they_are_seen(qtbot):
    table = VirtualTable()
    qtbot.addWidget(table)
    table.resize(400, 300)
    table.show()
    asked = []
    table.needed.connect(asked.append)
    table.set_block(0, [[i, f"w{i}"] for i in range(2 * BLOCK)], 250_000, ["id", "text"], fresh=True)
    assert table.rows.rowCount() == 250_000
    assert asked == []
    table.verticalScrollBar().setValue(123_456)
    assert asked[-1] == 123_400
    assert table.rows.index(123_456, 1).data() == "…"
    table.set_block(123_400, [[i, f"w{i}"] for i in range(123_400, 123_400 + 2 * BLOCK)], 250_000, ["id", "text"], fresh=False)
    assert table.rows.index(123_456, 1).data() == "w123456"
    assert table.rows.index(3, 1).data() == "w3"
    for start in range(0, 80 * BLOCK, BLOCK):
        table.set_block(start, [[0, "x"]] * BLOCK, 250_000, ["id", "text"], fresh=False)
    assert len(table.rows.blocks) <= 60
    table.set_block(0, [[1, "a"]], 1, ["id", "text"], fresh=True)
    assert table.rows.rowCount() == 1


def test_scrolling_asks_for_the_rows_on_screen_and_a_search_starts_again(qtbot):
    view, page = page_of(qtbot, "vocabulary", 1)
    table = page.panels[0].content.entries
    assert [want.params["start"] for want in view.wants()] == [0]
    with qtbot.waitSignal(view.changed, timeout=5000):
        table.verticalScrollBar().setValue(800)
    assert [want.params["start"] for want in view.wants()] == [800]
    fill(view)
    assert table.row(810) is not None
    qtbot.keyClicks(page.search, "/ing/")
    qtbot.keyClick(page.search, Qt.Key.Key_Return)
    (want,) = view.wants()
    assert (want.params["query"], want.params["start"]) == ("/ing/", 0)
    view.set_answer(want, made.vocabulary_rows(0, 3, total=3))
    view.redraw()
    assert table.rows.rowCount() == 3
    said = []
    view.selected.connect(said.append)
    table.selectRow(1)
    assert said[0]["facts"]["Id"] == "1"
    assert "3 of 5,000" in page.panels[0].content.summary.whole()


# tokenizers ------------------------------------------------------------------------------------------------------------
def test_tokenizers_are_aligned_and_differences_listed(qtbot):
    view, page = page_of(qtbot, "pairs", 2)
    header, rows = view.table()
    assert header[2:] == ["pretrain", "sft"]
    assert all("|" in row[2] or "|" in row[3] for row in rows)
    page.only.setChecked(False)
    page.redraw()
    assert len(view.table()[1]) > len(rows)
    assert "boundaries as in" in page.panels[1].content.agreement.whole()
    colors = page.panels[1].content.strip._colors
    assert len({tuple(color) for color in colors.tolist()}) == 2
    page.grid.selectRow(0)
    assert page.panels[0].content.strip._selected != (-1, -1)
    assert page.panels[1].content.strip._selected != (-1, -1)


def test_an_answer_for_an_older_text_is_not_aligned(qtbot):
    view, page = page_of(qtbot, "pairs", 2)
    page.set_text("Another")
    page.redraw()
    assert view.table()[1] == []
    assert isinstance(page.answer(0), Encoded)


# messages --------------------------------------------------------------------------------------------------------------
def test_messages_are_edited_and_asked_again(qtbot):
    view, page = page_of(qtbot, "messages", 2)
    assert page.panels[1].content.warnings.text() == "⚠ Odd <b>role</b>."
    assert "of them the template's" in page.panels[0].content.summary.whole()
    page.editor.rows[1].content.setPlainText("Hello <b>you</b>")
    hello = {"role": "user", "content": "Hello <b>you</b>"}
    qtbot.waitUntil(lambda: view.wants()[0].params["messages"][1] == hello, timeout=5000)
    page.editor.add.click()
    assert page.editor.messages()[2] == {"role": "assistant", "content": ""}
    page.editor.rows[0].role.setCurrentText("wizard")
    assert page.editor.messages()[0]["role"] == "wizard"
    for _n in range(3):
        page.editor.rows[0].remove.click()
    qtbot.waitUntil(lambda: view.wants() == [], timeout=5000)
    page.redraw()
    assert "There is no message." in texts(view)


# through the window ----------------------------------------------------------------------------------------------------
def test_every_page_through_the_window(open_app, qtbot, tiny_lineage):
    app = open_app(settings=Settings(text="The quick brown fox 狐", folders=(str(tiny_lineage),)))
    app.context.session.set_columns(lineage_columns(tiny_lineage)[:2])
    settled(app, qtbot)
    view = app.window.centre.view_widget("tokens")
    page = view.page("text")
    given = len(page.answer(0).tokens)
    page.controls.n_written.setValue(4)
    page.controls.write.click()
    qtbot.waitUntil(lambda: page.answer(0) is not None and page.answer(0).written_from == given, timeout=120_000)
    assert given < len(page.answer(0).tokens) <= given + 4

    view.show_page("vocabulary")
    settled(app, qtbot)
    vocabulary = view.page("vocabulary")
    n = vocabulary.answer(0).n
    qtbot.keyClicks(vocabulary.search, "/^<.*>$/")
    qtbot.keyClick(vocabulary.search, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: 0 < vocabulary.answer(0).total < n, timeout=60_000)
    vocabulary.search.setText("/(/")
    qtbot.waitUntil(lambda: "not a regular expression" in texts(view), timeout=60_000)
    vocabulary.search.setText("")
    qtbot.waitUntil(lambda: vocabulary.answer(0).total == n and "regular" not in texts(view), timeout=60_000)

    view.show_page("messages")
    settled(app, qtbot)
    messages = view.page("messages")
    messages.editor.rows[1].role.setCurrentText("wizard")
    qtbot.waitUntil(lambda: "wizard" in texts(view), timeout=60_000)  # a warning, or why the template refuses

    view.show_page("pairs")
    settled(app, qtbot)
    assert view.page("pairs").answer(1).text == "The quick brown fox 狐"


def test_what_is_copied_computes_what_is_shown(qtbot, tiny_lineage):
    from lab.ui.views.tokens import VIEW
    from models import safety
    from models.engine_ops import Operations
    from models.events import finish

    sampler = Sampler(temperature=0.0)
    columns = (Column(str(tiny_lineage / "sft"), dtype="float32", label="sft", sampler=sampler),)
    view, operations, text = VIEW.make(), Operations(), "The quick\n狐"
    qtbot.addWidget(view)
    view.set_columns(columns)
    view.set_text(text)
    shown = {}
    for name in ("text", "pairs", "vocabulary", "messages"):
        view.show_page(name)
        for want in view.wants():
            view.set_answer(want, finish(operations.ask(want.op, **want.params)))
        view.redraw()
        view.page(name).redraw()
        shown[name] = (view.table(), view.command(), view.python())
    safety.close()  # the child that renders templates
    flags = [word for name in shown for word in shown[name][1]]
    words = shlex.split(command_line(columns, text, (*flags, "--json")))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-m", "lab", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False,
                          timeout=200, env=environment)  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    header, rows = shown["text"][0]
    for row, token in zip(rows, told["tokens"], strict=True):
        assert token["id"] == row[header.index("Id")]
        assert token["surprisal"] == (None if row[4] is None else pytest.approx(row[4], rel=1e-4))
    ours = shown["vocabulary"][0][1]
    assert [row["id"] for row in told["vocabulary"]["rows"]] == [row[1] for row in ours]
    assert [token["id"] for token in told["render"]["tokens"]] == [row[2] for row in shown["messages"][0][1]]
    assert [token["template"] for token in told["render"]["tokens"]] == [row[5] for row in shown["messages"][0][1]]
    assert told["encode"]["counts"]["characters"] == len(text)

    scripts = [script(columns, text, "tokens", {}, shown[name][2]) for name in shown]
    program = "\n".join(f"exec({one!r}, {{}})" for one in scripts)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, timeout=200,
                          env={**environment, "PYTHONIOENCODING": "utf-8"})  # fmt: skip
    assert done.returncode == 0, done.stderr
    value = f"{rows[1][4]:8.3f} nats"
    assert value in done.stdout
    assert f"{len(ours):d}" in done.stdout or "entries" in done.stdout
