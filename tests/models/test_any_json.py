"""Whatever stands in a checkpoint's small files: it is described or refused in words, and nothing else happens."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models import library
from models.errors import UserError
from models.headers import parse_json, visible
from models.lineage import read_lineage
from models.manifest import read_manifest
from tests.models.folders import make_llama
from tests.models.test_library_adapters import write_adapter

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.integers(-2, 400) | st.floats() | st.text(max_size=8)
    | st.sampled_from(["llama", "bert", "LlamaForCausalLM", "LORA", "../x", "/etc/passwd", "a\0b", "sft"])
)  # fmt: skip
KEYS = st.text(max_size=8) | st.sampled_from(["type", "id"])
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=10
)
FILES = {
    "config.json": (
        "model_type", "architectures", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "torch_dtype",
        "num_key_value_heads", "rope_parameters", "rope_scaling", "quantization_config", "text_config", "head_dim",
    ),
    "tokenizer.json": ("model", "added_tokens", "normalizer", "pre_tokenizer", "version"),
    "tokenizer_config.json": ("chat_template", "auto_map", "eos_token", "model_max_length", "tokenizer_class"),
    "manifest.json": ("files", "stage", "parents"),
    "model.safetensors.index.json": ("weight_map", "metadata"),
}  # fmt: skip
CALM = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("any") / "llama")


def changed(whole: dict[str, Any], changes: dict[str, Any]) -> str:
    return json.dumps({**whole, **changes})


@pytest.mark.parametrize("name", FILES)
def test_any_value_in_a_folders_files_is_described_or_refused(name: str, llama: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(llama, tmp_path / "copy"))
    path = folder / name
    whole: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    @CALM
    @given(changes=st.dictionaries(st.sampled_from(FILES[name]), JSON, min_size=1, max_size=3))
    def check(changes: dict[str, Any]) -> None:
        path.write_text(changed(whole, changes), encoding="utf-8")
        with contextlib.suppress(UserError):
            described = library.describe(folder)
            assert described.family
        row = library.reference(folder)
        assert row.path == str(folder)

    check()


def test_any_value_in_an_adapters_settings_is_described_or_refused(tmp_path: Path) -> None:
    make_llama(tmp_path / "base")
    folder = write_adapter(tmp_path / "adapter", "../base")
    path = folder / "adapter_config.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    keys = ("peft_type", "base_model_name_or_path", "r", "lora_alpha", "target_modules")

    @CALM
    @given(changes=st.dictionaries(st.sampled_from(keys), JSON, min_size=1, max_size=3))
    def check(changes: dict[str, Any]) -> None:
        path.write_text(changed(whole, changes), encoding="utf-8")
        with contextlib.suppress(UserError):
            library.describe(folder)
        library.reference(folder)

    check()


FIELDS = st.sampled_from(["name", "path", "stage", "parent"])
ENTRIES = st.lists(JSON | st.dictionaries(FIELDS, SCALARS | st.sampled_from(["a", "b"]), max_size=4), max_size=4)


@CALM
@given(content=JSON | st.fixed_dictionaries({"checkpoints": ENTRIES}, optional={"name": JSON}))
def test_any_lineage_is_rows_or_a_sentence(content: Any, tmp_path: Path) -> None:
    (tmp_path / "lineage.json").write_text(json.dumps(content), encoding="utf-8")
    for line in library.lineages([tmp_path]):
        assert all(isinstance(row.name, str) and isinstance(row.error, str) for row in line.checkpoints)
    with contextlib.suppress(UserError):
        read_lineage(tmp_path)


@CALM
@given(content=JSON)
def test_any_manifest_is_read_or_refused(content: Any, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"files": content}), encoding="utf-8")
    with contextlib.suppress(UserError):
        for name, (digest, size) in read_manifest(tmp_path).items():
            assert "/" not in name
            assert len(digest) == 64
            assert isinstance(size, int)


def pieces() -> Iterator[bytes]:
    yield from (b"{", b"}", b"[", b"]", b'"', b":", b",", b"1", b"e999", b"NaN", b"\\u0000", b"\xff", b"null", b"-", b" ")


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=30) | st.lists(st.sampled_from(list(pieces())), max_size=20).map(b"".join))
def test_any_bytes_are_json_or_a_sentence(data: bytes) -> None:
    with contextlib.suppress(UserError):
        parse_json(data, "x.json")
    assert visible(data.decode("utf-8", "replace")).isprintable()
