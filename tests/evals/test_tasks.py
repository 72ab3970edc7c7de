"""Benchmarks keep one contract; task files from outside are data and nothing else."""

import contextlib
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals import index, rows, tasks, yaml_tasks
from evals.benchmark import Answer, Benchmark, Likelihood
from evals.benchmarks import _world
from models.discover import discover
from models.errors import UserError

WORLD = {"world_perplexity", "world_questions", "world_translation", "world_summaries", "world_unknown",
         "world_false_premise", "world_refusal"}  # fmt: skip


@pytest.mark.parametrize("found", discover("evals.benchmarks", "BENCHMARK"), ids=lambda row: row.name)
def test_every_benchmark_keeps_the_contract(found, tmp_path):
    assert not found.error
    benchmark = found.value
    assert isinstance(benchmark, Benchmark)
    assert benchmark.name == found.name
    assert benchmark.title
    assert benchmark.description.endswith(".")
    items = benchmark.items(str(tmp_path))
    assert len(items) >= 200
    ids = [item["id"] for item in items]
    assert len(set(ids)) == len(ids)
    for item in items[:20]:
        assert item["target"]
        if benchmark.output_type == "loglikelihood_rolling":
            outcome = benchmark.judge(item, Likelihood.of(-30.0, 10))
        elif benchmark.output_type == "multiple_choice":
            outcome = benchmark.judge(item, [-1.0 if place == item["gold"] else -9.0 for place in range(len(item["choices"]))])
        else:
            outcome = benchmark.judge(item, Answer.of(item["target"], "eos"))
        assert outcome.statistics
        assert set(outcome.statistics) <= {measure.name for measure in benchmark.measures}
        for measure in benchmark.measures:
            if measure.name in outcome.statistics and measure.metric.mean:
                value, n = outcome.statistics[measure.name]
                best = value if measure.neutral else 1.0 if measure.better else 0.0  # a right answer is the best one
                assert (value, n) == (best, 1.0), (item, measure.name)


@pytest.mark.parametrize("name", sorted(WORLD - {"world_perplexity"}))
def test_empty_and_truncated_answers_never_count_as_good(name, tmp_path):
    benchmark = tasks.benchmarks()[name]
    for item in benchmark.items(str(tmp_path))[:40]:
        for answer in (Answer.of("", "eos"), Answer.of("  \n", "eos"), Answer.of("I do not know.", "length")):
            outcome = benchmark.judge(item, answer)
            assert outcome.verdict == "wrong"
            if "hallucination_rate" in outcome.statistics:
                assert outcome.statistics["hallucination_rate"] == (1.0, 1.0)


def test_the_seven_of_the_world_are_there():
    assert set(tasks.benchmarks()) >= WORLD


