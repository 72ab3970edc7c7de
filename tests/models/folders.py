"""Tiny checkpoints for tests: a random model of any family with a byte-level tokenizer, as a Hugging Face folder."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

SIZES: dict[str, Any] = {
    "vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
    "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaForCausalLM", {"num_key_value_heads": 2}),
    "llama-tied": ("LlamaForCausalLM", {"tie_word_embeddings": True}),
    "mistral": ("MistralForCausalLM", {"num_key_value_heads": 2, "sliding_window": 8}),
    "qwen2": ("Qwen2ForCausalLM", {"num_key_value_heads": 2}),
    "qwen3": ("Qwen3ForCausalLM", {"num_key_value_heads": 2, "head_dim": 8}),
    "gemma2": ("Gemma2ForCausalLM", {"num_key_value_heads": 2, "head_dim": 8}),
    "gemma3": ("Gemma3ForCausalLM", {"num_key_value_heads": 2, "head_dim": 8}),
    "gpt2": ("GPT2LMHeadModel", {}),
    "neox": ("GPTNeoXForCausalLM", {}),
    "bert": ("BertForMaskedLM", {}),
    "bert-bare": ("BertModel", {}),
    "roberta": ("RobertaForMaskedLM", {}),
    "t5": ("T5ForConditionalGeneration", {}),
    "bart": ("BartForConditionalGeneration", {}),
    "reward": ("LlamaForSequenceClassification", {"num_labels": 1}),
}


def config_of(name: str, **more: Any) -> tuple[Any, Any]:
    """Return (model class, configuration) of a tiny model."""
    import transformers

    class_name, own = FAMILIES[name]
    model_class = getattr(transformers, class_name)
    sizes = {**SIZES, **own, **more}
    if name == "gpt2":
        names = {"hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head",
                 "intermediate_size": "n_inner", "max_position_embeddings": "n_positions"}  # fmt: skip
        sizes = {names.get(key, key): value for key, value in sizes.items()}
    if name == "t5":
        sizes = {"vocab_size": 300, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4,
                 "pad_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 0}  # fmt: skip
    if name == "bart":
        sizes = {"vocab_size": 300, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
                 "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48,
                 "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
                 "decoder_start_token_id": 2}  # fmt: skip
    return model_class, model_class.config_class(**sizes)


def make_folder(folder: Path, name: str = "llama", seed: int = 0, **more: Any) -> Path:
    """Write a tiny checkpoint into ``folder`` and return it."""
    import torch

    torch.manual_seed(seed)
    model_class, config = config_of(name, **more)
    model = model_class(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def make_llama(folder: Path, seed: int = 0, **changes: Any) -> Path:
    """Write a tiny Llama without torch: the same sizes as ``make_folder(folder, "llama")``."""
    import numpy as np

    hidden, inner, vocabulary, kv = 32, 48, 300, 16
    shapes = {"model.embed_tokens.weight": (vocabulary, hidden), "model.norm.weight": (hidden,)}
    for layer in range(2):
        for name, shape in {
            "self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (kv, hidden), "self_attn.v_proj": (kv, hidden),
            "self_attn.o_proj": (hidden, hidden), "mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden),
            "mlp.down_proj": (hidden, inner), "input_layernorm": (hidden,), "post_attention_layernorm": (hidden,),
        }.items():  # fmt: skip
            shapes[f"model.layers.{layer}.{name}.weight"] = shape
    shapes["lm_head.weight"] = (vocabulary, hidden)
    generator = np.random.default_rng(seed)
    table: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    body = b""
    for name, shape in shapes.items():
        data = (generator.normal(size=shape) * 0.2).astype("<f4").tobytes()
        table[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(safetensors_bytes(table, body))
    config = {**SIZES, "model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_key_value_heads": 2,
              "head_dim": 8, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": False, **changes}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    write_tokenizer(folder)
    return folder


def byte_alphabet() -> list[str]:
    """Return the 256 characters that a byte-level tokenizer writes bytes as (GPT-2's table), sorted."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return sorted([chr(n) for n in plain] + [chr(256 + n) for n in range(256 - len(plain))])


def tokenizer_content() -> dict[str, Any]:
    """Return tokenizer.json of a byte-level BPE with three special tokens and three merges."""
    tokens = ["<pad>", "<s>", "</s>", *byte_alphabet(), "he", "ll", "hell"]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": id, "content": tokens[id], **special} for id in range(3)],
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": None,
        "decoder": level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: id for id, token in enumerate(tokens)},
            "merges": [["h", "e"], ["l", "l"], ["he", "ll"]],
        },
    }


TEMPLATE = "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}</s>{% endfor %}"


def write_tokenizer(folder: Path, content: dict[str, Any] | None = None, **config: Any) -> None:
    """Write tokenizer.json and tokenizer_config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content or tokenizer_content(), ensure_ascii=False)
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    values = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "chat_template": TEMPLATE,
        "model_max_length": 64,
        **config,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(values), encoding="utf-8")


def edit_json(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file; a value of ``...`` removes the key."""
    values = json.loads(path.read_text(encoding="utf-8"))
    values.update(changes)
    kept = {key: value for key, value in values.items() if value is not ...}
    path.write_text(json.dumps(kept), encoding="utf-8")


def safetensors_bytes(header: Any, body: bytes = b"", length: int | None = None) -> bytes:
    """Return a safetensors file: ``header`` is an object or ready bytes; ``length`` overrides the prefix."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + body
