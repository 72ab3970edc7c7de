"""Which part of a model wrote a logit: embeddings, heads, MLPs, neurons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.records.arrays import Array


@dataclass(frozen=True)
class Attribution:
    """Direct logit attribution of one token, or of one token minus another, at one position.

    ``embedding + positional + edits + heads + cross + biases + mlps + norm_bias + head_bias`` sums to ``logit``.

    Args:
        position: Token after which the prediction is made.
        ids: Id of the token; then, in a difference, of the one that is subtracted. ``texts``: theirs.
        heads: (layers, heads) float32. ``cross``: the same of cross attention; empty where there is none.
        mlps: (layers,) float32, their biases with them.
        biases: (layers,) float32 of the attentions' output projections (and of norms on what they write).
        embedding: Of the token's embedding (with its position, where the two cannot be told apart).
        positional: Of the position's embedding.
        edits: Of what edits put into the residual stream itself.
        norm_bias, head_bias: Of the final norm and of the head.
        logit: Their sum as the model has it, before any soft-capping.
        final: The logit after soft-capping (in a difference: of the two capped logits).
        capped: Whether there is soft-capping.
        probabilities: Of the token (and of the one that is subtracted) in the model's own distribution.
    """

    position: int
    ids: tuple[int, ...]
    texts: tuple[str, ...]
    heads: Array
    cross: Array
    mlps: Array
    biases: Array
    embedding: float
    positional: float
    edits: float
    norm_bias: float
    head_bias: float
    logit: float
    final: float
    capped: bool = False
    probabilities: tuple[float, ...] = ()
    note: str = ""

    @property
    def total(self) -> float:
        """Sum of all contributions; differs from ``logit`` by rounding only."""
        parts = (self.heads, self.cross, self.mlps, self.biases)
        return float(
            sum(float(np.asarray(part, dtype=np.float64).sum()) for part in parts)
            + self.embedding + self.positional + self.edits + self.norm_bias + self.head_bias
        )  # fmt: skip

    @property
    def what(self) -> str:
        """``A`` or ``A − B``."""
        return " − ".join(self.texts)

    def ranked(self) -> tuple[tuple[str, float], ...]:
        """Return (name, contribution) of every part, largest magnitude first."""
        rows = [(f"L{layer}H{head}", float(value)) for (layer, head), value in np.ndenumerate(self.heads)]
        rows += [(f"L{layer}X{head}", float(value)) for (layer, head), value in np.ndenumerate(self.cross)]
        rows += [(f"L{layer} MLP", float(value)) for layer, value in enumerate(self.mlps)]
        rows += [(f"L{layer} bias", float(value)) for layer, value in enumerate(self.biases) if value]
        rest = (
            ("embed", self.embedding), ("pos_embed", self.positional), ("edits", self.edits),
            ("ln_final bias", self.norm_bias), ("unembed bias", self.head_bias),
        )  # fmt: skip
        rows += [(name, value) for name, value in rest if value]
        return tuple(sorted(rows, key=lambda row: -abs(row[1])))


@dataclass(frozen=True)
class Neurons:
    """The neurons of one MLP that write most to a token (or a difference of two) at one position.

    Args:
        neurons: (k,) int64, largest magnitude of contribution first. ``activation``: (k,) float32.
        contribution: (k,) activation × (write direction · direction of the token), in units of the logit.
        promoted, suppressed: For each neuron the tokens that its write direction raises and lowers most.
        total: Sum over all neurons of the layer. ``n_neurons``: how many it has.
    """

    layer: int
    position: int
    ids: tuple[int, ...]
    texts: tuple[str, ...]
    neurons: Array
    activation: Array
    contribution: Array
    promoted: tuple[tuple[str, ...], ...]
    suppressed: tuple[tuple[str, ...], ...]
    total: float
    n_neurons: int
    note: str = ""


def difference_attributions(a: Attribution, b: Attribution) -> tuple[Array, Array]:
    """Return ((layers, heads), (layers,)): contributions of heads and MLPs in b minus in a.

    Raises:
        ValueError: If the two have different layers or heads, or are about different tokens.
    """
    if a.heads.shape != b.heads.shape or a.ids != b.ids:
        raise ValueError("the two columns have different layers, heads or tokens")
    return np.asarray(b.heads - a.heads), np.asarray(b.mlps - a.mlps)


RECORDS: tuple[type, ...] = (Attribution, Neurons)
