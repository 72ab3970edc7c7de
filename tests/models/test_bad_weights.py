"""Weights that must be refused, one test per row of the table of bad inputs (A: PyTorch files, B: safetensors)."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models import library
from models.errors import UserError
from models.events import finish
from models.headers import read_header
from models.manifest import verify, weights_hash
from models.torch_files import StoredTensor, read_archive
from tests.models.folders import edit_json, make_folder, make_llama, safetensors_bytes


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("made") / "llama")


@pytest.fixture
def folder(llama: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(llama, tmp_path / "copy"))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A good archive: what torch.save writes of a small state dict."""
    import torch

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("torch") / "good.pt"
    torch.save(torch.nn.Linear(4, 3).state_dict(), path)
    return path.read_bytes()


class Command:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (f"touch {self.marker}",)


def rebuilt(data: bytes, change: Callable[[dict[str, bytes]], None], compression: int = zipfile.ZIP_STORED) -> bytes:
    """Return a torch archive with changed records."""
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        records = {name: source.read(name) for name in source.namelist()}
    change(records)
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", compression) as target:
        for name, record in records.items():
            target.writestr(name, record)
    return output.getvalue()


def with_program(data: bytes, program: bytes) -> bytes:
    def change(records: dict[str, bytes]) -> None:
        (name,) = [name for name in records if name.endswith("data.pkl")]
        records[name] = program

    return rebuilt(data, change)


