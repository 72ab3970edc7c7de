"""How a model is trained: all of its weights, or an adapter (LoRA and its kin, by PEFT) over weights that stay as they are."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.lean import lean_adapters
from models.training.adalora import keep_ranks, lay
from models.training.parents import Parent
from models.training.stage import TrainSettings, check_at_least, check_choice, help_text
from models.words import _

METHODS = ("full", "lora", "dora", "rslora", "adalora", "qlora")
TRAINED, COPY = "default", "reference"
ADAPTER = "adapter"
"""Folder beside ``checkpoint/`` that keeps the adapter when ``merge`` writes whole weights."""


@dataclass(frozen=True)
class LoraShape:
    """Shape of an adapter: W x becomes W x + (alpha / rank) B A x, A (rank, in), B (out, rank), B zero at first.

    Source: Hu et al. 2021, arXiv 2106.09685. rsLoRA scales by alpha / sqrt(rank) (Kalajdzievski 2023, arXiv 2312.03732);
    DoRA learns the lengths of the columns apart from their directions (Liu et al. 2024, arXiv 2402.09353).
    """

    rank: int = field(default=8, metadata=help_text("Inner size of the adapter's two matrices."))
    alpha: float = field(default=16.0, metadata=help_text("Scale of the adapter, divided by the rank."))
    dropout: float = field(default=0.0, metadata=help_text("Dropout of the adapter's input while training."))
    start_rank: int = field(default=0, metadata=help_text("Rank at first with adalora; 0: half as much again as rank."))
    targets: tuple[str, ...] = field(
        default=("all-linear",), metadata=help_text("Names of the layers that get one; all-linear: every one but the head.")
    )

    def __post_init__(self) -> None:
        """Raise ``UserError`` for a shape that cannot work."""
        check_at_least("rank", self.rank, 1)
        if self.start_rank:
            check_at_least("start_rank", self.start_rank, self.rank + 1)
        if not 0 <= self.dropout < 1:
            raise UserError(
                "training.setting",
                _("dropout is {dropout}.").format(dropout=self.dropout),
                _("It must be from 0 to below 1."),
                setting="dropout",
            )
        if not self.targets:
            raise UserError("training.setting", _("targets is empty."), _("Write all-linear, or names of layers."))


@dataclass(frozen=True)
class MethodSettings(TrainSettings):
    """Settings of the stages that can train an adapter instead of the whole model."""

    method: str = field(
        default="full", metadata=help_text("full, lora, dora, rslora, adalora, or qlora (LoRA over 4-bit weights).")
    )
    lora: LoraShape = field(default=LoraShape(), metadata=help_text("Shape of the adapter, unless method is full."))
    merge: bool = field(default=False, metadata=help_text("Write whole weights, the adapter merged in, and it beside."))

    def __post_init__(self) -> None:
        """Raise ``UserError`` for a value that cannot work."""
        super().__post_init__()
        check_choice("method", self.method, METHODS)


def is_adapted(model: Any) -> bool:
    """Return whether an adapter lies in the model's layers."""
    return bool(getattr(model, "peft_config", None))


def open_trainable(parent: Parent, settings: MethodSettings, device: str) -> Any:
    """Return the parent's model in fp32, ready to be trained by the chosen method; an adapter parent is trained further.

    Raises:
        UserError: If PEFT or torchao is missing, or no layer matches ``targets``.
    """
    from models.training.llama import open_causal, place

    if settings.method == "full":
        return parent.open(device)
    model = open_causal(parent.folder)
    if parent.adapter is not None:
        continue_adapter(model, parent.adapter)
    else:
        add_adapter(model, settings)
    if settings.method == "qlora":
        quantise_base(model)
    return place(model, device)


def adapter_config(settings: MethodSettings, task: str = "CAUSAL_LM") -> Any:
    """Return PEFT's description of a new adapter."""
    from models.training.adalora import start_rank

    shape = settings.lora
    common: dict[str, Any] = {
        "lora_alpha": shape.alpha,
        "lora_dropout": shape.dropout,
        "target_modules": "all-linear" if shape.targets == ("all-linear",) else list(shape.targets),
        "task_type": task,
        "modules_to_save": ["score"] if task == "SEQ_CLS" else None,
    }
    if settings.method == "adalora":  # the number of steps is told when it is known
        return _peft().AdaLoraConfig(init_r=start_rank(shape), target_r=shape.rank, total_step=1, **common)
    return _peft().LoraConfig(r=shape.rank, use_dora=settings.method == "dora", use_rslora=settings.method == "rslora", **common)


def add_adapter(model: Any, settings: MethodSettings, task: str = "CAUSAL_LM") -> None:
    """Lay a new adapter into the model's layers: everything else is frozen. Its first weights follow from the seed."""
    peft = _peft()
    config = adapter_config(settings, task)
    model.requires_grad_(False)
    with lean_adapters(), seeded_adapter(model, settings):
        if settings.method == "adalora":
            lay(model, config, TRAINED)
        else:
            peft.inject_adapter_in_model(config, model, adapter_name=TRAINED)


