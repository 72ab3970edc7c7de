"""P(True): the model is shown the question, some of its own answers and one of them, and asked whether that is true.

Kadavath et al. 2022, arXiv 2207.05221, section 3: p is the probability of "True" against "False" as the next words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

CHOICES = ("True", "False")


def prompt(question: str, answer: str, ideas: Sequence[str] = ()) -> str:
    """Return what the model is asked; ``ideas`` are other answers of its own, shown first (the paper shows five)."""
    lines = [f"Question: {question.strip()}"]
    if ideas:
        lines += ["Here are some ideas that were brainstormed:", *(idea.strip() for idea in ideas)]
    lines += [f"Possible answer: {answer.strip()}", "Is the possible answer True or False?", "The possible answer is:"]
    return "\n".join(lines)


def p_true(log_true: float, log_false: float) -> float:
    """Return e^a / (e^a + e^b), 0 to 1, for ln p of "True" and "False" in nats; 0.5 where both are −∞, NaN for NaN."""
    if math.isnan(log_true) or math.isnan(log_false):
        return math.nan
    if log_true == log_false:
        return 0.5
    difference = log_false - log_true
    return 0.0 if difference > 700 else 1.0 / (1.0 + math.exp(difference))
