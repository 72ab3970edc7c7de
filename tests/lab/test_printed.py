"""Tables of scores on a narrow terminal: numbers stay whole, and what went wrong stands below, as wide as the terminal."""

from __future__ import annotations

import math

import pytest

from lab import describing
from models.records.scores import Cell, Comparison

LONG = "The data of arc_easy is not on this machine, and there is no network: put it beside the others and start again."


def cell(name: str, benchmark: str = "mine", metric: str = "acc", **more: object) -> Cell:
    values: dict[str, object] = {"value": 0.5, "low": 0.25, "high": 0.75, "n": 12, "higher_is_better": True}
    return Cell(name, "sft", benchmark, metric, **(values | more))  # type: ignore[arg-type]


def missing(name: str, benchmark: str, why: str) -> Cell:
    return cell(name, benchmark, "", value=math.nan, low=math.nan, high=math.nan, n=0, state="failed", signature=why)


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_failures_stand_below_the_table_once_and_wide(capsys: pytest.CaptureFixture[str]) -> None:
    cells = [cell("one", signature="acc|v1"), missing("one", "arc_easy", LONG), missing("two", "arc_easy", LONG)]
    describing.print_cells(cells)
    table, _mark, below = capsys.readouterr().out.partition("Failed:")
    assert "0.5 ↑" in table
    assert "network" not in table
    lines = [line.strip() for line in below.partition("Conventions:")[0].strip().splitlines()]
    assert " ".join(lines) == f"one, two × arc_easy: {LONG}"
    assert max(map(len, lines)) > 60
    assert below.partition("Conventions:")[2].split() == ["acc|v1"]


def test_an_invalid_score_is_said_and_columns_without_entries_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    describing.print_cells([cell("one", value=math.nan, low=math.nan, high=math.nan, state="invalid", n_failed=3)])
    printed = capsys.readouterr().out
    assert "invalid" in printed
    assert "invalid, 3" in printed
    assert "training" not in printed  # nothing is known of it
    assert "Failed:" not in printed
    describing.print_cells([cell("one", n_overlap=2, n_compared=12)])
    assert "2/12" in capsys.readouterr().out


def test_conventions_are_told_in_few_lines() -> None:
    signatures = ("bleu|v1", "rouge|v1", "acc|ties:1/k|v1", "bleu|v1", "plain", "odd")
    cells = [cell("one", signature=signature) for signature in signatures]
    assert describing.conventions(cells) == ["bleu, rouge|v1", "acc|ties:1/k|v1", "plain, odd"]
    assert describing.conventions([missing("one", "b", "why")]) == []


def test_nothing_in_a_failure_is_markup(capsys: pytest.CaptureFixture[str]) -> None:
    describing.print_cells([missing("[red]", "b", "[bold]no[/bold]")])
    assert "[red] × b: [bold]no[/bold]" in capsys.readouterr().out


def test_the_baseline_stands_in_the_title(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [Comparison("mine", "acc", "sft", name, 0.125, 0.0, 0.25, 0.04, 12, 3, 1) for name in ("ppo", "dpo")]
    describing.print_comparisons(rows)
    printed = capsys.readouterr().out
    assert "Paired differences from sft" in printed
    assert printed.count("sft") == 1
    assert "+0.125" in printed
    describing.print_comparisons([*rows, Comparison("mine", "acc", "ppo", "dpo", 0.0, -0.1, 0.1, 1.0, 12)])
    assert "from" not in capsys.readouterr().out


def test_a_table_that_is_wide_gives_up_its_margins(capsys: pytest.CaptureFixture[str]) -> None:
    describing.print_table("", ["one", "two"], [["a" * 20, "b" * 20]])
    assert f"│ {'a' * 20} │ {'b' * 20} │" in capsys.readouterr().out
    describing.print_table("", ["one", "two"], [["a" * 38, "b" * 38]])
    assert f"│{'a' * 38}│{'b' * 38}│" in capsys.readouterr().out
