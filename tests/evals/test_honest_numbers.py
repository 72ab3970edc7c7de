"""What a number must not hide: settings in files, settings of the checkpoint, ids that come twice, names that mean nothing."""

import json
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from evals import (
    asked,
    comparing,
    decoding,
    explaining,
    filed,
    files,
    grid,
    groups,
    harness,
    known,
    needed,
    results,
    scores,
    stats,
    tasks,
    yaml_tasks,
)
from evals.identity import identity
from evals.metrics._spec import pool_ratio
from evals.options import EvalSettings
from evals.report import titles
from lab import cli
from models import devices
from models.errors import UserError
from models.events import Note, Partial, finish
from models.records.scores import Cell
from tests.evals import beside, shipped
from tests.evals.test_grid import CHOICES, QUESTIONS

TEMPLATE = "{% for message in messages %}Q:{{ message['content'] }}{% endfor %}A:"


def notes(events):
    return [event.text for event in events if isinstance(event, Note)]


def own(cell):
    return json.loads(Path(cell.run).read_text("utf-8"))["triptych"]


@pytest.mark.parametrize("setting", ["template", "samples"])
def test_a_file_that_a_setting_names_counts_by_what_it_holds(small_world, drain, tmp_path, setting):
    path = tmp_path / "named"
    first, other = (TEMPLATE, "Quite another " + TEMPLATE) if setting == "template" else [
        json.dumps({"world_unknown": numbers}) for numbers in ([0, 1], [2, 3])
    ]  # fmt: skip
    given = {"apply_chat_template": str(path), "limit": 2} if setting == "template" else {"samples": str(path)}

    def run(text):
        path.write_text(text, encoding="utf-8")
        events, cells = drain(grid.run([str(small_world / "sft")], ["world_unknown"], EvalSettings(**given), tmp_path / "run"))
        return any("known already" in text for text in notes(events)), results.raw_samples(cells[0].run, "world_unknown")

    _again, before = run(first)
    assert run(first)[0]
    again, after = run(other)
    assert not again
    assert [row["arguments"] for row in after] != [row["arguments"] for row in before]


