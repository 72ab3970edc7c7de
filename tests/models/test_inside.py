"""Inside one step: every step by hand from the weights, for each kind of model, and the last is the model's own distribution."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from models.columns import Column
from models.engine_ops import Operations
from models.errors import UserError
from models.events import finish
from models.inside import Place, walk
from models.inside_attention import turning
from models.prompts import prepare
from models.protocol import decode, encode
from models.records.inside import difference_steps
from tests.fakes import ENCODER_DECODERS, FAMILIES, opened_model, write_reward_model

TEXT, TARGET = "The quick dog sleeps", "the dog runs"
NEAR = 1e-4
WHOLE = 10**6


def walked(family: str, opened=None, **place):
    opened = opened or opened_model(family)
    target = TARGET if family in ENCODER_DECODERS else ""
    prepared = prepare(opened, Column("x"), TEXT, target)
    return opened, prepared, walk(opened, prepared, Place(**{"rows": WHOLE, "columns": WHOLE, "layer": 1, "head": 2} | place))


def get(found, step: str, part: str) -> torch.Tensor:
    return torch.from_numpy(found.step(step).part(part).values)


def near(a, b, error: float = NEAR) -> bool:
    a, b = torch.as_tensor(a), torch.as_tensor(b)
    return a.shape == b.shape and float((a - b).detach().abs().max()) <= error * (1 + float(b.detach().abs().max()))


def attention_by_hand(found, prefix: str = "", scaling: float | None = None) -> None:
    """softmax(q kᵀ · scaling + bias + mask) v from the parts of one attention."""
    rotated = found.step(f"{prefix}rotate")
    query = get(found, f"{prefix}rotate", "rotated query") if rotated else get(found, f"{prefix}qkv", "query")
    key = get(found, f"{prefix}rotate", "rotated key") if rotated else get(found, f"{prefix}qkv", "key")
    scores = query @ key.T * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    assert near(get(found, f"{prefix}scores", "scores"), scores)
    if found.step(f"{prefix}bias"):
        scores = scores + get(found, f"{prefix}bias", "bias")
        assert near(get(found, f"{prefix}bias", "scores with bias"), scores)
    if found.step(f"{prefix}mask").parts:
        scores = scores + get(found, f"{prefix}mask", "mask")
    weights = scores.softmax(-1)
    assert near(get(found, f"{prefix}softmax", "weights"), weights)
    mixed = weights @ get(found, f"{prefix}qkv", "value")
    assert near(get(found, f"{prefix}mix", "z"), mixed)
    assert found.step(f"{prefix}mix").error < NEAR
    heads = get(found, f"{prefix}output", "z of all heads")
    assert near(heads[found.head], mixed[found.position])


def predicts(found, logits: torch.Tensor) -> None:
    """The last step is the model's own distribution."""
    chances = logits.softmax(-1).sort(descending=True).values[:16]
    assert near(get(found, "predict", "probabilities")[:, 0], chances, 1e-5)
    assert near(get(found, "unembed", "logits")[:, 0], logits.sort(descending=True).values[:16], 1e-5)
    entropy = float(torch.distributions.Categorical(logits=logits).entropy())
    assert found.step("predict").facts["entropy"] == pytest.approx(entropy, abs=1e-4)


def adds_up(found, step: str) -> torch.Tensor:
    stream, written, total = get(found, step, "sum")
    assert near(total, stream + written, 1e-6)
    return total


def rms(rows, weight, eps: float = 1e-6):
    return rows / (rows.pow(2).mean(-1, keepdim=True) + eps).sqrt() * weight


def layer_norm(rows, module):
    centred = rows - rows.mean(-1, keepdim=True)
    return centred / (centred.pow(2).mean(-1, keepdim=True) + module.eps).sqrt() * module.weight + module.bias


