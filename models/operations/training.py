"""What a training will take, and its data as the loss will see it, before it is started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from models.events import Work
from models.records.training import DataPreview, TrainPlan
from models.shelf import Shelf


def train_plan(shelf: Shelf, recipe: Sequence[str], step: str, output: str = "", measure: int = 3) -> Work[TrainPlan]:
    """Return memory, time and disk of a step, measured by taking a few steps of it.

    ``recipe`` is what follows ``triptych train``: its path, then any KEY=VALUE.
    """
    yield from shelf.warm.wait()
    from models.training.planning import plan
    from models.training.recipe import load_recipe

    loaded = load_recipe(Path(recipe[0]), tuple(recipe[1:]))
    return (yield from plan(loaded, step, output=Path(output) if output else None, measure=measure))


def train_preview(
    shelf: Shelf, recipe: Sequence[str], step: str, output: str = "", n: int = 4,
    benchmarks: Mapping[str, Sequence[str]] | None = None,
) -> Work[DataPreview]:  # fmt: skip
    """Return the first rows of a step's data as tokens with their part in the loss; ``benchmarks`` are name → texts.

    ``recipe`` is what follows ``triptych train``: its path, then any KEY=VALUE.
    """
    yield from shelf.warm.wait()
    from models.training.preview import preview
    from models.training.recipe import load_recipe

    loaded = load_recipe(Path(recipe[0]), tuple(recipe[1:]))
    return (yield from preview(loaded, step, n, output=Path(output) if output else None, benchmarks=benchmarks))


OPERATIONS = {"train_plan": train_plan, "train_preview": train_preview}
