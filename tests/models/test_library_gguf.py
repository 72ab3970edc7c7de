"""GGUF files: converted once, with the numbers that the formats define and the tokens of the vocabulary inside."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import library
from models.errors import UserError
from models.events import Note, finish
from models.gguf_file import read_gguf
from models.gguf_numbers import dequantize
from tests.models import gguf_files as g

N = 300
H, F, L, HEADS, KV = 32, 48, 2, 4, 2


def random(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32) * 0.3


def llama_like(names: tuple[str, ...], width: int = H // HEADS) -> dict[str, Any]:
    """Return the tensors of a small model whose blocks have these parts."""
    sizes = {
        "attn_norm": (H,), "ffn_norm": (H,), "post_attention_norm": (H,), "post_ffw_norm": (H,),
        "attn_q": (HEADS * width, H), "attn_k": (KV * width, H), "attn_v": (KV * width, H),
        "attn_output": (H, HEADS * width), "ffn_gate": (F, H), "ffn_up": (F, H), "ffn_down": (H, F),
        "attn_q_norm": (width,), "attn_k_norm": (width,), "attn_q.bias": (HEADS * width,), "attn_k.bias": (KV * width,),
        "attn_v.bias": (KV * width,),
    }  # fmt: skip
    tensors = {"token_embd.weight": random(1, N, H), "output_norm.weight": random(2, H), "output.weight": random(3, N, H)}
    for block in range(L):
        for place, name in enumerate(names):
            key = f"blk.{block}.{name}" + ("" if name.endswith(".bias") else ".weight")
            tensors[key] = random(10 + 100 * block + place, *sizes[name])
    return tensors


BASE = ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down")
COMMON = {
    "block_count": L, "context_length": 64, "embedding_length": H, "feed_forward_length": F, "attention__head_count": HEADS,
    "attention__head_count_kv": KV, "attention__layer_norm_rms_epsilon": 1e-5, "rope__freq_base": 5000.0,
}  # fmt: skip
GEMMA = (*BASE, "post_attention_norm", "post_ffw_norm")
FAMILIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "llama": ({**COMMON, "rope__dimension_count": 8, "vocab_size": N}, llama_like(BASE)),
    "qwen2": (COMMON, llama_like((*BASE, "attn_q.bias", "attn_k.bias", "attn_v.bias"))),
    "qwen3": (
        {**COMMON, "attention__key_length": 128},  # the width that transformers, which does not read the key, assumes
        llama_like((*BASE, "attn_q_norm", "attn_k_norm"), width=128),
    ),
    "gemma2": ({**COMMON, "attention__key_length": 8, "attention__sliding_window": 4}, llama_like(GEMMA)),
    "gemma3": (
        {**COMMON, "attention__key_length": 8, "attention__sliding_window": 4},
        llama_like((*GEMMA, "attn_q_norm", "attn_k_norm")),
    ),
}


def make(path: Path, family: str) -> Path:
    values, tensors = FAMILIES[family]
    if family == "gemma2":  # always tied
        tensors = {name: value for name, value in tensors.items() if name != "output.weight"}
    pairs = [*g.settings(family, **values), *g.vocabulary(N)]
    return g.write(path, pairs, {name: g.floats(value) for name, value in tensors.items()})


@pytest.mark.parametrize("family", FAMILIES)
def test_same_logits_as_the_reader_of_transformers(family: str, tmp_path: Path) -> None:
    import torch
    import transformers

    path = make(tmp_path / f"{family}.gguf", family)
    opened = finish(library.load(path))
    reference = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=path.name, dtype=torch.float32)
    if family.startswith("gemma"):
        reference.config.query_pre_attn_scalar = 8
        for layer in reference.model.layers:
            layer.self_attn.scaling = 8**-0.5
    ids = torch.tensor([[1, 40, 41, 42, 77, 99, 100]])
    with torch.no_grad():
        torch.testing.assert_close(opened.model(ids).logits, reference(ids).logits, rtol=1e-5, atol=1e-5)
    assert opened.path == str(path)
    assert opened.eos_ids == (2,)
    assert opened.chat_template.startswith("{{ messages")


def test_gpt2(tmp_path: Path) -> None:
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=N, n_embd=H, n_layer=L, n_head=HEADS, n_positions=64, n_inner=F)
    model = transformers.GPT2LMHeadModel(config).eval()
    names = {"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm", "ln_1": "attn_norm",
             "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "ln_2": "ffn_norm", "mlp.c_fc": "ffn_up",
             "mlp.c_proj": "ffn_down"}  # fmt: skip
    tensors = {}
    for key, value in model.transformer.state_dict().items():
        stem, _dot, ending = key.rpartition(".")
        block = f"blk.{stem.split('.')[1]}." if stem.startswith("h.") else ""
        inner = stem.split(".", 2)[2] if block else stem
        turned = value.T if "c_" in inner and ending == "weight" else value
        tensors[f"{block}{names[inner]}.{ending}"] = g.floats(turned.numpy())
    values = {"block_count": L, "context_length": 64, "embedding_length": H, "feed_forward_length": F,
              "attention__head_count": HEADS, "attention__layer_norm_epsilon": 1e-5}  # fmt: skip
    path = g.write(tmp_path / "gpt2.gguf", [*g.settings("gpt2", **values), *g.vocabulary(N)], tensors)
    opened = finish(library.load(path))
    ids = torch.tensor([[5, 40, 41, 42]])
    with torch.no_grad():
        torch.testing.assert_close(opened.model(ids).logits, model(ids).logits, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q6_K"])
def test_numbers_of_a_format(name: str) -> None:
    quants = pytest.importorskip("gguf.quants")
    from gguf import GGMLQuantizationType

    from models.gguf_file import BLOCKS

    width = next(width for known, _block, width in BLOCKS.values() if known == name)
    data = np.random.default_rng(0).integers(0, 256, (50, width), dtype=np.uint8)
    for start in (0, 2):  # the scales, as half-precision numbers of moderate size
        data[:, start + 1] = (data[:, start + 1] & 0x83) | 0x30
    if name in ("Q4_K", "Q6_K"):
        data[:, -1] = (data[:, -1] & 0x83) | 0x30
    expected = quants.dequantize(data, GGMLQuantizationType[name])
    assert np.array_equal(dequantize(data, name), expected)
    assert np.isfinite(expected).all()


def test_second_time_nothing_is_converted(tmp_path: Path) -> None:
    path = make(tmp_path / "a.gguf", "llama")

    def notes() -> list[str]:
        return [event.text for event in library.load(path) if isinstance(event, Note)]

    finish(library.load(path))
    assert not any("converted" in text for text in notes())
    copy = tmp_path / "same content.gguf"
    copy.write_bytes(path.read_bytes())
    path = copy
    assert not any("converted" in text for text in notes())


def test_half_written_conversion_is_made_again(tmp_path: Path) -> None:
    from models.gguf import converted

    path = make(tmp_path / "a.gguf", "qwen2")
    folder = finish(converted(path))
    (folder / "model.safetensors").write_bytes(b"")
    assert finish(converted(path)) == folder
    finish(library.load(path))


def test_what_a_killed_conversion_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from models.gguf import converted
    from models.places import cache_folder

    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path / "home"))
    home = cache_folder("gguf")
    dead, alive = home / f"{'a' * 64}-99999999.tmp", home / f"{'b' * 64}-{os.getpid()}.tmp"
    for folder in (dead, alive):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"half")
    finish(converted(make(tmp_path / "a.gguf", "llama")))
    assert not dead.exists()
    assert alive.exists()


def test_convert_writes_a_folder(tmp_path: Path) -> None:
    import transformers

    output = finish(library.convert(make(tmp_path / "a.gguf", "llama"), tmp_path / "out"))
    model = transformers.AutoModelForCausalLM.from_pretrained(output)
    tokenizer = transformers.AutoTokenizer.from_pretrained(output)
    assert model.config.rope_parameters["rope_theta"] == 5000.0
    assert tokenizer.eos_token == "</s>"


def test_tokens_and_special_tokens(tmp_path: Path) -> None:
    tokenizer = finish(library.load(make(tmp_path / "a.gguf", "llama"))).tokenizer
    ids = tokenizer("hello 12</s>").input_ids
    assert tokenizer.convert_ids_to_tokens(ids) == ["hell", "o", "Ġ", "1", "2", "</s>"]
    assert tokenizer.decode(tokenizer("Zażółć 你好 🙂").input_ids) == "Zażółć 你好 🙂"


def test_sentencepiece_vocabulary(tmp_path: Path) -> None:
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{n:02X}>" for n in range(256)), "▁", "a", "b", "c", "ab", "▁ab", "abc"]
    scores = np.array([0.0] * 259 + [-9, -9, -9, -9, -2, -1, -3], "<f4")
    kinds = np.array([2, 3, 3] + [6] * 256 + [1] * 7, "<i4")
    pairs = [
        *g.settings("llama", **FAMILIES["llama"][0] | {"vocab_size": len(pieces)}),
        g.string("tokenizer.ggml.model", "llama"),
        g.strings("tokenizer.ggml.tokens", pieces),
        g.array("tokenizer.ggml.scores", g.F32, scores.tobytes(), len(pieces)),
        g.array("tokenizer.ggml.token_type", g.I32, kinds.tobytes(), len(pieces)),
        g.u32("tokenizer.ggml.bos_token_id", 1), g.u32("tokenizer.ggml.eos_token_id", 2),
        g.u32("tokenizer.ggml.unknown_token_id", 0),
    ]  # fmt: skip
    tensors = dict(FAMILIES["llama"][1])
    tensors["token_embd.weight"] = tensors["output.weight"] = random(1, len(pieces), H)
    path = g.write(tmp_path / "sp.gguf", pairs, {name: g.floats(value) for name, value in tensors.items()})
    tokenizer = finish(library.load(path)).tokenizer
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("ab abc é").input_ids)
    assert tokens == ["<s>", "▁ab", "▁ab", "c", "▁", "<0xC3>", "<0xA9>"]
    assert tokenizer.decode(tokenizer("ab abc é").input_ids, skip_special_tokens=True) == "ab abc é"


def test_family_without_a_direct_conversion_uses_transformers(tmp_path: Path) -> None:
    import torch

    values = {**COMMON, "attention__layer_norm_epsilon": 1e-5}
    names = ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_up", "ffn_down")
    tensors = {name: value for name, value in llama_like(names).items() if name != "output.weight"}
    biases = {"attn_norm": H, "ffn_norm": H, "attn_q": H, "attn_k": H // 2, "attn_v": H // 2, "attn_output": H,
              "ffn_up": F, "ffn_down": H}  # fmt: skip
    tensors |= {f"blk.{b}.{name}.bias": random(b, n) for b in range(L) for name, n in biases.items()}
    tensors["output_norm.bias"] = random(5, H)
    pairs = [*g.settings("starcoder2", **values), *g.vocabulary(N)]
    path = g.write(tmp_path / "s.gguf", pairs, {name: g.floats(value) for name, value in tensors.items()})
    opened = finish(library.load(path))
    assert type(opened.model).__name__ == "Starcoder2ForCausalLM"
    weights = torch.from_numpy(tensors["blk.1.ffn_up.weight"])
    assert torch.equal(opened.model.model.layers[1].mlp.c_fc.weight, weights)


def test_description(tmp_path: Path) -> None:
    described = library.describe(make(tmp_path / "a.gguf", "llama"))
    assert described.architecture == "LlamaForCausalLM"
    assert described.facts["Layers"] == "2"
    assert described.parameters["embedding"] == N * H
    assert described.memory["F32"] == 4 * sum(described.parameters.values())
    assert library.forecast(tmp_path / "a.gguf") == 4 * sum(described.parameters.values())


@pytest.mark.real_models
def test_smollm_opens(smollm: Path) -> None:
    import torch

    opened = finish(library.load(smollm))
    assert library.describe(smollm).parameters["embedding"] == 49152 * 576
    ids = opened.tokenizer("The capital of France is", return_tensors="pt").input_ids
    with torch.no_grad():
        best = opened.model(ids).logits[0, -1].argmax()
    assert opened.tokenizer.decode(best) == " Paris"


def pairs(*more: bytes) -> list[bytes]:
    return [*g.settings("llama", **FAMILIES["llama"][0]), *more]


def one(*rows: bytes, more: tuple[bytes, ...] = (), body: bytes = bytes(64), **counts: Any) -> bytes:
    return g.padded(g.header(pairs(*more), list(rows), **counts)) + body


ROW = g.tensor_row("token_embd.weight", [4, 4])
BAD: dict[str, tuple[bytes, str]] = {
    "b70-empty": (b"GG", "does not begin"),
    "b70-magic": (g.header([], [], magic=b"GGUT"), "begin"),
    "b70-version-0": (one(ROW, version=0), "version 0"),
    "b70-version-1": (one(ROW, version=1), "version 1"),
    "b70-version-future": (one(ROW, version=4), "version 4"),
    "b70-big-endian": (one(ROW, version=0x03000000), "version 50331648"),
    "b70-tensors-minus-1": (one(ROW, n_tensors=-1), "claims"),
    "b70-pairs-minus-1": (one(ROW, n_pairs=-1), "claims"),
    "b70-key-length-minus-1": (g.header([g.text(b"", -1)], []), "too long"),
    "b70-empty-key": (one(ROW, more=(g.u32("x", 1).replace(g.text("x"), g.text("")),)), "empty"),
    "b70-key-twice": (one(ROW, more=(g.u32("x", 1), g.u32("x", 1))), "twice"),
    "b70-type": (one(ROW, more=(g.pair("x", 13, bytes(8)),)), "unknown type 13"),
    "b70-list-type": (one(ROW, more=(g.array("x", 99, bytes(8), 1),)), "unknown type 99"),
    "b70-list-of-lists": (one(ROW, more=(g.array("x", g.ARRAY, bytes(12), 1),)), "unknown type"),
    "b70-list-of-2^63": (one(ROW, more=(g.array("x", g.U8, b"", 2**63),)), "more than the file"),
    "b71-alignment-13": (one(ROW, more=(g.u32("general.alignment", 13),)), "alignment"),
    "b71-alignment-2^31": (one(ROW, more=(g.u32("general.alignment", 0x80000000),)), "alignment"),
    "b71-alignment-type": (one(ROW, more=(g.pair("general.alignment", g.U64, bytes([32]) + bytes(7)),)), "wrong type"),
    "b71-long-name": (one(g.tensor_row("x" * 64, [4, 4])), "too long"),
    "b71-five-dimensions": (one(g.tensor_row("a", [1, 1, 1, 1, 1])), "5 dimensions"),
    "b71-no-dimensions": (one(g.tensor_row("a", [])), "0 dimensions"),
    "b71-negative-dimension": (one(g.tensor_row("a", [4, -1])), "impossible shape"),
    "b71-overflow": (one(g.tensor_row("a", [2**32, 2**32])), "impossible shape"),
    "b71-offset": (one(g.tensor_row("a", [4, 4], 0, 32)), "not where"),
    "b71-offset-unaligned": (one(g.tensor_row("a", [4, 4], 0, 1)), "not where"),
    "b71-name-twice": (one(ROW, g.tensor_row("token_embd.weight", [4, 4], 0, 64), body=bytes(128)), "twice"),
    "b71-short-data": (one(ROW, body=bytes(63)), "larger than the file"),
    "b71-two-huge": (
        one(g.tensor_row("a", [0x7FFFFFFFFFFFFFC0]), g.tensor_row("b", [0x7FFFFFFFFFFFFFC0], 0, 0x7FFFFFFFFFFFFFC0)),
        "impossible shape",
    ),
    "b71-type": (one(g.tensor_row("a", [4, 4], 77)), "unknown type 77"),
    "b71-block": (one(g.tensor_row("a", [4, 4], 3)), "whole blocks"),
    "b72-larger-than-file": (one(g.tensor_row("token_embd.weight", [4096, 4096])), "larger than the file"),
    "b73-byte": (one(ROW, more=(g.strings("tokenizer.ggml.tokens", ["<0x-1>"]),)), "names no byte"),
    "b73-long-token": (one(ROW, more=(g.strings("tokenizer.ggml.tokens", ["x" * 20_000]),)), "too long"),
    "b73-token-type": (
        one(ROW, more=(g.strings("tokenizer.ggml.tokens", ["a"]), g.array("tokenizer.ggml.token_type", g.U8, b"\1", 1))),
        "wrong type",
    ),
    "b73-token-type-length": (
        one(ROW, more=(g.strings("tokenizer.ggml.tokens", ["a"]), g.array("tokenizer.ggml.token_type", g.I32, bytes(8), 2))),
        "2 entries for 1",
    ),
    "b74-43-bytes": (g.header([g.array("a", g.U8, b"", 2**63)], [])[:43], "too early"),
    "b74-list-of-texts": (one(ROW, more=(g.array("x", g.STRING, b"", 2**62),)), "more than the file"),
    "not-utf8": (one(ROW, more=(g.pair("x", g.STRING, g.text(b"\xff")),)), "UTF-8"),
    "no-architecture": (g.padded(g.header([g.u32("x", 1)], [ROW])) + bytes(64), "architecture"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_gguf(name: str, tmp_path: Path) -> None:
    data, words = BAD[name]
    path = tmp_path / "bad.gguf"
    path.write_bytes(data)
    if data[:4] == b"GGUF":
        for action in (library.describe, library.forecast, lambda path: finish(library.load(path))):
            with pytest.raises(UserError, match=r"bad\.gguf") as caught:
                action(path)
            assert words in str(caught.value)
    else:
        with pytest.raises(UserError, match=r"bad\.gguf"):
            finish(library.load(path))


def test_missing_tensor_is_named(tmp_path: Path) -> None:
    values, tensors = FAMILIES["llama"]
    kept = {name: g.floats(value) for name, value in tensors.items() if name != "blk.1.ffn_up.weight"}
    path = g.write(tmp_path / "a.gguf", [*g.settings("llama", **values), *g.vocabulary(N)], kept)
    with pytest.raises(UserError, match=r"model\.layers\.1\.mlp\.up_proj\.weight"):
        finish(library.load(path))


def test_unknown_family(tmp_path: Path) -> None:
    path = g.write(tmp_path / "a.gguf", [g.string("general.architecture", "quux")], {"token_embd.weight": g.floats([[1.0]])})
    for action in (library.describe, lambda path: finish(library.load(path))):
        with pytest.raises(UserError, match="quux"):
            action(path)


def test_conversion_stays_within_its_memory(tmp_path: Path) -> None:
    """A child that would need more than its limit is stopped, and nothing is left behind."""
    from models.children import MB, ChildFailure, Limits, run_limited

    path = make(tmp_path / "a.gguf", "llama")
    output = tmp_path / "out"
    output.mkdir()
    params = {"path": str(path), "output": str(output)}
    with pytest.raises((ChildFailure, UserError)):
        finish(run_limited("gguf", params, Limits(20, 32 * MB, str(output))))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_gguf_header_is_refused_or_sound(data: st.DataObject) -> None:
    number = st.one_of(st.integers(0, 70), st.sampled_from([-1, 2**31, 2**32 - 1, 2**62, 2**63]))
    rows = []
    for name in data.draw(st.lists(st.sampled_from(["token_embd.weight", "b", ""]), max_size=2)):
        shape = data.draw(st.lists(number, min_size=1, max_size=4))
        rows.append(g.tensor_row(name, shape, data.draw(number) % 2**32, data.draw(number) % 2**63))
    more = [g.strings("tokenizer.ggml.tokens", ["a", "b"]), g.array("x", g.I32, bytes(8), data.draw(number))]
    raw = bytearray(
        g.padded(g.header(pairs(*more[: data.draw(st.integers(0, 2))]), rows)) + bytes(data.draw(st.integers(0, 300)))
    )
    for place in data.draw(st.lists(st.integers(4, len(raw) - 1), max_size=4)):
        raw[place] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "fuzzed.gguf")
        path.write_bytes(raw)
        try:
            file = read_gguf(path)
        except UserError:
            return
    for tensor in file.tensors.values():
        assert 0 < tensor.n_bytes <= len(raw) - tensor.start
