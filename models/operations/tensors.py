"""What a checkpoint's files hold, without opening it: tensors, their statistics, one as a picture, what another changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.events import Work
from models.operations._asked import nothing
from models.records.tensors import TensorDetail, TensorList, TensorStatistics, WeightChanges
from models.shelf import Shelf


def _weights(path: str) -> Work[Any]:
    from models.hub import fetch, hub_name
    from models.weights import open_weights

    name = hub_name(path)
    place = (yield from fetch(name)) if name else Path(path)
    return open_weights(place)


def tensor_list(shelf: Shelf, path: str) -> Work[TensorList]:
    """Return every tensor of a checkpoint, from its files' headers."""
    from models.tensor_lists import tensor_list as listed

    yield from nothing()
    return listed((yield from _weights(path)))


def tensor_statistics(shelf: Shelf, path: str) -> Work[TensorStatistics]:
    """Return mean, spread, range, NaN, infinities and zeros of every tensor; batches are partial answers."""
    from models.records.tensors import natural
    from models.tensor_lists import MOST
    from models.weight_statistics import statistics

    weights = yield from _weights(path)
    names = sorted(weights.tensors, key=natural)[:MOST]
    return (yield from statistics([weights.tensors[name] for name in names]))


def tensor(
    shelf: Shelf, path: str, name: str, slice: int = 0, region: tuple[int, ...] = (), other: str = ""
) -> Work[TensorDetail]:
    """Return one matrix of a tensor as a picture with its histogram; with ``other``, of this minus the other's."""
    from models.weight_pictures import detail
    from models.weight_values import stored_values

    weights = yield from _weights(path)
    if other:
        return (yield from _difference(weights, other, name, int(slice), tuple(region)))
    stored = weights.get(name)
    return (yield from detail(str(weights.path), stored_values(stored), stored.dtype, int(slice), tuple(region)))


def _difference(weights: Any, other: str, name: str, slice: int, region: tuple[int, ...]) -> Work[TensorDetail]:
    from models.records.tensors import counterparts
    from models.weight_pictures import detail, difference
    from models.weight_values import effective

    first, second = effective((yield from _weights(other))), effective(weights)
    pairs, _only_first, _only_second = counterparts(tuple(first), tuple(second))
    if name not in pairs:
        raise _missing(other if name in second else str(weights.path), name)
    values = difference(first[pairs[name]], second[name])
    return (yield from detail(str(weights.path), values, "F32", slice, region, other))


def _missing(path: str, name: str) -> Exception:
    from models.errors import UserError
    from models.headers import visible
    from models.words import _

    return UserError("tensor.name", _("{path} has no tensor {name!r}.").format(path=path, name=visible(name)))


def tensor_changes(shelf: Shelf, first: str, second: str) -> Work[WeightChanges]:
    """Return what the second checkpoint changed in the weights of the first; batches are partial answers."""
    from models.weight_changes import changes

    return (yield from changes((yield from _weights(first)), (yield from _weights(second))))


OPERATIONS = {
    "tensor_list": tensor_list, "tensor_statistics": tensor_statistics, "tensor": tensor, "tensor_changes": tensor_changes,
}  # fmt: skip
