"""Quantiles without ``np.percentile``, whose first call imports ``numpy.ma``: a tenth of a second on the window's thread."""

from __future__ import annotations

import numpy as np

from models.records.arrays import Array


def quantile(values: Array, percent: float) -> float:
    """Return the value below which ``percent`` % of the values lie, linear in between, as ``np.percentile`` does.

    Args:
        values: Any numbers without NaN; not empty.
        percent: 0 to 100.

    Raises:
        ValueError: If there are no values.
    """
    flat = np.asarray(values, dtype=np.float64).ravel()
    if not flat.size:
        raise ValueError("no values, so no quantile")
    place = (flat.size - 1) * percent / 100
    low = int(place)
    high = min(low + 1, flat.size - 1)
    parted = np.partition(flat, (low, high))
    return float(parted[low] + (parted[high] - parted[low]) * (place - low))
