"""Tiny models and tokenizers that the tests make for themselves: nothing is downloaded, every weight is random by seed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SPECIALS = ("<pad>", "<bos>", "<eos>", "<user>", "<assistant>", "<system>")
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}<system>{{ message['content'] }}<eos>"
    "{% elif message['role'] == 'user' %}<user>{{ message['content'] }}<eos>"
    "{% elif message['role'] == 'assistant' %}<assistant>{{ message['content'] }}<eos>"
    "{% else %}{{ raise_exception('unknown role ' + message['role']) }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
_TRAINING_TEXT = [
    "The quick brown fox jumps over the lazy dog. The dog sleeps under the old tree.",
    "A model reads the text and predicts the next token of the text.",
    "Which stage of training changed the answer? The answer is in the numbers.",
]
DECODERS = ("llama", "gpt2", "gpt_neox", "qwen2", "qwen3", "gemma2", "gemma3", "mistral")
ENCODERS = ("bert", "roberta")
ENCODER_DECODERS = ("t5", "bart")
FAMILIES = DECODERS + ENCODERS + ENCODER_DECODERS
TEXT = "The quick brown fox jumps over the lazy dog near the tree."


def byte_tokenizer(template: str = CHAT_TEMPLATE) -> Any:
    """Return a byte-level BPE tokenizer that adds ``<bos>``, with a chat template (empty for none)."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=list(SPECIALS), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(_TRAINING_TEXT, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", 1)]
    )
    return _wrap(tokenizer, template, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>")


def sentencepiece_tokenizer(eos: bool = False) -> Any:
    """Return a tokenizer as SentencePiece's BPE with byte fallback: ``▁`` for spaces, ``<0xE4>`` for unknown bytes."""
    from tokenizers import Tokenizer, decoders, models, normalizers, processors

    vocabulary = {token: index for index, token in enumerate((*SPECIALS, "<unk>"))}
    for byte in range(256):
        vocabulary[f"<0x{byte:02X}>"] = len(vocabulary)
    for letter in "▁abcdefghijklmnopqrstuvwxyzTAWQ.,?éü":
        vocabulary[letter] = len(vocabulary)
    merges = [("t", "h"), ("th", "e"), ("▁", "the"), ("▁", "a"), ("i", "n"), ("T", "h"), ("Th", "e"), ("▁", "The")]
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(list(SPECIALS))
    single, specials = ("$A <eos>", [("<eos>", 2)]) if eos else ("<bos> $A", [("<bos>", 1)])
    tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=specials)
    return _wrap(tokenizer, "", bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>")


def wordpiece_tokenizer() -> Any:
    """Return a WordPiece tokenizer as BERT's: ``[CLS] … [SEP]``, ``##`` for the inside of words, lower case."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,?!"
    words = ["the", "quick", "brown", "fox", "jump", "##s", "##ing", "over", "dog", "tree", "near", "old"]
    pieces = dict.fromkeys([*specials, *words, *letters, *(f"##{letter}" for letter in letters)])
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    )
    return _wrap(tokenizer, "", pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]")


def roberta_tokenizer() -> Any:
    """Return a byte-level tokenizer with ``<s> … </s>`` and ``<mask>``, as RoBERTa and BART have."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(_TRAINING_TEXT, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return _wrap(
        tokenizer, "", bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>", cls_token="<s>",
        sep_token="</s>", mask_token="<mask>",
    )  # fmt: skip


def _wrap(tokenizer: Any, template: str, **tokens: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **tokens)
    if template:
        wrapped.chat_template = template
    return wrapped


def tokenizer_of(family: str) -> Any:
    """Return a tokenizer as the models of a family have."""
    if family == "bert":
        return wordpiece_tokenizer()
    if family in ("roberta", "bart"):
        return roberta_tokenizer()
    if family == "t5":
        return sentencepiece_tokenizer(eos=True)
    return byte_tokenizer()


