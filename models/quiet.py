"""Keep transformers' progress bars and reports off stderr: we report loading ourselves."""

from __future__ import annotations

import contextlib
import logging as standard_logging
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' log and bars inside the block; errors still fly as exceptions."""
    from transformers.utils import logging

    hush()
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


def hush() -> None:
    """Silence what torchao says when transformers imports it: each GPU kernel that this machine has no use for."""
    for name in ("torchao", "torch.utils._pytree"):
        standard_logging.getLogger(name).setLevel(standard_logging.ERROR)
