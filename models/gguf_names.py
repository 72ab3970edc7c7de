"""How GGUF names the settings and tensors of the families that are converted directly (llama.cpp's constants)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import UserError
from models.gguf_file import GgufFile, bad
from models.words import _

Array = NDArray[Any]
CLASSES = {
    "llama": ("llama", "LlamaForCausalLM"),
    "qwen2": ("qwen2", "Qwen2ForCausalLM"),
    "qwen3": ("qwen3", "Qwen3ForCausalLM"),
    "gemma2": ("gemma2", "Gemma2ForCausalLM"),
    "gemma3": ("gemma3_text", "Gemma3ForCausalLM"),
    "gpt2": ("gpt2", "GPT2LMHeadModel"),
}
BLOCK_NAMES = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip
GEMMA_NAMES = {
    **BLOCK_NAMES,
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
GPT2_NAMES = {
    "attn_norm": "ln_1", "attn_qkv": "attn.c_attn", "attn_output": "attn.c_proj", "ffn_norm": "ln_2",
    "ffn_up": "mlp.c_fc", "ffn_down": "mlp.c_proj",
}  # fmt: skip
TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
GPT2_TOP = {
    "token_embd": "transformer.wte",
    "position_embd": "transformer.wpe",
    "output_norm": "transformer.ln_f",
    "output": "lm_head",
}
LLAMA3_ROPE = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


def config_of(file: GgufFile) -> dict[str, Any]:
    """Return config.json for a file of one of the ``CLASSES``."""
    family, architecture = CLASSES[file.architecture]
    tokens = file.values.get("tokenizer.ggml.tokens")
    embedding = file.tensors.get("token_embd.weight")
    if embedding is None:
        raise bad(file.path, _("it has no token embedding"))
    config: dict[str, Any] = {
        "model_type": family,
        "architectures": [architecture],
        "vocab_size": embedding.shape[-1],
        "tie_word_embeddings": "output.weight" not in file.tensors,
        **_token_ids(file, len(tokens) if isinstance(tokens, list) else embedding.shape[-1]),
    }
    n = file.number
    if file.architecture == "gpt2":
        return config | {
            "n_layer": n("block_count"), "n_positions": n("context_length"), "n_embd": n("embedding_length"),
            "n_inner": n("feed_forward_length"), "n_head": n("attention.head_count"),
            "layer_norm_epsilon": n("attention.layer_norm_epsilon", 1e-5),
        }  # fmt: skip
    heads, hidden = n("attention.head_count"), n("embedding_length")
    head_width = n("attention.key_length") or n("rope.dimension_count") or (hidden // heads if heads else 0)
    config |= {
        "num_hidden_layers": n("block_count"), "max_position_embeddings": n("context_length"), "hidden_size": hidden,
        "intermediate_size": n("feed_forward_length"), "num_attention_heads": heads,
        "num_key_value_heads": n("attention.head_count_kv", heads), "head_dim": head_width,
        "rms_norm_eps": n("attention.layer_norm_rms_epsilon", 1e-6),
    }  # fmt: skip
    return config | _family_settings(file, head_width)


def _family_settings(file: GgufFile, head_width: int) -> dict[str, Any]:
    n, more = file.number, dict[str, Any]()
    theta = n("rope.freq_base", 10000.0)
    if file.architecture in ("llama", "qwen2", "qwen3"):
        more["rope_parameters"] = {"rope_type": "default", "rope_theta": theta} | _rope_scaling(file)
    else:
        more |= {"rope_theta": theta, "sliding_window": n("attention.sliding_window", 4096)}
        # The 27B models, alone, scale attention by the width per head of the residual stream (llama.cpp).
        large = n("block_count") == {"gemma2": 46, "gemma3": 62}[file.architecture]
        more["query_pre_attn_scalar"] = n("embedding_length") // n("attention.head_count") if large else head_width
    if file.architecture == "llama":
        more["attention_bias"] = "blk.0.attn_q.bias" in file.tensors
    if file.architecture == "gemma2":
        more |= {
            "attn_logit_softcapping": n("attn_logit_softcapping", 50.0),
            "final_logit_softcapping": n("final_logit_softcapping", 30.0),
        }
    return more


def _rope_scaling(file: GgufFile) -> dict[str, Any]:
    kind = file.values.get(f"{file.architecture}.rope.scaling.type")
    factor = file.number("rope.scaling.factor", 0.0)
    if kind == "linear" and factor:
        return {"rope_type": "linear", "factor": factor}
    if kind == "yarn" and factor:
        original = file.number("rope.scaling.original_context_length", 0)
        return {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original}
    return {}


def llama3_rope(factors: Array) -> dict[str, Any]:
    """Return the scaling that Llama 3.1 stores as one factor per frequency (``rope_freqs.weight``)."""
    return {"rope_type": "llama3", "factor": float(factors.max()), **LLAMA3_ROPE}


def _token_ids(file: GgufFile, n_tokens: int) -> dict[str, int]:
    names = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding"}
    found = {}
    for name, key in names.items():
        id = file.values.get(f"tokenizer.ggml.{key}_token_id")
        if isinstance(id, int) and 0 <= id < n_tokens:
            found[name] = int(id)
    return found


def name_of(file: GgufFile, name: str) -> str:
    """Return the name that transformers gives a tensor; empty for those that it computes itself.

    Raises:
        UserError: If the tensor is unknown in this family.
    """
    top, inside, prefix = TOP, BLOCK_NAMES, "model.layers"
    if file.architecture == "gpt2":
        top, inside, prefix = GPT2_TOP, GPT2_NAMES, "transformer.h"
    if file.architecture.startswith("gemma"):
        inside = GEMMA_NAMES
    stem, _dot, ending = name.rpartition(".")
    if stem == "rope_freqs":
        return ""
    if stem in top:
        return f"{top[stem]}.{ending}"
    parts = stem.split(".")
    if len(parts) == 3 and parts[0] == "blk" and parts[1].isdecimal() and parts[2] in inside:
        return f"{prefix}.{int(parts[1])}.{inside[parts[2]]}.{ending}"
    raise unknown_tensor(file, name)


def unknown_tensor(file: GgufFile, name: str) -> UserError:
    """Return the error for a tensor that its family does not have."""
    return bad(file.path, _("the family {family} has no tensor {name!r}").format(family=file.architecture, name=name))


def change_of(file: GgufFile, name: str) -> Callable[[Array], Array] | None:
    """Return what undoes llama.cpp's change of a tensor (rows reordered, transposed, norm weights raised by 1)."""
    if file.architecture == "llama" and (".attn_q." in name or ".attn_k." in name):
        heads = file.number("attention.head_count")
        n_heads = heads if ".attn_q." in name else file.number("attention.head_count_kv", heads)
        return lambda weights: _interleaved(weights, n_heads)
    if file.architecture.startswith("gemma") and name.endswith("norm.weight"):
        return lambda weights: weights - 1
    if (
        file.architecture == "gpt2"
        and name.endswith(".weight")
        and any(part in name for part in ("attn_qkv", "attn_output", "ffn_up", "ffn_down"))
    ):
        return lambda weights: np.ascontiguousarray(weights.T)
    return None


def _interleaved(weights: Array, n_heads: int) -> Array:
    """Return rotary rows in transformers' order (first halves, then second) from ggml's (pairs), per head."""
    half = weights.shape[0] // n_heads // 2
    pairs = weights.reshape(n_heads, half, 2, *weights.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(weights.shape)