def test_llama_by_hand() -> None:
    opened, prepared, found = walked("llama")
    body, layer = opened.model.model, opened.model.model.layers[1]
    position, width = found.position, 8
    assert get(found, "tokens", "id")[:, 0].tolist() == list(prepared.ids)
    assert near(get(found, "embed", "embedding"), body.embed_tokens.weight[list(prepared.ids)])
    assert found.step("position").facts["positions"] == "rotary"
    stream = get(found, "stream", "stream")
    normed = get(found, "norm", "normed")
    assert near(normed, rms(stream, layer.input_layernorm.weight))
    attention = layer.self_attn
    query = (normed @ attention.q_proj.weight.T)[:, 2 * width : 3 * width]
    key = (normed @ attention.k_proj.weight.T)[:, width : 2 * width]  # query heads 2 and 3 share key head 1
    value = (normed @ attention.v_proj.weight.T)[:, width : 2 * width]
    for name, rows in (("query", query), ("key", key), ("value", value)):
        assert near(get(found, "qkv", name), rows)
    angles = torch.arange(len(prepared.ids))[:, None] * 10000.0 ** (-torch.arange(0, width, 2) / width)  # Su et al. 2021
    cos, sin = torch.cat([angles.cos()] * 2, -1), torch.cat([angles.sin()] * 2, -1)
    for name, rows in (("query", query), ("key", key)):
        turned = torch.cat([-rows[:, width // 2 :], rows[:, : width // 2]], -1)
        assert near(get(found, "rotate", f"rotated {name}"), rows * cos + turned * sin)
    turned = get(found, "rotate", "angle")
    assert near(turned.cos(), angles.cos(), 1e-3)
    assert near(turned.sin(), angles.sin(), 1e-3)
    attention_by_hand(found)
    assert found.step("mask").facts["causal"] == 1
    heads = get(found, "output", "z of all heads")
    written = heads.reshape(-1) @ attention.o_proj.weight.T
    assert near(get(found, "output", "attention output")[position], written)
    assert near(get(found, "output", "written by this head")[0], heads[2] @ attention.o_proj.weight[:, 16:24].T)
    after = adds_up(found, "add")
    assert near(after, stream[position] + written)
    mlp = layer.mlp
    normed = rms(after, layer.post_attention_layernorm.weight)
    assert near(get(found, "mlp.norm", "normed")[position], normed)
    gate, up = mlp.gate_proj.weight @ normed, mlp.up_proj.weight @ normed
    assert near(get(found, "mlp.up", "gate")[position], gate)
    assert near(get(found, "mlp.up", "up")[position], up)
    neurons = gate * gate.sigmoid() * up
    assert found.step("mlp.activation").facts["activation"] == "silu"
    assert near(get(found, "mlp.activation", "neurons")[position], neurons)
    largest = get(found, "mlp.activation", "largest")[:, 0]
    assert near(largest, neurons[neurons.abs().sort(descending=True).indices[:16]])
    down = mlp.down_proj.weight @ neurons
    end = adds_up(found, "mlp.add")
    assert near(end, after + down)
    assert found.step("mlp.add").error < NEAR
    assert near(get(found, "layers", "layers")[-1], end)
    assert near(get(found, "layers", "size")[:, 0], get(found, "layers", "layers").norm(dim=-1))
    final = rms(end, body.norm.weight)
    assert near(get(found, "final_norm", "normed")[position], final)
    with torch.no_grad():
        logits = opened.model(input_ids=torch.tensor([prepared.ids])).logits[0, -1]
    assert near(opened.model.lm_head.weight @ final, logits)
    predicts(found, logits)
    assert found.notes == ()


def test_gpt2_by_hand() -> None:
    opened, prepared, found = walked("gpt2", position=5)
    body, block = opened.model.transformer, opened.model.transformer.h[1]
    ids = list(prepared.ids[:6])  # nothing after the position is shown: a decoder does not see it
    assert near(get(found, "position", "position"), body.wpe.weight[: len(ids)])
    assert near(get(found, "position", "sum"), body.wte.weight[ids] + body.wpe.weight[: len(ids)])
    stream, normed = get(found, "stream", "stream"), get(found, "norm", "normed")
    assert near(normed, layer_norm(stream, block.ln_1))
    made = normed @ block.attn.c_attn.weight + block.attn.c_attn.bias
    for place, name in enumerate(("query", "key", "value")):
        assert near(get(found, "qkv", name), made[:, 32 * place + 16 : 32 * place + 24])
    assert found.step("rotate") is None
    attention_by_hand(found)
    heads = get(found, "output", "z of all heads").reshape(-1)
    written = heads @ block.attn.c_proj.weight + block.attn.c_proj.bias
    after = adds_up(found, "add")
    assert near(after, stream[5] + written)
    up = layer_norm(after, block.ln_2) @ block.mlp.c_fc.weight + block.mlp.c_fc.bias
    assert near(get(found, "mlp.up", "gate")[5], up)
    gelu = 0.5 * up * (1 + torch.tanh(math.sqrt(2 / math.pi) * (up + 0.044715 * up**3)))
    assert near(get(found, "mlp.activation", "neurons")[5], gelu)
    end = adds_up(found, "mlp.add")
    assert near(end, after + gelu @ block.mlp.c_proj.weight + block.mlp.c_proj.bias)
    final = layer_norm(end, body.ln_f)
    with torch.no_grad():
        logits = opened.model(input_ids=torch.tensor([ids])).logits[0, 5]
    assert near(body.wte.weight @ final, logits)
    predicts(found, logits)


def test_bert_by_hand() -> None:
    opened, prepared, found = walked("bert", position=3)
    bert, layer = opened.model.bert, opened.model.bert.encoder.layer[1]
    ids = list(prepared.ids)
    ids[3] = opened.tokenizer.mask_token_id
    table = bert.embeddings
    assert get(found, "tokens", "id")[:, 0].tolist() == ids
    total = table.word_embeddings.weight[ids] + table.position_embeddings.weight[: len(ids)]
    total = total + table.token_type_embeddings.weight[0]
    assert near(get(found, "position", "sum"), total)
    assert near(get(found, "embed_norm", "normed"), layer_norm(total, table.LayerNorm))
    stream, own = get(found, "stream", "stream"), layer.attention.self
    for name, module in (("query", own.query), ("key", own.key), ("value", own.value)):
        assert near(get(found, "qkv", name), (stream @ module.weight.T + module.bias)[:, 16:24])
    assert found.step("mask").facts["hidden"] == 0
    attention_by_hand(found)
    dense = layer.attention.output.dense
    written = get(found, "output", "z of all heads").reshape(-1) @ dense.weight.T + dense.bias
    total = adds_up(found, "add")
    assert near(total, stream[3] + written)
    after = layer_norm(total, layer.attention.output.LayerNorm)
    assert near(get(found, "add.after", "normed")[3], after)
    assert found.step("mlp.norm") is None
    up = layer.intermediate.dense.weight @ after + layer.intermediate.dense.bias
    neurons = 0.5 * up * (1 + torch.erf(up / math.sqrt(2)))
    assert near(get(found, "mlp.activation", "neurons")[3], neurons)
    total = adds_up(found, "mlp.add")
    assert near(total, after + layer.output.dense.weight @ neurons + layer.output.dense.bias)
    end = layer_norm(total, layer.output.LayerNorm)
    assert near(get(found, "mlp.add.after", "normed")[3], end)
    head = opened.model.cls.predictions
    with torch.no_grad():
        transformed = head.transform(end)
        logits = opened.model(input_ids=torch.tensor([ids])).logits[0, 3]
    assert near(get(found, "transform", "transformed")[3], transformed)
    assert near(head.decoder.weight @ transformed + head.decoder.bias, logits)
    predicts(found, logits)


def test_t5_by_hand() -> None:
    opened, prepared, found = walked("t5", position=4)
    model, block = opened.model, opened.model.decoder.block[1]
    ids = list(prepared.target_ids[:5])
    assert near(get(found, "embed", "embedding"), model.shared.weight[ids])
    assert found.step("position").facts["positions"] == "relative"
    stream = get(found, "stream", "stream")
    own = block.layer[0]
    normed = rms(stream, own.layer_norm.weight)
    assert near(get(found, "norm", "normed"), normed)
    attention = own.SelfAttention
    for name, module in (("query", attention.q), ("key", attention.k), ("value", attention.v)):
        assert near(get(found, "qkv", name), (normed @ module.weight.T)[:, 16:24])
    attention_by_hand(found, scaling=1.0)
    written = get(found, "output", "z of all heads").reshape(-1) @ attention.o.weight.T
    after = adds_up(found, "add")
    assert near(after, stream[4] + written)
    cross = block.layer[1]
    with torch.no_grad():
        memory = model.encoder(input_ids=torch.tensor([prepared.ids])).last_hidden_state[0]
    assert near(get(found, "cross.norm", "normed")[4], rms(after, cross.layer_norm.weight))
    assert near(get(found, "cross.qkv", "key"), (memory @ cross.EncDecAttention.k.weight.T)[:, 16:24])
    assert near(get(found, "cross.qkv", "value"), (memory @ cross.EncDecAttention.v.weight.T)[:, 16:24])
    attention_by_hand(found, "cross.", scaling=1.0)
    written = get(found, "cross.output", "z of all heads").reshape(-1) @ cross.EncDecAttention.o.weight.T
    after = adds_up(found, "cross.add")
    mlp = block.layer[2]
    normed = rms(after, mlp.layer_norm.weight)
    gate, up = mlp.DenseReluDense.wi_0.weight @ normed, mlp.DenseReluDense.wi_1.weight @ normed
    gelu = 0.5 * gate * (1 + torch.tanh(math.sqrt(2 / math.pi) * (gate + 0.044715 * gate**3)))
    assert near(get(found, "mlp.activation", "neurons")[4], gelu * up)
    end = adds_up(found, "mlp.add")
    assert near(end, after + mlp.DenseReluDense.wo.weight @ (gelu * up))
    final = rms(end, model.decoder.final_layer_norm.weight)
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prepared.ids]), decoder_input_ids=torch.tensor([ids])).logits[0, 4]
    scale = found.step("rescale").facts["scale"] if found.step("rescale") else 1.0
    assert near(model.lm_head.weight @ final * scale, logits)
    predicts(found, logits)
    _opened, _prepared, encoder = walked("t5", opened, stack="encoder", position=2)
    attention_by_hand(encoder, scaling=1.0)
    assert near(get(encoder, "to_decoder", "memory"), memory)
    assert encoder.step("predict") is None


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_explained_to_the_end(family: str) -> None:
    opened, prepared, found = walked(family, layer=0, head=3)
    assert found.notes == ()
    assert found.step("mix").error < NEAR
    assert found.step("mlp.activation").facts["activation"]
    errors = [step.error for step in found.steps if not math.isnan(step.error)]
    assert len(errors) >= 4
    assert max(errors) < 1e-3
    assert abs(found.step("unembed").error) < 1e-4
    with torch.no_grad():
        ids = {"input_ids": torch.tensor([prepared.ids])}
        if family in ENCODER_DECODERS:
            ids["decoder_input_ids"] = torch.tensor([prepared.target_ids])
        elif found.kind == "encoder":
            ids["input_ids"][0, found.position] = opened.tokenizer.mask_token_id
        predicts(found, opened.model(**ids).logits[0, found.position])


