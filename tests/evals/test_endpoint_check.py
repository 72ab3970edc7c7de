"""What a form is told of an endpoint: how it is written, what it cannot give, and that no key is ever written down."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals import endpoints
from evals.endpoint_check import asks_likelihoods, check, written
from evals.endpoints import KEY
from evals.options import EvalSettings
from models.errors import UserError
from models.events import finish
from models.records.endpoints import EndpointFields

LOCAL = EndpointFields("http://localhost:8000/v1", "org/m")


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY, raising=False)


@pytest.mark.parametrize("end", ["", "/", "/completions", "/chat/completions", "/completions/"])
def test_however_the_address_ends(end: str) -> None:
    typed = replace(LOCAL, url=LOCAL.url + end)
    assert check(typed, ()).checkpoints == ("endpoint:http://localhost:8000/v1/completions#org/m",)
    assert check(replace(typed, chat=True), ()).checkpoints == ("endpoint:http://localhost:8000/v1/chat/completions#org/m",)


def test_everything_that_is_typed_is_in_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret")
    typed = EndpointFields("https://h/v1", "a, b", False, str(tmp_path), "MY_KEY", 8)
    found = check(typed, ("world_perplexity",))
    assert found.checkpoints == ("endpoint:https://h/v1/completions#a", "endpoint:https://h/v1/completions#b")
    assert found.arguments == f"tokenizer={tmp_path},num_concurrent=8,api_key_env=MY_KEY"
    assert (found.problem, found.note) == ("", "The key is taken from MY_KEY.")
    opened = finish(endpoints.open_endpoint(found.checkpoints[0], EvalSettings(model_args=found.arguments)))
    assert (opened.key, opened.key_name, opened.given["tokenizer"]) == ("sk-secret", "MY_KEY", str(tmp_path))
    assert "sk-secret" not in str(opened.identity())
    other = finish(endpoints.open_endpoint(found.checkpoints[0], EvalSettings(model_args=f"tokenizer={tmp_path}")))
    assert other.identity() == opened.identity()  # where the key comes from does not change an answer


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (EndpointFields(), "needs its address"), (replace(LOCAL, models=" , "), "name of the model"),
        (replace(LOCAL, url="localhost:8000"), "is no endpoint"), (replace(LOCAL, url="http://me:pw@h/v1"), "environment"),
        (replace(LOCAL, url="http://h/v1?api_key=x"), "environment"), (replace(LOCAL, key_name="sk-1234"), "no name of an"),
        (replace(LOCAL, key_name="secret"), "in capitals"), (replace(LOCAL, key_name="NO_SUCH_KEY"), "NO_SUCH_KEY is not set"),
        (replace(LOCAL, tokenizer="/no/such/folder"), "no folder /no/such/folder"),
        (replace(LOCAL, tokenizer="a,b"), "no comma"),
        (EndpointFields("https://api.openai.com/v1", "gpt", True), "OPENAI_API_KEY is not set"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence(typed: EndpointFields, says: str) -> None:
    found = check(typed, ())
    assert says in found.problem
    assert "sk-1234" not in found.problem + found.arguments


def test_a_chat_endpoint_writes_only() -> None:
    names = ("world_questions", "world_perplexity", "arc_easy")
    assert check(LOCAL, names).problem == ""
    assert "need the folder of its tokenizer" in check(LOCAL, names).note
    chat = check(replace(LOCAL, chat=True), names)
    assert chat.likelihoods == ("world_perplexity", "arc_easy")
    assert chat.problem.startswith("world_perplexity, arc_easy need log-likelihoods")
    assert check(replace(LOCAL, chat=True), names[:1]).problem == ""


@pytest.mark.parametrize(
    ("name", "asks"),
    [
        ("world_questions", False), ("world_perplexity", True), ("arc_easy", True), ("gsm8k", False), ("wikitext", True),
        ("mmlu", True), ("truthfulqa@x.csv", True), ("halueval@x.jsonl", False), ("translation@a@b", False),
        ("perplexity@x.txt", True), ("no_such_task", False), ("nothing@x", False),
    ],
)  # fmt: skip
def test_what_a_benchmark_asks(name: str, asks: bool) -> None:
    assert asks_likelihoods(name) is asks


def test_what_a_file_of_ones_own_asks(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("task: mine\noutput_type: multiple_choice\n", encoding="utf-8")
    assert asks_likelihoods(str(path))
    path.write_text("task: mine\n", encoding="utf-8")
    assert not asks_likelihoods(str(path))
    path.write_text("task: [\n", encoding="utf-8")
    assert not asks_likelihoods(str(path))


@given(st.text(max_size=40), st.text(max_size=20), st.text(max_size=30), st.text(max_size=20), st.booleans())
def test_any_text_is_read_or_refused(url: str, models: str, tokenizer: str, key: str, chat: bool) -> None:
    """What is written down can be read again; everything else is a sentence."""
    try:
        found, arguments = written(EndpointFields(url, models, chat, tokenizer, key))
    except UserError:
        return
    for one in found:
        assert endpoints.parts(one)[1]
    assert set(endpoints.arguments(",".join(arguments))) <= {"tokenizer", "api_key_env"}


def test_a_key_that_is_named_must_be_there() -> None:
    from evals.endpoint_asking import asking

    opened = finish(endpoints.open_endpoint("endpoint:http://h/v1#m", EvalSettings(model_args="api_key_env=NO_SUCH_KEY")))
    with pytest.raises(UserError) as caught:
        asking(opened, False)
    assert "export NO_SUCH_KEY=" in caught.value.hint
    with pytest.raises(UserError, match="does not belong into the command line"):
        endpoints.arguments("api_key_env=sk-1234")
