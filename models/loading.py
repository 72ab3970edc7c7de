"""Open a checked Hugging Face folder: transformers builds the model from our configuration, we hand it the tensors."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from models import devices, precision
from models.adapters import Adapter, attach, describe_adapter
from models.build import build_config, load_weights
from models.configs import CheckedConfig, kind_of, read_config
from models.describe import describe_folder, stage_of
from models.events import Note, Progress, Work
from models.headers import TensorInfo, read_headers, weight_files
from models.manifest import check_sizes
from models.memory import check_memory, free_memory, out_of_memory
from models.opened import OpenModel
from models.records.checkpoints import Description, Loaded
from models.threads import in_thread
from models.tokenizer_files import read_tokenizer
from models.tokenizer_open import check_ids, end_ids, load_tokenizer
from models.words import _


@dataclass(frozen=True)
class Settings:
    """How to open: device, dtype and quantize as the command line spells them."""

    device: str = "auto"
    dtype: str = "auto"
    quantize: str = ""


def load_folder(folder: Path, settings: Settings, path: str = "", adapter: Adapter | None = None) -> Work[OpenModel]:
    """Open a Hugging Face folder, with a PEFT adapter laid into its layers if one is given.

    Args:
        folder: The folder, or the base of the adapter.
        settings: Device, dtype and quantisation.
        path: What the user asked for; the folder itself if empty.
        adapter: A checked adapter.

    Raises:
        UserError: For everything that its files, the device or the memory make impossible; nothing stays loaded.
    """
    started = time.monotonic()
    precision.check_quantize(settings.quantize)
    check_sizes(folder)
    stage = stage_of(adapter.folder if adapter else folder)
    description = describe_adapter(adapter.folder, stage) if adapter else describe_folder(folder, stage)
    config = read_config(folder)
    files = weight_files(folder)
    tensors = read_headers(files)
    yield Progress(0, 1, _("starting torch"))
    device = yield from in_thread(lambda: devices.pick(settings.device), _("starting torch"))
    dtype = precision.dtype_name(settings.dtype, next(iter(description.memory), "F32"), device)
    whole = {**tensors, **{f"adapter.{name}": info for name, info in adapter.tensors.items()}} if adapter else tensors
    needed = forecast_bytes(whole, dtype, settings.quantize)
    check_memory(folder, needed, device)
    yield Note(_("{name} will need about {n} MB").format(name=folder.name, n=needed // 10**6))
    before = free_memory(device)
    hf_config, model_class = yield from in_thread(lambda: build_config(config), _("starting transformers"))
    with out_of_memory(folder, needed, device):
        model, warnings = yield from load_weights(model_class, hf_config, files, tensors, dtype)
        if adapter:
            yield from in_thread(lambda: attach(adapter, model), _("laying in the adapter"))
        model = yield from _place(model, device, settings.quantize)
    texts = adapter.folder if adapter and read_tokenizer(adapter.folder).present else folder
    tokenizer = yield from in_thread(lambda: load_tokenizer(texts), _("opening the tokenizer"))
    check_ids(texts, model, read_tokenizer(texts).n_ids)
    actual = model_bytes(model)
    loaded = _loaded(config, model, path or str(folder), (device, dtype, settings.quantize), description)
    loaded = replace(
        loaded,
        forecast_bytes=needed,
        actual_bytes=actual,
        seconds=time.monotonic() - started,
        notes=(*loaded.notes, *warnings),
    )
    for warning in warnings:
        yield Note(warning, "warning")
    yield Note(
        _("{name} takes {n} MB; {free} MB less are free").format(
            name=folder.name, n=actual // 10**6, free=max(before - free_memory(device), 0) // 10**6
        )
    )
    return _opened(model, tokenizer, loaded, description, folder)


def _opened(model: Any, tokenizer: Any, loaded: Loaded, description: Description, folder: Path) -> OpenModel:
    eos_ids = end_ids(model, tokenizer, folder)
    return OpenModel(
        model=model,
        tokenizer=tokenizer,
        config=model.config,
        path=loaded.path,
        kind=loaded.kind,
        device=loaded.device,
        dtype=loaded.dtype,
        quantize=loaded.quantize,
        loaded=loaded,
        description=replace(description, path=loaded.path),
        folder=str(folder),
        chat_template=description.chat_template,
        eos_ids=eos_ids,
    )


def _loaded(config: CheckedConfig, model: Any, path: str, where: tuple[str, str, str], description: Description) -> Loaded:
    device, dtype, quantize = where
    return Loaded(
        path=path,
        device=device,
        dtype=dtype,
        quantize=quantize,
        forecast_bytes=0,
        actual_bytes=0,
        seconds=0.0,
        layers=_int(model.config, "num_hidden_layers") or config.number("layers"),
        heads=_int(model.config, "num_attention_heads") or config.number("heads"),
        kind=kind_of(config),
        unavailable=description.unavailable,
        notes=description.warnings,
    )


def _int(config: Any, name: str) -> int:
    value = getattr(config, name, 0)
    return value if isinstance(value, int) else 0


def forecast_bytes(tensors: Mapping[str, TensorInfo], dtype: str, quantize: str = "") -> int:
    """Return the bytes that the weights will take in ``dtype``, matrices of linear layers quantised if asked."""
    width = precision.BYTES[dtype]
    total = 0
    for name, info in tensors.items():
        linear = len(info.shape) == 2 and "embed" not in name and "wte" not in name and "lm_head" not in name
        if quantize and linear and "lora_" not in name and info.shape[-1] % precision.GROUP == 0:
            per_row = info.shape[0] * width if quantize == "int8" else 0
            total += int(info.n_elements * precision.QUANTIZED_BYTES[quantize]) + per_row
        elif info.dtype in precision.STORED:
            total += info.n_elements * width
        else:
            total += info.end - info.start
    return total


def _place(model: Any, device: str, quantize: str) -> Work[Any]:
    """Return the model on its device, quantised if asked, in evaluation mode, without gradients."""
    model.requires_grad_(False)
    if quantize:
        from models.quantize import quantize_linears

        yield from in_thread(lambda: quantize_linears(model, quantize), _("quantising"))
    if device != "cpu":
        devices.exact()
        yield from in_thread(lambda: model.to(device), _("moving to {device}").format(device=device))
    model.eval()
    return model


def model_bytes(model: Any) -> int:
    """Return the bytes of all parameters and buffers, shared ones once."""
    seen: dict[int, int] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        seen[id(tensor)] = tensor_bytes(tensor)
    return sum(seen.values())


def tensor_bytes(tensor: Any) -> int:
    """Return the bytes of a tensor, or of the parts that a quantised one is made of."""
    if hasattr(tensor, "__tensor_flatten__"):
        names, _context = tensor.__tensor_flatten__()
        return sum(tensor_bytes(getattr(tensor, name)) for name in names)
    return int(tensor.numel() * tensor.element_size())
