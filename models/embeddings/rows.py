"""Vectors of one column: rows of its embedding tables, its positional table, or hidden states of a text or of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from models.columns import Column, Sampler
from models.embeddings.texts import read_texts
from models.errors import UserError
from models.events import Progress, Work
from models.opened import OpenModel
from models.prompts import Prepared, prepare, tokenizer_of
from models.records.arrays import Array
from models.records.embeddings import KINDS, RowsAsked
from models.shelf import Shelf
from models.tokens import piece_names, piece_style, special_ids, token_texts
from models.words import _

SOURCES = ("input", "output", "positions", "hidden", "decoder")
PLACES = ("each", "last", "mean")
_BYTE = "\ufffd"


@dataclass(frozen=True)
class Rows:
    """Vectors of one column.

    Args:
        values: (N, width) float32.
        ids: (N,) token ids, positions or rows of a file.
        labels: N texts.
        kinds: (N,) uint8, indexes into ``KINDS``.
        groups: (N,) int32, row of the file that each belongs to.
        n_layers: Hidden states that there are, less one.
        fields: Further numbers per row, such as a numeric column of the file.
    """

    column: str
    values: Array
    ids: Array
    labels: tuple[str, ...]
    kinds: Array
    groups: Array
    note: str = ""
    n_layers: int = 0
    fields: Mapping[str, Array] = field(default_factory=dict)


def matrix(opened: OpenModel, source: str) -> Any:
    """Return the input or output embedding matrix (vocab, width), as the model holds it.

    Raises:
        UserError: If there is no such matrix.
    """
    if source not in ("input", "output"):
        raise UserError(
            "embeddings.source",
            _("There is no embedding table {source!r}.").format(source=source),
            _("Use input or output."),
        )
    layer = opened.model.get_input_embeddings() if source == "input" else opened.model.get_output_embeddings()
    weight = getattr(layer, "weight", None)
    if weight is None or weight.ndim != 2:
        raise UserError("embeddings.none", _("{name} has no {source} embeddings.").format(name=opened.name, source=source))
    if hasattr(weight, "dequantize") and opened.quantize:
        weight = weight.dequantize()
    return weight.detach()


def rows_of(shelf: Shelf, column: Column, asked: RowsAsked) -> Work[Rows]:
    """Return the vectors that are asked for; hidden states are computed once while the model stays open.

    Raises:
        UserError: If there are no such vectors.
    """
    opened = yield from shelf.open(column)
    if asked.source not in SOURCES:
        raise UserError(
            "embeddings.source",
            _("There is no embedding table {source!r}.").format(source=asked.source),
            _("Use {names}.").format(names=", ".join(SOURCES)),
        )
    key = ("rows", replace(column, sampler=Sampler(), label=""), column.name, asked, stamp(asked.file))
    found: Rows = yield from shelf.remembered(key, lambda: _make(shelf, opened, column, asked))
    return found


def stamp(file: str) -> tuple[int, int]:
    """Return size and time of a file, so that one that was changed is read again; zeros for none."""
    try:
        status = Path(file).expanduser().stat() if file else None
    except OSError:
        status = None
    return (status.st_size, status.st_mtime_ns) if status is not None else (0, 0)


def _make(shelf: Shelf, opened: OpenModel, column: Column, asked: RowsAsked) -> Work[Rows]:
    yield Progress(0, 0, _("reading embeddings"))
    if asked.source in ("input", "output"):
        return vocabulary_rows(opened, column, asked.source)
    if asked.source == "positions":
        from models.embeddings.positions import position_rows

        return position_rows(opened, column)
    if asked.place not in PLACES:
        what = _("There is no choice of positions {name!r}.").format(name=asked.place)
        raise UserError("embeddings.place", what, _("Use {names}.").format(names=", ".join(PLACES)))
    if asked.file:
        return (yield from file_rows(opened, column, asked))
    return text_rows(shelf, opened, column, asked)


def vocabulary_rows(opened: OpenModel, column: Column, source: str) -> Rows:
    """Return every row of an embedding matrix that the tokenizer has a token for."""
    tokenizer = tokenizer_of(opened)
    weight = matrix(opened, source)
    n_tokens = min(len(tokenizer), int(weight.shape[0]))
    ids = np.arange(n_tokens, dtype=np.int64)
    note = ""
    other = opened.model.get_output_embeddings() if source == "input" else opened.model.get_input_embeddings()
    if getattr(other, "weight", None) is not None and other.weight.data_ptr() == weight.data_ptr():
        note = _("input and output embeddings are one matrix")
    values = weight[:n_tokens].float().cpu().numpy()
    labels = tuple(token_texts(tokenizer, ids.tolist()))
    kinds = token_kinds(labels, ids, special_ids(tokenizer), _telling(tokenizer, piece_names(tokenizer, ids.tolist())))
    return Rows(column.name, values, ids, labels, kinds, np.zeros(n_tokens, np.int32), note)


def token_kinds(labels: tuple[str, ...], ids: Array, special: frozenset[int], pieces: Sequence[str] = ()) -> Array:
    """Return (N,) uint8: what kind of token each is, an index into ``KINDS``.

    A word begins with a space, or, where ``pieces`` (the vocabulary's names) are given, with a piece that has no ``##``.
    """
    begins = [not piece.startswith("##") for piece in pieces] or [label[:1].isspace() for label in labels]
    rows = zip(labels, ids, begins, strict=True)
    return np.fromiter((KINDS.index(_kind(text, int(i) in special, first)) for text, i, first in rows), np.uint8)


def _telling(tokenizer: Any, pieces: Sequence[str]) -> Sequence[str]:
    """Return pieces where they say what begins a word (WordPiece), else none: there the spaces do."""
    return pieces if piece_style(tokenizer) == "wordpiece" else ()


def _kind(text: str, special: bool, begins: bool) -> str:
    if special:
        return "special"
    bare = text.strip()
    if not bare:
        return "space"
    if _BYTE in bare:
        return "byte"
    if any(letter.isalpha() for letter in bare):
        if not all(ord(letter) < 0x250 for letter in bare if letter.isalpha()):
            return "other script"
        return "word" if begins else "inside"
    return "number" if any(letter.isnumeric() for letter in bare) else "mark"


def states_of(hidden: Mapping[str, tuple[Any, ...]], opened: OpenModel, source: str) -> tuple[Any, ...]:
    """Return the hidden states of the stack that is meant, each (time, width).

    Raises:
        UserError: If the model has no decoder.
    """
    if source == "decoder" and opened.kind == "encoder":
        raise UserError("embeddings.decoder", _("{name} has no decoder.").format(name=opened.name), _("Choose hidden states."))
    wanted = "encoder" if source == "hidden" and "encoder" in hidden else list(hidden)[-1]
    return hidden[wanted]


def check_layer(states: tuple[Any, ...], layer: int) -> None:
    """Raise ``UserError`` unless the layer is among the states."""
    if not -len(states) <= layer < len(states):
        text = _("There is no layer {layer}; hidden states are 0 to {last}.")
        raise UserError("embeddings.layer", text.format(layer=layer, last=len(states) - 1))


def text_rows(shelf: Shelf, opened: OpenModel, column: Column, asked: RowsAsked) -> Rows:
    """Return hidden states of one layer over the text: of each token, the last, or their mean."""
    if not asked.text:
        raise UserError("text.empty", _("There is no text."), _("Type one."))
    prepared = prepare(opened, column, asked.text)
    trace = shelf.trace(column, opened, prepared.ids, prepared.target_ids)
    states = states_of(trace.hidden, opened, asked.source)
    check_layer(states, asked.layer)
    values = states[asked.layer].float().cpu().numpy()
    tokens = prepared.tokens if len(prepared.tokens) == len(values) and asked.source == "hidden" else prepared.shown
    labels = tuple(token.text for token in tokens)
    special = frozenset(n for n, token in enumerate(tokens) if token.special)
    ids = np.arange(len(values), dtype=np.int64)
    kinds = token_kinds(labels, ids, special, _telling(opened.tokenizer, [token.piece for token in tokens]))
    if asked.place != "each":
        values, labels = _pooled(values, asked.place), (asked.text[:200],)
        ids, kinds = ids[:1], np.array([KINDS.index("word")], np.uint8)
    return Rows(column.name, values, ids, labels, kinds, np.zeros(len(values), np.int32), "", len(states) - 1)


def _pooled(values: Array, place: str) -> Array:
    return np.asarray(values[-1:] if place == "last" else values.mean(axis=0, keepdims=True), dtype=np.float32)


def file_rows(opened: OpenModel, column: Column, asked: RowsAsked) -> Work[Rows]:
    """Return hidden states over every text of a file, one forward for each; rows that cannot be used are named."""
    texts = read_texts(asked.file, asked.field)
    bad = list(texts.bad)
    found: list[tuple[int, Array, tuple[str, ...], Array]] = []
    n_layers = 0
    for number, (row, text) in enumerate(zip(texts.rows, texts.texts, strict=True)):
        yield Progress(number, len(texts.texts), _("reading texts"))
        try:
            prepared = prepare(opened, column, text)
            states = _forward(opened, prepared, asked.source)
        except UserError as error:
            if error.id not in ("text.long", "text.empty"):
                raise
            bad.append((row, error.what))
            continue
        check_layer(states, asked.layer)
        n_layers = len(states) - 1
        values = states[asked.layer].float().cpu().numpy()
        labels = tuple(token.text for token in prepared.tokens)
        special = frozenset(n for n, token in enumerate(prepared.tokens) if token.special)
        pieces = _telling(opened.tokenizer, [token.piece for token in prepared.tokens])
        kinds = token_kinds(labels, np.arange(len(labels)), special, pieces)
        if asked.place != "each":
            values, labels, kinds = _pooled(values, asked.place), (text[:200],), np.array([KINDS.index("word")], np.uint8)
        found.append((row, values, labels, kinds))
    if not found:
        raise UserError("texts.none", _("{path} has no text that can be read.").format(path=asked.file), bad_rows(bad))
    groups = np.concatenate([np.full(len(v), row, np.int32) for row, v, _l, _k in found])
    ids = groups.astype(np.int64) if asked.place != "each" else np.concatenate([np.arange(len(v)) for _r, v, _l, _k in found])
    kept = {row: n for n, row in enumerate(texts.rows)}
    order = [kept[int(row)] for row in groups]
    labels = tuple(label for _r, _v, some, _k in found for label in some)
    return Rows(
        column.name, np.concatenate([v for _r, v, _l, _k in found]), ids, labels,
        np.concatenate([k for _r, _v, _l, k in found]), groups, bad_rows(bad), n_layers,
        {name: values[order] for name, values in texts.fields.items()},
    )  # fmt: skip


def bad_rows(bad: list[tuple[int, str]], most: int = 5) -> str:
    """Return one sentence that names the rows of a file that could not be used; empty if there are none."""
    if not bad:
        return ""
    named = "; ".join(f"{row}: {why.rstrip('.')}" for row, why in bad[:most])
    more = _(" and {n} more").format(n=len(bad) - most) if len(bad) > most else ""
    return _("left out rows {rows}").format(rows=named) + more


def _forward(opened: OpenModel, prepared: Prepared, source: str) -> tuple[Any, ...]:
    """Return the hidden states of one text; nothing of the attention is kept."""
    import torch

    from models.running import forward_of
    from models.trace import accepts, check_ids, check_length

    check_ids(opened, prepared.ids)
    check_length(opened, len(prepared.ids))
    model = opened.model
    if opened.kind == "encoder-decoder":
        if source == "decoder":
            what = _("The decoder of {name} reads a target, which a file of texts does not have.").format(name=opened.name)
            raise UserError("embeddings.decoder", what, _("Choose hidden states."))
        model = model.get_encoder()
    options: dict[str, Any] = {"use_cache": False} if accepts(opened.model, "use_cache") and model is opened.model else {}
    if accepts(opened.model, "logits_to_keep") and model is opened.model:
        options["logits_to_keep"] = 1
    ids = torch.tensor([list(prepared.ids)], device=opened.device)
    with torch.inference_mode(), forward_of(opened):
        outputs = model(input_ids=ids, output_hidden_states=True, return_dict=True, **options)
    return states_of({"self": tuple(state[0] for state in outputs.hidden_states)}, opened, source)
