"""Data as other programs write it: every format by hand, every kind of bad row by its number, no bytes that crash."""

import csv
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.errors import UserError
from models.events import Note, finish
from models.training import reading
from models.training.formats import DOCUMENTS, PAIRS, Passed, Problem, convert, recognise
from models.training.reading import Bad, kind_of, raw_rows
from models.training.sources import load_rows, read_source
from tests.models.training import PAIRS as OUR_PAIRS
from tests.models.training import TALK, TEXTS, workspace, write_rows


def turn(role, content):
    return {"role": role, "content": content}


ASK, GOOD, POOR = turn("user", "Q"), turn("assistant", "A"), turn("assistant", "B")
CHAT = [ASK, GOOD]
TWO = [{"checkpoint": "x", "text": "B"}, {"checkpoint": "y", "text": "A"}]
PAIR = {"prompt": [ASK], "chosen": [GOOD], "rejected": [POOR]}


# --- formats ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", [*TALK[:3], *TEXTS[:3]])
def test_our_own_rows_pass_unchanged(row):
    assert convert(row, DOCUMENTS) == [row]


@pytest.mark.parametrize("row", OUR_PAIRS[:3])
def test_our_own_pairs_pass_unchanged(row):
    assert convert(row, PAIRS) == [row]


@pytest.mark.parametrize(
    ("row", "name", "messages"),
    [
        ({"messages": CHAT}, "trl messages", CHAT),
        ({"messages": [turn("user", [{"type": "text", "text": "Q"}]), GOOD]}, "trl messages", CHAT),
        ({"conversations": CHAT}, "minimind", CHAT),
        ({"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]}, "sharegpt", CHAT),
        (
            {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}], "system": "S"},
            "sharegpt",
            [turn("system", "S"), *CHAT],
        ),
        ({"instruction": "Q", "output": "A"}, "alpaca", CHAT),
        ({"instruction": "Add", "input": "1 2", "output": "3"}, "alpaca", [turn("user", "Add\n1 2"), turn("assistant", "3")]),
        (
            {"instruction": "Q", "output": "A", "system": "S", "history": [["x", "y"]]},
            "alpaca",
            [turn("system", "S"), turn("user", "x"), turn("assistant", "y"), *CHAT],
        ),
        ({"prompt": [ASK], "completion": [GOOD]}, "trl prompt-completion", CHAT),
    ],
)
def test_conversations(row, name, messages):
    assert recognise(row) == name
    assert convert(row, DOCUMENTS)[0]["messages"] == messages


def test_plain_prompt_and_completion_stay_plain():
    row = {"prompt": "2+2=", "completion": "4"}
    assert convert(row, DOCUMENTS) == [row]


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (PAIR, "trl preference"),
        ({"chosen": [ASK, GOOD], "rejected": [ASK, POOR]}, "trl preference"),
        ({"instruction": "Q", "chosen": "A", "rejected": "B"}, "alpaca ranking"),
        (
            {
                "conversations": [{"from": "human", "value": "Q"}],
                "chosen": {"from": "gpt", "value": "A"},
                "rejected": {"from": "gpt", "value": "B"},
            },
            "sharegpt ranking",
        ),
        ({"prompt": [ASK], "answers": ["A", "B"]}, "ranking"),
        ({"prompt": [ASK], "responses": [{"text": "B", "score": 1}, {"text": "A", "score": 3}]}, "ranking"),
        ({"prompt": [ASK], "answers": [{"text": "B", "rank": 2}, {"text": "A", "rank": 1}]}, "ranking"),
        ({"prompt": [ASK], "answers": TWO, "choice": 1}, "votes"),
        ({"prompt": [ASK], "answers": TWO, "choice": "y"}, "votes"),
    ],
)  # fmt: skip
def test_pairs(row, name):
    assert recognise(row) == name
    (pair,) = convert(row, PAIRS)
    assert {key: pair[key] for key in PAIR} == PAIR


def test_plain_implicit_prompts_are_what_both_texts_share():
    row = {"chosen": "Q: two and two? A: four", "rejected": "Q: two and two? A: five"}
    (pair,) = convert(row, PAIRS)
    assert pair["prompt"] == "Q: two and two? A:"
    assert [pair[side][0]["content"] for side in ("chosen", "rejected")] == ["four", "five"]


