"""Tokenizer files that must be refused: one test per row of the table (D)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models import library, safety
from models.errors import UserError
from models.events import finish
from tests.models.folders import make_llama, tokenizer_content, write_tokenizer


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("made") / "llama")


@pytest.fixture
def folder(llama: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(llama, tmp_path / "copy"))


def refused(folder: Path, change: Callable[[dict[str, Any]], object], words: str, by_headers: bool = True) -> None:
    content = tokenizer_content()
    change(content)
    write_tokenizer(folder, content)
    actions = [library.describe] if by_headers else []
    for action in (*actions, lambda path: finish(library.load(path))):
        with pytest.raises(UserError) as caught:
            action(folder)
        assert "tokenizer" in str(caught.value)
        assert words in str(caught.value), str(caught.value)


def set_in(part: str, **values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda content: content[part].update(values)


def put(part: str, value: Any) -> Callable[[dict[str, Any]], object]:
    return lambda content: content.update({part: value})


def add_id(text: str, id: Any) -> Callable[[dict[str, Any]], object]:
    return lambda content: content["model"]["vocab"].update({text: id})


def test_b50_merge_that_no_entry_holds(folder: Path) -> None:
    refused(folder, lambda content: content["model"]["merges"].append(["hell", "hell"]), "not in the vocabulary")


def test_b50_part_that_no_entry_holds(folder: Path) -> None:
    refused(folder, lambda content: content["model"]["merges"].append(["zzz", "h"]), "not in the vocabulary")


@pytest.mark.parametrize("merge", [["a"], ["a", "b", "c"], "ab", 3, [1, 2]])
def test_b50_merge_that_is_no_pair(folder: Path, merge: Any) -> None:
    refused(folder, lambda content: content["model"]["merges"].append(merge), "not a pair")


SPECIAL = {"id": "</nowhere>", "type_id": 0}
PANICS: dict[str, Callable[[dict[str, Any]], object]] = {
    "fixed-length-0": put("pre_tokenizer", {"type": "FixedLength", "length": 0}),
    "template-without-its-token": put(
        "post_processor",
        {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": SPECIAL}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {},
        },
    ),
    "stride-not-below-length": put(
        "truncation", {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 4}
    ),
    "precompiled": put("normalizer", {"type": "Precompiled", "precompiled_charsmap": "AAAAIA=="}),
    "unknown-part": put("pre_tokenizer", {"type": "NoSuchThing"}),
    "bad-regex": put("pre_tokenizer", {"type": "Split", "pattern": {"Regex": "(("}, "behavior": "Isolated", "invert": False}),
}


@pytest.mark.parametrize("name", PANICS)
def test_b51_panics(name: str, folder: Path) -> None:
    refused(folder, PANICS[name], "tokenizer", by_headers=False)


def test_b51_verdict_is_remembered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(folder, PANICS["fixed-length-0"], "tokenizer", by_headers=False)

    def forbidden(*_arguments: object) -> None:
        raise AssertionError("a child was started again")

    monkeypatch.setattr(safety, "run_limited", forbidden)
    with pytest.raises(UserError, match="tokenizer"):
        finish(library.load(folder))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (add_id("far", 2**31 - 1), "impossible id"),
        (add_id("far", 400), "belong to no token"),
        (add_id("twin", 5), "given to"),
        (add_id("negative", -1), "impossible id"),
        (add_id("fraction", 262.5), "impossible id"),
        (add_id("true", True), "impossible id"),
        (lambda content: content["added_tokens"].append({"id": 2**31 - 1, "content": "x"}), "impossible id"),
        (lambda content: content["added_tokens"].append({"id": 7, "content": "x"}), "given to"),
        (put("model", []), "no model"),
        (set_in("model", vocab=[1, 2]), "not a table"),
    ],
    ids=["2^31", "gap", "twice", "negative", "float", "true", "added-2^31", "added-twice", "no-model", "no-table"],
)
def test_b52_ids(change: Callable[[dict[str, Any]], object], words: str, folder: Path) -> None:
    refused(folder, change, words)


def test_b53_catastrophic_regex(folder: Path) -> None:
    split = {"type": "Split", "pattern": {"Regex": "(a+)+$(?<!a)"}, "behavior": "Isolated", "invert": False}
    refused(folder, put("pre_tokenizer", split), "tokenizer", by_headers=False)


def test_b53_tokenizer_that_never_ends(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safety, "TOKENIZER_SECONDS", 0.0)
    monkeypatch.setattr(safety, "BYTES_PER_SECOND", 1e12)
    content = tokenizer_content()
    content["model"]["vocab"]["never seen before"] = len(content["model"]["vocab"])
    write_tokenizer(folder, content)
    with pytest.raises(UserError, match="takes longer than"):
        finish(library.load(folder))


def test_b54_more_ids_than_embeddings(folder: Path) -> None:
    def many(content: dict[str, Any]) -> None:
        vocabulary = content["model"]["vocab"]
        vocabulary.update({f"extra{id}": id for id in range(len(vocabulary), 310)})

    refused(folder, many, "embeddings for 300", by_headers=False)


def test_b55_special_tokens_in_a_text_can_be_plain_text(folder: Path) -> None:
    tokenizer = finish(library.load(folder)).tokenizer
    ids = tokenizer("a</s>b", split_special_tokens=True, add_special_tokens=False).input_ids
    assert 2 not in ids
    assert tokenizer.decode(ids) == "a</s>b"


def test_malformed_template(folder: Path) -> None:
    write_tokenizer(folder, chat_template=["x"])
    assert library.describe(folder).chat_template == ""
    write_tokenizer(folder, chat_template=3)
    with pytest.raises(UserError, match="chat template"):
        library.describe(folder)


def test_template_file_wins(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("from the file", encoding="utf-8")
    assert library.describe(folder).chat_template == "from the file"
    (folder / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"chat_template\.jinja"):
        library.describe(folder)
