"""Items of a benchmark in the training data: found, known only where files and hashes agree, and said beside scores."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals import grid, trained
from evals.options import EvalSettings
from evals.receipts import overlap_text, receipt
from evals.trained import Trained
from models.events import finish
from models.places import bundled_root
from models.records.scores import Cell
from models.training import seen
from models.training.known_data import DataFile, training_data
from models.training.overlap import Index, N, words
from tests.evals.test_grid import CHOICES, QUESTIONS

LONG = " ".join(f"w{n}" for n in range(30))


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return DataFile(path.name, path, hashlib.sha256(path.read_bytes()).hexdigest())


def note(checkpoint, data, parents=None, **more):
    content = {"stage": "sft", "recipe": "mine", "data": data, "parents": parents or {}, **more}
    (checkpoint / "manifest.json").write_text(json.dumps(content), "utf-8")


def found(file, *texts):
    looked = finish(seen.look(file, {seen.text_key(text): text for text in texts}))
    return [looked[seen.text_key(text)] for text in texts]


def test_whole_texts_and_runs_of_thirteen_words(tmp_path):
    near = LONG.split()
    turns = [{"role": "user", "content": f"Read: {LONG} Now?"}]
    file = write(tmp_path / "a.jsonl", [{"prompt": "Who is Ann?", "completion": "A smith."}, {"messages": turns}])
    assert found(file, "who is ann", "Who is Bob?", "A smith", "") == [seen.EXACT, seen.NOTHING, seen.EXACT, seen.NOTHING]
    thirteen, twelve = " ".join([*near[:13], "other"]), " ".join([*near[:12], "other", *near[13:25], "more"])
    assert found(file, thirteen, twelve, LONG) == [seen.SHARED, seen.NOTHING, seen.SHARED]
    joined = f"{' '.join(near[17:])} Now who is Ann a smith"  # across the end of a text it is no run
    assert found(file, joined) == [seen.SHARED]
    assert found(file, "Now? Who is Ann? A smith. Read these words here too please") == [seen.NOTHING]


def test_chinese_counts_by_character(tmp_path):
    text = "很久以前在北方的山谷里住着一位老铁匠和他的女儿"
    file = write(tmp_path / "a.jsonl", [{"text": f"故事：{text}。"}])
    assert found(file, text[3:18], text[3:14] + "不同") == [seen.SHARED, seen.NOTHING]


TEXTS = st.text(alphabet="ab ", max_size=60)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(TEXTS, max_size=6), st.lists(TEXTS, min_size=1, max_size=4))
def test_the_stream_finds_what_the_index_finds(tmp_path_factory, rows, items):
    """Beside the plain index of the preview (sets of tuples), on texts of two words that collide a lot."""
    file = write(tmp_path_factory.mktemp("rows") / "a.jsonl", [{"text": " ".join(row)} for row in rows] or [{"text": "z"}])
    index = Index([{"text": " ".join(row)} for row in rows])
    for item in items:
        text = " ".join(item)
        one = index.compare("b", [text])
        kind = found(file, text)[0]
        assert (kind == seen.EXACT) == bool(one.exact)
        assert (kind != seen.NOTHING) == bool(one.exact or one.shared)


def test_what_was_looked_for_is_not_looked_for_again(tmp_path, monkeypatch):
    file = write(tmp_path / "once.jsonl", [{"text": f"only here {LONG}"}])
    assert found(file, LONG) == [seen.SHARED]
    file.path.unlink()
    assert found(file, LONG) == [seen.SHARED]
    monkeypatch.setattr(seen, "_search", lambda *_given: pytest.fail("searched again"))
    assert found(file, LONG.upper()) == [seen.SHARED]


def test_a_file_is_read_once_for_all_tasks(tmp_path, monkeypatch):
    place = tmp_path / "run" / "sft" / "checkpoint"
    place.mkdir(parents=True)
    note(place, {"data.jsonl": write(tmp_path / "run" / "data.jsonl", [{"text": "In a."}, {"text": "In b."}]).sha256})
    search, searched = seen._search, []
    monkeypatch.setattr(seen, "_search", lambda file, texts: searched.append(file.name) or search(file, texts))
    rows = {name: [{"doc_id": n, "doc": {"prompt": f"in {name} {n or ''}"}} for n in range(3)] for name in ("a", "b", "c")}
    found = finish(trained.of_tasks(str(place), rows, {}))
    assert {name: (one.n, one.exact) for name, one in found.items()} == {"a": (3, 1), "b": (3, 1), "c": (3, 0)}
    assert searched == ["data.jsonl"]


def test_known_data_is_that_of_all_ancestors(tmp_path):
    run = tmp_path / "run"
    base, tuned = run / "pretrain" / "checkpoint", run / "sft" / "checkpoint"
    for place in (base, tuned):
        place.mkdir(parents=True)
    texts, chats, dev = (write(run / "data" / f"{name}.jsonl", [{"text": name}]) for name in ("texts", "chats", "dev"))
    note(base, {"data/texts.jsonl": texts.sha256})
    data = {"data/chats.jsonl": chats.sha256, "data/dev.jsonl": dev.sha256}
    note(tuned, data, {"parent": "pretrain"}, settings={"dev": "data/dev.jsonl"})
    whole = finish(training_data(tuned))
    assert [file.name for file in whole.files] == ["data/chats.jsonl", "data/texts.jsonl"]
    assert whole.whole
    texts.path.write_text("changed", "utf-8")
    part = finish(training_data(tuned))
    assert ([file.name for file in part.files], part.lacking, part.whole) == (["data/chats.jsonl"], ("data/texts.jsonl",), False)
    shutil.rmtree(base)
    assert finish(training_data(tuned)).lacking == ("pretrain",)
    note(tuned, {"data/chats.jsonl": chats.sha256}, {"parent": "gone"})
    assert finish(training_data(tuned)).lacking == ("gone",)
    (tuned / "manifest.json").unlink()
    assert finish(training_data(tuned)) == type(part)()
    moved = tmp_path / "recipes" / "data" / "chats.jsonl"  # beside the recipe, which the run notes
    moved.parent.mkdir(parents=True)
    shutil.move(chats.path, moved)
    note(tuned, {"data/chats.jsonl": chats.sha256})
    assert finish(training_data(tuned)).files == ()
    (run / "recipe.json").write_text(json.dumps({"folder": str(tmp_path / "recipes")}), "utf-8")
    assert [file.path for file in finish(training_data(tuned)).files] == [moved]


def test_a_file_that_cannot_be_read_is_lacking_not_clean(tmp_path):
    place = tmp_path / "run" / "sft" / "checkpoint"
    place.mkdir(parents=True)
    read = write(tmp_path / "run" / "read.jsonl", [{"text": LONG}])
    other = tmp_path / "run" / "other.jsonl"
    other.write_text(json.dumps({"text": f"only {LONG}"}), "utf-16")
    digest = hashlib.sha256(other.read_bytes()).hexdigest()
    note(place, {"read.jsonl": read.sha256, "other.jsonl": digest})
    one = finish(trained.look(str(place), [("1", LONG), ("2", "something else")]))
    assert (one.files, one.lacking, one.found) == (("read.jsonl",), ("other.jsonl",), 1)
    assert seen.known_of(digest) == {}
    note(place, {"other.jsonl": digest})
    assert finish(trained.look(str(place), [("1", LONG)])).found == -1


def test_beside_every_score(tiny, write_task, tmp_path):
    place = tmp_path / "run" / "sft" / "checkpoint"
    shutil.copytree(tiny("llama"), place)
    asked = [row["question"] for row in QUESTIONS]
    rows = [{"prompt": asked[0], "completion": "x"}, {"text": asked[2].upper() + "!"}, {"text": "y"}]
    file = write(tmp_path / "run" / "mine.jsonl", rows)
    note(place, {"mine.jsonl": file.sha256})
    task = str(write_task("mc", CHOICES, QUESTIONS))
    cells = finish(grid.run([str(place), str(tiny("gpt2"))], [task], EvalSettings(), tmp_path / "out"))
    ours, other = cells[:2], cells[2:]
    assert {(cell.n_overlap, cell.n_compared, cell.overlap) for cell in ours} == {(2, 6, "mine.jsonl")}
    assert {(cell.n_overlap, cell.overlap) for cell in other} == {(-1, "")}
    assert overlap_text(ours[0]).startswith("2 of 6 (33.3%)")
    assert "not known: nothing tells" in overlap_text(other[0])
    rows = {name: value for _group, name, value in receipt(ours[0]).rows}
    assert rows["items in the training data"] == overlap_text(ours[0])
    kept = json.loads(Path(ours[0].run).read_text("utf-8"))["triptych"]["overlap"]["mc"]
    assert (kept["n"], kept["exact"], kept["shared"], kept["short"], kept["share"]) == (6, 2, 0, 6, pytest.approx(1 / 3))
    assert (kept["known"], kept["whole"], kept["examples"]) == (True, True, ["0", "2"])
    one = finish(grid.run([str(place)], [task], EvalSettings(limit=2), tmp_path / "out"))[0]
    assert (one.n_overlap, one.n_compared) == (1, 2)  # only what was scored


def test_a_group_counts_the_items_of_its_own_tasks():
    cells = [Cell(name, "sft", name, "acc", 0.5, 0.4, 0.6, 9, True) for name in ("all", "part", "b")]
    found = {"a": Trained(5, 1, 1, files=("x",)), "b": Trained(4, 2, files=("x",)), "c": Trained(3, 0, 1, files=("y",))}
    subtasks = {"all": ["a", "part"], "part": ["b", "c"]}
    made = trained.beside(cells, found, subtasks)
    assert [(cell.n_overlap, cell.n_compared, cell.overlap) for cell in made] == [(5, 12, "x, y"), (3, 7, "x, y"), (2, 4, "x")]


def test_the_bundled_lineage_knows_its_data_without_a_search(monkeypatch):
    monkeypatch.setattr(seen, "_search", lambda *_given: pytest.fail("searched"))
    from evals import tasks

    for name in ("world_questions", "world_perplexity", "world_refusal"):
        place = str(bundled_root() / "sft")
        items = [(str(row["id"]), str(row["prompt"] or row["target"])) for row in tasks.benchmarks()[name].items(place)]
        one = finish(trained.look(place, items))
        assert one.files == ("world/sft.jsonl", "world/pretrain.jsonl")
        assert (one.n, one.lacking) == (len(items), ())
        assert one.found == 0 or name != "world_questions"


def test_words_and_runs_by_hand():
    assert words("It's A—test, 一二!") == ["it", "s", "a", "test", "一", "二"]
    assert len(seen.runs(range(1, N + 3))) == 3
    assert len(seen.runs([*range(1, N + 1), 0, *range(1, N)])) == 1
    assert len(seen.runs([])) == 0
