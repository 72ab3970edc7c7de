"""One item of a run, taken apart: exact tokens, template, BOS, truncation, windows, key, and the number by a second path."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals import files
from evals.endpoints import is_endpoint
from evals.store import FILE, Request, ResponseStore, response_key, stored
from models.errors import UserError
from models.events import Work
from models.records.scores import Cell
from models.words import _

AGREE = 1e-3
"""Nats (and this share of the value) within which the second path must come out."""


@dataclass(frozen=True)
class Explained:
    """One request of an item.

    Args:
        key: Its response key.
        kind: score, rolling, generate or pseudo.
        context: Token ids before.
        continuation: Token ids that are scored; empty for generation.
        pieces: What every token says, context and continuation, spaces as ·; parts of a character say the whole of it.
        notes: BOS, truncation, windows and such, in words.
        stored: What the run kept, None if it kept nothing under this key.
        again: What the second path gives.
        agrees: Whether they are the same; None if there is nothing to compare.
    """

    key: str
    kind: str
    context: tuple[int, ...]
    continuation: tuple[int, ...]
    pieces: tuple[str, ...]
    notes: tuple[str, ...]
    stored: Any
    again: Mapping[str, Any]
    agrees: bool | None


@dataclass(frozen=True)
class Explanation:
    """One item of a run: facts (name, text) and its requests."""

    facts: tuple[tuple[str, str], ...]
    requests: tuple[Explained, ...]


def explain(run: Path, task: str, doc: str) -> Work[Explanation]:
    """Take an item of a run apart and compute it again.

    Args:
        run: A results file, or a folder that holds some; the newest with this task counts.
        task: Name of the benchmark or task.
        doc: The item's number in the task, or its id.

    Raises:
        UserError: If there is no such run, task or item, or the checkpoint is not there any more.
    """
    from evals import harness
    from models.library import load

    results, content = find(run, task)
    ours = content[files.OURS]
    row = item(results, task, doc)
    cell = files.cell_from(next(cell for cell in ours["cells"] if cell["benchmark"] == task), results)
    if is_endpoint(cell.path):
        raise UserError(
            "explain.endpoint",
            _("{name} is an endpoint: it cannot be looked into, nor its answers computed here.").format(name=cell.checkpoint),
            _("Its samples file holds what was asked and answered."),
        )
    settings = ours.get("settings") or {}
    device, dtype = str(settings.get("device") or "auto"), str(settings.get("dtype") or "auto")
    opened = yield from load(cell.path, device, dtype, str(settings.get("quantize") or ""))
    who = yield from harness.identity(opened)
    template = str(ours.get("chat_template_text") or "")
    own = template if template != opened.chat_template else ""
    kept = stored(results.parent / FILE)
    with tempfile.TemporaryDirectory() as empty:  # a run may still be writing: its own store is only read
        store = ResponseStore(Path(empty) / FILE)
        seed = int(settings.get("torch_seed") or 0)
        model = harness.CheckpointLM(opened, who, store, seed, template=own, whole_text=_by_lm_eval(cell))
        requests = list(_requests(model, row, bool(ours.get("chat_template"))))
    explained = tuple(_explained(model, request, kept) for request in requests)
    others = _others(run, task, results)
    told = [(_("also scored in this folder"), _("{names}: name the folder of one to explain it").format(names=", ".join(others)))]
    return Explanation((*_facts(cell, row, content, opened), *(told if others else ())), explained)


def _others(run: Path, task: str, results: Path) -> list[str]:
    """Return the names of the other checkpoints' folders below a run that hold the same task."""
    if run.is_file():
        return []
    found = {path.parent for path in run.rglob(f"samples_{files.sanitised(task)}_*.jsonl")} - {results.parent}
    return sorted(path.name for path in found)


def find(run: Path, task: str) -> tuple[Path, dict[str, Any]]:
    """Return the newest results file with a task, and its content.

    Raises:
        UserError: If there is none of ours.
    """
    found = [run] if run.is_file() else sorted(run.rglob("results_*.json"), key=lambda path: path.name, reverse=True)
    for path in found:
        content = files.read_results(path)
        ours = content.get(files.OURS)
        if isinstance(ours, dict) and any(cell.get("benchmark") == task for cell in ours.get("cells", [])):
            return path, content
    raise UserError(
        "explain.run",
        _("{run} holds no results of Triptych for {task}.").format(run=run, task=task),
        _("Name the output folder of an evaluation, or one checkpoint's folder in it."),
    )


