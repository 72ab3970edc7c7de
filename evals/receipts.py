"""What a score rests on, from its results file: convention, counts, seeds, keys, template, precision, versions."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evals import files, replicates
from models.records.evaluations import Receipt
from models.records.scores import Cell
from models.words import N_, _

GROUPS = {
    "score": N_("Score"), "prompt": N_("Prompt"), "model": N_("Model"), "identity": N_("Identity"), "run": N_("Run"),
}  # fmt: skip
LONGEST = 2000
_CONFIG = {
    "model_args": "model", "model_source": "model", "model_dtype": "model", "model_revision": "model", "model_sha": "model",
    "model_num_parameters": "model", "device": "model", "batch_size": "run", "limit": "run", "gen_kwargs": "prompt",
    "random_seed": "run", "numpy_seed": "run", "torch_seed": "run", "fewshot_seed": "run", "use_cache": "run",
    "bootstrap_iters": "run",
}  # fmt: skip
_TOP = {
    "system_instruction": "prompt", "fewshot_as_multiturn": "prompt", "chat_template_sha": "prompt",
    "tokenizer_bos_token": "prompt", "tokenizer_eos_token": "prompt", "tokenizer_pad_token": "prompt", "max_length": "model",
    "model_name": "model", "lm_eval_version": "run", "transformers_version": "run", "git_hash": "run",
    "total_evaluation_time_seconds": "run",
}  # fmt: skip
_OF_TASK = (
    "output_type", "description", "fewshot_delimiter", "target_delimiter", "generation_kwargs", "repeats", "dataset_path",
)  # fmt: skip
Fact = tuple[str, str, str]


def receipt(cell: Cell) -> Receipt:
    """Return what a score rests on; what its file does not say is left out."""
    content = files.read_results(Path(cell.run)) if cell.run else {}
    facts = [*_score(cell), *_task(content, cell), *_config(content), *_ours(content, cell), *_file(content, cell)]
    order = list(GROUPS)
    kept = [(group, name, value[:LONGEST]) for group, name, value in facts if value not in ("", "None", "{}")]
    kept = list({(group, name): (group, name, value) for group, name, value in kept}.values())
    kept.sort(key=lambda fact: order.index(fact[0]))
    title = f"{cell.checkpoint} · {cell.benchmark} · {cell.metric}"
    return Receipt(title, tuple((_(GROUPS[group]), name, value) for group, name, value in kept))


def _number(value: float) -> str:
    return repr(value) if math.isfinite(value) else _("invalid")


def overlap_text(cell: Cell) -> str:
    """Return how many items stand in the training data, in words."""
    if cell.n_overlap < 0:
        return _("not known: {why}").format(why=cell.overlap or _("nothing tells what it was trained on"))
    share = cell.n_overlap / cell.n_compared if cell.n_compared else 0.0
    text = _("{n} of {all} ({share:.1%}), whole or by 13 words; looked for in {names}")
    return text.format(n=cell.n_overlap, all=cell.n_compared, share=share, names=cell.overlap)


def better_text(cell: Cell) -> str:
    """Return which way is better, in words."""
    return _("neither direction") if cell.neutral else _("higher is better") if cell.higher_is_better else _("lower is better")


def _score(cell: Cell) -> Iterator[Fact]:
    yield "score", _("value"), _number(cell.value)
    if math.isfinite(cell.low) and math.isfinite(cell.high):
        yield "score", _("95 % interval"), f"{cell.low!r} – {cell.high!r}"
    yield "score", _("better"), better_text(cell)
    yield "score", _("items scored"), str(cell.n)
    yield "score", _("failed"), str(cell.n_failed)
    yield "score", _("skipped"), str(cell.n_skipped)
    yield "score", _("items in the training data"), overlap_text(cell)
    yield "score", _("state"), cell.state
    yield "score", _("convention"), cell.signature
    yield "score", _("computed by"), cell.source or "Triptych"


def _task(content: Mapping[str, Any], cell: Cell) -> Iterator[Fact]:
    """Yield what lm-eval's own keys say of the task."""
    task = cell.benchmark
    keys = {"versions": _("version of the task"), "n-shot": _("few-shot examples"), "task_hashes": _("task hash")}
    for key, name in keys.items():
        value = _of(content.get(key), task)
        if value is not None:
            yield "identity" if key == "task_hashes" else "prompt", name, str(value)
    counts = _of(content.get("n-samples"), task)
    if isinstance(counts, Mapping):
        text = _("{n} of {all}").format(n=counts.get("effective", "?"), all=counts.get("original", "?"))
        yield "score", _("items asked"), text
    config = _of(content.get("configs"), task)
    if isinstance(config, Mapping):
        for key in _OF_TASK:
            if config.get(key) not in (None, "", {}, []):
                value = config[key]
                yield "prompt", key, value if isinstance(value, str) and value.isprintable() else json.dumps(value, default=str)


def _of(table: Any, key: str) -> Any:
    return table.get(key) if isinstance(table, Mapping) else None


def _config(content: Mapping[str, Any]) -> Iterator[Fact]:
    config = content.get("config")
    for key, group in _CONFIG.items():
        value = config.get(key) if isinstance(config, Mapping) else None
        if value not in (None, ""):
            yield group, key, value if isinstance(value, str) else json.dumps(value, default=str)
    for key, group in _TOP.items():
        if content.get(key) not in (None, ""):
            yield group, key, str(content[key])


def _ours(content: Mapping[str, Any], cell: Cell) -> Iterator[Fact]:
    """Yield what our own part of the file says."""
    ours = content.get(files.OURS)
    if not isinstance(ours, Mapping):
        template = content.get("chat_template")
        if files.OURS not in content and "chat_template" in content:
            yield "prompt", _("chat template"), _("applied") if template else _("not applied")
        return
    yield "prompt", _("chat template"), _("applied") if ours.get("chat_template") else _("not applied")
    yield "run", _("seed"), str(cell.seed)
    yield "run", _("answers computed in this run"), str(ours.get("computed", ""))
    if isinstance(ours.get("seconds"), int | float):
        yield "run", _("seconds"), f"{ours['seconds']:.1f}"
    yield "identity", _("score key"), str(_of(ours.get("score_keys"), f"{cell.benchmark}/{cell.metric}") or "")
    yield "identity", _("fingerprint of the run"), str(ours.get("fingerprint") or "")
    identity = ours.get("identity")
    for key, value in identity.items() if isinstance(identity, Mapping) else ():
        yield ("model" if key in ("dtype", "quantize", "device_kind") else "identity"), str(key), str(value)
    if (drawn := replicates.read(cell)) is not None:
        yield "score", _("paired comparisons"), replicates.told(drawn)
    settings = ours.get("settings")
    for key, value in settings.items() if isinstance(settings, Mapping) else ():
        if value not in (None, "", 0, False, "auto"):
            yield "run", str(key), str(value)
    known = {
        "chat_template", "computed", "seconds", "score_keys", "fingerprint", "identity", "settings", "cells", "overlap",
        replicates.KEY,
    }  # fmt: skip
    for key, value in ours.items():
        if key not in known and isinstance(value, str | int | float | bool):
            yield "prompt", str(key), str(value)


def _file(content: Mapping[str, Any], cell: Cell) -> Iterator[Fact]:
    yield "model", _("checkpoint"), cell.path or cell.checkpoint
    yield "run", _("file"), cell.run
    date = content.get("date")
    if isinstance(date, int | float):
        yield "run", _("date"), datetime.fromtimestamp(float(date), UTC).isoformat(timespec="seconds")
