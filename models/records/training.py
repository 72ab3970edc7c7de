"""What a training will take before it starts, and the data as the loss will see it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

IGNORED, LEARNED, PADDING, TRUNCATED, HIDDEN = range(5)
"""Flags of a previewed token: read but not predicted, predicted, filling, lost because the row is full, masked or cut out."""


@dataclass(frozen=True)
class TrainPlan:
    """What one step of a recipe will take. Bytes unless it says otherwise.

    Args:
        step: Name of the step.
        stage: Kind of the stage.
        device: Where it trains.
        precision: fp32, bf16 or fp16.
        method: full, or the adapter's kind.
        parameters: Weights of the trained models.
        trained: Those of them that are trained.
        weights: Memory of all weights, frozen ones (a reference, a reward model) included.
        gradients: Memory of the gradients.
        optimizer: Memory of the optimizer's moments.
        activations: Memory that the measured forward passes kept for their gradients; -1 if none was measured.
        free: Free memory of the device.
        steps: Optimizer steps.
        units: What a step predicts on average: tokens, or pairs.
        measured: How many steps were taken to measure.
        seconds_per_step: Their median; 0 if none was measured.
        seconds: Time to the end at that pace, sampling included, evaluations and saving not.
        disk: Room for the checkpoint, the kept states and copies.
        disk_free: Free room on the disk of the output folder.
        notes: What was said on the way: formats, rows, rows that were left out.
        processes: How many train together; memory is that of each of them, time that of one alone.
    """

    step: str
    stage: str
    device: str
    precision: str
    method: str
    parameters: int
    trained: int
    weights: int
    gradients: int
    optimizer: int
    activations: int
    free: int
    steps: int
    units: float
    measured: int
    seconds_per_step: float
    seconds: float
    disk: int
    disk_free: int
    notes: tuple[str, ...] = ()
    processes: int = 1

    @property
    def memory(self) -> int:
        """All memory together."""
        return self.weights + self.gradients + self.optimizer + max(0, self.activations)


@dataclass(frozen=True)
class PreviewRow:
    """One row as it enters the model.

    Args:
        title: What it is: packed texts, the better answer of a pair, what a decoder writes.
        ids: Token ids, ``(time,)``, int64.
        flags: What the loss does with each, ``(time,)``, uint8 (see ``IGNORED`` and so on).
        documents: Number of the text that each belongs to, ``(time,)``, int32; -1 for padding.
        texts: Each token as text, as many.
    """

    title: str
    ids: NDArray[np.int64] = field(repr=False)
    flags: NDArray[np.uint8] = field(repr=False)
    documents: NDArray[np.int32] = field(repr=False)
    texts: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True)
class Overlap:
    """How much of a benchmark stands in the training data.

    Args:
        benchmark: Its name.
        n: Items that were looked for.
        exact: Items whose whole text is a text, message or answer of the data, letter case and punctuation aside.
        shared: Items that share a run of 13 words with the data (Brown et al. 2020, arXiv 2005.14165, appendix C).
        short: Items of fewer than 13 words, which only ``exact`` can find.
        examples: A few of those found.
    """

    benchmark: str
    n: int
    exact: int
    shared: int
    short: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataPreview:
    """The first rows of a step's data after template, masking and packing, with counts over all of it.

    Args:
        step: Name of the step.
        stage: Kind of the stage.
        rows: The first rows in the order of training.
        documents: Texts, conversations, or answers of pairs.
        tokens: Tokens of all of them, in one pass.
        learned: Those that are predicted.
        cut: Rows that lose their end because they are longer than the block.
        dropped: Rows that are left out because nothing of them would be learned, or they are too long.
        overlaps: One for each benchmark that was asked about.
        notes: Formats, rows, bad rows.
    """

    step: str
    stage: str
    rows: tuple[PreviewRow, ...]
    documents: int
    tokens: int
    learned: int
    cut: int
    dropped: int
    overlaps: tuple[Overlap, ...] = ()
    notes: tuple[str, ...] = ()


RECORDS: tuple[type, ...] = (TrainPlan, PreviewRow, Overlap, DataPreview)
