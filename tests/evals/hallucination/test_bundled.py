"""The bundled run of the demo lineage: made by the command that the guide names, and equal to what is computed anew."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from evals.hallucination import files, judging, questions, tables
from evals.hallucination.options import HallucinationSettings
from evals.hallucination.remedies import REMEDIES
from evals.hallucination.running import run
from evals.hallucination.tables import Who
from models.errors import UserError
from models.places import bundled_root

ROOT = Path(__file__).parents[3]
FOLDER = bundled_root() / "results" / "remedies"
NAMES = ("pretrain", "sft", "dpo", "ppo")
GUIDE = ROOT / "assets" / "guide" / "hallucination.md"


@pytest.fixture(scope="module")
def table():
    return files.read_table(FOLDER)


def bundled(name, remedy):
    """The bundled answers of a checkpoint under a remedy."""
    return files.read_answers(files.answers_file(FOLDER, name, remedy))[0]


def test_every_checkpoint_has_every_remedy(table):
    assert [(one.checkpoint, one.remedy) for one in table.columns] == [(name, remedy) for name in NAMES for remedy in REMEDIES]
    assert {one.n for one in table.columns} == {90}
    assert not [one.error for one in table.columns if one.error]
    for one in table.columns:
        assert Path(one.path).resolve() == (bundled_root() / one.checkpoint).resolve()
        assert one.kinds


def test_it_is_small_and_names_no_machine():
    found = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in found) < 1_000_000
    assert {path.name for path in found if path.parent == FOLDER} == {files.TABLE}
    text = (FOLDER / files.TABLE).read_text(encoding="utf-8")
    assert "/home" not in text
    assert '"path": "/' not in text


def test_the_window_finds_it():
    from lab.places import result_folders

    assert str(FOLDER.resolve()) in {str(Path(one.path).resolve()) for one in files.runs_in(result_folders())}


def test_the_guide_names_its_command(table):
    lines = [line for line in GUIDE.read_text(encoding="utf-8").splitlines() if "--remedies all" in line and "--compact" in line]
    words = shlex.split(lines[0])
    assert words[:2] == ["triptych", "hallucination"]
    assert [Path(word).name for word in words[2:6]] == list(NAMES)
    given = dict(zip(words[6::2], words[7::2], strict=False))
    assert (given["--limit"], given["--samples"]) == (table.settings["limit"], table.settings["samples"])
    assert (given["--retrieve"], given["--checker"]) == (table.settings["retrieve"], table.settings["checker"])
    assert table.settings["seed"] == "0"


@pytest.mark.parametrize("name", NAMES)
def test_the_table_follows_from_the_answers(table, name):
    asked = [one for benchmark in HallucinationSettings().benchmarks for one in questions.questions(benchmark, str(FOLDER), 30)]
    clusters = {one.id: one.cluster for one in asked}
    for own in (one for one in table.columns if one.checkpoint == name):
        answers = bundled(name, own.remedy)
        drawn = own.remedy in ("sampled", "cool")
        outcomes = judging.outcomes(answers, drawn)
        again = tables.column(
            Who(name, own.stage, own.path, own.remedy), answers, outcomes, [clusters[one.id] for one in answers], 0,
            REMEDIES[own.remedy].asks and not drawn,
        )  # fmt: skip
        for share in ("correct", "hallucinated", "abstained", "false_abstention", "unanswerable"):
            assert getattr(again, share).value == pytest.approx(getattr(own, share).value, abs=1e-5, nan_ok=True)
            assert getattr(again, share).low == pytest.approx(getattr(own, share).low, abs=1e-5, nan_ok=True)
        aurocs = [one.auroc for one in own.qualities]
        made = [one.auroc for one in again.qualities]
        assert made == pytest.approx(aurocs, abs=1e-5, nan_ok=True)
        for one in answers:  # the oracle still says the same
            question = next(item for item in asked if item.id == one.id)
            if one.word != judging.WITHHELD:
                assert question.judge(one.said, one.stop in ("length", "limit")).verdict == one.verdict


def test_a_part_computed_anew_is_the_same(table, tmp_path, drain):
    settings = HallucinationSettings(limit=5, samples=0, p_true=False, remedies=("retrieval",), retrieve="world", device="cpu")
    _events, columns = drain(run([str(bundled_root() / "ppo")], settings, tmp_path))
    assert [one.n for one in columns] == [15, 15]
    for remedy in ("plain", "retrieval"):
        kept = {one.id: one for one in bundled("ppo", remedy)}
        made = files.read_answers(files.answers_file(tmp_path, "ppo", remedy))[0]
        assert len(made) == 15
        for one in made:
            own = kept[one.id]
            assert (one.answer, one.verdict, one.word, one.prompt_ids) == (own.answer, own.verdict, own.word, own.prompt_ids)
            assert one.passages == own.passages
            assert np.allclose(one.tokens.logprobs, own.tokens.logprobs, atol=2e-3)


def test_a_run_is_made_compact(tmp_path):
    for path in FOLDER.rglob("*"):
        if path.is_file() and "sft" in str(path):
            (tmp_path / path.relative_to(FOLDER)).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path.relative_to(FOLDER)).write_bytes(path.read_bytes())
    content = json.loads((FOLDER / files.TABLE).read_text(encoding="utf-8"))
    rows = [row for row in content["columns"] if row["checkpoint"] == "sft"]
    (tmp_path / files.TABLE).write_text(json.dumps({**content, "columns": rows}), encoding="utf-8")
    path = files.answers_file(tmp_path, "sft", "plain")
    before = files.read_answers(path)[0]
    files.write_answers(path, before)  # as it was before it was made compact
    path.with_name(files.PACKED).unlink()
    (tmp_path / "sft" / "responses.jsonl").write_text("{}\n", encoding="utf-8")
    files.compact(tmp_path)
    assert not path.exists()
    assert not (tmp_path / "sft" / "responses.jsonl").exists()
    assert str(files.read_answers(path)[0]) == str(before)
    with pytest.raises(UserError, match="cannot be read"):
        files.read_answers(files.answers_file(tmp_path, "sft", "vote"))
    packed = path.with_name(files.PACKED)
    first = packed.read_bytes()
    files.write_answers(path, before)
    files.compact(tmp_path)
    assert packed.read_bytes() == first
    packed.write_bytes(first[:200])
    with pytest.raises(UserError, match="cannot be read"):
        files.read_answers(path)
