"""The items behind a score, every checkpoint's answer side by side: found, sorted, handed out in pages, or one in full."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evals import files, results
from evals.item_query import Item, Query, parse
from evals.item_tables import STEP, Asked, Table, line_at, reference_of, table_of
from models.errors import UserError
from models.events import Progress, Work
from models.records.evaluations import ItemAnswer, ItemDetail, ItemPage, ItemRow
from models.words import _

CUT = 240
MOST_ROWS = 400
MOST_CHARACTERS = 200_000
"""Of one text of an item in full: what is longer is cut, and the message stays small."""
KEPT_ORDERS = 8
"""Of one table: the latest filters and sortings."""


def page(
    asked: Asked, query: str = "", sort: str = "", descending: bool = False, start: int = 0, count: int = 200
) -> Work[ItemPage]:
    """Return some of the items that a query finds.

    Args:
        asked: Which items.
        query: In the language of :mod:`evals.item_query`.
        sort: Empty for the benchmark's order; ``id``, ``prompt``, ``target``, ``length``, ``difference`` (of the scores of
            the last checkpoint and the reference), or ``score:NAME`` and ``answer:NAME``.
        descending: Whether the largest comes first.
        start: First row.
        count: How many, at most 400.

    Raises:
        UserError: If the query is not understood or asks for what there is not.
    """
    understood = parse(query)
    table = yield from table_of(asked)
    _check(understood, table, asked)
    key = (query, sort, descending)
    if key not in table.orders:
        table.orders[key] = yield from _ordered(table.items, understood, asked, sort, descending)
        while len(table.orders) > KEPT_ORDERS:
            table.orders.popitem(last=False)
    order = table.orders[key]
    names = tuple(name for name, _run, _task in asked.places)
    start = max(start, 0)
    rows = tuple(_row(table.items[place], names) for place in order[start : start + min(count, MOST_ROWS)])
    reference = names.index(reference_of(asked)) if names else 0
    return ItemPage(names, reference, start, rows, len(order), len(table.items), table.gained, table.lost)


def detail(asked: Asked, doc_id: str) -> Work[ItemDetail]:
    """Return one item in full: the prompt as each checkpoint was given it, choices with their likelihoods, every metric.

    Raises:
        UserError: If there is no such item.
    """
    table = yield from table_of(asked)
    item = table.by_id.get(doc_id)
    if item is None:
        raise UserError("items.unknown", _("There is no item {id}.").format(id=doc_id), _("Choose one of the list."))
    answers = []
    for name, run, task in asked.places:
        if name in item.samples:
            raw = line_at(results.samples_file(run, task), table.places[name][doc_id])
            answers.append(_answer(name, item, raw, _was_rendered(run)))
    return ItemDetail(doc_id, _cut(item.prompt), _cut(item.target), dict(item.fields), tuple(answers))


def _check(query: Query, table: Table, asked: Asked) -> None:
    """Raise ``UserError`` if a query asks for a field or a checkpoint that there is not."""
    names = [name for name, _run, _task in asked.places]
    for column in sorted(query.columns):
        if not any(name.startswith(column) for name in names):
            raise UserError(
                "items.column", _("There is no checkpoint {name!r} here.").format(name=column),
                _("There are: {known}.").format(known=", ".join(names)),
            )  # fmt: skip
    for name in sorted(query.fields - table.fields):
        known = ", ".join(["prompt", "answer", "target", "verdict", "id", "score", "length", *sorted(table.fields)])
        raise UserError(
            "items.field", _("The items have no field {name!r}.").format(name=name), _("There are: {known}.").format(known=known)
        )


def _ordered(found: Sequence[Item], query: Query, asked: Asked, sort: str, descending: bool) -> Work[list[int]]:
    order = []
    for place, item in enumerate(found):
        if place % STEP == 0:
            yield Progress(place, len(found), _("searching"))
        if query.test(item):
            order.append(place)
    if sort:
        value = _sorter(sort, asked)
        keys = {place: value(found[place]) for place in order}
        order.sort(key=lambda place: keys[place], reverse=descending)
    elif descending:
        order.reverse()
    return order


def _sorter(sort: str, asked: Asked) -> Callable[[Item], Any]:
    kind, _colon, name = sort.partition(":")
    reference, names = reference_of(asked), [name for name, _run, _task in asked.places]

    def score(item: Item, who: str) -> float:
        sample = item.samples.get(who)
        return -math.inf if sample is None or math.isnan(sample.score) else sample.score

    def difference(item: Item) -> float:
        others = [score(item, who) for who in names if who != reference] or [0.0]
        return others[-1] - score(item, reference) if math.isfinite(others[-1] - score(item, reference)) else 0.0

    kinds: dict[str, Callable[[Item], Any]] = {
        "id": lambda item: _natural(item.doc_id),
        "prompt": lambda item: item.prompt.casefold(),
        "target": lambda item: item.target.casefold(),
        "length": lambda item: len(item.prompt),
        "difference": difference,
        "score": lambda item: score(item, name),
        "answer": lambda item: item.samples[name].answer.strip().casefold() if name in item.samples else "",
    }
    return kinds.get(kind, kinds["id"])


def _natural(text: str) -> tuple[str, int, str]:
    """Return a key by which item-9 comes before item-10."""
    head = text.rstrip("0123456789")
    tail = text[len(head) :]
    return (head.casefold(), int(tail) if tail.isdecimal() and len(tail) < 19 else -1, text)


def _row(item: Item, names: Sequence[str]) -> ItemRow:
    nan = math.nan
    samples = [item.samples.get(name) for name in names]
    return ItemRow(
        item.doc_id, _short(item.prompt), _short(item.target),
        tuple("" if sample is None else _short(sample.answer.strip()) for sample in samples),
        tuple(item.outcomes.get(name, "") for name in names),
        tuple(nan if sample is None else float(sample.score) for sample in samples),
    )  # fmt: skip


def _short(text: str) -> str:
    return text if len(text) <= CUT else text[: CUT - 1] + "…"


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + "…"


def _was_rendered(run: str) -> bool:
    """Return whether a chat template wrote the prompts of a run, as its results file says."""
    content = files.read_results(Path(run))
    ours = content.get(files.OURS)
    return bool(ours.get("chat_template")) if isinstance(ours, dict) else bool(content.get("chat_template"))


def _answer(name: str, item: Item, raw: Mapping[str, Any], rendered: bool) -> ItemAnswer:
    sample = item.samples[name]
    asked = list(results.arguments(raw))
    logged = raw.get("filtered_resps") or raw.get("resps")
    likelihoods = tuple(_likelihoods(logged if isinstance(logged, list) else ()))
    scored = len(likelihoods) == len(asked) > 1
    choices = tuple(_cut(str(one.get("arg_1", ""))) for one in asked) if scored else ()
    best = max(range(len(likelihoods)), key=lambda place: likelihoods[place]) if scored else -1
    return ItemAnswer(
        name, _cut(sample.answer), float(sample.score), sample.verdict, item.outcomes[name],
        given=_cut(str(asked[max(best, 0)].get("arg_0", "")) if asked else item.prompt), rendered=rendered,
        choices=choices, likelihoods=likelihoods if scored else (), picked=best, stop=str(raw.get("stop", "")),
        metrics={str(key): _value(raw.get(key)) for key in _names(raw.get("metrics")) if key in raw},
    )  # fmt: skip


def _likelihoods(answers: Sequence[Any]) -> Iterator[float]:
    for one in answers:
        first = one[0] if isinstance(one, list | tuple) and one else None
        first = first[0] if isinstance(first, list | tuple) and first else first
        try:
            yield float(first)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return


def _names(value: Any) -> list[str]:
    return [str(name) for name in value] if isinstance(value, list | tuple) else []


def _value(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)[:200]
