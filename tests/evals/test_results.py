"""The index, samples, comparisons and the report, from run folders written by hand: no model is opened."""

import json
import math
import multiprocessing
import os
import time
from dataclasses import asdict, replace

import pytest

from evals import files, index, results, scores
from evals.report import charts
from evals.report._text import shown
from evals.report.html import write_report
from evals.report.results import write_results
from models.errors import UserError
from models.records.scores import Cell

EVIL = '<img src=x onerror=alert(1)>\x1b[31m\u202e & "quoted" \''


def item(place, entity, answer, verdict, good, language="en"):
    doc = {"id": f"q-{place}", "prompt": f"Question {place}?", "target": "Tarn.", "entity": entity, "language": language,
           "cell": "question", "type": "question"}  # fmt: skip
    return {
        "doc_id": place, "doc": doc, "target": "Tarn.", "arguments": {"gen_args_0": {"arg_0": f"<bos>Question {place}?"}},
        "resps": [[answer]], "filtered_resps": [answer], "filter": "none", "metrics": ["exact_match", "abstention_rate"],
        "exact_match": float(good), "abstention_rate": float(verdict == "abstained"), "verdict": verdict, "stop": "eos",
        "doc_hash": f"h{place}", "prompt_hash": "p", "target_hash": "t",
    }  # fmt: skip


