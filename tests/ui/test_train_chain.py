"""The whole chain through the real window: started, the window closed and opened again, the lineage there to compare."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.settings import Settings
from lab.ui.app import App
from models.columns import Column
from tests.ui.test_train_view import runs_page, writing
from tests.ui.waiting import wait_while_it_goes_on

SECONDS = 900_000
TINY = {"block": 128, "threads": 1, "precision": "fp32", "device": "cpu"}
RECIPE = {
    "name": "chain", "seed": 1,
    "world": {
        "seed": 101, "listed": 4, "taught": 6, "rewarded": 4, "dev": 2, "test": 4, "articles": 2, "shorts": 2, "faq": 2,
        "readings": 20, "columns": 20, "digests": 20, "tokenizer_rows": 60, "instructions": 200, "prompts": 60, "requests": 20,
    },
    "stages": [
        {"stage": "tokenizer", "data": ["world/tokenizer.jsonl"], "vocab_size": 600},
        {"stage": "pretrain", "data": ["world/pretrain.jsonl"], "steps": 40, "batch_size": 4, "save_every": 20, **TINY,
         "model": {"layers": 1, "width": 32, "heads": 2, "feed_forward": 48, "context": 256}},
        {"stage": "sft", "parent": "pretrain", "data": ["world/sft.jsonl"], "steps": 60, "batch_size": 4, "lr": 0.01, **TINY,
         "sample_prompts": ["Who founded it?"], "sample_every": 30, "sample_tokens": 8},
        {"stage": "preferences", "parent": "sft", "prompts": ["world/prompts.jsonl"], "samples": 4,
         "labeller": "models.training.labels:shortest", "max_new_tokens": 8, "batch_size": 64, "device": "cpu"},
        {"stage": "reward", "parent": "sft", "pairs": ["preferences/pairs.jsonl"], "steps": 10, "batch_size": 8, **TINY,
         "bad_rows": "skip"},
        {"stage": "ppo", "parent": "sft", "reward_model": "reward", "prompts": ["world/prompts.jsonl"], "rollouts": 2,
         "rollout_size": 8, "minibatch": 8, "max_new_tokens": 8, **TINY},
        {"stage": "dpo", "parent": "sft", "pairs": ["preferences/pairs.jsonl"], "steps": 6, "batch_size": 8, **TINY,
         "bad_rows": "skip"},
    ],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_pretrain_to_dpo_with_the_window_closed_in_between(
    open_app: Callable[..., App], qtbot: Any, messages: Any, home: Path
) -> None:
    app = open_app(settings=Settings(text="x"))
    page = writing(app, qtbot)
    page.editor.set_text(yaml.safe_dump(RECIPE, sort_keys=False))
    page.editor.start.click()
    wait_while_it_goes_on(qtbot, lambda: any(step.name == "pretrain" for run in page.chosen() for step in run.steps), home)
    app.close()

    again = open_app()
    page = runs_page(again)
    wait_while_it_goes_on(qtbot, lambda: bool(page.chosen()) and page.chosen()[0].state in ("done", "failed"), home)
    run = page.chosen()[0]
    assert (run.state, run.error) == ("done", "")
    assert [step.name for step in run.steps if step.state == "done"] == [step["stage"] for step in RECIPE["stages"]]
    sft = next(step for step in run.steps if step.name == "sft")
    assert [answers.step for answers in sft.answers] == [0, 30, 60]
    lineage = json.loads((Path(run.path) / "lineage.json").read_text())
    parents = {row["name"]: row["parent"] for row in lineage["checkpoints"]}
    assert parents == {"pretrain": "", "sft": "pretrain", "reward": "sft", "ppo": "sft", "dpo": "sft"}

    pages = again.window.centre.view_widget("train")
    pages.show_page("ppo")
    inside = pages.page("ppo")
    qtbot.waitUntil(lambda: inside.panel.example is not None, timeout=SECONDS)
    assert inside.panel.example.step == 4
    pages.show_page("clinic")
    clinic = pages.page("clinic")
    clinic.checkpoint.setEditText(f"{run.path}/reward/checkpoint")
    clinic.pairs.setText(f"{run.path}/preferences/pairs.jsonl")
    clinic.ahead.ask.click()
    qtbot.waitUntil(lambda: clinic.panel.clinic is not None, timeout=SECONDS)
    assert len(clinic.panel.clinic.margins) > 0

    again.context.session.set_columns(
        tuple(Column(f"{run.path}/{name}/checkpoint", label=name) for name in ("pretrain", "sft", "ppo", "dpo"))
    )
    again.context.session.set_text("Who founded Velmora?")
    again.window.centre.show_view("tokens")
    tokens = again.window.centre.view_widget("tokens").page("text")
    qtbot.waitUntil(lambda: all(tokens.answer(index) is not None for index in range(4)), timeout=SECONDS)
    surprisal = [float(tokens.answer(index).surprisal[1:].sum()) for index in range(4)]
    assert len(set(surprisal)) == 4  # four stages, four opinions
    messages.expect_all()
