"""How to look for hallucination: one frozen dataclass that becomes flags."""

from __future__ import annotations

from dataclasses import dataclass

from models.errors import UserError
from models.uncertainty.clusters import METHODS
from models.words import _

BENCHMARKS = ("world_unknown", "world_false_premise", "world_questions")


@dataclass(frozen=True)
class HallucinationSettings:
    """How to look for hallucination.

    Args:
        benchmarks: Names of closed-world benchmarks, or JSONL and CSV files of questions.
        limit: At most this many items of each benchmark; 0 for all.
        samples: Answers drawn per question besides the greedy one.
        temperature: Of those.
        low_temperature: Of the remedy "cool".
        remedies: Names of ``evals.hallucination.remedies``.
        clustering: exact, lexical or nli: which answers say the same.
        nli: Path of an NLI model; needed for clustering by nli, and gives the NLI inconsistency.
        retrieve: Folder of texts, or ``world`` for the articles of the checkpoint's own world.
        passages: How many of them go before a question.
        shots: Examples before a question, for the remedy "fewshot".
        checker: Path of the checkpoint that checks answers, for the remedy "crosscheck".
        prompt: How a question is put, with ``{question}``; empty for the question itself.
        max_new_tokens: Longest answer; 0 for what the benchmark says.
        judge, labels: Files of verdicts, of a judge model and of a person.
        p_true: Whether the model is asked for P(True).
        device, dtype, quantize: How checkpoints are opened.
        seed: Of sampling, examples and bootstrap.
    """

    benchmarks: tuple[str, ...] = BENCHMARKS
    limit: int = 0
    samples: int = 8
    temperature: float = 1.0
    low_temperature: float = 0.3
    remedies: tuple[str, ...] = ()
    clustering: str = "exact"
    nli: str = ""
    retrieve: str = ""
    passages: int = 2
    shots: int = 4
    checker: str = ""
    prompt: str = ""
    max_new_tokens: int = 0
    judge: str = ""
    labels: str = ""
    p_true: bool = True
    device: str = "auto"
    dtype: str = "auto"
    quantize: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        self._check_numbers()
        if self.clustering not in METHODS:
            raise UserError(
                "hallucination.clustering",
                _("--clustering is {name!r}; it must be one of {names}.").format(name=self.clustering, names=", ".join(METHODS)),
            )
        if self.clustering == "nli" and not self.nli:
            raise UserError(
                "hallucination.nli",
                _("Clustering by nli needs a model."),
                _("Name its folder with --nli, or take --clustering lexical."),
            )
        if self.prompt and "{question}" not in self.prompt:
            raise UserError("hallucination.prompt", _("--prompt has no place for the question."), _("Write {question} in it."))

    def _check_numbers(self) -> None:
        from evals.hallucination.remedies import REMEDIES

        whole = {"limit": 0, "samples": 0, "passages": 1, "shots": 1, "max_new_tokens": 0}
        for name, least in whole.items():
            if getattr(self, name) < least:
                raise UserError(
                    "hallucination.number",
                    _("--{name} is {value}; it must be at least {least}.").format(
                        name=name.replace("_", "-"), value=getattr(self, name), least=least
                    ),
                )
        if not 0 < self.temperature <= 5 or not 0 < self.low_temperature <= 5:
            raise UserError("hallucination.temperature", _("Samples need a temperature above 0 and at most 5."))
        for name in self.remedies:
            if name not in REMEDIES:
                raise UserError(
                    "hallucination.remedy",
                    _("There is no remedy {name}.").format(name=name),
                    _("Known are {names}.").format(names=", ".join(REMEDIES)),
                )
