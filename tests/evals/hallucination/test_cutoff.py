"""The trial of a knowledge cutoff: its table by hand, and the whole of it on a tiny random model."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from evals.cutoff import running, table
from evals.cutoff.options import RETRIEVAL, WAYS, CutoffSettings, explanation, title
from evals.cutoff.preparing import recipe
from evals.hallucination import files
from evals.report.cutoff import cells, header, short_rows, write_report
from models.errors import UserError
from models.events import Progress, Saved
from models.records.cutoff import CutoffRow
from models.records.hallucination import QuestionAnswer
from models.world.news import BENCHMARK

TINY = CutoffSettings(
    ways=(RETRIEVAL, "full", "adapter", "reader"), limit=6, epochs=0.002, lessons=12, old_texts=20, rank=2, device="cpu",
    threads=1,
)


def answer(id, benchmark, cell, verdict, word=""):
    return QuestionAnswer(
        id, benchmark, cell, "en", "q?", ("a",), True, "a", "a", "eos", verdict, word or verdict, "world", verdict == "correct",
        prompt_ids=(1,) * 5,
    )  # fmt: skip


def answers(new, changed, old):
    """Answers of a column: verdicts of two new things, two changed facts, four old ones, one unknown."""
    made = [answer(f"n{i}", BENCHMARK, "new_thing", verdict) for i, verdict in enumerate(new)]
    made += [answer(f"c{i}", BENCHMARK, "changed", *verdict) for i, verdict in enumerate(changed)]
    made += [answer(f"o{i}", table.OLD, "question", verdict) for i, verdict in enumerate(old)]
    return [*made, answer("u", table.UNKNOWN, "question", "abstained")]


THINGS = {name: name for name in ("n0", "n1", "c0", "c1", "o0", "o1", "o2", "o3", "u")}
OUTDATED = ("hallucinated", "outdated")


def test_the_table_by_hand():
    before = answers(["abstained"] * 2, [OUTDATED, ("abstained",)], ["correct"] * 4)
    after = answers(["correct", "hallucinated"], [("correct",)] * 2, ["correct", "hallucinated", "hallucinated", "correct"])
    rows = [
        table.row(CutoffRow("ppo", "a", "", "plain"), before, THINGS),
        table.row(CutoffRow("full", "b", "full", "plain"), after, THINGS),
    ]
    assert (rows[0].new.value, rows[0].new_abstained.value, rows[0].new_invented.value) == (0.0, 1.0, 0.0)
    assert (rows[0].changed.value, rows[0].outdated.value, rows[0].changed_abstained.value) == (0.0, 0.5, 0.5)
    assert (rows[1].new.value, rows[1].new_invented.value, rows[1].changed.value, rows[1].outdated.value) == (0.5, 0.5, 1.0, 0.0)
    assert rows[0].unknown.value == 1.0
    assert rows[0].unchanged.n == 0
    assert rows[0].prompt_tokens == 5
    made = table.compared(rows, [before, after], THINGS)
    assert math.isnan(made[0].forgotten.value)
    assert made[1].forgotten.value == -0.5
    assert made[1].forgotten.n == 4
    assert made[1].learned.value == 0.75
    assert 0 < made[1].p <= 1
    plain = table.plain(made[0])
    assert plain["forgotten"]["value"] is None
    assert plain["old"]["value"] == 1.0
    json.dumps(plain, allow_nan=False)


def test_p_is_adjusted_for_the_size_of_the_table():
    before, after = answers(["abstained"] * 2, [OUTDATED] * 2, ["correct"] * 4), answers(
        ["correct"] * 2, [("correct",)] * 2, ["correct", "hallucinated", "hallucinated", "correct"]
    )
    row = CutoffRow("x", "", "full", "plain")
    alone = table.compared([row, row], [before, after], THINGS)
    more = table.compared([row, row, row], [before, after, after], THINGS)
    assert more[1].p == pytest.approx(min(1.0, 2 * alone[1].p))


def test_shares_without_questions_are_empty(tmp_path):
    row = table.row(CutoffRow("<b>x", "", "", "plain"), [], {})
    assert len(cells(row)) == len(header())
    assert cells(row)[2:] == [""] * 10 + ["–", "", ""]
    head, rows = short_rows([row])
    assert len(head) == len(rows[0])
    write_report(tmp_path / "x.html", [row])
    text = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert "<b>x" not in text
    assert "<script" not in text


def test_every_way_is_named_and_has_a_step():
    assert len({title(way) for way in WAYS}) == len(WAYS)
    assert all(explanation(way) for way in WAYS)
    made = recipe("/a/model", CutoffSettings())
    assert [step["name"] for step in made["stages"]] == [way for way in WAYS if way != RETRIEVAL]
    by_name = {step["name"]: step for step in made["stages"]}
    assert by_name["adapter"]["method"] == by_name["reader"]["method"] == "lora"
    assert "method" not in by_name["full"]
    assert set(by_name["full"]["data"]) < set(by_name["replay"]["data"])
    assert by_name["reader"]["data"] == ["lessons.jsonl"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"ways": ()}, "--ways"), ({"ways": ("prayer",)}, "prayer"), ({"passages": 0}, "at least 1"), ({"lr": 0.0}, "above 0"),
     ({"limit": -1}, "at least 0")],
)  # fmt: skip
def test_settings_that_make_no_sense(settings, said):
    with pytest.raises(UserError, match=said):
        CutoffSettings(**settings)


def test_a_checkpoint_without_a_world_is_refused(tiny, tmp_path, drain):
    with pytest.raises(UserError, match="no closed world"):
        drain(running.run(str(tiny("llama")), TINY, tmp_path / "run"))


def test_the_progress_of_steps_adds_up():
    def work():
        for _step in range(2):
            yield Progress(0, 4)
            yield Progress(2, 4, "learning")
            yield Saved("snapshots/step-2")
            yield Progress(4, 4, "saving")
            yield Saved("checkpoint")
        return "end"

    found = [event.done for event in running.counted(work(), 2) if isinstance(event, Progress)]
    assert found == [0, 0.5, 1, 1, 1.5, 2]


@pytest.fixture(scope="module")
def trial(small_world, tmp_path_factory):
    """One trial of every way but replay, on a tiny model: its folder and rows."""
    output = tmp_path_factory.mktemp("cutoff") / "run"
    work = running.run(str(small_world / "sft"), TINY, output)
    while True:
        try:
            next(work)
        except StopIteration as end:
            return output, end.value


def test_every_way_is_trained_asked_and_scored(trial, small_world):
    output, rows = trial
    assert [(one.way, one.remedy) for one in rows] == [
        (way, remedy) for way in ("", "full", "adapter", "reader") for remedy in ("plain", "retrieval")
    ]
    for one in rows:
        assert one.new.n + one.changed.n + one.unchanged.n == one.old.n == one.unknown.n == 6
        total = one.new.value + one.new_abstained.value + one.new_invented.value
        assert total == pytest.approx(1.0)
        assert (one.perplexity.n == 6) == (one.remedy == "plain")
        assert (one.trained > 0) == bool(one.way)
        assert one.seconds >= 0 if one.way else one.seconds == 0  # to a tenth of a second: a tiny training takes none
        assert (output / one.receipts["answers"]).is_file()
        assert list((output / one.receipts["token_perplexity"]).iterdir())
    by_way = {one.way: one for one in rows if one.remedy == "plain"}
    assert by_way["adapter"].trained < by_way["full"].trained
    assert by_way["full"].perplexity.value != by_way[""].perplexity.value
    longer = {one.remedy: one.prompt_tokens for one in rows if not one.way}
    assert longer["retrieval"] > longer["plain"]
    assert json.loads((output / running.TABLE).read_text(encoding="utf-8"))["rows"] == [
        json.loads(json.dumps(table.plain(one))) for one in rows
    ]
    assert "continued training" in (output / running.REPORT).read_text(encoding="utf-8")


def test_the_trial_opens_as_a_run_and_its_trainings_as_a_lineage(trial):
    from models.library import read_lineage

    output, _rows = trial
    run = files.read_table(output)
    assert [one.checkpoint for one in run.columns if one.remedy == "plain"] == ["sft", "full", "adapter", "reader"]
    assert {kind.benchmark for one in run.columns for kind in one.kinds} == {BENCHMARK, table.OLD, table.UNKNOWN}
    found = files.read_answers(files.answers_file(output, "sft", "retrieval"))[0]
    assert all(one.passages for one in found if one.benchmark == BENCHMARK)
    assert len(read_lineage(output / running.TRAINING / "lineage.json").checkpoints) == 3


def test_started_again_nothing_is_done_twice_and_other_settings_are_refused(trial, small_world, drain):
    output, rows = trial
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*.safetensors")}
    responses = {path: path.read_bytes() for path in output.rglob("responses.jsonl")}
    _events, again = drain(running.run(str(small_world / "sft"), TINY, output))
    assert str(again) == str(rows)
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*.safetensors")} == before
    assert {path: path.read_bytes() for path in output.rglob("responses.jsonl")} == responses
    with pytest.raises(UserError, match="other settings"):
        drain(running.run(str(small_world / "sft"), replace(TINY, epochs=1.0), output))


def test_the_world_goes_with_what_was_trained(trial, small_world):
    from evals.benchmarks import _world

    output, _rows = trial
    trained = Path(output) / running.TRAINING / "full" / "checkpoint"
    assert _world.items(BENCHMARK, str(trained)) == _world.items(BENCHMARK, str(small_world / "sft"))
    assert _world.items(table.OLD, str(trained)) == _world.items(table.OLD, str(small_world / "sft"))
