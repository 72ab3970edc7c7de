"""Write a Hugging Face folder from a GGUF file; runs in a limited child."""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from models.gguf_file import GgufFile, GgufTensor, bad, read_gguf
from models.gguf_names import CLASSES, change_of, config_of, llama3_rope, name_of
from models.gguf_numbers import KEPT, dequantize
from models.gguf_tokens import can_build, tokenizer_files
from models.torch_convert import header_bytes
from models.words import _

Steps = Generator[tuple[float, float, str], None, dict[str, Any]]
WIDTH = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
PART = 1 << 17
"""Blocks that are turned into numbers at a time: a few megabytes stay in the processor's cache."""


@dataclass(frozen=True)
class _Target:
    """Where one tensor goes: its new name, its type, its shape as numpy writes it."""

    source: GgufTensor
    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def n_bytes(self) -> int:
        return self.source.n_elements * WIDTH[self.dtype]


def prepare(task: str) -> None:
    """Import what needs native libraries before the child gives up its rights."""
    if task == "gguf":
        try:
            import gguf
        except ImportError:
            return
    if task == "gguf_transformers":
        import gguf.quants  # noqa: F401
        import torch  # noqa: F401
        import transformers.models.auto.modeling_auto
        import transformers.models.auto.tokenization_auto  # noqa: F401


def direct(file: GgufFile) -> bool:
    """Return whether this module converts the file itself; transformers (slower) does the other families."""
    return file.architecture in CLASSES and can_build(file.values)


def convert(params: dict[str, Any]) -> Steps:
    """Write config, tokenizer and weights of ``params["path"]`` into ``params["output"]``."""
    file, output = read_gguf(Path(params["path"])), Path(params["output"])
    config = config_of(file)
    targets = [_target(file, tensor) for tensor in file.tensors.values() if name_of(file, tensor.name)]
    frequencies = file.tensors.get("rope_freqs.weight")
    with file.path.open("rb") as source:
        if frequencies is not None:
            config["rope_parameters"] |= llama3_rope(_numbers(source, frequencies))
        _write_texts(output, config, file)
        total = sum(target.n_bytes for target in targets)
        done = 0
        with open(output / "model.safetensors", "wb") as weights:
            weights.write(_header(file, targets))
            for target in targets:
                weights.write(_bytes(file, source, target))
                done += target.n_bytes
                yield done, total, _("converting GGUF")
            weights.flush()
            os.fsync(weights.fileno())
    return {"tensors": len(targets), "bytes": total, "by": "direct"}


def _write_texts(output: Path, config: dict[str, Any], file: GgufFile) -> None:
    """Write tokenizer.json, tokenizer_config.json, and config.json unless it is empty."""
    tokenizer, tokenizer_config = tokenizer_files(file.values)
    contents = {"config": config, "tokenizer": tokenizer, "tokenizer_config": tokenizer_config}
    for name, content in contents.items():
        if content:
            (output / f"{name}.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _target(file: GgufFile, tensor: GgufTensor) -> _Target:
    dtype = KEPT.get(tensor.type, "F32")
    shape = tensor.shape[::-1]
    if change_of(file, tensor.name) is not None and dtype in ("BF16",):
        dtype = "F32"  # numpy cannot calculate with bfloat16
    if file.architecture == "gpt2" and len(shape) == 2 and change_of(file, tensor.name) is not None:
        shape = shape[::-1]
    return _Target(tensor, name_of(file, tensor.name), dtype, shape)


def _header(file: GgufFile, targets: list[_Target]) -> bytes:
    table: dict[str, Any] = {}
    position = 0
    for target in targets:
        if target.name in table:
            raise bad(file.path, _("two tensors are {name!r}").format(name=target.name))
        end = position + target.n_bytes
        table[target.name] = {"dtype": target.dtype, "shape": list(target.shape), "data_offsets": [position, end]}
        position = end
    return header_bytes(table)


def _bytes(file: GgufFile, source: BinaryIO, target: _Target) -> Any:
    change = change_of(file, target.source.name)
    if change is None and target.source.type in KEPT:
        return _read(source, target.source)
    numbers = _numbers(source, target.source)
    if change is not None:
        numbers = change(numbers)
    kinds = {"F32": np.float32, "F16": np.float16, "F64": np.float64}
    return np.ascontiguousarray(numbers, dtype=kinds[target.dtype]).data.cast("B")


def _read(source: BinaryIO, tensor: GgufTensor) -> bytes:
    source.seek(tensor.start)
    data = source.read(tensor.n_bytes)
    if len(data) != tensor.n_bytes:
        raise bad(Path(source.name), _("it ends too early"))
    return data


def _numbers(source: BinaryIO, tensor: GgufTensor) -> Any:
    """Return a tensor as an array in its numpy shape; float32 unless it is stored in half or double precision."""
    data = np.frombuffer(_read(source, tensor), dtype=np.uint8)
    shape = tensor.shape[::-1]
    plain = {"F32": np.float32, "F16": np.float16, "F64": np.float64}
    if tensor.type in plain:
        return data.view(plain[tensor.type]).reshape(shape)
    if tensor.type == "BF16":
        return (data.view(np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(shape)
    if tensor.type.startswith("I") and tensor.type[1:].isdecimal():
        raise bad(Path(source.name), _("tensor {name!r} holds integers").format(name=tensor.name))
    blocks = data.reshape(tensor.n_elements // tensor.block, -1)
    numbers = np.empty((blocks.shape[0], tensor.block), dtype=np.float32)
    for start in range(0, blocks.shape[0], PART):
        numbers[start : start + PART] = dequantize(blocks[start : start + PART], tensor.type)
    return numbers.reshape(shape)


def convert_with_transformers(params: dict[str, Any]) -> Steps:
    """Write ``params["output"]`` with transformers' own reader, for families without a direct conversion."""
    file = read_gguf(Path(params["path"]))  # its checks come first
    yield 0, 0, _("starting transformers")
    import transformers

    folder, source, output = str(file.path.parent), {"gguf_file": file.path.name}, Path(params["output"])
    own_tokenizer = can_build(file.values)
    try:
        tokenizer = None if own_tokenizer else transformers.AutoTokenizer.from_pretrained(folder, **source)
        plain = transformers.GgufConfig(dequantize=True)
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, quantization_config=plain, **source)
    except (ValueError, NotImplementedError, KeyError, OSError) as cause:
        reason = " ".join(str(cause).split())[:300].rstrip(".")
        raise bad(file.path, _("transformers cannot convert it: {reason}").format(reason=reason)) from cause
    yield 0, 0, _("writing safetensors")
    model.hf_quantizer = None  # it is plain now, but still called quantised, and such are not saved
    vars(model.config).pop("quantization_config", None)
    model.save_pretrained(output)
    if tokenizer is None:
        _write_texts(output, {}, file)
    else:
        tokenizer.save_pretrained(output)
    return {"tensors": len(file.tensors), "bytes": 0, "by": "transformers"}
