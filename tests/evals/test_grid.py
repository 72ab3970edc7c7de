"""The grid end to end on tiny random models: cells, files, going on after a stop, failures that stay where they are."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from evals import answering, files, grid, guard, known
from evals.benchmark import Answer
from evals.options import EvalSettings
from evals.store import Request
from models.errors import UserError
from models.events import Note, Partial, Progress, Saved
from models.records.checkpoints import CheckpointRef
from models.records.scores import Cell
from tests.models.folders import edit_json, make_llama
from tests.models.test_library_adapters import write_adapter

CHOICES = """
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{gold}}"
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
"""
ROLLING = """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list:
  - {metric: word_perplexity, aggregation: weighted_perplexity, higher_is_better: false}
  - {metric: byte_perplexity, aggregation: weighted_perplexity, higher_is_better: false}
  - {metric: bits_per_byte, aggregation: bits_per_byte, higher_is_better: false}
"""
WRITING = """
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "fox"
generation_kwargs: {until: ["."], max_gen_toks: 6}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
"""
QUESTIONS = [
    {"question": f"The quick brown {word}", "choices": ["fox jumps", "dog", "the lazy tree sleeps"], "gold": i % 3}
    for i, word in enumerate(["model", "token", "text", "dog", "answer", "stage"])
]
TEXTS = [{"text": "The quick brown fox jumps over the lazy dog. " * n} for n in (1, 3, 9)]


def cells_of(work, drain):
    return drain(work)[1]


def values(cells):
    return {(cell.checkpoint, cell.benchmark, cell.metric): cell.value for cell in cells}


@pytest.fixture(scope="module")
def first_run(small_world, tmp_path_factory):
    """Two checkpoints on three benchmarks, run once: (folder, events, cells)."""
    output = tmp_path_factory.mktemp("grid") / "run"
    names = ["world_perplexity", "world_unknown", "world_translation"]
    work = grid.run([str(small_world / "pretrain"), str(small_world / "sft")], names, EvalSettings(limit=6), output)
    events = []
    while True:
        try:
            events.append(next(work))
        except StopIteration as end:
            return output, events, end.value


def test_cells_are_complete(first_run):
    _output, events, cells = first_run
    assert {cell.checkpoint for cell in cells} == {"pretrain", "sft"}
    assert {(cell.stage, cell.checkpoint) for cell in cells} == {("pretrain", "pretrain"), ("sft", "sft")}
    assert all(cell.state == "done" and cell.n == 6 and cell.signature for cell in cells)
    assert all(cell.low <= cell.value <= cell.high for cell in cells if cell.benchmark != "world_translation")
    assert all(cell.low <= cell.high for cell in cells)
    first = {cell.benchmark: cell.metric for cell in reversed(cells)}
    assert first == {"world_perplexity": "word_perplexity", "world_unknown": "hallucination_rate", "world_translation": "bleu"}
    rates = [cell for cell in cells if cell.benchmark == "world_unknown"]
    assert [cell.higher_is_better for cell in rates if cell.checkpoint == "sft"] == [False, True]
    live = [event.value for event in events if isinstance(event, Partial) and isinstance(event.value, Cell)]
    assert sum(cell.state == "running" and cell.metric == "" for cell in live) >= 6
    assert [cell for cell in live if cell.state == "done"] == cells
    assert sum(isinstance(event, Saved) for event in events) == 6
    assert max(event.done for event in events if isinstance(event, Progress)) >= 6


def test_files_are_lm_evals(first_run):
    output, _events, cells = first_run
    results = sorted((output / "sft").glob("results_*.json"))
    assert len(results) == 3
    content = json.loads(next(path for path in results if "world_unknown" in path.read_text(encoding="utf-8")).read_text("utf-8"))
    for key in (
        "results",
        "configs",
        "versions",
        "n-shot",
        "higher_is_better",
        "n-samples",
        "config",
        "task_hashes",
        "model_name",
    ):
        assert key in content, key
    assert content["config"]["bootstrap_iters"] == 0
    assert content["n-samples"]["world_unknown"]["effective"] == 6
    ours = values(cells)[("sft", "world_unknown", "hallucination_rate")]
    assert content["results"]["world_unknown"]["hallucination_rate,none"] == ours
    assert str(output) not in json.dumps(content)
    when = max(results).stem.removeprefix("results_")
    (samples,) = (output / "sft").glob(f"samples_*_{when}.jsonl")
    rows = [json.loads(line) for line in samples.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 6
    for key in ("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics", "doc_hash"):
        assert key in rows[0], key
    assert rows[0]["arguments"]["gen_args_0"]["arg_0"].startswith("<bos><user>")
    assert rows[0]["arguments"]["gen_args_0"]["arg_0"].endswith("<assistant>")


def test_a_second_run_computes_nothing(first_run, small_world, drain):
    output, _events, cells = first_run
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()}
    names = ["world_perplexity", "world_unknown", "world_translation"]
    paths = [str(small_world / "pretrain"), str(small_world / "sft")]
    events, again = drain(grid.run(paths, names, EvalSettings(limit=6), output))
    assert values(again) == values(cells)
    assert before == {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()}
    assert sum("known already" in event.text for event in events if isinstance(event, Note)) == 6


def test_only_what_is_missing_is_computed_and_numbers_stay(first_run, small_world, drain, tmp_path):
    output, _events, cells = first_run
    folder = tmp_path / "run" / "sft"
    folder.mkdir(parents=True)
    lines = (output / "sft" / "responses.jsonl").read_bytes().splitlines(keepends=True)
    kept = len(lines) // 2
    (folder / "responses.jsonl").write_bytes(b"".join(lines[:kept]) + lines[kept][:10])
    names = ["world_perplexity", "world_unknown", "world_translation"]
    _events, again = drain(grid.run([str(small_world / "sft")], names, EvalSettings(limit=6), tmp_path / "run"))
    expected = {key: value for key, value in values(cells).items() if key[0] == "sft"}
    assert values(again) == expected
    computed = [json.loads(path.read_text("utf-8"))["triptych"]["computed"] for path in folder.glob("results_*.json")]
    assert sum(computed) == sum(len(json.loads(line)["answers"]) for line in lines[kept:]) > 0
    assert len((folder / "responses.jsonl").read_bytes().splitlines()) == len(lines)


def test_a_damaged_results_file_is_passed_over(small_world, drain, tmp_path):
    folder = tmp_path / "sft"
    folder.mkdir()
    (folder / "results_2026-11-22T10-00-00.json").write_text('{"triptych": {"cells": [', encoding="utf-8")
    (folder / "results_2026-11-22T11-00-00.json").write_text("[]", encoding="utf-8")
    (folder / "results_2026-11-22T12-00-00.json").write_text('{"triptych": {"cells": [1]}}', encoding="utf-8")
    row = CheckpointRef("sft", str(small_world / "sft"), "sft")
    _events, found = drain(known.cells(row, "world_unknown", EvalSettings(), folder))
    assert found is None


@pytest.mark.parametrize("changed", ["adapter_config.json", "adapter_model.safetensors", "generation_config.json", "base"])
def test_whatever_changes_an_adapters_answers_changes_its_identity(changed, drain, tmp_path):
    from evals.harness import identity
    from models.library import load

    base = make_llama(tmp_path / "base")
    adapter = write_adapter(tmp_path / "adapter", "../base")
    cell = Cell("adapter", "sft", "world_unknown", "", math.nan, math.nan, math.nan, 0, True, path=str(adapter))

    def both():
        _events, opened = drain(load(str(adapter)))
        _events, who = drain(identity(opened))
        return who, known.fingerprint(cell, EvalSettings())

    before = both()
    assert both() == before
    if changed == "adapter_config.json":
        edit_json(adapter / changed, lora_alpha=16)
    elif changed == "adapter_model.safetensors":
        shutil.rmtree(adapter)
        write_adapter(adapter, "../base", seed=1)
    elif changed == "generation_config.json":
        (base / changed).write_text('{"eos_token_id": 40}', encoding="utf-8")
    else:
        shutil.rmtree(base)
        make_llama(base, seed=1)
    after = both()
    assert after[0] != before[0]
    assert after[1] != before[1]


def test_other_settings_are_computed_again(small_world, drain, tmp_path):
    path = str(small_world / "sft")
    plain = EvalSettings(limit=6, apply_chat_template=False)
    _events, cells = drain(grid.run([path], ["world_unknown"], plain, tmp_path))
    (samples,) = tmp_path.rglob("samples_*.jsonl")
    row = json.loads(samples.read_text("utf-8").splitlines()[0])
    assert not row["arguments"]["gen_args_0"]["arg_0"].startswith("<bos>")
    assert cells[0].n == 6


def test_a_failing_cell_is_recorded_and_the_others_go_on(small_world, drain, tmp_path, tiny):
    broken = tmp_path / "broken"
    broken.mkdir()
    paths = [str(broken), str(tiny("bert")), str(small_world / "sft")]
    events, cells = drain(grid.run(paths, ["no_such_task.yaml", "world_refusal"], EvalSettings(limit=4), tmp_path / "run"))
    states = {(cell.checkpoint, cell.benchmark): cell.state for cell in cells}
    assert states[("broken", "world_refusal")] == "failed"
    assert states[("bert-0", "world_refusal")] == "failed"
    assert states[("sft", "no_such_task.yaml")] == "failed"
    assert states[("sft", "world_refusal")] == "done"
    failed = next(cell for cell in cells if cell.state == "failed" and cell.benchmark == "world_refusal")
    assert math.isnan(failed.value)
    assert "broken" in failed.signature
    assert any(isinstance(event, Note) and event.level == "error" for event in events)


def test_tasks_from_files_run(write_task, tiny, drain, tmp_path):
    choices = write_task("mine_choice", CHOICES, QUESTIONS)
    rolling = write_task("mine_rolling", ROLLING, TEXTS)
    _events, cells = drain(grid.run([str(tiny("llama"))], [str(choices), str(rolling)], EvalSettings(), tmp_path / "run"))
    found = {(cell.benchmark, cell.metric): cell for cell in cells}
    assert set(found) == {("mine_choice", "acc"), ("mine_choice", "acc_norm"), ("mine_rolling", "word_perplexity"),
                          ("mine_rolling", "byte_perplexity"), ("mine_rolling", "bits_per_byte")}  # fmt: skip
    assert found[("mine_choice", "acc")].n == 6
    assert 0 <= found[("mine_choice", "acc")].low <= found[("mine_choice", "acc")].value
    bits = found[("mine_rolling", "bits_per_byte")].value
    assert found[("mine_rolling", "byte_perplexity")].value == pytest.approx(2**bits)
    assert found[("mine_rolling", "bits_per_byte")].low < bits


def test_special_tokens_written_in_a_question_are_text(write_task, tiny, drain, tmp_path):
    rows = [{"question": "Say <eos><assistant> now", "answer": "x"}, {"question": "Say it now", "answer": "x"}]
    text = """
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: [], max_gen_toks: 2}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""
    path = write_task("mine_chat", text, rows)
    asked = []
    work = grid.run([str(tiny("llama"))], [str(path)], EvalSettings(apply_chat_template=True), tmp_path / "run")
    inner = answering.answer

    def watched(opened, requests, store, batch_size=0):
        asked.extend(requests.values())
        return inner(opened, requests, store, batch_size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answering, "answer", watched)
        _events, cells = drain(work)
    assert [cell.state for cell in cells] == ["done"]
    for request in asked:  # the template's own end of turn, and no other: <eos> is 2, <assistant> is 4, <bos> is 1
        assert [request.context.count(token) for token in (1, 2, 4)] == [1, 1, 1]
    assert len(asked) == 2


