"""Build a model from a checked configuration and the tensors of safetensors files."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models import precision
from models.configs import CheckedConfig
from models.describe import is_buffer
from models.errors import UserError
from models.events import Progress, Work
from models.headers import TensorInfo, visible
from models.places import is_ours
from models.quiet import hush, quiet
from models.threads import in_thread
from models.words import _

LONGEST_NAME = 512
SLACK = 2_000_000
"""Parameters that a family may make by itself (buffers, position tables) beyond those that the files hold."""


_BUILDING = threading.Lock()
"""Held while transformers builds a model: it patches its own classes meanwhile (initialising, tying), for all threads."""


class Stopped(Exception):
    """Loading was cancelled; raised inside the loading thread."""


def build_config(config: CheckedConfig) -> tuple[Any, Any]:
    """Return (transformers configuration, model class) for a checked config.json.

    Raises:
        UserError: If transformers does not accept the values, or has no such architecture.
    """
    hush()
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    config_class = CONFIG_MAPPING[config.family]
    try:
        hf_config = config_class(**{key: value for key, value in config.values.items() if key != "model_type"})
    except Exception as cause:
        reason = visible(" ".join(str(cause).split()), 300)
        raise UserError(
            "config.rejected",
            _("{path} is not a configuration of {family!r}: {reason}.").format(
                path=config.path, family=config.family, reason=reason.rstrip(".")
            ),
            path=str(config.path),
        ) from cause
    name = config.architecture or _default_architecture(config.family)
    model_class = getattr(transformers, name, None)
    if not (isinstance(model_class, type) and issubclass(model_class, transformers.PreTrainedModel)):
        raise UserError(
            "config.architecture",
            _("{path} names the architecture {name!r}, which the installed transformers does not have.").format(
                path=config.path, name=visible(name)
            ),
            path=str(config.path),
        )
    own_config = getattr(model_class, "config_class", None)
    if own_config is None or not isinstance(hf_config, own_config):
        raise UserError(
            "config.architecture",
            _("{path}: the architecture {name!r} does not belong to the family {family!r}.").format(
                path=config.path, name=visible(name), family=config.family
            ),
            path=str(config.path),
        )
    return hf_config, model_class


def _default_architecture(family: str) -> str:
    from transformers.models.auto import modeling_auto

    for table in ("CAUSAL_LM", "SEQ_TO_SEQ_CAUSAL_LM", "MASKED_LM"):
        names = getattr(modeling_auto, f"MODEL_FOR_{table}_MAPPING_NAMES")
        if family in names:
            return str(names[family])
    return str(modeling_auto.MODEL_MAPPING_NAMES.get(family, ""))


class _Lazy:
    """One tensor of a file, read when transformers asks for it."""

    def __init__(self, handle: Any, name: str, counter: _Counter) -> None:
        self._handle, self._name, self._counter = handle, name, counter

    def __getitem__(self, index: Any) -> Any:
        self._counter.check()
        tensor = self._handle.get_tensor(self._name)
        self._counter.done += tensor.numel() * tensor.element_size()
        return tensor[index]


class _Counter:
    """Bytes read so far; ``stop`` makes the next read raise."""

    def __init__(self) -> None:
        self.done = 0
        self.stop = False

    def check(self) -> None:
        """Raise ``Stopped`` if loading was cancelled."""
        if self.stop:
            raise Stopped


def load_weights(
    model_class: Any, hf_config: Any, files: list[Path], tensors: Mapping[str, TensorInfo], dtype: str
) -> Work[tuple[Any, list[str]]]:
    """Return (model with all its weights, on the processor, in ``dtype``; warnings)."""
    source = files[0].parent if len(files) > 1 else files[0]
    yield from in_thread(lambda: check_shapes(model_class, hf_config, tensors, source), _("comparing tensors"))
    counter = _Counter()
    total = sum(info.end - info.start for info in tensors.values())

    def read() -> Any:
        return _from_tensors(model_class, hf_config, _lazy_tensors(files, counter), dtype)

    def stop() -> None:
        counter.stop = True

    model, report = yield from in_thread(
        read, _("reading weights"), progress=lambda: Progress(counter.done, total, _("reading weights")), stop=stop
    )
    refuse_differences(report, tensors, source)
    warnings = not_finite(model)
    return model, warnings


def _lazy_tensors(files: list[Path], counter: _Counter) -> dict[str, Any]:
    from safetensors import safe_open

    found: dict[str, Any] = {}
    for path in files:
        # Read, not mapped: a mapped file that shrinks under us would kill the process. Only our own copies are mapped,
        # which nobody rewrites: no memory is touched for them, and four columns share it.
        backend = "mmap" if is_ours(path) else "pread"
        handle: Any = safe_open(str(path), framework="pt", device="cpu", backend=backend)
        found.update({name: _Lazy(handle, name, counter) for name in handle.keys()})  # noqa: SIM118 - not a dict
    return found


def _from_tensors(model_class: Any, hf_config: Any, tensors: Mapping[str, Any], dtype: str, **options: Any) -> Any:
    """Return (model, report) that transformers makes of these tensors, with all of its renaming and tying."""
    with _BUILDING, quiet():
        return model_class.from_pretrained(
            None,
            config=hf_config,
            state_dict=dict(tensors),
            dtype=precision.torch_dtype(dtype),
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **options,
        )


def check_shapes(model_class: Any, hf_config: Any, tensors: Mapping[str, TensorInfo], source: Path) -> None:
    """Raise ``UserError`` with every missing, extra or wrong tensor, before any memory is taken for weights."""
    import torch

    odd = [name for name in tensors if len(name) > LONGEST_NAME or not name.isprintable()]
    if odd:  # not for transformers' patterns to chew on
        refuse_differences({"missing_keys": [], "unexpected_keys": odd, "mismatched_keys": []}, tensors, source)
    check_layers(hf_config, tensors, source)
    with _BUILDING, torch.device("meta"):
        try:
            skeleton = model_class(hf_config)
        except Exception as cause:
            raise UserError(
                "config.rejected",
                _("{path}: transformers cannot build this model: {reason}.").format(
                    path=source, reason=visible(" ".join(str(cause).split()), 300).rstrip(".")
                ),
                path=str(source),
            ) from cause
    expected = {name: tuple(value.shape) for name, value in skeleton.state_dict().items()}
    if expected == {name: info.shape for name, info in tensors.items()}:
        return
    predicted = sum(value.numel() for value in skeleton.parameters())
    held = sum(info.n_elements for info in tensors.values())
    meta = {name: torch.empty(info.shape, device="meta", dtype=torch.float32) for name, info in tensors.items()}
    _model, report = _from_tensors(model_class, hf_config, meta, "float32", device_map={"": "meta"})
    refuse_differences(report, tensors, source)
    if predicted > 2 * held + SLACK:
        raise UserError(
            "weights.size",
            _("{path} holds {held:,} parameters, but its config.json describes {predicted:,}.").format(
                path=source, held=held, predicted=predicted
            ),
            path=str(source),
        )


def check_layers(hf_config: Any, tensors: Mapping[str, TensorInfo], source: Path) -> None:
    """Raise ``UserError`` if the files hold fewer tensors than the model has layers (ALBERT shares its own)."""
    layers = getattr(hf_config, "num_hidden_layers", 0)
    if isinstance(layers, int) and layers > len(tensors) and hf_config.model_type != "albert":
        raise UserError(
            "weights.size",
            _("{path} holds {n} tensors, but its config.json describes {layers} layers.").format(
                path=source, n=len(tensors), layers=layers
            ),
            path=str(source),
        )


def refuse_differences(report: Mapping[str, Any], tensors: Mapping[str, TensorInfo], source: Path) -> None:
    """Raise ``UserError`` listing the tensors that are missing, extra or of another shape."""
    extra = [name for name in report["unexpected_keys"] if not is_buffer(name, tensors[name].shape if name in tensors else ())]
    lines = [
        *(_("missing: {name}").format(name=visible(name)) for name in sorted(report["missing_keys"])),
        *(_("extra: {name}").format(name=visible(name)) for name in sorted(extra)),
        *(
            _("wrong shape: {name} is {a}, expected {b}").format(name=visible(name), a=_shape(a), b=_shape(b))
            for name, a, b in sorted(report["mismatched_keys"], key=lambda item: str(item[0]))
        ),
    ]
    if lines:
        shown = "; ".join(lines[:5]) + (_(" and {n} more").format(n=len(lines) - 5) if len(lines) > 5 else "")
        raise UserError(
            "weights.differ",
            _("{path} does not fit its config.json: {list}.").format(path=source, list=shown),
            _("Use the config.json that belongs to these weights."),
            path=str(source),
            missing=sorted(report["missing_keys"]),
            extra=sorted(extra),
            wrong=sorted(str(item[0]) for item in report["mismatched_keys"]),
            differences=lines,
        )


def _shape(value: Any) -> str:
    return "×".join(str(n) for n in value) or "scalar"


def not_finite(model: Any) -> list[str]:
    """Return a sentence naming the weights that hold NaN or infinite numbers; none if all are finite."""
    import torch

    names = []
    for name, value in model.named_parameters():
        # A sum is one fast pass and carries NaN and infinity through; only a suspicious one is looked at again.
        suspicious = value.is_floating_point() and not bool(value.sum(dtype=torch.float32).isfinite())
        if suspicious and not bool(value.isfinite().all()):
            names.append(visible(name))
    if not names:
        return []
    shown = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
    return [_("{n} tensors hold NaN or infinite numbers: {names}.").format(n=len(names), names=shown)]