def test_discovery_of_metrics_and_benchmarks_needs_no_heavy_library():
    code = (
        "import sys; from models.discover import discover\n"
        "rows = discover('evals.metrics', 'METRIC') + discover('evals.benchmarks', 'BENCHMARK')\n"
        "assert rows and not any(row.error for row in rows), rows\n"
        "import evals.grid, evals.results, evals.report.html, evals.report.results\n"
        "heavy = {'torch', 'transformers', 'lm_eval', 'evaluate', 'datasets'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_first_items_are_a_fair_sample(tmp_path):
    items = tasks.benchmarks()["world_unknown"].items(str(tmp_path))
    strata = Counter((item["language"], item["cell"]) for item in items[:40])
    assert set(strata.values()) == {10}
    assert _world.mixed(items) == _world.mixed(items)
    assert sorted(item["id"] for item in _world.mixed(items)) == sorted(item["id"] for item in items)


def test_items_come_from_the_world_beside_the_checkpoint(tmp_path):
    checkpoint = tmp_path / "run" / "sft" / "checkpoint"
    checkpoint.mkdir(parents=True)
    (tmp_path / "run" / "world.json").write_text('{"seed": 5, "test": 4, "items_per_cell": 3}', encoding="utf-8")
    few = tasks.benchmarks()["world_refusal"].items(str(checkpoint))
    assert len(few) == 12
    test = tmp_path / "run" / "world" / "test"
    test.mkdir(parents=True)
    (test / "world_refusal.jsonl").write_text('{"id": "1", "prompt": "p", "target": "t"}\n', encoding="utf-8")
    assert tasks.benchmarks()["world_refusal"].items(str(checkpoint)) == [{"id": "1", "prompt": "p", "target": "t"}]
    (test / "world_unknown.jsonl").write_text("{\n", encoding="utf-8")
    with pytest.raises(UserError, match="Line 1"):
        tasks.benchmarks()["world_unknown"].items(str(checkpoint))


def test_an_exported_lineage_takes_its_items_along(tmp_path):
    from models.lineage import export_lineage

    source = tmp_path / "run"
    (source / "sft").mkdir(parents=True)
    (source / "lineage.json").write_text(
        '{"name": "x", "checkpoints": [{"name": "sft", "path": "sft", "stage": "sft", "parent": ""}]}', encoding="utf-8"
    )
    test = source / "world" / "test"
    test.mkdir(parents=True)
    (test / "world_refusal.jsonl").write_text('{"id": "1", "prompt": "p", "target": "t"}\n', encoding="utf-8")
    export_lineage(source, tmp_path / "out")
    found = tasks.benchmarks()["world_refusal"].items(str(tmp_path / "out" / "sft"))
    assert found == [{"id": "1", "prompt": "p", "target": "t"}]


GENERATE = """
task: mine
dataset_path: json
dataset_kwargs: {data_files: {test: data.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "Q: {{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 4}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
"""


def write(folder, text, data='{"question": "a", "answer": "b"}\n'):
    (folder / "data.jsonl").write_text(data, encoding="utf-8")
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_task_file_is_found_by_path_and_by_name(tmp_path):
    path = write(tmp_path, GENERATE)
    assert yaml_tasks.find(str(path)) == path
    assert yaml_tasks.find("mine", str(tmp_path)) == path
    assert yaml_tasks.find("other", str(tmp_path)) is None
    planned = tasks.plan("mine", "", str(tmp_path))
    task = planned.tasks["mine"]
    assert task.doc_to_text(task.eval_docs[0]) == "Q: a"
    with pytest.raises(UserError, match="no task file"):
        yaml_tasks.find(str(tmp_path / "none.yaml"))
    with pytest.raises(UserError, match="no folder"):
        yaml_tasks.find("mine", str(tmp_path / "none"))


@pytest.mark.parametrize(
    "line",
    [
        "process_docs: !function mod.run",
        "x: !!python/object/apply:os.system ['true']",
        "include: ../other.yaml",
        "unsafe_code: true",
        "class: !function mod.Task",
        "custom_dataset: mod.run",
    ],
)
def test_task_files_that_ask_for_code_are_refused(tmp_path, line):
    (tmp_path / "other.yaml").write_text("task: x\n", encoding="utf-8")
    folder = tmp_path / "inside"
    folder.mkdir()
    (folder / "mod.py").write_text("raise AssertionError('this must not run')\n", encoding="utf-8")
    with pytest.raises(UserError, match="asks to run code") as error:
        yaml_tasks.load(write(folder, GENERATE + line + "\n"))
    assert "--allow-code" in error.value.hint


@pytest.mark.parametrize(
    "metric", ["{metric: rouge, hf_evaluate: true}", "{metric: ./evil}", "{metric: exact_match, hf_evaluate: true}"]
)
def test_metric_scripts_are_refused(tmp_path, metric):
    text = GENERATE[: GENERATE.index("metric_list")] + f"metric_list: [{metric}]\n"
    with pytest.raises(UserError, match="metric"):
        yaml_tasks.load(write(tmp_path, text))


def test_templates_of_task_files_run_in_a_sandbox(tmp_path):
    text = GENERATE.replace("Q: {{question}}", "{{ ''.__class__.__mro__[1].__subclasses__() }}")
    with pytest.raises(UserError, match="SecurityError"):
        yaml_tasks.load(write(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[1, 2]", "not a mapping"),
        ("task: x\ninclude: mine.yaml", "circle"),
        ("task: x\ninclude: none.yaml", "not there"),
        ("dataset_path: json", "no task name"),
        ("task: x\ndataset_path: someone/dataset", "could not be loaded"),
        ("task: x\ndataset_path: no such/dataset", "data_files here"),
        ("task: [", "usable"),
        (GENERATE.replace("aggregation: mean", "aggregation: magic"), "no aggregation"),
    ],
)
def test_task_files_that_make_no_sense_say_so(tmp_path, text, why):
    with pytest.raises(UserError, match=why):
        yaml_tasks.load(write(tmp_path, text))


def test_with_permission_the_code_of_a_task_file_runs(tmp_path):
    (tmp_path / "mod.py").write_text("def text(doc):\n    return 'from code ' + doc['question']\n", encoding="utf-8")
    path = write(tmp_path, GENERATE.replace('"Q: {{question}}"', "!function mod.text"))
    task = yaml_tasks.load(path, allow_code=True)
    assert task.doc_to_text(task.eval_docs[0]) == "from code a"


@pytest.mark.parametrize(
    ("module", "hint"), [("no_such_module.part", "Install no_such_module"), ("numpy.no_such_part", "The installed numpy 2")]
)
def test_a_task_whose_code_needs_what_is_not_here_says_so(tmp_path, module, hint):
    (tmp_path / "needing.py").write_text(f"import {module}\ndef text(doc):\n    return ''\n", encoding="utf-8")
    with pytest.raises(UserError, match=f"needs the Python module {module.partition('.')[0]}") as error:
        yaml_tasks.load(write(tmp_path, GENERATE.replace('"Q: {{question}}"', "!function needing.text")), allow_code=True)
    assert error.value.hint.startswith(hint)


def test_coqa_of_lm_eval_says_what_transformers_has_no_more(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers.data.metrics", None)  # as since transformers 5
    head = "task: mine\ndataset_path: json\ndataset_kwargs: {data_files: {validation: mine.jsonl}}\n"
    path = write(tmp_path, f"include: {yaml_tasks.shipped() / 'coqa/default.yaml'}\n{head}")
    with pytest.raises(UserError, match=r"task coqa/default\.yaml needs the Python module transformers\.data\.metrics") as error:
        yaml_tasks.load(path)
    assert "was written for another release" in error.value.hint


def test_rows_are_read_with_marks_and_windows_line_ends(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": "1"}\r\n\r\n{"a": "\xe4\xbd\xa0"}\r\n')
    assert rows.read(path, "json") == [{"a": "1"}, {"a": "你"}]
    path.write_text('[{"a": 1},\n {"a": 2}]', encoding="utf-8")
    assert rows.read(path, "json") == [{"a": 1}, {"a": 2}]
    path.write_bytes(b"\xef\xbb\xbfa,b\r\n1,=cmd()\r\n")
    assert rows.read(path, "csv") == [{"a": "1", "b": "=cmd()"}]
    path.write_text("one\n\ntwo\n", encoding="utf-8")
    assert rows.read(path, "text") == [{"text": "one"}, {"text": "two"}]


@pytest.mark.parametrize(
    ("data", "row", "why"),
    [
        (b'{"a": 1}\n{"a": \xff}\n', 2, "UTF-8"),
        (b'{"a": 1}\n{"a": "x\x00"}\n', 2, "NUL"),
        (b'{"a": 1}\n{"b": 1}\n', 2, "no field 'a'"),
        (b'{"a": 1}\n[1]\n', 2, "not a mapping"),
        (b'{"a": 1}\n{"a"\n', 2, "not JSON"),
        (b'{"a": "\\ud800"}\n', 1, "half"),
        (b"[" * 5000 + b"\n", 1, "not JSON"),
    ],
)
def test_bad_rows_are_named(tmp_path, data, row, why):
    path = tmp_path / "d.jsonl"
    path.write_bytes(data)
    with pytest.raises(UserError, match=why) as error:
        rows.read(path, "json")
    assert error.value.fields["row"] == row


def test_long_lines_empty_files_and_short_rows_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "d.jsonl"
    monkeypatch.setattr(rows, "LONGEST", 50)
    path.write_bytes(b'{"a": "' + b"x" * 60 + b'"}\n')
    with pytest.raises(UserError, match="longer than 50"):
        rows.read(path, "json")
    path.write_bytes(b"\n")
    with pytest.raises(UserError, match="no rows"):
        rows.read(path, "json")
    path.write_bytes(b"a,b\n1\n")
    with pytest.raises(UserError, match="as many fields"):
        rows.read(path, "csv")
    with pytest.raises(UserError, match="no data file"):
        rows.read(tmp_path / "none", "json")


def test_an_unknown_task_is_named_with_those_that_exist():
    with pytest.raises(UserError, match="no benchmark or task 'world_quest'") as error:
        tasks.plan("world_quest", "")
    assert "world_questions" in error.value.hint


PIECES = [b"{", b"}", b'"a"', b":", b"1", b",", b"[", b"]", b"\n", b"\xef\xbb\xbf", b"\0", b"\xff"]


@settings(max_examples=200, deadline=None)
@given(
    content=st.binary(max_size=60) | st.lists(st.sampled_from(PIECES)).map(b"".join),
    form=st.sampled_from(["json", "csv", "text"]),
)
def test_any_data_file_is_rows_or_names_its_row(content, form):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any"
        path.write_bytes(content)
        with contextlib.suppress(UserError):
            found = rows.read(path, form)
            assert found
            assert all(isinstance(row, dict) for row in found)


WORDS = st.text(max_size=6) | st.sampled_from(["cells", "acc,none"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner),
    max_leaves=8,
)
KEYS = ("triptych", "results", "config", "n-samples", "higher_is_better")


@settings(max_examples=200, deadline=None)
@given(content=st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, JSON)))
def test_any_results_file_is_scores_or_nothing(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results_x.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        assert isinstance(index.read_cells(path), list)


def test_a_field_in_quotes_keeps_its_blank_lines_and_rows_may_lack_fields(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes('\ufeffid,answer\r\n1,"one\r\n\r\ntwo"\r\n'.encode())
    assert rows.read(path, "csv") == [{"id": "1", "answer": "one\n\ntwo"}]
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1, "b": 2}\n{"a": 3}\n', encoding="utf-8")
    assert rows.read(path, "json", ragged=True) == [{"a": 1, "b": 2}, {"a": 3}]
    with pytest.raises(UserError, match="no field 'b'"):
        rows.read(path, "json")