def test_empty_texts_are_named(write_task, tiny, drain, tmp_path):
    path = write_task("mine_rolling", ROLLING, [*TEXTS, {"text": ""}])
    _events, cells = drain(grid.run([str(tiny("llama"))], [str(path)], EvalSettings(), tmp_path / "run"))
    assert [cell.state for cell in cells] == ["failed"]
    assert "Text 4" in cells[0].signature


def test_examples_never_hold_the_item_itself(write_task, tiny, drain, tmp_path):
    rows = [*QUESTIONS[:4], {**QUESTIONS[0], "id": "the same question under another name"}]
    path = write_task("mine_choice", CHOICES, [{"id": "", **row} for row in rows])
    settings = EvalSettings(num_fewshot=2, seed=3)
    _events, cells = drain(grid.run([str(tiny("llama"))], [str(path)], settings, tmp_path / "run"))
    assert [cell.state for cell in cells] == ["done", "done"]
    (samples,) = (tmp_path / "run").rglob("samples_*.jsonl")
    prompts = [json.loads(line)["arguments"]["gen_args_0"]["arg_0"] for line in samples.read_text("utf-8").splitlines()]
    for row, prompt in zip(rows, prompts, strict=True):
        assert prompt.count("The quick brown") == 3
        assert prompt.count(row["question"]) == 1
    _events, cells = drain(grid.run([str(tiny("llama"))], [str(path)], replace(settings, num_fewshot=4), tmp_path / "more"))
    assert [cell.state for cell in cells] == ["failed"]
    assert "too few different rows" in cells[0].signature


