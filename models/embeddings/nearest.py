"""Exact neighbours in the original space, and sums of vectors with the rows nearest to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from models.embeddings.rows import Rows, matrix
from models.errors import UserError
from models.opened import OpenModel
from models.prompts import tokenizer_of
from models.records.embeddings import Analogy, Neighbours
from models.tokens import encode_plain, token_texts
from models.words import _

METRICS = ("cosine", "euclidean")
_kept: WeakKeyDictionary[Any, dict[str, Table]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Table:
    """Rows to look through.

    Args:
        weight: (N, width) float32 tensor.
        norms: (N,) lengths of the rows.
        turned: (width, N), the same columns first, where it is kept: a product of all rows with one vector is then a sum of
            long rows, twice as fast on a processor.
    """

    weight: Any
    norms: Any
    turned: Any = None

    def products(self, query: Any) -> Any:
        """Return (N,) products of every row with a vector (width,)."""
        return self.weight @ query if self.turned is None else query @ self.turned


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
    direct = tokenizer.convert_tokens_to_ids(token)
    if direct is not None and tokenizer.convert_ids_to_tokens(int(direct)) == token:
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


def table(opened: OpenModel, source: str) -> Table:
    """Return the rows of an embedding matrix, made ready once per model."""
    kept = _kept.setdefault(opened.model, {})
    if source not in kept:
        weight = matrix(opened, source)[: len(tokenizer_of(opened))].float()
        turned = weight.t().contiguous() if weight.device.type == "cpu" else None
        kept[source] = Table(weight, weight.norm(dim=1), turned)
    return kept[source]


def check_metric(metric: str) -> None:
    """Raise ``UserError`` unless this is a metric."""
    if metric not in METRICS:
        what = _("There is no metric {name!r}.").format(name=metric)
        raise UserError("neighbours.metric", what, _("Use cosine or euclidean."))


def nearest(rows: Table, query: Any, metric: str, k: int, left_out: Sequence[int] = ()) -> tuple[Any, Any]:
    """Return (rows, scores) of the k rows nearest to a vector, nearest first, exactly.

    Args:
        rows: The rows.
        query: (width,) tensor.
        metric: ``cosine`` (larger is nearer) or ``euclidean`` (smaller is nearer).
        k: How many.
        left_out: Rows that may not be among them.

    Returns:
        (≤ k,) int64 and float32 arrays.
    """
    import torch

    with torch.inference_mode():
        products, length = rows.products(query).cpu().numpy(), float(query.norm())
        norms = rows.norms.cpu().numpy()  # numpy from here on: so little work is not worth waking torch's threads
        # −|x − q|² + |q|² orders as the distance does
        cosine = metric == "cosine"
        nearness = products / np.maximum(norms * length, 1e-12) if cosine else 2 * products - norms**2
        nearness[list(left_out)] = -np.inf
        room = max(len(nearness) - len(set(left_out)), 0)
        most = min(max(k, 1), room)
        n_near = min(most if cosine else 4 * most, room)
        best = np.argpartition(-nearness, min(n_near, len(nearness) - 1))[:n_near]
        if cosine:
            scores = nearness[best]
            order = np.lexsort((best, -scores))
        else:  # differences, not products: no cancellation between near rows
            scores = (rows.weight[torch.from_numpy(best).to(rows.weight.device)] - query).norm(dim=1).cpu().numpy()
            order = np.lexsort((best, scores))[:most]
    return best[order].astype(np.int64), scores[order].astype(np.float32)


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
    check_metric(metric)
    center = token_id(opened, token)
    rows = table(opened, source)
    ids, scores = nearest(rows, rows.weight[center], metric, k, (center,))
    texts = token_texts(opened.tokenizer, [center, *ids.tolist()])
    return Neighbours(name, texts[0], metric, ids, tuple(texts[1:]), scores, ids)


def row_neighbours(rows: Rows, place: int, metric: str = "cosine", k: int = 12) -> Neighbours:
    """Return the nearest of any rows (hidden states, positions) to one of them, exactly; it itself is left out.

    Raises:
        UserError: If there is no such row or metric.
    """
    import torch

    check_metric(metric)
    if not 0 <= place < len(rows.values):
        what = _("There is no row {n}; rows are 0 to {last}.").format(n=place, last=len(rows.values) - 1)
        raise UserError("rows.unknown", what)
    weight = torch.from_numpy(rows.values)
    found, scores = nearest(Table(weight, weight.norm(dim=1)), weight[place], metric, k, (place,))
    texts = tuple(rows.labels[n] for n in found)
    return Neighbours(rows.column, rows.labels[place], metric, rows.ids[found], texts, scores, found)


def analogy(  # noqa: PLR0913 - a sum has many parts, all named
    opened: OpenModel, name: str, plus: Sequence[int | str], minus: Sequence[int | str], metric: str = "cosine",
    k: int = 12, source: str = "input", exclude: bool = True,
) -> Analogy:  # fmt: skip
    """Return the rows nearest to Σ plus − Σ minus, such as king − man + woman.

    With ``cosine`` each row is divided by its length first (3CosAdd: Mikolov, Yih and Zweig 2013; Levy and Goldberg
    2014), with ``euclidean`` the rows are added as they are. Leaving the inputs out, as is usual, flatters the result
    (Linzen 2016): ``exclude=False`` shows it with them.

    Raises:
        UserError: If nothing is added, or a term is no token.
    """
    import torch

    check_metric(metric)
    if not plus:
        raise UserError("analogy.empty", _("Nothing is added."), _("Write words such as king - man + woman."))
    ids = [token_id(opened, token) for token in (*plus, *minus)]
    signs = [1.0] * len(plus) + [-1.0] * len(minus)
    rows = table(opened, source)
    weight, norms = rows.weight, rows.norms
    with torch.inference_mode():
        terms = weight[ids]
        lengths = norms[ids]
        unit = metric == "cosine"
        added = terms / lengths.clamp_min(1e-12)[:, None] if unit else terms
        total = (torch.tensor(signs, device=weight.device)[:, None] * added).sum(0)
        to_terms = (terms @ total) / (lengths * total.norm()).clamp_min(1e-12)
    found, scores = nearest(rows, total, metric, k, ids if exclude else ())
    texts = token_texts(opened.tokenizer, [*ids, *found.tolist()])
    named = tuple(f"{'+' if sign > 0 else '−'} {text}" for sign, text in zip(signs, texts, strict=False))
    return Analogy(
        name, named, lengths.cpu().numpy(), float(total.norm()), to_terms.cpu().numpy(), unit, exclude, metric, found,
        tuple(texts[len(ids) :]), scores,
    )  # fmt: skip