def test_a_metrics_script_counts_by_what_it_holds(small_world, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    base = Cell("sft", "sft", "world_questions", "", 0.0, 0.0, 0.0, 0, True, path=str(small_world / "sft"))
    made = set()
    for text in ("one = 1\n", "two = 2\n"):
        (folder / "odd.py").write_text(text, encoding="utf-8")
        made.add(known.fingerprint(base, EvalSettings(metric=str(folder), allow_code=True)))
    assert len(made) == 2


def test_auto_means_what_it_meant(small_world, drain, tmp_path, monkeypatch):
    def again():
        work = grid.run([str(small_world / "sft")], ["world_unknown"], EvalSettings(limit=2), tmp_path)
        return any("known already" in text for text in notes(drain(work)[0]))

    assert (again(), again()) == (False, True)
    monkeypatch.setattr(devices, "may_have_gpu", lambda: True)
    assert again()  # it may have one, and has none
    base = {"identity": {"device_kind": "cuda"}}
    assert not known._same_device(base, EvalSettings())
    assert known._same_device(base, EvalSettings(device="cuda"))  # then the fingerprint says it


@pytest.mark.slow
def test_a_checkpoints_own_repetition_penalty_counts_as_in_lm_eval(tiny, tmp_path):
    folder = shipped.write(tmp_path / "tasks")
    path = tmp_path / "penalised"
    shutil.copytree(tiny("llama"), path)
    settings = json.loads((path / "generation_config.json").read_text("utf-8"))
    (path / "generation_config.json").write_text(json.dumps({**settings, "repetition_penalty": 1.3}), encoding="utf-8")
    (theirs,) = beside.reference(folder, [{"model": str(path), "tasks": ["l_gsm8k", "l_triviaqa"], "settings": {}}])
    cells = beside.ours(path, ["l_gsm8k", "l_triviaqa"], folder, tmp_path / "run")
    for task in ("l_gsm8k", "l_triviaqa"):
        beside.same(theirs, cells, task)
    plain = beside.samples(beside.ours(tiny("llama"), ["l_gsm8k"], folder, tmp_path / "plain"), "l_gsm8k")
    assert [row["resps"] for row in plain] != [row["resps"] for row in beside.samples(cells, "l_gsm8k")]
    explained = finish(explaining.explain(tmp_path / "run", "l_gsm8k", "3"))
    assert [one.agrees for one in explained.requests] == [True]


def test_what_a_task_leaves_open_is_as_transformers_has_it():
    own = {"top_k": 20, "top_p": 0.8, "repetition_penalty": 1.1, "temperature": 0.6, "do_sample": True, "min_p": None}

    def how(settings, own=None):
        return dict(decoding.settings_of(settings, own))

    assert how({"until": []}, own)["temperature"] == 0
    assert how({"until": []}, own)["chain"] == "repetition_penalty=1.1,temperature=0,top_k=0,top_p=1"
    assert "chain" not in how({"until": []}, {"repetition_penalty": 1.0})
    sampled = how({"temperature": 0.5}, own)
    assert (sampled["top_k"], sampled["top_p"], sampled["temperature"]) == (20, 0.8, 0.5)
    assert how({"temperature": 0.5})["top_k"] == 50
    assert how({"temperature": 0.5, "top_k": 0, "repetition_penalty": 1.0}, own)["top_k"] == 0
    assert how({"temperature": 0.5, "top_p": 0.3}, own)["top_p"] == 0.3
    assert decoding.not_done({**own, "num_beams": 4, "forced_bos_token_id": 0, "min_length": 0}) == {
        "num_beams": 4, "forced_bos_token_id": 0
    }  # fmt: skip


def test_what_is_not_followed_is_said(tiny, drain, tmp_path):
    folder = shipped.write(tmp_path / "tasks")
    path = tmp_path / "beams"
    shutil.copytree(tiny("llama"), path)
    settings = json.loads((path / "generation_config.json").read_text("utf-8"))
    (path / "generation_config.json").write_text(json.dumps({**settings, "num_beams": 3}), encoding="utf-8")
    given = EvalSettings(include_path=str(folder), limit=1)
    events, cells = drain(grid.run([str(path)], ["l_gsm8k"], given, tmp_path / "run"))
    assert any("num_beams=3 are not followed" in text for text in notes(events))
    assert own(cells[0])["generation_settings_not_followed"] == "num_beams=3"
    events, _cells = drain(grid.run([str(path)], ["l_arc"], given, tmp_path / "run"))
    assert not any("num_beams" in text for text in notes(events))


def test_an_encoder_decoders_answer_is_explained(tiny, tmp_path):
    folder = shipped.write(tmp_path / "tasks")
    beside.ours(tiny("t5"), ["l_gsm8k"], folder, tmp_path / "run", limit=2)
    explained = finish(explaining.explain(tmp_path / "run", "l_gsm8k", "1"))
    assert [one.agrees for one in explained.requests] == [True]


def test_items_that_share_an_id_are_all_compared(write_task, tiny, drain, tmp_path):
    rows = [{**row, "id": f"q{number // 2}"} for number, row in enumerate(QUESTIONS)]
    path = str(write_task("mc", CHOICES, rows))
    models = [str(tiny("llama", seed)) for seed in (0, 1)]
    _events, cells = drain(grid.run(models, [path], EvalSettings(), tmp_path / "run"))
    found = results.compare([tmp_path / "run"])
    assert {row.n for row in found} == {len(rows)} == {cell.n for cell in cells}
    table = results.table(cells[0])
    assert len(set(table.scored.ids)) == len(table.categories) == len(rows)
    assert table.scored.ids[:2] == ("q0", "q0 (1)")
    samples = results.samples(cells[0].run, "mc")
    assert [sample.doc_id for sample in samples] == list(table.scored.ids)


def test_only_the_same_items_are_paired_wherever_they_stand():
    def table(ids, hashes, values):
        cell = Cell("a", "sft", "b", "acc", 0.0, 0.0, 0.0, len(ids), True)
        statistics = np.stack([values, np.ones(len(values))], axis=1)
        return comparing.Table(cell, scores.Scored(tuple(ids), statistics, None, pool_ratio, True), tuple(hashes))

    a = table(["0", "1", "2", "3"], ["x", "y", "x", "z"], [1.0, 0.0, 1.0, 1.0])
    b = table(["0", "1", "2"], ["y", "x", "w"], [1.0, 0.0, 1.0])
    left, right = comparing.paired_rows(a, b)
    assert (left.ids, right.ids) == (("0", "1"), ("1", "0"))  # the second x has no partner
    assert (left.statistics[:, 0].tolist(), right.statistics[:, 0].tolist()) == ([1, 0], [0, 1])


def test_a_difference_of_shares_is_at_most_one():
    found = stats.paired_difference([1, 1, 0], [1, 0, 1])
    assert (found.low, found.high) == (-1, 1)
    wide = stats.paired_difference([10.0, 0.0, 3.0], [0.0, 9.0, 3.0])
    assert wide.high > 1


def test_many_items_take_neither_their_square_nor_minutes(monkeypatch):
    values = np.random.default_rng(0).random(60_000)
    statistics = np.stack([values, np.ones(values.size)], axis=1)
    found = stats.bootstrap_interval(statistics, pool_ratio, samples=1000)
    error = stats.standard_error(values)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    drawn = stats.resampled(np.arange(6.0)[:, None], 3, 4000)
    assert drawn.shape == (4000, 1)
    assert drawn.mean() == pytest.approx(15, abs=0.3)
    assert drawn.std() == pytest.approx(np.arange(6.0).std() * 6**0.5, rel=0.05)
    monkeypatch.setattr(stats, "MOST_DRAWS", 50_000)
    assert stats.resampled(np.ones((30, 1)), 0).shape == (50_000 // 30, 1)
    assert stats.resampled(np.ones((5000, 1)), 0).shape == (stats.FEWEST, 1)


@pytest.mark.parametrize(("name", "why"), [("no_such_thing_at_all", "no benchmark or task"), ("arc_easy", "not on this machine")])
def test_what_cannot_run_is_said_before_anything_is_opened(small_world, drain, tmp_path, monkeypatch, name, why):
    monkeypatch.setattr(needed, "online", lambda: False)
    began = time.monotonic()
    work = grid.run([str(small_world / "sft")], ["world_unknown", name], EvalSettings(limit=2), tmp_path)
    events = []
    while not any(isinstance(event, Note) for event in events):
        events.append(next(work))
    assert why in events[-1].text
    assert not any(isinstance(event, Partial) and event.value.state == "running" for event in events)
    assert time.monotonic() - began < 20  # 5 on a machine that does nothing else
    _events, cells = drain(work)
    assert [cell.state for cell in cells if cell.benchmark == name] == ["failed"]
    assert {cell.state for cell in cells if cell.benchmark != name} == {"done"}


def test_patterns_match_names_as_lm_evals_do(tmp_path):
    assert needed.expanded(["arc_eas?", "world_unknown", "arc_easy"]) == ["arc_easy", "world_unknown"]
    assert set(needed.expanded(["world_*"])) > {"world_unknown", "world_questions"}
    shipped.write(tmp_path)
    assert set(needed.expanded(["l_mc?"], str(tmp_path))) == {"l_mc1", "l_mc2"}
    assert needed.expanded(["perplexity@a[1].txt", "*.yaml"]) == ["perplexity@a[1].txt", "*.yaml"]
    with pytest.raises(UserError, match="no benchmark or task"):
        needed.expanded(["nothing_like_it*"])


def test_items_that_there_are_not_are_named(small_world, drain, tmp_path):
    given = EvalSettings(samples='{"world_unknown": [0, 99999]}')
    _events, (cell,) = drain(grid.run([str(small_world / "sft")], ["world_unknown"], given, tmp_path))
    assert cell.state == "failed"
    assert "item 99999 of world_unknown" in cell.signature


def test_a_score_key_is_of_its_task_its_items_and_its_metric(write_task, tiny, drain, tmp_path):
    write_task("one", CHOICES, QUESTIONS)
    write_task("two", CHOICES, QUESTIONS[::-1])
    (tmp_path / "both.yaml").write_text("group: both\ntask: [one, two]\n", encoding="utf-8")

    def keys(name, output):
        given = EvalSettings(include_path=str(tmp_path))
        _events, cells = drain(grid.run([str(tiny("llama"))], [name], given, tmp_path / output))
        return own(cells[0])["score_keys"]

    alone, together = keys("one", "a"), keys("both", "b")
    assert together["one/acc"] == alone["one/acc"]
    assert len({*together.values()}) == len(together)
    changed = [{**row, "gold": (row["gold"] + 1) % 3} for row in QUESTIONS]
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in changed)
    (tmp_path / "one.jsonl").write_text(data, encoding="utf-8")
    assert keys("one", "c")["one/acc"] != alone["one/acc"]  # the answers are the same


DRAWN = """
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "fox"
generation_kwargs: {until: [], max_gen_toks: 6, do_sample: true, temperature: 1.0, top_k: 0}
repeats: 2
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
"""


def test_sampled_answers_to_different_prompts_do_not_share_their_luck(write_task, tiny, drain, tmp_path):
    path = str(write_task("drawn", DRAWN, QUESTIONS))

    def run(output, **settings):
        _events, cells = drain(grid.run([str(tiny("llama"))], [path], EvalSettings(**settings), tmp_path / output))
        return [row["resps"][0] for row in results.raw_samples(cells[0].run, "drawn")]

    answers = run("a")
    assert run("b") == answers != run("c", torch_seed=5)
    assert all(len(set(pair)) == 2 for pair in answers)
    model = SimpleNamespace(seed=7)
    asked = [harness.CheckpointLM.answer_request(model, ids, (("temperature", 1.0),), 1) for ids in ((1, 2), (1, 3), (2,))]
    assert len({one.seed for one in asked}) == 3
    assert {one.repeat for one in asked} == {1}
    sure = harness.CheckpointLM.answer_request(model, (1, 2), (("temperature", 0.0),), 1)
    assert (sure.seed, sure.repeat) == (0, 0)


def test_a_task_file_may_name_a_data_set(tiny, drain, tmp_path, monkeypatch):
    """A folder stands for the Hub's data set: the library reads both in the same way."""
    folder = tmp_path / "some-owner" / "some_data"
    folder.mkdir(parents=True)
    data = "".join(json.dumps(row) + "\n" for row in QUESTIONS)
    (folder / "test.jsonl").write_text(data, encoding="utf-8")
    task = tmp_path / "named.yaml"
    head = "task: named\ndataset_path: some-owner/some_data\ntest_split: test\n"
    task.write_text(head + "dataset_kwargs: {trust_remote_code: true}" + CHOICES, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    _events, cells = drain(grid.run([str(tiny("llama"))], [str(task)], EvalSettings(), tmp_path / "run"))
    assert [(cell.metric, cell.n, cell.state) for cell in cells] == [("acc", 6, "done"), ("acc_norm", 6, "done")]
    monkeypatch.chdir("/")
    monkeypatch.setattr(needed, "online", lambda: False)
    _events, (cell,) = drain(grid.run([str(tiny("llama"))], [str(task)], EvalSettings(), tmp_path / "other"))
    assert "some-owner/some_data" in cell.signature
    assert "not on this machine" in cell.signature


@pytest.mark.parametrize("name", ["pandas", "sql", "webdataset", "generator", "../up", "/etc/passwd", "https://a.b/c", "hf://x/y"])
def test_readers_and_places_are_no_data_sets(tmp_path, name):
    task = tmp_path / "odd.yaml"
    task.write_text(f"task: odd\ndataset_path: {name}\ntest_split: test" + CHOICES, encoding="utf-8")
    with pytest.raises(UserError, match="dataset_path must be"):
        yaml_tasks.load(task)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "sentencepiece.bpe.model", "source.spm"])
