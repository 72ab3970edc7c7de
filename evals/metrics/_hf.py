"""A MetricSpec as an ``evaluate.Metric``, for whoever works with that library."""

from __future__ import annotations

from typing import Any

from evals.metrics._spec import MetricSpec


def build(spec: MetricSpec) -> Any:
    """Return an ``evaluate.Metric`` whose ``compute(predictions=, references=)`` gives value, n and signature."""
    import datasets
    import evaluate

    kinds = {"texts": "string", "likelihood": "float64", "verdict": "string"}
    features = {"predictions": datasets.Value(kinds[spec.inputs])}
    if spec.inputs == "texts":
        features["references"] = datasets.Sequence(datasets.Value("string"))
    elif spec.inputs == "likelihood":
        features["references"] = datasets.Value("string")

    class SpecMetric(evaluate.Metric):  # type: ignore[misc]
        def _build_data_dir(self) -> str:
            return ""  # the library would make a cache folder in the home directory

        def _info(self) -> Any:
            return evaluate.MetricInfo(description=spec.description, citation="", features=datasets.Features(features))

        def compute(self, *, predictions: Any = None, references: Any = None, **_: Any) -> dict[str, Any]:
            """Check the raw inputs before the library converts them, then compute."""
            if spec.inputs == "texts":
                from evals.metrics import _checks

                pairs = _checks.texts(spec.name, predictions, references)
                return self._scored([pair[0] for pair in pairs], [pair[1] for pair in pairs])
            return self._scored(predictions, references)

        def _scored(self, predictions: Any, references: Any) -> dict[str, Any]:
            given = {} if spec.inputs == "verdict" else {"references": references}
            result: dict[str, Any] = super().compute(predictions=predictions, **given)
            return result

        def _compute(self, predictions: Any, references: Any = ()) -> dict[str, Any]:
            score = spec.score(list(predictions), list(references))
            return {spec.name: score.value, "n": score.n, "signature": score.signature}

    return SpecMetric(keep_in_memory=True, experiment_id="triptych")
