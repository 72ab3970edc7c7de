"""What each view does beyond the contract: clicks, differences, streams, questions that follow from answers."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QFont, QFontMetrics, QGuiApplication

from lab.ui.view import Failure
from lab.ui.views import attention, chat, evaluate, sampling, tokens
from lab.ui.views._sampling_rows import bars, difference_bars, facts, stage_line
from lab.ui.widgets.attention_panel import axis_labels, block_of, grid_numbers, pair_of, shown_pattern, value_text
from lab.ui.widgets.chat_log import step_tip
from lab.ui.widgets.conversation import Exchange, Reply, messages_for
from lab.ui.widgets.remembered import exchange_from, exchanges_to
from lab.ui.widgets.token_panel import glyph_values, same_tokens, scale_top, summary, token_at, token_values
from models.chain import Stage
from models.columns import Column, Sampler
from models.records.sampling import difference_distributions
from models.records.scores import Cell
from models.records.tokens import ExactText
from tests.ui import samples as made
from tests.ui.test_view_contract import answer


@pytest.fixture
def show(qtbot):
    def build(module, n=2, text=made.TEXT, state=None):
        widget = module.VIEW.make()
        qtbot.addWidget(widget)
        widget.resize(1000, 620)
        widget.set_columns(made.COLUMNS[:n])
        widget.set_text(text)
        if state:
            widget.restore(state)
        widget.show()
        widget.redraw()
        return widget

    return build


def fill(widget, only=None):
    for _round in range(3):
        for want in widget.wants():
            if only is None or want.op in only:
                widget.set_answer(want, answer(want, widget))
        widget.redraw()


DIFFERENCE = {"difference": {"on": True, "first": 0, "second": 1}}


# tokens --------------------------------------------------------------------------------------------------------------
def test_glyph_values_add_up_and_skip_what_has_no_value():
    values = np.array([np.nan, 1.0, 2.0, 4.0, np.nan], dtype=np.float32)
    assert glyph_values(values, [(0, 1), (1, 4), (4, 5)])[1] == 7
    assert np.isnan(glyph_values(values, [(0, 1), (4, 5)])).all()


def test_summary_is_total_mean_and_perplexity():
    strip = made.token_strip("one two")
    strip.surprisal[:] = [np.nan, 1.0, 3.0]
    assert summary(strip, 1.0, "nats") == "3 tokens · total 4.0 nats · mean 2.00 · perplexity 7.39"
    assert "none of them predicted" in summary(made.token_strip("", bos=True), 1.0, "nats")


def test_scales_and_spans():
    assert scale_top([np.array([0.1, np.nan])], 1.0) == 1.0
    assert scale_top([], 1.0) == 1.0
    strip = made.token_strip("one two")
    assert token_at(strip, 4, 5) == (2, 3)
    assert token_at(strip, 40, 50) == (-1, -1)
    assert same_tokens([strip, made.token_strip("one two", seed=5)])
    assert not same_tokens([strip, made.token_strip("one", seed=5)])
    assert np.isnan(token_values(strip, "rank")[0])


def test_a_click_on_a_token_selects_it_in_every_column_and_in_the_table(show, qtbot):
    whole = show(tokens)
    view = whole.page("text")
    fill(view)
    strip = view.panels[0].content.strip
    place = strip._places[3]
    said = []
    view.selected.connect(said.append)
    at = QPointF(place.x + 10, place.row * strip.row_height() + 12).toPoint()
    qtbot.mouseClick(strip.viewport(), Qt.MouseButton.LeftButton, pos=at)
    assert said == [{"token": 3, "column": 0}]
    assert view.panels[1].content.strip._selected == (3, 4)
    assert {index.row() for index in view.grid.selectedIndexes()} == {3}
    qtbot.keyClick(strip, Qt.Key.Key_Right)
    assert said[-1]["token"] == 4


def test_columns_that_split_differently_are_aligned_and_cannot_be_subtracted(show):
    whole = show(tokens)
    view = whole.page("text")
    view.restore(DIFFERENCE)
    view.redraw()
    first, second = view.wants()
    view.set_answer(first, made.token_strip(made.TEXT))
    view.set_answer(second, made.token_strip(made.TEXT, bos=False))
    view.redraw()
    assert "different tokens" in view.panels[0].message()
    view.difference.button.setChecked(False)
    view.redraw()
    assert view.panels[0].message() == ""
    assert len(view.table()[1]) == len(made.tokens(made.TEXT))  # the table is of one column


def test_the_difference_is_the_second_minus_the_first(show):
    whole = show(tokens)
    view = whole.page("text")
    view.restore(DIFFERENCE)
    view.redraw()
    fill(view)
    a, b = made.token_strip(made.TEXT, 0), made.token_strip(made.TEXT, 1)
    header, rows = view.table()
    place = header.index("difference, nats")
    assert rows[4][place] == pytest.approx(float(b.surprisal[4] - a.surprisal[4]))


# attention -----------------------------------------------------------------------------------------------------------
def test_the_head_is_asked_for_once_the_grid_is_there(show):
    view = show(attention)
    assert {want.op for want in view.wants()} == {"attention_grid"}
    said = []
    view.changed.connect(lambda: said.append(1))
    for want in view.wants():
        view.set_answer(want, made.grid(layers=2, heads=3))
    assert said == []
    view.redraw()
    assert said == [1]
    assert [(w.params["layer"], w.params["head"]) for w in view.wants() if w.op == "attention"] == [(0, 0)] * 2


def test_a_click_in_the_grid_asks_for_that_head_and_tells(show, qtbot):
    view = show(attention)
    fill(view)
    grid = view.panels[1].content.grid
    said = []
    view.selected.connect(said.append)
    qtbot.mouseClick(grid, Qt.MouseButton.LeftButton, pos=grid.rect_of(3, 1).center().toPoint())
    assert (said[0]["layer"], said[0]["head"], said[0]["title"]) == (3, 1, "L3H1")
    assert all((w.params["layer"], w.params["head"]) == (3, 1) for w in view.wants() if w.op == "attention")


def test_a_pooled_cell_is_asked_for_exactly(show):
    view = show(attention, n=1)
    fill(view, only={"attention_grid"})
    (want,) = (want for want in view.wants() if want.op == "attention")
    head = made.head(0, 0, n=6, pooled=4)
    view.set_answer(want, head)
    view.redraw()
    view._on_hovered(3, 2)
    exact = next(want for want in view.wants() if want.slot == "exact")
    assert exact.params["region"] == (12, 16, 8, 12)
    assert "largest of 4 × 4" in view.panels[0].content.readout.whole()
    block = made.head(0, 0, n=4)
    view.set_answer(exact, block)
    view._on_hovered(3, 2)
    place = np.unravel_index(int(np.argmax(block.matrix)), (4, 4))
    assert f"#{12 + place[0]} → " in view.panels[0].content.readout.whole()
    assert f"{block.matrix.max():.4f}" in view.panels[0].content.readout.whole()
    view._exact.stop()


def test_pattern_functions():
    head = made.head(n=5)
    assert np.isnan(shown_pattern(head, mask_first=True, log=False)[:, 0]).all()
    log = shown_pattern(head, mask_first=False, log=True)
    assert np.isnan(log[0, 1])  # blank above the diagonal
    assert np.nanmax(log) <= 1
    pooled = made.head(n=5, pooled=3)
    assert pair_of(pooled, 1, 2) == (3, 6)
    assert block_of(pooled, 4, 4) == (12, 15, 12, 15)
    assert axis_labels(pooled.queries) == ["t0", "t3", "t6", "t9", "t12"]
    assert value_text(head, (2, 1), None, None) == f"t2 #2 → t1 #1: {head.matrix[2, 1]:.4f}"
    grid = made.grid(kinds=("encoder", "cross"))
    assert np.array_equal(grid_numbers(grid, "patterns"), grid.entropy)


def test_kinds_are_offered_where_there_are_several(show):
    view = show(attention, n=1)
    view.set_answer(view.wants()[0], made.grid(kinds=("encoder", "decoder", "cross")))
    view.redraw()
    assert view.controls.kind.isVisible()
    view.controls.kind.setCurrentIndex(2)
    assert view.wants()[0].params["kind"] == "cross"


# sampling ------------------------------------------------------------------------------------------------------------
def chains(view):
    return [want.params["column"].sampler.chain for want in view.wants()]


def test_an_edit_asks_with_the_new_chain_in_all_columns(show):
    view = show(sampling)
    said = []
    view.changed.connect(lambda: said.append(1))
    assert chains(view) == ["temperature=1,top_k=0,top_p=1"] * 2
    view.editor.rows[0].value.setValue(0.5)
    assert said
    assert chains(view) == ["temperature=0.5,top_k=0,top_p=1"] * 2
    view.shared.setChecked(False)
    view.owner.setCurrentIndex(1)
    view.editor.rows[2].value.setValue(0.9)
    assert chains(view) == ["temperature=0.5,top_k=0,top_p=1", "temperature=0.5,top_k=0,top_p=0.9"]
    view.owner.setCurrentIndex(0)
    assert view.editor.chain() == "temperature=0.5,top_k=0,top_p=1"
    assert made.COLUMNS[0].sampler == Sampler()  # the session's columns are not touched


def test_stages_are_moved_switched_removed_added_and_written(show):
    view = show(sampling)
    view.editor.rows[2].moved.emit(-1)
    assert chains(view)[0] == "temperature=1,top_p=1,top_k=0"
    view.editor.rows[0].switch.setChecked(False)
    view.editor.rows[1].removed.emit()
    assert chains(view)[0] == "!temperature=1,top_k=0"
    view.editor.add_stage(Stage("min_p", 0.05))
    assert chains(view)[0] == "!temperature=1,top_k=0,min_p=0.05"
    view.editor.text.setText("top-k=3, greedy")
    view.editor.text.editingFinished.emit()
    assert chains(view) == ["top_k=3,temperature=0"] * 2
    view.editor.text.setText("top_q=3")
    view.editor.text.editingFinished.emit()
    assert chains(view) == ["top_k=3,temperature=0"] * 2
    assert "no stage" in view.editor.problem.whole()


def test_presets_are_saved_under_a_name_and_compared(show):
    view = show(sampling)
    view.presets.taken.emit("min_p=0.1")
    view.presets.box.setEditText("mine")
    view.presets._enable()
    view.presets.save.click()
    assert view.state()["presets"] == {"mine": "min_p=0.1"}
    assert ("mine", "min_p=0.1") in view.wants()[0].params["presets"]
    view.presets.taken.emit("")
    assert chains(view) == ["", ""]
    view.presets.box.setEditText("mine")
    view.presets._enable()
    view.presets.delete.click()
    assert view.state()["presets"] == {}


def test_a_chosen_token_is_banned_forced_or_put_behind_the_text(show):
    view = show(sampling)
    fill(view)
    assert not view.ban.isEnabled()
    view.panels[0].content.bars.clicked.emit(3)
    view.redraw()
    view.ban.click()
    assert chains(view)[0] == "ban=103,temperature=1,top_k=0,top_p=1"
    fill(view)
    view.force.click()
    assert chains(view)[0].startswith("force=103,ban=103,")
    view.panels[1].content.bars.activated.emit(1)
    assert [want.params["path"] for want in view.wants()] == [(101,), (101,)]
    fill(view)
    view.back.click()
    assert view.wants()[0].params["path"] == ()
    view.set_selection({"path": [5, 6], "position": 2})
    assert (view.wants()[0].params["path"], view.wants()[0].params["position"]) == ((5, 6), 2)
    view.set_selection({"token": 1})
    assert (view.wants()[0].params["path"], view.wants()[0].params["position"]) == ((), 1)


def test_the_place_follows_the_selected_token_and_a_new_text(show):
    view = show(sampling)
    view.set_selection({"token": 4})
    assert [want.params["position"] for want in view.wants()] == [4, 4]
    view.set_text("Something else")
    assert [want.params["position"] for want in view.wants()] == [-1, -1]


def test_bars_say_what_the_sampler_cut():
    rows = bars(made.distribution(temperature=0.5))
    assert rows[3].marked
    assert rows[20].label.endswith("→ cut")
    plain = made.distribution()
    plain.sampled[:] = plain.probabilities
    assert "→" not in bars(plain)[0].label
    summed = bars(plain, cumulative=True)
    assert summed[-1].value == pytest.approx(float(plain.probabilities.sum()))
    assert [row.value for row in summed] == sorted(row.value for row in summed)


def test_a_stage_says_what_it_removed():
    found = made.sampler_chain()
    line, tip = stage_line(found.stages[0])
    assert line == "12 left · −288 (8.00 %) · H 1.90"
    assert "<b>bold</b>" in tip
    assert "0.50 %" in tip
    assert "rank 3" in facts(found.distribution, 1.0)[0]


def test_difference_of_distributions_is_over_all_tokens_of_either():
    a, b = made.distribution(0, k=5), made.distribution(1, k=8)
    ids, texts, delta = difference_distributions(a, b)
    assert ids.tolist() == list(range(100, 108))
    assert texts[6] == " word6"
    assert delta[0] == pytest.approx(float(b.probabilities[0] - a.probabilities[0]))
    assert delta[7] == pytest.approx(float(b.probabilities[7]))
    assert [abs(row.value) for row in difference_bars(a, b)] == sorted(map(abs, delta.tolist()), reverse=True)


# chat ----------------------------------------------------------------------------------------------------------------
def send(view, text):
    view.edit.setPlainText(text)
    view.redraw()
    view._on_send()
    return [want for want in view.wants() if want.op == "generate"]


def test_every_column_answers_token_by_token(show):
    view = show(chat)
    fill(view)
    wants = send(view, "Who?")
    assert [want.column for want in wants] == [0, 1]
    assert wants[0].streamed
    for step in made.steps(" Ombra <i>is</i>."):
        view.set_partial(wants[0], step)
    view.redraw()
    assert "Ombra <i>is</i>." in view.panels[0].content.toPlainText()
    view.set_answer(wants[0], made.generation(" Ombra <i>is</i>."))
    view.redraw()
    assert "finished" in view.panels[0].content.toPlainText()
    assert [want.column for want in view.wants() if want.op == "generate"] == [1]


def test_stop_keeps_what_was_said_and_regenerate_takes_the_next_seed(show):
    view = show(chat)
    fill(view)
    wants = send(view, "Who?")
    view.set_partial(wants[0], made.steps(" Ombra")[0])
    view._on_stop()
    assert [want for want in view.wants() if want.op == "generate"] == []
    assert view.table()[1][0][3] == " Ombra"
    view._on_again()
    again = [want for want in view.wants() if want.op == "generate"]
    assert again[0] != wants[0]
    assert again[0].params["column"].sampler.seed == wants[0].params["column"].sampler.seed + 1
    view.set_partial(wants[0], made.steps(" late")[0])  # a late token of the old answer
    assert view.exchanges[-1].replies[0].steps == []


def test_the_conversation_is_given_back_and_the_last_message_can_be_edited(show):
    view = show(chat)
    fill(view)
    for want in send(view, "One"):
        view.set_answer(want, made.generation(f" answer {want.column}"))
    view.redraw()
    (first, second) = send(view, "Two")
    contents = [message["content"] for message in second.params["messages"]]
    assert contents == ["One", " answer 1", "Two"]
    assert first.params["messages"][1]["content"] == " answer 0"
    view._on_stop()
    view._on_edit_last()
    assert view.edit.toPlainText() == "Two"
    assert len(view.exchanges) == 1
    view._on_copy()
    assert QGuiApplication.clipboard().text().startswith("You: One\npretrain:  answer 0")


def test_a_conversation_comes_back_with_its_colours_and_its_line_of_figures(show):
    view = show(chat)
    fill(view)
    wants = send(view, "Who?")
    steps = made.steps(" Ombra <i>is</i>.")
    steps[1] = replace(steps[1], text_so_far=" Om�")  # a token that ends within a character
    for step in steps:
        view.set_partial(wants[0], step)
    view.set_answer(wants[0], made.generation(" Ombra <i>is</i>."))
    view.set_failure(wants[1], Failure("user", "Out of memory."))
    view.redraw()
    other = show(chat)
    fill(other)
    other.restore(json.loads(json.dumps(view.state())))
    other.redraw()
    log, before = other.panels[0].content, view.panels[0].content
    assert log.toPlainText() == before.toPlainText()
    assert "finished · 5 tokens" in log.toPlainText()
    assert log._starts == before._starts
    for place in log._starts:
        found, wanted = log.step_at(place), before.step_at(place)
        assert (found.id, found.text, found.text_so_far, found.rank) == (wanted.id, wanted.text, wanted.text_so_far, wanted.rank)
        assert found.surprisal == pytest.approx(wanted.surprisal, rel=1e-4)
        assert found.top_texts == wanted.top_texts
    assert other.table()[1][0] == view.table()[1][0]


def test_a_long_conversation_is_remembered_as_text_from_where_it_is_too_long():
    long = [Exchange(str(n), {0: Reply("done", made.steps(" word" * 300), generation=made.generation())}) for n in range(6)]
    saved = exchanges_to(long)
    assert [type(exchange["replies"]["0"]) for exchange in saved] == [str, str, dict, dict, dict, dict]
    assert len(json.dumps(saved)) < 600_000
    back = [exchange_from(exchange) for exchange in saved]
    assert [exchange.replies[0].said() for exchange in back] == [exchange.replies[0].said() for exchange in long]


@pytest.mark.parametrize(
    "reply", [1, None, [], {}, {"tokens": 3}, {"tokens": [[1]]}, {"text": "x", "tokens": [["a"] * 9]}, {"ended": {"text": 3}}]
)
def test_nonsense_in_the_settings_is_no_conversation(reply):
    assert exchange_from({"user": 4, "replies": {"0": reply, "x": "y"}}).replies[0].generation is None
    assert exchange_from({"replies": 7}).replies == {}


def test_what_cannot_chat_says_why_and_is_not_asked(show):
    view = show(chat)
    first, second = view.wants()
    view.set_answer(first, made.description(template=""))
    view.set_answer(second, made.description(unavailable={"generate": "A reward model predicts no tokens."}))
    view.redraw()
    assert "A reward model predicts no tokens." in view.panels[1].message()
    assert [want.column for want in send(view, "Hi")] == [0]
    view.redraw()
    assert "plainly" in view.panels[0].note.whole()


def test_system_message_comes_first():
    exchanges = [Exchange("a", {0: Reply("done", text="b")}), Exchange("c")]
    assert [m["role"] for m in messages_for(exchanges, 0, "be kind")] == ["system", "user", "assistant", "user"]
    assert messages_for(exchanges, 1, " ") == ({"role": "user", "content": "c"},)


def test_a_failed_answer_is_told_in_the_conversation(show):
    view = show(chat)
    fill(view)
    wants = send(view, "Who?")
    view.set_failure(wants[0], Failure("user", "Out of memory.", "Close a column."))
    view.redraw()
    assert "Out of memory. Close a column." in view.panels[0].content.toPlainText()
    assert view.panels[0].message() == ""


def finish_all(view, text="Who?", answers=(" Ombra is.", " Verda is.")):
    wants = send(view, text)
    for want in wants:
        view.set_answer(want, made.generation(answers[want.column % len(answers)]))
    view.redraw()
    return wants


def test_one_answer_is_scored_by_every_column_token_by_token(show):
    view = show(chat)
    fill(view)
    wants = finish_all(view)
    assert not [want for want in view.wants() if want.op == "score_answer"]
    view.comparing.scored.setCurrentIndex(view.comparing.scored.findData(1))
    scored = [want for want in view.wants() if want.op == "score_answer"]
    assert [want.column for want in scored] == [0, 1]
    assert scored[0].params["answer"] == " Verda is."
    assert scored[0].params["messages"] == wants[1].params["messages"]
    assert scored[0].params["token_ids"] == made.generation(" Verda is.").token_ids
    view.redraw()
    assert "scoring…" in view.panels[0].content.toPlainText()
    for want in scored:
        view.set_answer(want, made.scored_answer(" Verda is.", want.column))
    view.redraw()
    log = view.panels[0].content
    assert "pretrain scores the answer of sft" in log.toPlainText()
    assert log.toPlainText().count(" Verda is.") == 1  # its own answer is another one
    step = log.step_at(log._starts[-1])
    assert step.surprisal == pytest.approx(float(made.scored_answer(" Verda is.").surprisal[-1]))
    assert "drawn with" not in step_tip(step)
    assert "&lt;b&gt;x&lt;/b&gt;" in step_tip(step)
    document = log.document()
    changes = document.revision()
    view.redraw()
    assert document.revision() == changes  # nothing is new, nothing is written again
    for text in (" Some", " more"):  # an answer above the last turn grows
        view.exchanges[-1].replies[0].steps += made.steps(text)
        view.redraw()
        assert text in log.toPlainText()
    view.set_failure(scored[1], Failure("user", "Too long."))
    view.redraw()
    assert "Too long." in view.panels[1].content.toPlainText()


def test_a_reward_model_scores_though_it_cannot_chat(show):
    view = show(chat)
    first, second = view.wants()
    view.set_answer(first, made.description())
    view.set_answer(second, made.description(unavailable={"generate": "A reward model predicts no tokens."}))
    view.redraw()
    finish_all(view)
    assert "predicts no tokens" in view.panels[1].message()
    view.comparing.scored.setCurrentIndex(view.comparing.scored.findData(0))
    want = next(want for want in view.wants() if want.op == "score_answer" and want.column == 1)
    found = made.scored_answer(" Ombra is.", 1)
    nothing = np.full_like(found.surprisal, np.nan)
    view.set_answer(want, replace(found, surprisal=nothing, convention="reward model: score 1.2500"))
    view.redraw()
    assert "reward model: score 1.2500" in view.panels[1].content.toPlainText()


def test_words_that_differ_are_underlaid(show):
    view = show(chat)
    fill(view)
    finish_all(view)
    view.comparing.against.setCurrentIndex(view.comparing.against.findData(0))
    view.redraw()
    assert view.comparing.differences(view.exchanges[-1], 1) == [(True, " "), (False, "Verda"), (True, " is.")]
    assert view.comparing.differences(view.exchanges[-1], 0) == []
    log = view.panels[1].content
    place = log.toPlainText().index("Verda")
    cursor = log.textCursor()
    cursor.setPosition(place + 1)
    assert cursor.charFormat().background().style() != Qt.BrushStyle.NoBrush
    cursor.setPosition(log.toPlainText().index("is.") + 1)
    assert cursor.charFormat().background().style() == Qt.BrushStyle.NoBrush


def test_a_blind_vote_names_nobody_until_it_is_cast(show, qtbot):
    view = show(chat, n=3)
    fill(view)
    view.blind.setChecked(True)
    wants = send(view, "Who?")
    assert len(wants) == 2  # of three columns
    view.redraw()
    pane, shown = view.voting.pane, list(view.voting.pair)
    assert sorted(shown) == [want.column for want in wants]
    assert not any(panel.isVisible() for panel in view.panels)
    assert not pane.can_vote()
    for want in wants:
        view.set_answer(want, made.generation(f" answer {want.column}"))
    view.redraw()
    assert pane.texts["A"].toPlainText() == f" answer {shown[0]}"
    names = [made.COLUMNS[place].name for place in shown]
    readable = " ".join([pane.titles["A"].text(), pane.titles["B"].text(), pane.said.whole(), pane.asked.whole()])
    assert not any(name in readable for name in names)
    pane.criterion.setCurrentIndex(1)
    qtbot.keyClick(pane, Qt.Key.Key_B)
    (want,) = (want for want in view.wants() if want.op == "vote")
    vote = want.params["vote"]
    assert (vote["criterion"], vote["prompt"]) == ("truthful", [{"role": "user", "content": "Who?"}])
    assert vote["answers"][vote["choice"]]["text"] == f" answer {shown[1]}"
    assert [vote["answers"][place]["text"] for place in vote["order_shown"]] == [f" answer {place}" for place in shown]
    assert vote["answers"][0]["token_ids"] == list(made.generation().token_ids)
    view.set_answer(want, made.votes(vote))
    view.redraw()
    assert pane.titles["B"].text() == f"B: {names[1]}"
    assert "66.67 %" in [cell for row in pane.rates.rows.rows for cell in row]
    assert not pane.can_vote()
    assert not [want for want in view.wants() if want.op == "vote"]
    assert len(send(view, "And now?")) == 2
    assert not view.voting.revealed
    view.blind.setChecked(False)
    assert all(panel.isVisible() for panel in view.panels[:3])


def test_a_vote_is_about_the_answers_on_the_screen_and_is_cast_once(show):
    view = show(chat)
    fill(view)
    view.blind.setChecked(True)
    pane = view.voting.pane
    finish_all(view, "Who?", ("first 0", "first 1"))
    finish_all(view, "And who?", ("second 0", "second 1"))
    assert pane.texts["A"].toPlainText() == f"second {view.voting.pair[0]}"
    view._on_edit_last()
    assert not pane.can_vote()
    view.redraw()
    assert pane.texts["A"].toPlainText() == f"first {view.voting.pair[0]}"
    pane.vote("A")
    (want,) = (want for want in view.wants() if want.op == "vote")
    assert want.params["vote"]["answers"][want.params["vote"]["choice"]]["text"] == pane.texts["A"].toPlainText()
    pane.vote("B")  # a second click before the answer
    assert [one for one in view.wants() if one.op == "vote"] == [want]


# evaluate ------------------------------------------------------------------------------------------------------------
def choose(view, benchmark="world_questions", metric="exact_match", column=2):
    model = view.scores.table.scores
    row = model.lines.index((benchmark, metric))
    view.scores.table._on_chosen(model.index(row, column))
    return next(want for want in view.wants() if want.op == "items")


def test_a_click_on_a_score_asks_for_everybodys_items(show):
    view = show(evaluate, n=3)
    fill(view)
    want = choose(view)
    assert want.params["places"] == tuple((n, f"run-{n}", "world_questions") for n in ("pretrain", "sft", "ppo"))
    assert (want.params["metric"], want.params["up"], want.params["query"], want.params["start"]) == ("exact_match", True, "", 0)
    fill(view)
    table = view.items.table
    assert table.grid.rows.header == ["#", "Prompt", "pretrain", "sft", "ppo", "Expected"]
    assert table.chosen_id() == "world_questions-test-0"
    assert "60 of 60 items · against pretrain: sft +20 −3, ppo +20 −3" in table.count.whole()
    item = next(want for want in view.wants() if want.op == "item")
    assert item.params["doc_id"] == "world_questions-test-0"
    assert "what is the capital of <b>Veltria</b>?" in view.items.card.whole()
    table.grid.selectRow(3)
    assert next(want for want in view.wants() if want.op == "item").params["doc_id"] == "world_questions-test-3"


def test_why_the_items_of_one_score_cannot_be_read_is_not_said_of_another(show):
    view = show(evaluate, n=3)
    fill(view)
    rows = [line for line in view.scores.table.scores.lines if not isinstance(line, str)]
    view.set_failure(choose(view, *rows[0]), Failure("user", "The samples are gone."))
    view.redraw()
    assert "The samples are gone." in view.items.page.text()
    choose(view, *rows[1])
    view.redraw()
    assert "Reading items" in view.items.page.text()


def test_a_score_that_failed_says_why_in_place_of_its_items(show):
    view = show(evaluate, n=3)
    fill(view)
    cells = list(view.cells)
    at = next(n for n, cell in enumerate(cells) if (cell.checkpoint, cell.benchmark) == ("ppo", "world_questions"))
    nothing = {"value": math.nan, "low": math.nan, "high": math.nan}
    cells[at] = replace(cells[at], state="failed", run="", signature="<b>ppo</b> has no template.", **nothing)
    view._take_cells(tuple(cells))
    view._on_chosen("world_questions", "exact_match", "ppo")
    view.redraw()
    assert "ppo could not be scored on world_questions." in view.items.page.text()
    assert "<b>ppo</b> has no template." in view.items.page.text()
    cells[at] = replace(cells[at], state="queued")
    view._take_cells(tuple(cells))
    view.redraw()
    assert "not there yet" in view.items.page.text()


def test_the_names_of_benchmarks_stand_beside_their_lines_uncut(show):
    view = show(evaluate, n=3)
    fill(view)
    table = view.scores.table
    bold = QFont(table.font())
    bold.setBold(True)
    longest = max(QFontMetrics(bold).horizontalAdvance(row[0]) for row in table.scores.matrix.rows)
    assert table.scores.matrix.trends
    assert not table.scores.matrix.baseline
    assert longest > 100
    assert table.columnWidth(0) >= min(longest + 18 + 56 + 6, 280)


def test_a_filter_is_asked_of_the_engine_and_its_fault_is_said_there(show):
    view = show(evaluate, n=3)
    fill(view)
    choose(view)
    fill(view)
    table = view.items.table
    table.filter.setText("wrong score<0.5")
    table.take_filter()
    want = next(want for want in view.wants() if want.op == "items")
    assert want.params["query"] == "wrong score<0.5"
    view.set_failure(want, Failure("user", "This filter is not understood.", "Write words."))
    view.redraw()
    assert table.count.whole() == "This filter is not understood. Write words."
    assert table.grid.rows.total == 60  # the items stay
    table.quick.setCurrentIndex(table.quick.findData("lost"))
    table._on_quick(table.quick.currentIndex())
    assert table.filter.text() == "lost"
    assert next(want for want in view.wants() if want.op == "items").params["query"] == "lost"
    table._on_header(3)
    again = next(want for want in view.wants() if want.op == "items").params
    assert (again["sort"], again["descending"]) == ("score:sft", False)
    assert "_<b>" not in table.filter.toolTip()


def test_an_answer_is_opened_in_another_view_with_its_exact_tokens(show):
    view = show(evaluate, n=2)
    opened = []
    view.open_requested.connect(lambda *asked: opened.append(asked))
    fill(view)
    choose(view)
    fill(view)
    view.items.card.whose.setCurrentIndex(view.items.card.whose.findData("sft"))
    view.items.card.buttons["attention"].click()
    wants = [want for want in view.wants() if want.op == "exact"]
    assert [want.params["column"].checkpoint for want in wants] == ["/models/demo/pretrain", "/models/demo/sft"]
    answer = next(answer for answer in view.items.card.item.answers if answer.name == "sft")
    assert wants[0].params["prompt"] == answer.given
    assert wants[0].params["answer"] == answer.text
    assert wants[0].params["rendered"] is True
    for place, want in enumerate(wants):
        view.set_answer(want, ExactText("What? Verda", (1, 5, 6 + place), 2))
    view.redraw()
    ((name, text, columns),) = opened
    assert (name, text) == ("attention", "What? Verda")
    assert [column.exact for column in columns] == [(1, 5, 6), (1, 5, 7)]
    assert [want for want in view.wants() if want.op == "exact"] == []


def test_an_answer_of_a_checkpoint_that_is_not_open_brings_its_columns(show):
    view = show(evaluate, n=1)
    view.set_columns((Column("/models/other"),))
    fill(view)
    choose(view)
    fill(view)
    view.items.card.buttons["tokens"].click()
    wants = [want for want in view.wants() if want.op == "exact"]
    assert [want.params["column"].name for want in wants] == ["pretrain", "sft", "ppo"]
    said = []
    view.message.connect(said.append)
    for want in wants:
        view.set_failure(want, Failure("user", "It is gone."))
    view.redraw()
    assert said == ["It is gone."]


def test_keys_open_items_receipt_and_baseline(show, qtbot):
    view = show(evaluate, n=3)
    fill(view)
    table = view.scores.table
    table.select_cell(("world_questions", "exact_match"), "sft")
    qtbot.keyClick(table, Qt.Key.Key_B)
    assert view.scores.baseline_name() == "sft"
    qtbot.keyClick(table, Qt.Key.Key_R)
    want = next(want for want in view.wants() if want.op == "receipt")
    assert (want.params["cell"].checkpoint, want.params["cell"].benchmark) == ("sft", "world_questions")
    fill(view)
    assert ["Score", "convention", "exact_match|case:mixed"] in [list(row) for row in view.items.receipt.receipt.rows]
    view.items.receipt.copy.click()
    assert "  weights: " + "ab" * 32 in QGuiApplication.clipboard().text()
    table.fold("world")
    assert table.scores.lines == ["world"]
    assert view.state()["closed"] == ["world"]


def test_results_of_others_are_shown_beside_ours_and_marked(show):
    view = show(evaluate, n=2)
    fill(view)
    view.added.add("/downloads/leaderboard")
    want = next(want for want in view.wants() if want.op == "results")
    assert want.params["more"] == ("/downloads/leaderboard",)
    theirs = replace(made.cells()[3], checkpoint="theirs", path="", source="lm-eval 0.4.9", run="/downloads/leaderboard/r.json")
    view.set_answer(want, (*made.cells(), theirs))
    view.redraw()
    table = view.scores.table.scores
    header, rows = view.table()
    found = [row for row in rows if row[header.index("checkpoint")] == "theirs"]
    assert found[0][header.index("source")] == "lm-eval 0.4.9"
    index = table.index(table.lines.index(("world_questions", "exact_match")), table.matrix.checkpoints.index("theirs") + 1)
    assert "computed by lm-eval 0.4.9, not here" in index.data(Qt.ItemDataRole.ToolTipRole)
    view.scores.draw(view.matrix(), {})
    view.grab()


def test_export_writes_tables_and_asks_for_runs(show, tmp_path):
    view = show(evaluate, n=3)
    fill(view)
    view.scores.take_baseline("pretrain")
    fill(view)
    assert "| world_questions | exact_match ↑ | 0.055" in view.export.text("md")
    assert r"world\_questions" in view.export.text("tex")
    said = []
    view.message.connect(said.append)
    for kind in ("csv", "md", "tex"):
        view.export.save(kind, str(tmp_path / f"scores.{kind}"))
        assert (tmp_path / f"scores.{kind}").stat().st_size > 300
    assert len(said) == 3
    view.export.copy_runs("/out")
    (want,) = (want for want in view.wants() if want.op == "export_runs")
    assert want.params == {"runs": ("run-pretrain", "run-sft", "run-ppo"), "folder": "/out"}
    view.set_answer(want, ("/out", ("a", "b")))
    assert said[-1] == "2 files written to /out."
    assert not [want for want in view.wants() if want.op == "export_runs"]


def test_it_looks_again_while_an_evaluation_runs_and_once_more_after(show):
    view = show(evaluate)
    fill(view, only={"results"})
    jobs = next(want for want in view.wants() if want.op == "jobs")
    view.set_answer(jobs, (made.job(),))
    view.redraw()
    assert view._poll.isActive()
    assert "30 %" in view.scores.status.whole()
    assert view.scores.buttons["stop"].isVisible()
    live = next(want for want in view.wants() if want.op == "evaluations")
    view.set_answer(live, (made.run_progress(),))
    view.redraw()
    assert "about 18 s left in all" in view.scores.status.whole()
    before = next(want for want in view.wants() if want.op == "results").fresh
    view._on_poll()
    assert next(want for want in view.wants() if want.op == "results").fresh == before + 1
    view.set_answer(jobs, (made.job(state="done", done=100),))
    view.redraw()
    assert not view._poll.isActive()
    assert next(want for want in view.wants() if want.op == "results").fresh == before + 2


def test_start_asks_once_for_the_job_that_the_form_describes(show):
    view = show(evaluate)
    view.scores.buttons["run"].setChecked(True)
    fill(view)
    assert view.form.chosen == ["world_questions"]  # ours, until something else is chosen
    view.form.search.setText("arc")
    view.form._on_search()
    (want,) = (want for want in view.wants() if want.op == "task_names")
    assert want.params == {"query": "arc"}
    view.set_answer(want, made.task_names("arc"))
    view.form._on_return()
    view.form._on_picked(view.form.picked.item(0))
    assert view.form.chosen == ["arc_easy"]
    view.form.limit.setValue(7)
    view.form.shots.setValue(3)
    view.form.template.setCurrentIndex(2)
    view._on_start()
    (want,) = (want for want in view.wants() if want.op == "start_job")
    more = ("--limit", "7", "--num-fewshot", "3", "--no-apply-chat-template")
    assert want.params["argv"] == ("eval", "/models/demo/pretrain", "/models/demo/sft", "--tasks", "arc_easy", *more)
    view.set_columns(made.COLUMNS[:3])
    view.set_answer(next(want for want in view.wants() if want.op == "jobs"), (made.job(),))
    view._on_stop()
    assert [one for one in view.wants() if one.op == "start_job"] == [want], "a second job would be started"
    view.set_failure(next(one for one in view.wants() if one.op == "stop_job"), Failure("user", "It is gone."))
    assert [one for one in view.wants() if one.op in ("start_job", "stop_job")] == [want]
    view.set_answer(want, made.job("queued"))
    assert not [want for want in view.wants() if want.op == "start_job"]
    view._poll.stop()
    view._on_copy()
    assert QGuiApplication.clipboard().text().startswith("triptych eval /models/demo/pretrain")


def test_one_click_or_return_takes_one_benchmark(show, qtbot):
    view = show(evaluate)
    view.scores.buttons["run"].setChecked(True)
    fill(view)
    form = view.form
    form.chosen = ["a", "b", "c"]
    form.refresh()
    place = form.picked.visualItemRect(form.picked.item(0)).center()
    viewport = form.picked.viewport()
    qtbot.mouseClick(viewport, Qt.MouseButton.LeftButton, pos=place)
    qtbot.mouseDClick(viewport, Qt.MouseButton.LeftButton, pos=place)  # the second half of a double click
    assert form.chosen == ["b", "c"]
    form.picked.setCurrentRow(0)
    qtbot.keyClick(form.picked, Qt.Key.Key_Return)
    assert form.chosen == ["c"]
    form.found.setCurrentRow(0)
    qtbot.keyClick(form.found, Qt.Key.Key_Return)
    assert form.chosen == ["c", form.found.item(0).data(Qt.ItemDataRole.UserRole)]
    form.picked.setCurrentRow(0)
    qtbot.keyClick(form.picked, Qt.Key.Key_Delete)
    assert len(form.chosen) == 1
    form.chosen = ["a", "b", "c"]
    form.refresh()
    qtbot.keyClick(form.picked, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    qtbot.keyClick(form.picked, Qt.Key.Key_Delete)
    assert form.chosen == form.picked_names() == []


def test_an_item_is_copied_whole(show):
    view = show(evaluate)
    fill(view)
    choose(view)
    fill(view)
    card = view.items.card
    long = "word " * 6000
    first = replace(card.item.answers[0], text=long, choices=("yes", "no"), likelihoods=(-1.0, -2.0), picked=0)
    card.set_item(replace(card.item, answers=(first, *card.item.answers[1:])), {}, first.name)
    assert long not in card.text.toPlainText()
    assert "“Copy” takes all of it" in card.text.toPlainText()
    said = []
    view.message.connect(said.append)
    card.copy.click()
    copied = QGuiApplication.clipboard().text()
    assert long in copied
    parts = (card.item.prompt, card.item.target, "▸ -1.000  yes", *(answer.text for answer in card.item.answers))
    assert all(text in copied for text in parts)
    assert said == ["Item copied."]
    card.show_note("None.")
    assert card.whole() == "None."


def test_a_baseline_asks_for_paired_differences(show):
    view = show(evaluate, n=3)
    fill(view)
    view.scores.take_baseline("pretrain")
    want = next(want for want in view.wants() if want.op == "compare")
    assert want.params["baseline"] == "pretrain"
    view.set_answer(want, made.comparisons())
    view.redraw()
    header, rows = view.table()
    assert 0.2 in [row[header.index("difference")] for row in rows]
    view.set_failure(want, Failure("user", "The samples are gone."))
    view.redraw()
    assert "The samples are gone." in view.scores.status.whole()
    view.scores.take_baseline("")
    view.redraw()
    assert view.scores.status.whole() == ""


def test_a_run_that_was_opened_elsewhere_is_shown_alone(show):
    view = show(evaluate)
    view.set_selection({"run": "/runs/today"})
    assert next(want for want in view.wants() if want.op == "results").params["paths"] == ("/runs/today",)
    view.scores.origin.setCurrentIndex(0)
    assert next(want for want in view.wants() if want.op == "results").params["paths"] == ()


def test_a_hundred_thousand_items_are_scrolled_by_what_is_on_screen(show, qapp, monkeypatch):
    """The work of a frame depends on the rows that it shows, and what is kept on the pages that were seen last."""
    view = show(evaluate, n=3)
    fill(view)
    choose(view)
    grid, many = view.items.table.grid, 100_000

    def serve():
        for want in [want for want in view.wants() if want.op == "items"]:
            view.set_answer(want, made.item_page(want.params, many))
        view.redraw()

    serve()
    assert grid.rows.rowCount() == many
    on_screen = grid.viewport().height() // grid.rowHeight(0) + 2
    asked = []
    data = type(grid.rows).data
    monkeypatch.setattr(type(grid.rows), "data", lambda self, index, role=0: asked.append(index.row()) or data(self, index, role))
    for place in range(0, many, 2_500):
        grid.verticalScrollBar().setValue(place)
        serve()
        assert grid.row(place) is not None
        asked.clear()
        grid.viewport().repaint()
        assert len(set(asked)) <= on_screen
        assert set(asked) <= set(range(place, place + on_screen))
    assert sum(len(block) for block in grid.rows.blocks.values()) <= 12_000
    assert grid.row(many - 2_500)[-2] == f"world_questions-test-{many - 2_500}"


def test_the_answer_of_an_endpoint_opens_in_the_columns_that_are_open() -> None:
    from lab.ui.views._evaluate_opening import opening_columns

    far = Cell("gpt", "other", "b", "m", 0.5, 0.4, 0.6, 9, True, path="endpoint:http://h/v1/completions#gpt")
    near = replace(far, checkpoint="sft", path="/m/sft")
    open_now = (Column("/m/dpo"),)
    assert opening_columns(open_now, {"gpt": far, "sft": near}, "gpt") == (open_now, -1)
    columns, chosen = opening_columns(open_now, {"gpt": far, "sft": near}, "sft")
    assert ([column.checkpoint for column in columns], chosen) == (["/m/sft"], 0)  # an endpoint cannot be looked into