def test_every_file_of_a_tokenizer_is_part_of_what_answers_depend_on(tiny, tmp_path, name):
    folder = tmp_path / "model"
    shutil.copytree(tiny("llama"), folder)
    opened = SimpleNamespace(
        folder=str(folder), path=str(folder), dtype="float32", quantize="", device="cpu", chat_template="x"
    )  # fmt: skip
    before = finish(identity(opened))
    assert finish(identity(opened)) == before
    (folder / name).write_bytes((folder / name).read_bytes() + b" " if (folder / name).is_file() else b" ")
    after = finish(identity(opened))
    assert after.tokenizer != before.tokenizer
    assert after.weights == before.weights


def test_names_that_no_file_system_takes(write_task, tiny, drain, tmp_path):
    names = ["t" * 300, "t" * 299 + "u", "名" * 100]
    for number, name in enumerate(names):
        path = write_task(f"file{number}", CHOICES, QUESTIONS)
        path.write_text(path.read_text("utf-8").replace(f"task: file{number}", f"task: {name}"), encoding="utf-8")
    tasks = [str(tmp_path / f"file{number}.yaml") for number in range(len(names))]
    _events, cells = drain(grid.run([str(tiny("llama"))], tasks, EvalSettings(), tmp_path / "run"))
    assert {cell.state for cell in cells} == {"done"}
    assert [cell.benchmark for cell in cells if cell.metric == "acc"] == names
    assert {len(results.samples(cell.run, cell.benchmark)) for cell in cells} == {len(QUESTIONS)}
    assert files.sanitised("a/b:c") == "a__b__c"
    assert len({files.sanitised(name) for name in names}) == 3