def test_angles_of_other_ways_to_turn() -> None:
    rows = torch.randn(5, 12, generator=torch.Generator().manual_seed(0))
    angles = torch.arange(5)[:, None] * torch.tensor([1.0, 0.3, 0.02])
    pairs = torch.complex(rows[:, 0:6:2], rows[:, 1:6:2]) * torch.polar(torch.ones(5, 3), angles)
    neighbours = rows.clone()
    neighbours[:, 0:6:2], neighbours[:, 1:6:2] = pairs.real, pairs.imag  # GPT-J's way, half of the dimensions
    assert near(turning(rows, neighbours).cos(), angles.cos(), 1e-3)
    assert turning(rows, rows * 2) is None


@pytest.mark.parametrize("family", ["gptj", "gpt_neox", "qwen3", "gemma3"])
def test_every_way_to_rotate_has_its_angles(family: str) -> None:
    _opened, _prepared, found = walked(family)
    angles = get(found, "rotate", "angle")
    assert near(angles[0], torch.zeros(angles.shape[1]), 1e-3)
    assert float(angles[1].abs().max()) == pytest.approx(1.0, abs=1e-3)  # the fastest pair turns by one radian a place


@pytest.mark.parametrize("family", ["bloom", "gpt_neo"])
def test_a_family_without_the_interface_says_what_is_missing(family: str) -> None:
    _opened, _prepared, found = walked(family)
    assert "interface" in found.notes[0]
    assert near(get(found, "softmax", "weights").sum(-1), torch.ones(len(found.tokens)))
    assert found.step("qkv") is None
    assert found.step("predict") is not None


