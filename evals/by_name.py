"""Metrics of the library ``evaluate``, by name or from a folder with a script. They are Python: only with ``--allow-code``.

The library's own way is kept (``evaluate.load``, in memory); n, interval, convention and the script's hash join its number.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.words import _

PREFIX = "evaluate/"
"""Before the names of such metrics, so that ours of the same name stay apart."""
HIGHER = frozenset({
    "accuracy", "f1", "precision", "recall", "exact_match", "bleu", "sacrebleu", "google_bleu", "rouge", "rouge1", "rouge2",
    "rougeL", "rougeLsum", "meteor", "chrf", "score", "matthews_correlation", "pearsonr", "spearmanr", "roc_auc", "bleurt",
    "comet", "bertscore", "mean_iou", "nist_mt",
})  # fmt: skip
LOWER = frozenset({
    "wer", "cer", "ter", "perplexity", "mean_perplexity", "mse", "mae", "mape", "smape", "mase", "brier_score", "character",
})  # fmt: skip
KINDS = ("metric", "comparison", "measurement")


class Choice(int):
    """The number of a choice, which knows its text."""

    text: str = ""

    @classmethod
    def of(cls, place: int, choices: Sequence[str]) -> Choice:
        """Return a choice with its text."""
        choice = cls(place)
        choice.text = choices[place]
        return choice


@dataclass(frozen=True)
class Metric:
    """A loaded metric: how it was named, the library's object, and the first 12 digits of its script's SHA-256."""

    name: str
    module: Any
    script: str

    def label(self, key: str) -> str:
        """Return what one of its numbers is called."""
        return f"{PREFIX}{self.name}" if key == self.name else f"{PREFIX}{self.name}/{key}"

    def signature(self, key: str, interval: str) -> str:
        """Return the convention in one line."""
        return f"{self.name}:{key}|evaluate:{version('evaluate')}|script:{self.script}|interval:{interval}"

    def direction(self, key: str) -> bool | None:
        """Return whether higher is better; None where that is not known, and differences are only differences."""
        known = key if key in HIGHER | LOWER else self.name
        return True if known in HIGHER else False if known in LOWER else None


def names_in(text: str) -> list[str]:
    """Return the names of ``--metric``."""
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def check(text: str, allow_code: bool) -> None:
    """Refuse metrics that may not or cannot be loaded, before any model is opened; nothing is imported or run.

    Raises:
        UserError: Without ``--allow-code``, or if a script is neither here nor to be had.
    """
    from evals.needed import online

    names = names_in(text)
    if names and not allow_code:
        raise UserError(
            "metric.code",
            _("The metric {name} of the library evaluate is a Python script, which would run here.").format(name=names[0]),
            _("If you trust it, run again with --allow-code."),
        )
    lacking = [name for name in names if script_of(name) is None]
    if lacking and not online():
        raise UserError(
            "metric.missing",
            _("The metric {name} is not on this machine, and there is no network.").format(name=lacking[0]),
            _("Where there is one: hf download --repo-type space evaluate-metric/{name} --local-dir {folder}; "
              "copy that folder here and name it: --metric {folder}.").format(
                name=Path(lacking[0]).stem, folder=f"metrics/{Path(lacking[0]).stem}"
            ),
        )  # fmt: skip


def script_of(name: str) -> Path | None:
    """Return the script that a name means on this machine: a file, a folder that holds one of its name, or one loaded before."""
    path = Path(name)
    if path.suffix == ".py":
        return path if path.is_file() else None
    inside = path / f"{path.resolve().name}.py"
    return inside if inside.is_file() else next(_cached(name), None)


def _cached(name: str) -> Iterator[Path]:
    """Yield the scripts of this name that ``evaluate`` has kept, newest first."""
    from evals.needed import hub_home

    root = Path(os.environ.get("HF_MODULES_CACHE") or hub_home(os.environ) / "modules") / "evaluate_modules" / "metrics"
    wanted = [f"evaluate-{kind}--{name}" for kind in KINDS] if "/" not in name else [name.replace("/", "--")]
    found = [path for folder in wanted for path in (root / folder).glob(f"*/{name.split('/')[-1]}.py")]
    yield from sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def load(name: str) -> Metric:
    """Load a metric; this runs its script.

    Raises:
        UserError: If it cannot be loaded.
    """
    from models.quiet import hush

    hush()
    import evaluate

    script = script_of(name)
    try:
        module = evaluate.load(str(script or name), keep_in_memory=True, experiment_id="triptych")
    except Exception as error:
        raise failed(name, error) from error
    text = Path(inspect.getfile(type(module))).read_bytes()
    return Metric(Path(name).stem if script else name, module, hashlib.sha256(text).hexdigest()[:12])


def failed(name: str, error: BaseException) -> UserError:
    """Return the error of a metric that cannot be loaded or computed."""
    lines = str(error).strip().splitlines() or [""]
    return UserError(
        "metric.failed",
        _("The metric {name} failed: {kind}: {reason}").format(name=name, kind=type(error).__name__, reason=lines[0][:200]),
        _("Install what it needs, or choose one that fits the answers of this task."),
    )


def pairs(rows: Sequence[Mapping[str, Any]]) -> tuple[list[Any], list[list[Any]]] | None:
    """Return predictions and references of logged items: texts, or choices; None where there is neither (perplexity).

    Args:
        rows: Lines of a samples file, of one filter.
    """
    predictions: list[Any] = []
    references: list[list[Any]] = []
    for row in rows:
        asked = list(row["arguments"].values()) if isinstance(row.get("arguments"), Mapping) else []
        second = asked[0].get("arg_1") if asked else None
        if second is None:
            return None
        answers = row.get("filtered_resps") or [""]
        if isinstance(second, Mapping):
            predictions.append(str(answers[0]))
            references.append(_texts(row.get("target")))
            continue
        values = [float(one[0]) for one in answers]
        choices = [str(one.get("arg_1", "")).strip() for one in asked[: len(values)]]
        target = str(row.get("target", "")).strip()
        gold = int(target) if target.isdecimal() else choices.index(target) if target in choices else len(choices)
        if len(values) < 2 or gold >= len(choices):
            return None
        predictions.append(Choice.of(max(range(len(values)), key=lambda place: values[place]), choices))
        references.append([Choice.of(gold, choices)])
    return predictions, references


def _texts(target: Any) -> list[str]:
    """Return the references of an item: the samples file has a list of them as text."""
    if isinstance(target, str) and target[:1] == "[" and target[-1:] == "]":
        try:
            target = ast.literal_eval(target)
        except (ValueError, SyntaxError, RecursionError):
            return [target]
    return [str(one) for one in target] if isinstance(target, list | tuple) and target else [str(target)]


def fitting(
    module: Any, predictions: Sequence[Any], references: Sequence[Sequence[Any]]
) -> tuple[Callable[[Sequence[int]], dict[str, Any]], dict[str, Any]] | None:
    """Return what computes the metric over chosen items, in the form that the metric takes, and its result over all; or None.

    ``evaluate`` says it by features: texts or numbers, one reference or a list of them.
    """
    features = module.features if isinstance(module.features, list) else [module.features]
    for one in features:
        if set(one) != {"predictions", "references"}:
            continue
        try:
            given = [_as(one["predictions"], value) for value in predictions]
            wanted = [_as(one["references"], value if _many(one["references"]) else value[0]) for value in references]
        except (TypeError, ValueError):
            continue

        def compute(places: Sequence[int], given: list[Any] = given, wanted: list[Any] = wanted) -> dict[str, Any]:
            chosen = [given[place] for place in places], [wanted[place] for place in places]
            return dict(module._compute(predictions=chosen[0], references=chosen[1]))

        return compute, dict(module.compute(predictions=given, references=wanted))  # the library checks the inputs, and seeds
    return None


def _many(feature: Any) -> bool:
    return hasattr(feature, "feature") or isinstance(feature, list)


def _as(feature: Any, value: Any) -> Any:
    """Return a value in the type of a feature.

    Raises:
        TypeError, ValueError: If it has no such form.
    """
    if _many(feature):
        inner = feature.feature if hasattr(feature, "feature") else feature[0]
        if _many(inner):
            raise TypeError(feature)
        return [_as(inner, one) for one in value]
    kind = str(getattr(feature, "dtype", ""))
    if isinstance(value, list | tuple):
        raise TypeError(feature)
    if kind == "string":
        return value.text if isinstance(value, Choice) else str(value)
    if kind.startswith(("int", "uint")):
        return int(value)
    if kind.startswith("float"):
        return float(value)
    raise TypeError(feature)


def numbers(found: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers among a metric's results."""
    plain = {key: value.item() if getattr(value, "shape", None) == () else value for key, value in found.items()}
    return {key: float(value) for key, value in plain.items() if isinstance(value, int | float) and math.isfinite(float(value))}
