"""lm-eval's flags on ``triptych eval``, groups and tags of a user's folder, and data that are not here."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evals import decoding, driving, grid, groups, needed, options, own_tasks, rows, yaml_tasks
from evals.options import EvalSettings
from lab import cli_eval
from models.errors import UserError
from models.events import finish
from models.records.scores import Cell
from tests.evals import shipped


@pytest.mark.parametrize(("text", "expected"), [
    ("42", (42, 42, 42, 42)), ("1,2,3,4", (1, 2, 3, 4)), ("0,None,8,52", (0, None, 8, 52)), ("1,2,3", (1, 2, 3, 1234)),
])  # fmt: skip
def test_seeds(text, expected):
    assert options.seeds(text) == expected


@pytest.mark.parametrize("text", ["", "a", "1,2", "1,2,3,4,5"])
def test_seeds_that_make_no_sense(text):
    with pytest.raises(UserError, match="seed"):
        options.seeds(text)


@pytest.mark.parametrize("given", [
    {"limit": 2, "samples": '{"a": [1]}'}, {"samples": "{1}"}, {"samples": "/nowhere.json"}, {"samples": '{"a": [-1]}'},
    {"fewshot_as_multiturn": True, "apply_chat_template": False}, {"limit": -1}, {"batch_size": "0"},
])  # fmt: skip
def test_settings_that_do_not_go_together(given):
    with pytest.raises(UserError):
        EvalSettings(**given)


def test_samples_may_stand_in_a_file(tmp_path):
    path = tmp_path / "s.json"
    path.write_text('{"arc": [0, 3]}', encoding="utf-8")
    assert EvalSettings(samples=str(path)).chosen() == {"arc": [0, 3]}


@pytest.mark.parametrize(("text", "expected"), [
    ("temperature=0.7,top_p=0.9", {"temperature": 0.7, "top_p": 0.9}), ('{"until": ["a,b"]}', {"until": ["a,b"]}),
    ("do_sample=true,max_gen_toks=5,until=['x','y']", {"do_sample": True, "max_gen_toks": 5, "until": ["x", "y"]}), ("", {}),
])  # fmt: skip
def test_generation_settings_are_read_as_lm_eval_reads_them(text, expected):
    assert driving.gen_kwargs(EvalSettings(gen_kwargs=text)) == expected


def test_generation_settings_that_cannot_be_read():
    with pytest.raises(UserError, match="gen-kwargs"):
        driving.gen_kwargs(EvalSettings(gen_kwargs="hot"))


def test_decoding_settings_of_transformers_become_a_chain():
    how = dict(decoding.settings_of({"do_sample": True, "temperature": 0.5, "repetition_penalty": 1.2, "min_p": 0.1}))
    assert how["chain"] == "repetition_penalty=1.2,temperature=0.5,top_k=50,top_p=1,min_p=0.1"
    assert "chain" not in dict(decoding.settings_of({"temperature": 0.5}))
    for unknown in ({"num_beams": 4}, {"penalty_alpha": 0.6}):
        with pytest.raises(UserError, match="not known"):
            decoding.settings_of(unknown)


@pytest.mark.parametrize(("words", "expected"), [
    (["eval", "a", "--apply-chat-template", "--limit", "2"], ["eval", "a", "--apply-chat-template", "true", "--limit", "2"]),
    (["eval", "a", "--apply-chat-template", "tools"], ["eval", "a", "--apply-chat-template", "tools"]),
    (["eval", "a", "--fewshot-as-multiturn"], ["eval", "a", "--fewshot-as-multiturn", "true"]),
    (["eval", "--no-apply-chat-template", "a"], ["eval", "--apply-chat-template", "false", "a"]),
    (["train", "--apply-chat-template"], ["train", "--apply-chat-template"]),
])  # fmt: skip
def test_flags_without_their_value(words, expected):
    assert cli_eval.filled(words) == expected


def test_the_flags_of_a_run_give_its_settings_again():
    settings = EvalSettings(
        limit=0.25, apply_chat_template=True, system_instruction="Be kind.", gen_kwargs="temperature=1",
        fewshot_as_multiturn=False, num_fewshot=3, allow_code=True, seed=1, numpy_seed=None, torch_seed=3, fewshot_seed=4,
    )  # fmt: skip
    flags = cli_eval.flags(settings)
    assert flags[-2:] == ["--seed", "1,None,3,4"]
    assert flags[:2] == ["--limit", "0.25"]
    assert cli_eval.flags(EvalSettings()) == []
    assert cli_eval.flags(EvalSettings(limit=1_234_567.0)) == ["--limit", "1234567"]
    assert "--allow-code" in flags


def test_the_command_line_scores_with_these_flags(tiny, tmp_path, capsys):
    from lab.cli import run

    folder = shipped.write(tmp_path / "tasks")
    words = ["eval", str(tiny("llama")), "-t", "l_arc,l_triviaqa", "-o", str(tmp_path / "run"), "--include_path", str(folder)]
    words += ["--num_fewshot", "1", "--apply_chat_template", "--system_instruction", "Be kind.", "--limit", "0.5", "--json"]
    assert run([*words, "--gen_kwargs", "max_gen_toks=3", "--seed", "5"]) == 0
    cells = json.loads(capsys.readouterr().out)
    assert {(cell["benchmark"], cell["n"]) for cell in cells} == {("l_arc", 4), ("l_triviaqa", 4)}
    written = [json.loads(path.read_text("utf-8")) for path in (tmp_path / "run").rglob("results_*.json")]
    assert {content["config"]["gen_kwargs"]["max_gen_toks"] for content in written} == {3}
    assert {content["system_instruction"] for content in written} == {"Be kind."}
    (samples,) = (tmp_path / "run").rglob("samples_l_arc_*.jsonl")
    prompt = json.loads(samples.read_text("utf-8").splitlines()[0])["arguments"]["gen_args_0"]["arg_0"]
    assert prompt.startswith("<bos><system>Be kind.<eos><user>")
    assert prompt.count("<user>") == 2


GROUP = (
    "group: mine\ntask: [l_arc, {task: l_boolq, num_fewshot: 1}]\naggregate_metric_list: [{metric: acc}]\n"
    "metadata: {version: 1}\n"
)


def test_groups_and_tags_of_a_folder(tiny, tmp_path):
    folder = shipped.write(tmp_path / "tasks")
    (folder / "group.yaml").write_text(GROUP, encoding="utf-8")
    cells = finish(grid.run([str(tiny("llama"))], ["mine"], EvalSettings(include_path=str(folder), limit=4), tmp_path / "run"))
    found = {(cell.benchmark, cell.metric): cell for cell in cells}
    whole, parts = found["mine", "acc"], [found["l_arc", "acc"], found["l_boolq", "acc"]]
    assert whole.value == pytest.approx((parts[0].value + parts[1].value) / 2)
    assert whole.n == 8
    assert whole.low < whole.value < whole.high
    assert "mean of 2 tasks" in whole.signature
    tagged = own_tasks.find("local_tasks", folder)
    assert len(tagged) == len(shipped.SHIPPED)
    tasks, none = own_tasks.load(tagged[:2], folder, False)
    assert len(tasks) == 2
    assert none == {}


@pytest.mark.parametrize(("text", "why"), [
    ("group: bad\ntask: [nowhere]\n", "nowhere"), ("group: bad\ntask: [bad]\n", "circle"),
    ("group: bad\ntask: [{x: 1}]\n", "no name"),
])  # fmt: skip
def test_groups_that_make_no_sense(tmp_path, text, why):
    (tmp_path / "bad.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=why):
        own_tasks.load(tmp_path / "bad.yaml", tmp_path, False)


def test_a_groups_interval_by_hand():
    part = Cell("m", "sft", "a", "acc", 0.5, 0.3, 0.7, 30, True)
    other = Cell("m", "sft", "b", "acc", 0.9, 0.8, 1.0, 10, True)
    results = {"groups": {"g": {"acc,none": 0.6}}, "group_subtasks": {"g": ["a", "b"]}, "higher_is_better": {"g": {"acc": True}}}
    (cell,) = groups.cells(part, results, [part, other])
    assert (cell.value, cell.n) == (0.6, 40)
    assert cell.high - cell.value == pytest.approx(((0.75 * 0.2) ** 2 + (0.25 * 0.1) ** 2) ** 0.5)
    results["groups"]["g"]["acc,none"] = 0.7
    assert "unweighted" in groups.cells(part, results, [part, other])[0].signature


def test_declarations_are_read_in_every_form(tmp_path):
    path = tmp_path / "t.yaml"
    path.write_text('tag:\n  - one\n  - "two" # x\ntask: "name" # why\n', encoding="utf-8")
    assert yaml_tasks.declared(path) == {"tag": ("one", "two"), "task": "name"}
    path.write_text("tag: [a, b]\ngroup: g\ntask:\n- x\n", encoding="utf-8")
    assert yaml_tasks.declared(path) == {"tag": ("a", "b"), "group": "g"}


def test_rows_of_a_parquet_file(tmp_path):
    import pyarrow
    from pyarrow import parquet

    path = tmp_path / "d.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([{"a": 1, "b": ["x"]}, {"a": 2, "b": []}]), path)
    assert rows.read(path, "parquet") == [{"a": 1, "b": ["x"]}, {"a": 2, "b": []}]
    path.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(UserError, match="not a Parquet file"):
        rows.read(path, "parquet")


def test_missing_data_are_named_without_loading_anything(tmp_path):
    code = (
        "import sys, os\nos.environ['HF_HUB_OFFLINE'] = '1'\nos.environ['HF_HOME'] = sys.argv[1]\n"
        "from evals import grid\nfrom evals.options import EvalSettings\nfrom models.events import finish\n"
        "cells = finish(grid.run([sys.argv[1]], ['hellaswag', 'mmlu'], EvalSettings(), sys.argv[1] + '/run'))\n"
        "assert {cell.state for cell in cells} == {'failed'}\n"
        "assert 'Rowan/hellaswag' in cells[0].signature and 'hf download' in cells[0].signature, cells[0]\n"
        "assert 'cais/mmlu' in cells[1].signature\n"
        "assert not {'torch', 'transformers', 'lm_eval', 'datasets'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


def test_data_in_a_cache_are_found(tmp_path):
    assert not needed.is_here("a/b", {"HF_HOME": str(tmp_path)})
    (tmp_path / "datasets" / "a___b").mkdir(parents=True)
    assert needed.is_here("a/b", {"HF_HOME": str(tmp_path)})
    (tmp_path / "other" / "datasets--c--d").mkdir(parents=True)
    assert needed.is_here("c/d", {"HF_HUB_CACHE": str(tmp_path / "other")})


def test_the_folder_that_is_named_is_the_one_that_is_looked_into(tmp_path):
    for environment in ({"XDG_CACHE_HOME": str(tmp_path / "x")}, {"HF_HOME": str(tmp_path / "h")}):
        assert not needed.is_here("a/b", environment)
        needed.hub_folder("a/b", environment).mkdir(parents=True)
        assert needed.is_here("a/b", environment)
    assert needed.hub_folder("a/b", {"XDG_CACHE_HOME": "/c"}) == Path("/c/huggingface/hub/datasets--a--b")


def slow(*_given):
    time.sleep(1.5)
    raise OSError


def test_a_network_that_never_answers_is_not_waited_for(monkeypatch):
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    server = socket.create_server(("127.0.0.1", 0))
    try:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert needed.online()
        monkeypatch.setattr(needed, "SECONDS", 0.1)
        monkeypatch.setattr(socket, "create_connection", slow)
        assert not needed.online()
    finally:
        server.close()


def test_a_checkpoint_after_an_optional_flag_is_no_template():
    from lab.cli_eval import filled

    for word in ("model.gguf", "endpoint:http://h/v1#m", "--tasks"):
        assert filled(["eval", "--apply-chat-template", word]) == ["eval", "--apply-chat-template", "true", word]
    assert filled(["eval", "--apply-chat-template", "tool_use"]) == ["eval", "--apply-chat-template", "tool_use"]