def tiny_config(family: str, n_vocab: int) -> Any:
    """Return a small configuration: width 32, 2 to 4 layers, 4 heads (2 key-value heads where the family has them)."""
    import transformers as hf

    small = {"vocab_size": n_vocab, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    llama = {
        **small, "intermediate_size": 48, "num_key_value_heads": 2, "max_position_embeddings": 256,
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
    }  # fmt: skip
    plain = {**small, "intermediate_size": 48, "max_position_embeddings": 256}
    gemma = {**llama, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 8}
    builders: dict[str, Any] = {
        "llama": lambda: hf.LlamaConfig(**llama),
        "qwen2": lambda: hf.Qwen2Config(**llama, tie_word_embeddings=False),
        "qwen3": lambda: hf.Qwen3Config(**llama, head_dim=8, tie_word_embeddings=False),
        "mistral": lambda: hf.MistralConfig(**llama, sliding_window=8),
        "gemma2": lambda: hf.Gemma2Config(**gemma, attn_logit_softcapping=1.0, final_logit_softcapping=5.0),
        "gemma3": lambda: hf.Gemma3TextConfig(
            **{**gemma, "num_hidden_layers": 3}, layer_types=["sliding_attention", "sliding_attention", "full_attention"]
        ),
        "gpt_neox": lambda: hf.GPTNeoXConfig(**plain, bos_token_id=1, eos_token_id=2, rotary_pct=0.5),
        "gpt2": lambda: hf.GPT2Config(
            vocab_size=n_vocab, n_embd=32, n_layer=2, n_head=4, n_positions=256, bos_token_id=1, eos_token_id=2
        ),
        "bert": lambda: hf.BertConfig(**plain, pad_token_id=0),
        "roberta": lambda: hf.RobertaConfig(**plain, pad_token_id=1, bos_token_id=0, eos_token_id=2),
        "t5": lambda: hf.T5Config(
            vocab_size=n_vocab, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, pad_token_id=0, eos_token_id=2,
            decoder_start_token_id=0, feed_forward_proj="gated-gelu",
        ),
        "bart": lambda: hf.BartConfig(
            vocab_size=n_vocab, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
            decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=256,
            pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=None,
        ),
        "bloom": lambda: hf.BloomConfig(
            vocab_size=n_vocab, hidden_size=32, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=2, pad_token_id=0
        ),
        "gptj": lambda: hf.GPTJConfig(
            vocab_size=n_vocab, n_embd=32, n_layer=2, n_head=4, n_positions=256, rotary_dim=4, bos_token_id=1,
            eos_token_id=2,
        ),
        "gpt_neo": lambda: hf.GPTNeoConfig(
            vocab_size=n_vocab, hidden_size=32, num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]],
            window_size=8, max_position_embeddings=256, intermediate_size=48, bos_token_id=1, eos_token_id=2,
        ),
        "mamba": lambda: hf.MambaConfig(
            vocab_size=n_vocab, hidden_size=32, num_hidden_layers=2, state_size=4, bos_token_id=1, eos_token_id=2,
            pad_token_id=0,
        ),
    }  # fmt: skip
    return builders[family]()


def tiny_model(family: str, n_vocab: int, seed: int = 0, gain: float = 2.5) -> Any:
    """Return a model with random weights: norms and biases random too, query and key large so that heads are sharp."""
    import torch
    import transformers as hf

    config = tiny_config(family, n_vocab)
    if family in ENCODERS:
        model = hf.AutoModelForMaskedLM.from_config(config)
    elif family in ENCODER_DECODERS:
        model = hf.AutoModelForSeq2SeqLM.from_config(config)
    else:
        model = hf.AutoModelForCausalLM.from_config(config)
    randomise(model, seed, gain)
    return model.to(torch.float32).eval()


_SHARP = ("q_proj", "k_proj", "query", "key.", ".q.", ".k.", "c_attn")


