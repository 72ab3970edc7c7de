"""lm-eval's own Hugging Face class in a process of its own: what ours is compared with.

``python -m tests.evals.hf_reference JOBS.json OUT.json``: each job is one call of ``lm_eval.simple_evaluate``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def run(jobs: list[dict[str, Any]], folder: str) -> list[dict[str, Any]]:
    """Return for each job its samples (answers and metrics by task) and results."""
    import logging

    import lm_eval
    import lm_eval.evaluator
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    lm_eval.evaluator.add_env_info = lambda storage: None  # it calls pip, which may take a minute
    manager = TaskManager(include_path=folder, include_defaults=False)
    found = []
    for job in jobs:
        arguments = {"pretrained": job["model"], "dtype": "float32"}
        made = lm_eval.simple_evaluate(
            model="hf", model_args=arguments, tasks=job["tasks"], device=job.get("device", "cpu"), bootstrap_iters=0,
            task_manager=manager, batch_size=job.get("batch_size", 3), **job.get("settings", {}),
        )  # fmt: skip
        samples = {
            task: [{"doc_id": row["doc_id"], "resps": _plain(row["resps"]), "filter": row["filter"],
                    **{metric: _plain(row[metric]) for metric in row["metrics"]}} for row in rows]
            for task, rows in made["samples"].items()
        }  # fmt: skip
        found.append({"samples": samples, "results": _plain(made["results"])})
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value.item() if hasattr(value, "item") else value


if __name__ == "__main__":
    jobs_file, target = map(Path, sys.argv[1:])
    work = json.loads(jobs_file.read_text())
    target.write_text(json.dumps(run(work["jobs"], work["folder"])), encoding="utf-8")
