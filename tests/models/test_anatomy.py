"""The parts of every family are found where transformers has them, and what is missing has a reason."""

from __future__ import annotations

import pytest

from models.anatomy import anatomy_of
from models.anatomy_search import features
from models.errors import UserError
from tests.fakes import ENCODER_DECODERS, ENCODERS, FAMILIES, opened_model

OTHERS = ("bloom", "gptj", "gpt_neo")
WHERE = {
    "llama": ("model.layers.1.self_attn", "model.layers.1.mlp"),
    "gpt2": ("transformer.h.1.attn", "transformer.h.1.mlp"),
    "gpt_neox": ("gpt_neox.layers.1.attention", "gpt_neox.layers.1.mlp"),
    "bert": ("bert.encoder.layer.1.attention", "bert.encoder.layer.1.output.dense"),
    "bloom": ("transformer.h.1.self_attention", "transformer.h.1.mlp"),
}


@pytest.mark.parametrize("family", FAMILIES + OTHERS)
def test_every_family_has_all_parts(family: str) -> None:
    model = opened_model(family).model
    anatomy = anatomy_of(model)
    assert anatomy.missing == {}
    assert list(anatomy.stacks) == (["encoder", "decoder"] if family in ENCODER_DECODERS else ["self"])
    for kind, stack in anatomy.stacks.items():
        assert len(stack.layers) == (3 if family == "gemma3" else 2)
        assert stack.embedding.weight.shape[1] == 32
        for layer in stack.layers:
            assert layer.attention is not None
            assert layer.mlp is not None
            assert (layer.attention.n_heads, layer.attention.width) == (4, 8)
            assert features(layer.attention.output) == (32, 32)
            assert features(layer.mlp.down) == (layer.mlp.n_neurons, 32)
            assert (layer.cross is not None) == (kind == "decoder")
            assert model.get_submodule(layer.path) is layer.module
    assert anatomy.unembedding is model.get_output_embeddings()


@pytest.mark.parametrize("family", WHERE)
def test_parts_are_where_transformers_has_them(family: str) -> None:
    layer = anatomy_of(opened_model(family).model).last.layers[1]
    assert layer.attention is not None
    assert layer.mlp is not None
    assert (layer.attention.path, layer.mlp.path) == WHERE[family]


def test_norms_are_found_by_what_they_do() -> None:
    llama = anatomy_of(opened_model("llama").model).last.layers[0]
    assert llama.attention is not None
    assert llama.mlp is not None
    assert llama.attention.norm is llama.module.input_layernorm
    assert llama.mlp.norm is llama.module.post_attention_layernorm  # a norm before the MLP, whatever its name
    assert llama.attention.post_norm is None
    gemma = anatomy_of(opened_model("gemma2").model).last.layers[0]
    assert gemma.attention is not None
    assert gemma.mlp is not None
    assert gemma.attention.post_norm is gemma.module.post_attention_layernorm
    assert gemma.mlp.norm is gemma.module.pre_feedforward_layernorm
    assert gemma.mlp.post_norm is gemma.module.post_feedforward_layernorm
    gptj = anatomy_of(opened_model("gptj").model).last.layers[0]  # attention and MLP read the same norm
    assert gptj.attention is not None
    assert gptj.mlp is not None
    assert gptj.attention.norm is gptj.mlp.norm is gptj.module.ln_1


@pytest.mark.parametrize("family", FAMILIES)
def test_where_the_stream_itself_is_normed(family: str) -> None:
    stack = anatomy_of(opened_model(family).model).last
    after = family in ENCODERS or family == "bart"
    assert [layer.ends_in_norm for layer in stack.layers] == [after] * len(stack.layers)
    assert (stack.final_norm is None) == after


def test_positions() -> None:
    expected = {"llama": "rotary", "gpt2": "learned", "t5": "relative", "bart": "learned", "bloom": "none"}
    assert {family: anatomy_of(opened_model(family).model).last.position_kind for family in expected} == expected
    opened = opened_model("gpt2")
    assert anatomy_of(opened.model).last.positions is opened.model.transformer.wpe


def test_names_are_those_of_transformer_lens() -> None:
    anatomy = anatomy_of(opened_model("llama").model)
    assert [name for name in anatomy.sites if name.startswith("blocks.1")] == [
        "blocks.1.hook_resid_pre", "blocks.1.attn.hook_z", "blocks.1.hook_attn_out", "blocks.1.mlp.hook_post",
        "blocks.1.hook_mlp_out", "blocks.1.hook_resid_post",
    ]  # fmt: skip
    assert anatomy.site("blocks.1.attn.hook_z").units == 4
    assert anatomy.site("blocks.1.mlp.hook_post").units == 48
    for newer, older in (
        ("blocks.1.hook_in", "blocks.1.hook_resid_pre"), ("blocks.1.hook_out", "blocks.1.hook_resid_post"),
        ("blocks.1.attn.hook_out", "blocks.1.hook_attn_out"), ("blocks.1.mlp.hook_out", "blocks.1.hook_mlp_out"),
    ):  # fmt: skip
        assert anatomy.site(newer) is anatomy.site(older)
    both = anatomy_of(opened_model("t5").model)
    assert "encoder.0.attn.hook_z" in both.sites
    assert "decoder.1.cross_attn.hook_z" in both.sites
    assert "decoder.1.hook_cross_attn_out" in both.sites


def test_what_is_missing_has_a_reason() -> None:
    anatomy = anatomy_of(opened_model("mamba").model)
    assert len(anatomy.last.layers) == 2
    with pytest.raises(UserError, match="no attention"):
        anatomy.site("blocks.0.attn.hook_z")
    with pytest.raises(UserError, match="no activation"):
        anatomy.site("blocks.9.attn.hook_z")


def test_experts_have_no_common_neurons() -> None:
    import transformers as hf

    config = hf.MixtralConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, num_local_experts=4,
    )  # fmt: skip
    anatomy = anatomy_of(hf.MixtralForCausalLM(config).eval())
    assert "blocks.0.hook_mlp_out" in anatomy.sites
    assert "blocks.0.attn.hook_z" in anatomy.sites
    with pytest.raises(UserError, match="mixture of experts"):
        anatomy.site("blocks.0.mlp.hook_post")


def test_layers_that_share_weights_are_said() -> None:
    import transformers as hf

    config = hf.AlbertConfig(
        vocab_size=64, hidden_size=32, embedding_size=16, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4
    )
    anatomy = anatomy_of(hf.AlbertForMaskedLM(config).eval())
    with pytest.raises(UserError, match="share their weights"):
        _ = anatomy.last


def test_an_adapter_is_one_linear_map() -> None:
    import peft

    model = opened_model("llama").model
    peft.inject_adapter_in_model(peft.LoraConfig(target_modules=["o_proj", "down_proj"], r=2), model)
    layer = anatomy_of(model).last.layers[0]
    assert layer.attention is not None
    assert layer.mlp is not None
    assert hasattr(layer.attention.output, "lora_A")
    assert hasattr(layer.mlp.down, "lora_A")
    assert layer.attention.n_heads == 4


