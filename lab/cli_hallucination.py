"""`triptych hallucination`: verdicts, uncertainty and remedies, checkpoint by checkpoint."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.words import _

if TYPE_CHECKING:
    from evals.cutoff.options import CutoffSettings
    from evals.hallucination.options import HallucinationSettings
    from models.records.hallucination import AnswerColumn, Rate

DEFAULT = "world_unknown,world_false_premise,world_questions"


Remedies = Annotated[
    str, typer.Option(help="Of sampled, cool, vote, fewshot, thought, role, retrieval, cite, support, crosscheck, or all.")
]
Clustering = Annotated[
    str, typer.Option(help="Which answers say the same: exact (words), lexical (ROUGE-L ≥ 0.7) or nli (entailment).")
]
Nli = Annotated[
    str, typer.Option(help="Folder of a classifier of contradiction, neutral and entailment: for nli and its inconsistency.")
]
Compact = Annotated[
    bool, typer.Option("--compact", help="When done keep only the table and an archive of the answers: it cannot go on then.")
]


def hallucination(
    checkpoints: Annotated[list[str], typer.Argument(metavar="CKPT...", help="Checkpoints: stages of one lineage, for example.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for answers, table and report.")],
    benchmark: Annotated[
        str, typer.Option("--benchmark", "-b", help="Closed-world benchmarks or files of questions (JSONL, CSV), by commas.")
    ] = DEFAULT,
    limit: Annotated[int, typer.Option("--limit", "-L", help="At most this many questions of each; 0 for all.")] = 0,
    samples: Annotated[int, typer.Option("--samples", "-n", help="Answers drawn per question besides the greedy one.")] = 8,
    temperature: Annotated[float, typer.Option(help="Temperature of the drawn answers.")] = 1.0,
    low_temperature: Annotated[float, typer.Option(help="Temperature of the remedy cool.")] = 0.3,
    remedies: Remedies = "",
    clustering: Clustering = "exact",
    nli: Nli = "",
    retrieve: Annotated[str, typer.Option(help="Folder of texts, or world: the articles of the checkpoint's own world.")] = "",
    passages: Annotated[int, typer.Option(help="How many passages go before a question.")] = 2,
    shots: Annotated[int, typer.Option(help="Examples of the remedy fewshot.")] = 4,
    checker: Annotated[str, typer.Option(help="Second checkpoint, for the remedy crosscheck.")] = "",
    prompt: Annotated[str, typer.Option(help="How a question is put, such as 'Q: {question}\\nA:'.")] = "",
    max_new_tokens: Annotated[int, typer.Option(help="Longest answer; 0 for the usual.")] = 0,
    judge: Annotated[str, typer.Option(help="Verdicts of a judge model: rows of id, answer, verdict.")] = "",
    labels: Annotated[str, typer.Option(help="Verdicts of a person, likewise; they win.")] = "",
    p_true: Annotated[bool, typer.Option("--p-true/--no-p-true", help="Ask the model whether its answer is true.")] = True,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    quantize: Annotated[str, typer.Option(help="int8 or int4; empty for none.")] = "",
    seed: Annotated[int, typer.Option(help="Of drawn answers, examples and intervals.")] = 0,
    compact: Compact = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Ask, judge, and say how sure: hallucination of checkpoints, with and without remedies. Started again, it goes on.

    Remedies: sampled (mean over the drawn answers), cool (drawn at a low temperature), vote (the most frequent drawn answer),
    fewshot (examples first), thought (step by step), role (a careful expert), retrieval (passages first), cite (and their
    numbers), support (kept back where no passage holds it), crosscheck (kept back where a second checkpoint says another thing).

    What each score means, and what was found in the demo lineage: the page Hallucination of the guide.
    """
    from evals.hallucination import files
    from evals.hallucination.options import HallucinationSettings
    from evals.hallucination.running import run
    from lab.cli import show
    from lab.work import journalled

    settings = HallucinationSettings(
        benchmarks=_names(benchmark), limit=limit, samples=samples, temperature=temperature, low_temperature=low_temperature,
        remedies=_remedies(remedies, retrieve, checker), clustering=clustering, nli=nli, retrieve=retrieve, passages=passages,
        shots=shots, checker=checker, prompt=prompt.replace("\\n", "\n"), max_new_tokens=max_new_tokens, judge=judge,
        labels=labels, p_true=p_true, device=device, dtype=dtype, quantize=quantize, seed=seed,
    )  # fmt: skip
    title = f"hallucination {', '.join(Path(path).name for path in checkpoints)}"
    command = ("triptych", "hallucination", *checkpoints, "--output", str(output), *flags(settings))
    columns = journalled(run(checkpoints, settings, output), output, "hallucination", title, command)
    if compact:
        files.compact(output)
    if as_json:
        show([_json(one) for one in columns])
    else:
        _print(columns)
        print(output / (files.TABLE if compact else files.REPORT))
    return 1 if any(one.error for one in columns) else 0