def test_a_column_that_is_lacking_is_named(write_task, tiny, drain, tmp_path):
    rows = [{key: value for key, value in row.items() if key != "gold"} for row in QUESTIONS]
    path = str(write_task("mc", CHOICES, rows))
    events, (cell,) = drain(grid.run([str(tiny("llama"))], [path], EvalSettings(), tmp_path / "run"))
    assert "'gold' is undefined" in cell.signature
    assert "first row" in cell.signature
    assert not any("Traceback" in text for text in notes(events))


@pytest.mark.parametrize("by_size", ["true", "false"])
def test_a_group_is_compared_over_the_items_of_its_tasks(write_task, tiny, drain, tmp_path, by_size):
    """One paired test of the whole, as of any task: of MMLU one wants to know more than its 57 subjects."""
    write_task("one", CHOICES, QUESTIONS)
    write_task("two", CHOICES, [{**row, "question": row["question"] + " now"} for row in QUESTIONS[:3]])
    metric = f"aggregate_metric_list: [{{metric: acc, aggregation: mean, weight_by_size: {by_size}}}]\n"
    (tmp_path / "both.yaml").write_text(f"group: both\ntask: [one, two]\n{metric}", encoding="utf-8")
    paths = [str(tiny("llama", seed)) for seed in (0, 3)]
    _events, cells = drain(grid.run(paths, ["both"], EvalSettings(include_path=str(tmp_path)), tmp_path / "run"))
    value = {(cell.checkpoint, cell.benchmark): cell.value for cell in cells if cell.metric == "acc"}
    a, b = dict.fromkeys(cell.checkpoint for cell in cells)
    found = {row.benchmark: row for row in results.compare([tmp_path / "run"]) if row.metric == "acc"}
    assert set(found) == {"one", "two", "both"}
    assert found["both"].n == 9
    assert found["both"].difference == pytest.approx(value[(b, "both")] - value[(a, "both")])
    share = 2 / 3 if by_size == "true" else 1 / 2
    means = [share * value[(name, "one")] + (1 - share) * value[(name, "two")] for name in (a, b)]
    assert [value[(name, "both")] for name in (a, b)] == pytest.approx(means)
    if by_size == "true":
        assert found["both"].test == "McNemar"
        assert found["both"].gained == found["one"].gained + found["two"].gained
        assert ("task", "two", 3, found["two"].gained, found["two"].lost) in found["both"].by


