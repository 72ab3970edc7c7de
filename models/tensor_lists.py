"""The list of a checkpoint's tensors and its settings, from the files' headers alone."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models.describe import component_of
from models.errors import UserError
from models.headers import read_json, visible
from models.records.tensors import TensorList, natural
from models.weights import Weights, plain_name
from models.words import _

MOST = 30_000
"""Tensors that are listed: more would not fit into one message."""
EMBEDDINGS = (
    "embed_tokens.weight", "wte.weight", "word_embeddings.weight", "embed_in.weight", "shared.weight", "token_embd.weight",
)  # fmt: skip
HEADS = ("lm_head.weight", "embed_out.weight", "cls.predictions.decoder.weight", "output.weight")
SETTINGS = 200


def tensor_list(weights: Weights) -> TensorList:
    """Return every tensor of a checkpoint by name, and its settings; nothing but headers is read."""
    names = sorted(weights.tensors, key=natural)
    shown = [weights.tensors[name] for name in names[:MOST]]
    notes = list(weights.notes)
    if len(names) > MOST:
        notes.append(_("The first {most} of {n} tensors are listed.").format(most=f"{MOST:,}", n=f"{len(names):,}"))
    config = settings_of(weights, notes)
    return TensorList(
        path=str(weights.path),
        names=tuple(tensor.name for tensor in shown),
        shapes=tuple(tensor.shape for tensor in shown),
        dtypes=tuple(tensor.dtype for tensor in shown),
        n_bytes=np.array([tensor.n_bytes for tensor in shown], dtype=np.int64),
        components=tuple(component_of(_usual_name(weights, tensor.name)) for tensor in shown),
        files=tuple(tensor.file.name for tensor in shown),
        tied=tied(weights, config),
        config={visible(key): visible(value, 300) for key, value in config.items()},
        notes=tuple(notes),
        n_tensors=len(names),
    )


def _usual_name(weights: Weights, name: str) -> str:
    """Return what transformers calls a tensor of a GGUF file, where that is known; other names as they are."""
    if weights.gguf is None:
        return name
    from models.gguf_names import CLASSES, name_of

    try:
        return name_of(weights.gguf, name) or name if weights.gguf.architecture in CLASSES else name.replace("embd", "embed")
    except UserError:
        return name


def settings_of(weights: Weights, notes: list[str]) -> dict[str, str]:
    """Return the settings of a checkpoint as text; a config.json that cannot be read becomes a note."""
    if weights.gguf is not None:
        return dict(flat({k: v for k, v in weights.gguf.values.items() if not k.startswith("tokenizer.ggml.")}))
    found: dict[str, str] = {}
    if weights.adapter is not None:
        from models.adapters import base_folder

        found = {f"adapter.{key}": value for key, value in flat(weights.adapter.values)}
        base = base_folder(weights.adapter)
        folder = base if base is not None else weights.path
    else:
        folder = weights.path
    for name, prefix in (("config.json", ""), ("generation_config.json", "generation.")):
        path = Path(folder) / name
        if not path.is_file():
            continue
        try:
            found |= {prefix + key: value for key, value in flat(read_json(path))}
        except UserError as error:
            notes.append(error.what)
    return found


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted name, text) of nested settings, at most two hundred of each level."""
    for key, value in sorted(values.items())[:SETTINGS]:
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flat(value, f"{name}.") if prefix.count(".") < 4 else ()
        elif isinstance(value, list | tuple | array):
            whole = ", ".join(str(item) for item in value[:12])
            yield name, whole + (", …" if len(value) > 12 else "")
        else:
            yield name, str(value)


def tied(weights: Weights, config: Mapping[str, str]) -> dict[str, str]:
    """Return name of a matrix that is not stored → the one that it is, where the model ties its output head.

    A head that is missing is tied, unless the settings say otherwise or the architecture predicts no tokens.
    """
    names = [plain_name(name) for name in weights.tensors]
    source = next((name for ending in EMBEDDINGS for name in names if _ends(name, ending)), "")
    if not source or any(_ends(name, ending) for ending in HEADS for name in names):
        return {}
    if weights.gguf is not None:
        return {"output.weight": source}
    said, architecture = config.get("tie_word_embeddings"), config.get("architectures", "")
    predicts = any(part in architecture for part in ("LM", "ForConditionalGeneration", "ForPreTraining"))
    if said == "False" or not predicts:
        return {}
    if source.endswith("shared.weight"):
        sides = [f"{side}.embed_tokens.weight" for side in ("encoder", "decoder")]
        return {name: source for name in (*sides, "lm_head.weight") if name not in names}
    head = "cls.predictions.decoder.weight" if "word_embeddings" in source else "lm_head.weight"
    return {head: source}


def _ends(name: str, ending: str) -> bool:
    """Return whether the last parts of a dotted name are these (``attn_output.weight`` does not end in ``output.weight``)."""
    return f".{name}".endswith(f".{ending}")