def program_of(data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        (name,) = [name for name in source.namelist() if name.endswith("data.pkl")]
        return source.read(name)


def not_converted(path: Path, words: str) -> UserError:
    """Assert that opening and converting are both refused, the latter for this reason, leaving nothing behind."""
    with pytest.raises(UserError) as opening:
        finish(library.load(path))
    assert path.name in str(opening.value)
    output = path.parent / "converted"
    with pytest.raises(UserError) as caught:
        finish(library.convert(path, output))
    assert path.name in str(caught.value)
    assert words in str(caught.value)
    assert not output.exists()
    assert not list(path.parent.glob("*.tmp"))
    return caught.value


def test_good_archive_converts_to_the_same_numbers(archive: bytes, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    tensors = {
        "half": torch.randn(3, 4).half(),
        "transposed": torch.randn(5, 2).t(),
        "part": torch.arange(10.0, dtype=torch.bfloat16)[3:7],
        "scalar": torch.tensor(3),
        "empty": torch.zeros(0, 4),
        "parameter": torch.nn.Parameter(torch.randn(2)),
    }
    shared = torch.randn(4)
    tensors |= {"one": shared, "two": shared}
    torch.save({"model": tensors, "epoch": 3, "lr": 0.1, "name": "x" * 300}, tmp_path / "good.pt")
    output = finish(library.convert(tmp_path / "good.pt", tmp_path / "out"))
    written = load_file(Path(output) / "model.safetensors")
    assert set(written) == set(tensors)
    for name, tensor in tensors.items():
        assert torch.equal(written[name], tensor.detach()), name
    finish(verify(Path(output)))


def test_folder_with_torch_weights_converts_and_opens(llama: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    source = Path(shutil.copytree(llama, tmp_path / "old"))
    torch.save(load_file(source / "model.safetensors"), source / "pytorch_model.bin")
    (source / "model.safetensors").unlink()
    with pytest.raises(UserError, match="triptych models convert"):
        finish(library.load(source))
    output = finish(library.convert(source, tmp_path / "new"))
    ours, theirs = finish(library.load(output)).model, finish(library.load(llama)).model
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    with pytest.raises(UserError, match="exists already"):
        finish(library.convert(source, tmp_path / "new"))


class TestTorchFiles:
    def test_b01_command_in_an_archive(self, archive: bytes, tmp_path: Path) -> None:
        marker = tmp_path / "ran"
        path = tmp_path / "evil.pt"
        path.write_bytes(with_program(archive, pickle.dumps({"w": Command(marker)}, protocol=2)))
        assert "posix.system" in str(not_converted(path, "system"))
        assert not marker.exists()

    @pytest.mark.parametrize("name", ["evil.bin", "evil.pt", "evil.ckpt", "evil.model", "evil"])
    @pytest.mark.parametrize("protocol", [0, 2, 4])
    def test_b02_command_without_an_archive(self, tmp_path: Path, name: str, protocol: int) -> None:
        marker = tmp_path / "ran"
        path = tmp_path / name
        path.write_bytes(pickle.dumps(Command(marker), protocol=protocol))
        not_converted(path, "not a PyTorch archive")
        assert not marker.exists()

    @pytest.mark.parametrize("kind", ["archive", "bare"])
    def test_b03_named_safetensors(self, archive: bytes, folder: Path, tmp_path: Path, kind: str) -> None:
        marker = tmp_path / "ran"
        bare = pickle.dumps(Command(marker))
        (folder / "model.safetensors").write_bytes(with_program(archive, bare) if kind == "archive" else bare)
        for action in (library.describe, lambda path: finish(library.load(path))):
            with pytest.raises(UserError, match=r"model\.safetensors.*PyTorch"):
                action(folder)
        assert not marker.exists()

    @pytest.mark.parametrize("code", [b"s", b"u"])
    def test_b04_items_of_what_is_no_table(self, archive: bytes, tmp_path: Path, code: bytes) -> None:
        path = tmp_path / "evil.pt"
        items = b"K\x01K\x02s" if code == b"s" else b"(K\x01K\x02u"
        path.write_bytes(with_program(archive, b"\x80\x02]" + items + b"."))
        not_converted(path, "not a table")

    def test_b04_storage_of_another_size(self, archive: bytes, tmp_path: Path) -> None:
        path = tmp_path / "evil.pt"

        def change(records: dict[str, bytes]) -> None:
            (name,) = [name for name in records if name.endswith("data/0")]
            records[name] = records[name][:-4]

        path.write_bytes(rebuilt(archive, change))
        not_converted(path, "does not have the size")

    @pytest.mark.parametrize("name", ["argparse Namespace", "torch load", "builtins getattr", "numpy.core.multiarray scalar"])
    def test_b05_one_unlisted_name(self, archive: bytes, tmp_path: Path, name: str) -> None:
        module, _space, attribute = name.partition(" ")
        path = tmp_path / "evil.pt"
        path.write_bytes(with_program(archive, f"\x80\x02c{module}\n{attribute}\n.".encode("latin-1")))
        not_converted(path, f"{module}.{attribute}")

    @pytest.mark.parametrize("name", ["rng_state.pth", "optimizer.pt", "scheduler.pt", "training_args.bin"])
    def test_b06_poisoned_state_beside_good_weights(self, folder: Path, tmp_path: Path, name: str) -> None:
        marker = tmp_path / "ran"
        (folder / name).write_bytes(pickle.dumps(Command(marker)))
        finish(library.load(folder))
        not_converted(folder / name, "not a PyTorch archive")
        assert not marker.exists()

    def test_b07_exported_program(self, archive: bytes, tmp_path: Path) -> None:
        path = tmp_path / "model.pt2"
        path.write_bytes(rebuilt(archive, lambda records: records.update({"model/archive_format": b"pt2"})))
        not_converted(path, ".pt2")

    @pytest.mark.parametrize("record", ["archive/constants.pkl", "archive/code/__torch__.py"])
    def test_b08_torchscript(self, archive: bytes, tmp_path: Path, record: str) -> None:
        path = tmp_path / "script.pt"
        path.write_bytes(rebuilt(archive, lambda records: records.update({record: b""})))
        not_converted(path, "TorchScript")

    def test_b09_wrong_checksum(self, archive: bytes, tmp_path: Path) -> None:
        path = tmp_path / "evil.pt"
        with zipfile.ZipFile(io.BytesIO(archive)) as source:
            info = next(item for item in source.infolist() if item.filename.endswith("data/0"))
            place = archive.index(source.read(info))
        path.write_bytes(archive[:place] + bytes([archive[place] ^ 1]) + archive[place + 1 :])
        not_converted(path, "damaged")

    def test_b09_a_name_twice(self, archive: bytes, tmp_path: Path) -> None:
        path = tmp_path / "evil.pt"
        path.write_bytes(archive)
        with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as target:
            target.writestr(target.namelist()[0], b"x")
        not_converted(path, "twice")

    def test_b09_password(self, archive: bytes, tmp_path: Path) -> None:
        path = tmp_path / "evil.pt"
        plain = rebuilt(archive, lambda records: None)
        place = plain.rindex(b"PK\x01\x02")
        path.write_bytes(plain[: place + 8] + b"\x01" + plain[place + 9 :])
        not_converted(path, "encrypted")

    def test_b12_compressed_records(self, archive: bytes, tmp_path: Path) -> None:
        path = tmp_path / "bomb.pt"
        bomb = rebuilt(archive, lambda records: records.update({"archive/data/9": bytes(2**24)}), zipfile.ZIP_DEFLATED)
        path.write_bytes(bomb)
        not_converted(path, "compressed")

    def test_b13_huge_shape_over_a_small_storage(self, tmp_path: Path) -> None:
        import torch

        path = tmp_path / "huge.pt"
        torch.save({"w": torch.zeros(1).expand(10**12)}, path)
        assert path.stat().st_size < 4096
        not_converted(path, "larger than its storage")

    def test_b14_cut_anywhere(self, archive: bytes, tmp_path: Path) -> None:
        path = tmp_path / "cut.pt"
        for n in (*range(0, len(archive), 7), len(archive) - 1):
            path.write_bytes(archive[:n])
            with pytest.raises(UserError) as caught:
                read_archive(path)
            assert caught.value.id == "torch.refused"
        not_converted(path, "not converted")

    @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_any_program_is_refused_or_sound(self, archive: bytes, data: st.DataObject) -> None:
        program = bytearray(program_of(archive))
        for place in data.draw(st.lists(st.integers(0, len(program) - 1), min_size=1, max_size=6)):
            program[place] = data.draw(st.one_of(st.integers(0, 255), st.sampled_from(list(b"}](.tsuaebqhcRQK\x85\x86"))))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "fuzzed.pt")
            path.write_bytes(with_program(archive, bytes(program)))
            try:
                tensors = read_archive(path)
            except UserError:
                return
        for tensor in tensors.values():
            assert isinstance(tensor, StoredTensor)
            reach = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True))
            assert 0 in tensor.shape or tensor.offset + reach < tensor.storage.n_items

    def test_b15_flipped_bit(self, folder: Path) -> None:
        from models.convert import write_manifest

        finish(write_manifest(folder))
        finish(library.load(folder))
        good = finish(verify(folder))
        path = folder / "model.safetensors"
        data = bytearray(path.read_bytes())
        data[-100] ^= 0x10
        path.write_bytes(data)
        with pytest.raises(UserError, match=r"model\.safetensors is damaged"):
            finish(verify(folder))
        assert finish(weights_hash(folder)) != good

    def test_b15_wrong_size_is_seen_at_once(self, folder: Path) -> None:
        from models.convert import write_manifest

        finish(write_manifest(folder))
        (folder / "tokenizer_config.json").write_text("{}", encoding="utf-8")
        with pytest.raises(UserError, match=r"tokenizer_config\.json has 2 bytes"):
            finish(library.load(folder))
        assert "manifest" in library.describe(folder).warnings[0]

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_b16_not_a_number(self, folder: Path, value: float) -> None:
        from safetensors.torch import load_file, save_file

        tensors = load_file(folder / "model.safetensors")
        tensors["model.norm.weight"][3] = value
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        opened = finish(library.load(folder))
        assert "model.norm.weight" in " ".join(opened.loaded.notes)

    @pytest.mark.parametrize("change", ["missing", "extra", "shape"])
    def test_b17_exact_differences(self, folder: Path, change: str) -> None:
        import torch
        from safetensors.torch import load_file, save_file

        tensors = load_file(folder / "model.safetensors")
        name = "model.layers.1.mlp.up_proj.weight"
        if change == "missing":
            del tensors[name]
        if change == "extra":
            tensors["model.layers.1.mlp.sideways.weight"] = torch.zeros(2)
        if change == "shape":
            tensors[name] = torch.zeros(3, 5)
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        with pytest.raises(UserError) as caught:
            finish(library.load(folder))
        fields = caught.value.fields
        expected = {"missing": ([name], [], []), "extra": ([], ["model.layers.1.mlp.sideways.weight"], []),
                    "shape": ([], [], [name])}[change]  # fmt: skip
        assert (fields["missing"], fields["extra"], fields["wrong"]) == expected
        assert "model.safetensors" in str(caught.value)

    @pytest.mark.parametrize("stored", ["once", "twice"])
    def test_b17_tied_weights(self, tmp_path: Path, stored: str) -> None:
        from safetensors.torch import load_file, save_file

        folder = make_folder(tmp_path / "tied", "llama-tied")
        if stored == "twice":
            tensors = load_file(folder / "model.safetensors")
            tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
            save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        model = finish(library.load(folder)).model
        assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()

    def test_mask_buffers_of_old_files_are_no_difference(self, tmp_path: Path) -> None:
        import torch
        from safetensors.torch import load_file, save_file

        folder = make_folder(tmp_path / "gpt2", "gpt2")
        tensors = load_file(folder / "model.safetensors")
        tensors["transformer.h.0.attn.bias"] = torch.ones(1, 1, 64, 64, dtype=torch.uint8)
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        before = library.describe(folder).parameters
        finish(library.load(folder))
        assert sum(before.values()) == sum(p.numel() for p in finish(library.load(folder)).model.parameters())