@contextmanager
def seeded_adapter(model: Any, settings: MethodSettings) -> Iterator[None]:
    """Make the first weights of an adapter follow from the seed; layers that are not there are a ``UserError``."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        try:
            yield
        except ValueError as cause:
            raise UserError(
                "training.setting",
                _("No layer of {name} takes an adapter at {targets}.").format(
                    name=type(model).__name__, targets=", ".join(settings.lora.targets)
                ),
                _("Write all-linear, or names of its linear layers."),
                setting="targets",
            ) from cause


def _peft() -> Any:
    try:
        import peft
    except ImportError as cause:
        raise UserError(
            "adapter.missing",
            _("Training an adapter needs the package peft, which is not installed."),
            _("Install it: pip install 'triptych[peft]'"),
        ) from cause
    return peft


def continue_adapter(model: Any, folder: Path) -> None:
    """Lay a saved adapter into the model's layers and make it trainable again."""
    from models.adapters import attach, read_adapter

    _peft()
    adapter = read_adapter(folder)
    attach(adapter, model)
    _trainable(model, TRAINED)
    if adapter.kind == "ADALORA":
        keep_ranks(model, TRAINED)


def _trainable(model: Any, name: str) -> None:
    for layer in _layers(model):
        layer.set_adapter(name)


def _layers(model: Any) -> list[Any]:
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [module for module in model.modules() if isinstance(module, BaseTunerLayer)]


def quantise_base(model: Any) -> None:
    """Round the frozen linear layers to 4 bits (torchao), in place; the adapter and the head stay in fp32.

    Source: Dettmers et al. 2023, arXiv 2305.14314 (QLoRA); symmetric integers of 4 bits per group of 32 instead of NF4.
    """
    from models.quantize import quantize_linears

    quantize_linears(model, "int4")


@dataclass(frozen=True)
class OwnReference:
    """The frozen reference of a model under an adapter: the same weights with the adapter off, or with its first copy.

    Args:
        model: The trained model.
        copy: Whether a frozen copy of an adapter that was trained before is the reference.
    """

    model: Any
    copy: bool


def reference_of(model: Any, parent: Parent) -> OwnReference:
    """Return the reference of an adapter that is about to be trained; one that was trained before is copied."""
    if parent.adapter is None:
        return OwnReference(model, copy=False)
    from peft import inject_adapter_in_model

    config = model.peft_config[TRAINED]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that there is an adapter already
        inject_adapter_in_model(config, model, adapter_name=COPY)
    values = dict(model.named_parameters())
    for name, value in values.items():
        if f".{COPY}" in name:
            value.data.copy_(values[name.replace(f".{COPY}", f".{TRAINED}")].data)
    _trainable(model, TRAINED)
    for name, value in values.items():
        if f".{COPY}" in name:
            value.requires_grad_(False)
    return OwnReference(model, copy=True)


@contextmanager
def opened_reference(reference: Any) -> Iterator[Any]:
    """Give the model that answers as the reference while the block runs: itself, or the trained one switched over."""
    if not isinstance(reference, OwnReference):
        yield reference
        return
    layers = _layers(reference.model)
    try:  # PEFT's own switches would make and unmake parameters trainable while gradients wait
        for layer in layers:
            layer._active_adapter, layer._disable_adapters = [COPY if reference.copy else TRAINED], not reference.copy
        yield reference.model
    finally:
        for layer in layers:
            layer._active_adapter, layer._disable_adapters = [TRAINED], False


def adapter_tensors(model: Any, dtype: Any) -> dict[str, Any]:
    """Return the trained adapter's tensors by the names that PEFT stores them under."""
    from peft import get_peft_model_state_dict

    from models.adapters import PREFIX

    found = get_peft_model_state_dict(model, adapter_name=TRAINED, save_embedding_layers=False)
    return {f"{PREFIX}{name}": value.detach().cpu().to(dtype).contiguous() for name, value in found.items()}


def merged(base: Path, adapter: Path) -> Any:
    """Return the base's model in fp32 with an adapter merged into its weights: W + (alpha / rank) B A."""
    from peft import PeftModel

    from models.training.llama import open_causal

    return PeftModel.from_pretrained(open_causal(base), str(adapter)).merge_and_unload().requires_grad_(True)


def absorb(model: Any) -> Any:
    """Merge the adapter that lies in an unquantised model into its weights, in place, and return the model."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import ModulesToSaveWrapper

    for name, module in list(model.named_modules()):
        above, _dot, last = name.rpartition(".")
        if isinstance(module, BaseTunerLayer):
            module.merge(adapter_names=[TRAINED])
            setattr(model.get_submodule(above), last, module.get_base_layer())
        elif isinstance(module, ModulesToSaveWrapper):
            setattr(model.get_submodule(above), last, module.modules_to_save[TRAINED])
    del model.peft_config
    return model
