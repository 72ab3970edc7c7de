"""The wire: every record comes back equal, arrays bit for bit, and nothing else gets through."""

from __future__ import annotations

import dataclasses
import struct
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models.columns import Column, Sampler
from models.events import Metrics, Note, Partial, Progress, Saved
from models.protocol import MAX_MESSAGE, Frames, ProtocolError, decode, encode, records
from models.records.checkpoints import Description
from models.records.tokens import Token, TokenStrip


def there_and_back(value: Any) -> Any:
    return decode(encode(value)[4:])


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if dataclasses.is_dataclass(a):
        return type(a) is type(b) and all(
            equal(getattr(a, field.name), getattr(b, field.name)) for field in dataclasses.fields(a)
        )
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def example(annotation: str) -> Any:
    if annotation.startswith("tuple[str"):
        return ("a", "狐")
    if annotation.startswith("tuple[int, int, int, int]"):
        return (1, 2, 3, 4)
    if annotation.startswith("tuple[int"):
        return (1, -2, 2**40)
    if annotation.startswith("tuple[float"):
        return (0.5, float("inf"))
    if annotation.startswith("tuple[Token"):
        return (Token(1, "a", "b", b"\xff", 0, 1, True, 2),)
    if annotation.startswith("tuple"):
        return ()
    simple = {"str": "text", "int": 7, "float": 0.25, "bool": True, "bytes": b"\x00\xff"}
    if annotation.startswith("Mapping[str, int"):
        return {"a": 1}
    if annotation.startswith("Mapping"):
        return {"a": "b"}
    return simple.get(annotation, np.arange(6, dtype=np.float32).reshape(2, 3))


@pytest.mark.parametrize("record", [*records(), Column, Progress, Partial, Metrics, Saved, Note], ids=lambda cls: cls.__name__)
def test_every_record_comes_back_equal(record: type) -> None:
    values = {field.name: example(str(field.type)) for field in dataclasses.fields(record)}
    if record is Column:
        values["sampler"] = Sampler(0.5, 3, 0.9, 12, 7)
    if record is Metrics:
        values["values"] = {"loss": 0.5}
    made = record(**values)
    assert equal(made, there_and_back(made))


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "int64", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3, 4)])
def test_arrays_keep_dtype_and_shape(dtype: str, shape: tuple[int, ...]) -> None:
    array = (np.random.default_rng(0).normal(size=shape) * 3).astype(dtype)
    assert equal(array, there_and_back(array))
    assert equal(np.asfortranarray(array), there_and_back(np.asfortranarray(array)))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(arrays.arrays(np.float32, arrays.array_shapes(max_dims=3, max_side=5), elements=st.floats(width=32)))
def test_any_floats_bit_for_bit(array: Any) -> None:
    assert equal(array, there_and_back(array))


def test_doubles_become_floats_and_numpy_numbers_plain() -> None:
    assert there_and_back(np.array([1.5])).dtype == np.float32
    assert there_and_back((np.float32(0.5), np.int64(3), np.bool_(True))) == (0.5, 3, True)


def test_lists_arrive_as_tuples() -> None:
    assert there_and_back({"a": [1, [2, (3,)]]}) == {"a": (1, (2, (3,)))}


@pytest.mark.parametrize("value", [object(), {1, 2}, 1 + 2j, np.array(["a"]), np.array([1], dtype=np.uint32), print])
def test_what_does_not_travel_is_refused(value: Any) -> None:
    with pytest.raises((ProtocolError, TypeError)):
        encode(value)


def test_unknown_records_are_refused() -> None:
    for data in ({"$": "Popen", "v": []}, {"$": "array", "v": ["f99", [1], b"1234"]}, {"$": "array", "v": ["f32", [9], b"1"]},
                 {"$": "Column", "v": list(range(100))}, {"$": "Column", "v": 3}):  # fmt: skip
        with pytest.raises(ProtocolError):
            decode(msgpack.packb(data))
    with pytest.raises(ProtocolError):
        decode(b"\xc1 not msgpack")


def test_a_class_of_the_same_name_is_not_taken_for_ours() -> None:
    @dataclasses.dataclass(frozen=True)
    class Token:
        id: int

    with pytest.raises(ProtocolError, match="Token does not travel"):
        encode(Token(1))


def test_messages_have_a_largest_size() -> None:
    with pytest.raises(ProtocolError, match="limit"):
        encode(b"x" * (MAX_MESSAGE + 1))
    with pytest.raises(ProtocolError, match="limit"):
        list(Frames().feed(struct.pack("<I", MAX_MESSAGE + 1)))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100, 100_000])
def test_frames_are_cut_wherever_the_pipe_cuts(size: int) -> None:
    strip = TokenStrip("x", (Token(1, "a", "b"),), np.zeros(1, np.float32), np.zeros(1, np.float32), np.zeros(1, np.int32))
    messages = [{"id": 1, "value": strip}, None, (1, 2), Description("n", "p", "f", "a", "k", facts={"a": "b"})]
    stream = b"".join(encode(message) for message in messages)
    frames, found = Frames(), []
    for start in range(0, len(stream), size):
        found += list(frames.feed(stream[start : start + size]))
    assert len(found) == len(messages)
    assert equal(found[0]["value"], strip)
    assert found[1:] == messages[1:]
