"""lineage.json: read, write, refuse, export."""

import json

import pytest

from models.errors import UserError
from models.lineage import Lineage, LineageEntry, export_lineage, read_lineage, write_lineage


def make(folder):
    entries = (
        LineageEntry("pretrain", "pretrain/checkpoint", "pretrain"),
        LineageEntry("sft", "sft/checkpoint", "sft", "pretrain"),
        LineageEntry("ppo", "ppo/checkpoint", "rlhf", "sft"),
    )
    return Lineage("tiny", folder, entries)


def test_what_is_written_is_read_back(tmp_path):
    lineage = make(tmp_path)
    path = write_lineage(lineage)
    assert read_lineage(path) == lineage
    assert read_lineage(tmp_path) == lineage
    content = json.loads(path.read_text())
    assert content["checkpoints"][2] == {"name": "ppo", "path": "ppo/checkpoint", "stage": "rlhf", "parent": "sft"}


def test_ancestors_nearest_first_and_paths(tmp_path):
    lineage = make(tmp_path)
    assert [entry.name for entry in lineage.ancestors("ppo")] == ["sft", "pretrain"]
    assert lineage.path_of("sft") == tmp_path / "sft/checkpoint"
    with pytest.raises(UserError, match="pretrain, sft, ppo"):
        lineage.entry("dpo")


@pytest.mark.parametrize(
    ("content", "id"),
    [
        ("{", "lineage.malformed"),
        ("[]", "lineage.malformed"),
        ('{"name": "x"}', "lineage.malformed"),
        ('{"name": "x", "checkpoints": [{"name": "a"}]}', "lineage.malformed"),
        ('{"name": "x", "checkpoints": ["a"]}', "lineage.malformed"),
        ('{"name": "x", "checkpoints": [{"name": "a", "path": "a"}, {"name": "a", "path": "b"}]}', "lineage.twice"),
        ('{"name": "x", "checkpoints": [{"name": "a", "path": "a", "stage": "magic"}]}', "lineage.stage"),
        ('{"name": "x", "checkpoints": [{"name": "a", "path": "a", "parent": "b"}]}', "lineage.parent"),
        ('{"name": "x", "checkpoints": [{"name": "a", "path": "a", "parent": "a"}]}', "lineage.parent"),
    ],
)
def test_bad_lineages_are_refused_by_name(tmp_path, content, id):
    (tmp_path / "lineage.json").write_text(content)
    with pytest.raises(UserError) as caught:
        read_lineage(tmp_path)
    assert caught.value.id == id
    assert "lineage.json" in caught.value.what


def test_missing_lineage(tmp_path):
    with pytest.raises(UserError) as caught:
        read_lineage(tmp_path)
    assert caught.value.id == "lineage.missing"


def test_export_copies_checkpoints_only(tmp_path):
    source = tmp_path / "run"
    for name in ("pretrain", "sft", "ppo"):
        folder = source / name / "checkpoint"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(name)
        (source / name / "events.jsonl").write_text("{}\n")
    write_lineage(make(source))
    exported = export_lineage(source, tmp_path / "assets")
    assert read_lineage(tmp_path / "assets") == exported
    assert (tmp_path / "assets/ppo/config.json").read_text() == "ppo"
    assert not list((tmp_path / "assets").rglob("events.jsonl"))
    assert [entry.parent for entry in exported.checkpoints] == ["", "pretrain", "sft"]
    export_lineage(source, tmp_path / "assets")  # again, over itself
    assert sorted(path.name for path in (tmp_path / "assets").iterdir()) == ["lineage.json", "ppo", "pretrain", "sft"]
