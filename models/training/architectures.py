"""Models made from nothing: our Llama shape, or any configuration that transformers knows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.families import ENCODER_DECODERS, ENCODERS, declared_keys, known_family
from models.training.data import Texts
from models.training.values import unknown
from models.words import _

CAUSAL, MASKED, SPAN = "causal", "masked", "span"
OBJECTIVES = ("auto", CAUSAL, MASKED, SPAN)
KINDS = {CAUSAL: ("decoder",), MASKED: ("encoder",), SPAN: ("encoder-decoder",)}


def objective_of(family: str) -> str:
    """Return what a family is pretrained with: masked for encoders, span for encoder-decoders, else causal."""
    return MASKED if family in ENCODERS else SPAN if family in ENCODER_DECODERS else CAUSAL


def check_values(config: Mapping[str, Any]) -> str:
    """Return the family of a configuration; ``UserError`` if transformers does not know it or one of its keys."""
    family = config.get("model_type")
    if not isinstance(family, str) or not known_family(family):
        raise UserError(
            "training.setting",
            _("config has the model_type {family!r}, which transformers does not know.").format(family=family),
            _("Write for example model_type: bert, gpt2, qwen3 or t5."),
            setting="config",
        )
    known = declared_keys(family)
    for key in config:
        if key not in known:
            raise unknown(str(key), sorted(known), _("the configuration of {family}").format(family=family))
    return family


def _auto(objective: str) -> Any:
    from models.lean import import_models

    import_models()
    import transformers

    name = {CAUSAL: "AutoModelForCausalLM", MASKED: "AutoModelForMaskedLM", SPAN: "AutoModelForSeq2SeqLM"}[objective]
    return getattr(transformers, name)


def new_model(config: Mapping[str, Any], objective: str, texts: Texts, seed: int) -> Any:
    """Return a randomly initialised model of any family in fp32, its vocabulary and special tokens those of ``texts``.

    Raises:
        UserError: If the configuration cannot be built, or its family has no head for the objective.
    """
    import torch
    from transformers import AutoConfig

    family = check_values(config)
    own = {"vocab_size": len(texts), "bos_token_id": texts.bos, "eos_token_id": texts.end, "pad_token_id": texts.pad}
    if objective == SPAN:
        own["decoder_start_token_id"] = texts.pad
    known = declared_keys(family)
    values = {**{name: value for name, value in own.items() if name in known or name != "vocab_size"}, **config}
    values["vocab_size"] = len(texts)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            built = AutoConfig.for_model(**values)
            model = _auto(objective).from_config(built, attn_implementation="eager")
            return model.float()
    except (ValueError, TypeError, KeyError, RuntimeError, ZeroDivisionError, AttributeError) as cause:
        raise UserError(
            "training.shape",
            _("transformers cannot make a {objective} model of this configuration: {reason}.").format(
                objective=objective, reason=" ".join(str(cause).split())[:300].rstrip(".")
            ),
            _("Correct config in the recipe."),
            setting="config",
        ) from cause


def open_model(folder: Path, objective: str, device: str) -> Any:
    """Open a checkpoint folder with the head of an objective, in fp32."""
    import torch

    from models.training.llama import open_with, place

    return place(open_with(_auto(objective), folder, torch.float32), device)


def check_tokenizer(objective: str, texts: Texts) -> None:
    """Raise ``UserError`` if the tokenizer lacks the tokens that an objective needs."""
    if objective == MASKED and texts.mask < 0:
        raise UserError(
            "training.tokenizer",
            _("The tokenizer of {name!r} has no mask token.").format(name=texts.folder.name),
            _("Train one with mask_token: true."),
        )
    if objective == SPAN and len(texts.sentinels) < 2:
        raise UserError(
            "training.tokenizer",
            _("The tokenizer of {name!r} has no tokens <extra_id_0>, <extra_id_1> and so on.").format(name=texts.folder.name),
            _("Train one with sentinels: 100."),
        )
