"""GGUF files: described from their header; converted once to a Hugging Face folder that is kept by content."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

from models.children import MB, ChildFailure, Limits, run_limited
from models.configs import check_config
from models.convert import stopped
from models.describe import by_component, facts, unavailable
from models.errors import UserError
from models.events import Note, Work
from models.families import known_family
from models.files import write_json
from models.gguf_file import GgufFile, read_gguf
from models.headers import TensorInfo, read_json, visible
from models.manifest import file_hash
from models.places import cache_folder
from models.records.checkpoints import Description
from models.tokenizer_files import TokenizerFacts
from models.words import _

DONE = "converted.json"
REVISION = 1
"""Raised when a conversion would write something else; part of the key of the kept folders."""


def describe_gguf(path: Path) -> Description:
    """Describe a GGUF file from its header; ``UserError`` if it is not sound."""
    from models.gguf_names import CLASSES, config_of, name_of

    file = read_gguf(path)
    direct = file.architecture in CLASSES
    values = config_of(file) if direct else {"model_type": _family(file), "architectures": []}
    config = check_config(values, path)
    tensors = {
        (name_of(file, tensor.name) if direct else tensor.name): TensorInfo(
            tensor.type, tensor.shape[::-1], tensor.start, tensor.start + tensor.n_bytes
        )
        for tensor in file.tensors.values()
    }
    tokens = file.values.get("tokenizer.ggml.tokens")
    template = file.values.get("tokenizer.chat_template")
    tokenizer = TokenizerFacts(tokens is not None, len(tokens or []), template if isinstance(template, str) else "")
    shown = {_("Format"): f"GGUF {file.version}", _("Name"): visible(file.values.get("general.name", ""))}
    memory: Counter[str] = Counter()
    for tensor in file.tensors.values():
        memory[tensor.type] += tensor.n_bytes
    rows = shown | facts(config, tensors) | {_("Stored as"): ", ".join(memory)}
    return Description(
        name=path.name,
        path=str(path),
        family=config.family,
        architecture=config.architecture or visible(file.architecture),
        kind="decoder",
        facts={label: value for label, value in rows.items() if value},
        parameters=by_component(tensors),
        memory=dict(memory.most_common()),
        tokenizer={
            _("Method"): visible(file.values.get("tokenizer.ggml.model", "")),
            _("Splitting"): visible(file.values.get("tokenizer.ggml.pre", "")),
            _("Entries"): f"{len(tokens or []):,}",
        },
        chat_template=tokenizer.chat_template,
        unavailable=unavailable(config, tokenizer, tensors) if config.architecture else {},
    )


def _family(file: GgufFile) -> str:
    """Return transformers' name of a family that GGUF spells without a separator, or as it is."""
    spelled = {"qwen2moe": "qwen2_moe", "qwen3moe": "qwen3_moe", "command-r": "cohere", "gpt-oss": "gpt_oss"}
    name = spelled.get(file.architecture, file.architecture)
    if not known_family(name):
        raise UserError(
            "gguf.family",
            _("{path} holds a model of the family {family!r}, which the installed transformers does not know.").format(
                path=file.path, family=file.architecture
            ),
            path=str(file.path),
        )
    return name


def converted(path: Path) -> Work[Path]:
    """Return the folder that a GGUF file was converted to, converting it in a limited child the first time.

    Raises:
        UserError: If the file is not sound, or the conversion takes too long or too much memory.
    """
    from models.gguf_convert import direct

    file = read_gguf(path)
    digest = yield from file_hash(path)
    home = cache_folder("gguf")
    _sweep(home)
    folder = home / f"{digest}-{REVISION}"
    if _complete(folder):
        return folder
    task = "gguf" if direct(file) else "gguf_transformers"
    staged = home / f"{digest}-{os.getpid()}.tmp"
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir()
    try:
        _check_space(file, home)
        yield Note(_("{name} is converted once; later it opens quickly").format(name=path.name))
        written = yield from _run(task, path, staged, file)
        sizes = {item.name: item.stat().st_size for item in staged.iterdir()}
        write_json(staged / DONE, {"sizes": sizes})
        if not _complete(folder):  # another process may have been quicker, and may be reading it
            shutil.rmtree(folder, ignore_errors=True)
            staged.rename(folder)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    yield Note(_("{name} converted: {n} tensors").format(name=path.name, n=written["tensors"]))
    return folder


def _sweep(home: Path) -> None:
    """Remove what conversions left behind that were killed."""
    import psutil

    for stray in home.glob("*-*.tmp"):
        pid = stray.stem.rpartition("-")[2]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(stray, ignore_errors=True)


def _run(task: str, path: Path, staged: Path, file: GgufFile) -> Work[dict[str, int]]:
    size = sum(4 * tensor.n_elements for tensor in file.tensors.values())
    largest = max((tensor.n_elements for tensor in file.tensors.values()), default=0)
    whole = task == "gguf_transformers"
    memory = (3 * size + 8192 * MB) if whole else (1536 * MB + 16 * largest)
    limits = Limits((300 if whole else 60) + size / (20 * MB), memory, str(staged))
    try:
        result: dict[str, int] = yield from run_limited(task, {"path": str(path.resolve()), "output": str(staged)}, limits)
    except ChildFailure as failure:
        raise stopped(path, failure) from failure
    return result


def _complete(folder: Path) -> bool:
    """Return whether a kept folder was finished and still has all its files in their sizes."""
    try:
        sizes = read_json(folder / DONE)["sizes"]
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (UserError, KeyError, AttributeError, OSError):
        return False


def _check_space(file: GgufFile, home: Path) -> None:
    needed = sum(4 * tensor.n_elements for tensor in file.tensors.values())
    free = shutil.disk_usage(home).free
    if needed > free:
        raise UserError(
            "disk.full",
            _("Converting {name} needs {needed} MB in {home}, where {free} MB are free.").format(
                name=file.path.name, needed=needed // 10**6, home=home, free=free // 10**6
            ),
            _("Free some space, or set TRIPTYCH_HOME to a folder on a larger disk."),
        )