GOOD = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


def tensor(start: int, end: int, shape: list[Any], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


BAD_HEADERS: dict[str, tuple[bytes, str]] = {
    "b20-empty": (b"", "too short"),
    "b20-seven-bytes": (b"\1" * 7, "too short"),
    "b21-longer-than-file": (safetensors_bytes(GOOD, bytes(8), 5000), "more than the file"),
    "b21-2^63": (safetensors_bytes(GOOD, bytes(8), 2**63), "too large"),
    "b21-200-MB": (safetensors_bytes(GOOD, bytes(8), 200_000_000), "too large"),
    "b22-not-utf8": (safetensors_bytes(b'{"\xff":1}'), "not usable JSON"),
    "b22-not-json": (safetensors_bytes(b"{nonsense}"), "not usable JSON"),
    "b22-array": (safetensors_bytes(b"[1,2]"), "does not start with {"),
    "b23-leading-space": (safetensors_bytes(b" " + json.dumps(GOOD).encode(), bytes(8)), "does not start with {"),
    "b24-same-bytes": (safetensors_bytes({"a": tensor(0, 8, [2]), "b": tensor(0, 8, [2])}, bytes(8)), "overlap"),
    "b24-100k-on-same-bytes": (
        safetensors_bytes({f"t{n}": tensor(0, 8, [2]) for n in range(100_000)}, bytes(8)),
        "overlap",
    ),
    "b25-hole": (safetensors_bytes({"a": tensor(0, 8, [2]), "b": tensor(12, 20, [2])}, bytes(20)), "hole"),
    "b25-trailing-zip": (safetensors_bytes(GOOD, bytes(8) + b"PK\x03\x04"), "4 bytes follow"),
    "b26-negative": (safetensors_bytes({"a": tensor(-8, 0, [2])}, bytes(8)), "offsets"),
    "b26-reversed": (safetensors_bytes({"a": tensor(8, 0, [2])}, bytes(8)), "offsets"),
    "b26-outside": (safetensors_bytes({"a": tensor(0, 16, [4])}, bytes(8)), "outside"),
    "b27-shape-and-bytes": (safetensors_bytes({"a": tensor(0, 8, [3])}, bytes(8)), "do not match"),
    "b27-overflow": (safetensors_bytes({"a": tensor(0, 8, [2**40, 2**40])}, bytes(8)), "do not match"),
    "b28-negative-dimension": (safetensors_bytes({"a": tensor(0, 8, [-2])}, bytes(8)), "shape"),
    "b28-float-dimension": (safetensors_bytes({"a": tensor(0, 8, [2.0])}, bytes(8)), "shape"),
    "b28-true-dimension": (safetensors_bytes({"a": tensor(0, 4, [True])}, bytes(4)), "shape"),
    "b28-unknown-type": (safetensors_bytes({"a": tensor(0, 8, [2], "F33")}, bytes(8)), "F33"),
    "b28-metadata": (safetensors_bytes({**GOOD, "__metadata__": {"a": 1}}, bytes(8)), "metadata"),
    "b28-extra-field": (safetensors_bytes({"a": {**GOOD["a"], "code": "x"}}, bytes(8)), "described by"),
    "b29-twice": (
        safetensors_bytes(f'{{"a":{json.dumps(GOOD["a"])},"a":{json.dumps(GOOD["a"])}}}'.encode(), bytes(8)),
        "twice",
    ),
    "b30-zero-times-2^62": (safetensors_bytes({"a": tensor(0, 0, [0, 2**62])}), "impossible shape"),
}


@pytest.mark.parametrize("name", BAD_HEADERS)
def test_safetensors_header(name: str, folder: Path) -> None:
    data, words = BAD_HEADERS[name]
    (folder / "model.safetensors").write_bytes(data)
    for action in (library.describe, lambda path: finish(library.load(path)))[: 1 if "100k" in name else 2]:
        with pytest.raises(UserError) as caught:
            action(folder)
        assert "model.safetensors" in str(caught.value)
        assert words in str(caught.value)
    (row,) = library.find(folder)
    assert row.name == "copy"


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "a\0b", "x" * 1_000_000, "\u202egnp.exe", "\x1b[31mred", "<img src=file:///etc/passwd>"],
    ids=["path", "nul", "1-MB", "bidi", "escape", "html"],
)
def test_b31_tensor_names_are_only_text(name: str, folder: Path) -> None:
    path = folder / "model.safetensors"
    header = read_header(path)
    table: dict[str, Any] = {name: tensor(0, 0, [0])}
    base = min(info.start for info in header.tensors.values())
    for key, info in header.tensors.items():
        table[key] = tensor(info.start - base, info.end - base, list(info.shape))
    path.write_bytes(safetensors_bytes(table, path.read_bytes()[base:]))
    library.describe(folder)
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(UserError, match="extra") as caught:
        finish(library.load(folder))
    assert caught.value.what.isprintable()
    assert len(caught.value.what) < 600
    assert sorted(folder.parent.rglob("*")) == before


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_header_is_refused_or_sound(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    number = st.one_of(st.integers(-3, 40), st.sampled_from([2**31, 2**62, 2**63, 2**64, 1.5, True, None, "1"]))
    entry = st.one_of(
        st.fixed_dictionaries(
            {
                "dtype": st.sampled_from(["F32", "U8", "BF16", "I64", "F4", "X", 3]),
                "shape": st.lists(number, max_size=3),
                "data_offsets": st.lists(number, min_size=1, max_size=3),
            }
        ),
        st.none(),
    )
    table = data.draw(st.dictionaries(st.sampled_from(["a", "b", "__metadata__", "\0"]), entry, max_size=3))
    raw = bytearray(safetensors_bytes(table, bytes(data.draw(st.integers(0, 40)))))
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=3)):
        raw[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("fuzz") / "model.safetensors"
    path.write_bytes(raw)
    try:
        header = read_header(path)
    except UserError:
        return
    ends = [8 + struct.unpack("<Q", bytes(raw[:8]))[0]]
    for info in sorted(header.tensors.values(), key=lambda info: (info.start, info.end)):
        assert info.start == ends[-1]
        ends.append(info.end)
    assert ends[-1] == len(raw)


def test_index_names_weights_twice(folder: Path) -> None:
    shutil.copyfile(folder / "model.safetensors", folder / "b.safetensors")
    index = {"weight_map": {"x": "model.safetensors", "y": "b.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(UserError, match="another file"):
        library.describe(folder)


def test_weights_of_another_size_are_refused_before_memory_is_taken(folder: Path) -> None:
    edit_json(folder / "config.json", num_hidden_layers=8, hidden_size=4096, intermediate_size=16384, head_dim=1024)
    with pytest.raises(UserError) as caught:
        finish(library.load(folder))
    assert caught.value.id in ("weights.differ", "weights.size")


def test_more_layers_than_tensors(folder: Path) -> None:
    edit_json(folder / "config.json", num_hidden_layers=1000)
    with pytest.raises(UserError, match="1000 layers"):
        finish(library.load(folder))
