"""Embedding matrices and hidden states in the plane (one fit for all columns), and exact neighbours in their own space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from models.columns import Column
from models.errors import UserError
from models.events import Progress, Work
from models.opened import OpenModel
from models.prompts import prepare, tokenizer_of
from models.records.arrays import Array
from models.records.embeddings import Neighbours, Projection
from models.shelf import Shelf
from models.tokens import encode_plain, token_texts
from models.words import _

METHODS = ("pca",)
SOURCES = ("input", "output", "hidden")
_MESSAGE_BYTES = 3_500_000
_norms: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Request:
    """What to project.

    Args:
        source: ``input`` or ``output`` embedding matrix, or ``hidden`` states of a text.
        layer: For hidden states: 0 is the embedding, n the output of layer n; −1 the last.
        text: For hidden states: the text.
        method: ``pca``.
        limit: At most so many rows are returned (the fit uses all); 0 for as many as one message carries.
    """

    source: str = "input"
    layer: int = -1
    text: str = ""
    method: str = "pca"
    limit: int = 0


@dataclass(frozen=True)
class Rows:
    """Rows of one column: (N, width) float32, their token ids (positions for hidden states) and texts."""

    column: str
    values: Array
    ids: Array
    labels: tuple[str, ...]
    note: str = ""


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
        raise UserError("embeddings.none", _("{name} has no {source} embeddings.").format(name=opened.path, source=source))
    if hasattr(weight, "dequantize") and opened.quantize:
        weight = weight.dequantize()
    return weight.detach()


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
    return Rows(column.name, values, ids, tuple(token_texts(tokenizer, ids.tolist())), note)


def hidden_rows(shelf: Shelf, opened: OpenModel, column: Column, request: Request) -> Rows:
    """Return the hidden states of one layer over a text, one row per token."""
    if not request.text:
        raise UserError("text.empty", _("There is no text."), _("Type one."))
    prepared = prepare(opened, column, request.text)
    trace = shelf.trace(column, opened, prepared.ids, prepared.target_ids)
    states = next(reversed(trace.hidden.values()))
    if not -len(states) <= request.layer < len(states):
        raise UserError(
            "embeddings.layer",
            _("There is no layer {layer}; hidden states are 0 to {last}.").format(layer=request.layer, last=len(states) - 1),
        )
    values = states[request.layer].float().cpu().numpy()
    labels = tuple(token.text for token in prepared.shown)
    return Rows(column.name, values, np.arange(len(values), dtype=np.int64), labels)


def project(
    shelf: Shelf, columns: Sequence[Column], opened: Sequence[OpenModel], request: Request
) -> Work[tuple[Projection, ...]]:
    """Return each column's rows in a plane; columns of one width share the plane and its axes.

    Raises:
        UserError: If a source or method is unknown, or a column has no such rows.
    """
    if request.method not in METHODS:
        raise UserError(
            "projection.method",
            _("There is no projection {name!r}.").format(name=request.method),
            _("Use {names}.").format(names=", ".join(METHODS)),
        )
    if request.source not in SOURCES:
        raise UserError(
            "embeddings.source",
            _("There is no embedding table {source!r}.").format(source=request.source),
            _("Use {names}.").format(names=", ".join(SOURCES)),
        )
    found: list[Rows] = []
    for column, model in zip(columns, opened, strict=True):
        hidden = request.source == "hidden"
        found.append(hidden_rows(shelf, model, column, request) if hidden else vocabulary_rows(model, column, request.source))
        yield Progress(len(found), len(columns) + 1, _("reading embeddings"))
    widths = {rows.values.shape[1] for rows in found}
    note = "" if len(widths) == 1 else _("widths differ, so each model has axes of its own")
    results: dict[int, Projection] = {}
    for width in sorted(widths):
        members = [n for n, rows in enumerate(found) if rows.values.shape[1] == width]
        planes, explained = pca([found[n].values for n in members])
        for n, xy in zip(members, planes, strict=True):
            results[n] = _projection(found[n], xy, explained, request, note, len(found))
        yield Progress(len(columns) + 1, len(columns) + 1, _("projecting"))
    return tuple(results[n] for n in range(len(found)))


def pca(matrices: Sequence[Array]) -> tuple[list[Array], tuple[float, ...]]:
    """Return the rows of matrices of one width in the plane of the two largest variances of all rows together.

    Args:
        matrices: Each (N, width) float32.

    Returns:
        For each (N, 2) float32, and the share of variance of the two axes. scikit-learn's covariance solver, exact.
    """
    from sklearn.decomposition import PCA

    together = matrices[0] if len(matrices) == 1 else np.concatenate(matrices)
    n_axes = min(2, *together.shape)
    if len(together) < 2 or not np.isfinite(together).all():
        raise UserError("projection.rows", _("At least two rows of finite numbers are needed for a projection."))
    with np.errstate(invalid="ignore", divide="ignore"):  # rows that are all alike have no variance to share
        fit = PCA(n_components=n_axes, svd_solver="covariance_eigh").fit(together)
    shares = np.nan_to_num(fit.explained_variance_ratio_)
    planes = []
    for values in matrices:
        xy = np.zeros((len(values), 2), dtype=np.float32)
        xy[:, :n_axes] = fit.transform(values)
        planes.append(xy)
    return planes, tuple(float(share) for share in shares)


def _projection(rows: Rows, xy: Array, explained: tuple[float, ...], request: Request, note: str, n_columns: int) -> Projection:
    per_row = 20 + sum(len(label.encode("utf-8", "replace")) + 3 for label in rows.labels[:5000]) // max(
        1, min(5000, len(rows.labels))
    )
    most = _MESSAGE_BYTES // (n_columns * per_row)
    if request.limit:
        most = min(most, request.limit)
    notes = [rows.note, note]
    keep = np.arange(len(xy))
    if len(xy) > most:
        keep = np.linspace(0, len(xy) - 1, most).round().astype(np.int64)
        notes.append(_("{shown} of {all} rows are shown; the axes are those of all").format(shown=most, all=len(xy)))
    return Projection(
        rows.column, np.ascontiguousarray(xy[keep]), tuple(rows.labels[n] for n in keep), rows.ids[keep],
        np.linalg.norm(rows.values[keep], axis=1).astype(np.float32), request.method, request.source, explained,
        "; ".join(part for part in notes if part),
    )  # fmt: skip


def token_id(opened: OpenModel, token: int | str) -> int:
    """Return the id that is meant: an id, or a text that is one token (by itself, or after a space).

    Raises:
        UserError: If there is no such token, or the text is several.
    """
    tokenizer = tokenizer_of(opened)
    if isinstance(token, int):
        if not 0 <= token < len(tokenizer):
            raise UserError(
                "token.unknown", _("There is no token {id}; ids are 0 to {last}.").format(id=token, last=len(tokenizer) - 1)
            )
        return token
    direct = tokenizer.get_vocab().get(token)
    if direct is not None:
        return int(direct)
    split: list[str] = []
    for text in (token, " " + token):
        ids = encode_plain(tokenizer, text, add_special=False)
        if len(ids) == 1:
            return ids[0]
        split = split or token_texts(tokenizer, ids)
    raise UserError(
        "token.several",
        _("{text!r} is {n} tokens: {parts}.").format(text=token, n=len(split), parts=" | ".join(split)),
        _("Choose one of them."),
    )


def _kept(opened: OpenModel, source: str) -> tuple[Any, Any]:
    """Return (matrix float32, norms), computed once per model."""
    kept = _norms.setdefault(opened.model, {})
    if source not in kept:
        weight = matrix(opened, source)
        weight = weight[: len(tokenizer_of(opened))].float()
        kept[source] = (weight, weight.norm(dim=1))
    weight, norms = kept[source]
    return weight, norms


def neighbours(
    opened: OpenModel, name: str, token: int | str, metric: str = "cosine", k: int = 12, source: str = "input"
) -> Neighbours:
    """Return the nearest rows of an embedding matrix, exactly, in its own space; the token itself is left out.

    Args:
        opened: The model.
        name: Name of the column.
        token: Id, or a text that is one token.
        metric: ``cosine`` (larger is nearer) or ``euclidean`` (smaller is nearer).
        k: How many.
        source: ``input`` or ``output``.
    """
    import torch

    if metric not in ("cosine", "euclidean"):
        raise UserError("neighbours.metric", _("There is no metric {name!r}.").format(name=metric), _("Use cosine or euclidean."))
    center = token_id(opened, token)
    weight, norms = _kept(opened, source)
    with torch.inference_mode():
        query = weight[center]
        products = weight @ query
        cosines = products / (norms * norms[center]).clamp_min(1e-12)
        # −|x − q|² + |q|² orders as the distance does
        nearness = cosines if metric == "cosine" else 2 * products - norms.square()
        nearness[center] = -torch.inf
        most = max(1, min(k, len(weight) - 1))
        best = torch.topk(nearness, min(4 * most, len(weight) - 1)).indices
        if metric == "cosine":
            best = best[:most]
            scores = nearness[best]
        else:  # differences, not products: no cancellation between near rows
            exact = (weight[best] - query).norm(dim=1)
            order = exact.argsort(stable=True)[:most]
            best, scores = best[order], exact[order]
    ids = best.cpu().numpy().astype(np.int64)
    texts = token_texts(opened.tokenizer, [center, *ids.tolist()])
    return Neighbours(name, texts[0], metric, ids, tuple(texts[1:]), scores.cpu().numpy().astype(np.float32))
