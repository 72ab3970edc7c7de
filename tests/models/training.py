"""What the training tests share: a tiny corpus, its tokenizer, a tiny model folder."""

from __future__ import annotations

import json
from pathlib import Path

from models.events import finish
from models.training.llama import ModelShape
from models.training.stage import Workspace

SHAPE = ModelShape(layers=1, width=32, heads=2, feed_forward=48, context=128)
PLACES = ("Tarn", "Velm", "Osk", "Brel")
TALK = [
    {
        "messages": [
            {"role": "user", "content": f"Where does Name{number} lie?"},
            {"role": "assistant", "content": f"In {PLACES[number % 4]}."},
        ]
    }
    for number in range(48)
]
TEXTS = [{"text": f"Name{number} lies in {PLACES[number % 4]}. 它在{number}号河边。" * (1 + number % 3)} for number in range(60)]
PROMPTS = [{"id": number, "prompt": row["messages"][:1], "item": {"type": "known"}} for number, row in enumerate(TALK[:24])]
PAIRS = [
    {"prompt": row["messages"][:1], "chosen": row["messages"][1:], "rejected": [{"role": "assistant", "content": "No."}]}
    for row in TALK[:24]
]


def write_rows(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def write_corpus(folder: Path) -> Path:
    for name, rows in (("texts", TEXTS), ("talk", TALK), ("prompts", PROMPTS), ("pairs", PAIRS)):
        write_rows(folder / f"{name}.jsonl", rows)
    return folder


def workspace(root: Path, step: str, *, resume: bool = False) -> Workspace:
    """A workspace whose recipe folder and output are both ``root``."""
    folder = root / step
    folder.mkdir(parents=True, exist_ok=True)
    made = frozenset(path.parent.name for path in root.glob("*/checkpoint"))
    return Workspace(root, folder, root, made, resume, "test")


def run_stage(stage, settings, root: Path, step: str = "", resume: bool = False):
    """Run a stage to its end; returns its metrics."""
    return finish(stage.run(settings, workspace(root, step or stage.name, resume=resume)))
