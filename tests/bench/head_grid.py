"""The mosaic of all heads under the clock. Prints milliseconds of pooling and of drawing as one line of JSON.

``python -m tests.bench.head_grid``: 30 layers of 9 heads over 256 tokens, as SmolLM2-135M has them, with random patterns, on
one thread.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
from PySide6.QtWidgets import QApplication

from lab.ui.widgets.attention_panel import grid_numbers, shown_grid
from lab.ui.widgets.head_grid import HeadGrid
from models.records.attention import AttentionGrid

LAYERS, HEADS, TOKENS, SIDE = 30, 9, 256, 32


def patterns() -> list[Any]:
    """Return one causal random pattern (heads, tokens, tokens) for each layer."""
    import torch

    torch.set_num_threads(1)
    scores = torch.randn(LAYERS, HEADS, TOKENS, TOKENS, generator=torch.Generator().manual_seed(0))
    scores.masked_fill_(torch.ones(TOKENS, TOKENS).triu(1).bool(), -torch.inf)
    return list(torch.softmax(scores, -1))


def main() -> int:
    """Measure eleven times; the first is thrown away."""
    from models.heads import max_pool

    app = QApplication(["triptych"])
    layers = patterns()
    widget = HeadGrid()
    widget.resize(300, 760)
    widget.show()
    names, ones = ("t",) * TOKENS, np.ones((LAYERS, HEADS), dtype=np.float32)
    pool, draw = [], []
    for _round in range(11):
        start = time.perf_counter()
        pictures = np.stack([max_pool(layer, TOKENS // SIDE).numpy().astype(np.float16) for layer in layers])
        pooled = time.perf_counter()
        grid = AttentionGrid(names, names, pictures, *([ones] * 6))
        widget.set_patterns(shown_grid(grid, mask_first=False), grid_numbers(grid, "patterns"), 1.0)
        widget.grab()
        pool.append(1000 * (pooled - start))
        draw.append(1000 * (time.perf_counter() - pooled))
    widget.close()
    app.processEvents()
    print(json.dumps({"pool": pool[1:], "draw": draw[1:]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
