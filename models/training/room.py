"""When there is no room: memory that a micro-batch does not fit, a disk that a state does not fit."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from models.errors import UserError
from models.events import Note, Progress, Work
from models.training.checkpoints import clean_unfinished
from models.words import _

T = TypeVar("T")
FULL = (errno.ENOSPC, errno.EDQUOT)
PAUSE = 1.0
"""Seconds between two looks at a full disk."""


def too_large(step: int) -> UserError:
    """Return the error for a step that does not fit row by row."""
    return UserError(
        "training.memory",
        _("Step {step} does not fit into memory even one row at a time.").format(step=step),
        _("Set checkpointing: true, a shorter block, a method such as qlora, or take a smaller model."),
        step=step,
    )


def not_halved(step: int) -> UserError:
    """Return the error for a step of TRL's that does not fit: its trainers take micro-batches as they are told."""
    return UserError(
        "training.memory",
        _("Memory ran out at step {step}, and TRL's trainers do not halve micro-batches.").format(step=step),
        _("Lower batch_size and raise accumulate by as much, or set checkpointing: true; the saved state is intact."),
        step=step,
    )


def no_space(what: str, cause: OSError) -> UserError:
    """Return the error for something that could not be written."""
    return UserError(
        "training.save",
        _("{what} could not be written: {reason}.").format(what=what, reason=cause.strerror or cause),
        _("Make room and continue with --resume; what was saved before is intact."),
    )


def patiently(write: Callable[[], T], folder: Path, what: str, *, wait: bool) -> Work[T]:
    """Return what ``write`` returns; while the disk is full say so and try again, until there is room or a STOP file.

    Args:
        write: Writes beside its target and puts it in place last, so that a failure leaves the old file whole.
        folder: Run folder; unfinished folders in it are removed before each new try.
        what: For the message: what is to be written.
        wait: Whether to wait at all.

    Raises:
        UserError: If it cannot be written and waiting does not help or is not wanted.
    """
    told = False
    while True:
        try:
            return write()
        except OSError as cause:
            if not wait or cause.errno not in FULL or (told and (folder / "STOP").exists()):
                raise no_space(what, cause) from cause
        clean_unfinished(folder)
        if not told:
            text = _("The disk is full: {what} waits for room, and goes on by itself; what was saved before is intact.")
            yield Note(text.format(what=what), "warning")
            told = True
        yield Progress(0, 0, _("waiting for room on the disk"))
        time.sleep(PAUSE)
