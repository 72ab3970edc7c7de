"""The report on compression: counted by hand, beside other tokenizers, in the stage and on the command line."""

import json
import math
from pathlib import Path

import pytest

pytest.importorskip("torch")

from lab.cli import run
from models.characters import character_tokenizer
from models.compression import compare, compression
from models.errors import UserError
from models.events import Note, finish
from models.training import tokenizer
from tests.models.training import workspace, write_corpus


@pytest.fixture(scope="module")
def letters(tmp_path_factory) -> Path:
    """A tokenizer of the characters a, b, 中 and space."""
    folder = tmp_path_factory.mktemp("letters")
    text = json.dumps(character_tokenizer({"a": 0, "b": 1, "中": 2, " ": 3}), ensure_ascii=False)
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}', encoding="utf-8")
    return folder


def test_by_hand(letters):
    (one,) = finish(compare([letters], ["ab a", "中中", ""]))
    assert (one.entries, one.used, one.n_texts, one.returned) == (4, 4, 3, 3)
    assert (one.n_tokens, one.n_bytes, one.n_characters) == (6, 10, 6)
    assert one.bytes_per_token == pytest.approx(10 / 6)
    assert one.characters_per_token == 1.0


def test_no_text_is_not_a_number_and_a_text_it_cannot_write_is_a_sentence(letters):
    from models.tokenizer_open import load_tokenizer

    assert math.isnan(finish(compression("none", load_tokenizer(letters), [])).bytes_per_token)
    with pytest.raises(UserError, match="no tokens for a part"):
        finish(compare([letters], ["abc"]))
    with pytest.raises(UserError, match="holds no tokenizer"):
        finish(compare([letters.parent], ["a"]))


def test_the_stage_reports_its_own_and_others_on_texts_that_it_did_not_see(tmp_path):
    root = write_corpus(tmp_path)
    settings = tokenizer.TokenizerSettings(data=("texts.jsonl",), vocab_size=300)
    small = finish(tokenizer.STAGE.run(settings, workspace(root, "small")))
    more = tokenizer.TokenizerSettings(data=("texts.jsonl",), vocab_size=340, report=("talk.jsonl",), compare=("small",))
    work = tokenizer.STAGE.run(more, workspace(root, "large"))
    notes = [event.text for event in work if isinstance(event, Note)]
    report = json.loads((root / "large" / "compression.json").read_text(encoding="utf-8"))
    assert report["texts"] == ["talk.jsonl"]
    assert [one["name"] for one in report["tokenizers"]] == ["large", "small"]
    large, other = report["tokenizers"]
    assert large["n_bytes"] == other["n_bytes"] > large["n_tokens"]
    assert large["returned"] == large["n_texts"] == 48
    assert small["bytes_per_token"] > 1
    assert sum("bytes, " in note for note in notes) == 2


@pytest.mark.parametrize(("most", "n_texts"), [(10, 1), (450, 3), (10**9, 4)])
def test_the_stage_does_not_report_on_all_of_a_large_file(tmp_path, monkeypatch, most, n_texts):
    monkeypatch.setattr(tokenizer, "REPORTED_CHARACTERS", most)
    (tmp_path / "long.jsonl").write_text("".join(json.dumps({"text": "ab " * 50}) + "\n" for _ in range(4)), encoding="utf-8")
    settings = tokenizer.TokenizerSettings(data=("long.jsonl",), vocab_size=270)
    finish(tokenizer.STAGE.run(settings, workspace(tmp_path, "own")))
    (one,) = json.loads((tmp_path / "own" / "compression.json").read_text(encoding="utf-8"))["tokenizers"]
    assert one["n_texts"] == n_texts


def test_the_command_line_compares(letters, tmp_path, capsys):
    (tmp_path / "texts.txt").write_text("ab a中中", encoding="utf-8")
    assert run(["models", "tokenizers", str(letters), str(letters), "--text", str(tmp_path / "texts.txt"), "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first == second
    assert first["n_tokens"] == 6
    assert run(["models", "tokenizers", str(letters), "--text", str(tmp_path / "none.txt")]) == 2
    assert "There is no file" in capsys.readouterr().err
