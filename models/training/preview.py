"""The data of a step as the loss will see it, token by token, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import UserError
from models.events import Note, Work
from models.hub_data import fetch_named
from models.records.training import HIDDEN, IGNORED, LEARNED, PADDING, TRUNCATED, DataPreview, PreviewRow
from models.training.architectures import CAUSAL, MASKED, check_tokenizer, objective_of
from models.training.data import Document, Row, Texts, plan_rows
from models.training.formats import LABELLED
from models.training.labels import conversations
from models.training.overlap import Index
from models.training.packed import lay_out
from models.training.pairs import PairPlan, answer_document, answer_text, pair_documents
from models.training.parents import Parent, find_parent
from models.training.pretrain import PretrainSettings
from models.training.recipe import Recipe, find_step, workspace_for
from models.training.sources import PAIRS, load_rows
from models.training.spans import cut_spans
from models.training.stage import Workspace
from models.words import _

TAIL = 48
"""Tokens of a lost end that are shown."""
KINDS = ("decoder", "encoder", "encoder-decoder")


def preview(
    recipe: Recipe, step: str, n: int = 4, *, output: Path | None = None, benchmarks: Mapping[str, Sequence[str]] | None = None
) -> Work[DataPreview]:
    """Return the first rows that a step would read, and counts over all of its data.

    Args:
        recipe: The recipe.
        step: Name of the step.
        n: Rows to show.
        output: Folder of the chain, where earlier steps may be finished.
        benchmarks: Name → texts of items to look for in the data.

    Raises:
        UserError: If there is no such step, its parent is not there, or its data cannot be read.
    """
    chosen = find_step(recipe, step)
    settings, workspace = chosen.settings, workspace_for(recipe, chosen, output)
    notes: list[str] = []
    yield from fetch_named(settings)
    if chosen.stage.name in ("pretrain", "sft"):
        found = yield from _documents(settings, workspace, n, notes)
    elif chosen.stage.name in ("reward", "dpo"):
        found = yield from _pairs(settings, workspace, n, notes)
    elif chosen.stage.name == "kto":
        found = yield from _judged(settings, workspace, n, notes)
    elif chosen.stage.name in ("ppo", "grpo", "rloo", "preferences"):
        found = yield from _prompts(settings, workspace, n)
    else:
        raise UserError(
            "training.preview", _("The step {name!r} reads no rows that could be shown.").format(name=step), _("Choose another.")
        )
    rows, data, counts = found
    index = Index(data) if benchmarks else None
    overlaps = tuple(index.compare(name, items) for name, items in (benchmarks or {}).items()) if index else ()
    return DataPreview(step, chosen.stage.name, tuple(rows), *counts, overlaps, tuple(notes))


Found = tuple[list[PreviewRow], list[Row], tuple[int, int, int, int, int]]


def _load(workspace: Workspace, names: Sequence[str], settings: Any, want: str, notes: list[str]) -> Work[list[Row]]:
    work = load_rows(workspace, names, want, bad_rows=settings.bad_rows, limit=getattr(settings, "max_rows", 0))
    while True:
        try:
            event = next(work)
        except StopIteration as end:
            rows: list[Row] = end.value
            return rows
        if isinstance(event, Note):
            notes.append(event.text)
        yield event


def _parent(settings: Any, workspace: Workspace) -> Work[Parent]:
    if getattr(settings, "parent", ""):
        return (yield from find_parent(workspace, settings.parent, KINDS))
    folder = workspace.checkpoint(settings.tokenizer)
    return Parent(settings.tokenizer, folder, None, folder)


def _objective(settings: Any, parent: Parent) -> str:
    if not isinstance(settings, PretrainSettings):
        return CAUSAL
    if not settings.parent:
        return objective_of(str(settings.config.get("model_type", "llama")))
    from models.configs import read_config

    return objective_of(read_config(parent.folder).family)


def _documents(settings: Any, workspace: Workspace, n: int, notes: list[str]) -> Work[Found]:
    parent = yield from _parent(settings, workspace)
    texts, objective = Texts(parent.texts), _objective(settings, parent)
    check_tokenizer(objective, texts)
    rows = yield from _load(workspace, settings.data, settings, "documents", notes)
    laid = lay_out(texts, rows, settings.block)
    documents = laid.documents
    if objective == CAUSAL:
        order = plan_rows([len(document.ids) for document in documents], settings.block, 1.0, settings.seed)[:n]
        shown = [
            _packed(texts, [documents[at] for at in row], [laid.tails.get(at) for at in row], settings.block) for row in order
        ]
    elif objective == MASKED:
        order = plan_rows([len(document.ids) for document in documents], settings.block, 1.0, settings.seed)[:n]
        shown = [_masked(texts, [(at, documents[at]) for at in row], settings) for row in order]
    else:
        order = plan_rows([settings.block] * len(documents), settings.block, 1.0, settings.seed)[:n]
        shown = [row for (at,) in order for row in _spans(texts, documents[at], at, settings)]
    tokens = sum(len(document.ids) for document in documents)
    learned = sum(int(document.trained[1:].sum()) for document in documents)
    learned = learned if objective == CAUSAL else round(settings.mask_share * tokens)
    return shown, rows, (len(documents), tokens, learned, laid.cut, laid.dropped)


def _pairs(settings: Any, workspace: Workspace, n: int, notes: list[str]) -> Work[Found]:
    parent = yield from _parent(settings, workspace)
    texts = Texts(parent.texts)
    rows = yield from _load(workspace, settings.pairs, settings, PAIRS, notes)
    pairs, dropped = pair_documents(texts, rows, settings.max_length)
    numbers = PairPlan(len(pairs), settings).micro_batches(0, max(n, 1))[0][:n]
    shown = []
    for number in numbers:
        for title, document in zip((_("better answer"), _("worse answer")), pairs[number], strict=True):
            shown.append(_row(texts, title, document.ids, _flags(document), np.zeros(len(document.ids), np.int32)))
    every = [document for pair in pairs for document in pair]
    tokens = sum(len(document.ids) for document in every)
    return shown, rows, (len(every), tokens, sum(int(document.trained[1:].sum()) for document in every), 0, dropped)


def _judged(settings: Any, workspace: Workspace, n: int, notes: list[str]) -> Work[Found]:
    """Answers that are good or bad by themselves, in the order of the training, cut as TRL cuts them."""
    from models.training.kto import order_of

    parent = yield from _parent(settings, workspace)
    texts, longest = Texts(parent.texts), settings.max_length
    rows = yield from _load(workspace, settings.data, settings, LABELLED, notes)
    answers = texts.answers([answer_text(row["completion"]) for row in rows])
    whole = [answer_document(*pair) for pair in zip(texts.prompts(conversations(rows)), answers, strict=True)]
    kept = [at for at in order_of(len(rows), settings.seed) if whole[at].trained[:longest].any()]
    cut = {at: Document(whole[at].ids[:longest], whole[at].trained[:longest]) for at in kept}
    shown = []
    for at in kept[:n]:
        title, tail = (_("good answer") if rows[at]["label"] else _("bad answer")), whole[at].ids[longest:][:TAIL]
        ids, flags = np.concatenate([cut[at].ids, tail]), np.concatenate([_flags(cut[at]), np.full(len(tail), TRUNCATED)])
        shown.append(_row(texts, title, ids, flags, np.zeros(len(ids))))
    tokens, learned = sum(len(one.ids) for one in cut.values()), sum(int(one.trained[1:].sum()) for one in cut.values())
    n_cut = sum(len(whole[at].ids) > longest for at in kept)
    return shown, rows, (len(kept), tokens, learned, n_cut, len(rows) - len(kept))


def _prompts(settings: Any, workspace: Workspace, n: int) -> Work[Found]:
    from models.training.running import read_all

    parent = yield from _parent(settings, workspace)
    texts = Texts(parent.texts)
    rows = read_all(workspace, settings.prompts)
    prompts = [answer_document(ids, ()) for ids in texts.prompts(conversations(rows))]
    shown = [_row(texts, _("prompt"), prompt.ids, _flags(prompt), np.zeros(len(prompt.ids), np.int32)) for prompt in prompts[:n]]
    return shown, rows, (len(prompts), sum(len(prompt.ids) for prompt in prompts), 0, 0, 0)


def _flags(document: Document) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The first token of a text is read and never predicted."""
    trained = document.trained.copy()
    trained[:1] = False
    return np.where(trained, LEARNED, IGNORED).astype(np.uint8)


