"""Which tokens a prediction comes from."""

from __future__ import annotations

from models.columns import Column
from models.events import Work
from models.operations._asked import check_text
from models.records.salience import Salience, SalienceQuestion
from models.shelf import Shelf


def salience(
    shelf: Shelf, column: Column, text: str, question: SalienceQuestion | None = None, target: str = ""
) -> Work[Salience]:
    """Return how much each token of a text (and of an encoder-decoder's target so far) counts for one prediction."""
    from models.prompts import prepare
    from models.salience import check
    from models.salience import salience as attribute

    asked = question or SalienceQuestion()
    check_text(text)
    check(asked)
    opened = yield from shelf.open(column)
    prepared = prepare(opened, column, text, target, echo=False)
    key = ("salience", column.weights_key, column.adapter, prepared.ids, prepared.target_ids, asked)
    found: Salience = yield from shelf.remembered(key, lambda: attribute(opened, prepared, asked))
    return found


OPERATIONS = {"salience": salience}
