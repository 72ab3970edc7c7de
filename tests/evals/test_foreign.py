"""Other people's runs, as every version of lm-eval since 0.3 lays them out: scores, filters, items; and rows that are broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evals import foreign, items, results, sample_rows
from evals.item_tables import Asked
from models.events import finish
from models.records.scores import Cell

STAMP = "2024-07-15T10-11-12.345678"
CHOICES = [["ctx", " a"], ["ctx", " b"]]


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(results, "_place", lambda: tmp_path / "index.sqlite")


def write(folder: Path, content: dict[str, Any], name: str = f"results_{STAMP}.json", **samples: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content), "utf-8")
    for file, rows in samples.items():
        (folder / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return folder / name


def rows_of(cell: Cell) -> list[tuple[str, str, float]]:
    asked = Asked(((cell.checkpoint, cell.run, cell.benchmark),), cell.metric, cell.direction)
    page = finish(items.page(asked))
    for row in page.rows:
        assert finish(items.detail(asked, row.doc_id)).answers[0].name == cell.checkpoint
    return [(row.doc_id, row.answers[0], row.scores[0]) for row in page.rows]


def test_version_0_3_has_neither_filters_nor_names_nor_counts(tmp_path: Path) -> None:
    found = {"acc": 0.25, "acc_stderr": 0.01, "acc_norm": 0.5, "acc_norm_stderr": 0.02}
    content = {"results": {"hellaswag": found, "wikitext": {"word_perplexity": 12.5}}, "versions": {"hellaswag": 0},
               "config": {"model": "hf-causal", "model_args": "pretrained=gpt2,dtype=float32"}}  # fmt: skip
    write(tmp_path, content, "results.json")
    acc, norm, perplexity = results.cells([tmp_path])
    assert [(one.checkpoint, one.metric, one.value) for one in (acc, norm)] == [("gpt2", "acc", 0.25), ("gpt2", "acc_norm", 0.5)]
    assert norm.high - norm.value == pytest.approx(1.96 * 0.02, rel=1e-3)
    assert (acc.direction, perplexity.direction) == (True, False)
    assert rows_of(acc) == []


def test_version_0_4_0_names_no_model_and_logs_lists_of_arguments(tmp_path: Path) -> None:
    row = {"doc_id": 0, "doc": {"q": "x"}, "target": 1, "arguments": CHOICES, "resps": [[[-1.0, False]], [[-2.0, True]]],
           "filtered_resps": [[-1.0, False], [-2.0, True]], "acc": 0.0, "acc_norm": 1.0}  # fmt: skip
    content = {"results": {"arc_easy": {"acc,none": 0.0, "acc_norm,none": 1.0, "acc_norm_stderr,none": "N/A", "alias": "arc"}},
               "config": {"model": "hf", "model_args": "pretrained=org/m"}}  # fmt: skip
    write(tmp_path, content, "results.json", pretrained__org__m_arc_easy=[row])
    acc, norm = results.cells([tmp_path])
    assert (acc.checkpoint, acc.n) == ("m", 0)
    assert rows_of(acc) == [("0", "a", 0.0)]
    assert rows_of(norm) == [("0", "a", 1.0)]


def test_version_0_4_3_does_not_say_under_which_filter_an_item_was_logged(tmp_path: Path) -> None:
    def row(i: int, said: str, right: float) -> dict[str, Any]:
        arguments = {"gen_args_0": {"arg_0": f"Q{i}?", "arg_1": {"until": ["\n"]}}}
        return {"doc_id": i, "doc": {}, "target": "4", "arguments": arguments, "resps": [["x"]], "filtered_resps": [said],
                "exact_match": right}  # fmt: skip

    rows = [row(0, "s0", 1.0), row(1, "s1", 0.0), row(0, "f0", 1.0), row(1, "f1", 1.0)]
    found = {"exact_match,strict": 0.5, "exact_match_stderr,strict": 0.1, "exact_match,flexible": 1.0}
    content = {"results": {"gsm8k": found}, "model_name": "org/m", "n-samples": {"gsm8k": {"original": 2, "effective": 2}}}
    write(tmp_path / "org__m", content, **{f"samples_gsm8k_{STAMP}": rows})
    strict, flexible = results.cells([tmp_path])
    assert rows_of(strict) == [("0", "s0", 1.0), ("1", "s1", 0.0)]
    assert rows_of(flexible) == [("0", "f0", 1.0), ("1", "f1", 1.0)]
    table = results.table(strict)
    assert table is not None
    assert table.scored.statistics[:, 0].tolist() == [1.0, 0.0]


def test_an_output_path_that_is_a_file_keeps_its_name_before_the_time(tmp_path: Path) -> None:
    row = {"doc_id": 7, "arguments": CHOICES, "filtered_resps": [[-2, False], [-1, True]], "filter": "none", "acc": 1.0}
    content = {"results": {"arc": {"acc,none": 1.0}}, "model_name": "m"}
    path = write(tmp_path, content, f"mine_{STAMP}.json", **{f"samples_arc_{STAMP}": [row]})
    (cell,) = results.cells([path])
    assert rows_of(cell) == [("7", "b", 1.0)]


def test_a_group_counts_its_parts_and_says_when_neither_direction_is_better(tmp_path: Path) -> None:
    content = {
        "results": {"all": {"acc,none": 0.5}, "part": {"acc,none": 0.5}, "other": {"acc,none": 0.5}}, "model_name": "m",
        "group_subtasks": {"all": ["part", "other"], "part": []}, "higher_is_better": {"all": {"acc": None}},
        "n-samples": {"part": {"effective": 10}, "other": {"effective": 5}},
    }  # fmt: skip
    write(tmp_path, content)
    group, *parts = results.cells([tmp_path])
    assert (group.n, group.direction) == (15, None)
    assert [(part.n, part.direction) for part in parts] == [(10, True), (5, True)]


def test_two_models_of_one_name_and_ours_are_all_shown(tmp_path: Path) -> None:
    """Two folders end in the same name, and one checkpoint was scored here as well as by lm-eval: nothing hides anything."""
    local = tmp_path / "b" / "ck"
    local.mkdir(parents=True)
    for place, name, value in (("1", "/a/ck", 0.25), ("2", str(local), 0.5), ("3", "org/alone", 1.0)):
        write(tmp_path / place, {"results": {"arc": {"acc,none": value}}, "model_name": name, "lm_eval_version": "0.4.9"})
    cells = results.cells([tmp_path])
    names = {one.value: one.checkpoint for one in cells}
    assert (names[0.25], names[0.5], names[1.0]) == ("/a/ck", "b/ck", "alone")
    assert {one.value: one.path for one in cells} == {0.25: "", 0.5: str(local), 1.0: ""}
    ours = Cell("alone", "sft", "arc", "acc", 0.75, 0.5, 1.0, 9, True, path="/x/alone")
    told = foreign.told_apart([ours, Cell("org/alone", "other", "arc", "acc", 1.0, 1, 1, 9, True, source="lm-eval 0.4.9")])
    assert [one.checkpoint for one in told] == ["alone", "alone (lm-eval)"]


KEYS = ("gen_args_0", "arg_0", "id")
CONTENTS = ("results", "config", "n-samples", "higher_is_better", "model_name")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text("a0,é", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=2),
    max_leaves=6,
)
NAMES = ("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "metrics", "acc", "stop", "verdict", "invalid")


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(row=st.dictionaries(st.sampled_from(NAMES), VALUES))
def test_a_row_that_is_broken_is_shown_as_it_is_and_breaks_nothing(row: dict[str, Any]) -> None:
    sample = results.sample_of(row, None)
    assert isinstance(sample.answer, str)
    assert isinstance(sample.doc_id, str)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(content=st.dictionaries(st.sampled_from(CONTENTS), VALUES))
def test_a_file_that_is_no_results_file_holds_no_scores(content: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("odd") / "results_x.json"
    path.write_text(json.dumps(content), "utf-8")
    from evals.index import read_cells

    assert all(isinstance(one, Cell) for one in read_cells(path))


def test_a_comparison_tells_how_far_it_is_and_reads_nothing_without_a_partner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the engine can answer others meanwhile; a large file that nothing is compared with costs nothing."""
    for name, task in (("one", "quiz"), ("two", "quiz"), ("alone", "other")):
        rows = [{"doc_id": i, "doc_hash": f"h{i}", "filter": "none", "acc": float(i % 3 == 0)} for i in range(25)]
        content = {"results": {task: {"acc,none": 9 / 25}}, "model_name": name, "n-samples": {task: {"effective": 25}}}
        write(tmp_path / name, content, **{f"samples_{task}_{STAMP}": rows})
    read: list[str] = []
    lines = sample_rows.lines
    monkeypatch.setattr(sample_rows, "lines", lambda path: read.append(path.name) or lines(path))
    monkeypatch.setattr(sample_rows, "READ_AT_ONCE", 10)
    work = results.comparing([tmp_path], "one")
    events = []
    while True:
        try:
            events.append(next(work))
        except StopIteration as end:
            (row,) = end.value
            break
    assert (row.a, row.b, row.n, row.difference) == ("one", "two", 25, 0.0)
    assert len(events) == 2 * 3 + 1  # rows 0, 10 and 20 of two files, and one comparison
    assert read == [f"samples_quiz_{STAMP}.jsonl"] * 2
