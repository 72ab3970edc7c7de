"""Convert a PyTorch file or a GGUF file to a Hugging Face folder with safetensors, in a limited child process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.characters import FILES, VOCABULARIES, write_tokenizer
from models.children import MB, ChildFailure, Limits, run_limited
from models.errors import UserError
from models.events import Note, Progress, Saved, Work
from models.files import write_json
from models.headers import SINGLE, read_header, read_json, visible
from models.manifest import FILE, file_hash
from models.words import _

COMPANIONS = ("config.json", "adapter_config.json", "generation_config.json", *FILES)
TORCH_INDEX = "pytorch_model.bin.index.json"


def convert_torch(path: Path, output: Path, tokenizer: Path | None = None) -> Work[str]:
    """Write ``output`` (a new folder) from a ``.pt``/``.bin`` file, or from a folder that holds its weights so.

    Nothing is unpickled: see ``models/torch_files.py``. Files beside the weights that a checkpoint needs are copied;
    checkpoints of nanoGPT and minimind, which have no ``config.json``, are recognised (``models/torch_layouts.py``).

    Args:
        path: File or folder.
        output: The new folder.
        tokenizer: Where its tokenizer is: a folder, or for a model of characters nanoGPT's ``meta.pkl`` or the text itself.

    Raises:
        UserError: If the file is anything but plain tensors, ``output`` exists already, or the tokenizer does not fit.
    """
    inputs = torch_inputs(path)
    home = path if path.is_dir() else path.parent
    target = "adapter_model.safetensors" if inputs[0].name == "adapter_model.bin" else SINGLE
    with _Staged(output) as staged:
        size = sum(file.stat().st_size for file in inputs)
        limits = Limits(120 + size / (20 * MB), memory=3 * size + 1024 * MB, writable=str(staged))
        params: dict[str, object] = {"inputs": [str(file.resolve()) for file in inputs], "output": str(staged / target)}
        params["recognise"] = target == SINGLE and not (home / "config.json").is_file()
        try:
            written = yield from run_limited("torch_file", params, limits)
        except ChildFailure as failure:
            raise stopped(path, failure) from failure
        read_header(staged / target)
        for name in COMPANIONS:
            if (home / name).is_file() and not (home / name).is_symlink():
                shutil.copyfile(home / name, staged / name)
        if "config" in written:
            yield from _described(path, staged, written)
        if tokenizer is not None:
            write_tokenizer(tokenizer, staged)
        if target == SINGLE and not (staged / "config.json").is_file():
            yield Note(
                _("There is no config.json beside {path}; the folder cannot be opened without it.").format(path=path),
                "warning",
            )
        yield from write_manifest(staged)
    yield Note(_("{n} tensors written to {path}").format(n=written["tensors"], path=output))
    yield Saved(str(output))
    return str(output)


def _described(path: Path, staged: Path, written: Mapping[str, Any]) -> Work[None]:
    """Write the ``config.json`` of a recognised checkpoint, and say what was recognised and assumed."""
    write_json(staged / "config.json", written["config"])
    yield Note(_("{path} was read as a checkpoint of {program}.").format(path=path, program=written["program"]))
    if written["assumed"]:
        yield Note(_("Assumed, for the file does not say it: {what}.").format(what=written["assumed"]), "warning")
    if not any((staged / name).is_file() for name in VOCABULARIES):
        yield Note(_("It has no tokenizer yet: name one with --tokenizer."), "warning")


def copy_folder(source: Path, output: Path) -> Work[str]:
    """Copy a converted folder to where the user wants it."""
    with _Staged(output) as staged:
        for path in sorted(source.iterdir()):
            if path.name in (*COMPANIONS, SINGLE):
                shutil.copyfile(path, staged / path.name)
                yield Progress(0, 0, path.name)
        yield from write_manifest(staged)
    yield Saved(str(output))
    return str(output)


def stopped(path: Path, failure: ChildFailure) -> UserError:
    """Return the error for a conversion whose child was stopped or died."""
    reasons = {"time": _("it takes too long"), "memory": _("it needs too much memory"), "crash": failure.details}
    return UserError(
        "convert.stopped",
        _("{path} was not converted: {reason}.").format(path=path, reason=visible(reasons[failure.reason], 300)),
        path=str(path),
        reason=failure.reason,
    )


def torch_inputs(path: Path) -> list[Path]:
    """Return the weight files of a ``.pt``/``.bin`` file or a folder; ``UserError`` if there are none."""
    if path.is_file():
        return [path]
    index = path / TORCH_INDEX
    if index.is_file():
        weight_map = read_json(index).get("weight_map")
        names: Sequence[object] = sorted(set(map(str, weight_map.values()))) if isinstance(weight_map, dict) else []
        files = [path / str(name) for name in names if str(name) == os.path.basename(str(name))]
        if files and len(files) == len(names) and all(file.is_file() and not file.is_symlink() for file in files):
            return files
        raise UserError("index.outside", _("{path} names files that are not in its folder.").format(path=index), path=str(index))
    found = sorted(path.glob("pytorch_model.bin")) or sorted(path.glob("*.pt")) or sorted(path.glob("*.bin"))
    found = [file for file in found if file.name != "training_args.bin"]
    if len(found) != 1:
        raise UserError(
            "convert.input",
            _("{path} does not hold exactly one file of PyTorch weights.").format(path=path),
            _("Name the file itself."),
            path=str(path),
        )
    return found


def write_manifest(folder: Path) -> Work[None]:
    """Write ``manifest.json`` with the size and SHA-256 of every file of a folder."""
    files = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name != FILE:
            digest = yield from file_hash(path)
            files[path.name] = {"sha256": digest, "size": path.stat().st_size}
    write_json(folder / FILE, {"files": files})


class _Staged:
    """A new folder that appears under its name only when it is complete."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.folder = target.with_name(f"{target.name}.{os.getpid()}.tmp")

    def __enter__(self) -> Path:
        if self.target.exists() and (not self.target.is_dir() or any(self.target.iterdir())):
            raise UserError(
                "convert.exists",
                _("{path} exists already.").format(path=self.target),
                _("Choose another output folder."),
                path=str(self.target),
            )
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        return self.folder

    def __exit__(self, kind: type[BaseException] | None, *_details: object) -> None:
        if kind is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            return
        if self.target.is_dir():
            self.target.rmdir()
        self.folder.rename(self.target)
