"""The store of answers: what is written stays, what is torn is cut away, and every part of a key counts."""

import random
import subprocess
import sys
import time
from dataclasses import fields, replace

import pytest

from evals.store import Identity, Request, ResponseStore, number, response_key, score_key, unnumber

WHO = Identity("w", "t", "c", "float32", "", "cpu", 1)
ASKED = Request("generate", (1, 2), (3,), (("temperature", 0.0),), 0, 0)
OTHER = {
    "weights": "v", "tokenizer": "u", "template": "d", "dtype": "bfloat16", "quantize": "int8", "device_kind": "cuda",
    "scorer": 2, "kind": "score", "context": (1, 3), "continuation": (4,), "decoding": (("temperature", 0.5),), "seed": 1,
    "repeat": 1,
}  # fmt: skip


@pytest.mark.parametrize("part", [field.name for record in (Identity, Request) for field in fields(record)])
def test_changing_any_part_of_the_key_misses(part):
    who = replace(WHO, **{part: OTHER[part]}) if part in Identity.__dataclass_fields__ else WHO
    asked = replace(ASKED, **{part: OTHER[part]}) if part in Request.__dataclass_fields__ else ASKED
    assert response_key(who, asked) != response_key(WHO, ASKED)
    assert response_key(WHO, ASKED) == response_key(replace(WHO), replace(ASKED))


def test_token_boundaries_are_part_of_the_key():
    assert response_key(WHO, replace(ASKED, context=(12,))) != response_key(WHO, replace(ASKED, context=(1, 2)))
    assert response_key(WHO, replace(ASKED, context=(1,), continuation=(2, 3))) != response_key(WHO, ASKED)


def test_score_keys_rest_on_ordered_answers_and_revision():
    assert score_key(["a", "b"], "bleu", "1") != score_key(["b", "a"], "bleu", "1")
    assert score_key(["a", "b"], "bleu", "1") != score_key(["a", "b"], "bleu", "2")


def test_answers_come_back(tmp_path):
    store = ResponseStore(tmp_path / "run" / "responses.jsonl")
    store.put({"a": [-1.5, True], "b": {"text": "你好\n\ud800", "stop": "eos"}, "c": number(float("nan"))})
    store.close()
    again = ResponseStore(tmp_path / "run" / "responses.jsonl")
    assert again["a"] == [-1.5, True]
    assert again["b"]["text"] == "你好\n\ud800"
    assert unnumber(again["c"]) != unnumber(again["c"])
    assert len(again) == 3
    assert "d" not in again


def test_a_torn_end_is_cut_and_a_damaged_line_is_forgotten(tmp_path):
    path = tmp_path / "responses.jsonl"
    store = ResponseStore(path)
    for name, value in {"a": 1, "b": 2, "c": 3}.items():
        store.put({name: value})
    store.put({})
    store.close()
    whole = path.read_bytes()
    assert whole.count(b"\n") == 3
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        again = ResponseStore(path)
        assert len(again) == whole[:cut].count(b"\n")
        again.put({"d": 4})
        again.close()
        assert ResponseStore(path)["d"] == 4
    path.write_bytes(whole.replace(b'"b"', b'"b"]'))
    assert "b" not in ResponseStore(path)
    assert ResponseStore(path)["c"] == 3


def test_a_batch_is_known_or_it_is_not(tmp_path):
    path = tmp_path / "responses.jsonl"
    store = ResponseStore(path)
    store.put({"a": 1, "b": [-2.5, True]})
    store.put({"c": "x" * 40, "d": 4, "e": None})
    store.close()
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        assert len(ResponseStore(path)) == (5 if cut == len(whole) else 2 if cut >= first else 0)


def test_answers_of_the_first_version_are_read(tmp_path):
    path = tmp_path / "responses.jsonl"
    path.write_text('{"key": "a", "value": [-1.5, true]}\n{"key": 5, "value": 1}\n[1]\n', encoding="utf-8")
    store = ResponseStore(path)
    assert (len(store), store["a"]) == (1, [-1.5, True])


CHILD = """
import sys
from pathlib import Path
from evals.store import ResponseStore
store = ResponseStore(Path(sys.argv[1]))
n = len(store)
while True:
    store.put({f"{n + i}": {"text": "x" * (n * 37 % 900)} for i in range(5)})
    n += 5
    print(n, flush=True)
"""


def test_no_kill_loses_an_answer_that_was_kept(tmp_path):
    generator = random.Random(4)
    path = tmp_path / "responses.jsonl"
    reported = 0
    for _ in range(12):
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(generator.random() * 0.05)
        child.kill()
        lines = child.stdout.read().split("\n")
        child.stdout.close()
        child.wait()
        reported = max([reported, *(int(line) for line in lines[:-1] if line)])
        store = ResponseStore(path)
        assert len(store) >= reported
        assert all(str(i) in store for i in range(len(store)))
    assert reported > 60


def test_a_write_that_takes_a_part_goes_on(tmp_path):
    store = ResponseStore(tmp_path / "responses.jsonl")
    store.put({"a": 1})

    class Nearly:
        """A file that takes seven bytes at a time, as a disk that is nearly full may."""

        def __init__(self, file):
            self.file = file

        def write(self, data):
            return self.file.write(bytes(data[:7]))

        def __getattr__(self, name):
            return getattr(self.file, name)

    store._file = Nearly(store._file)
    store.put({"b": {"text": "x" * 100}})
    store.close()
    assert ResponseStore(tmp_path / "responses.jsonl")["b"]["text"] == "x" * 100
