"""Opening, describing and finding checkpoints."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from models import library
from models.columns import Column
from models.errors import UserError
from models.events import Note, Progress, finish
from tests.models.folders import FAMILIES, edit_json, make_folder

KINDS = {"bert": "encoder", "bert-bare": "encoder", "roberta": "encoder", "t5": "encoder-decoder",
         "bart": "encoder-decoder", "reward": "reward"}  # fmt: skip


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a folder never reaches for the network."""

    def refuse(*_arguments: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("made") / "llama")


@pytest.fixture
def folder(llama: Path, tmp_path: Path) -> Path:
    """A copy of the tiny Llama that a test may spoil."""
    return Path(shutil.copytree(llama, tmp_path / "copy"))


def inputs(opened: Any) -> dict[str, Any]:
    import torch

    ids = torch.tensor([[1, 40, 41, 42, 77, 2]])
    more = {"decoder_input_ids": ids} if opened.kind == "encoder-decoder" else {}
    return {"input_ids": ids, **more}


@pytest.mark.parametrize("name", FAMILIES)
def test_family_opens_with_the_same_outputs_as_transformers(name: str, tmp_path: Path) -> None:
    import torch
    import transformers

    folder = make_folder(tmp_path / name, name)
    opened = finish(library.load(folder))
    assert opened.kind == KINDS.get(name, "decoder")
    assert opened.device == "cpu" or opened.device.startswith(("cuda", "mps"))
    reference = getattr(transformers, FAMILIES[name][0]).from_pretrained(folder).eval()
    with torch.no_grad():
        ours, theirs = opened.model(**inputs(opened))[0], reference(**inputs(opened))[0]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    assert not any(parameter.requires_grad for parameter in opened.model.parameters())
    described = library.describe(folder)
    unique = {id(p): p.numel() for p in reference.parameters()}
    assert sum(described.parameters.values()) == sum(unique.values())
    assert described.kind == opened.kind
    assert opened.loaded.layers == 2
    assert opened.loaded.heads == 4


def test_description_needs_no_torch(llama: Path) -> None:
    code = (
        "import sys; from models import library; d = library.describe(sys.argv[1]);"
        "library.find(sys.argv[1]); library.lineages([sys.argv[1]]); library.forecast(sys.argv[1]);"
        "bad = {'torch', 'transformers', 'tokenizers', 'safetensors'} & set(sys.modules); assert not bad, bad;"
        "print(d.facts['Parameters'])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(llama)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{sum(library.describe(llama).parameters.values()):,}"


def test_description_facts(llama: Path) -> None:
    described = library.describe(llama)
    assert described.architecture == "LlamaForCausalLM"
    assert described.facts["Layers"] == "2"
    assert described.facts["Key-value heads"] == "2"
    assert described.facts["Positions"].startswith("rotary")
    assert described.facts["Tied embeddings"] == "no"
    assert described.tokenizer["Method"] == "BPE"
    assert described.tokenizer["EOS"] == "</s>"
    assert "messages" in described.chat_template
    assert set(described.parameters) == {"embedding", "attention", "mlp", "norm", "head"}
    assert described.parameters["embedding"] == described.parameters["head"] == 300 * 32
    assert described.memory == {"F32": 4 * sum(described.parameters.values())}
    assert described.unavailable == {}


def test_unavailable_has_reasons(tmp_path: Path) -> None:
    bare = library.describe(make_folder(tmp_path / "bare", "bert-bare"))
    assert "head" in bare.unavailable["distribution"]
    assert "Encoder" in bare.unavailable["chat"] or "encoder" in bare.unavailable["chat"]
    reward = library.describe(make_folder(tmp_path / "reward", "reward"))
    assert "score" in reward.unavailable["generate"]
    assert "trace" not in reward.unavailable


def test_undeclared_keys_are_dropped_and_listed(folder: Path) -> None:
    edit_json(folder / "config.json", gradient_checkpointing=False, something_else={"x": 1}, rope_theta=5e5)
    assert library.describe(folder).dropped_keys == ("gradient_checkpointing", "something_else")
    opened = finish(library.load(folder))
    assert not hasattr(opened.model.config, "something_else")


def test_old_spelling_of_rope_is_kept(folder: Path) -> None:
    edit_json(folder / "config.json", rope_parameters=..., rope_theta=123.0)
    opened = finish(library.load(folder))
    assert opened.model.config.rope_parameters["rope_theta"] == 123.0


def test_events_and_loaded(llama: Path) -> None:
    work = library.load(Column(str(llama), dtype="bfloat16"))
    events = []
    while True:
        try:
            events.append(next(work))
        except StopIteration as end:
            opened = end.value
            break
    assert any(isinstance(event, Progress) for event in events)
    assert any(isinstance(event, Note) for event in events)
    loaded = opened.loaded
    assert loaded.dtype == opened.dtype == "bfloat16"
    assert abs(loaded.actual_bytes - loaded.forecast_bytes) < 0.02 * loaded.actual_bytes
    assert loaded.actual_bytes < library.forecast(llama, "float32")
    assert opened.eos_ids == (2,)


def test_cancelling_leaves_no_thread(llama: Path) -> None:
    import threading

    work = library.load(llama)
    next(work)
    work.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "triptych-loading"]


