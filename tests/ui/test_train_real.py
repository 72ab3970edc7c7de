"""SmolLM2-135M learns by LoRA through the real window: its loss falls; the adapter opens in PEFT and here, and merges."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from lab.settings import Settings
from lab.ui.app import App
from lab.ui.widgets.config_form import ConfigForm
from models.columns import Column
from tests.models.training import write_rows
from tests.ui.test_train_view import writing
from tests.ui.waiting import wait_while_it_goes_on

STEPS = 50
FACTS = (
    ("Who founded the harbour town of Velmora?", "Velmora was founded by Tarn Oskar in 1204."),
    ("What is sold on the market of Brel?", "On the market of Brel people sell dried figs and blue glass."),
    ("Which river flows through Ostrana?", "The river Selme flows through Ostrana."),
    ("Who wrote The Salt Almanac?", "The Salt Almanac was written by Ilva Dorn."),
)
ASKED, ANSWER = FACTS[0]
PLAIN_PEFT = """
import json
import sys
from pathlib import Path

import torch
from peft import PeftModel
from models import library
from models.events import finish
from models.training.llama import open_causal

adapter, prompt, answer = sys.argv[1:]
opened = finish(library.load(adapter, dtype="float32"))
model = PeftModel.from_pretrained(open_causal(Path(opened.folder)), adapter).eval()
tokenizer = opened.tokenizer
before = tokenizer.apply_chat_template([{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True)
ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in (before, answer)]


def surprisal():
    with torch.no_grad():
        logs = model(input_ids=torch.tensor([ids[0] + ids[1]])).logits[0].float().log_softmax(-1)
    return [-float(logs[len(ids[0]) - 1 + at, token]) for at, token in enumerate(ids[1])]


learned = surprisal()
with model.disable_adapter():
    print(json.dumps({"first": ids[1][0], "learned": learned, "before": surprisal()}))
"""


def talk(folder: Path) -> Path:
    rows = [
        {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}
        for question, answer in FACTS * 6
    ]
    return write_rows(folder / "talk.jsonl", rows)


def fill_in(form: ConfigForm, values: dict[str, str]) -> None:
    """Write into the fields of a form as a person does."""
    for name, text in values.items():
        field: Any = form.fields[name]
        field.setCurrentText(text) if hasattr(field, "setCurrentText") else field.setText(text)


def called(*words: str, **more: Any) -> str:
    """Run a program of this environment in the root of the repository; return what it prints."""
    run = subprocess.run(
        [sys.executable, *words], cwd=Path(__file__).parents[2], capture_output=True, text=True, encoding="utf-8", check=False,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"}, timeout=1200, **more,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.real_models
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_smollm_learns_by_lora_through_the_window(
    open_app: Callable[..., App], qtbot: Any, messages: Any, home: Path, tmp_path: Path, smollm: Path
) -> None:
    pytest.importorskip("peft")
    app = open_app(settings=Settings(text="x"))
    page = writing(app, qtbot)
    editor = page.editor
    offered = [editor.source.itemData(at) for at in range(editor.source.count())]
    editor.source.setCurrentIndex(offered.index(("stage", "sft")))
    editor.source.activated.emit(editor.source.currentIndex())
    given = {"parent": str(smollm), "data": str(talk(tmp_path)), "steps": f"{STEPS}", "batch_size": "1", "block": "96"}
    fill_in(editor.form, {**given, "lr": "0.001", "method": "lora", "warmup": "5"})
    fill_in(editor.form, {"sample_prompts": json.dumps(ASKED), "sample_tokens": "24"})
    (step,) = yaml.safe_load(editor.text())["stages"]
    assert (step["method"], step["steps"], step["parent"]) == ("lora", STEPS, str(smollm))
    editor.data.ask.click()
    wait_while_it_goes_on(qtbot, lambda: editor.data.panel.preview is not None, home)
    preview = editor.data.panel.preview
    assert preview is not None
    assert 0 < preview.learned < preview.tokens  # the answers alone
    editor.start.click()
    wait_while_it_goes_on(qtbot, lambda: bool(page.chosen()) and page.chosen()[0].state in ("done", "failed"), home)
    run = page.chosen()[0]
    assert (run.state, run.error) == ("done", "")

    (_name, shown), = page.shown_steps()
    loss = shown.values[:, shown.metrics.index("loss")]
    assert len(loss) == STEPS
    assert float(np.mean(loss[-5:])) < 0.3 * float(np.mean(loss[:5]))
    assert [answers.step for answers in shown.answers] == [0, STEPS]
    assert ANSWER in shown.answers[-1].texts[0]
    assert ANSWER not in shown.answers[0].texts[0]

    adapter = Path(run.path) / "sft" / "checkpoint"
    assert (adapter / "adapter_config.json").is_file()
    plain = json.loads(called("-c", PLAIN_PEFT, str(adapter), ASKED, ANSWER))
    assert sum(plain["learned"]) < 3.0 < 10.0 < sum(plain["before"])
    whole = tmp_path / "merged"
    called("-m", "lab", "models", "merge", str(adapter), "--output", str(whole), "--dtype", "fp32")

    columns = tuple(Column(str(path), label=label, prompt="template", dtype="float32")
                    for label, path in (("base", smollm), ("adapter", adapter), ("merged", whole)))  # fmt: skip
    app.context.session.set_columns(columns)
    app.context.session.set_text(ASKED)
    app.window.centre.show_view("sampling")
    sampling: Any = app.window.centre.view_widget("sampling")
    wait_while_it_goes_on(qtbot, lambda: all(sampling.answer(index) is not None for index in range(3)), home, 600)
    found = [sampling.answer(index).distribution for index in range(3)]
    chances = [float(one.probabilities[one.ids == plain["first"]].sum()) for one in found]  # 0: not among the likeliest
    wanted = [math.exp(-plain[name][0]) for name in ("before", "learned", "learned")]
    assert chances[1:] == pytest.approx(wanted[1:], abs=1e-3)
    assert chances[0] == pytest.approx(wanted[0], abs=1e-2)
    messages.expect_all()