def _row(texts: Texts, title: str, ids: Any, flags: Any, documents: Any) -> PreviewRow:
    shown = tuple(texts.tokenizer.decode([int(token)]) for token in ids)
    return PreviewRow(title, np.asarray(ids, np.int64), np.asarray(flags, np.uint8), np.asarray(documents, np.int32), shown)


def _joined(texts: Texts, title: str, parts: Sequence[tuple[Any, Any, int]], block: int) -> PreviewRow:
    """Join (ids, flags, document) to one row, filled up to ``block``."""
    room = block - sum(len(ids) for ids, flags, _at in parts if not len(flags) or flags[0] != TRUNCATED)
    filled = [*parts, ([texts.pad] * max(0, room), [PADDING] * max(0, room), -1)]
    ids, flags = (np.concatenate([np.asarray(part[side]) for part in filled]) for side in (0, 1))
    return _row(texts, title, ids, flags, np.concatenate([np.full(len(part[0]), part[2]) for part in filled]))


def _packed(texts: Texts, documents: Sequence[Document], tails: Sequence[Any], block: int) -> PreviewRow:
    parts: list[tuple[Any, Any, int]] = []
    for at, (document, tail) in enumerate(zip(documents, tails, strict=True)):
        parts.append((document.ids, _flags(document), at))
        if tail is not None:
            parts.append((tail[:TAIL], [TRUNCATED] * len(tail[:TAIL]), at))
    return _joined(texts, _("packed texts"), parts, block)


def _masked(texts: Texts, documents: Sequence[tuple[int, Document]], settings: PretrainSettings) -> PreviewRow:
    from models.training.masked import hide

    special = np.asarray(texts.tokenizer.all_special_ids, np.int64)
    parts: list[tuple[Any, Any, int]] = []
    for at, (number, document) in enumerate(documents):
        generator = np.random.default_rng([settings.seed, 29, 0, number])
        ids, chosen = hide(document.ids, special, settings.mask_share, texts.mask, len(texts), generator)
        flags = np.full(len(ids), IGNORED)
        flags[chosen] = np.where(ids[chosen] == texts.mask, HIDDEN, LEARNED)
        parts.append((ids, flags, at))
    return _joined(texts, _("texts with hidden tokens"), parts, settings.block)


def _spans(texts: Texts, document: Document, number: int, settings: PretrainSettings) -> list[PreviewRow]:
    ids = document.ids[:-1] if len(document.ids) > 2 and document.ids[-1] == texts.end else document.ids
    generator = np.random.default_rng([settings.seed, 37, 0, number])
    read, written = cut_spans(ids, settings.mask_share, settings.span_length, texts.sentinels, texts.end, generator)
    hidden = np.where(np.isin(read, texts.sentinels), HIDDEN, IGNORED)
    return [
        _row(texts, _("what the encoder reads"), read, hidden, np.zeros(len(read))),
        _row(texts, _("what the decoder writes"), written, np.full(len(written), LEARNED), np.zeros(len(written))),
    ]