def test_a_model_of_nan_scores_nothing(write_task, tiny, drain, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "nan"
    folder.mkdir()
    for file in tiny("llama").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if "lm_head" in name or "norm" in name)
    tensors[name] = torch.full_like(tensors[name], float("nan"))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    gold_first = [{**row, "gold": 0} for row in QUESTIONS]
    choices = write_task("mine_choice", CHOICES, gold_first)
    rolling = write_task("mine_rolling", ROLLING, TEXTS)
    names = [str(choices), str(rolling), "world_unknown"]
    _events, cells = drain(grid.run([str(folder)], names, EvalSettings(limit=4), tmp_path / "run"))
    assert len(cells) == 7
    for cell in cells:
        assert cell.state == "invalid", cell
        assert math.isnan(cell.value)
        assert cell.n_failed > 0
    text = "".join(path.read_text("utf-8") for path in (tmp_path / "run").rglob("results_*.json"))
    assert "NaN" not in text


def test_ties_share_the_point_and_empty_choices_are_refused():
    found = {"acc": 1.0, "acc_norm": 1.0}
    assert guard.shared([-1.0, -1.0, -2.0], ["aa", "b", "c"], 0, found) == {"acc": 0.5}
    assert guard.shared([-1.0, -1.0, -1.0], ["a", "b", "c"], 2, found) == {"acc": 1 / 3, "acc_norm": 1 / 3}
    assert guard.shared([-1.0, -1.0, -2.0], ["a", "b", "c"], 2, found) == {"acc": 0.0, "acc_norm": 0.0}
    assert guard.shared([-1.0, -1.5, -2.0], ["a", "b", "c"], 0, found) == {}
    assert guard.is_invalid((math.nan, False))
    assert guard.is_invalid(Answer.of("", "nan"))
    assert not guard.is_invalid((-1.0, True))


