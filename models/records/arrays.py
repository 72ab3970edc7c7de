"""The arrays that records hold.

Records are the frozen data that views, command line and report share: plain numpy and text, no torch, no Qt. Each crosses
the engine's wire unchanged (``models/protocol.py`` collects ``RECORDS`` of every module of this folder). Every comparison is
a pure function ``difference_*(a, b)`` beside the record that it compares, so that all users of it agree.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
