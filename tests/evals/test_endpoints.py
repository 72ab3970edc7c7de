"""Models that are only an address, scored through lm-eval's own classes: our numbers, nothing lost, no key written down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evals import endpoints, grid
from evals.endpoints import KEY, EndpointIdentity
from evals.options import EvalSettings
from evals.results import cells as read_cells
from evals.results import raw_samples, samples
from evals.store import FILE, response_key, stored
from models.errors import UserError
from models.events import finish
from models.library import load
from models.places import bundled_root
from tests.evals.test_grid import CHOICES, QUESTIONS, ROLLING, TEXTS, WRITING, values

pytest.importorskip("tenacity", reason="the extra 'endpoints' is not installed")
SECRET = "sk-very-secret-4711"


@pytest.fixture(scope="module")
def server(tiny):
    from tests.evals.serving import serving

    with serving(finish(load(str(tiny("llama"))))) as found:
        yield found


@pytest.fixture
def names(write_task):
    """Multiple choice, whole texts, and generation."""
    parts = (("mc", CHOICES, QUESTIONS), ("roll", ROLLING, TEXTS[:2]), ("gen", WRITING, QUESTIONS))
    return [str(write_task(name, text, rows)) for name, text, rows in parts]


@pytest.fixture(autouse=True)
def _afresh(server, monkeypatch):
    server.asked.clear()
    server.failures.clear()
    server.always = None
    monkeypatch.setenv(KEY, SECRET)


def address(server, end="/completions", model="tiny"):
    return f"endpoint:{server.url}{end}#{model}"


def settings(folder, more="", **other):
    return EvalSettings(model_args=f"tokenizer={folder},add_bos_token=True{more}", **other)


def answers(output):
    return {key: value for path in Path(output).rglob(FILE) for key, value in stored(path).items()}


@pytest.mark.parametrize("more", ["", ",num_concurrent=4", ",tokenized_requests=False"])
def test_the_same_numbers_as_the_checkpoint_itself(server, names, tiny, tmp_path, more):
    ours = finish(grid.run([str(tiny("llama"))], names, EvalSettings(), tmp_path / "ours"))
    tokens = "add_bos_token=True" if "False" not in more else "add_bos_token=False"  # the server adds its own to a text
    given = EvalSettings(model_args=f"tokenizer={tiny('llama')},{tokens}{more}", batch_size="2" if more else "auto")
    asked = names if "False" not in more else names[2:]
    theirs = finish(grid.run([address(server)], asked, given, tmp_path / "theirs"))
    assert {cell.state for cell in theirs} == {"done"}, [cell.signature for cell in theirs]
    expected = {(cell.benchmark, cell.metric): cell for cell in ours}
    for cell in theirs:
        assert (cell.checkpoint, cell.path) == ("tiny", address(server))
        other = expected[cell.benchmark, cell.metric]
        assert (cell.value, cell.n) == (pytest.approx(other.value, rel=1e-5), other.n)
    for task in {cell.benchmark for cell in theirs}:
        pairs = [raw_samples(next(c.run for c in cells if c.benchmark == task), task) for cells in (ours, theirs)]
        for mine, row in zip(*pairs, strict=True):
            assert row["doc_hash"] == mine["doc_hash"]
            for one, other in zip(row["resps"], mine["resps"], strict=True):
                if task == "gen":
                    assert one == other
                else:
                    flat = [part[0] if isinstance(part[0], list) else part for part in (one, other)]
                    assert float(flat[0][0]) == pytest.approx(float(flat[1][0]), abs=1e-4)
                    assert task == "roll" or str(flat[0][1]) == str(flat[1][1])


def test_a_chat_endpoint_answers_as_the_stage_does(tmp_path):
    from tests.evals.serving import serving

    place = str(bundled_root() / "sft")
    ours = finish(grid.run([place], ["world_questions"], EvalSettings(limit=5), tmp_path / "ours"))
    with serving(finish(load(place))) as own:
        given = EvalSettings(limit=5, model_args=f"tokenizer={place}")
        theirs = finish(grid.run([address(own, "/chat/completions", "org/sft")], ["world_questions"], given, tmp_path / "theirs"))
    assert [(cell.metric, cell.value, cell.low) for cell in theirs] == [(cell.metric, cell.value, cell.low) for cell in ours]
    pairs = [samples(cells[0].run, "world_questions") for cells in (ours, theirs)]
    assert [row.answer for row in pairs[0]] == [row.answer for row in pairs[1]]
    assert [row.verdict for row in pairs[0]] == [row.verdict for row in pairs[1]]
    prompt = json.loads(pairs[1][0].fields["rendered"])
    assert prompt == [{"role": "user", "content": pairs[0][0].prompt}]
    content = json.loads(Path(theirs[0].run).read_text("utf-8"))
    assert content["config"]["model"] == "local-chat-completions"
    assert content["triptych"]["answered_as"] == "org/sft fp_7"
    assert "not known" in content["triptych"]["identity"]["weights"]
    assert Path(theirs[0].run).parent.name == "org__sft"


def test_log_likelihoods_of_a_chat_endpoint_are_refused_before_anything_is_asked(server, names, tmp_path):
    cells = finish(grid.run([address(server, "/chat/completions")], names[:2], EvalSettings(), tmp_path))
    assert [cell.state for cell in cells] == ["failed", "failed"]
    assert all("needs log-likelihoods, and a chat endpoint gives none" in cell.signature for cell in cells)
    cells = finish(grid.run([address(server)], names[:1], EvalSettings(), tmp_path))
    assert "tokenizer=FOLDER" in cells[0].signature
    assert [path for path, _headers, _body in server.asked if "completions" in path] == []
    named = EvalSettings(apply_chat_template="own.jinja")
    for end in ("/completions", "/chat/completions"):  # another template than the named one would be used
        (cell,) = finish(grid.run([address(server, end)], names[2:], named, tmp_path))
        assert (cell.state, "not 'own.jinja'" in cell.signature) == ("failed", True)
    assert [path for path, _headers, _body in server.asked if "completions" in path] == []
    cells = finish(grid.run([address(server)], names[2:], EvalSettings(), tmp_path))  # generation needs none
    assert [cell.state for cell in cells] == ["done"]


@pytest.mark.parametrize("more", ["", ",num_concurrent=3"])
def test_nothing_is_lost_and_nothing_asked_twice(server, names, tiny, tmp_path, more):
    given = settings(tiny("llama"), more + ",max_retries=1")
    whole = finish(grid.run([address(server)], names, given, tmp_path / "whole"))
    n = len(server.asked)
    server.asked.clear()
    server.failures = [None] * 5 + [503]
    server.always = 503
    broken = finish(grid.run([address(server)], names, given, tmp_path / "run"))
    assert {cell.state for cell in broken} == {"failed"}
    assert "HTTP 503" in broken[0].signature
    assert SECRET not in broken[0].signature  # the server told it
    kept = len(answers(tmp_path / "run"))
    assert kept == 5
    server.asked.clear()
    server.always = None
    cells = finish(grid.run([address(server)], names, given, tmp_path / "run"))
    assert values(cells) == values(whole)
    assert len(server.asked) == n - kept
    server.asked.clear()
    again = finish(grid.run([address(server)], names, given, tmp_path / "run"))
    assert (values(again), server.asked) == (values(whole), [])


def test_a_failure_that_passes_is_tried_again(server, names, tiny, tmp_path):
    server.failures = [500, 429]
    cells = finish(grid.run([address(server)], names[2:], settings(tiny("llama")), tmp_path))
    assert [cell.state for cell in cells] == ["done"]
    assert len(server.asked) == len(QUESTIONS) + 2


@pytest.mark.parametrize(
    ("failure", "says"),
    [(401, "export OPENAI_API_KEY"), (404, "name of the model"), ("hang", "within 1 s"), ("plain", "echo with logprobs")],
)
@pytest.mark.parametrize("more", ["", ",num_concurrent=2"])
def test_what_went_wrong_is_one_sentence(server, names, tiny, tmp_path, failure, says, more):
    server.always = failure
    given = settings(tiny("llama"), more + ",max_retries=1,timeout=1")
    (cell,) = finish(grid.run([address(server)], names[:1], given, tmp_path))
    assert cell.state == "failed"
    assert says in cell.signature
    assert "Traceback" not in cell.signature
    assert SECRET not in cell.signature


def test_a_server_that_is_not_there(names, tiny, tmp_path):
    (cell,) = finish(
        grid.run(["endpoint:http://127.0.0.1:9/v1#m"], names[2:], settings(tiny("llama"), ",max_retries=1"), tmp_path)
    )
    assert "http://127.0.0.1:9/v1/completions cannot be reached" in cell.signature


def test_the_key_is_in_the_header_and_nowhere_else(server, names, tiny, tmp_path):
    command = [sys.executable, "-m", "lab", "eval", address(server), "--tasks", ",".join(names), "--output-path", "run"]
    command += ["--model-args", f"tokenizer={tiny('llama')}"]
    environment = {**os.environ, "PYTHONPATH": f"{os.getcwd()}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert all(headers["Authorization"] == f"Bearer {SECRET}" for _path, headers, _body in server.asked)
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert len(files) > 6
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
    assert SECRET not in done.stdout + done.stderr
    found = {(cell.checkpoint, cell.benchmark) for cell in read_cells([tmp_path / "run"])}  # as the window opens it
    assert found == {("tiny", "mc"), ("tiny", "roll"), ("tiny", "gen")}


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("endpoint:localhost#m", "Write it"), ("endpoint:http://h/v1", "Write it"), ("endpoint:http://h/v1#", "Write it"),
        ("endpoint:http://me:pw@h/v1#m", "environment"), ("endpoint:http://h/v1?api_key=1#m", "environment"),
    ],
)  # fmt: skip
def test_how_an_endpoint_is_written(written, says):
    with pytest.raises(UserError) as error:
        endpoints.parts(written)
    assert says in error.value.hint


def test_addresses_and_names():
    assert endpoints.parts("endpoint:http://h:1/v1/#org/m") == ("http://h:1/v1/completions", "org/m")
    assert endpoints.parts("endpoint:http://h/v1/chat/completions#m")[0] == "http://h/v1/chat/completions"
    opened = finish(endpoints.open_endpoint("endpoint:https://api.openai.com/v1/chat/completions#gpt", EvalSettings()))
    assert (opened.api, opened.chat) == ("openai-chat-completions", True)
    with pytest.raises(UserError, match="not known here"):
        endpoints.arguments("pretrained=x")
    with pytest.raises(UserError) as error:
        endpoints.arguments("api_key=x")
    assert KEY in error.value.hint
    rows = grid.named(["endpoint:http://a/v1#m", "endpoint:http://b/v1#m", "endpoint:http://b/v1#other"])
    assert [row.name for row in rows] == ["a/m", "b/m", "other"]


def test_each_ingredient_of_the_key_counts(tiny):
    from dataclasses import fields, replace

    from evals.endpoint_lm import TextRequest

    who, asked = EndpointIdentity("u", "m", "a", "t", "s"), TextRequest("score", "a", "b")
    known = {response_key(who, asked)}
    for one in fields(who):
        known.add(response_key(replace(who, **{one.name: 9}), asked))
    for one in fields(asked):
        known.add(response_key(who, replace(asked, **{one.name: 9})))
    assert len(known) == 1 + len(fields(who)) + len(fields(asked))
    plain = finish(endpoints.open_endpoint("endpoint:http://h/v1#m", EvalSettings()))
    for given in ("max_length=64", "add_bos_token=True", f"tokenizer={tiny('llama')}", "eos_string=x"):
        other = finish(endpoints.open_endpoint("endpoint:http://h/v1#m", EvalSettings(model_args=given)))
        assert other.identity() != plain.identity()
    same = finish(endpoints.open_endpoint("endpoint:http://h/v1#m", EvalSettings(model_args="num_concurrent=9,timeout=4")))
    assert same.identity() == plain.identity()