def write_run(output, name, stage, answers, when="2026-11-22T10-00-00.000001"):
    """Write a run of world_questions: answers is a list of (entity, answer, verdict, good, language)."""
    folder = output / name
    rows = [item(place, *answer) for place, answer in enumerate(answers)]
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / f"samples_world_questions_{when}.jsonl").write_text(text, encoding="utf-8")
    share = sum(answer[3] for answer in answers) / len(answers)
    silent = sum(answer[2] == "abstained" for answer in answers) / len(answers)
    base = Cell(
        name, stage, "world_questions", "exact_match", share, max(share - 0.1, 0), min(share + 0.1, 1), len(answers), True
    )
    cells = [base, replace(base, metric="abstention_rate", value=silent, higher_is_better=False)]
    content = {"results": {}, "triptych": {"cells": [files.cell_row(cell, folder) for cell in cells]}}
    (folder / f"results_{when}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder / f"results_{when}.json"


@pytest.fixture
def runs(tmp_path):
    entities = [f"e{i // 4}" for i in range(40)]
    write_run(
        tmp_path, "sft", "sft", [(e, "Tarn.", "correct", i % 5 != 0, "zh" if i % 2 else "en") for i, e in enumerate(entities)]
    )
    write_run(tmp_path, "pretrain", "pretrain", [(e, EVIL, "wrong", i % 5 == 0, "en") for i, e in enumerate(entities)])
    return tmp_path


def test_cells_are_found_in_the_order_of_stages(runs):
    cells = results.cells([runs])
    assert [cell.checkpoint for cell in cells] == ["pretrain", "pretrain", "sft", "sft"]
    assert all(cell.run.endswith(".json") for cell in cells)
    assert results.cells([runs / "sft"]) == cells[2:]
    assert results.cells([runs / "none"]) == []


def test_the_newest_score_counts(runs):
    newer = write_run(runs, "sft", "sft", [("e", "x", "wrong", False, "en")] * 4, "2026-11-22T11-00-00.000001")
    later = time.time() + 5
    os.utime(newer, (later, later))
    cells = results.cells([runs])
    assert len(cells) == 4
    assert next(cell.value for cell in cells if cell.checkpoint == "sft") == 0.0


def test_the_index_follows_the_folders(runs, tmp_path):
    place = tmp_path / "index.sqlite"
    found = index.Index(place)
    assert found.rebuild([runs]) == 4
    for file in (runs / "sft").glob("results_*.json"):
        file.unlink()
    found.refresh([runs])
    assert [cell.checkpoint for cell in found.cells([runs])] == ["pretrain", "pretrain"]
    found.close()
    place.write_bytes(b"this is not a database" * 100)
    again = index.Index(place)
    assert again.rebuild([runs]) == 2
    again.close()
    assert results.rebuild([runs]) == 2


def test_damaged_half_written_and_strange_files_are_skipped(runs):
    for name, text in (("a", ""), ("b", '{"triptych": {"cel'), ("c", "[1]"), ("d", '{"triptych": {"cells": [{"x": 1}]}}'),
                       ("e", '{"results": {"t": 5}}'), ("f", '{"config": {}}')):  # fmt: skip
        (runs / "sft" / f"results_{name}.json").write_text(text, encoding="utf-8")
    (runs / "sft" / ".results_x.json.1.tmp").write_text("{", encoding="utf-8")
    assert len(results.cells([runs])) == 4
    (samples,) = (runs / "sft").glob("samples_*.jsonl")
    with samples.open("a", encoding="utf-8") as file:
        file.write('{"doc_id": 99, "doc')
    run = next((runs / "sft").glob("results_2026*.json"))
    assert len(results.samples(str(run), "world_questions")) == 40


def test_a_full_disk_only_costs_the_index(runs, monkeypatch):
    from sqlalchemy.exc import OperationalError

    before = results.cells([runs])
    inner = index.Index.refresh

    def refresh(self, folders):
        if self.path is not None:
            raise OperationalError("INSERT", {}, Exception("database or disk is full"))
        inner(self, folders)

    monkeypatch.setattr(index.Index, "refresh", refresh)
    assert results.cells([runs]) == before != []


def test_lm_evals_own_files_are_read(tmp_path):
    content = {
        "model_name": "org/model", "results": {"arc": {"alias": "arc", "acc,none": 0.5, "acc_stderr,none": 0.1, "x,none": "N/A"}},
        "n-samples": {"arc": {"original": 9, "effective": 4}}, "higher_is_better": {"arc": {"acc": True}},
        "config": {"fewshot_seed": 1234}, "lm_eval_version": "0.4.13",
    }  # fmt: skip
    (tmp_path / "results_x.json").write_text(json.dumps(content), encoding="utf-8")
    first, second = results.cells([tmp_path])
    assert (first.checkpoint, first.benchmark, first.metric, first.n) == ("model", "arc", "acc", 4)
    assert first.high - first.value == pytest.approx(0.196, abs=1e-3)
    assert second.state == "invalid"


def _write_many(folder, n):
    for i in range(n):
        write_run(folder, f"m{i}", "other", [("e", "x", "wrong", False, "en")])


def test_reading_while_another_process_writes(tmp_path):
    writer = multiprocessing.get_context("spawn").Process(target=_write_many, args=(tmp_path, 40))
    writer.start()
    counts = []
    while writer.is_alive():
        counts.append(len(results.cells([tmp_path])))
    writer.join()
    assert counts == sorted(counts)
    assert len(results.cells([tmp_path])) == 80


def test_samples(runs):
    run = next((runs / "sft").glob("results_*.json"))
    samples = results.samples(str(run), "world_questions")
    assert samples[0].prompt == "Question 0?"
    assert (samples[0].answer, samples[0].target, samples[0].verdict, samples[0].score) == ("Tarn.", "Tarn.", "correct", 0.0)
    assert samples[1].fields["language"] == "zh"
    assert samples[1].fields["entity"] == "e0"
    assert results.samples(str(runs), "world_questions", "pretrain")[0].answer == EVIL
    assert results.samples(str(run), "none") == []


def test_compare_is_paired_and_holm_adjusted(runs):
    rows = results.compare([runs])
    assert [(row.metric, row.a, row.b) for row in rows] == [
        ("exact_match", "pretrain", "sft"), ("abstention_rate", "pretrain", "sft")
    ]  # fmt: skip
    first = rows[0]
    assert first.difference == pytest.approx(0.6)
    assert 0.2 < first.low < 0.6 < first.high
    assert (first.gained, first.lost, first.n) == (32, 8, 40)
    assert first.p_adjusted < 0.01
    assert (first.verdict, first.n_needed, first.test) == ("better", 0, "t, clustered")
    assert 0 < first.detectable < 0.6
    back = results.compare([runs], "sft")[0]
    assert (back.a, back.b, back.difference) == ("sft", "pretrain", pytest.approx(-0.6))
    assert (back.verdict, back.by) == ("worse", (("language", "en", 20, 4, 16), ("language", "zh", 20, 4, 16)))
    with pytest.raises(UserError, match="no scores of 'dpo'") as error:
        results.compare([runs], "dpo")
    assert "pretrain, sft" in error.value.hint
    assert results.compare([runs / "sft"]) == []


def test_flips_name_the_items(runs):
    cells = {(cell.checkpoint, cell.metric): cell for cell in results.cells([runs])}
    found = results.flips(cells[("pretrain", "exact_match")], cells[("sft", "exact_match")])
    assert found.lost == tuple(f"q-{i}" for i in range(0, 40, 5))
    assert len(found.gained) == 32


def test_checkpoints_of_one_name_are_told_apart(runs, tmp_path):
    for place in ("one", "two"):
        (tmp_path / place / "sft").mkdir(parents=True)
        run = write_run(tmp_path / place / "run", "sft", "sft", [("e", "x", "wrong", False, "en")])
        content = json.loads(run.read_text("utf-8"))
        for row in content["triptych"]["cells"]:
            row["path"] = "../../sft"
        run.write_text(json.dumps(content), encoding="utf-8")
    names = {cell.checkpoint for cell in results.cells([tmp_path / "one", tmp_path / "two"])}
    assert names == {"sft (one)", "sft (two)"}


def test_items_that_are_not_the_same_are_not_paired(runs):
    (samples,) = (runs / "sft").glob("samples_*.jsonl")
    lines = samples.read_text("utf-8").splitlines()
    samples.write_text("\n".join([*lines[:10], *(line.replace('"doc_hash": "h', '"doc_hash": "x') for line in lines[10:]), ""]))
    assert results.compare([runs])[0].n == 10


def test_breakdown_by_language(runs):
    cell = next(cell for cell in results.cells([runs]) if cell.checkpoint == "sft")
    parts = {part.benchmark: part for part in results.breakdown(cell, "language")}
    assert set(parts) == {"world_questions[en]", "world_questions[zh]"}
    assert parts["world_questions[en]"].n == 20
    assert (parts["world_questions[en]"].value + parts["world_questions[zh]"].value) / 2 == pytest.approx(cell.value)


def journal(folder, rows):
    (folder / "config.json").write_text('{"kind": "eval"}', encoding="utf-8")
    (folder / "events.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_running_and_failed_cells_come_from_the_journal(runs):
    running = Cell("dpo", "dpo", "world_questions", "", math.nan, math.nan, math.nan, 7, True, state="running")
    failed = replace(running, checkpoint="ppo", state="failed", signature="why")
    again = replace(running, checkpoint="sft", state="failed")
    rows = [{"event": "partial", "kind": "Cell", "value": asdict(cell)} for cell in (running, failed, again)]
    journal(runs, [{"event": "started"}, *rows])
    states = {(cell.checkpoint, cell.state, cell.n) for cell in results.cells([runs])}
    assert ("dpo", "running", 7) in states
    assert ("ppo", "failed", 7) in states
    assert ("sft", "failed", 7) not in states  # it was scored before
    journal(runs, [{"event": "started"}, *rows, {"event": "ended"}])
    assert "dpo" not in {cell.checkpoint for cell in results.cells([runs])}
    journal(runs, [{"event": "started"}, *rows])
    old = time.time() - 3600
    os.utime(runs / "events.jsonl", (old, old))
    assert "dpo" not in {cell.checkpoint for cell in results.cells([runs])}


def test_the_report_shows_everything_and_runs_nothing(runs, tmp_path):
    picture = tmp_path / "tokens.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n")
    cells = [*results.cells([runs]), Cell(EVIL, "dpo", "world_questions", "exact_match", math.nan, math.nan, math.nan, 3, True, 3,
                                          state="invalid", signature=EVIL)]  # fmt: skip
    write_report(tmp_path / "report.html", cells, results.compare([runs]), {"Tokens <1>": picture}, [runs])
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "<img src=x" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert "\\u202e" in text
    assert "\x1b" not in text
    assert "<script" not in text.lower()
    assert "http" not in text.replace("http-equiv", "")
    assert 'src="data:image/png;base64,' in text
    assert "0.8" in text
    assert text.count("<svg") == text.count("</svg>") >= 3
    assert "default-src 'none'" in text
    assert "n=40" in text


def test_results_json_has_exactly_its_fields(runs, tmp_path):
    cells = [*results.cells([runs]), Cell("x", "dpo", "b", "m", math.nan, math.nan, math.nan, 0, True, state="invalid")]
    write_results(tmp_path / "results.json", cells, results.compare([runs]))
    text = (tmp_path / "results.json").read_text("utf-8")
    assert "NaN" not in text
    content = json.loads(text)
    assert set(content) == {"runs", "cells", "comparisons"}
    assert set(content["cells"][0]) == {
        "checkpoint",
        "stage",
        "benchmark",
        "metric",
        "value",
        "low",
        "high",
        "n",
        "higher_is_better",
        "neutral",
        "n_failed",
        "n_skipped",
        "n_overlap",
        "n_compared",
        "overlap",
    }
    assert set(content["comparisons"][0]) == {
        "benchmark", "metric", "a", "b", "difference", "low", "high", "p_adjusted", "n", "test", "detectable", "n_needed",
        "verdict",
    }  # fmt: skip
    assert content["cells"][-1]["value"] is None


def test_every_title_of_ours_is_translated():
    from evals import tasks
    from evals.report import titles

    known = titles._known()
    names = {"BLEU", "chrF", "TER", "ROUGE-1", "ROUGE-2", "ROUGE-L", "ROUGE-Lsum"}
    for thing in [*tasks.benchmarks().values(), *tasks.metrics().values()]:
        assert thing.title in known or thing.title in names
    assert titles.translated("something a plug-in brings") == "something a plug-in brings"


def test_text_of_models_is_tamed():
    assert shown("a" * 5000).endswith(" …")
    assert len(shown("e" + "\u0301" * 10**5)) < 20
    assert shown("<b>\x00\x1b[1m") == "&lt;b&gt;\\u0000"
    assert shown("你好\n") == "你好\n"


def test_charts_keep_points_inside_and_skip_nan():
    cell = Cell("a", "sft", "b", "m", 0.5, 0.4, 0.6, 10, True)
    drawn = charts.intervals([cell, replace(cell, value=math.nan)], "t")
    assert drawn.count("<circle") == 1
    assert charts.intervals([replace(cell, value=math.nan)], "t") == ""
    assert charts.forest([], "t") == ""
    assert charts.trade_off([], ("x", "y"), "t") == ""
    assert "nan" not in charts.trade_off([("a", cell, cell)], ("x", "y"), "t")
    axis = charts.Axis(0.0, 1.0, 10.0, 100.0)
    assert (axis.at(-5), axis.at(0.5), axis.at(7)) == (10.0, 60.0, 110.0)


def scores_of(metric, items, value):
    rows = [{"filter": "none", "doc_id": i, metric: logged} for i, logged in enumerate(items)]
    base = Cell("a", "sft", "theirs", "", math.nan, math.nan, math.nan, 0, True)
    (cell,) = scores.cells(base, rows, {f"{metric},none": value}, {metric: True})
    return cell


def test_what_is_no_mean_of_its_items_is_left_to_lm_eval():
    f1 = scores_of("f1", [(1, 1), (0, 1), (1, 1)], 0.8)  # (right answer, answer): their mean would be 2/3
    assert (f1.value, f1.state, f1.n) == (0.8, "done", 3)
    assert math.isnan(f1.low)
    assert scores_of("f1", [0.5, 1.0], 0.75).low < 0.75


def test_perplexity_of_answers_is_no_mean_of_log_likelihoods():
    cell = scores_of("perplexity", [-2.0, -4.0, -3.0], math.exp(3.0))
    assert cell.value == pytest.approx(math.exp(3.0))
    assert cell.low < cell.value < cell.high
