"""The residual stream of SmolLM2-135M and all-MiniLM-L6-v2: the sums hold on real weights, and refusals are sentences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.api import open_checkpoint
from models.errors import UserError
from models.records.interventions import Edit

pytestmark = [pytest.mark.real_models, pytest.mark.slow]
TEXT = "The capital of France is"


def test_smollm(smollm: Path) -> None:
    checkpoint = open_checkpoint(str(smollm))
    stream = checkpoint.residual
    own = checkpoint.distribution(TEXT, top=5)
    lens = stream.lens(TEXT)
    assert lens.rows[-1] == "L29"
    assert int(lens.top_ids[-1, -1, 0]) == int(own.ids[0])
    assert float(lens.probability[-1, -1]) == pytest.approx(float(own.probabilities[0]), abs=1e-5)
    shares = stream.attribution(TEXT, " Paris", " London")
    assert shares.total == pytest.approx(shares.logit, abs=1e-3)
    assert shares.heads.shape == (30, 9)
    neurons = stream.neurons(TEXT, 29, " Paris", " London", top=5)
    assert neurons.total == pytest.approx(float(shares.mlps[29]), abs=1e-3)
    nothing = stream.effect(TEXT, [Edit("blocks.12.attn.hook_z", "scale", 3, 1.0)])
    assert float(nothing.kl.max()) == 0.0
    zeroed = stream.effect(TEXT, [Edit(f"blocks.{layer}.hook_mlp_out") for layer in range(30)])
    assert float(zeroed.kl[-1]) > 1.0
    assert np.isfinite(zeroed.kl).all()
    checkpoint.close()


def test_minilm(minilm: Path) -> None:
    checkpoint = open_checkpoint(str(minilm))
    norms = checkpoint.residual.norms(TEXT)
    assert norms.residual.shape[0] == 7
    with pytest.raises(UserError, match="head"):
        checkpoint.residual.lens(TEXT)
    checkpoint.close()
