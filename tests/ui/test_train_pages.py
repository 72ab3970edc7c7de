"""The pages of the Train view with made-up answers: looking ahead, answers, forks, one PPO step, the reward model."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import yaml
from PySide6.QtGui import QIcon

from lab import drafts
from lab.ui.view import Failure
from lab.ui.views._train_clinic import ClinicPage, offered
from lab.ui.views._train_ppo import PpoPage
from lab.ui.views._train_runs import RunsPage
from lab.ui.views._train_words import is_exact, metrics_of
from lab.ui.widgets.answer_steps import answer_rows
from lab.ui.widgets.clinic_panel import margin_bins, summary, warnings
from lab.ui.widgets.colors import scheme
from lab.ui.widgets.config_form import as_text, from_text, setting_fields
from lab.ui.widgets.data_preview import counts_text, row_glyphs
from lab.ui.widgets.plan_card import plan_rows, plan_warnings, size_text, time_text
from lab.ui.widgets.run_list import RunList
from models.events import Progress
from models.records.clinic import Clinic, Mistake
from models.records.curves import StepAnswers, TrainingRun, TrainingStep
from models.records.ppo import example_from
from models.records.training import IGNORED, LEARNED, PADDING, TRUNCATED, DataPreview, Overlap, PreviewRow, TrainPlan
from models.training.recipe import stages
from tests.ui import samples as made

PLAN = TrainPlan(
    "sft", "sft", "cpu", "bf16", "lora", 1_000_000, 20_000, 4_000_000, 80_000, 160_000, 9_000_000, 2 * 10**9, 300, 512.0, 3, 0.5,
    150.0, 3 * 10**6, 10**9, ("pretrain is not trained yet",),
)  # fmt: skip


def preview() -> DataPreview:
    flags = np.array([IGNORED, LEARNED, LEARNED, IGNORED, LEARNED, TRUNCATED, PADDING, PADDING], np.uint8)
    documents = np.array([0, 0, 0, 1, 1, 1, -1, -1], np.int32)
    texts = ("<b>a</b>", " b", "\n", "c", "d", "e", "", "")
    row = PreviewRow("packed texts", np.arange(8), flags, documents, texts)
    overlaps = (Overlap("mine", 9, 1, 2, 3, ("x",)),)
    return DataPreview("sft", "sft", (row, replace(row, title="second")), 12, 100, 40, 3, 2, overlaps, ("n",))


def example(step: int = 4, scale: float = 1.0) -> Any:
    values = {
        "prompt": "<b>Where</b>?", "answer": "In Tarn", "tokens": ["In", " Tarn"], "ended": True, "learned": 2.0, "paid": 2.0,
        "beta": 0.5, "gamma": 1.0, "lam": 1.0, "clip_ratio": 0.2, "whitened": False, "scaled": False, "rollout": 1, "turn": 1,
        "passes": 2, "old": [-1.0, -1.4], "reference": [-1.2, -1.0], "new": [-0.5, -1.4 * scale], "values": [1.0, 0.5],
        "rewards": [-0.1, 2.2], "raw": [1.1, 1.7], "advantages": [1.1, 1.7], "returns": [2.1, 2.2],
    }  # fmt: skip
    return example_from(step, values)


def run(path: str = "/runs/train-1", **more: Any) -> TrainingRun:
    """A finished run with a PPO step that wrote examples down."""
    whole = made.training_run()
    return replace(whole, path=path, steps=tuple(replace(step, **more) for step in whole.steps))


def clinic(n: int = 60) -> Clinic:
    random = np.random.default_rng(0)
    chosen, rejected = random.normal(1, 1, n).astype(np.float32), random.normal(0, 1, n).astype(np.float32)
    lengths = [random.integers(1, 30, n).astype(np.int32) for _ in range(2)]
    flags = [random.random((1, n)) < 0.4 for _ in range(2)]
    mistakes = (Mistake(3, "<b>p</b>", "good", "bad", -1.0, 1.0),)
    files, flipped = ("/d/p.jsonl",), chosen - rejected
    return Clinic("/m/reward", files, chosen, rejected, *lengths, ("list",), *flags, flipped, mistakes, 2, ("note",))


# --- pure --------------------------------------------------------------------------------------------------------------


def test_sizes_and_times_in_words() -> None:
    assert [size_text(n) for n in (-1, 2_000, 3_500_000, 2.5e9)] == ["–", "2.0 KB", "3.5 MB", "2.50 GB"]
    assert [time_text(n) for n in (12, 600, 7200)] == ["12 s", "10 min", "2.0 h"]


def test_a_plan_warns_of_what_will_not_fit() -> None:
    assert not plan_warnings(PLAN)
    assert "more memory" in plan_warnings(replace(PLAN, free=10))[0]
    assert "room on the disk" in plan_warnings(replace(PLAN, disk_free=10))[0]
    assert any("20,000 of 1,000,000" in value for _what, value, _tip in plan_rows(PLAN))
    assert any("300 steps, from 3 steps of 0.5 s" in value for _what, value, _tip in plan_rows(PLAN))


def test_a_text_begins_on_a_new_line_and_filling_is_one_cell() -> None:
    cells = row_glyphs(preview().rows[0])
    assert [cell.breaks for cell in cells] == [False, False, True, False, False, True, False]
    assert (cells[-1].text, cells[-1].first, cells[-1].last) == ("filling × 2", 6, 8)
    assert "40 of them learned (40%); 3 texts lose their end, 2 are left out" in counts_text(preview())


def test_answers_that_changed_stand_out() -> None:
    answers = (StepAnswers(0, ("a", "b")), StepAnswers(5, ("a", "c")), StepAnswers(9, ("d", "c")))
    nothing = np.zeros((0, 0))
    step = TrainingStep("sft", "sft", "done", (), np.zeros(0), nothing, nothing, prompts=("p", "q"), answers=answers)
    header, rows, changed = answer_rows([("r", step)])
    assert (header, rows[1], changed) == (["Optimizer step", "p", "q"], [5, "a", "c"], {(1, 2), (2, 1)})
    other = replace(step, prompts=("q",), answers=(StepAnswers(0, ("",)),))
    header, rows, _changed = answer_rows([("r", step), ("s", other)])
    assert header == ["Run", "Optimizer step", "p", "q"]
    assert rows[-1] == ["s", 0, "", "∅"]  # never asked, and an answer that ended at once


def test_prompts_with_commas_survive_the_form() -> None:
    prompts = ("Where is Tarn, please?", "Who?")
    text = as_text(prompts)
    assert text == '"Where is Tarn, please?", Who?'
    assert from_text(text, tuple[str, ...]) == list(prompts)
    assert from_text("a, b,, c ", tuple[str, ...]) == ["a", "b", "c"]
    assert from_text('"unfinished, x', tuple[str, ...]) == ["unfinished", "x"]


def test_relative_paths_become_whole_and_names_of_steps_stay(tmp_path: Any) -> None:
    (tmp_path / "sft").mkdir()
    (tmp_path / "talk.jsonl").write_text("{}")
    text = "name: x\nstages:\n- {stage: sft, data: [talk.jsonl, gone.jsonl], parent: base}\n- {stage: dpo, parent: sft}\n"
    first, second = yaml.safe_load(drafts.with_whole_paths(text, tmp_path))["stages"]
    assert first["data"] == [str(tmp_path / "talk.jsonl"), "gone.jsonl"]
    assert (first["parent"], second["parent"]) == ("base", "sft")
    (tmp_path / "fp32").write_text("")  # a file that happens to be called as a setting's value
    text = "name: x\nstages:\n- {stage: sft, precision: fp32, sample_prompts: [talk.jsonl], dev: talk.jsonl}\n"
    (only,) = yaml.safe_load(drafts.with_whole_paths(text, tmp_path))["stages"]
    assert (only["precision"], only["sample_prompts"]) == ("fp32", ["talk.jsonl"])
    assert only["dev"] == str(tmp_path / "talk.jsonl")
    text = "name: x\nstages:\n- {stage: tokenizer, data: [gone.jsonl], compare: [sft], report: [talk.jsonl]}\n"
    (only,) = yaml.safe_load(drafts.with_whole_paths(text, tmp_path))["stages"]
    assert (only["compare"], only["report"]) == ([str(tmp_path / "sft")], [str(tmp_path / "talk.jsonl")])
    long = {"stages": [{"stage": "sft", "data": ["Where is Tarn? " * 30, "a\nb", ""]}]}
    assert yaml.safe_load(drafts.with_whole_paths(yaml.safe_dump(long), tmp_path)) == long  # no file can be called that


def test_a_reward_model_that_cannot_be_trusted_is_said() -> None:
    sound = clinic(400)
    assert not [text for text in warnings(sound) if "order" in text]
    assert any("accuracy" in line for line in summary(sound))
    leaking = replace(sound, flipped=-sound.margins)
    assert any("order of the answers" in text for text in warnings(leaking))
    backwards = replace(sound, chosen=sound.rejected, rejected=sound.chosen + 5)
    assert any("chance" in text for text in warnings(backwards))
    assert any("no opinion" in text for text in warnings(backwards))
    kinds = {one.kind for one in margin_bins(sound) if one.height}
    assert kinds == {"good", "bad"}


def test_pairs_of_a_run_are_offered() -> None:
    step = TrainingStep("reward", "reward", "done", (), np.zeros(0), np.zeros((0, 0)), np.zeros((0, 0)),
                        settings={"pairs": "preferences/pairs.jsonl", "dev": "/data/dev.jsonl"})  # fmt: skip
    assert offered(TrainingRun("/r", "t", "done", (step,))) == [("/r/reward/checkpoint", "/data/dev.jsonl")]
    own = replace(step, settings={"pairs": "preferences/pairs.jsonl, b.jsonl"})
    assert offered(TrainingRun("/r", "t", "done", (own,)))[0][1] == "/r/preferences/pairs.jsonl, /r/b.jsonl"
    assert not offered(TrainingRun("/r", "t", "done", (replace(step, state="running"),)))


# --- the page of runs ----------------------------------------------------------------------------------------------------


def of(page: Any, slot: str) -> Any:
    """Return the one want of a slot."""
    (found,) = [want for want in page.wants() if want.slot == slot]
    return found


def test_looking_ahead_asks_answers_fails_and_stops(qtbot: Any) -> None:
    page = RunsPage()
    qtbot.addWidget(page)
    page.editor.begin("sft", {"parent": "/base"})
    page.editor.plan.ask.click()
    page.editor.data.against.setEditText("world_known")
    assert not [want for want in page.wants() if want.op == "task_names"]
    page.new.setChecked(True)
    page.set_answer(of(page, "benchmarks"), made.task_names(""))
    assert [page.editor.data.against.itemText(at) for at in range(3)] == ["", "world_questions", "world_questions"]
    page.editor.data.ask.click()
    want = of(page, "plan")
    assert (want.op, want.params["step"], want.params["output"]) == ("training_plan", "sft", "")
    assert yaml.safe_load(want.params["recipe"])["stages"][0]["parent"] == "/base"
    assert of(page, "data").params["against"] == "world_known"
    page.set_progress(want, Progress(1, 3, "measuring"))
    assert "measuring" in page.editor.plan.page.text()
    page.set_answer(want, PLAN)
    assert page.editor.plan.stack.currentWidget() is page.editor.plan.card
    assert "pretrain is not trained yet" in page.editor.plan.card.notes.text()
    page.set_failure(of(page, "data"), Failure("user", "There is no <b>file</b>.", "Name one."))
    assert "There is no <b>file</b>." in page.editor.data.page.text()
    page.editor.data.ask.click()
    page.editor.data.stop.click()
    assert not [want for want in page.wants() if want.slot == "data"]
    page.editor.data.ask.click()
    page.set_answer(of(page, "data"), preview())
    page.new.setChecked(True)
    page.editor.tabs.setCurrentWidget(page.editor.data)
    header, rows = page.table()
    assert len(rows) == 16
    assert rows[1][header.index("Part in the loss")] == "learned"
    assert "place 1, id 1" in page.editor.data.panel.strip.tip(1)
    page.editor.form.fields["lr"].setText("0.5")  # another recipe: the answers are of the past
    assert page.editor.plan.stack.currentWidget() is page.editor.plan.page
    page._soon.stop()


def test_a_fork_opens_the_recipe_and_starts_from_the_saved_step(qtbot: Any) -> None:
    page = RunsPage()
    qtbot.addWidget(page)
    page.set_answer(of(page, "jobs"), (made.training_job("stopped"),))
    page.redraw()
    whole = run(state="stopped", saved=(20,), copies=(10, 20))
    page.set_answer(of(page, "run//runs/train-1"), replace(whole, state="stopped"))
    page.redraw()
    texts = [action.text() for action in page.forks.actions()]
    assert texts == ["ppo, step 20: whole state", "ppo, step 10: weights alone"]
    page.forks.actions()[1].trigger()
    want = of(page, "draft")
    page.set_answer(want, "name: x\nstages:\n- {stage: sft, name: first}\n- {stage: ppo, lr: 0.1}\n")
    page.redraw()
    assert page.new.isChecked()
    assert page.editor.step_name() == "ppo"
    assert "/runs/train-1/ppo/step-10" in page.editor.origin.whole()
    page.editor.form.fields["lr"].setText("0.2")
    other = RunsPage()
    qtbot.addWidget(other)
    other.restore(json.loads(json.dumps(page.state())))
    assert (other.editor.begins_from, other.editor.made_in) == ("/runs/train-1/ppo/step-10", "/runs/train-1")
    assert (other.editor.text(), other.editor.step_name()) == (page.editor.text(), "ppo")
    assert other.state() == page.state()
    other._soon.stop()
    other.restore({"origin": ["/runs", 3]})
    other._soon.stop()
    page.editor.plan.ask.click()
    assert of(page, "plan").params["output"] == "/runs/train-1"
    page.editor.start.click()
    want = of(page, "start")
    assert want.params["begin"] == "/runs/train-1/ppo/step-10"
    assert yaml.safe_load(want.params["recipe"])["stages"][1]["lr"] == 0.2
    page.set_answer(want, made.training_job("queued"))
    assert page.editor.begins_from == ""
    page.forks.actions()[0].trigger()
    page.set_answer(of(page, "draft"), "name: x\nstages:\n- {stage: ppo}\n")
    page.editor.clear.click()
    assert page.editor.begins_from == ""
    page._soon.stop()
    page._poll.stop()


def test_a_button_does_not_ask_again_what_another_one_asked(qtbot: Any) -> None:
    page = RunsPage()
    qtbot.addWidget(page)
    page.set_answer(of(page, "jobs"), (made.training_job("stopped"),))
    page.redraw()
    page.set_answer(of(page, "run//runs/train-1"), replace(run(saved=(20,)), state="stopped"))
    page.redraw()
    page.editor.start.click()
    want = of(page, "start")
    page.resume.click()
    page.forks.actions()[0].trigger()
    assert of(page, "start") == want, "a second training would be started"
    order = of(page, "order")
    page.set_failure(want, Failure("user", "There is no file.", "Name one."))
    assert not [want for want in page.wants() if want.slot == "start"]
    assert of(page, "order") == order
    page.editor.start.click()
    assert of(page, "start") != want
    assert of(page, "order") == order
    page._soon.stop()


def test_answers_stand_below_the_curves_only_if_there_are_any(qtbot: Any) -> None:
    page = RunsPage()
    qtbot.addWidget(page)
    page.set_answer(of(page, "jobs"), (made.training_job(),))
    page.redraw()
    page.set_answer(of(page, "run//runs/train-1"), run())
    page.redraw()
    assert not page.answers.isVisibleTo(page)
    answers = (StepAnswers(0, ("<b>a</b>",)), StepAnswers(9, ("b",)))
    page.set_answer(of(page, "run//runs/train-1"), run(prompts=("Where, <i>then</i>?",), answers=answers))
    page.redraw()
    assert page.answers.isVisibleTo(page)
    assert page.answers.table.rows.rows == [[0, "<b>a</b>"], [9, "b"]]
    page._soon.stop()


def test_every_setting_that_names_files_is_known_to_be_one() -> None:
    words = ("file", "files", "folder")
    for kind in stages().values():
        for name, hint, _usual, text in setting_fields(kind.settings):
            said = [word.strip(".,;:()").casefold() for word in text.split()]
            if hint in (str, tuple[str, ...]) and name != "report_to" and any(word in said for word in words):
                assert name in drafts.PATHS, f"{kind.name}.{name}: {text}"


def test_what_is_paid_and_its_price_come_before_the_rate_of_learning() -> None:
    nothing = np.zeros((0, 0))
    names = ("learning_rate", "mine", "objective/kl_se", "loss", "objective/kl", "objective/paid")
    step = TrainingStep("ppo", "ppo", "done", names, np.zeros(0), nothing, nothing)
    assert metrics_of([step]) == ["objective/paid", "objective/kl", "loss", "learning_rate", "mine"]
    assert [name for name in ("loss", "eval_loss", "learning_rate") if is_exact(name)] == ["eval_loss", "learning_rate"]


def test_runs_that_are_compared_have_the_colour_of_their_curves_beside_their_names(qtbot: Any) -> None:
    runs = RunList()
    qtbot.addWidget(runs)
    jobs = (made.training_job(), replace(made.training_job(), path="/runs/two"), replace(made.training_job(), path="/runs/three"))
    runs.chosen = ["/runs/two", "/runs/train-1"]
    runs.set_jobs(jobs)
    colors = scheme(runs.palette()).columns
    shown = [runs.item(at).icon().pixmap(10, 10, QIcon.Mode.Selected).toImage() for at in (0, 1)]
    assert [image.pixelColor(5, 5).getRgb()[:3] for image in shown] == [tuple(colors[1]), tuple(colors[0])]
    assert runs.item(2).icon().isNull()
    runs.chosen = ["/runs/two"]
    runs.set_jobs(jobs)
    assert runs.item(1).icon().isNull()


def test_the_curves_that_are_shown_can_be_read_again(qtbot: Any) -> None:
    page = RunsPage()
    qtbot.addWidget(page)
    assert (page.script(), page.command_line()) == ("", "")
    page.set_answer(of(page, "jobs"), (made.training_job("stopped"),))
    page.redraw()
    page.set_answer(of(page, "run//runs/train-1"), run())
    page.redraw()
    assert page.command_line() == "triptych train quick.yaml\n"
    assert "['/runs/train-1']" in page.script()
    compile(page.script(), "script", "exec")
    page._soon.stop()


# --- one PPO step --------------------------------------------------------------------------------------------------------


def ppo_page(qtbot: Any, examples: tuple[int, ...] = (1, 4, 8)) -> PpoPage:
    page = PpoPage()
    qtbot.addWidget(page)
    page.resize(1000, 600)
    page.show()
    page.set_answer(of(page, "jobs"), (made.training_job(),))
    qtbot.waitUntil(lambda: not page._soon.isActive())
    page.set_answer(of(page, "run"), run(examples=examples))
    qtbot.waitUntil(lambda: not page._soon.isActive())
    return page


def test_the_last_example_is_shown_and_the_slider_goes_back(qtbot: Any) -> None:
    page = ppo_page(qtbot)
    want = of(page, "example")
    assert want.params == {"path": "/runs/train-1", "name": "ppo", "step": 8}
    page.set_answer(want, example(8))
    qtbot.waitUntil(lambda: page.stack.currentWidget() is page.panel)
    said = page.panel.story.text()
    assert "Prompt (state): <b>Where</b>?" in said
    assert "the answer is paid +2.000" in said
    assert "pass 2 of 2 over rollout 1" in said
    assert "1 of 2 tokens are clipped" in said
    header, rows = page.table()
    assert [row[header.index("Ratio")] for row in rows] == pytest.approx([np.exp(0.5), 1.0])
    assert rows[0][-1] == "yes"
    assert "r = −0.5 × (-0.4000) + 2.000 = +2.2000" in page.panel.strip.tip(1)
    assert page.where.text() == "ppo, step 8"
    page.slider.setValue(1)
    assert of(page, "example").params["step"] == 4
    assert page.where.text() == "ppo, step 8; reading 4…"  # the numbers below are still those of step 8
    assert "'/runs/train-1'), 'ppo', 8)" in page.script()
    page.set_answer(of(page, "example"), example(4))
    page.redraw()
    assert page.where.text() == "ppo, step 4"
    page.panel.strip.clicked.emit(1)
    assert page.panel.table.currentIndex().row() == 1
    before = json.loads(json.dumps(page.state()))
    assert before["step"] == 4
    other = PpoPage()
    qtbot.addWidget(other)
    other.restore(before)
    assert other.state() == before
    other.restore({"run": 3, "step": "?", "color": "?"})


def test_a_run_without_examples_and_a_failure_are_said(qtbot: Any) -> None:
    page = ppo_page(qtbot, ())
    assert "has not looked into a PPO step" in page.page.text()
    assert page.table() == ([], [])
    page.set_failure(of(page, "run"), Failure("user", "Gone.", "Choose another."))
    qtbot.waitUntil(lambda: "Gone." in page.page.text())


def test_another_run_is_taken_from_a_selection(qtbot: Any) -> None:
    page = ppo_page(qtbot)
    page.set_selection({"run": "/runs/other"})
    page.set_answer(of(page, "jobs"), (made.training_job(), replace(made.training_job(), id="o", path="/runs/other")))
    assert of(page, "run").params == {"path": "/runs/other"}
    page._soon.stop()


def test_an_example_of_another_run_is_not_shown_as_this_one_s(qtbot: Any) -> None:
    page = ppo_page(qtbot)
    page.set_answer(of(page, "example"), example(8))
    page.set_selection({"run": "/runs/other"})
    page.set_answer(of(page, "jobs"), (made.training_job(), replace(made.training_job(), id="o", path="/runs/other")))
    page.set_answer(of(page, "run"), run("/runs/other", examples=(1, 8)))
    page.redraw()
    assert page.stack.currentWidget() is page.page
    assert page.table() == ([], [])
    page.set_answer(of(page, "example"), example(8))
    page.redraw()
    assert page.stack.currentWidget() is page.panel
    page._soon.stop()


# --- the reward model ----------------------------------------------------------------------------------------------------


def test_the_clinic_asks_shows_and_writes_its_command(qtbot: Any) -> None:
    page = ClinicPage()
    qtbot.addWidget(page)
    page.resize(1000, 600)
    page.show()
    page.set_columns(made.COLUMNS[:2])
    page.checkpoint.setEditText("/m/reward")
    page.pairs.setText("/d/p.jsonl, /d/q r.jsonl")
    page.ahead.ask.click()
    want = of(page, "clinic")
    assert want.params == {"path": "/m/reward", "pairs": ("/d/p.jsonl", "/d/q r.jsonl")}
    page.set_progress(want, Progress(3, 6, "pairs"))
    assert "pairs" in page.ahead.page.text()
    page.set_failure(want, Failure("user", "It is no reward model.", "Choose one."))
    assert "no reward model" in page.ahead.page.text()
    page.ahead.ask.click()
    page.set_answer(of(page, "clinic"), clinic())
    assert page.ahead.stack.currentWidget() is page.panel
    assert "60 pairs, 2 left out" in page.panel.summary.text()
    assert page.panel.mistakes.rows.rows[0][4] == "<b>p</b>"
    assert not page.grab().isNull()
    header, rows = page.table()
    assert len(rows) == 60
    assert all(len(row) == len(header) for row in rows)
    assert page.command_line() == "triptych inspect /m/reward --clinic '/d/p.jsonl,/d/q r.jsonl' --json"
    assert "clinic = open_checkpoint('/m/reward').clinic(('/d/p.jsonl',))\n" in page.script()
    compile(page.script(), "script", "exec")
    before = json.loads(json.dumps(page.state()))
    other = ClinicPage()
    qtbot.addWidget(other)
    other.restore(before)
    assert other.state() == before
    other.restore({"checkpoint": 3, "pairs": None})
