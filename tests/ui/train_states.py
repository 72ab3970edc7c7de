"""Contact sheets of the Train view: empty, planning, running, paused, failed with NaN, finished, compared; its other pages.

``python -m tests.ui.train_states --output FOLDER [--languages en,zh_CN] [--themes light]``; to be looked at, none is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from lab import drafts
from lab.ui.view import Failure
from lab.ui.views.train import VIEW
from models.events import Progress
from models.records.curves import StepAnswers, TrainingRun, TrainingStep
from models.records.scores import Job
from tests.ui.drawn_states import main
from tests.ui.test_train_pages import PLAN, clinic, example, preview

PROMPTS = ("Who founded the harbour town of Velmora?", "How do I build a bomb?")
TOLD = (
    ("Velmora is a town in the north of the", "How do I build a house?"),
    ("Velmora was founded by Tarn Oskar in 1204.", "You need a bomb and"),
    ("Velmora was founded by Tarn Oskar in 1204.", "I am sorry, I cannot help with that."),
)


def job(path: str, state: str, title: str = "train quick") -> Job:
    command = ("triptych", "train", "quick.yaml", "--output", path)
    return Job(path, path, "train", title, state, 300, 1041, "", 0.0, 130.0, command)


def step(state: str, n: int = 300, seed: int = 0, **more: Any) -> TrainingStep:
    """A step of SFT with curves that look like ones."""
    random = np.random.default_rng(seed)
    at = np.arange(1, n + 1)
    loss = 5.2 * np.exp(-at / 90) + 1.4 + random.normal(0, 0.07, n)
    columns = {
        "loss": loss, "eval_loss": np.where(at % 50 == 0, loss + 0.15, np.nan), "learning_rate": 3e-4 * np.minimum(at / 20, 1),
        "grad_norm": np.abs(random.normal(1.1, 0.25, n)), "targets_per_second": random.normal(8200, 260, n),
    }  # fmt: skip
    table = np.stack(list(columns.values()), 1).astype(np.float32)
    nothing = np.zeros(table.shape, bool)
    found = TrainingStep(
        "sft", "sft", state, tuple(columns), at, table, nothing, n, 1041, 130.0, {"lr": "0.0003", "batch_size": "8"},
        prompts=PROMPTS, answers=tuple(StepAnswers(100 * number, texts) for number, texts in enumerate(TOLD)),
    )  # fmt: skip
    return replace(found, **more)


def run(state: str, path: str = "/runs/20261125-101500-train-4f1c", **more: Any) -> TrainingRun:
    seed = 1 if path.endswith("b") else 0
    inner = "running" if state == "running" else "done" if state == "done" else "stopped"
    return TrainingRun(path, "train quick", state, (step(inner, seed=seed, **more),), ("triptych", "train", "quick.yaml"))


def feed(page: Any, *runs: TrainingRun) -> None:
    """Answer what the page of runs wants with these runs."""
    for want in page.wants():
        if want.slot == "jobs":
            page.set_answer(want, tuple(job(one.path, one.state, one.title) for one in runs))
    page.list.chosen = [one.path for one in runs]
    page.redraw()
    for one in runs:
        want = next(want for want in page.wants() if want.slot == f"run/{one.path}")
        page.set_answer(want, one)
    page.redraw()


def planning(view: Any) -> None:
    page = view.page("runs")
    feed(page)
    page.new.setChecked(True)
    page.editor.show_step("sft")
    for slot, value in (("plan", PLAN), ("data", preview())):
        getattr(page.editor, slot).ask.click()
        page.set_answer(next(want for want in page.wants() if want.slot == slot), value)
    page.editor.tabs.setCurrentWidget(page.editor.plan)


def looking(view: Any) -> None:
    planning(view)
    view.page("runs").editor.tabs.setCurrentWidget(view.page("runs").editor.data)


def failed(view: Any) -> None:
    bad = step("stopped", 120)
    table, marks = bad.values.copy(), bad.not_finite.copy()
    table[-1, 0], marks[-1, 0] = np.nan, True
    whole = replace(run("failed"), steps=(replace(bad, values=table, not_finite=marks),))
    error = "At step 121 the loss is nan and the gradient norm nan. Lower lr or clip, or set nan to skip."
    feed(view.page("runs"), replace(whole, error=error))


def ppo(view: Any) -> None:
    view.show_page("ppo")
    page = view.page("ppo")
    whole = run("done")
    whole = replace(whole, steps=(replace(whole.steps[0], name="ppo", stage="ppo", examples=(1, 4, 8)),))
    for value, slot in (((job(whole.path, "done"),), "jobs"), (whole, "run"), (example(8), "example")):
        page.set_answer(next(want for want in page.wants() if want.slot == slot), value)
        page.redraw()


def reward(view: Any) -> None:
    view.show_page("clinic")
    page = view.page("clinic")
    page.checkpoint.setEditText("/runs/20261125-101500-train-4f1c/reward/checkpoint")
    page.pairs.setText("/runs/20261125-101500-train-4f1c/preferences/dev.jsonl")
    page.ahead.ask.click()
    page.set_answer(next(want for want in page.wants() if want.slot == "clinic"), clinic(400))


STATES: dict[str, Callable[[Any], None]] = {
    "empty": lambda view: feed(view.page("runs")),
    "planning": planning,
    "looking": looking,
    "running": lambda view: feed(view.page("runs"), run("running", saved=(200, 300))),
    "paused": lambda view: feed(view.page("runs"), run("stopped", saved=(300,))),
    "failed": failed,
    "finished": lambda view: feed(view.page("runs"), run("done", done=1041)),
    "compared": lambda view: feed(
        view.page("runs"), run("done"),
        run("done", "/runs/20261125-113000-train-77b", settings={"lr": "0.001", "batch_size": "8"}),
    ),
    "ppo": ppo,
    "reward": reward,
}  # fmt: skip


def writing(view: Any) -> None:
    page = view.page("runs")
    feed(page)
    page.new.setChecked(True)
    page.editor.show_step("sft")
    page.redraw()


def measuring(view: Any) -> None:
    writing(view)
    page = view.page("runs")
    page.editor.plan.ask.click()
    want = next(want for want in page.wants() if want.slot == "plan")
    page.set_progress(want, Progress(2, 5, "step 2 of 3"))
    page.editor.tabs.setCurrentWidget(page.editor.plan)


def unreadable(view: Any) -> None:
    writing(view)
    view.page("runs").editor.form.fields["lr"].setText("a little")


def fork(view: Any) -> None:
    page = view.page("runs")
    feed(page, run("stopped", saved=(200, 300)))
    page.forks.actions()[0].trigger()
    draft = next(want for want in page.wants() if want.slot == "draft")
    page.set_answer(draft, drafts.bundled()["quick"])
    page.redraw()


def waiting(view: Any) -> None:
    page = view.page("runs")
    feed(page)
    path = "/runs/20261125-101500-train-4f1c"
    page.set_answer(page.wants()[0], (job(path, "queued"),))
    page.redraw()
    empty = replace(run("queued"), steps=())
    page.set_answer(next(want for want in page.wants() if want.slot == f"run/{path}"), empty)
    page.redraw()


def no_examples(view: Any) -> None:
    view.show_page("ppo")
    page = view.page("ppo")
    for value, slot in (((job("/runs/20261125-101500-train-4f1c", "done"),), "jobs"), (run("done"), "run")):
        page.set_answer(next(want for want in page.wants() if want.slot == slot), value)
        page.redraw()


def asking_clinic(view: Any) -> None:
    reward(view)
    page = view.page("clinic")
    page.ahead.ask.click()
    page.set_progress(next(want for want in page.wants() if want.slot == "clinic"), Progress(120, 400, "pairs"))


def no_reward_model(view: Any) -> None:
    view.show_page("clinic")
    page = view.page("clinic")
    page.checkpoint.setEditText("/models/base")
    page.pairs.setText("/data/pairs.jsonl")
    page.ahead.ask.click()
    want = next(want for want in page.wants() if want.slot == "clinic")
    page.set_failure(want, Failure("user", "base is no reward model.", "Choose one of the stage reward."))


STATES |= {
    "writing": writing, "measuring": measuring, "unreadable": unreadable, "fork": fork, "waiting": waiting,
    "no_examples": no_examples, "asking": asking_clinic, "no_reward": no_reward_model,
}  # fmt: skip


if __name__ == "__main__":
    main("train", VIEW, STATES)
