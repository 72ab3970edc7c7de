"""PEFT adapters over their base."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from models import library
from models.errors import UserError
from models.events import finish
from models.manifest import weights_hash
from models.running import adapter as switched
from tests.models.folders import edit_json, make_llama, safetensors_bytes, write_tokenizer

RANK = 4


def write_adapter(folder: Path, base: str, seed: int = 0, **changes: Any) -> Path:
    """Write a LoRA over q and v of the tiny Llama, without torch."""
    import numpy as np

    generator = np.random.default_rng(seed)
    table: dict[str, Any] = {}
    body = b""
    for layer in range(2):
        for name, width in (("q_proj", 32), ("v_proj", 16)):
            for part, shape in (("lora_A", (RANK, 32)), ("lora_B", (width, RANK))):
                data = (generator.normal(size=shape) * 0.3).astype("<f4").tobytes()
                key = f"base_model.model.model.layers.{layer}.self_attn.{name}.{part}.weight"
                table[key] = {"dtype": "F32", "shape": list(shape), "data_offsets": [len(body), len(body) + len(data)]}
                body += data
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(safetensors_bytes(table, body))
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], "bias": "none",
              "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "an_unknown_key": 1,
              "auto_mapping": {"parent_library": "os", "base_model_class": "system"}, **changes}  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_llama(tmp_path / "base")


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    return write_adapter(tmp_path / "adapter", "../base")


def logits(opened: Any) -> Any:
    import torch

    with torch.no_grad():
        return opened.model(torch.tensor([[1, 40, 41, 42, 77]])).logits


@pytest.mark.filterwarnings("ignore:.*an_unknown_key.*:UserWarning", "ignore:Could not find a config file:UserWarning")
def test_same_logits_as_peft(adapter: Path, base: Path) -> None:
    import torch
    import transformers
    from peft import PeftModel

    opened = finish(library.load(adapter))
    reference = PeftModel.from_pretrained(transformers.AutoModelForCausalLM.from_pretrained(base), adapter).eval()
    with torch.no_grad():
        expected = reference(torch.tensor([[1, 40, 41, 42, 77]])).logits
    torch.testing.assert_close(logits(opened), expected, rtol=0, atol=1e-6)
    assert type(opened.model).__name__ == "LlamaForCausalLM"
    assert opened.path == str(adapter)
    assert opened.folder.endswith("base")
    assert not any(parameter.requires_grad for parameter in opened.model.parameters())


def test_switching_it_off_gives_the_base(adapter: Path, base: Path) -> None:
    import torch

    opened, plain = finish(library.load(adapter)), finish(library.load(base))
    with_adapter = logits(opened)
    with switched(opened.model, False):
        assert torch.equal(logits(opened), logits(plain))
    assert torch.equal(logits(opened), with_adapter)
    assert not torch.allclose(with_adapter, logits(plain), atol=1e-2)


@pytest.mark.parametrize("quantize", ["int8", "int4"])
def test_over_a_quantised_base(quantize: str, adapter: Path) -> None:
    plain, small = finish(library.load(adapter)), finish(library.load(adapter, quantize=quantize))
    error = float((logits(plain) - logits(small)).norm() / logits(plain).norm())
    assert 0 < error < 0.3
    assert small.loaded.actual_bytes < plain.loaded.actual_bytes


def test_description(adapter: Path, base: Path) -> None:
    described = library.describe(adapter)
    assert described.name == "adapter"
    assert described.parameters["adapter"] == 2 * RANK * (32 + 32 + 32 + 16)
    assert described.facts["Adapter"] == "LORA"
    assert described.facts["Base"] == "../base"
    assert described.facts["Changed layers"] == "q_proj, v_proj"
    assert described.architecture == "LlamaForCausalLM"
    (row,) = library.find(adapter)
    assert row.kind == "adapter"
    assert library.forecast(adapter) == library.forecast(base) + 4 * described.parameters["adapter"]


def test_its_own_tokenizer_and_template_win(adapter: Path) -> None:
    write_tokenizer(adapter, chat_template="of the adapter")
    opened = finish(library.load(adapter))
    assert opened.chat_template == "of the adapter"
    assert opened.tokenizer.chat_template == "of the adapter"


def test_base_beside_it_by_its_last_name(base: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "other", "somebody/base")
    assert finish(library.load(adapter)).folder.endswith("base")


def test_without_its_base(base: Path, adapter: Path) -> None:
    shutil.rmtree(base)
    described = library.describe(adapter)
    assert "not on this machine" in described.warnings[0]
    assert "trace" in described.unavailable
    for action in (library.forecast, lambda path: finish(library.load(path))):
        with pytest.raises(UserError, match=r"base of the adapter|The base"):
            action(adapter)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"peft_type": "PROMPT_TUNING"}, "cannot be opened"),
        ({"peft_type": "os.system"}, "cannot be opened"),
        ({"peft_type": None}, "cannot be opened"),
        ({"base_model_name_or_path": None}, "does not name its base"),
        ({"base_model_name_or_path": ""}, "does not name its base"),
    ],
)
def test_bad_settings(changes: dict[str, Any], words: str, adapter: Path) -> None:
    edit_json(adapter / "adapter_config.json", **changes)
    for action in (library.describe, lambda path: finish(library.load(path))):
        with pytest.raises(UserError, match=words) as caught:
            action(adapter)
        assert "adapter_config.json" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"r": 8}, "wrong shape"),
        ({"target_modules": ["q_proj"]}, "extra"),
        ({"target_modules": ["q_proj", "v_proj", "o_proj"]}, "missing"),
        ({"target_modules": ["nothing"]}, "does not fit"),
        ({"r": -1}, "does not fit"),
    ],
)
def test_adapter_that_does_not_fit(changes: dict[str, Any], words: str, adapter: Path) -> None:
    edit_json(adapter / "adapter_config.json", **changes)
    with pytest.raises(UserError, match=words):
        finish(library.load(adapter))


def test_weights_in_the_old_format(adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(UserError, match="triptych models convert"):
        finish(library.load(adapter))


def test_weights_in_the_old_format_convert(adapter: Path, base: Path) -> None:
    import torch
    from safetensors.torch import load_file

    expected = logits(finish(library.load(adapter)))
    weights = adapter / "adapter_model.safetensors"
    torch.save(load_file(weights), adapter / "adapter_model.bin")
    weights.unlink()
    output = finish(library.convert(adapter / "adapter_model.bin", base.parent / "new"))
    assert torch.equal(logits(finish(library.load(output))), expected)


def test_its_identity_holds_the_base(adapter: Path, base: Path) -> None:
    before = finish(weights_hash(adapter))
    assert before == finish(weights_hash(adapter)) != finish(weights_hash(base))
    make_llama(base, seed=1)
    assert finish(weights_hash(adapter)) != before