@pytest.mark.parametrize("count", [4, 9])
def test_a_ranking_of_k_gives_every_pair_better_first(count):
    answers = [f"answer {number}" for number in range(count)]
    pairs = convert({"prompt": "Q", "answers": answers}, PAIRS)
    found = [(pair["chosen"][0]["content"], pair["rejected"][0]["content"]) for pair in pairs]
    assert len(found) == count * (count - 1) // 2 == len(set(found))
    assert all(answers.index(better) < answers.index(worse) for better, worse in found)


def test_equal_scores_and_ties_prefer_nothing():
    rows = [{"text": "A", "score": 1.0}, {"text": "B", "score": 1.0}, {"text": "C", "score": 0.0}]
    pairs = convert({"prompt": "Q", "answers": rows}, PAIRS)
    assert len(pairs) == 2
    vote = {"prompt": "Q", "answers": [{"text": "A"}, {"text": "B"}], "choice": "tie"}
    with pytest.raises(Passed):
        convert(vote, PAIRS)


def test_saying_nothing_can_be_the_worse_answer():
    (pair,) = convert({**PAIR, "rejected": [turn("assistant", "")]}, PAIRS)
    assert pair["rejected"] == [turn("assistant", "")]


def test_a_vote_among_three_gives_two_pairs():
    row = {"prompt": "Q", "answers": [{"text": text} for text in "ABC"], "choice": 2, "criterion": "helpful"}
    pairs = convert(row, PAIRS)
    assert [(p["chosen"][0]["content"], p["rejected"][0]["content"]) for p in pairs] == [("C", "A"), ("C", "B")]
    assert pairs[0]["criterion"] == "helpful"


@pytest.mark.parametrize(
    ("row", "want", "reason"),
    [
        ({"a": 1, "b": 2}, DOCUMENTS, "no known format (a, b)"),
        ({"text": 3}, DOCUMENTS, "text that is int, not a text"),
        ({"text": "  "}, DOCUMENTS, "an empty text"),
        ({"text": "a\0b"}, DOCUMENTS, "NUL"),
        ({"messages": []}, DOCUMENTS, "no list of messages"),
        ({"messages": [ASK]}, DOCUMENTS, "no assistant message"),
        ({"messages": [turn("robot", "x"), GOOD]}, DOCUMENTS, "unknown role 'robot'"),
        ({"messages": [ASK, turn("assistant", "")]}, DOCUMENTS, "an empty answer"),
        ({"messages": ["Q", GOOD]}, DOCUMENTS, "messages that is str"),
        ({"instruction": "Q"}, DOCUMENTS, "output that is missing"),
        ({"instruction": "Q", "output": "A", "history": [1]}, DOCUMENTS, "history"),
        (PAIR, DOCUMENTS, "is trl preference, not a text or a conversation"),
        ({"text": "x"}, PAIRS, "is text, not a preference pair"),
        ({"prompt": "Q", "chosen": [ASK, GOOD], "rejected": "B"}, PAIRS, "chosen that is not one assistant message"),
        ({"prompt": "", "chosen": "A", "rejected": "B"}, PAIRS, "no prompt"),
        ({"prompt": "Q", "answers": ["A"]}, PAIRS, "ranks 1 answers"),
        ({"prompt": "Q", "answers": [f"{n}" for n in range(10)]}, PAIRS, "ranks 10 answers"),
        ({"prompt": "Q", "answers": [{"text": "A", "score": 1}, "B"]}, PAIRS, "some answers only"),
        ({"prompt": "Q", "answers": [{"text": "A"}, {"text": "B"}], "choice": 5}, PAIRS, "chooses '5'"),
    ],
)
def test_what_is_wrong_with_a_row(row, want, reason):
    with pytest.raises(Problem, match=reason.replace("(", r"\(").replace(")", r"\)")):
        convert(row, want)


# --- files -----------------------------------------------------------------------------------------------------------


