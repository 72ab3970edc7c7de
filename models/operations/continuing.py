"""Going on from a place in a text: token by token, by beam search, many answers at once; two columns on one text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models.columns import Column
from models.errors import UserError
from models.events import Partial, Work
from models.operations._asked import traced
from models.operations.sampling import asked
from models.records.beams import BeamTree
from models.records.divergence import Divergence
from models.records.samples import DrawnSample, SampleSet, statistics_of
from models.records.sampling import Generation
from models.shelf import Shelf
from models.words import _

MOST_SAMPLES = 256


def grow(
    shelf: Shelf, column: Column, text: str, position: int = -1, path: tuple[int, ...] = (), target: str = ""
) -> Work[Generation]:
    """Go on from a place in a text with the column's sampler; each token is a partial answer."""
    from models.generation import generate

    opened, prompt, prefix, receipt = yield from _place(shelf, column, text, position, path, target)
    return (yield from generate(opened, prompt, column.sampler, receipt, prefix))


def beams(  # noqa: PLR0913 - these are the wire's parameters, given by name
    shelf: Shelf, column: Column, text: str, num_beams: int = 4, max_new_tokens: int = 16, length_penalty: float = 1.0,
    early_stopping: bool = False, position: int = -1, path: tuple[int, ...] = (), target: str = "",
) -> Work[BeamTree]:  # fmt: skip
    """Search by beams from a place in a text; the column's sampler plays no part."""
    from models.beams import BeamSettings, search

    settings = BeamSettings(int(num_beams), int(max_new_tokens), float(length_penalty), bool(early_stopping))
    opened, prompt, prefix, receipt = yield from _place(shelf, column, text, position, path, target)
    return (yield from search(opened, prompt, settings, receipt, prefix))


def draw_samples(  # noqa: PLR0913 - these are the wire's parameters, given by name
    shelf: Shelf, column: Column, text: str, n: int = 8, position: int = -1, path: tuple[int, ...] = (), target: str = ""
) -> Work[SampleSet]:
    """Answer a text many times with the column's sampler, in batches; each finished answer is a partial one.

    Answer i is drawn with seed + i.
    """
    from models.answers import generate_many
    from models.generation import sampler_said

    if not 1 <= int(n) <= MOST_SAMPLES:
        raise UserError("samples.number", _("1 to {most} answers can be drawn, not {n}.").format(most=MOST_SAMPLES, n=n))
    opened, prompt, prefix, receipt = yield from _place(shelf, column, text, position, path, target)
    seeds = [column.sampler.seed + i for i in range(int(n))]
    work = generate_many(opened, [prompt] * int(n), column.sampler, seeds=seeds, prefix=prefix)
    found: dict[int, DrawnSample] = {}
    while True:
        try:
            event = next(work)
        except StopIteration:
            break
        if isinstance(event, Partial):
            index, one = event.value
            found[index] = DrawnSample(index, seeds[index], one.text, one.token_ids, one.stop, one.logprob)
            event = Partial(found[index])
        yield event
    samples = tuple(found[i] for i in sorted(found))
    return SampleSet(samples, statistics_of(samples), f"{receipt}; {sampler_said(column.sampler)}")


def _place(
    shelf: Shelf, column: Column, text: str, position: int, path: Sequence[int], target: str
) -> Work[tuple[Any, list[int], list[int], str]]:
    """Return (opened, ids of the prompt, how an encoder-decoder's answer begins, receipt)."""
    from models.generation import refuse_unless_generating
    from models.next_token import checked_place

    opened, prepared = yield from asked(shelf, column, text, target)
    refuse_unless_generating(opened)
    place = checked_place(opened, prepared, int(position))
    more = [int(i) for i in path]
    if opened.kind == "encoder-decoder":
        return opened, [*prepared.ids], [*prepared.target_ids[1 : place + 1], *more], prepared.convention
    return opened, [*prepared.ids[: place + 1], *more], [], prepared.convention


def divergence(shelf: Shelf, columns: tuple[Column, Column], text: str, target: str = "") -> Work[Divergence]:
    """Return KL and JS between two columns at every token of a text."""
    from models.divergence import Side, compare

    if len(columns) != 2:
        raise UserError("divergence.columns", _("A divergence is between two columns, not {n}.").format(n=len(columns)))
    sides = []
    for column in columns:
        opened, prepared, trace = yield from traced(shelf, column, text, target)
        sides.append(Side(column.name, opened, prepared, None if opened.kind == "encoder" else trace))
    return (yield from compare(sides[0], sides[1]))


OPERATIONS = {"grow": grow, "beams": beams, "draw_samples": draw_samples, "divergence": divergence}
