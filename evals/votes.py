"""Win rates from blind votes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from evals.stats import wilson
from models.records.votes import Tally

CRITERIA = ("helpful", "truthful", "safe")
TIE = "tie"


def tallies(votes: Iterable[Mapping[str, Any]]) -> tuple[Tally, ...]:
    """Return how often each checkpoint was preferred to each other one, by criterion; lines that are no votes are left out.

    The names of a pair are in the order of the alphabet: the order in which answers were shown counts for nothing.
    """
    counts: dict[tuple[str, str, str], list[int]] = {}
    for vote in votes:
        found = _read(vote)
        if found is not None:
            names, winner, criterion = found
            a, b = sorted(names)
            row = counts.setdefault((criterion, a, b), [0, 0, 0])
            row[2 if winner is None else int(winner == b)] += 1
    made = []
    for (criterion, a, b), (wins_a, wins_b, ties) in sorted(counts.items()):
        n = wins_a + wins_b + ties
        rate = (wins_b + ties / 2) / n
        made.append(Tally(a, b, criterion, wins_a, wins_b, ties, rate, *wilson(rate, n)))
    return tuple(made)


def _read(vote: Mapping[str, Any]) -> tuple[tuple[str, str], str | None, str] | None:
    """Return the two names, the winner (None for a tie) and the criterion."""
    answers, choice = vote.get("answers"), vote.get("choice")
    if not isinstance(answers, list | tuple) or len(answers) != 2 or not all(isinstance(one, Mapping) for one in answers):
        return None
    names = (str(answers[0].get("checkpoint", "")), str(answers[1].get("checkpoint", "")))
    if not all(names) or names[0] == names[1]:
        return None
    criterion = str(vote.get("criterion", ""))
    if choice == TIE:
        return names, None, criterion
    if isinstance(choice, int) and not isinstance(choice, bool) and choice in (0, 1):
        return names, names[choice], criterion
    return None