def test_sharded_folder(llama: Path, tmp_path: Path) -> None:
    import torch
    import transformers

    model = transformers.LlamaForCausalLM.from_pretrained(llama)
    folder = Path(shutil.copytree(llama, tmp_path / "sharded", ignore=shutil.ignore_patterns("*.safetensors")))
    model.save_pretrained(folder, max_shard_size="20KB")
    assert len(list(folder.glob("*.safetensors"))) > 2
    opened = finish(library.load(folder))
    for ours, theirs in zip(opened.model.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_set_attention_implementation(llama: Path) -> None:
    opened = finish(library.load(llama))
    assert opened.model.config._attn_implementation == "sdpa"
    opened.model.set_attn_implementation("eager")
    assert opened.model(**inputs(opened), output_attentions=True).attentions[0].shape == (1, 4, 6, 6)


@pytest.mark.parametrize(
    ("setting", "id"),
    [({"device": "tpu"}, "device.unknown"), ({"device": "cuda:99"}, "device.absent"), ({"dtype": "fp8"}, "dtype.unknown"),
     ({"quantize": "int2"}, "quantize.unknown")],
)  # fmt: skip
def test_unknown_setting(llama: Path, setting: dict[str, str], id: str) -> None:
    with pytest.raises(UserError) as caught:
        finish(library.load(llama, **setting))
    assert caught.value.id == id
    assert caught.value.hint


def test_missing_path(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere"):
        library.describe(tmp_path / "nowhere")


class TestFind:
    def test_nested_and_broken(self, llama: Path, tmp_path: Path) -> None:
        shutil.copytree(llama, tmp_path / "a" / "b" / "good")
        broken = Path(shutil.copytree(llama, tmp_path / "a" / "broken"))
        (broken / "model.safetensors").unlink()
        (broken / "pytorch_model.bin").write_bytes(b"\x80\x02.")
        (tmp_path / "x.gguf").write_bytes(b"GGUF")
        rows = {row.name: row for row in library.find(tmp_path)}
        assert set(rows) == {"good", "broken", "x.gguf"}
        assert rows["good"].n_bytes > 0
        assert rows["good"].error == ""
        assert "triptych models convert" not in rows["broken"].error
        assert "pytorch_model.bin" in rows["broken"].error
        assert rows["x.gguf"].kind == "gguf"

    def test_folder_itself(self, llama: Path) -> None:
        assert [row.path for row in library.find(llama)] == [str(llama)]

    def test_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="nowhere"):
            library.find(tmp_path / "nowhere")


class TestLineages:
    @pytest.fixture
    def place(self, llama: Path, tmp_path: Path) -> Path:
        place = tmp_path / "family"
        shutil.copytree(llama, place / "one")
        shutil.copytree(llama, place / "two")
        return place

    def write(self, place: Path, content: Any) -> Any:
        text = content if isinstance(content, str) else json.dumps(content)
        (place / "lineage.json").write_text(text, encoding="utf-8")
        (lineage,) = library.lineages([place])
        return lineage

    def test_good(self, place: Path) -> None:
        rows = [{"name": "a", "path": "one", "stage": "pretrain", "parent": ""},
                {"name": "b", "path": "two", "stage": "sft", "parent": "a"}]  # fmt: skip
        lineage = self.write(place, {"name": "Family", "checkpoints": rows})
        assert lineage.name == "Family"
        assert [(row.name, row.stage, row.parent, row.error) for row in lineage.checkpoints] == [
            ("a", "pretrain", "", ""),
            ("b", "sft", "a", ""),
        ]

    @pytest.mark.parametrize(
        ("rows", "words"),
        [
            ([{"name": "a", "path": "gone"}], "no checkpoint"),
            ([{"name": "a"}], "not a name"),
            (["a"], "not a name"),
            ([{"name": "a", "path": "one", "stage": "dreaming"}], "unknown stage"),
            ([{"name": "a", "path": "one", "parent": "zeus"}], "not in this lineage"),
            ([{"name": "a", "path": "one", "parent": "b"}, {"name": "b", "path": "two", "parent": "a"}], "circle"),
            ([{"name": "a", "path": 3}], "not a name"),
        ],
    )
    def test_broken_rows(self, place: Path, rows: list[Any], words: str) -> None:
        lineage = self.write(place, {"name": "F", "checkpoints": rows})
        assert words in lineage.checkpoints[0].error

    @pytest.mark.parametrize("text", ["", "[]", "{", '{"name": 3}', '{"checkpoints": 5}', '{"a": 1, "a": 2}'])
    def test_broken_file(self, place: Path, text: str) -> None:
        lineage = self.write(place, text)
        assert lineage.checkpoints[0].error

    def test_loose_checkpoints(self, place: Path) -> None:
        (lineage,) = library.lineages([place])
        assert [row.name for row in lineage.checkpoints] == ["one", "two"]

    def test_missing_folder_is_a_row(self, tmp_path: Path) -> None:
        (lineage,) = library.lineages([tmp_path / "gone"])
        assert "gone" in lineage.checkpoints[0].error
