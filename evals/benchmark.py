"""What a benchmark is: items, what is asked, and how an answer becomes scores. One module per benchmark declares one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evals.metrics._spec import MetricSpec, Statistics


class Answer(str):
    """A generated answer with how it ended: ``eos``, ``until``, ``length``, ``limit`` or ``nan``."""

    stop: str = "eos"

    @classmethod
    def of(cls, text: str, stop: str) -> Answer:
        """Return a text that knows how it ended."""
        answer = cls(text)
        answer.stop = stop
        return answer

    @property
    def truncated(self) -> bool:
        """Whether generation ran into its limit before the answer ended."""
        return self.stop in ("length", "limit")


class Likelihood(float):
    """The log-likelihood of a text in nats, with how many tokens were predicted."""

    n_tokens: int = 0

    @classmethod
    def of(cls, value: float, n_tokens: int) -> Likelihood:
        """Return a log-likelihood that knows its tokens."""
        likelihood = cls(value)
        likelihood.n_tokens = n_tokens
        return likelihood


@dataclass(frozen=True)
class Outcome:
    """Scores of one item: metric name → statistics (a metric that does not apply is left out), and the verdict."""

    statistics: Mapping[str, Statistics]
    verdict: str = ""


@dataclass(frozen=True)
class Measure:
    """One metric of a benchmark; the direction may differ from the metric's own (abstaining where answers are known)."""

    metric: MetricSpec
    higher_is_better: bool | None = None
    describes: bool = False
    """Whether neither direction is better here (abstaining where a right answer would be better still)."""

    @property
    def name(self) -> str:
        """The metric's name."""
        return self.metric.name

    @property
    def neutral(self) -> bool:
        """Whether neither direction is better."""
        return self.describes or self.metric.neutral

    @property
    def better(self) -> bool:
        """Whether higher is better here."""
        return self.metric.higher_is_better if self.higher_is_better is None else self.higher_is_better


@dataclass(frozen=True)
class Benchmark:
    """A benchmark, declared once per module as ``BENCHMARK``.

    Args:
        name: As on the command line and in results.
        title: What people read, English (translated where it is shown).
        description: What it asks and what is held out, one or two sentences.
        output_type: lm-eval's: ``generate_until``, ``loglikelihood_rolling``, ``loglikelihood`` (rows then have ``scored``, what
            follows the prompt) or ``multiple_choice`` (rows then have ``choices``, each with the blank before it, and ``gold``,
            the number of the right one).
        measures: Metrics, the headline first.
        items: Path of the checkpoint → rows with at least ``prompt`` and ``target``.
        judge: Row and answer (an ``Answer``, a ``Likelihood``, or the log-likelihood of every choice) → outcome.
        max_new_tokens: Longest answer, for generation.
        chat: Whether the prompt is a user's message under the chat template.
        cluster: Field whose equal values tie items together for standard errors; empty for none.
        revision: Raised when numbers change.
        judged_by: What gives the verdicts that rates count: the closed world's rules, phrases, a choice.
        until: Texts before which an answer ends.
    """

    name: str
    title: str
    description: str
    output_type: str
    measures: tuple[Measure, ...]
    items: Callable[[str], Sequence[Mapping[str, Any]]]
    judge: Callable[[Mapping[str, Any], Any], Outcome]
    max_new_tokens: int = 32
    chat: bool = True
    cluster: str = "entity"
    revision: int = 1
    judged_by: str = "world"
    until: tuple[str, ...] = ()
    fields: tuple[str, ...] = field(default=("language", "cell", "type", "entity"))
