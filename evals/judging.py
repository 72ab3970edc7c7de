"""One checkpoint on one benchmark: lm-eval builds and scores the requests, we answer them and write what came out."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from evals import (
    decoding,
    driving,
    endpoint_lm,
    fewshot,
    files,
    groups,
    guard,
    harness,
    known,
    pseudo,
    replicates,
    rescoring,
    scores,
    tasks,
    trained,
)
from evals.endpoints import Endpoint
from evals.options import EvalSettings
from evals.shards import Others, kinds
from evals.store import SCORER_REVISION, ResponseStore, score_key
from models.events import Metrics, Note, Partial, Progress, Saved, Work
from models.opened import OpenModel
from models.records.scores import Cell
from models.words import _

LIVE_SECONDS = 1.0


def run(
    opened: OpenModel | Endpoint, store: ResponseStore | Others, base: Cell, settings: EvalSettings, folder: Path
) -> Work[list[Cell]]:
    """Run one benchmark of an open checkpoint or an endpoint and write its files; of a share only the answers.

    Raises:
        UserError: If the task or the checkpoint is not fit for it.
    """
    logging.getLogger("lm_eval").setLevel(logging.ERROR)  # its warnings are about settings of ours that are meant so
    started = time.time()
    driving.seed(settings)
    near = opened.near if isinstance(opened, Endpoint) else base.path
    planned = tasks.plan(base.benchmark, near, settings.include_path, settings.allow_code)
    guards = {name: guard.install(task) for name, task in planned.tasks.items()}
    for task in planned.tasks.values():
        fewshot.install(task)
    model, chat = yield from _model(opened, planned, store, settings)
    run_once = driving.evaluation(model, planned, settings, chat)
    computed = 0
    while True:
        try:
            results = run_once()
            break
        except harness.Missing as missing:
            for watched in guards.values():
                watched.invalid.clear()
            model.keys.clear()
            computed += yield from _live(model.answer(missing.requests, settings.n_batch), base)
            if isinstance(store, Others) and store.pretend(missing.requests, planned):
                return [store.told(base, computed)]
    if isinstance(store, Others):  # all of it was known
        return [store.told(base, computed)]
    samples = {name: _samples(results["samples"].get(name, []), guards[name]) for name in planned.tasks}
    if model.masked:
        results, samples = _as_pseudo(results, samples)
    cells = _cells(results, samples, base, planned)
    if model.masked:
        cells = [replace(cell, signature=cell.signature + pseudo.SIGNATURE) for cell in cells]
    overlaps = yield from trained.of_tasks(base.path, samples, planned.tasks)
    cells = trained.beside(cells, overlaps, results.get("group_subtasks") or {})
    cells, samples, drawn = yield from rescoring.with_metrics(cells, samples, settings.metric)
    whole = _whole(results, samples, model.config(), settings, base)
    receipt = {
        "computed": computed,
        "seconds": time.time() - started,
        "chat_template": chat,
        **model.facts(chat),
        "identity": asdict(model.who),
        "settings": asdict(settings),
        "fingerprint": "" if isinstance(opened, Endpoint) else known.fingerprint(base, settings),
        "overlap": {name: trained.row(found) for name, found in overlaps.items()},
        "score_keys": _score_keys(cells, model.keys, whole, planned),
        "cells": [files.cell_row(cell, folder) for cell in cells],
        **({replicates.KEY: drawn} if any(drawn.values()) else {}),
    }
    target = files.write_run(folder, whole | {files.OURS: receipt}, samples)
    yield Saved(str(target))
    yield Metrics(0, {f"{cell.benchmark}/{cell.metric}": cell.value for cell in cells})
    return [replace(cell, run=str(target)) for cell in cells]


def _model(
    opened: OpenModel | Endpoint, planned: tasks.Plan, store: ResponseStore | Others, settings: EvalSettings
) -> Work[tuple[harness.CheckpointLM | endpoint_lm.EndpointLM, bool]]:
    """Return what lm-eval asks, and whether prompts go through a chat template."""
    if isinstance(opened, Endpoint):
        return endpoint_lm.model_of(opened, planned, store, settings)
    who = yield from harness.identity(opened)
    chat, template = driving.chat(planned, opened, settings)
    whole_text = planned.benchmark is None
    model = harness.CheckpointLM(opened, who, store, settings.torch_seed, template=template, whole_text=whole_text)
    left = decoding.not_done(model.generation)
    if left and "generate" in kinds(planned):
        text = _("{name}: its generation settings {settings} are not followed here")
        yield Note(text.format(name=Path(opened.path).name, settings=decoding.written(left)), "warning")
    return model, chat


def _as_pseudo(results: Mapping[str, Any], samples: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Call the perplexities of an encoder pseudo-perplexities, everywhere."""
    made = dict(results)
    for part in ("results", "higher_is_better"):
        made[part] = {task: pseudo.renamed(found or {}) for task, found in results[part].items()}
    return made, {task: [pseudo.renamed(row) for row in rows] for task, rows in samples.items()}