def test_weights_of_a_group_are_those_of_the_items_that_are_paired():
    """With tasks of unlike length on either side, weights made before pairing would be a difference of their own."""

    def part(n, value):
        ids = tuple(map(str, range(n)))
        cell = Cell("a", "sft", "t", "acc", 0.0, 0.0, 0.0, n, True)
        statistics = np.stack([np.full(n, value), np.ones(n)], axis=1)
        return comparing.Table(cell, scores.Scored(ids, statistics, None, pool_ratio, True), ids)

    def group(first, second):
        parts = {"one": part(first, 1.0), "two": part(second, 0.5)}
        cell = Cell("a", "sft", "g", "acc", 0.75, 0.0, 0.0, first + second, True)
        return groups.table(cell, parts)

    a, b = group(4, 20), group(10, 20)
    assert a.even
    left, right = comparing.paired_rows(a, b)
    assert len(left.ids) == 24
    assert left.statistics[:, 0].mean() == pytest.approx(0.75)
    assert np.array_equal(left.statistics, right.statistics)
    assert groups.table(Cell("a", "sft", "g", "acc", 0.9, 0.0, 0.0, 24, True), a.parts) is None
    assert groups.table(Cell("a", "sft", "g", "acc", 0.75, 0.0, 0.0, 0, True), {}) is None


