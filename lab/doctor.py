"""What this machine has, what is missing, and how to get it."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

REQUIRED = (
    "torch", "transformers", "tokenizers", "safetensors", "accelerate", "lm-eval", "evaluate", "sacrebleu", "rouge-score",
    "PySide6-Essentials", "pyqtgraph", "msgpack", "numpy",
)  # fmt: skip
OPTIONAL = {
    "gguf": "GGUF files: pip install 'triptych[gguf]'",
    "peft": "LoRA adapters: pip install 'triptych[peft]'",
    "torchao": "int8 and int4 weights: pip install 'triptych[quantize]'",
    "openTSNE": "t-SNE maps: pip install 'triptych[projections]'",
    "captum": "salience: pip install 'triptych[salience]'",
    "tenacity": "scoring models that are only an endpoint: pip install 'triptych[endpoints]'",
    "trl": "GRPO, RLOO and KTO: pip install 'triptych[trl]'",
}


@dataclass(frozen=True)
class Finding:
    """One line of the report. ``state`` is ok, missing, optional or problem."""

    name: str
    state: str
    value: str
    hint: str = ""


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def packages() -> list[Finding]:
    """Return the versions of what is needed and of what is optional."""
    rows = []
    for name in REQUIRED:
        version = _version(name)
        rows.append(Finding(name, "ok" if version else "missing", version, "" if version else f"pip install {name}"))
    for name, hint in OPTIONAL.items():
        version = _version(name)
        rows.append(Finding(name, "ok" if version else "optional", version, "" if version else hint))
    return rows


def window() -> Finding:
    """Try Qt in a child process: a missing system library ends a process rather than raising."""
    code = "from PySide6.QtWidgets import QApplication; QApplication([]); import PySide6; print(PySide6.__version__)"
    command = [sys.executable, "-c", code]
    import os

    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    if result.returncode == 0:
        return Finding("Qt window", "ok", result.stdout.strip())
    reason = (result.stderr.strip().splitlines() or [f"exit code {result.returncode}"])[-1]
    return Finding(
        "Qt window",
        "problem",
        reason,
        "On Debian: apt-get install libgl1 libegl1 libxkbcommon0 libdbus-1-3 libfontconfig1 libxcb-cursor0",
    )


def machine() -> list[Finding]:
    """Return the Python, the system, memory, disk and devices."""
    import psutil

    memory = psutil.virtual_memory()
    disk = shutil.disk_usage(".")
    rows = [
        Finding("python", "ok", platform.python_version()),
        Finding("system", "ok", f"{platform.system()} {platform.release()} {platform.machine()}"),
        Finding("memory", "ok", f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free"),
        Finding("disk", "ok" if disk.free > 2 * 2**30 else "problem", f"{disk.free / 2**30:.1f} GiB free here"),
    ]
    from models.devices import summary

    rows += [
        Finding(f"device {row.get('name', '?')}", "ok", ", ".join(f"{k} {v}" for k, v in row.items() if k != "name"))
        for row in summary()
    ]
    return rows


def places() -> list[Finding]:
    """Return where settings and runs are, and whether one can write there."""
    from lab.settings import home

    folder = home()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        return [
            Finding("settings and runs", "problem", f"{folder}: {error}", "Set TRIPTYCH_HOME to a folder that can be written.")
        ]
    return [Finding("settings and runs", "ok", str(folder))]


def bundled() -> Finding:
    """Say whether the demo lineage is there and can be read."""
    from models.library import lineages
    from models.places import bundled_root

    found = [c.name for line in lineages([str(bundled_root())]) for c in line.checkpoints if not c.error]
    if not found:
        return Finding(
            "demo lineage", "problem", "not found", "Install Triptych again, or train it: triptych train assets/recipes/demo.yaml"
        )
    return Finding("demo lineage", "ok", ", ".join(found))


def examine() -> list[Finding]:
    """Return the whole report."""
    return [*machine(), *packages(), window(), *places(), bundled()]


def as_json(rows: list[Finding]) -> list[dict[str, Any]]:
    """Return the report as JSON values."""
    return [row.__dict__ for row in rows]