def randomise(model: Any, seed: int, gain: float = 2.5) -> None:
    """Fill every parameter of a model from one seed."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    if model.config.model_type == "t5":
        gain = gain / 2  # T5 does not divide its scores by the square root of the width
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 1:
                centre = 0.0 if name.endswith("bias") or "gemma" in type(model).__name__.lower() else 1.0
                parameter.copy_(centre + 0.3 * noise)
            elif "embed" in name or "wte" in name or "shared" in name or "wpe" in name:
                parameter.copy_(noise)
            else:
                sharp = gain if any(word in name for word in _SHARP) else 1.0
                parameter.copy_(noise * sharp / parameter.shape[-1] ** 0.5)


def write_model(folder: Path, family: str, seed: int = 0, gain: float = 2.5, template: str | None = None) -> Path:
    """Write a tiny model of a family with its tokenizer as a Hugging Face folder, and return the folder."""
    tokenizer = tokenizer_of(family)
    if template is not None:
        tokenizer.chat_template = template
    model = tiny_model(family, len(tokenizer), seed, gain)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_reward_model(folder: Path, seed: int = 0) -> Path:
    """Write a tiny Llama with one score on top, as a reward model is stored."""
    import transformers as hf

    tokenizer = byte_tokenizer()
    config = tiny_config("llama", len(tokenizer))
    config.num_labels = 1
    model = hf.LlamaForSequenceClassification(config)
    randomise(model, seed)
    folder.mkdir(parents=True, exist_ok=True)
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_lineage(folder: Path, stages: tuple[str, ...] = ("pretrain", "sft", "rlhf")) -> Path:
    """Write a lineage of tiny Llamas, one for each stage, with its ``lineage.json``; returns the folder."""
    rows, parent = [], ""
    for seed, stage in enumerate(stages):
        write_model(folder / stage, "llama", seed=seed)
        rows.append({"name": stage, "path": stage, "stage": stage, "parent": parent})
        parent = stage
    (folder / "lineage.json").write_text(json.dumps({"name": "Tiny", "checkpoints": rows}), encoding="utf-8")
    return folder


def opened_model(family: str, seed: int = 0, gain: float = 2.5) -> Any:
    """Return a tiny model as if the library had opened it, without any file."""
    from models.opened import OpenModel
    from models.records.checkpoints import Description, Loaded

    tokenizer = tokenizer_of(family)
    model = tiny_model(family, len(tokenizer), seed, gain)
    kind = "encoder" if family in ENCODERS else "encoder-decoder" if family in ENCODER_DECODERS else "decoder"
    loaded = Loaded(family, "cpu", "float32", "", 0, sum(p.numel() * 4 for p in model.parameters()), 0.0, kind=kind)
    description = Description(family, family, family, type(model).__name__, kind)
    template = tokenizer.chat_template or ""
    return OpenModel(
        model, tokenizer, model.config, family, kind, "cpu", "float32", "", loaded, description,
        chat_template=template, eos_ids=(tokenizer.eos_token_id,) if tokenizer.eos_token_id is not None else (),
    )  # fmt: skip


def here(path: str) -> Iterator[Any]:
    """Stand in for ``library.locate`` where checkpoints are only names."""
    yield from ()
    return Path(path)


PREVIOUS_HEAD, DUPLICATE_HEAD, INDUCTION_HEAD = (0, 2), (1, 0), (1, 1)
"""Layer and head of what ``planted_model`` has by construction."""


def planted_model(n_vocab: int, seed: int = 0) -> Any:
    """Return a GPT-2 of two layers built by hand: one head looks at the previous token, one does induction.

    The residual stream is four parts of 64: a random ±1 code of the position, one of the token, room for the code of the
    previous token, and nothing. L0H2 asks for the code of the position before its own and copies that token's code into the
    third part; L1H1 asks for its own token's code in the third part (the key after an equal token); L1H0 asks for it in the
    second (equal tokens, itself among them). All other heads look everywhere alike, the MLPs give 0.
    """
    import torch
    import transformers as hf

    part, n_positions = 64, 128
    config = hf.GPT2Config(
        vocab_size=n_vocab, n_embd=4 * part, n_layer=2, n_head=4, n_positions=n_positions, bos_token_id=1, eos_token_id=2
    )
    model = hf.GPT2LMHeadModel(config)
    generator = torch.Generator().manual_seed(seed)
    places, tokens = (
        torch.randint(0, 2, (n, part), generator=generator).float() * 2 - 1 for n in (n_positions, n_vocab)
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0 if name.endswith((".weight",)) and parameter.ndim == 1 else 0.0)
        body = model.transformer
        body.wpe.weight[:, :part] = places
        body.wte.weight[:, part : 2 * part] = tokens
        turn = torch.linalg.lstsq(places[1:], places[:-1]).solution  # position i → position i − 1, as well as 64 numbers can
        eye = torch.eye(part)
        _plant(body.h[0].attn, PREVIOUS_HEAD[1], (0, turn * 2), (0, eye), (1, eye), 2)
        _plant(body.h[1].attn, DUPLICATE_HEAD[1], (1, eye * 1.5), (1, eye), None, 3)
        _plant(body.h[1].attn, INDUCTION_HEAD[1], (1, eye * 1.5), (2, eye), None, 3)
    return model.eval()


def _plant(attention: Any, head: int, query: Any, key: Any, value: Any, target: int) -> None:
    """Let a head of 64 read parts of the residual stream (part, matrix) and write its values to part ``target``."""
    part = 64
    width = 4 * part
    for number, given in enumerate((query, key, value)):
        if given is not None:
            rows = slice(given[0] * part, (given[0] + 1) * part)
            attention.c_attn.weight[rows, number * width + head * part : number * width + (head + 1) * part] = given[1]
    if value is not None:
        inside, outside = slice(head * part, (head + 1) * part), slice(target * part, (target + 1) * part)
        attention.c_proj.weight[inside, outside] = _scale(part)


def _scale(part: int) -> Any:
    """Return what undoes the layer norm of a stream of which half is ±1 and half 0 (its deviation is √½)."""
    import torch

    return torch.eye(part) * 0.5**0.5


def write_planted(folder: Path, seed: int = 0) -> Path:
    """Write ``planted_model`` with its tokenizer as a Hugging Face folder, and return the folder."""
    tokenizer = byte_tokenizer()
    folder.mkdir(parents=True, exist_ok=True)
    planted_model(len(tokenizer), seed).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