def put(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def good(path):
    return [row for _, row in raw_rows(path) if not isinstance(row, Bad)]


def test_marks_line_ends_and_a_missing_last_newline(tmp_path):
    path = put(tmp_path / "a.jsonl", b'\xef\xbb\xbf{"text": "a"}\r\n\r\n{"text": "b"}')
    assert list(raw_rows(path)) == [(1, {"text": "a"}), (3, {"text": "b"})]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "is not JSON"),
        (b"[1]", "is not a JSON object"),
        (b'{"text": "\xff"}', "is not UTF-8 (byte 11)"),
        (b'{"text": "a\0"}', "holds a NUL character"),
        (b"[" * 100_000, "is not JSON"),
        (b"x" * 300, "is longer than 0 MB"),
    ],
)
def test_a_bad_line_has_its_number_and_the_next_is_read(tmp_path, monkeypatch, line, reason):
    if reason.startswith("is longer"):
        monkeypatch.setattr(reading, "LONGEST_LINE", 100)
    path = put(tmp_path / "a.jsonl", b'{"text": "a"}\n' + line + b'\n{"text": "b"}\n')
    assert list(raw_rows(path)) == [(1, {"text": "a"}), (2, Bad(2, reason)), (3, {"text": "b"})]


def test_a_line_of_a_gigabyte_takes_no_gigabyte(tmp_path):
    """A sparse file: one line of 1 GB of NUL, then a good one; memory stays near the longest line that is read."""
    import resource

    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.truncate(2**30)
        file.seek(2**30)
        file.write(b'\n{"text": "b"}\n')
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert list(raw_rows(path)) == [(1, Bad(1, "is longer than 64 MB")), (2, {"text": "b"})]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # kB


def test_utf16_is_said_to_be_utf16(tmp_path):
    with pytest.raises(UserError, match=r"a\.jsonl is UTF-16"):
        list(raw_rows(put(tmp_path / "a.jsonl", '{"text": "a"}'.encode("utf-16"))))


def test_a_list_of_json(tmp_path):
    path = put(tmp_path / "a.json", json.dumps([{"text": "a"}, 3]))
    assert list(raw_rows(path)) == [(1, {"text": "a"}), (2, Bad(2, "is not a JSON object", "row"))]
    assert kind_of(put(tmp_path / "b.json", '{"text": "a"}\n')) == "jsonl"
    with pytest.raises(UserError, match=r"c\.json is not JSON"):
        list(raw_rows(put(tmp_path / "c.json", "[{]")))


def test_csv_with_quotes_newlines_and_bad_rows(tmp_path):
    path = put(tmp_path / "a.csv", b'\xef\xbb\xbfinstruction,output\r\n"a, ""b""\nc",d\r\nonly\r\n\xff,x\r\ne,\r\n')
    rows = [row for _, row in raw_rows(path)]
    assert rows[0] == {"instruction": 'a, "b"\nc', "output": "d"}
    assert [row.reason for row in rows[1:3]] == ["has 1 fields, the header 2", "is not UTF-8"]
    assert rows[3] == {"instruction": "e"}
    assert good(put(tmp_path / "a.tsv", "text\tx\nhello, you\t1\n")) == [{"text": "hello, you", "x": "1"}]


