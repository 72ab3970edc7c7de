"""What a text costs without one head: the ablation cost."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.anatomy import Attention, anatomy_of
from models.errors import UserError
from models.events import Progress, Work
from models.heads import call_of, check_head, kinds_of
from models.interventions import intervened
from models.opened import OpenModel
from models.records.attention import HeadCost
from models.records.interventions import Edit
from models.surprisal import teacher_forced
from models.trace import Trace, run
from models.words import _


def attention_of(model: Any, kind: str, layer: int) -> Attention:
    """Return the parts of one attention, by its kind (self, encoder, decoder, cross) and layer.

    Raises:
        UserError: If they were not found in this family.
    """
    stack = anatomy_of(model).stacks.get("decoder" if kind == "cross" else kind)
    layers = stack.layers if stack is not None else ()
    parts = layers[layer] if layer < len(layers) else None
    found = parts and (parts.cross if kind == "cross" else parts.attention)
    if not found or found.output is None or not found.n_heads:
        raise UserError("attention.projection", _("The output projection of this family's heads is not known."))
    return found


def head_cost(opened: OpenModel, trace: Trace, layer: int, head: int, kind: str = "") -> Work[HeadCost]:
    """Return the mean surprisal of a text with one head's output set to zero, and without that.

    Zero ablation of a head as in Michel et al. 2019 (arXiv 1905.10650), measured in nats per token: the difference is
    what this head is worth on this text. Both are means over the tokens that are predicted.

    Args:
        opened: The model.
        trace: Its forward over the text.
        layer: Layer, from 0.
        head: Query head, from 0.
        kind: self, encoder, decoder, cross; empty for the first that there is.

    Raises:
        UserError: If there is no such head, or the model does not predict tokens one after the other.
    """
    check_head(call_of(trace, kind, layer), head)
    kind = kind or kinds_of(trace)[0]
    if opened.kind not in ("decoder", "encoder-decoder"):
        raise UserError(
            "attention.cost", _("The ablation cost needs a model that predicts each token from those before it.")
        )
    if len(trace.predicting_ids) < 2:
        raise UserError("attention.cost", _("The ablation cost needs a text of two tokens or more."))
    name = attention_of(opened.model, kind, layer).name
    before = yield from teacher_forced(trace)
    yield Progress(1, 2, _("without the head"))
    with intervened(opened.model, [Edit(f"{name}.hook_z", "zero", unit=head)]):
        without = run(opened, trace.ids, trace.target_ids)
    after = yield from teacher_forced(without)
    predicted = int(np.isfinite(before.surprisal).sum())
    means = [float(np.nanmean(scores.surprisal.astype(np.float64))) for scores in (before, after)]
    return HeadCost(layer, head, kind, means[0], means[1], predicted)
