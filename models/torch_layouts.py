"""State dicts of nanoGPT and minimind: which model of transformers computes the same, and what its tensors are called there.

Sources: github.com/karpathy/nanoGPT (``model.py``, ``train.py``), github.com/jingyaogong/minimind (``model/model_minimind.py``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from models.torch_files import Storage, StoredTensor
from models.words import _

ZEROS = "zeros"
"""Record of a storage that no file holds: nanoGPT may leave out biases, GPT-2 always has them."""
TURNED = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
"""nanoGPT's linear layers are (out, in), those of transformers' GPT-2 (in, out)."""


@dataclass(frozen=True)
class Layout:
    """A recognised state dict.

    Args:
        program: Whose it is.
        config: What ``config.json`` must say.
        tensors: Name in transformers → tensor.
        assumed: What the file does not say, in words.
    """

    program: str
    config: Mapping[str, Any]
    tensors: Mapping[str, StoredTensor]
    assumed: str = ""


def recognise(tensors: Mapping[str, StoredTensor], settings: Mapping[str, Any]) -> Layout | None:
    """Return how a state dict is to be read; None if it is neither program's.

    Args:
        tensors: Name → tensor of the state dict.
        settings: The plain values that were saved beside it (nanoGPT's ``model_args``).
    """
    plain = {name.removeprefix("_orig_mod.").removeprefix("module."): tensor for name, tensor in tensors.items()}
    return _nanogpt(plain, settings) or _minimind(plain)


def _nanogpt(tensors: Mapping[str, StoredTensor], settings: Mapping[str, Any]) -> Layout | None:
    sizes = {name: settings.get(name) for name in ("n_layer", "n_head", "n_embd", "block_size", "vocab_size")}
    table = tensors.get("transformer.wte.weight")
    if table is None or not all(type(size) is int and size > 0 for size in sizes.values()):
        return None
    kept = {
        name: _turned(tensor) if name.endswith(TURNED) else tensor
        for name, tensor in tensors.items()
        if name != "lm_head.weight" and not re.search(r"\.attn\.(bias|masked_bias)$", name)
    }
    for name in [name for name in kept if name.endswith(".weight") and re.search(r"ln_|c_attn|c_proj|c_fc", name)]:
        bias = name.removesuffix("weight") + "bias"
        if bias not in kept:
            kept[bias] = _zeros(kept[name].shape[-1], table.storage.dtype)
    config = {
        "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "activation_function": "gelu", "n_inner": None,
        "n_layer": sizes["n_layer"], "n_head": sizes["n_head"], "n_embd": sizes["n_embd"],
        "n_positions": sizes["block_size"], "vocab_size": sizes["vocab_size"], "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": True, "bos_token_id": None, "eos_token_id": None,
    }  # fmt: skip
    return Layout("nanoGPT", config, kept)


def _turned(tensor: StoredTensor) -> StoredTensor:
    return replace(tensor, shape=tensor.shape[::-1], strides=tensor.strides[::-1])


def _zeros(n: int, dtype: str) -> StoredTensor:
    return StoredTensor(Storage(dtype, ZEROS, n), 0, (n,), (1,))


def _minimind(tensors: Mapping[str, StoredTensor]) -> Layout | None:
    """Return the layout if widths are as minimind computes them; heads are read from the norms of q and k or are its own 8."""
    first = "model.layers.0."
    shapes = {name.removeprefix(first): tensor.shape for name, tensor in tensors.items() if name.startswith(first)}
    table = tensors.get("model.embed_tokens.weight")
    gate, queries, keys = (shapes.get(f"{name}_proj.weight") for name in ("mlp.gate", "self_attn.q", "self_attn.k"))
    if table is None or gate is None or queries is None or keys is None or len(table.shape) != 2:
        return None
    (rows, width), normed = table.shape, "self_attn.q_norm.weight" in shapes
    inner = math.ceil(width * math.pi / 64) * 64 if normed else (int(width * 8 / 3) + 63) // 64 * 64
    if gate != (inner, width):
        return None
    layers = {int(found[1]) for name in tensors if (found := re.match(r"model\.layers\.(\d{1,4})\.", name))}
    per_head = shapes["self_attn.q_norm.weight"][0] if normed else width // 8
    config = {
        "model_type": "qwen3" if normed else "llama",
        "architectures": ["Qwen3ForCausalLM" if normed else "LlamaForCausalLM"],
        "vocab_size": rows, "hidden_size": width, "intermediate_size": inner, "hidden_act": "silu",
        "num_hidden_layers": 1 + max(layers),
        "num_attention_heads": queries[0] // per_head, "num_key_value_heads": keys[0] // per_head, "head_dim": per_head,
        "max_position_embeddings": 32768, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
        "rms_norm_eps": 1e-6 if normed else 1e-5,
        "attention_bias": False, "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    kept = {name: tensor for name, tensor in tensors.items() if "freqs_" not in name}
    said = _("{heads} heads of {size}, RoPE base 1,000,000, norms with {eps:g}").format(
        heads=config["num_attention_heads"], size=per_head, eps=config["rms_norm_eps"]
    )
    return Layout("minimind", config, kept, said)
