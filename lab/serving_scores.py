"""What the engine answers about scores: how running evaluations go, the items behind a score, receipts, names of tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lab.places import result_folders
from models.events import Work
from models.records.endpoints import EndpointCheck, EndpointFields
from models.records.evaluations import ItemDetail, ItemPage, Receipt, RunProgress, TaskNames
from models.records.scores import Cell
from models.records.votes import Votes


def _nothing() -> Iterator[Any]:
    yield from ()


def evaluations(paths: tuple[str, ...] = ()) -> Work[tuple[RunProgress, ...]]:
    """Return how far every running evaluation is."""
    yield from _nothing()
    from evals.live import running

    return tuple(running(result_folders(paths)))


def items(  # noqa: PLR0913 - these are the wire's parameters, given by name
    places: tuple[tuple[str, str, str], ...], metric: str, up: bool | None = True, reference: str = "", query: str = "",
    sort: str = "", descending: bool = False, start: int = 0, count: int = 200,
) -> Work[ItemPage]:  # fmt: skip
    """Return a page of the items behind a score, as several checkpoints answered them."""
    from evals.item_tables import Asked
    from evals.items import page

    asked = Asked(tuple(tuple(map(str, place)) for place in places), metric, up, reference)  # type: ignore[misc]
    return (yield from page(asked, query, sort, bool(descending), int(start), int(count)))


def item(
    places: tuple[tuple[str, str, str], ...], metric: str, doc_id: str, up: bool | None = True, reference: str = ""
) -> Work[ItemDetail]:
    """Return one item in full."""
    from evals.item_tables import Asked
    from evals.items import detail

    asked = Asked(tuple(tuple(map(str, place)) for place in places), metric, up, reference)  # type: ignore[misc]
    return (yield from detail(asked, doc_id))


def receipt(cell: Cell) -> Work[Receipt]:
    """Return what a score rests on."""
    yield from _nothing()
    from evals.receipts import receipt as read

    return read(cell)


def task_names(query: str = "") -> Work[TaskNames]:
    """Return the benchmarks that a search finds: ours and lm-eval's."""
    from evals.task_names import search

    return (yield from search(query))


def endpoint_check(fields: EndpointFields, tasks: tuple[str, ...] = ()) -> Work[EndpointCheck]:
    """Return what the fields of an endpoint come to, for these benchmarks; the endpoint is not asked anything."""
    yield from _nothing()
    from evals.endpoint_check import check

    return check(fields, tasks)


def export_runs(runs: tuple[str, ...], folder: str) -> Work[tuple[str, tuple[str, ...]]]:
    """Copy runs into a folder as lm-eval lays them out."""
    from evals.export import copy_runs

    return (yield from copy_runs(runs, folder))


def votes() -> Work[Votes]:
    """Return the win rates of the blind votes."""
    yield from _nothing()
    from lab.votes import read

    return read()


def vote(vote: Mapping[str, Any]) -> Work[Votes]:
    """Write a blind vote, and return the win rates."""
    yield from _nothing()
    from lab.votes import add

    return add(vote)


OPERATIONS: Mapping[str, Callable[..., Work[Any]]] = {
    "evaluations": evaluations, "items": items, "item": item, "receipt": receipt, "task_names": task_names,
    "endpoint_check": endpoint_check,
    "export_runs": export_runs, "votes": votes, "vote": vote,
}  # fmt: skip
