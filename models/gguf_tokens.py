"""Turn the vocabulary inside a GGUF file into ``tokenizer.json``, without starting any tokenizer library."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any

CONTROL, USER_DEFINED = 3, 4
LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = LETTERS + r"\p{N}{1,3}" + REST
QWEN2 = LETTERS + r"\p{N}" + REST
SPLITS = {
    **dict.fromkeys(("llama3", "llama-v3", "llama-bpe", "falcon3", "dbrx", "smaug-bpe", "pixtral", "lfm2"), LLAMA3),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen", "megrez", "kormo"), QWEN2),
}
DIGITS = frozenset({"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone"})
"""Pre-tokenizers that split every digit off and then split as GPT-2 does."""
PLAIN = frozenset({"default", "gpt-2", "gpt2", "olmo", "jais", "phi-2", "mpt", "roberta-bpe", ""})
KNOWN = frozenset(SPLITS) | DIGITS | PLAIN
SPACE = "▁"
ROLES = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}


def can_build(values: Mapping[str, Any]) -> bool:
    """Return whether this module knows the file's kind of tokenizer."""
    kind, split = values.get("tokenizer.ggml.model"), values.get("tokenizer.ggml.pre", "")
    if not isinstance(values.get("tokenizer.ggml.tokens"), list):
        return False
    if kind == "gpt2":
        return split in KNOWN and isinstance(values.get("tokenizer.ggml.merges"), list)
    return kind == "llama" and values.get("general.architecture") in ("llama", "mistral")


def tokenizer_files(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (tokenizer.json, tokenizer_config.json) of a file that ``can_build`` accepts."""
    tokens: list[str] = values["tokenizer.ggml.tokens"]
    byte_level = values["tokenizer.ggml.model"] == "gpt2"
    content = _byte_level(values, tokens) if byte_level else _sentencepiece(values, tokens)
    roles = _roles(values, tokens)
    add_bos = bool(values.get("tokenizer.ggml.add_bos_token", not byte_level))
    bos = roles.get("bos_token")
    content["post_processor"] = _with_bos(bos, tokens.index(bos)) if add_bos and bos is not None else content["post_processor"]
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "add_bos_token": add_bos,
        **roles,
    }
    template = values.get("tokenizer.chat_template")
    if isinstance(template, str) and template:
        config["chat_template"] = template
    return {"version": "1.0", "truncation": None, "padding": None, **content}, config


def _roles(values: Mapping[str, Any], tokens: list[str]) -> dict[str, str]:
    found = {}
    for role, key in ROLES.items():
        id = values.get(f"tokenizer.ggml.{key}_token_id")
        if isinstance(id, int) and not isinstance(id, bool) and 0 <= id < len(tokens):
            found[role] = tokens[id]
    return found


def _added(values: Mapping[str, Any], tokens: list[str]) -> list[dict[str, Any]]:
    """Return the tokens that are matched whole in a text: control ones (special) and those defined by a user."""
    kinds = values.get("tokenizer.ggml.token_type") or array("i", bytes(4 * len(tokens)))
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return [
        {"id": id, "content": tokens[id], **plain, "special": kind == CONTROL}
        for id, kind in enumerate(kinds)
        if kind in (CONTROL, USER_DEFINED) and tokens[id]
    ]


def _bpe(vocabulary: Mapping[str, int], merges: list[list[str]], **more: Any) -> dict[str, Any]:
    return {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
        "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, **more,
        "vocab": vocabulary, "merges": merges,
    }  # fmt: skip


def _byte_level(values: Mapping[str, Any], tokens: list[str]) -> dict[str, Any]:
    split = values.get("tokenizer.ggml.pre", "")
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": split not in SPLITS}
    parts: list[dict[str, Any]] = []
    if split in DIGITS:
        parts.append({"type": "Digits", "individual_digits": True})
    if split in SPLITS:
        parts.append({"type": "Split", "pattern": {"Regex": SPLITS[split]}, "behavior": "Isolated", "invert": False})
    merges = [merge.split(" ", 1) for merge in values["tokenizer.ggml.merges"]]
    return {
        "added_tokens": _added(values, tokens),
        "normalizer": {"type": "NFC"} if SPLITS.get(split) == QWEN2 else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*parts, level]} if parts else level,
        "post_processor": {**level, "trim_offsets": False},
        "decoder": {**level, "use_regex": True},
        "model": _bpe(_vocabulary(tokens), merges, ignore_merges=SPLITS.get(split) == LLAMA3),
    }


def _vocabulary(tokens: list[str]) -> dict[str, int]:
    return {text: id for id, text in enumerate(tokens)}


def _sentencepiece(values: Mapping[str, Any], tokens: list[str]) -> dict[str, Any]:
    """Return a BPE whose merges are recovered from the pieces and their scores."""
    vocabulary = _vocabulary(tokens)
    scores = values.get("tokenizer.ggml.scores") or array("f", (-float(id) for id in range(len(tokens))))
    prefix = bool(values.get("tokenizer.ggml.add_space_prefix", True))
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    steps = [{"type": "Prepend", "prepend": SPACE}, replace] if prefix else [replace]
    decoders: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if prefix:
        decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    unknown = _roles(values, tokens).get("unk_token")
    return {
        "added_tokens": _added(values, tokens),
        "normalizer": {"type": "Sequence", "normalizers": steps},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": _bpe(vocabulary, _merges(tokens, vocabulary, scores), byte_fallback=True, fuse_unk=True, unk_token=unknown),
    }


def _merges(tokens: list[str], vocabulary: Mapping[str, int], scores: array[float]) -> list[list[str]]:
    """Return every pair of pieces that makes a piece, best-scored piece first, earlier left part first within one."""
    found: list[tuple[float, int, int, str, str]] = []
    for id, text in enumerate(tokens):
        for cut in range(1, len(text)):
            left, right = text[:cut], text[cut:]
            if left in vocabulary and right in vocabulary:
                found.append((-scores[id], vocabulary[left], vocabulary[right], left, right))
    return [[left, right] for *_order, left, right in sorted(found)]


def _with_bos(text: str, id: int) -> dict[str, Any]:
    bos = {"SpecialToken": {"id": text, "type_id": 0}}
    a, b = {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}
    return {
        "type": "TemplateProcessing",
        "single": [bos, a],
        "pair": [bos, a, {"SpecialToken": {"id": text, "type_id": 1}}, b],
        "special_tokens": {text: {"id": text, "ids": [id], "tokens": [text]}},
    }
