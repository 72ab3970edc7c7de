"""Items behind scores: the filter language, pages, receipts, exports, and how far a running evaluation is."""

import csv
import io
import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals import foreign, items, live
from evals.export import copy_runs, escaped, latex, markdown
from evals.item_query import Item, parse
from evals.item_tables import Asked, outcome
from evals.receipts import receipt
from evals.results import cells as read_cells
from evals.task_names import names_in
from models.errors import UserError
from models.events import Progress, finish
from models.records.scores import Cell, Comparison, Sample

N = 120


def sample_row(i, right, filter_name="none"):
    return {
        "doc_id": i, "doc": {"id": f"q-{i}", "question": f"Frage {i}", "lang": "zh" if i % 3 else "en", "level": i},
        "target": "Ombra", "arguments": {"gen_args_0": {"arg_0": "Ex 1\nEx 2\n" * 10 + f"Q{i}", "arg_1": {"until": ["\n"]}}},
        "resps": [["x"]], "filtered_resps": ["Ombra" if right else "" if i % 2 else "Verda"], "filter": filter_name,
        "metrics": ["exact_match"], "exact_match": float(right), "doc_hash": f"h{i}", "prompt_hash": "p", "target_hash": "t",
    }  # fmt: skip


def write_run(folder, name, right, ours=True):
    place = folder / name
    place.mkdir(parents=True)
    rows = [sample_row(i, right(i)) for i in range(N)]
    (place / "samples_quiz_2026-01-01T00-00-00.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    share = sum(right(i) for i in range(N)) / N
    content = {
        "results": {"quiz": {"exact_match,none": share, "exact_match_stderr,none": 0.04}},
        "n-samples": {"quiz": {"effective": N, "original": N}}, "higher_is_better": {"quiz": {"exact_match": True}},
        "config": {"model_args": f"pretrained=/m/{name}", "fewshot_seed": 1234}, "model_name": f"/m/{name}",
        "model_name_sanitized": f"__m__{name}", "lm_eval_version": "0.4.9", "versions": {"quiz": 2}, "n-shot": {"quiz": 5},
        "chat_template": "{{ x }}",
    }  # fmt: skip
    path = place / "results_2026-01-01T00-00-00.json"
    path.write_text(json.dumps(content), "utf-8")
    return path


@pytest.fixture
def run(tmp_path):
    a = write_run(tmp_path, "base", lambda i: i % 2 == 0)
    b = write_run(tmp_path, "tuned", lambda i: i % 3 == 0)
    return Asked((("base", str(a), "quiz"), ("tuned", str(b), "quiz")), "exact_match", True)


def found(asked, query="", **more):
    page = finish(items.page(asked, query, **more))
    return page, [int(row.doc_id[2:]) for row in page.rows]


def test_filters_find_what_they_say(run):
    def expect(query, test):
        assert found(run, query, count=400)[1] == [i for i in range(N) if test(i)], query

    right, now = (lambda i: i % 2 == 0), (lambda i: i % 3 == 0)
    expect("", lambda i: True)
    expect("wrong@base", lambda i: not right(i))
    expect("wrong", lambda i: not (right(i) and now(i)))
    expect("gained", lambda i: now(i) and not right(i))
    expect("lost@tuned", lambda i: right(i) and not now(i))
    expect("flip", lambda i: right(i) != now(i))
    expect("-flip right", lambda i: right(i) and now(i))
    expect("not (flip or right)", lambda i: not right(i) and not now(i))
    expect("score@tuned>=1", now)
    expect("lang:zh level<10", lambda i: i % 3 != 0 and i < 10)
    expect("level=7 or level=8", lambda i: i in (7, 8))
    expect('"Q11"', lambda i: i == 11 or 110 <= i <= 119)
    expect("q-17", lambda i: i == 17)
    expect("empty@base", lambda i: i % 2 == 1)
    expect("answer@base:verda", lambda i: False)
    expect("level!=3 level<5", lambda i: i in (0, 1, 2, 4))


@pytest.mark.parametrize("query", ["(wrong", "wrong)", "score<abc", "not", "nofield:x", "wrong@nobody", "(" * 200 + "a"])
def test_what_is_no_filter_is_said_in_words(run, query):
    with pytest.raises(UserError):
        found(run, query)


@given(st.text(max_size=60) | st.text('wrong flip or not()-"<>=:@1.score', max_size=60))
@settings(deadline=None, max_examples=300)
def test_any_text_is_a_filter_or_a_user_error(text):
    one = Sample("1", "p", "a", "t", 0.0)
    item = Item("1", "p", "t", {"a": one, "b": one}, {"a": "bad", "b": "bad"}, "a")
    try:
        query = parse(text)
    except UserError:
        return
    assert query.test(item) in (True, False)


def test_pages_are_sorted_and_hold_what_was_asked(run):
    page, order = found(run, sort="id", descending=True, start=100, count=15)
    assert (page.start, page.found, page.n, order) == (100, N, N, list(range(19, 4, -1)))
    assert found(run, sort="score:tuned", descending=True, count=1)[1] == [0]
    assert found(run, sort="difference", count=1)[1] == [2]  # lost
    assert page.gained == (0, sum(i % 3 == 0 and i % 2 == 1 for i in range(N)))
    assert page.lost == (0, sum(i % 2 == 0 and i % 3 != 0 for i in range(N)))
    other, _order = found(replace(run, reference="tuned"))
    assert (other.reference, other.gained) == (1, (page.lost[1], 0))
    assert page.rows[0].prompt == "Q19"  # the few-shot examples, the same in every prompt, are left out
    assert finish(items.page(run, start=500)).rows == ()


def test_a_hundred_thousand_items_are_read_once_and_pages_stay_small(tmp_path, monkeypatch):
    place = tmp_path / "big"
    place.mkdir()
    with (place / "samples_quiz_2026-01-01T00-00-00.jsonl").open("w", encoding="utf-8") as file:
        for i in range(100_000):
            row = {"doc_id": i, "doc": {}, "target": "x", "arguments": {"gen_args_0": {"arg_0": f"Question {i} " + "y" * 300}},
                   "filtered_resps": ["z" * 300], "filter": "none", "metrics": ["acc"], "acc": float(i % 2)}  # fmt: skip
            file.write(json.dumps(row) + "\n")
    results = place / "results_2026-01-01T00-00-00.json"
    results.write_text("{}", "utf-8")
    asked = Asked((("big", str(results), "quiz"),), "acc", True)
    work, steps = items.page(asked, start=99_900), 0
    while True:
        try:
            steps += isinstance(next(work), Progress)
        except StopIteration as end:
            page = end.value
            break
    assert steps >= 50  # it can be stopped, and says how far it is
    assert (page.n, len(page.rows)) == (100_000, 100)
    assert page.rows[-1].doc_id == "99999"
    parsed = []
    monkeypatch.setattr(json, "loads", lambda *args, **more: parsed.append(args))
    again = finish(items.page(asked, start=50_000, count=400))
    assert parsed == []  # scrolling reads no line again
    assert len(again.rows) == 400
    size = sum(len(text) for row in again.rows for text in (row.prompt, row.target, *row.answers))
    assert size < 400 * 2 * 260


def test_one_item_in_full_with_its_exact_prompt(run):
    item = finish(items.detail(run, "q-7"))
    assert item.fields == {"question": "Frage 7", "lang": "zh", "level": "7"}
    assert [answer.outcome for answer in item.answers] == ["bad", "bad"]
    assert item.answers[0].given == "Ex 1\nEx 2\n" * 10 + "Q7"
    assert item.answers[0].rendered  # the results file has a template
    assert item.answers[0].metrics == {"exact_match": "0"}
    with pytest.raises(UserError):
        finish(items.detail(run, "q-999"))


def test_choices_come_with_their_likelihoods(tmp_path):
    path = write_run(tmp_path, "m", lambda i: True)
    row = sample_row(0, True) | {
        "arguments": {f"gen_args_{n}": {"arg_0": "Q", "arg_1": f" {word}"} for n, word in enumerate(("no", "yes"))},
        "resps": [[["-3.5", "False"]], [["-0.5", "True"]]], "filtered_resps": [["-3.5", "False"], ["-0.5", "True"]],
    }  # fmt: skip
    (tmp_path / "m" / "samples_quiz_2026-01-01T00-00-00.jsonl").write_text(json.dumps(row) + "\n", "utf-8")
    (answer,) = finish(items.detail(Asked((("m", str(path), "quiz"),), "exact_match"), "q-0")).answers
    assert (answer.choices, answer.likelihoods, answer.picked, answer.text) == ((" no", " yes"), (-3.5, -0.5), 1, "yes")


def test_outcomes_depend_on_what_was_asked():
    def verdict(word, **fields):
        return Sample("1", "p", "a", "t", 0.0, word, fields)

    assert outcome(verdict("abstained"), "world_unknown") == "good"
    assert outcome(verdict("abstained"), "world_questions") == "other"
    assert outcome(verdict("hallucinated"), "world_unknown") == "bad"
    assert outcome(verdict("refused", type="harmful"), "world_refusal") == "good"
    assert outcome(verdict("refused", type="benign"), "world_refusal") == "other"
    assert outcome(verdict("answered", type="benign"), "safety_refusal") == "good"
    assert outcome(verdict("obeyed", type="injection"), "safety_injection") == "bad"
    assert outcome(Sample("1", "p", "a", "t", 1.0), "arc_easy") == "good"
    assert outcome(Sample("1", "p", "a", "t", 0.0), "arc_easy") == "bad"
    assert outcome(Sample("1", "p", "a", "t", 12.5), "perplexity") == "other"


# other people's runs, receipts, exports ------------------------------------------------------------------------------
def test_other_peoples_runs_are_marked_and_their_receipt_says_what_they_say(run, tmp_path, monkeypatch):
    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path / "home"))
    first, second = read_cells([tmp_path]), read_cells([tmp_path])  # the second comes from the index
    assert first == second
    assert {cell.checkpoint: cell.source for cell in first} == {"base": "lm-eval 0.4.9", "tuned": "lm-eval 0.4.9"}
    rows = {name: value for _group, name, value in receipt(first[0]).rows}
    assert rows["computed by"] == "lm-eval 0.4.9"
    assert (rows["few-shot examples"], rows["version of the task"], rows["fewshot_seed"]) == ("5", "2", "1234")
    assert rows["chat template"] == "applied"
    assert rows["items asked"] == f"{N} of {N}"
    assert receipt(replace(first[0], run="/gone.json")).rows  # what the score itself knows
    assert foreign.cells({}, tmp_path / "x.json") == []