def _live(work: Work[int], base: Cell) -> Work[int]:
    """Forward the events of answering, and the cell itself now and then as it fills."""
    last = 0.0
    while True:
        try:
            event = next(work)
        except StopIteration as end:
            return int(end.value)
        yield event
        if isinstance(event, Progress) and time.monotonic() - last > LIVE_SECONDS:
            last = time.monotonic()
            yield Partial(replace(base, state="running", n=int(event.done), n_total=int(event.total)))


def _samples(rows: Sequence[dict[str, Any]], watched: Any) -> list[dict[str, Any]]:
    """Return lm-eval's samples as its files have them, with our verdict, end of answer and mark of what is invalid."""
    judge = watched.task.config.process_results
    outcomes = getattr(judge, "outcomes", [])
    made = []
    for place, row in enumerate(rows):
        arguments = {
            f"gen_args_{i}": {f"arg_{j}": getattr(argument, "prompt", argument) for j, argument in enumerate(one)}
            for i, one in enumerate(row["arguments"])
        }
        extra: dict[str, Any] = {"invalid": True} if watched.invalid[place] else {}
        if outcomes and outcomes[place].verdict:
            extra["verdict"] = outcomes[place].verdict
        stops = [getattr(answer, "stop", "") for answers in row["resps"] for answer in answers]
        if any(stops):
            extra["stop"] = stops[0]
        made.append({**row, "arguments": arguments, "resps": _texts(row["resps"]), "target": str(row["target"]), **extra})
        made[-1]["filtered_resps"] = _texts(row["filtered_resps"])
    return made


def _texts(value: Any) -> Any:
    return [_texts(part) for part in value] if isinstance(value, list | tuple) else str(value)


def _cells(results: Mapping[str, Any], samples: Mapping[str, Any], base: Cell, planned: Any) -> list[Cell]:
    made: list[Cell] = []
    for name in planned.tasks:
        better = results["higher_is_better"].get(name, {}) or {}
        one = replace(base, benchmark=name)
        made += scores.cells(one, samples.get(name, []), results["results"][name], better, planned.benchmark)
    made = [replace(cell, n_skipped=_skipped(results, samples, cell.benchmark)) for cell in made]
    return made + groups.cells(base, results, made)


def _skipped(results: Mapping[str, Any], samples: Mapping[str, Any], task: str) -> int:
    """Return how many items of a task were left out, by ``--limit`` or ``--samples``."""
    counts = (results.get("n-samples") or {}).get(task) or {}
    asked = {row["doc_id"] for row in samples.get(task, [])}
    return max(0, int(counts.get("original") or 0) - len(asked))


def _whole(
    results: Mapping[str, Any], samples: Mapping[str, Any], config: Mapping[str, Any], settings: EvalSettings, base: Cell
) -> dict[str, Any]:
    """Return the results file in lm-eval's form."""
    whole = {key: value for key, value in results.items() if key != "samples"}
    whole["config"] = {
        "model_args": {"pretrained": base.checkpoint},
        **config,
        "batch_size": settings.batch_size,
        "use_cache": None,
        "limit": settings.n_items,
        "bootstrap_iters": 0,
        "gen_kwargs": driving.gen_kwargs(settings) or None,
        "random_seed": settings.seed,
        **{f"{kind}_seed": getattr(settings, f"{kind}_seed") for kind in ("numpy", "torch", "fewshot")},
    }
    whole |= {"date": time.time(), "lm_eval_version": version("lm-eval"), "transformers_version": version("transformers")}
    whole |= {"model_source": "triptych", "model_name": base.checkpoint}
    whole |= {"system_instruction": settings.system_instruction or None}
    whole["model_name_sanitized"] = files.sanitised(base.checkpoint)
    whole["task_hashes"] = {name: _task_hash(rows) for name, rows in samples.items()}
    return whole


def _score_keys(
    cells: Sequence[Cell], keys: Mapping[str, Sequence[str]], whole: Mapping[str, Any], planned: tasks.Plan
) -> dict[str, str]:
    """Return benchmark/metric → score key: the answers and items of its task (of a group: its tasks), and who scored them."""
    subtasks, made = whole.get("group_subtasks") or {}, {}
    for cell in cells:
        members = sorted(groups.leaves(cell.benchmark, subtasks)) or [cell.benchmark]
        rest = [key for name in members for key in (*keys.get(name, ()), whole["task_hashes"].get(name, ""))]
        made[f"{cell.benchmark}/{cell.metric}"] = score_key(rest, cell.metric, _scorer(cell, planned))
    return made


def _scorer(cell: Cell, planned: tasks.Plan) -> str:
    """Return what scored a cell: revisions of ours, or lm-eval's version as the convention has it."""
    if planned.benchmark is None:
        return f"{cell.signature} {SCORER_REVISION}"
    name = cell.metric.removeprefix("pseudo_")
    revision = next((one.metric.revision for one in planned.benchmark.measures if one.name == name), 0)
    return f"{SCORER_REVISION}.{planned.benchmark.revision}.{revision}"


def _task_hash(rows: Sequence[Mapping[str, Any]]) -> str:
    whole = "".join(row["doc_hash"] + row["prompt_hash"] + row["target_hash"] for row in rows)
    return hashlib.sha256(whole.encode("utf-8")).hexdigest()
