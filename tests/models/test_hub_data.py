"""Data sets by name from the Hub: fetched once and kept; no network is a sentence. The Hub itself is stood in for."""

import json
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")
datasets = pytest.importorskip("datasets")

from models import hub_data  # noqa: E402
from models.errors import UserError  # noqa: E402
from models.events import Note, Progress, finish  # noqa: E402
from models.hub_data import fetch_data, fetch_named, kept_file, named  # noqa: E402
from models.training import pretrain, tokenizer  # noqa: E402
from models.training.recipe import load_recipe, run_recipe  # noqa: E402
from tests.models.training import TEXTS, write_rows  # noqa: E402

NAME = "hub:someone/stories:tales#train[:40]"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The Hub holds one data set, whose files lie in a folder; what it was asked."""
    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path / "home"))
    files = tmp_path / "hub"
    write_rows(files / "train.jsonl", TEXTS)
    asked = []
    real = datasets.load_dataset

    def load(name, config, *, split, revision):
        asked.append((name, config, split, revision))
        return real("json", data_files=str(files / "train.jsonl"), split=split, cache_dir=str(tmp_path / "cache"))

    def ask(kind, repository, revision):
        yield Progress(0, 0, "asking")
        return SimpleNamespace(sha="c" * 40)

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr(hub_data, "ask_hub", ask)
    monkeypatch.setattr(hub_data, "is_offline", lambda: False)
    return asked


def test_the_rows_of_the_split_are_kept_and_fetched_once(hub):
    events = list(fetch_data(NAME))
    assert any(isinstance(event, Note) and "40 rows" in event.text and "c" * 12 in event.text for event in events)
    kept = kept_file(NAME)
    rows = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]
    assert rows == TEXTS[:40]
    assert finish(fetch_data(NAME)) == kept
    assert hub == [("someone/stories", "tales", "train[:40]", "c" * 40)]
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]


def test_other_splits_and_revisions_are_other_files(hub):
    names = ("hub:a/b", "hub:a/b#test", "hub:a/b:c", "hub:a/b@v2")
    assert len({kept_file(name) for name in names}) == 4
    finish(fetch_data("hub:a/b"))
    assert hub[-1] == ("a/b", None, "train", "c" * 40)


@pytest.mark.parametrize("name", ["hub:", "hub:one", "hub:../x/y", "hub:a/b/c", "hub:a/b#", "hub:a/b:..", "hub:a/..#x"])
def test_what_is_no_name_is_said(name, hub):
    with pytest.raises(UserError, match="not the name of a data set"):
        kept_file(name)


def test_without_a_network_it_says_what_to_do(hub, monkeypatch):
    monkeypatch.setattr(hub_data, "is_offline", lambda: True)
    with pytest.raises(UserError, match="Hub cannot be reached"):
        finish(fetch_data(NAME))
    assert hub == []


def test_a_data_set_that_cannot_be_read_is_named_and_leaves_nothing(hub, monkeypatch):
    def fail(*_args, **_more):
        raise ValueError("Unknown split 'valid'")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(UserError, match="Unknown split 'valid'"):
        finish(fetch_data(NAME))
    assert not list(kept_file(NAME).parent.glob("*"))


def test_names_of_checkpoints_are_no_data(hub):
    settings = pretrain.PretrainSettings(data=("hub:a/b", "texts.jsonl"), dev="hub:a/b#train[:5]", parent="hub:c/d")
    assert list(named(settings)) == ["hub:a/b", "hub:a/b#train[:5]"]
    finish(fetch_named(settings))
    assert len(hub) == 2


def test_a_recipe_trains_on_it(hub, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(f'name: t\nstages:\n  - stage: tokenizer\n    data: ["{NAME}"]\n    vocab_size: 300\n', encoding="utf-8")
    result = finish(run_recipe(load_recipe(path), tmp_path / "out"))
    assert result.metrics["tokenizer"]["rows"] == 40
    assert tokenizer.STAGE.name == "tokenizer"