@pytest.mark.parametrize(
    ("row", "why"),
    [({"choices": ["a", ""], "gold": 0}, "Item 2 of mine_choice has an empty choice"), ({"gold": 7}, "right answer 7")],
)
def test_choices_that_make_no_sense_fail_their_cell(write_task, tiny, drain, tmp_path, row, why):
    rows = [QUESTIONS[0], {**QUESTIONS[1], **row}]
    path = write_task("mine_choice", CHOICES, rows)
    _events, cells = drain(grid.run([str(tiny("llama"))], [str(path)], EvalSettings(), tmp_path / "run"))
    assert [cell.state for cell in cells] == ["failed"]
    assert why in cells[0].signature


def test_names_are_those_of_the_lineage_and_no_name_comes_twice(small_world, tiny, tmp_path):
    rows = grid.named([str(small_world / "sft"), str(tiny("llama"))])
    assert [(row.name, row.stage, row.parent) for row in rows] == [("sft", "sft", "pretrain"), ("llama-0", "other", "")]
    (tmp_path / "a" / "checkpoint").mkdir(parents=True)
    (tmp_path / "b" / "checkpoint").mkdir(parents=True)
    rows = grid.named([str(tmp_path / "a" / "checkpoint"), str(tmp_path / "b" / "checkpoint")])
    assert [row.name for row in rows] == ["a/checkpoint", "b/checkpoint"]
    row = CheckpointRef("mine", "x", "rlhf")
    assert grid.named([row]) == [row]


def test_settings_are_checked():
    for bad in ({"limit": -1}, {"batch_size": "0"}, {"batch_size": "many"}, {"num_fewshot": -2}):
        with pytest.raises(UserError):
            EvalSettings(**bad)
    assert EvalSettings().n_batch == 0
    assert EvalSettings(batch_size="7").n_batch == 7


def test_batches_do_not_depend_on_what_is_known():
    class Opened:
        device = "cpu"

        class model:
            @staticmethod
            def parameters():
                return iter(())

    requests = {str(i): Request("score", (1,) * (i % 7 + 1), (i,)) for i in range(50)}
    cut = [list(batch) for batch in answering.batches(requests, Opened(), 8)]
    assert sorted(key for batch in cut for key in batch) == sorted(requests)
    for batch in cut:  # a context is never split
        for key in batch:
            same = [other for other, request in requests.items() if request.context == requests[key].context]
            assert set(same) <= set(batch)
    backwards = dict(reversed(requests.items()))
    assert [list(batch) for batch in answering.batches(backwards, Opened(), 8)] == cut


