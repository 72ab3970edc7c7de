"""How much goes into one forward: by tokens, without much padding, and half as much whenever memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from models.devices import memory
from models.errors import UserError
from models.memory import is_out_of_memory, release
from models.opened import OpenModel
from models.words import _

PROCESSOR_TOKENS, PROCESSOR_PADDING = 1024, 48
"""On a processor a larger forward is no faster, and padding costs as much as text; a forward costs as much as 48 tokens."""
LEAST_TOKENS, MOST_TOKENS = 1024, 65_536
"""Tokens of a forward on a GPU: fewer leave it idle, more are no faster."""
CACHE_TOKENS = 4
"""The copies of a context's cache may hold so many times the tokens of a forward."""
SHARE = 0.4
"""Of the free memory that a forward may take."""
T = TypeVar("T")


@dataclass
class Room:
    """What one forward of a model may hold.

    Args:
        tokens: Tokens of a forward, padding counted; one row always goes.
        padding: Padding of a forward.
        n_halved: How often memory ran out; batches of a given size are 2⁻ⁿ of it.
        used: Tokens of the last batch.
    """

    tokens: int
    padding: int
    n_halved: int = 0
    used: int = 0

    def halve(self) -> None:
        """Take half of what the last batch took from now on."""
        self.tokens = max(1, min(self.tokens, self.used or self.tokens) // 2)
        self.used = self.tokens
        self.n_halved += 1

    def rows(self, batch_size: int) -> int:
        """Return how many rows a batch of a given size has after the halving; 0 if none was given."""
        return max(1, batch_size >> self.n_halved) if batch_size else 0


_known: WeakKeyDictionary[Any, Room] = WeakKeyDictionary()


def room_of(opened: OpenModel) -> Room:
    """Return what a model's forwards may hold, chosen once from the free memory of its device."""
    if opened.model not in _known:
        _known[opened.model] = _measured(opened)
    return _known[opened.model]


def _measured(opened: OpenModel) -> Room:
    if opened.device == "cpu":
        return Room(PROCESSOR_TOKENS, PROCESSOR_PADDING)
    tokens = int(SHARE * memory(opened.device)[0] / bytes_per_token(opened))
    tokens = min(max(tokens, LEAST_TOKENS), MOST_TOKENS)
    tokens = 1 << (tokens.bit_length() - 1)  # the same from run to run, though the free memory is not quite
    return Room(tokens, tokens)


def bytes_per_token(opened: OpenModel) -> int:
    """Return about how many bytes a token of a forward takes: keys and values of all layers, and the work of one layer.

    Keys and values are counted as wide as the model (grouped queries need less), the work of a layer as sixteen rows as
    wide as the model and three as wide as its MLP.
    """
    config = getattr(opened.config, "text_config", opened.config)
    width = _number(config, ("hidden_size", "n_embd", "d_model"), 1024)
    layers = _number(config, ("num_hidden_layers", "n_layer", "num_layers"), 24)
    inner = _number(config, ("intermediate_size", "n_inner", "d_ff"), 4 * width)
    size = next((parameter.element_size() for parameter in opened.model.parameters() if parameter.is_floating_point()), 4)
    return int(size * (2 * layers * width + 16 * width + 3 * inner))


def _number(config: Any, names: Sequence[str], otherwise: int) -> int:
    return next((int(value) for name in names if isinstance(value := getattr(config, name, None), int) and value > 0), otherwise)


def batches(items: Sequence[T], sizes: Sequence[tuple[int, int]], room: Room, batch_size: int = 0) -> Iterator[list[T]]:
    """Cut items, longest first, into batches.

    Args:
        items: What to cut.
        sizes: For each (tokens of its forward, rows that it becomes).
        room: What a forward may hold; looked at anew for every batch.
        batch_size: Rows of a batch at most (but one item at least); 0 to fill the room.
    """
    batch: list[T] = []
    width = n_rows = padding = 0
    for item, (length, rows) in zip(items, sizes, strict=True):
        wider = max(width, length)
        padding += wider - length
        if batch and _full(len(batch) + 1, n_rows + rows, wider, padding, room, batch_size):
            room.used = _used(len(batch), n_rows, width)
            yield batch
            batch, wider, n_rows, padding = [], length, 0, 0
        batch.append(item)
        width, n_rows = wider, n_rows + rows
    if batch:
        room.used = _used(len(batch), n_rows, width)
        yield batch


def _used(n: int, n_rows: int, width: int) -> int:
    return max(n * width, n_rows * width // CACHE_TOKENS)


def _full(n: int, n_rows: int, width: int, padding: int, room: Room, batch_size: int) -> bool:
    if batch_size:
        return n_rows > room.rows(batch_size)
    return n * width > room.tokens or n_rows * width > CACHE_TOKENS * room.tokens or padding > room.padding


def carefully(
    run: Callable[[list[T]], list[Any]], batch: list[T], room: Room, halves: Callable[[list[T]], tuple[list[T], list[T]] | None]
) -> Iterator[list[Any]]:
    """Yield what ``run`` makes of a batch; where memory runs out, of its halves, and the room is halved.

    Args:
        run: Batch → answers.
        batch: What to run.
        room: Of the model.
        halves: How to cut a batch; None if it cannot be cut.

    Raises:
        UserError: If memory runs out for what cannot be cut.
    """
    problem: BaseException | None = None
    try:
        found = run(batch)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        problem = error.with_traceback(None)  # the frames hold the tensors
    if problem is None:
        yield found
        return
    release()
    room.halve()
    parts = halves(batch)
    if parts is None:
        raise no_room() from problem
    for part in parts:
        yield from carefully(run, part, room, halves)


def no_room() -> UserError:
    """Return the error for a single request that does not fit into memory."""
    return UserError(
        "score.memory",
        _("Memory ran out for a single request."),
        _("Use --dtype bfloat16 or --quantize int8, a shorter text, or another device."),
    )


def in_two(batch: list[T]) -> tuple[list[T], list[T]] | None:
    """Return the halves of a list, None for a single item."""
    middle = len(batch) // 2
    return (batch[:middle], batch[middle:]) if middle else None
