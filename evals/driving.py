"""lm-eval's evaluator, called with its own meaning of every setting, and without its caches, bars and bootstrap."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from evals.options import EvalSettings
from evals.tasks import Plan
from models.errors import UserError
from models.opened import OpenModel
from models.words import _


def seed(settings: EvalSettings) -> None:
    """Seed Python's, numpy's and torch's generators, as lm-eval does before it loads tasks."""
    import random

    import numpy as np
    import torch

    random.seed(settings.seed)
    if settings.numpy_seed is not None:
        np.random.seed(settings.numpy_seed)
    torch.manual_seed(settings.torch_seed)


def chat(planned: Plan, opened: OpenModel, settings: EvalSettings) -> tuple[bool, str]:
    """Return whether prompts go through a chat template, and its text where it is not the checkpoint's own.

    Raises:
        UserError: If a named template is neither one of the tokenizer's nor a file.
    """
    wanted = settings.apply_chat_template
    if wanted is None:
        return bool(planned.benchmark is not None and planned.benchmark.chat and opened.chat_template), ""
    if isinstance(wanted, bool):
        return wanted, ""
    named = getattr(opened.tokenizer, "chat_template", None)
    templates = dict(named) if isinstance(named, dict) else {}
    if wanted in templates:
        return True, str(templates[wanted])
    path = Path(wanted)
    if path.is_file():
        return True, path.read_text(encoding="utf-8")
    raise UserError(
        "eval.template",
        _("{name} has no chat template {wanted!r}.").format(name=Path(opened.path).name, wanted=wanted),
        _("It has {names}; a file with a Jinja template can be named too.").format(names=", ".join(sorted(templates)) or "-"),
    )


def gen_kwargs(settings: EvalSettings) -> dict[str, Any]:
    """Return ``--gen-kwargs`` as a mapping: JSON, or lm-eval's ``key=value,key=value``.

    Raises:
        UserError: If it is neither.
    """
    text = settings.gen_kwargs.strip()
    if not text:
        return {}
    try:
        found = json.loads(text) if text.startswith("{") else pairs(text)
    except ValueError as error:
        raise UserError(
            "eval.gen_kwargs",
            _("--gen-kwargs {text!r} cannot be read.").format(text=text[:80]),
            _("Write it as temperature=0.7,top_p=0.9 or as JSON."),
        ) from error
    return dict(found)


def pairs(text: str) -> dict[str, Any]:
    """Return lm-eval's ``key=value,key=value`` as a mapping; numbers and truth values are read as such.

    Raises:
        ValueError: If a part has no name or no value.
    """
    from lm_eval._cli.utils import handle_cli_value_string, split_top_level

    found = {}
    for part in split_top_level(text):
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            raise ValueError(part)
        found[name.strip()] = handle_cli_value_string(value)
    return found


def evaluation(model: Any, planned: Plan, settings: EvalSettings, templated: bool) -> Callable[[], dict[str, Any]]:
    """Prepare the tasks and return what runs lm-eval on them; it may be called again and builds the same requests."""
    import random

    import numpy as np
    import torch

    given, chosen = gen_kwargs(settings), settings.chosen()
    for name, task in planned.tasks.items():
        _check_items(task, name, chosen.get(name, ()))
        if given and task.get_config("output_type") == "generate_until":
            task.set_config(key="generation_kwargs", value=given, update=True)
        if settings.num_fewshot is not None and task.get_config("num_fewshot") != 0:
            task.set_config(key="num_fewshot", value=settings.num_fewshot)
        if task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()

    def run() -> dict[str, Any]:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        return _evaluate(model, planned, settings, templated)

    return run


def _check_items(task: Any, name: str, chosen: Sequence[int]) -> None:
    """Refuse items that a task has not.

    Raises:
        UserError: With the number of items that it has.
    """
    n = len(task.eval_docs) if chosen else 0
    if chosen and max(chosen) >= n:
        raise UserError(
            "eval.samples",
            _("--samples names item {number} of {name}, which has {n}.").format(number=max(chosen), name=name, n=n),
            _("Items are counted from 0."),
        )


def _evaluate(model: Any, planned: Plan, settings: EvalSettings, templated: bool) -> dict[str, Any]:
    from lm_eval.evaluator import evaluate

    for task in planned.tasks.values():
        task.set_fewshot_seed(seed=settings.fewshot_seed)
        judge = task.config.process_results
        if hasattr(judge, "outcomes"):
            judge.outcomes.clear()
    turns = templated if settings.fewshot_as_multiturn is None else settings.fewshot_as_multiturn
    with quiet_bars():
        results: dict[str, Any] = evaluate(
            lm=model,
            task_dict={"tasks": dict(planned.tasks), "groups": dict(planned.groups), "group_map": {}},
            limit=settings.n_items,
            samples=settings.chosen() or None,
            cache_requests=False,
            bootstrap_iters=0,
            system_instruction=settings.system_instruction or None,
            apply_chat_template=templated,
            fewshot_as_multiturn=turns,
            confirm_run_unsafe_code=settings.allow_code,
        )
    return results


@contextlib.contextmanager
def quiet_bars() -> Iterator[None]:
    """Keep lm-eval from drawing progress bars on stderr: events say how far the work is."""
    from lm_eval.api import task

    before = task.tqdm
    task.tqdm = lambda iterable, *_places, **_settings: iterable
    try:
        yield
    finally:
        task.tqdm = before
