"""Which texts stand in a data file, whole or by a run of 13 words: looked for once, remembered by the file's hash.

What is looked for is small, the data may be large: it is read as a stream, words become numbers of a vocabulary that only holds
the words of the texts, and runs of 13 are hashed all at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.events import Progress, Work
from models.manifest import keep
from models.places import bundled_root, cache_folder
from models.training.known_data import DataFile
from models.training.overlap import N, words
from models.words import _

NOTHING, SHARED, EXACT = 0, 1, 2
PORTION = 200_000
"""Words that are compared at once."""
BUNDLED = "overlap.json"
SEEDS = np.random.default_rng(13).integers(2**63, size=N, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
"""One odd multiplier for each place of a run."""
Ids = NDArray[np.uint64]


def text_key(text: str) -> str:
    """Return a text's name: the hash of its words, so that case and punctuation do not count."""
    return hashlib.sha256(" ".join(words(text)).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def look(file: DataFile, texts: Mapping[str, str]) -> Work[dict[str, int]]:
    """Return for each text whether it stands in a file: not, by a run of 13 words, or whole.

    Args:
        file: The data.
        texts: ``text_key`` → text.

    Raises:
        UserError: If the file as a whole cannot be read (also ``OSError``); then nothing is remembered of it.
    """
    place = cache_folder("overlap") / f"{file.sha256}.json"
    known = known_of(file.sha256)
    missing = {key: text for key, text in texts.items() if key not in known}
    if missing:
        known |= yield from _search(file, missing)
        keep(place, known)
    return {key: known[key] for key in texts}


def known_of(sha256: str) -> dict[str, int]:
    """Return what was looked for in a file before: text key → what was found."""
    return {**_bundled(sha256), **_kept(cache_folder("overlap") / f"{sha256}.json")}


def _kept(place: Path) -> dict[str, int]:
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(key): int(value) for key, value in found.items()} if isinstance(found, dict) else {}


def _bundled(sha256: str) -> dict[str, int]:
    """Return what ships with the bundled lineage: its benchmarks' items in its own data."""
    path = bundled_root() / BUNDLED
    return _bundled_in(path, path.stat().st_mtime_ns).get(sha256, {}) if path.is_file() else {}


@lru_cache(maxsize=2)
def _bundled_in(path: Path, _changed: int) -> dict[str, dict[str, int]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        nothing = dict.fromkeys(content["texts"], NOTHING)
        return {sha256: {**nothing, **found} for sha256, found in content["files"].items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _search(file: DataFile, texts: Mapping[str, str]) -> Work[dict[str, int]]:
    """Read a file once; returns text key → what was found."""
    vocabulary: dict[str, int] = {}
    split = {key: words(text) for key, text in texts.items()}
    numbered = {key: [vocabulary.setdefault(word, len(vocabulary) + 1) for word in found] for key, found in split.items()}
    whole = {tuple(ids): key for key, ids in numbered.items() if ids}
    owners: dict[int, set[str]] = {}
    for key, ids in numbered.items():
        for run in runs(ids).tolist():
            owners.setdefault(run, set()).add(key)
    wanted = np.sort(np.fromiter(owners, dtype=np.uint64, count=len(owners)))
    found = dict.fromkeys(texts, NOTHING)
    size, done = file.path.stat().st_size, 0
    pending: list[int] = []
    for text in _texts(file.path):
        ids = [vocabulary.get(word, 0) for word in words(text)]
        done += len(text)
        same = whole.get(tuple(ids))
        if same is not None:
            found[same] = EXACT
        pending += [*ids, 0]
        if len(pending) > PORTION:
            _mark(found, pending, wanted, owners)
            pending = []
            yield Progress(min(done, size), size, _("looking for the items in {name}").format(name=file.name))
    _mark(found, pending, wanted, owners)
    return found


def _mark(found: dict[str, int], ids: Sequence[int], wanted: Ids, owners: Mapping[int, set[str]]) -> None:
    hashes = runs(ids)
    for run in np.unique(hashes[np.isin(hashes, wanted)]).tolist():
        for key in owners[run]:
            found[key] = max(found[key], SHARED)


def runs(ids: Sequence[int]) -> Ids:
    """Return the hash of every run of 13 word numbers that holds no 0 (a word that is looked for nowhere, or a text's end).

    Args:
        ids: n numbers.

    Returns:
        (at most n - 12,) hashes, Σ idᵢ · mᵢ modulo 2⁶⁴.
    """
    numbers = np.asarray(ids, dtype=np.uint64)
    n = len(numbers) - N + 1
    if n < 1:
        return np.empty(0, np.uint64)
    made, whole = np.zeros(n, np.uint64), np.ones(n, bool)
    for place in range(N):
        part = numbers[place : place + n]
        made += part * SEEDS[place]  # wraps around
        whole &= part > 0
    return made[whole]


def _texts(path: Path) -> Iterator[str]:
    """Yield every text of a file of rows, however its rows are built; rows that cannot be read are passed over."""
    from models.training.reading import Bad, raw_rows

    for _number, row in raw_rows(path):
        if not isinstance(row, Bad):
            yield from _strings(row)


def _strings(value: Any, depth: int = 0) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping) and depth < 6:
        for part in value.values():
            yield from _strings(part, depth + 1)
    elif isinstance(value, list | tuple) and depth < 6:
        for part in value:
            yield from _strings(part, depth + 1)
