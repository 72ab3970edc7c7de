"""The five ways to score inputs, by captum, on any function of embeddings; knows nothing of tokens or checkpoints.

- gradient × input: Shrikumar et al. 2016, arXiv 1605.01713
- integrated gradients: Sundararajan et al. 2017, arXiv 1703.01365; the straight path is cut where it is least complete
- occlusion: Zeiler and Fergus 2013, arXiv 1311.2901, one unit at a time
- LIME: Ribeiro et al. 2016, arXiv 1602.04938; units kept with probability ½, cosine kernel of width ¼, ridge
- KernelSHAP: Lundberg and Lee 2017, arXiv 1705.07874
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from models.errors import UserError
from models.records.salience import SalienceQuestion
from models.words import _

KERNEL_WIDTH = 0.25
RIDGE = 1e-3
NODES = 4
"""Gradients in one part of integrated gradients' path."""
NEAR = 1e-3
FEWEST_SAMPLES, MOST_SAMPLES, SAMPLES_PER_UNIT = 64, 1024, 8


@dataclass(frozen=True)
class Problem:
    """What is explained.

    Args:
        function: (n, features, width) float32 → (n,) float32, each row by itself.
        inputs: (features, width) float32, the embeddings as they are.
        baseline: (features, width) float32, what they are replaced by.
        units: (features,) int64: features of the same unit are taken away together; 0 … n_units − 1, in order.
        rows: How many rows the function takes at a time.
    """

    function: Callable[[Any], Any]
    inputs: Any
    baseline: Any
    units: Any
    rows: int = 1

    @property
    def n_units(self) -> int:
        """How many units there are."""
        return int(self.units.max()) + 1 if len(self.units) else 0


def require_captum() -> None:
    """Raise ``UserError`` if captum is not installed."""
    try:
        import captum.attr  # noqa: F401
    except ImportError as cause:
        raise UserError(
            "salience.missing",
            _("Salience needs the package captum, which is not installed."),
            _("Install it: pip install 'triptych[salience]'"),
        ) from cause


def n_samples(question: SalienceQuestion, n_units: int) -> int:
    """Return how many perturbed texts LIME and KernelSHAP are given."""
    return question.samples or min(max(FEWEST_SAMPLES, SAMPLES_PER_UNIT * n_units), MOST_SAMPLES)


def n_calls(question: SalienceQuestion, n_units: int, rows: int) -> int:
    """Return how many times the function will be called, at most: what progress counts against."""
    if question.method == "gradient_x_input":
        return 3
    if question.method == "integrated_gradients":
        parts = max(1, question.steps // NODES)
        return parts * (-(-NODES // rows) + 1) + 3
    evaluations = n_units + 1 if question.method == "occlusion" else n_samples(question, n_units)
    return -(-evaluations // rows) + 2


def scores_of(problem: Problem, question: SalienceQuestion) -> Any:
    """Return (features,) float32 scores by the method that was asked for.

    The score of a unit of several features is divided evenly among them, so that sums over tokens are sums of units.
    """
    if question.method == "gradient_x_input":
        return _reduced(_gradient_x_input(problem), question.reduction)
    if question.method == "integrated_gradients":
        return _reduced(_integrated_gradients(problem, question.steps), question.reduction)
    import torch

    by_unit = _of_units(problem, question)
    sizes = torch.bincount(problem.units, minlength=problem.n_units).to(by_unit)
    return (by_unit / sizes)[problem.units]


def _reduced(values: Any, reduction: str) -> Any:
    """Return one score for each row of (features, width)."""
    return values.norm(dim=-1) if reduction == "norm" else values.sum(dim=-1)


def _gradient_x_input(problem: Problem) -> Any:
    from captum.attr import InputXGradient

    inputs = problem.inputs[None].clone().requires_grad_(True)
    return InputXGradient(problem.function).attribute(inputs)[0].detach()


def _integrated_gradients(problem: Problem, steps: int) -> Any:
    """Return (features, width) from the baseline to the inputs with at most ``steps`` gradients.

    Along a language model's path the gradient changes abruptly in a few places, so evenly spaced points sum to something
    else than the change of the function. Integrals over parts of the path add up and each has a completeness error of
    its own: the part with the largest is halved until the gradients are spent or every part is complete to a thousandth
    of the whole. Each part has up to ``NODES`` Gauss–Legendre nodes.
    """
    import torch
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(problem.function)
    nodes = min(NODES, steps)

    def at(share: float) -> Any:
        return (problem.baseline + share * (problem.inputs - problem.baseline))[None]

    @cache
    def value(share: float) -> float:
        with torch.no_grad():
            return float(problem.function(at(share))[0])

    def part(start: float, end: float) -> tuple[float, float, float, Any]:
        found = method.attribute(at(end), at(start), n_steps=nodes, internal_batch_size=problem.rows)[0].detach()
        return -abs(float(found.sum()) - (value(end) - value(start))), start, end, found

    parts = [part(0.0, 1.0)]
    spent = nodes
    enough = NEAR * abs(value(1.0) - value(0.0))
    while spent + 2 * nodes <= steps and -parts[0][0] > enough:
        _worst, start, end, _found = heapq.heappop(parts)
        middle = (start + end) / 2
        for piece in (part(start, middle), part(middle, end)):
            heapq.heappush(parts, piece)
        spent += 2 * nodes
    return torch.stack([piece[3] for piece in parts]).sum(0)


def _of_units(problem: Problem, question: SalienceQuestion) -> Any:
    """Return (units,) scores from a function of which units are there: 1 as it is, 0 replaced by the baseline."""
    import torch

    step = problem.inputs - problem.baseline

    def function(present: Any) -> Any:
        with torch.no_grad():
            chosen = present.to(step.dtype)[:, problem.units]  # (n, features)
            return problem.function(problem.baseline + chosen[..., None] * step)

    ones = torch.ones(1, problem.n_units, device=problem.inputs.device)
    if problem.n_units == 1:
        return (function(ones) - function(torch.zeros_like(ones))).float()
    method = {"occlusion": _occlusion, "lime": _lime, "kernel_shap": _kernel_shap}[question.method]
    return method(function, ones, n_samples(question, problem.n_units), problem.rows)[0].detach().float()


def _occlusion(function: Callable[[Any], Any], ones: Any, _samples: int, rows: int) -> Any:
    from captum.attr import FeatureAblation

    return FeatureAblation(function).attribute(ones, 0.0, perturbations_per_eval=rows)


def _lime(function: Callable[[Any], Any], ones: Any, samples: int, rows: int) -> Any:
    import torch
    from captum._utils.models.linear_model import SkLearnRidge
    from captum.attr import Lime

    def similarity(_original: Any, _perturbed: Any, present: Any, **_given: Any) -> Any:
        distance = 1 - (present.float().mean()).sqrt()  # cosine distance of a 0/1 vector to all ones
        return torch.exp(-(distance**2) / KERNEL_WIDTH**2).sqrt().reshape(1)

    method = Lime(function, interpretable_model=SkLearnRidge(alpha=RIDGE), similarity_func=similarity)
    return method.attribute(ones, 0.0, n_samples=samples, perturbations_per_eval=rows)


def _kernel_shap(function: Callable[[Any], Any], ones: Any, samples: int, rows: int) -> Any:
    from captum.attr import KernelShap

    return KernelShap(function).attribute(ones, 0.0, n_samples=samples, perturbations_per_eval=rows)