def test_what_is_shown_is_a_corner_of_the_whole() -> None:
    opened, _prepared, whole = walked("llama")
    _opened, _prepared, found = walked("llama", opened, rows=4, columns=5)
    part, full = found.step("norm").part("normed"), whole.step("norm").part("normed")
    n = len(found.tokens)
    assert part.values.shape == (4, 5)
    assert part.whole == full.values.shape == (n, 32)
    assert (part.first_row, part.marked) == (n - 4, 3)
    assert np.array_equal(part.values, full.values[-4:, :5])
    assert not part.is_whole
    assert full.is_whole
    square, full = found.step("softmax").part("weights"), whole.step("softmax").part("weights")
    assert np.array_equal(square.values, full.values[-4:, -5:])
    assert square.columns == full.columns[-5:]


def test_it_travels_and_is_remembered(tiny_lineage) -> None:
    operations = Operations()
    column = Column(str(tiny_lineage / "sft"))
    first = finish(operations.ask("inside", column, TEXT, 1, 2))
    body = encode({"value": first})
    again = decode(body[4:])["value"]
    assert again.steps[3].name == first.steps[3].name
    hidden = again.step("mask").part("mask").values
    assert np.isneginf(hidden).any()
    delta = difference_steps(first.step("mask"), again.step("mask"))
    assert all((part.values == 0).all() for part in delta.parts)
    other = finish(operations.ask("inside", Column(str(tiny_lineage / "rlhf")), TEXT, 1, 2))
    step = difference_steps(first.step("norm"), other.step("norm"))
    assert np.allclose(step.parts[0].values, other.step("norm").parts[0].values - first.step("norm").parts[0].values)
    with pytest.raises(ValueError, match="subtracted"):
        difference_steps(first.step("norm"), finish(operations.ask("inside", column, "Other", 1, 2)).step("norm"))


def test_a_reward_model_ends_without_a_prediction(tmp_path) -> None:
    column = Column(str(write_reward_model(tmp_path / "reward")), dtype="float32")
    found = finish(Operations().ask("inside", column, TEXT))
    assert found.steps[-1].name == "no_head"


@pytest.mark.parametrize(
    ("place", "id"),
    [({"layer": 9}, "attention.layer"), ({"head": 9}, "attention.head"), ({"position": 99}, "distribution.position"),
     ({"stack": "encoder"}, "inside.stack")],
)  # fmt: skip
def test_what_is_not_there_is_said(place, id: str) -> None:
    with pytest.raises(UserError) as caught:
        walked("llama", **place)
    assert caught.value.id == id
