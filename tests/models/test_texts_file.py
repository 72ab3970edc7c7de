"""Files of texts: lines, JSON lines, tables; bad rows are named, nothing is lost, nothing raises but a sentence."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.embeddings.texts import read_texts
from models.errors import UserError

FREE = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PLAIN = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp"), blacklist_characters="\ufffd\ufeff"), max_size=40)


def write(folder: Path, name: str, data: bytes) -> str:
    (folder / name).write_bytes(data)
    return str(folder / name)


def test_lines(tmp_path: Path) -> None:
    found = read_texts(write(tmp_path, "a.txt", "\ufeffone\r\n\ntwo words\n  \n".encode()))
    assert found.texts == ("one", "two words")
    assert found.rows == (1, 3)
    assert found.bad == ((2, "it is empty"), (4, "it is empty"))


def test_lines_that_are_not_utf8_are_named(tmp_path: Path) -> None:
    found = read_texts(write(tmp_path, "a.txt", b"good\n\xff\xfe bad\nalso good"))
    assert found.texts == ("good", "also good")
    assert found.bad == ((2, "it is not UTF-8"),)


def test_json_lines(tmp_path: Path) -> None:
    rows = ['"a string"', '{"text": "t", "n": 3}', "{oops", '{"n": 4}', "7", '{"text": "u", "n": "x"}', ""]
    found = read_texts(write(tmp_path, "a.jsonl", "\n".join(rows).encode()))
    assert found.texts == ("a string", "t", "u")
    assert [row for row, _why in found.bad] == [3, 4, 5]
    assert np.array_equal(found.fields["n"], np.array([np.nan, 3, np.nan], np.float32), equal_nan=True)


def test_tables_and_their_columns(tmp_path: Path) -> None:
    data = 'id,question,score\n1,"What, now?",0.5\n2,,1\n3,"two\nlines",2\n'
    path = write(tmp_path, "a.csv", data.encode())
    found = read_texts(path)
    assert found.texts == ("What, now?", "two\nlines")
    assert found.bad == ((3, "it is empty"),)
    assert found.fields["score"].tolist() == [0.5, 2]
    assert read_texts(path, "id").texts == ("1", "2", "3")
    with pytest.raises(UserError, match="no column 'answer'; it has id, question, score"):
        read_texts(path, "answer")
    tabs = write(tmp_path, "a.tsv", b"text\tn\nx y\t1\n")
    assert read_texts(tabs).texts == ("x y",)


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="could not be read"):
        read_texts(str(tmp_path / "none.txt"))
    monkeypatch.setattr("models.embeddings.texts.LONGEST_FILE", 3)
    with pytest.raises(UserError, match="at most 3 are read"):
        read_texts(write(tmp_path, "long.txt", b"four"))


@FREE
@given(st.lists(PLAIN, max_size=8))
def test_every_line_is_a_text_or_named(tmp_path: Path, lines: list[str]) -> None:
    found = read_texts(write(tmp_path, "p.txt", "\n".join(lines).encode() + b"\n"))
    assert list(found.texts) == [line for line in lines if line.strip()]
    assert {*found.rows, *(row for row, _why in found.bad)} == set(range(1, len(lines) + 1)) or not lines


@FREE
@given(st.lists(st.one_of(PLAIN, st.none(), st.integers(), st.dictionaries(st.sampled_from(["text", "b"]), PLAIN)), max_size=8))
def test_every_json_line_is_a_text_or_named(tmp_path: Path, values: list[object]) -> None:
    data = "".join(json.dumps(value) + "\n" for value in values)
    found = read_texts(write(tmp_path, "p.jsonl", data.encode()))
    assert len(found.texts) + len(found.bad) == len(values)
    assert all(text.strip() for text in found.texts)


@FREE
@given(st.lists(st.tuples(PLAIN, st.integers(-9, 9)), min_size=1, max_size=8))
def test_every_row_of_a_table_is_a_text_or_named(tmp_path: Path, rows: list[tuple[str, int]]) -> None:
    file = io.StringIO()
    csv.writer(file).writerows([("text", "n"), *rows])
    found = read_texts(write(tmp_path, "p.csv", file.getvalue().encode()))
    assert list(found.texts) == [text for text, _n in rows if text.strip()]
    assert len(found.bad) == sum(not text.strip() for text, _n in rows)


@FREE
@given(st.binary(max_size=200), st.sampled_from(["a.txt", "a.jsonl", "a.csv", "a.tsv"]))
def test_no_bytes_break_it(tmp_path: Path, data: bytes, name: str) -> None:
    try:
        found = read_texts(write(tmp_path, name, data))
    except UserError:
        return
    assert len(found.texts) == len(found.rows)