def test_parquet(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    rows = [{"messages": CHAT, "n": 1}, {"messages": None, "n": 2}]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert list(raw_rows(tmp_path / "a.parquet")) == [(1, rows[0]), (2, {"n": 2})]
    with pytest.raises(UserError, match=r"b\.parquet is not a Parquet file"):
        list(raw_rows(put(tmp_path / "b.parquet", b"PAR1 no")))


def test_a_text_is_one_row_cut_at_a_line_only_when_long(tmp_path, monkeypatch):
    text = "".join(f"line {number}\n" for number in range(50))
    path = put(tmp_path / "a.txt", text)
    assert [row["text"] for row in good(path)] == [text.rstrip("\n")]
    monkeypatch.setattr(reading, "PIECE", 100)
    pieces = [row["text"] for row in good(path)]
    assert len(pieces) > 3
    assert "".join(pieces).rstrip("\n") == text.rstrip("\n")
    assert all(piece.endswith("\n") for piece in pieces[:-1])


def test_llama_factory_names_of_columns(tmp_path):
    write_rows(tmp_path / "own.jsonl", [{"ask": "Q", "say": "A"}])
    info = {"mine": {"file_name": "own.jsonl", "columns": {"prompt": "ask", "response": "say"}}}
    put(tmp_path / "dataset_info.json", json.dumps(info))
    source = finish(read_source(tmp_path / "own.jsonl"))
    assert source.rows[0]["messages"] == CHAT
    assert source.formats == {"alpaca": 1}


# --- the policy ------------------------------------------------------------------------------------------------------


def test_bad_rows_stop_with_their_number_or_are_counted(tmp_path):
    rows = [{"text": "a"}, {"txt": "b"}, {"text": ""}, {"text": "c"}]
    write_rows(tmp_path / "a.jsonl", rows)
    with pytest.raises(UserError, match=r"a\.jsonl, line 2 has columns of no known format \(txt\)"):
        finish(read_source(tmp_path / "a.jsonl"))
    work = load_rows(workspace(tmp_path, "x"), ["a.jsonl"], bad_rows="skip")
    notes, kept = [], None
    while kept is None:
        try:
            notes.append(next(work))
        except StopIteration as end:
            kept = end.value
    assert [row["text"] for row in kept] == ["a", "c"]
    said = [note.text for note in notes if isinstance(note, Note)]
    assert said[0] == "a.jsonl: text, 2 rows"
    assert "2 bad rows were skipped: 2 has columns of no known format (txt); 3 has an empty text" in said[1]


def test_a_file_of_bad_rows_only_stops_even_when_they_are_skipped(tmp_path):
    write_rows(tmp_path / "a.jsonl", [{"x": 1}])
    with pytest.raises(UserError, match="line 1"):
        finish(read_source(tmp_path / "a.jsonl", skip=True))


def test_ties_are_counted_and_no_fault(tmp_path):
    vote = {"prompt": "Q", "answers": [{"text": "A"}, {"text": "B"}], "choice": 0}
    write_rows(tmp_path / "votes.jsonl", [vote, {**vote, "choice": "tie"}])
    source = finish(read_source(tmp_path / "votes.jsonl", PAIRS))
    assert (len(source.rows), source.passed, source.bad) == (1, 1, ())


# --- any bytes -------------------------------------------------------------------------------------------------------

ANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=30)
NAMES = st.sampled_from(["role", "content", "from", "value", "text", "score"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner),
    max_leaves=8,
)
KEYS = ["text", "messages", "conversations", "prompt", "completion", "chosen", "rejected", "instruction", "input", "output",
        "history", "system", "answers", "choice"]  # fmt: skip


@ANY
@given(content=st.binary(max_size=300), kind=st.sampled_from(["jsonl", "json", "csv", "tsv", "txt", "parquet"]))
def test_any_bytes_are_rows_or_reasons_or_one_sentence(tmp_path, content, kind):
    path = put(tmp_path / f"a.{kind}", content)
    try:
        for number, row in raw_rows(path):
            assert number >= 1
            assert isinstance(row, Bad) or all(isinstance(name, str) for name in row)
    except UserError as error:
        if not error.what.startswith(path.name):
            raise


@ANY
@given(row=st.dictionaries(st.sampled_from(KEYS), JSON), want=st.sampled_from([DOCUMENTS, PAIRS]))
def test_any_row_is_converted_or_has_a_reason(row, want):
    try:
        found = convert(row, want)
    except Problem as problem:
        if not str(problem):
            raise
        return
    for made in found:
        if want == PAIRS:
            assert made["prompt"]
            assert all(len(made[side]) == 1 and made[side][0]["role"] == "assistant" for side in ("chosen", "rejected"))
        else:
            assert "text" in made or "completion" in made or made["messages"]


@ANY
@given(rows=st.lists(st.fixed_dictionaries({"text": TEXT.filter(str.strip)}), min_size=1, max_size=6))
def test_what_was_written_is_read_back_from_every_kind_of_file(tmp_path, rows):
    import pyarrow as pa
    from pyarrow import parquet

    write_rows(tmp_path / "a.jsonl", rows)
    put(tmp_path / "a.json", json.dumps(rows))
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.json", "a.parquet"):
        assert good(tmp_path / name) == rows
    plain = [row for row in rows if "\r" not in row["text"]]  # a carriage return ends a row of CSV
    with (tmp_path / "a.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerows([["text"], *([row["text"]] for row in plain)])
    assert good(tmp_path / "a.csv") == plain