def _print(columns: Sequence[AnswerColumn]) -> None:
    """Print the table, and below it why some checkpoints are not in it."""
    from lab.describing import print_failures, print_table

    print_table("Hallucination", HEADER, [_row(one) for one in columns])
    print_failures(dict.fromkeys(f"{one.checkpoint}: {one.error}" for one in columns if one.error))


HEADER = [
    "checkpoint", "remedy", "n", "correct", "hallucinated", "abstained", "right of given", "hallucinated − as it is", "p (Holm)",
]  # fmt: skip
SHARES = ("correct", "hallucinated", "abstained", "given_attempted", "false_abstention", "unanswerable", "good", "difference")


def flags(settings: HallucinationSettings | CutoffSettings) -> list[str]:
    """Return the flags that give these settings, for running the same again."""
    found: list[str] = []
    plain = type(settings)()
    for field in fields(settings):
        value = getattr(settings, field.name)
        if value == getattr(plain, field.name):
            continue
        name = "--" + ("benchmark" if field.name == "benchmarks" else field.name.replace("_", "-"))
        if isinstance(value, bool):
            found.append(name if value else f"--no-{name[2:]}")
        else:
            text = ",".join(value) if isinstance(value, tuple) else str(value)
            found += [name, text.replace("\n", "\\n")]
    return found


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _remedies(text: str, retrieve: str, checker: str) -> tuple[str, ...]:
    """Return the remedies named; ``all`` is every one that the other options allow."""
    from evals.hallucination.remedies import REMEDIES

    if text != "all":
        return _names(text)
    have = {"retrieve": retrieve, "checker": checker, "": "yes"}
    return tuple(name for name, one in REMEDIES.items() if have[one.needs])


def _share(rate: Rate) -> str:
    if not rate.n or not math.isfinite(rate.value):
        return ""
    interval = f" [{_short(rate.low)} {_short(rate.high)}]" if math.isfinite(rate.low) else ""
    return f"{_short(rate.value)}{interval}"


def _short(value: float) -> str:
    """Return a share with two decimals and without its leading zero."""
    return f"{value:.2f}".replace("0.", ".", 1)


def _row(one: AnswerColumn) -> list[str]:
    if one.error:
        return [one.checkpoint, one.remedy, "0", _("failed"), *[""] * (len(HEADER) - 4)]
    rates = (one.correct, one.hallucinated, one.abstained, one.given_attempted)
    p = f"{one.p:.3g}" if math.isfinite(one.p) else ""
    return [one.checkpoint, one.remedy, str(one.n), *map(_share, rates), _share(one.difference), p]


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _fields(record: Any, *names: str) -> dict[str, Any]:
    """Return some numbers of a record as JSON has them."""
    return {name: _number(getattr(record, name)) for name in names}


def _json(one: AnswerColumn) -> dict[str, Any]:
    """Return a column's numbers for other programs."""
    shares = {name: getattr(one, name) for name in SHARES}
    rates = {name: _fields(rate, "value", "low", "high", "n") for name, rate in shares.items()}
    quality = {q.name: _fields(q, "auroc", "low", "high", "aurac", "n", "n_wrong") for q in one.qualities}
    sure = {r.name: {**_fields(r, "ece", "brier", "n"), "bins": len(r.counts)} for r in one.reliabilities}
    return {
        "checkpoint": one.checkpoint, "stage": one.stage, "remedy": one.remedy, "n": one.n, "rates": rates, "p": _number(one.p),
        "scores": quality, "calibration": sure, "extra": {name: _number(value) for name, value in one.extra.items()},
        "error": one.error,
    }  # fmt: skip
