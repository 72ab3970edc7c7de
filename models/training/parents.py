"""The checkpoint that a stage starts from: a step's folder, any Hugging Face folder, a PEFT adapter, or a GGUF file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.events import Note, Work
from models.training.stage import Workspace
from models.words import _


@dataclass(frozen=True)
class Parent:
    """Where a stage starts.

    Args:
        name: What the recipe calls it.
        folder: Hugging Face folder of the whole weights: itself, the base of an adapter, or the converted GGUF.
        adapter: Folder of the adapter over them; ``None`` if there is none.
        texts: Folder of its tokenizer.
        gguf: The GGUF file that ``folder`` was converted from; ``None`` if from none.
    """

    name: str
    folder: Path
    adapter: Path | None
    texts: Path
    gguf: Path | None = None

    def open(self, device: str) -> Any:
        """Return the causal model in fp32, an adapter merged into its weights."""
        from models.training.llama import open_causal, place

        if self.adapter is None:
            return open_causal(self.folder, device)
        from models.training.methods import merged

        return place(merged(self.folder, self.adapter), device)


def find_parent(workspace: Workspace, name: str, kinds: Sequence[str] = ("decoder",)) -> Work[Parent]:
    """Return what a recipe's parent is; what comes from outside is checked as if it were opened in the window.

    Raises:
        UserError: If it is not there, cannot be opened, or is none of ``kinds`` (decoder, encoder, encoder-decoder).
    """
    path = workspace.checkpoint(name)
    if not workspace.made_here(name):
        yield from _check(path, kinds)
    return (yield from _resolve(name, path))


def _resolve(name: str, path: Path) -> Work[Parent]:
    from models.adapters import base_folder, gguf_of, no_base, read_adapter

    if path.is_file():
        from models.gguf import converted

        yield Note(_("{name}: the GGUF file is turned into safetensors once").format(name=path.name))
        folder = yield from converted(path)
        return Parent(name, folder, None, folder, path)
    if (path / "adapter_config.json").is_file():
        adapter = read_adapter(path)
        base, gguf = base_folder(adapter), gguf_of(adapter)
        if base is None and gguf is not None and gguf.is_file():
            from models.gguf import converted

            yield Note(_("{name}: the base of the adapter is converted again").format(name=gguf.name))
            yield from converted(gguf)  # kept by content, so it lies where the adapter looks for it
            base = base_folder(adapter)
        if base is None:
            raise no_base(adapter)
        return Parent(name, base, path, path if (path / "tokenizer_config.json").is_file() else base, gguf)
    return Parent(name, path, None, path)


def _check(path: Path, kinds: Sequence[str]) -> Work[None]:
    from models.library import describe
    from models.tokenizer_open import load_tokenizer

    if path.is_dir() and not (path / "config.json").is_file() and not (path / "adapter_config.json").is_file():
        return  # a tokenizer alone
    kind = describe(path).kind
    yield Note(_("{name} is a checkpoint from outside: checked").format(name=path.name))
    if kind not in kinds:
        raise UserError(
            "training.family",
            _("{name!r} is a model of the kind {kind}, which cannot be trained in this way.").format(name=path.name, kind=kind),
            _("Choose one of the kind {kinds}.").format(kinds=", ".join(kinds)),
            path=str(path),
        )
    if path.is_dir():
        load_tokenizer(path)