def test_scores_that_were_asked_differently_are_said_to_be(write_task, tiny, drain, tmp_path, capsys):
    path = write_task("mc", CHOICES, QUESTIONS)
    path.write_text(path.read_text("utf-8") + "fewshot_split: test\n", encoding="utf-8")
    models = [str(tiny("llama", seed)) for seed in (0, 1)]
    for model, shots in zip(models, (0, 2), strict=True):
        drain(grid.run([model], [str(path)], EvalSettings(num_fewshot=shots), tmp_path / "run"))
    rows = results.compare([tmp_path / "run"])
    assert {row.unlike for row in rows} == {("num_fewshot: 0 / 2",)}
    assert all(titles.verdict_of(row).endswith("; asked differently: num_fewshot: 0 / 2") for row in rows)
    assert cli.run(["compare", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["unlike"] == ["num_fewshot: 0 / 2"]
    drain(grid.run(models, [str(path)], EvalSettings(num_fewshot=2), tmp_path / "alike"))
    assert {row.unlike for row in results.compare([tmp_path / "alike"])} == {()}
    assert asked.unlike({"a": "1", "b": ""}, {"b": "x", "c": "2"}) == ("b: - / x",)


def test_a_checkpoint_that_is_gone_is_said_before_the_others_are_asked(small_world, drain, tmp_path):
    events, cells = drain(grid.run([str(small_world / "sft"), "/gone"], ["world_unknown"], EvalSettings(limit=2), tmp_path))
    assert notes(events)[0] == "There is no checkpoint /gone."
    assert {cell.checkpoint: cell.state for cell in cells} == {"sft": "done", "gone": "failed"}


def test_tables_leave_out_what_has_no_partner_and_summaries_say_how_sentences_are_split(tmp_path):
    table = tmp_path / "rows.jsonl"
    rows = [{"document": "A fox.", "summary": "Fox."}, {"document": "A dog.", "summary": " "}, {"document": "", "summary": "?"}]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for family in ("summaries", "target_perplexity"):
        made = filed.build(f"{family}@{table}")
        assert [item["target"] for item in made.items(str(tmp_path))] == [rows[0]["summary"]]
    signatures = {name: tasks.metrics()[name].signature() for name in ("rougeL", "rougeLsum")}
    assert ["split:newline" in text for text in signatures.values()] == [False, True]


def test_json_for_other_programs_holds_no_word_that_is_no_json(capsys):
    from dataclasses import asdict

    cell = Cell("a", "sft", "b", "", float("nan"), float("-inf"), float("nan"), 0, True)
    cli.show([asdict(cell), {"low": (1.5, float("inf"))}])

    def refuse(word):
        raise AssertionError(word)

    found = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert (found[0]["value"], found[0]["low"], found[0]["higher_is_better"]) == (None, None, True)
    assert found[1] == {"low": [1.5, None]}
