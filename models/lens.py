"""The logit lens (nostalgebraist 2020): the model's own final norm and head, applied to the residual stream after each layer.

Statistics of the cells as tuned-lens has them (Belrose et al. 2023, arXiv 2303.08112), without a trained translator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.anatomy import anatomy_of
from models.errors import UserError
from models.events import Progress, Work
from models.opened import OpenModel
from models.prompts import Prepared
from models.records.arrays import Array
from models.records.lens import Lens, LensDifference
from models.running import adapter
from models.trace import Trace
from models.unembedding import Unembedding, unembedding_of
from models.words import _

_CHUNK_VALUES = 6_000_000
"""Logits of one row that are held at a time (24 MB in float32); a few arrays of that size live together."""
MOST_POSITIONS = 512
"""Of one answer, so that it fits into one message."""


@dataclass(frozen=True)
class Seen:
    """One column's side of a lens: the model, its text and the forward over it."""

    opened: OpenModel
    prepared: Prepared
    trace: Trace

    @property
    def states(self) -> tuple[Any, ...]:
        """(layers + 1) residual states (time, width) of the stack that predicts; the last after the final norm."""
        return tuple(self.trace.hidden.values())[-1]

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the rows: the embedding, then each layer."""
        return ("embed", *(f"L{layer}" for layer in range(len(self.states) - 1)))


def row_logits(unembedding: Unembedding, seen: Seen, row: int, start: int, end: int) -> Any:
    """Return float32 logits (end − start, vocab) of one row: what its residual stream would say.

    The last row is the model's own prediction: its states have gone through the final norm already.
    """
    states = seen.states[row][start:end]
    return unembedding.of_final(states) if row == len(seen.states) - 1 else unembedding.of_residual(states)


def span_of(region: Sequence[int], n_tokens: int) -> tuple[int, int]:
    """Return (start, end) of the positions that are wanted: all that fit where ``region`` is empty.

    Raises:
        UserError: If a region is not two numbers.
    """
    if not region:
        return 0, min(n_tokens, MOST_POSITIONS)
    if len(region) != 2:
        raise UserError("lens.region", _("A region of positions is two numbers: start and end."))
    start = max(0, min(int(region[0]), n_tokens - 1))
    return start, max(start + 1, min(int(region[1]), n_tokens, start + MOST_POSITIONS))


def lens(seen: Seen, region: Sequence[int] = (), top: int = 8) -> Work[Lens]:
    """Return the lens of a text, or of a region of its positions.

    Args:
        seen: The column.
        region: (start, end) of positions; empty for all, at most ``MOST_POSITIONS``.
        top: How many tokens each cell lists.

    Raises:
        UserError: If the checkpoint predicts no tokens, or its way to the logits is not known.
    """
    import torch

    unembedding = unembedding_of(seen.opened)
    start, end = span_of(region, int(seen.states[0].shape[0]))
    actual = _actual(seen, start, end)
    tables: list[dict[str, Array]] = []
    with torch.inference_mode():
        step = max(1, _CHUNK_VALUES // int(_logs(unembedding, seen, len(seen.states) - 1, 0, 1).shape[-1]))
    for at in range(start, end, step):
        block = slice(at, min(at + step, end))
        rows: list[dict[str, Array]] = []
        final = None
        for row in reversed(range(len(seen.states))):
            with torch.inference_mode():  # never over a yield: others compute meanwhile
                logs = _logs(unembedding, seen, row, block.start, block.stop)
                final = logs if final is None else final
                rows.insert(0, _cells(logs, final, actual[block.start - start : block.stop - start], top))
            yield Progress(at - start + (len(rows) / len(seen.states)) * (block.stop - at), end - start, _("logit lens"))
        tables.append({name: np.stack([one[name] for one in rows]) for name in rows[0]})
    table = {name: np.concatenate([one[name] for one in tables], axis=1) for name in tables[0]}
    return _record(seen, table, actual, start, end)


def _actual(seen: Seen, start: int, end: int) -> Array:
    """Return (positions,) int64 ids of the tokens that come next, -1 where none does; for an encoder its own tokens."""
    ids = list(seen.trace.predicting_ids)
    following = ids if seen.opened.kind == "encoder" else [*ids[1:], -1]
    return np.array(following[start:end], dtype=np.int64)


def _cells(logs: Any, final: Any, actual: Array, top: int) -> dict[str, Array]:
    """Return the statistics of one row: ``logs`` and ``final`` are (positions, vocab) log-probabilities."""
    import torch

    best = torch.topk(logs, min(top, logs.shape[-1]), dim=-1)
    ids = torch.from_numpy(np.maximum(actual, 0)).to(logs.device)
    picked = logs.gather(1, ids[:, None])
    none = torch.from_numpy(actual < 0).to(logs.device)
    own = picked[:, 0].masked_fill(none, torch.nan)
    rank = (logs > picked).sum(-1).float().masked_fill(none, torch.nan)
    parted = torch.zeros_like(own) if logs is final else divergence(final, logs)
    entropy = -(logs.exp() * logs.clamp_min(torch.finfo(logs.dtype).min)).sum(-1)  # 0 · −inf would be NaN
    values = {
        "top_ids": best.indices.int(), "top_probabilities": best.values.exp(), "actual_probability": own.exp(), "rank": rank,
        "cross_entropy": -own, "entropy": entropy, "kl_final": parted,
    }  # fmt: skip
    return {name: value.cpu().numpy() for name, value in values.items()}


def divergence(p: Any, q: Any) -> Any:
    """Return KL(p ‖ q) = Σ p (ln p − ln q) in nats along the last axis, from log-probabilities; never below 0.

    Kullback & Leibler 1951. Where p is 0 nothing is added; where only q is 0 the result is infinite.
    """
    terms = p.exp() * (p - q)
    return terms.masked_fill_(p.isinf(), 0.0).sum(-1).clamp_(min=0.0)


def jensen_shannon(p: Any, q: Any) -> Any:
    """Return ½ KL(p ‖ m) + ½ KL(q ‖ m) with m = (p + q) / 2, in nats (Lin 1991): between 0 and ln 2."""
    import math

    import torch

    middle = torch.logaddexp(p, q) - math.log(2)
    return 0.5 * (divergence(p, middle) + divergence(q, middle))


def _record(seen: Seen, table: dict[str, Array], actual: Array, start: int, end: int) -> Lens:
    from models.tokens import token_texts

    wanted, places = np.unique(table["top_ids"], return_inverse=True)
    unique = [int(number) for number in wanted]
    names = token_texts(seen.opened.tokenizer, [*unique, *(int(number) for number in actual if number >= 0)])
    following = iter(names[len(unique) :])
    shown = tuple(token.text for token in seen.prepared.shown)
    return Lens(
        shown[start:end], seen.rows, tuple(names[: len(unique)]), places.reshape(table["top_ids"].shape).astype(np.int32),
        table["top_ids"], table["top_probabilities"], tuple(next(following) if number >= 0 else "" for number in actual),
        table["actual_probability"], table["rank"], table["cross_entropy"], table["entropy"], table["kl_final"],
        start, len(shown), note_of(seen), *_parts(seen),
    )  # fmt: skip


def _parts(seen: Seen) -> tuple[str, tuple[int, ...], bool]:
    """Return (how names of activations begin, heads of each layer, whether there is cross attention)."""
    layers = anatomy_of(seen.opened.model).last.layers
    heads = tuple(layer.attention.n_heads if layer.attention is not None else 0 for layer in layers)
    return layers[0].name.partition(".")[0], heads, any(layer.cross is not None for layer in layers)


def note_of(seen: Seen) -> str:
    """Say what a lens of this kind of model means."""
    if seen.opened.kind == "encoder":
        return _("encoder: what each place says of its own token, nothing masked; the whole prediction head on each layer")
    if seen.opened.kind == "encoder-decoder":
        return _("the decoder's residual stream")
    return ""


def difference(a: Seen, b: Seen, region: Sequence[int] = ()) -> Work[LensDifference]:
    """Return how the lenses of two columns differ, cell by cell: KL both ways and Jensen–Shannon divergence, in nats.

    Raises:
        UserError: If the two have different layers, tokens or vocabularies.
    """
    import torch

    sides = [(seen, unembedding_of(seen.opened)) for seen in (a, b)]
    if a.rows != b.rows:
        raise UserError("lens.layers", _("The two columns have different numbers of layers: {a} and {b}.").format(
            a=len(a.rows) - 1, b=len(b.rows) - 1
        ))  # fmt: skip
    if a.trace.predicting_ids != b.trace.predicting_ids:
        raise UserError("lens.tokens", _("The two columns split the text into different tokens."))
    start, end = span_of(region, int(a.states[0].shape[0]))
    tables: list[Array] = []
    with torch.inference_mode():
        step = _common_step(sides)
    for at in range(start, end, step):
        until, rows = min(at + step, end), []
        for row in range(len(a.rows)):
            with torch.inference_mode():  # never over a yield: others compute meanwhile
                logs = [_logs(unembedding, seen, row, at, until) for seen, unembedding in sides]
                first, second = (one.to(logs[0].device) for one in logs)
                parts = (divergence(second, first), divergence(first, second), jensen_shannon(first, second))
                rows.append(torch.stack(parts).cpu().numpy())  # (3, positions)
            yield Progress(at - start + (row + 1) / len(a.rows) * (until - at), end - start, _("logit lens"))
        tables.append(np.stack(rows, axis=1))  # (3, rows, positions)
    kl, reverse, js = np.concatenate(tables, axis=2)
    shown = tuple(token.text for token in a.prepared.shown)
    return LensDifference(shown[start:end], a.rows, kl, reverse, js, start, len(shown), note_of(a))


def _logs(unembedding: Unembedding, seen: Seen, row: int, start: int, end: int) -> Any:
    import torch

    with adapter(seen.opened.model, seen.opened.adapter):
        return torch.log_softmax(row_logits(unembedding, seen, row, start, end), dim=-1)


def _common_step(sides: Sequence[tuple[Seen, Unembedding]]) -> int:
    """Return how many positions are computed at a time.

    Raises:
        UserError: If the two vocabularies differ.
    """
    sizes = {int(_logs(unembedding, seen, len(seen.states) - 1, 0, 1).shape[-1]) for seen, unembedding in sides}
    if len(sizes) > 1:
        raise UserError("lens.vocabulary", _("The two columns have different vocabularies."))
    return max(1, _CHUNK_VALUES // (2 * sizes.pop()))
