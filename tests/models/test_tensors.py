"""Tensors of checkpoint files: lists, statistics, pictures and changes, against numpy, safetensors, torch and PEFT."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.cli import run
from models.engine_ops import Operations
from models.errors import UserError
from models.events import Partial, finish
from models.number_formats import EIGHT_BITS, eight_bits, numbers_of
from models.records.tensors import cards, change_map, counterparts, differs, natural, place_of
from models.weight_pictures import peaks, sheet_of
from models.weight_statistics import Moments
from models.weights import open_weights, read
from tests.models import gguf_files as gguf
from tests.models.folders import make_folder, make_llama, safetensors_bytes
from tests.models.test_library_adapters import write_adapter

OPS = Operations()


def write(folder: Path, tensors: dict[str, tuple[str, Any]]) -> Path:
    """Write a folder whose safetensors file holds these (type, array) by name."""
    table: dict[str, Any] = {}
    body = b""
    for name, (dtype, values) in tensors.items():
        data = np.asarray(values).tobytes()
        table[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(safetensors_bytes(table, body))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "architectures": ["X"]}), encoding="utf-8")
    return folder


def ask(name: str, *values: Any, **named: Any) -> Any:
    return finish(OPS.ask(name, *values, **named))


# numbers ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", list(EIGHT_BITS))
def test_eight_bit_floats_equal_torchs(dtype: str) -> None:
    import torch

    name = {"F8_E4M3": "e4m3fn", "F8_E5M2": "e5m2", "F8_E4M3FNUZ": "e4m3fnuz", "F8_E5M2FNUZ": "e5m2fnuz"}[dtype]
    theirs = torch.arange(256, dtype=torch.uint8).view(getattr(torch, f"float8_{name}")).float().numpy()
    np.testing.assert_array_equal(eight_bits(dtype), theirs)


def test_numbers_of_every_plain_type() -> None:
    values = np.array([0, 1, 2, 100])
    for dtype, kind in (("F16", np.float16), ("F32", np.float32), ("I8", np.int8), ("U16", np.uint16), ("I64", np.int64)):
        assert numbers_of(values.astype(kind).tobytes(), dtype).tolist() == values.tolist()
    bf16 = struct.pack("<HH", 0x3F80, 0xC000)
    assert numbers_of(bf16, "BF16").tolist() == [1.0, -2.0]
    with pytest.raises(ValueError, match="not read"):
        numbers_of(b"\0", "F4")


# statistics ------------------------------------------------------------------------------------------------------------
def test_moments_by_hand() -> None:
    moments = Moments()
    for piece in ([1.0, 2.0], [np.nan, 3.0, np.inf], [0.0, -np.inf], []):
        moments.add(np.array(piece, dtype=np.float32))
    mean, std, low, high, nan, inf, zeros = moments.row()
    assert (mean, low, high) == (1.5, 0.0, 3.0)
    assert std == pytest.approx(math.sqrt(1.25))
    assert (nan, inf, zeros) == (1 / 7, 2 / 7, 1 / 7)
    empty = Moments()
    empty.add(np.array([np.nan], dtype=np.float32))
    assert empty.row()[4] == 1.0
    assert math.isnan(empty.row()[0])
    assert math.isnan(Moments().row()[1])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.floats(-1e6, 1e6, width=32), max_size=40), min_size=1, max_size=5), st.floats(-1e5, 1e5))
def test_moments_in_pieces_equal_numpys(parts: list[list[float]], shift: float) -> None:
    arrays = [np.array(part, dtype=np.float64) + shift for part in parts]
    whole, moments = np.concatenate(arrays), Moments()
    for part in arrays:
        moments.add(part)
    if whole.size:
        mean, std, low, high, *_rest = moments.row()
        assert mean == pytest.approx(whole.mean(), rel=1e-9, abs=1e-6)
        assert std == pytest.approx(whole.std(), rel=1e-6, abs=1e-4)
        assert (low, high) == (whole.min(), whole.max())


def test_a_far_mean_does_not_eat_the_spread() -> None:
    moments = Moments()
    values = (1000 + np.random.default_rng(0).normal(size=4000) * 1e-2).astype(np.float32)
    moments.add(values)
    assert moments.row()[1] == pytest.approx(values.astype(np.float64).std(), rel=1e-4)


def test_statistics_of_a_folder_equal_safetensors(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    folder = make_llama(tmp_path / "m")
    listed, found = ask("tensor_list", str(folder)), ask("tensor_statistics", str(folder))
    arrays = load_file(folder / "model.safetensors")
    assert set(listed.names) == set(arrays)
    assert found.names == listed.names
    for i, name in enumerate(listed.names):
        assert listed.shapes[i] == arrays[name].shape
        assert found.mean[i] == pytest.approx(float(arrays[name].mean()), abs=1e-6)
        assert found.std[i] == pytest.approx(float(arrays[name].std()), rel=1e-4)
        assert found.maximum[i] == arrays[name].max()
    assert listed.n_bytes.sum() == sum(array.nbytes for array in arrays.values())
    assert listed.elements().sum() == sum(array.size for array in arrays.values())
    assert listed.tied == {}
    assert listed.config["hidden_size"] == "32"


def test_what_is_not_finite_is_counted_and_types_that_are_not_read_are_said(tmp_path: Path) -> None:
    bad = np.array([[1, np.nan, 0, 0], [np.inf, 2, 3, -np.inf]], dtype=np.float32)
    folder = write(tmp_path / "m", {"a": ("F32", bad), "b": ("F4", np.zeros(4, np.uint8).reshape(4)[:0])})
    found = ask("tensor_statistics", str(folder))
    assert found.nan[0] == pytest.approx(1 / 8)
    assert found.inf[0] == pytest.approx(2 / 8)
    assert found.zeros[0] == pytest.approx(2 / 8)
    assert (found.minimum[0], found.maximum[0]) == (0, 3)
    assert "F4" in found.problems["b"]
    detail = ask("tensor", str(folder), "a")
    assert np.isnan(detail.matrix[0, 1])
    assert np.isposinf(detail.matrix[1, 0])
    assert detail.counts.sum() == 5
    with pytest.raises(UserError, match="F4"):
        ask("tensor", str(folder), "b")


def test_batches_arrive_before_the_end_and_the_work_can_be_stopped(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", {f"t{i:03}": ("F32", np.ones((2, 2), np.float32)) for i in range(200)})
    work = OPS.ask("tensor_statistics", str(folder))
    parts = [event.value for event in work if isinstance(event, Partial)]
    assert [len(part.names) for part in parts] == [64, 64, 64]
    again = OPS.ask("tensor_statistics", str(folder))
    next(again)
    again.close()


def test_ties_and_families(tmp_path: Path) -> None:
    tied = ask("tensor_list", str(make_folder(tmp_path / "tied", "llama-tied"))).tied
    assert tied == {"lm_head.weight": "model.embed_tokens.weight"}
    t5 = ask("tensor_list", str(make_folder(tmp_path / "t5", "t5")))
    assert t5.tied["lm_head.weight"] == "shared.weight"
    bert = ask("tensor_list", str(make_folder(tmp_path / "bert", "bert")))
    assert bert.tied == {"cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight"}
    assert ask("tensor_list", str(make_folder(tmp_path / "bare", "bert-bare"))).tied == {}
    assert ask("tensor_list", str(make_folder(tmp_path / "reward", "reward"))).tied == {}
    assert {"embedding", "attention", "mlp", "norm"} <= set(t5.components)


def test_a_file_that_lost_its_end_is_said(tmp_path: Path) -> None:
    folder = make_llama(tmp_path / "m")
    weights = open_weights(folder)
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    last = max(weights.tensors.values(), key=lambda tensor: tensor.start)
    with last.file.open("rb") as source, pytest.raises(UserError, match="ends too early"):
        read(source, last, 0, last.n_elements)
    with pytest.raises(UserError, match="outside the file"):
        ask("tensor_list", str(folder))


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    import subprocess
    import sys

    folder = make_llama(tmp_path / "m")
    code = (
        "import sys\nfrom models.engine_ops import Operations\nfrom models.events import finish\nops = Operations()\n"
        "for name in ('tensor_list', 'tensor_statistics'): finish(ops.ask(name, sys.argv[1]))\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# pictures --------------------------------------------------------------------------------------------------------------
def test_peaks_by_hand() -> None:
    block = np.array([[1, -3, 0, 2], [2, 1, 0, -2]], dtype=np.float32)
    values, row, column = peaks(block, np.array([0, 2]))
    assert values.tolist() == [-3, 2]
    assert (row.tolist(), column.tolist()) == ([0, 0], [1, 3])


def test_a_picture_keeps_the_largest_of_every_block_and_says_where_it_stands(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=(700, 300)).astype(np.float32)
    values[511, 299] = -50
    folder = write(tmp_path / "m", {"w": ("F32", values)})
    found = ask("tensor", str(folder), "w")
    assert found.matrix.shape == (256, 256)
    assert found.matrix.min() == -50
    for r, c in ((0, 0), (100, 17), (255, 255)):
        assert values[found.index_of(r, c)] == found.matrix[r, c]
        rows, columns = slice(r * 700 // 256, (r + 1) * 700 // 256), slice(c * 300 // 256, (c + 1) * 300 // 256)
        assert abs(found.matrix[r, c]) == np.abs(values[rows, columns]).max()
    counts, _edges = np.histogram(values, bins=101)
    assert np.abs(found.counts - counts).sum() <= 4  # values on an edge may fall to either side
    part = ask("tensor", str(folder), "w", region=(500, 520, 290, 300))
    np.testing.assert_array_equal(part.matrix, values[500:520, 290:300])
    assert part.index_of(11, 9) == (511, 299)
    with pytest.raises(UserError, match="region"):
        ask("tensor", str(folder), "w", region=(0, 701, 0, 1))


def test_slices_vectors_and_scalars(tmp_path: Path) -> None:
    cube = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    vector = np.arange(1, 12, dtype=np.float32)
    long = np.arange(1000, dtype=np.float32)
    folder = write(tmp_path / "m", {
        "cube": ("F32", cube), "v": ("F32", vector), "long": ("F32", long), "one": ("F32", np.float32([7]).reshape(())),
        "none": ("F32", np.zeros((0, 4), np.float32)),
    })  # fmt: skip
    found = ask("tensor", str(folder), "cube", slice=4)
    assert (found.n_slices, found.leading) == (6, (1, 1))
    np.testing.assert_array_equal(found.matrix, cube[1, 1])
    assert found.index_of(2, 3) == (1, 1, 2, 3)
    with pytest.raises(UserError, match="slices are 0 to 5"):
        ask("tensor", str(folder), "cube", slice=6)
    assert ask("tensor", str(folder), "v").matrix.tolist() == [vector.tolist()]
    folded = ask("tensor", str(folder), "long")
    assert (folded.rows, folded.columns, folded.folded) == (32, 32, True)
    assert folded.matrix[31, 7] == 999
    assert folded.index_of(31, 7) == (999,)
    assert folded.index_of(31, 8) == ()
    one = ask("tensor", str(folder), "one")
    assert one.matrix.tolist() == [[7.0]]
    assert one.counts.tolist() == [1]
    with pytest.raises(UserError, match="no elements"):
        ask("tensor", str(folder), "none")
    with pytest.raises(UserError, match="has no tensor"):
        ask("tensor", str(folder), "../../etc/passwd")
    assert sheet_of((3,), 0).columns == 3


# changes ---------------------------------------------------------------------------------------------------------------
def test_changes_by_hand(tmp_path: Path) -> None:
    a = np.array([[3, 4], [0, 0]], dtype=np.float32)
    b = np.array([[3, 4], [5, 0]], dtype=np.float32)
    zero, same = np.zeros((2, 2), np.float32), np.ones(3, np.float32)
    first = write(tmp_path / "a", {"h.0.x.weight": ("F32", a), "z": ("F32", zero), "s": ("F32", same), "old": ("F32", same)})
    second = write(tmp_path / "b", {"h.0.x.weight": ("F32", b), "z": ("F32", zero + 1), "s": ("F32", same), "new": ("F32", same)})
    found = ask("tensor_changes", str(first), str(second))
    at = {name: i for i, name in enumerate(found.names)}
    x, z, s = at["h.0.x.weight"], at["z"], at["s"]
    assert found.relative[x] == 1.0
    assert found.maximum[x] == 5.0
    assert found.cosine[x] == pytest.approx(25 / (5 * math.sqrt(50)))
    assert found.changed[x] == 0.25
    assert (found.layers[x], found.modules[x]) == (0, "x")
    assert np.isposinf(found.relative[z])
    assert np.isnan(found.cosine[z])
    assert (found.relative[s], found.maximum[s], found.cosine[s], found.changed[s]) == (0, 0, 1, 0)
    assert (found.only_first, found.only_second) == (("old",), ("new",))
    itself = ask("tensor_changes", str(first), str(first))
    assert not itself.relative.any()
    assert not itself.maximum.any()
    delta = ask("tensor", str(second), "h.0.x.weight", other=str(first))
    np.testing.assert_array_equal(delta.matrix, b - a)
    with pytest.raises(UserError, match="has no tensor"):
        ask("tensor", str(second), "new", other=str(first))


def test_changes_of_two_seeds_equal_torch(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    first, second = make_llama(tmp_path / "a", 0), make_llama(tmp_path / "b", 1)
    found = ask("tensor_changes", str(first), str(second))
    a, b = load_file(first / "model.safetensors"), load_file(second / "model.safetensors")
    for i, name in enumerate(found.names):
        x, y = a[name].astype(np.float64).ravel(), b[name].astype(np.float64).ravel()
        assert found.relative[i] == pytest.approx(np.linalg.norm(y - x) / np.linalg.norm(x), rel=1e-5)
        assert found.cosine[i] == pytest.approx(x @ y / np.linalg.norm(x) / np.linalg.norm(y), abs=1e-5)
    matrix, layers, modules = change_map(found, "relative")
    assert layers == (0, 1)
    assert "self_attn.q_proj" in modules
    assert matrix.shape == (2, 9)
    turned, *_rest = change_map(found, "cosine")
    assert np.nanmin(turned) >= 0
    with pytest.raises(ValueError, match="statistic"):
        change_map(found, "mean")


def test_models_without_anything_in_common_are_said(tmp_path: Path) -> None:
    first = write(tmp_path / "a", {"x": ("F32", np.ones(2, np.float32))})
    second = write(tmp_path / "b", {"x": ("F32", np.ones(3, np.float32)), "y": ("F32", np.ones(3, np.float32))})
    with pytest.raises(UserError, match="no tensor of the same name"):
        ask("tensor_changes", str(first), str(second))


@pytest.mark.filterwarnings("ignore:Unexpected keyword arguments")
def test_an_adapter_changes_its_base_by_what_peft_merges(tmp_path: Path) -> None:
    import transformers
    from peft import PeftModel

    base = make_folder(tmp_path / "base", "llama")
    adapter = write_adapter(tmp_path / "adapter", "../base")
    listed = ask("tensor_list", str(adapter))
    assert "model.embed_tokens.weight" in listed.names
    assert any("lora_A" in name for name in listed.names)
    assert "adapter" in listed.components
    found = ask("tensor_changes", str(base), str(adapter))
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    merged = PeftModel.from_pretrained(model, adapter).merge_and_unload().state_dict()
    for i, name in enumerate(found.names):
        want = float((merged[name] - before[name]).norm() / before[name].norm())
        assert found.relative[i] == pytest.approx(want, rel=1e-4, abs=1e-7)
    assert sum(found.relative > 0) == 4
    dora = write_adapter(tmp_path / "dora", "../base", use_dora=True)
    with pytest.raises(UserError, match="not a plain LoRA"):
        ask("tensor_changes", str(base), str(dora))
    lost = write_adapter(tmp_path / "lost", "../nowhere")
    assert "not on this machine" in ask("tensor_list", str(lost)).notes[0]
    with pytest.raises(UserError, match="not on this machine"):
        ask("tensor_changes", str(base), str(lost))


def test_a_gguf_is_listed_as_it_is_and_compared_in_transformers_names(tmp_path: Path) -> None:
    from models.gguf_file import read_gguf
    from models.gguf_names import change_of, name_of

    random = np.random.default_rng(0)
    names = {"token_embd.weight": (262, 32), "output_norm.weight": (32,), "blk.0.attn_q.weight": (32, 32),
             "blk.0.attn_k.weight": (16, 32), "blk.0.attn_norm.weight": (32,)}  # fmt: skip
    arrays = {name: random.normal(size=shape).astype(np.float32) for name, shape in names.items()}
    pairs = gguf.settings("llama", block_count=1, context_length=64, embedding_length=32, feed_forward_length=48,
                          attention__head_count=4, attention__head_count_kv=2)  # fmt: skip
    path = gguf.write(tmp_path / "m.gguf", pairs + gguf.vocabulary(262), {n: gguf.floats(a) for n, a in arrays.items()})
    listed = ask("tensor_list", str(path))
    assert set(listed.names) == set(names)
    assert listed.shapes[listed.names.index("blk.0.attn_k.weight")] == (16, 32)
    assert listed.tied == {"output.weight": "token_embd.weight"}
    assert listed.components[listed.names.index("token_embd.weight")] == "embedding"
    assert listed.components[listed.names.index("output_norm.weight")] == "norm"
    assert listed.config["llama.block_count"] == "1"
    found = ask("tensor_statistics", str(path))
    i = found.names.index("blk.0.attn_q.weight")
    assert found.mean[i] == pytest.approx(arrays["blk.0.attn_q.weight"].mean(), abs=1e-6)
    file = read_gguf(path)
    turned = {}
    for name, values in arrays.items():
        change = change_of(file, name)
        turned[name_of(file, name)] = ("F32", values if change is None else change(values))
    folder = write(tmp_path / "hf", turned)
    same = ask("tensor_changes", str(folder), str(path))
    assert len(same.names) == 5
    assert not same.maximum.any()


@pytest.mark.real_models
def test_smollm_is_listed_at_once_and_its_blocks_are_read(smollm: Path) -> None:
    listed = ask("tensor_list", str(smollm))
    assert len(listed.names) == 272
    assert listed.tied == {"output.weight": "token_embd.weight"}
    detail = ask("tensor", str(smollm), "blk.0.attn_q.weight")
    assert detail.matrix.shape == (256, 256)
    assert 0.01 < float(detail.statistics.std[0]) < 1


# names -----------------------------------------------------------------------------------------------------------------
def test_places_and_order_of_names() -> None:
    assert place_of("model.layers.3.mlp.up_proj.weight") == (3, "mlp.up_proj")
    assert place_of("encoder.block.0.layer.1.DenseReluDense.wi.weight") == (0, "encoder.layer.1.DenseReluDense.wi")
    assert place_of("transformer.h.11.attn.c_attn.bias") == (11, "attn.c_attn.bias")
    assert place_of("model.embed_tokens.weight") == (-1, "model.embed_tokens")
    assert place_of("layers.0") == (0, "layers")
    assert sorted(["layers.10.a", "layers.9.a", "layers.9"], key=natural) == ["layers.9", "layers.9.a", "layers.10.a"]


NAMES = st.lists(st.text(alphabet="ab.0123", max_size=8), unique=True)


@given(NAMES, NAMES)
def test_counterparts_are_one_to_one(first: list[str], second: list[str]) -> None:
    pairs, only_first, only_second = counterparts(first, second)
    assert len(set(pairs.values())) == len(pairs)
    assert set(pairs) | set(only_second) == set(second)
    assert set(pairs.values()) | set(only_first) == set(first)
    assert all(pairs[name] == name for name in set(first) & set(second))


def test_a_base_models_prefix_does_not_matter() -> None:
    pairs, left, right = counterparts(["bert.encoder.layer.0.w", "cls.x"], ["encoder.layer.0.w", "pooler.x"])
    assert pairs == {"encoder.layer.0.w": "bert.encoder.layer.0.w"}
    assert (left, right) == (("cls.x",), ("pooler.x",))


def test_cards_put_equal_labels_into_one_row(tmp_path: Path) -> None:
    folders = [make_llama(tmp_path / "a"), make_llama(tmp_path / "b", rope_theta=5000.0)]
    lists = [ask("tensor_list", str(folder)) for folder in folders]
    rows = cards([ask("describe", str(folder)) for folder in folders], lists)
    different = {(group, label): values for group, label, values in rows if differs(values)}
    assert different[("config", "rope_theta")] == ["10000.0", "5000.0"]
    assert all(len(values) == 2 for _group, _label, values in rows)
    assert ("architecture", "Layers", ["2", "2"]) in rows
    assert cards([None, None], [None, lists[0]])[0][2][0] == ""


# the command line ------------------------------------------------------------------------------------------------------
def test_the_flags_need_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = str(make_llama(tmp_path / "a", 0)), str(make_llama(tmp_path / "b", 1))
    assert run(["inspect", first, "--tensors", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["tensors"]
    assert len(shown["tensors"]) == 21
    assert shown["parameters"]["embedding"] == 9600
    assert run(["inspect", second, "--changes", first, "--json"]) == 0
    changed = json.loads(capsys.readouterr().out)["changes"]
    assert changed["tensors"][0]["relative"] == pytest.approx(float(ask("tensor_changes", first, second).relative[0]), rel=1e-6)
    assert run(["inspect", second, "--tensor", "model.norm.weight", "--against", first, "--json"]) == 0
    one = json.loads(capsys.readouterr().out)["tensor"]
    assert np.sum(one["histogram"]["counts"]) == 32
    for flag in (["--tensors"], ["--changes", first], ["--tensor", "model.norm.weight"]):
        assert run(["inspect", second, *flag]) == 0
        assert "model.norm" in capsys.readouterr().out.replace("\n", "").replace("│", "").replace(" ", "")
    assert run(["inspect", first, "--tensors", "--attention", "0.0"]) == 2
    assert "--text is needed" in capsys.readouterr().err


def test_the_python_face(tmp_path: Path) -> None:
    from models.api import open_checkpoint

    first, second = str(make_llama(tmp_path / "a", 0)), str(make_llama(tmp_path / "b", 1))
    checkpoint = open_checkpoint(second)
    assert len(checkpoint.tensors().names) == 21
    assert checkpoint.tensor_statistics().nan.sum() == 0
    assert checkpoint.changes(first).relative.min() > 0
    assert checkpoint.tensor("model.norm.weight", against=first).other == first
