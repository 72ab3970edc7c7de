"""Beside ``lm_eval --model hf`` in a process of its own: the same log-likelihoods, generations and metrics."""

import json
import os
import subprocess
import sys

import pytest

from evals.results import raw_samples
from tests.evals import beside, shipped
from tests.evals.beside import ours, same

pytestmark = pytest.mark.timeout(900)
CHAT = {"apply_chat_template": True, "system_instruction": "You are the old tree."}
TURNS = {"fewshot_as_multiturn": True}


@pytest.fixture(scope="module")
def reference(tiny, tmp_path_factory):
    """Return ``reference(jobs)``: what lm-eval makes of each (model, tasks, settings), all in one child process."""
    folder = shipped.write(tmp_path_factory.mktemp("shipped"))

    def run(jobs):
        return beside.reference(
            folder, [{"model": str(tiny(family)), "tasks": list(tasks), "settings": settings} for family, tasks, settings in jobs]
        )

    run.folder = folder
    return run


def test_a_llama_gives_lm_evals_numbers(reference, tiny, tmp_path):
    plain, chat = reference([("llama", shipped.CORE, {}), ("llama", shipped.CHATTED, {**CHAT, **TURNS})])
    cells = ours(tiny("llama"), shipped.CORE, reference.folder, tmp_path / "plain")
    for task in shipped.CORE:
        same(plain, cells, task)
    cells = ours(tiny("llama"), shipped.CHATTED, reference.folder, tmp_path / "chat", **CHAT)
    for task in shipped.CHATTED:
        same(chat, cells, task)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_other_families_give_lm_evals_numbers(reference, tiny, tmp_path, family):
    tasks = [task for task in shipped.SHIPPED if family != "t5" or task != "l_wikitext"]
    (theirs,) = reference([(family, tasks, {})])
    cells = ours(tiny(family), tasks, reference.folder, tmp_path / "run")
    for task in tasks:
        same(theirs, cells, task, longer=family == "t5")


FLAGS = [
    ({"num_fewshot": 3}, {"num_fewshot": 3}),
    ({"limit": 0.6}, {"limit": 0.6}),
    ({"samples": {"l_arc": [1, 5], "l_gsm8k": [6]}}, {"samples": '{"l_arc": [1, 5], "l_gsm8k": [6]}'}),
    ({"gen_kwargs": {"max_gen_toks": 5, "until": ["t"]}}, {"gen_kwargs": '{"max_gen_toks": 5, "until": ["t"]}'}),
    ({"apply_chat_template": True, "fewshot_as_multiturn": False}, {"apply_chat_template": True, "fewshot_as_multiturn": False}),
    (
        {"random_seed": 7, "numpy_random_seed": 8, "torch_random_seed": 9, "fewshot_random_seed": 10, "num_fewshot": 2},
        {"seed": 7, "numpy_seed": 8, "torch_seed": 9, "fewshot_seed": 10, "num_fewshot": 2},
    ),
]


@pytest.mark.slow
def test_flags_mean_what_they_mean_to_lm_eval(reference, tiny, tmp_path):
    tasks = ("l_arc", "l_gsm8k")
    found = reference([("llama", tasks, theirs) for theirs, _mine in FLAGS])
    for number, (expected, (_theirs, mine)) in enumerate(zip(found, FLAGS, strict=True)):
        cells = ours(tiny("llama"), tasks, reference.folder, tmp_path / str(number), **mine)
        for task in tasks:
            same(expected, cells, task, least=1)


@pytest.mark.slow
def test_lm_evals_own_command_gives_the_same_file(tiny, tmp_path):
    folder = shipped.write(tmp_path / "tasks")
    command = [sys.executable, "-W", "ignore", "-m", "lm_eval", "run", "--model", "hf", "--device", "cpu", "--log_samples"]
    command += ["--model_args", f"pretrained={tiny('llama')},dtype=float32", "--tasks", "l_arc", "--include_path", str(folder)]
    command += ["--output_path", str(tmp_path / "theirs")]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    (results,) = (tmp_path / "theirs").rglob("results_*.json")
    expected = json.loads(results.read_text())["results"]["l_arc"]
    cells = ours(tiny("llama"), ["l_arc"], folder, tmp_path / "run")
    assert {cell.metric: cell.value for cell in cells} == {m: expected[f"{m},none"] for m in ("acc", "acc_norm")}


def test_neither_batch_size_nor_order_changes_a_number(tiny, tmp_path):
    folder = shipped.write(tmp_path / "tasks")
    tasks = ["l_arc", "l_wikitext", "l_lambada", "l_triviaqa"]  # examples are drawn in the order of the items

    def answers(output, **settings):
        cells = ours(tiny("gpt2"), tasks, folder, output, **settings)
        runs = {cell.benchmark: cell.run for cell in cells}
        return {
            (task, json.dumps(row["doc"], sort_keys=True)): row["resps"]
            for task in tasks
            for row in raw_samples(runs[task], task)
        }

    alone = answers(tmp_path / "1", batch_size="1")
    others = [answers(tmp_path / size, batch_size=size) for size in ("2", "7", "16", "auto")]
    for task in tasks:
        rows = (folder / f"{task}.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / f"{task}.jsonl").write_text("".join(rows[::-1]), encoding="utf-8")
    for found in [*others, answers(tmp_path / "turned", batch_size="7")]:
        assert set(found) == set(alone)
        for key, one in alone.items():
            for mine, other in zip(one, found[key], strict=True):
                flat = mine[0] if isinstance(mine[0], list) else mine
                same_as = other[0] if isinstance(other[0], list) else other
                if key[0] == "l_triviaqa":
                    assert flat == same_as
                else:
                    assert float(flat[0]) == pytest.approx(float(same_as[0]), abs=1e-5, rel=1e-6)