def item(results: Path, task: str, doc: str) -> dict[str, Any]:
    """Return the sample of an item.

    Raises:
        UserError: If there is none of that number or id.
    """
    when = results.name.removeprefix("results_").removesuffix(".json")
    path = results.parent / f"samples_{files.sanitised(task)}_{when}.jsonl"
    if path.is_file():
        with path.open(encoding="utf-8", errors="surrogatepass") as lines:
            for line in lines:
                row: dict[str, Any] = json.loads(line)
                if doc in (str(row.get("doc_id")), str((row.get("doc") or {}).get("id", ""))):
                    return row
    raise UserError(
        "explain.item",
        _("{task} has no item {doc} in {path}.").format(task=task, doc=doc, path=path.name),
        _("Items are counted from 0, or named by their id."),
    )


def _by_lm_eval(cell: Cell) -> bool:
    """Return whether the task was lm-eval's own, over a user's file too (WikiText), as the score's convention says."""
    return "|lm-eval:" in cell.signature


def _requests(model: Any, row: Mapping[str, Any], chat: bool) -> Iterator[Request]:
    """Yield the requests of a sample, made again from its prompts."""
    from evals import decoding, harness

    for arguments in row["arguments"].values():
        context, second = arguments.get("arg_0", ""), arguments.get("arg_1")
        prompt = harness.Rendered(context) if chat else context
        if isinstance(second, Mapping):
            how = decoding.settings_of(second, model.generation)
            ids = tuple(model.tok_encode(prompt)) or (model.prefix_token_id,)
            yield model.answer_request(ids, how)
        elif second is None:
            yield model.text_request(context)
        else:
            yield model.score_request(prompt, second)


def _explained(model: Any, request: Request, known: Mapping[str, Any]) -> Explained:
    from evals import plain
    from models.tokens import tokens_of

    key = response_key(model.who, request)
    value = known.get(key)
    again = plain.answer(model.opened, request)
    ids = (*request.context, *request.continuation)
    pieces = tuple(token.text.replace(" ", "·") for token in tokens_of(model.tokenizer, "", ids))
    return Explained(
        key, request.kind, request.context, request.continuation, pieces, tuple(_notes(model, request)), value, again,
        _agree(request, value, again),
    )  # fmt: skip


def _notes(model: Any, request: Request) -> Iterator[str]:
    from evals import plain

    bos = model.tokenizer.bos_token_id
    if bos is not None:
        yield _("BOS in the context: {n}").format(n=sum(token == bos for token in request.context))
    cut = plain.truncated(model.opened, request)
    if cut:
        yield _("{n} tokens cut on the left").format(n=cut)
    if request.kind == "rolling":
        sizes = [len(after) for _before, after in plain.windows(model.opened, request)]
        yield _("windows: {sizes} predicted tokens").format(sizes=" + ".join(map(str, sizes)))
    if request.decoding and request.kind == "generate":
        yield ", ".join(f"{name}={value!r}" for name, value in request.decoding)


def _agree(request: Request, known: Any, again: Mapping[str, Any]) -> bool | None:
    if known is None or not again:
        return None
    if request.kind == "generate":
        return bool(known["text"] == again["text"])
    value = known if isinstance(known, int | float) else known[0]
    return value is not None and math.isclose(value, again["loglikelihood"], rel_tol=1e-5, abs_tol=AGREE)


def _facts(cell: Any, row: Mapping[str, Any], content: Mapping[str, Any], opened: Any) -> Iterator[tuple[str, str]]:
    ours = content[files.OURS]
    shots = (content.get("n-shot") or {}).get(cell.benchmark)
    yield _("checkpoint"), cell.path
    yield _("item"), f"{cell.benchmark} {row.get('doc_id')}"
    yield _("chat template"), _("applied") if ours.get("chat_template") else _("not applied")
    yield _("few-shot examples"), str(shots if shots is not None else "")
    yield _("precision"), f"{opened.dtype} {opened.quantize} {opened.device}".strip()
    yield _("reference"), str(row.get("target", ""))
    for one in ours["cells"]:
        if one["benchmark"] == cell.benchmark and one["metric"].partition(",")[0] in row:
            yield one["metric"], f"{row[one['metric'].partition(',')[0]]}  ({one['signature']})"
    for name in ("dtype", "weights", "tokenizer", "template", "scorer"):
        yield f"identity {name}", str((ours.get("identity") or {}).get(name, ""))
