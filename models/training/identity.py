"""What makes a run the same run: a state can be continued only by what would have led to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from models.training.stage import TrainSettings, as_settings

NOT_IDENTITY = (
    "save_every", "snapshot_every", "keep", "log_every", "threads", "device", "eval_every", "checkpointing", "disk_full",
    "report_to", "sample_prompts", "sample_every", "sample_tokens", "sharding",
)  # fmt: skip
"""Settings that change where, when and how often, but no number."""


def fingerprint(settings: TrainSettings, inputs: Mapping[str, str]) -> str:
    """Return a hash of all that decides the course of a run: settings, and hashes of data and parents."""
    kept = {name: value for name, value in as_settings(settings).items() if name not in NOT_IDENTITY}
    return hashlib.sha256(json.dumps([kept, dict(inputs)], sort_keys=True).encode()).hexdigest()
