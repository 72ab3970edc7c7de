"""How to try remedies for a knowledge cutoff: one frozen dataclass that becomes flags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.errors import UserError
from models.words import _

RETRIEVAL = "retrieval"
TRAININGS = ("full", "replay", "adapter", "reader")
WAYS = (RETRIEVAL, *TRAININGS)


@dataclass(frozen=True)
class CutoffSettings:
    """How to try them.

    Args:
        ways: Some of ``WAYS``.
        limit: At most this many questions of each kind; 0 for all.
        passages: How many passages go before a question.
        epochs: Passes over the news, of every training.
        lr, adapter_lr: Highest learning rate of training all weights, and of an adapter.
        rank: Of the adapters.
        old_texts: How many texts from before are mixed in by ``replay``.
        lessons: Rows of the lesson in reading.
        threads: Of training; 0 for what the machine has.
        device, dtype: How checkpoints are opened.
        seed: Of everything that is drawn.
    """

    ways: tuple[str, ...] = WAYS
    limit: int = 0
    passages: int = 1
    epochs: float = 3.0
    lr: float = 6e-4
    adapter_lr: float = 3e-3
    rank: int = 16
    old_texts: int = 2000
    lessons: int = 6000
    threads: int = 0
    device: str = "auto"
    dtype: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.ways or set(self.ways) - set(WAYS):
            raise UserError(
                "cutoff.ways",
                _("--ways is {ways!r}.").format(ways=",".join(self.ways)),
                _("Known are {names}.").format(names=", ".join(WAYS)),
            )
        least: Mapping[str, float] = {"limit": 0, "passages": 1, "rank": 1, "old_texts": 1, "lessons": 1, "threads": 0}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise UserError(
                    "cutoff.number",
                    _("--{name} is {value}; it must be at least {least}.").format(
                        name=name.replace("_", "-"), value=getattr(self, name), least=value
                    ),
                )
        for name in ("epochs", "lr", "adapter_lr"):
            if not 0 < getattr(self, name) < 1000:
                raise UserError(
                    "cutoff.number",
                    _("--{name} is {value}; it must be above 0.").format(name=name.replace("_", "-"), value=getattr(self, name)),
                )


def title(way: str) -> str:
    """Return what a way is called."""
    return {
        RETRIEVAL: _("the news before the question"), "full": _("continued training"),
        "replay": _("continued training, old texts mixed in"), "adapter": _("an adapter (LoRA)"),
        "reader": _("taught to read (LoRA)"),
    }.get(way, way)  # fmt: skip


def explanation(way: str) -> str:
    """Return in a sentence what a way does."""
    return {
        RETRIEVAL: _("The best passages of the news by BM25 come before the question; no weight changes."),
        "full": _("All weights are trained on the news as plain text."),
        "replay": _("The same, with texts and questions from before the cutoff among the news."),
        "adapter": _("The weights stay; an adapter is trained on the news, and can be taken off again."),
        "reader": _("An adapter is trained to answer from a passage, on names of its own: it never sees the news."),
    }.get(way, "")
