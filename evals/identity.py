"""What identifies an open checkpoint: hashes of weights, tokenizer and template, and how it was opened."""

from __future__ import annotations

import hashlib
from pathlib import Path

from evals.store import Identity
from models.events import Work
from models.opened import OpenModel

TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt",
    "merges.txt", "tokenizer.model", "spiece.model",
)  # fmt: skip
MORE_FILES = ("sentencepiece.bpe.model", "source.spm", "target.spm", "bpe.codes")
"""Of families with names of their own; those that are there count."""
SETTINGS_FILES = ("config.json", "generation_config.json", "adapter_config.json")
"""What weights mean, where an answer ends, and how strong an adapter is."""


def identity(opened: OpenModel) -> Work[Identity]:
    """Return what identifies an open checkpoint; weights are hashed once and remembered by path, size and times.

    Raises:
        UserError: If the manifest says that a file is damaged.
    """
    from models.manifest import verify, weights_hash

    folder = Path(opened.folder or opened.path)
    weights = yield from (verify(folder) if folder.is_dir() else weights_hash(folder))
    asked = Path(opened.path)
    if asked != folder and asked.exists():  # an adapter over its base, or a converted GGUF file
        weights = digest(weights, (yield from weights_hash(asked)))
    texts = asked if any((asked / name).is_file() for name in TOKENIZER_FILES) else folder
    return Identity(
        weights=digest(weights, *(_content(folder / name) + _content(asked / name) for name in SETTINGS_FILES)),
        tokenizer=digest(*(_content(texts / name) for name in TOKENIZER_FILES), *_present(texts)),
        template=digest(opened.chat_template),
        dtype=opened.dtype,
        quantize=opened.quantize,
        device_kind=opened.device.split(":")[0],
    )


def _present(folder: Path) -> list[str]:
    return [name + _content(folder / name) for name in MORE_FILES if (folder / name).is_file()]


def _content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def digest(*parts: str) -> str:
    """Return the hash of several texts."""
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
