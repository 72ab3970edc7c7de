"""Blind votes: the file, the win rates, and that the reward stage reads what Chat writes."""

import json

import pytest

from evals.stats import wilson
from evals.votes import tallies
from lab import votes
from models.errors import UserError
from models.events import finish
from models.training.formats import PAIRS
from models.training.sources import read_source


def vote(first, second, choice, criterion="helpful"):
    answers = [{"checkpoint": name, "text": f"says {name}", "token_ids": [1, 2]} for name in (first, second)]
    return {
        "prompt": [{"role": "user", "content": "Q"}], "answers": answers, "order_shown": [1, 0], "choice": choice,
        "criterion": criterion, "judge": "me", "time": 1.0,
    }  # fmt: skip


def test_win_rates_do_not_depend_on_the_order_shown():
    rows = [
        vote("sft", "ppo", 1),
        vote("ppo", "sft", 0),
        vote("sft", "ppo", 0),
        vote("sft", "ppo", "tie"),
        vote("a", "b", 0, "safe"),
    ]
    first, second = tallies(rows)
    assert (first.a, first.b, first.criterion) == ("ppo", "sft", "helpful")
    assert (first.wins_a, first.wins_b, first.ties) == (2, 1, 1)
    assert first.rate == 1.5 / 4
    assert (first.low, first.high) == wilson(1.5 / 4, 4)
    assert (second.criterion, second.rate) == ("safe", 0.0)


@pytest.mark.parametrize(
    "row", [{}, {"answers": 3}, vote("a", "a", 0), vote("a", "b", 2), vote("a", "b", None), vote("a", "b", True)]
)
def test_what_is_no_vote_counts_for_nothing(row):
    assert tallies([row]) == ()


def test_votes_are_appended_and_read_by_the_reward_stage(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path))
    assert votes.read().n == 0
    assert votes.add(vote("sft", "ppo", 1)).n == 1
    with votes.votes_path().open("ab") as file:
        file.write(b'{"torn')
    found = votes.add(vote("sft", "ppo", "tie"))
    assert found.n == 2
    assert (found.tallies[0].wins_a, found.tallies[0].ties, found.last["choice"]) == (1, 1, "tie")
    whole = [json.loads(line) for line in votes.votes_path().read_text("utf-8").splitlines() if line != '{"torn']
    assert list(whole[0]) == ["prompt", "answers", "order_shown", "choice", "criterion", "judge", "time"]
    clean = tmp_path / "clean.jsonl"
    clean.write_text("".join(json.dumps(row) + "\n" for row in whole), "utf-8")
    source = finish(read_source(clean, PAIRS))
    assert (len(source.rows), source.passed) == (1, 1)
    assert "says ppo" in json.dumps(source.rows[0]["chosen"])
    for wrong in (vote("a", "b", 5), vote("a", "b", 0, "funny"), {}):
        with pytest.raises(UserError):
            votes.add(wrong)
