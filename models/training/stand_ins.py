"""Pairs that nobody sampled: they stand in for a preferences step that was not done yet, so that what follows can be planned."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models.events import Work
from models.files import write_json, write_text
from models.training.data import Row, Texts, as_messages, need_rows
from models.training.parents import find_parent
from models.training.preferences import PreferenceSettings
from models.training.running import read_all
from models.training.stage import Workspace, as_settings


def stand_in_pairs(settings: PreferenceSettings, workspace: Workspace) -> Work[int]:
    """Write ``pairs.jsonl``, ``dev.jsonl`` and ``done.json`` as the step would, with the most pairs that it can make.

    Answers are as long as they may get: words of the prompts, cut at ``max_new_tokens``. Returns the number of pairs.
    """
    rows = read_all(workspace, settings.prompts, settings.max_rows)
    need_rows("preferences", rows)
    parent = yield from find_parent(workspace, settings.parent)
    words = _words(Texts(parent.texts), rows, settings)
    pairs = [_pair(row, words, at * settings.pairs_per_prompt + n) for at, row in enumerate(rows)
             for n in range(settings.pairs_per_prompt)]  # fmt: skip
    held_out = round(settings.dev_share * len(pairs))
    workspace.folder.mkdir(parents=True, exist_ok=True)
    for name, some in (("pairs.jsonl", pairs[held_out:]), ("dev.jsonl", pairs[:held_out])):
        write_text(workspace.folder / name, "".join(json.dumps(pair, ensure_ascii=False) + "\n" for pair in some))
    write_json(workspace.folder / "done.json", {"settings": as_settings(settings), "metrics": {"pairs": len(pairs) - held_out}})
    return len(pairs) - held_out


def _words(texts: Texts, rows: Sequence[Row], settings: PreferenceSettings) -> list[str]:
    """Return a few texts of ``max_new_tokens`` tokens, the end token counted."""
    said = "\n".join(str(message["content"]) for row in rows[:200] for message in as_messages(row["prompt"]))
    ids = np.resize(np.asarray(texts.encode([said])[0], np.int64), max(2, 8 * settings.max_new_tokens))
    length = max(1, settings.max_new_tokens - 1)
    starts = np.random.default_rng(settings.seed).integers(0, len(ids) - length + 1, 16)
    return [texts.tokenizer.decode(ids[start : start + length].tolist()) or "?" for start in starts]


def _pair(row: Row, words: Sequence[str], number: int) -> Mapping[str, Any]:
    better, worse = words[number % len(words)], words[(number + 1) % len(words)]
    sides = {"chosen": as_messages(better, "assistant"), "rejected": as_messages(worse, "assistant")}
    return {"prompt": as_messages(row["prompt"]), **sides}
