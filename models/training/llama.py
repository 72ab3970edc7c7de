"""Making and opening the models that are trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models import devices
from models.errors import UserError
from models.lean import import_models
from models.training.stage import check_at_least, help_text
from models.words import _


@dataclass(frozen=True)
class ModelShape:
    """Shape of a Llama-style decoder made from nothing."""

    layers: int = field(default=4, metadata=help_text("Transformer blocks."))
    width: int = field(default=192, metadata=help_text("Size of the hidden state."))
    heads: int = field(default=3, metadata=help_text("Attention heads."))
    kv_heads: int = field(default=0, metadata=help_text("Key and value heads; 0 means as many as heads."))
    feed_forward: int = field(default=512, metadata=help_text("Inner size of the MLP."))
    tied: bool = field(default=True, metadata=help_text("Output embedding is the input embedding."))
    context: int = field(default=512, metadata=help_text("Longest input in tokens."))
    dropout: float = field(default=0.0, metadata=help_text("Dropout of attention weights while training."))
    rope_theta: float = field(default=10000.0, metadata=help_text("Base of the rotary frequencies."))
    init_std: float = field(default=0.02, metadata=help_text("Standard deviation of the first weights."))

    def __post_init__(self) -> None:
        """Raise ``UserError`` for a shape that cannot be built."""
        for name in ("layers", "width", "heads", "feed_forward", "context"):
            check_at_least(name, getattr(self, name), 1)
        if self.width % self.heads or self.heads % (self.kv_heads or self.heads):
            raise UserError(
                "training.shape",
                _("Width {width}, heads {heads} and kv_heads {kv_heads} do not divide.").format(
                    width=self.width, heads=self.heads, kv_heads=self.kv_heads
                ),
                _("Width must be a multiple of heads, heads of kv_heads."),
            )


def new_llama(shape: ModelShape, vocab_size: int, ids: tuple[int | None, int, int], seed: int) -> Any:
    """Return a randomly initialised ``LlamaForCausalLM`` in fp32; ``ids`` are bos, eos and pad."""
    import torch

    import_models()
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=shape.width,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads or shape.heads,
        max_position_embeddings=shape.context,
        tie_word_embeddings=shape.tied,
        attention_dropout=shape.dropout,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        initializer_range=shape.init_std,
        bos_token_id=ids[0],
        eos_token_id=ids[1],
        pad_token_id=ids[2],
        attn_implementation="eager",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def open_causal(folder: Path, device: str = "cpu") -> Any:
    """Open a checkpoint folder as a causal language model in fp32."""
    import torch

    import_models()
    from transformers import AutoModelForCausalLM

    return place(open_with(AutoModelForCausalLM, folder, torch.float32), device)


def open_reward(folder: Path, device: str = "cpu") -> Any:
    """Open a reward model (one label) in fp32."""
    import torch

    import_models()
    from transformers import AutoModelForSequenceClassification

    return place(open_with(AutoModelForSequenceClassification, folder, torch.float32), device)


def place(model: Any, device: str) -> Any:
    """Move a model to a device and let it attend as is best there; returns it.

    An accelerator has fused kernels, which keep no time × time pattern for the backward pass. On a processor plain
    products are as fast for short rows in fp32 and faster in bf16, so ``open_with`` begins with them.
    """
    import torch

    model = model.to(device)
    if torch.device(device).type != "cpu" and getattr(model, "_supports_sdpa", False):
        model.set_attn_implementation("sdpa")
    return model


def open_with(auto: Any, folder: Path, dtype: Any) -> Any:
    """Open a folder by one of transformers' auto classes, with eager attention, from safetensors alone."""
    from transformers.utils import logging

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        return auto.from_pretrained(folder, dtype=dtype, attn_implementation="eager", local_files_only=True, use_safetensors=True)
    finally:
        if bars:
            logging.enable_progress_bar()


def new_reward(policy: Any, seed: int) -> Any:
    """Return a sequence classifier with one label on the body of a causal model, in fp32.

    The head starts at std 1/sqrt(width + 1) (Huang et al. 2024, the N+ implementation details of RLHF with PPO).

    Raises:
        UserError: If transformers has no classifier with a ``score`` for this family.
    """
    import torch

    import_models()
    from transformers import AutoModelForSequenceClassification

    given = policy.config
    config = given.__class__.from_dict({**given.to_dict(), "id2label": {0: "reward"}, "label2id": {"reward": 0}})
    config._attn_implementation = "eager"
    kind = type(config)
    if kind not in AutoModelForSequenceClassification._model_mapping:
        raise _no_reward(config.model_type)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_config(config).float()
        if not isinstance(getattr(model, "score", None), torch.nn.Linear):
            raise _no_reward(config.model_type)
        torch.nn.init.normal_(model.score.weight, std=(model.score.in_features + 1) ** -0.5)
    model.base_model.load_state_dict(policy.base_model.state_dict())
    return model


def _no_reward(family: str) -> UserError:
    return UserError(
        "training.family",
        _("transformers has no reward model for the family {family!r}.").format(family=family),
        _("Choose a decoder such as Llama, Qwen, Mistral, Gemma or GPT-2."),
    )


def without_dropout(model: Any) -> Any:
    """Switch every dropout of a model off for good: RL compares log-probabilities, which must not be noisy."""
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.0
    return model


def pick_device(name: str) -> str:
    """Return the device to train on: ``auto`` takes CUDA if there is one."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(
            "training.device", _("device is {name!r}, but there is no CUDA device.").format(name=name), _("Use cpu or auto.")
        )
    if name != "cuda":  # that is the one that a launcher chose for this process
        devices.pick(name)
    return name


def autocast_dtype(precision: str, device: str) -> Any:
    """Return the torch dtype of autocast, or ``None`` for fp32 throughout.

    Raises:
        UserError: If fp16 is asked for where its gradients cannot be scaled.
    """
    import torch

    if precision == "fp16":
        if not device.startswith("cuda"):
            raise UserError(
                "training.setting",
                _("precision is fp16, which needs a CUDA device."),
                _("Use bf16, fp32 or auto."),
                setting="precision",
            )
        return torch.float16
    return torch.bfloat16 if uses_bf16(precision, device) else None


def uses_bf16(precision: str, device: str) -> bool:
    """Return whether to autocast to bf16: asked for, or ``auto`` on a processor that has it."""
    import torch

    if precision != "auto":
        return precision == "bf16"
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported())
    capability: Any = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(capability and capability())
