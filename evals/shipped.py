"""Tasks that lm-eval ships, over rows of ours: its own wording, few-shot, filters and metrics, other data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evals import yaml_tasks


def task(file: str, name: str, split: str, rows: Sequence[Mapping[str, Any]], **changes: Any) -> Any:
    """Return a task.

    Args:
        file: Of lm-eval's tasks folder, such as ``truthfulqa/truthfulqa_mc1.yaml``.
        name: What the task is called in results.
        split: Of the task that the rows stand for.
        rows: Rows with the fields that the file's templates name.
        **changes: Settings in place of the file's.
    """
    from lm_eval.api.task import ConfigurableTask

    yaml_tasks.sandbox_templates()
    config = yaml_tasks.shipped_settings(file)
    for key in ("tag", "group", "dataset_path", "dataset_name", "class"):
        config.pop(key, None)
    splits = dict.fromkeys(("training_split", "validation_split", "test_split", "fewshot_split"))
    data = yaml_tasks.Splits({split: [dict(row) for row in rows]})
    config |= splits | {f"{split}_split": split, "task": name, "custom_dataset": data, "dataset_kwargs": None, **changes}
    return ConfigurableTask(config=config)
