"""Edits of a forward pass, and what they changed."""

from __future__ import annotations

from dataclasses import dataclass

from models.columns import Column

HOW = ("zero", "mean", "scale", "patch")


@dataclass(frozen=True)
class Edit:
    """One change of one activation in a forward pass.

    Args:
        site: TransformerLens' name of the activation: ``blocks.3.attn.hook_z`` (heads), ``blocks.3.hook_attn_out``,
            ``blocks.3.mlp.hook_post`` (neurons), ``blocks.3.hook_mlp_out``, ``blocks.3.hook_resid_pre``,
            ``blocks.3.hook_resid_post``; ``encoder.3.…``, ``decoder.3.…`` (and ``cross_attn``) where there are two stacks.
        how: ``"zero"``; ``"mean"`` (its mean over the positions of the text); ``"scale"`` (times ``factor``);
            ``"patch"`` (its value in another forward: of ``text``, in ``column``).
        unit: Head of ``hook_z`` or neuron of ``hook_post``; -1 for the whole.
        factor: Only for ``"scale"``.
        positions: Tokens that are changed, negative ones counted from the end; empty for all.
        source_positions: Where a patch is taken from, one for each of ``positions``; empty for the same ones.
        text: Text of the forward that a patch is taken from; empty for the same text.
        target: What the decoder of an encoder-decoder is given there; empty for the same.
        column: The column that a patch is taken from; None for the same one.
    """

    site: str
    how: str = "zero"
    unit: int = -1
    factor: float = 1.0
    positions: tuple[int, ...] = ()
    source_positions: tuple[int, ...] = ()
    text: str = ""
    target: str = ""
    column: Column | None = None


RECORDS: tuple[type, ...] = (Edit,)