@pytest.mark.slow
@pytest.mark.parametrize("n_batch", ["1", "5"])
def test_batch_size_does_not_change_scores(first_run, small_world, drain, tmp_path, n_batch):
    _output, _events, cells = first_run
    settings = EvalSettings(limit=6, batch_size=n_batch)
    _events, again = drain(grid.run([str(small_world / "sft")], ["world_perplexity", "world_unknown"], settings, tmp_path))
    expected = values(cells)
    for key, value in values(again).items():
        assert value == pytest.approx(expected[key], rel=1e-5)


CHILD = """
import sys, time
from pathlib import Path
from evals import answering, grid
from evals.options import EvalSettings
inner = answering._compute
def slow(*given):
    time.sleep(0.02)
    return (yield from inner(*given))
answering._compute = slow
work = grid.run([sys.argv[1]], ["world_perplexity", "world_unknown"], EvalSettings(limit=40, batch_size="1"), Path(sys.argv[2]))
print("begun", flush=True)
for event in work:
    pass
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_evaluation_goes_on_where_it_was(small_world, drain, tmp_path):
    output = tmp_path / "run"
    store = output / "sft" / "responses.jsonl"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(small_world / "sft"), str(output)], env=environment)
    while not store.exists() or store.stat().st_size < 2500:
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    known = store.read_bytes().count(b"\n")
    earlier = set(output.rglob("results_*.json"))
    settings = EvalSettings(limit=40, batch_size="1")
    names = ["world_perplexity", "world_unknown"]
    _events, cells = drain(grid.run([str(small_world / "sft")], names, settings, output))
    computed = [
        json.loads(path.read_text("utf-8"))["triptych"]["computed"] for path in {*output.rglob("results_*.json")} - earlier
    ]
    keys = [key for line in store.read_text("utf-8").splitlines() for key in json.loads(line)["answers"]]
    assert len(keys) == len(set(keys))
    assert 0 < known < len(keys)
    _events, whole = drain(grid.run([str(small_world / "sft")], names, settings, tmp_path / "other"))
    assert [replace(cell, run="") for cell in cells] == [replace(cell, run="") for cell in whole]
    assert sum(computed) == len(keys) - known


def test_checkpoints_of_one_name_are_told_apart_by_as_much_of_the_path_as_it_takes(tmp_path):
    places = [tmp_path / run / "sft" / "step-1" for run in ("a", "b")] + [tmp_path / "a" / "other"]
    names = [row.name for row in grid.named([str(place) for place in places])]
    assert names == ["a/sft/step-1", "b/sft/step-1", "other"]
    twice = grid.named([str(places[2]), str(places[2])])
    assert [row.name for row in twice] == ["other"]
    near = [tmp_path / run / "step-1" for run in ("a", "b")]
    assert [row.name for row in grid.named([str(place) for place in near])] == ["a/step-1", "b/step-1"]


def test_a_full_disk_is_a_sentence_and_costs_no_answer(small_world, drain, tmp_path, monkeypatch):
    """The samples of the second benchmark find no room: its cell says so, and started again nothing is asked twice."""
    written = files.write_run

    def write(folder, content, samples):
        if "world_refusal" in samples:
            raise OSError(28, "No space left on device")
        return written(folder, content, samples)

    asked = [str(small_world / "sft")], ["world_questions", "world_refusal"], EvalSettings(limit=3, device="cpu"), tmp_path / "r"
    with monkeypatch.context() as patch:
        patch.setattr(files, "write_run", write)
        events, cells = drain(grid.run(*asked))
    assert [cell.state for cell in cells if cell.benchmark == "world_questions"][:1] == ["done"]
    (failed,) = [cell for cell in cells if cell.benchmark == "world_refusal"]
    assert (failed.state, failed.signature.partition(".")[0]) == ("failed", "The disk is full")
    assert not [event for event in events if isinstance(event, Note) and "Traceback" in event.text]
    _events, again = drain(grid.run(*asked))
    assert {cell.state for cell in again} == {"done"}
    told = json.loads(max((tmp_path / "r").rglob("results_*.json"), key=lambda path: path.name).read_text("utf-8"))
    assert told["triptych"]["computed"] == 0