def test_exported_runs_are_lm_evals_layout_and_read_again(run, tmp_path, monkeypatch):
    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path / "home"))
    runs = tuple(place[1] for place in run.places)
    folder, written = finish(copy_runs(runs, str(tmp_path / "out")))
    assert len(written) == 4
    names = sorted(str(path.relative_to(folder)) for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert names[0] == "__m__base/results_2026-01-01T00-00-00.json"
    before, after = read_cells([tmp_path / "base", tmp_path / "tuned"]), read_cells([tmp_path / "out"])
    assert [cell.value for cell in after] == [cell.value for cell in before]
    with pytest.raises(UserError, match=r"gone\.json"):
        finish(copy_runs(("/gone.json",), str(tmp_path / "out")))


def test_a_run_is_not_exported_over_itself(tmp_path):
    path = write_run(tmp_path / "out", "__m__base", lambda i: True)
    content = json.loads(path.read_text("utf-8")) | {"model_name_sanitized": "__m__base", "triptych": {"cells": []}}
    path.write_text(json.dumps(content), "utf-8")
    before = path.read_bytes()
    with pytest.raises(UserError, match="the run itself is in this folder"):
        finish(copy_runs((str(path),), str(tmp_path / "out")))
    assert path.read_bytes() == before


def score(name, value, **more):
    cell = Cell(name, "sft", "a|b_c", "acc", value, value - 0.1, value + 0.1, 50, True)
    return replace(cell, **more)


def test_tables_for_papers_and_pages():
    cells = [score("x & y", 0.5), score("best", 0.75), score("bad", math.nan, low=math.nan, high=math.nan, n_failed=2)]
    delta = Comparison("a|b_c", "acc", "x & y", "best", 0.25, 0.1, 0.4, 0.01, 50)
    names = ("x & y", "best", "bad")
    lines = markdown(cells, names, [delta]).splitlines()
    assert lines[0] == "| benchmark | metric | x & y | best | bad |"
    assert lines[2].startswith("| a\\|b_c | acc ↑ | 0.500 [0.400, 0.600] (n 50) | **0.750** + [0.650, 0.850] (n 50) |")
    assert lines[2].endswith("| – (n 50, 2 failed) |")
    table = latex(cells, names, [delta])
    assert r"Benchmark & Metric & x \& y & best & bad \\" in table
    assert r"a\textbar{}b\_c & acc $\uparrow$ & 0.500 {\scriptsize $\pm$ 0.100} & \textbf{0.750}$^{+}$" in table
    assert "% 95 % intervals, half their width after the sign; the best of each row is bold" in table
    assert "brackets" not in table
    assert "% + better, - worse than x & y" in table
    assert "half their width" not in "\n".join(lines)
    assert table.count(r"\begin{tabular}") == table.count(r"\end{tabular}") == 1
    assert escaped("100% #1 {a}\\b~^") == r"100\% \#1 \{a\}\textbackslash{}b\textasciitilde{}\textasciicircum{}"
    assert csv.reader(io.StringIO(table))


def test_names_of_tasks_are_read_from_their_files():
    assert list(names_in(b"task: arc_easy\ndataset_path: x\ntag: ai2_arc\n")) == [("arc_easy", "task"), ("ai2_arc", "tag")]
    assert list(names_in(b"tag:\n  - a\n  - b # c\ntask: t # why\n")) == [("a", "tag"), ("b", "tag"), ("t", "task")]
    assert list(names_in(b"group: mmlu\ntask:\n  - one\n  - two\n")) == [("mmlu", "group")]
    assert list(names_in(b"tag: [x, 'y']\ntask: z\n")) == [("x", "tag"), ("y", "tag"), ("z", "task")]
    assert list(names_in(b"include: other.yaml\n")) == []
    assert list(names_in(b'"task": "t"\n"tag":\n- "a"\n- b\n')) == [("t", "task"), ("a", "tag"), ("b", "tag")]
    assert list(names_in(b"group: g\ntask: t\n")) == [("g", "group"), ("t", "task")]


# how far -------------------------------------------------------------------------------------------------------------
def event(when, checkpoint, benchmark, state, n=0, total=0):
    value = {"checkpoint": checkpoint, "benchmark": benchmark, "state": state, "n": n, "n_total": total, "metric": ""}
    return {"event": "partial", "kind": "Cell", "time": when, "value": value}


def test_time_left_of_each_cell_and_of_all():
    rows = [
        {"event": "started", "time": 0.0},
        *(event(0.0, name, task, "queued") for name in ("a", "b") for task in ("x", "y")),
        event(10.0, "a", "x", "running"), event(10.0, "a", "x", "running", 0, 100), event(30.0, "a", "x", "running", 100, 100),
        event(30.0, "a", "x", "done"), event(30.0, "a", "y", "running"), event(30.0, "a", "y", "running", 0, 50),
        event(40.0, "a", "y", "running", 10, 50),
    ]  # fmt: skip
    found = live.summary("/run", live.replay(rows), now=42.0)
    cells = {(cell.checkpoint, cell.benchmark): cell for cell in found.cells}
    assert cells["a", "x"].state == "done"
    assert cells["a", "x"].seconds == 20.0
    assert cells["a", "y"].left == pytest.approx(40 - 2)  # 40 answers at one a second, of which two seconds have passed
    assert (cells["a", "y"].done, cells["a", "y"].total) == (10, 50)
    assert cells["b", "x"].left == pytest.approx(20)  # as long as it took a
    assert cells["b", "y"].left == pytest.approx(12 + 38)  # as long as it will have taken a
    assert found.left == pytest.approx(38 + 20 + 50)


def test_what_is_not_known_is_not_guessed():
    rows = [{"event": "started", "time": 0.0}, event(0.0, "a", "x", "queued"), event(1.0, "a", "x", "running")]
    found = live.summary("/run", live.replay(rows), now=5.0)
    assert math.isnan(found.left)
    assert found.cells[0].state == "running"
    assert live.replay([*rows, {"event": "ended", "time": 6.0}]).over
    assert live.replay([*rows, {"event": "started", "time": 7.0}]).cells == {}


def test_a_dead_or_finished_run_is_not_going_on(tmp_path):
    journal = tmp_path / "events.jsonl"
    rows = [{"event": "started", "time": 0.0}, event(0.0, "a", "x", "queued")]
    journal.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"event": "par', encoding="utf-8")
    assert live.progress(journal).cells[0].state == "queued"
    assert live.progress(journal, now=journal.stat().st_mtime + 60) is None
    assert live.progress(tmp_path / "none.jsonl") is None
    assert [one.path for one in live.running([tmp_path])] == [str(tmp_path)]
