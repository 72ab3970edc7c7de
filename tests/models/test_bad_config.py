"""Configurations, indexes and paths that must be refused or defused: one test per row of the table (C)."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from models import library
from models.errors import UserError
from models.events import finish
from models.hub import hub_name
from tests.models.folders import edit_json, make_llama


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("made") / "llama")


@pytest.fixture
def folder(llama: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(llama, tmp_path / "copy"))


def refused(folder: Path, *words: str) -> None:
    """Assert that describing and opening are refused for the same reason, naming the file."""
    messages = []
    for action in (library.describe, lambda path: finish(library.load(path))):
        with pytest.raises(UserError) as caught:
            action(folder)
        messages.append(str(caught.value))
        for word in words:
            assert word in messages[-1]
    assert messages[0] == messages[1]


@pytest.mark.parametrize(
    "name",
    ["../model.safetensors", "/etc/passwd", "a/../../b", "", ".", "..", "x\0y", "a\\b", "link.safetensors"],
    ids=["up", "absolute", "inside-up", "empty", "dot", "dots", "nul", "backslash", "link"],
)
def test_b40_index(name: str, folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "model.safetensors", tmp_path / "model.safetensors")
    if name.startswith("link"):
        (folder / name).symlink_to(tmp_path / "model.safetensors")
    index = {"weight_map": {"lm_head.weight": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    refused(folder, "model.safetensors.index.json", "not a file of its own folder")


def test_b40_single_file_that_is_a_link(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "model.safetensors", tmp_path / "elsewhere")
    (folder / "model.safetensors").symlink_to(tmp_path / "elsewhere")
    refused(folder, "not a file of its own folder")


def test_b40_links_of_the_hub_cache_are_its_own(llama: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--a--b" / "snapshots" / "0123"
    blobs = tmp_path / "models--a--b" / "blobs"
    blobs.mkdir(parents=True)
    shutil.copytree(llama, snapshot)
    shutil.move(snapshot / "model.safetensors", blobs / "abc")
    (snapshot / "model.safetensors").symlink_to(Path("..", "..", "blobs", "abc"))
    finish(library.load(snapshot))


@pytest.mark.parametrize("value", [["a"], {"w": 3}, None, "x"])
def test_b40_index_without_a_table(value: Any, folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": value}), encoding="utf-8")
    refused(folder, "model.safetensors.index.json")


@pytest.mark.parametrize("where", ["config.json", "tokenizer_config.json"])
def test_b41_auto_map(where: str, folder: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (folder / "evil.py").write_text(f"open({str(marker)!r}, 'w')", encoding="utf-8")
    target = {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil", "AutoTokenizer": ["evil.Evil", None]}
    edit_json(folder / where, auto_map=target)
    refused(folder, where, "auto_map", "evil.Evil")
    assert not marker.exists()


@pytest.mark.parametrize(
    "key",
    ["_attn_implementation_internal", "_attn_implementation", "attn_implementation", "_experts_implementation_internal"],
)
@pytest.mark.parametrize("nested", [False, True], ids=["top", "nested"])
def test_b42_attention_that_names_a_repository(key: str, nested: bool, folder: Path) -> None:
    values = {key: "user/repo"}
    edit_json(folder / "config.json", **({"text_config": values} if nested else values))
    refused(folder, "config.json", key, "user/repo")


def test_b42_plain_attention_settings_are_ignored(folder: Path) -> None:
    edit_json(folder / "config.json", _attn_implementation="eager")
    assert finish(library.load(folder)).model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("nested", [False, True], ids=["top", "nested"])
def test_b43_trust_remote_code(nested: bool, folder: Path) -> None:
    more = {"trust_remote_code": True}
    edit_json(folder / "config.json", **({"vision_config": more} if nested else more))
    opened = finish(library.load(folder))
    assert "trust code" in " ".join(opened.loaded.notes)
    assert not hasattr(opened.model.config, "trust_remote_code")


def test_b44_model_file(folder: Path) -> None:
    edit_json(folder / "config.json", model_file="evil.py")
    refused(folder, "config.json", "model_file", "evil.py")


IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "vocabulary-2^31": {"vocab_size": 2**31},
    "layers-10^6": {"num_hidden_layers": 10**6},
    "no-heads": {"num_attention_heads": 0},
    "heads-not-dividing": {"num_attention_heads": 5, "head_dim": ..., "num_key_value_heads": ...},
    "kv-heads-not-dividing": {"num_key_value_heads": 3},
    "negative": {"hidden_size": -32},
    "float": {"hidden_size": 32.0},
    "text": {"hidden_size": "32"},
    "true": {"num_hidden_layers": True},
    "positions-2^40": {"max_position_embeddings": 2**40},
    "feed-forward-2^30": {"intermediate_size": 2**30},
    "nothing": {"vocab_size": None},
    "architectures-text": {"architectures": "LlamaForCausalLM"},
    "architectures-code": {"architectures": ["os.system"]},
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_b45_impossible_values(name: str, folder: Path) -> None:
    edit_json(folder / "config.json", **IMPOSSIBLE[name])
    refused(folder, "config.json")


@pytest.mark.parametrize("changes", [{"vocab_size": 5000}, {"num_hidden_layers": 3}, {"intermediate_size": 64}])
def test_b45_sizes_that_the_file_does_not_hold(changes: dict[str, int], folder: Path) -> None:
    edit_json(folder / "config.json", **changes)
    with pytest.raises(UserError, match=r"missing|wrong shape"):
        finish(library.load(folder))


def test_b45_values_that_only_transformers_checks(folder: Path) -> None:
    edit_json(folder / "config.json", hidden_act="no_such_function")
    with pytest.raises(UserError, match="transformers cannot build"):
        finish(library.load(folder))
    edit_json(folder / "config.json", hidden_act="silu", initializer_range="wide")
    with pytest.raises(UserError, match=r"config\.json is not a configuration"):
        finish(library.load(folder))


MALFORMED: dict[str, tuple[bytes, str]] = {
    "deep": (b"[" * 100_000, "nested too deeply"),
    "deep-object": (b'{"a":' * 100_000, "nested too deeply"),
    "5000-digits": (b'{"vocab_size": ' + b"9" * 5000 + b"}", "digits"),
    "twice": (b'{"vocab_size": 300, "vocab_size": 301}', "twice"),
    "nan": (b'{"rms_norm_eps": NaN}', "NaN"),
    "infinity": (b'{"rms_norm_eps": -Infinity}', "Infinity"),
    "list": (b"[]", "object"),
    "empty": (b"", "JSON"),
    "not-utf8": (b'{"a": "\xff"}', "JSON"),
    "no-family": (b"{}", "model_type"),
    "unknown-family": (b'{"model_type": "quux"}', "quux"),
    "family-of-another-kind": (b'{"model_type": ["llama"]}', "model_type"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_b46_malformed_json(name: str, folder: Path) -> None:
    data, words = MALFORMED[name]
    (folder / "config.json").write_bytes(data)
    refused(folder, "config.json", words)


@pytest.mark.parametrize("depth", [100, 450, 700, 950])
def test_b46_depths_that_the_parser_takes(depth: int, folder: Path) -> None:
    deep = '{"a":' * depth + "1" + "}" * depth
    text = (folder / "config.json").read_text(encoding="utf-8")
    (folder / "config.json").write_text(text.rstrip()[:-1] + f', "rope_parameters": {deep}}}', encoding="utf-8")
    with contextlib.suppress(UserError):  # opened or refused in words
        finish(library.load(folder))


def test_b46_larger_than_any_config(folder: Path) -> None:
    (folder / "config.json").write_bytes(b" " * (65 * 1024 * 1024))
    refused(folder, "config.json", "larger than")


@pytest.mark.parametrize(
    ("architecture", "words"),
    [("Blip2ForNothing", "does not have"), ("os", "does not have"), ("GPT2LMHeadModel", "does not belong"),
     ("AutoModel", "does not have"), ("PreTrainedModel", "does not belong")],
)  # fmt: skip
def test_architecture_of_another_kind(architecture: str, words: str, folder: Path) -> None:
    edit_json(folder / "config.json", architectures=[architecture])
    with pytest.raises(UserError, match=words):
        finish(library.load(folder))


def test_stored_quantised(folder: Path) -> None:
    edit_json(folder / "config.json", quantization_config={"quant_method": "gptq", "bits": 4})
    refused(folder, "config.json", "gptq")


def test_b47_a_folder_is_never_taken_for_a_name(llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(llama, tmp_path / "user" / "model")
    monkeypatch.chdir(tmp_path)
    assert hub_name("user/model") == ""
    assert hub_name("hub:user/model") == "user/model"
    assert hub_name("user/other") == "user/other"
    assert hub_name("user") == hub_name("./user/model") == hub_name("a/b/c") == ""
    assert finish(library.load("user/model")).folder == "user/model"


@pytest.mark.parametrize("name", ["hub:user/model", "user/model-that-is-not-here"])
def test_b47_without_a_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="cannot be fetched: HF_HUB_OFFLINE is set"):
        finish(library.load(name))


@pytest.mark.parametrize(
    "entry",
    [{"sha256": "sha256-../../x", "size": 1}, {"sha256": "a" * 63, "size": 1}, {"sha256": "A" * 64, "size": 1},
     {"sha256": "a" * 64, "size": True}, "x"],
)  # fmt: skip
def test_b47_digests(entry: Any, folder: Path) -> None:
    (folder / "manifest.json").write_text(json.dumps({"files": {"config.json": entry}}), encoding="utf-8")
    with pytest.raises(UserError, match=r"manifest\.json"):
        finish(library.load(folder))


@pytest.mark.parametrize("name", ["../config.json", "/etc/passwd", "a/b"])
def test_b47_names_in_a_manifest(name: str, folder: Path) -> None:
    (folder / "manifest.json").write_text(json.dumps({"files": {name: {"sha256": "a" * 64, "size": 1}}}), encoding="utf-8")
    with pytest.raises(UserError, match=r"manifest\.json"):
        finish(library.load(folder))


@pytest.mark.parametrize("name", ["hub:../x", "hub:a/../b", "hub:a/b/c", "hub:/etc", "hub:a b", "hub:", "hub:a/b@../../x"])
def test_b47_names_of_the_hub(name: str) -> None:
    with pytest.raises(UserError, match="not a name on the Hub"):
        finish(library.load(name))


def test_b48_archives_are_not_opened(tmp_path: Path) -> None:
    import tarfile
    import zipfile

    with tarfile.open(tmp_path / "model.tar", "w") as target:
        target.addfile(tarfile.TarInfo("../../evil"))
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as target:
        target.writestr("../../evil", "x")
    for name in ("model.tar", "model.zip"):
        for action in (library.describe, lambda path: finish(library.load(path)),
                       lambda path: finish(library.convert(path, tmp_path / "out"))):  # fmt: skip
            with pytest.raises(UserError, match=name):
                action(tmp_path / name)
    assert not (tmp_path.parent / "evil").exists()
    assert not (tmp_path / "out").exists()
