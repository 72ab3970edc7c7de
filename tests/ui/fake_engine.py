"""An engine without models, for tests of the window: speaks the real protocol, answers at once, can be told to misbehave.

``python tests/ui/fake_engine.py [--protocol N] [--garbage] [--mute OP,...] [--fail OP,...] [--slow]``
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import Any

import numpy as np

from models.events import Note, Progress
from models.protocol import PROTOCOL, Frames, encode
from models.records.checkpoints import CheckpointRef, Description, Lineage, Loaded
from models.records.sampling import Distribution
from models.records.tokens import Token, TokenStrip

LINEAGE = Lineage(
    "Fake", "/fake",
    (
        CheckpointRef("first", "/fake/first", "pretrain", n_bytes=1_000_000),
        CheckpointRef("second", "/fake/second", "sft", "first", n_bytes=2_000_000),
        CheckpointRef("third", "/fake/third", "rlhf", "second", n_bytes=2_000_000),
        CheckpointRef("broken", "/fake/broken", "other", error="/fake/broken has no config.json."),
    ),
)  # fmt: skip


def strip(text: str) -> TokenStrip:
    words = text.split(" ")
    tokens = tuple(Token(i, word, word, word.encode()) for i, word in enumerate(words))
    values = np.linspace(0, 4, len(words), dtype=np.float32)
    return TokenStrip(text, tokens, values, values, np.arange(len(words), dtype=np.int32), "fake")


def answer(op: str, params: dict[str, Any]) -> Any:
    if op == "list":
        return (LINEAGE, *(Lineage(folder, folder) for folder in params["folders"]))
    if op == "describe":
        return Description(
            params["path"].rsplit("/", 1)[-1], params["path"], "llama", "LlamaForCausalLM", "decoder",
            facts={"Layers": "4"}, parameters={"embedding": 1000, "mlp": 3000}, memory={"float32": 16_000},
            chat_template="{{ messages }}",
        )  # fmt: skip
    if op == "open":
        return Loaded(params["column"].checkpoint, "cpu", "float32", "", 16_000, 16_100, 0.01, 4, 4)
    if op == "tokens":
        return strip(params["text"])
    if op == "distribution":
        p = np.array([0.5, 0.25, 0.25], dtype=np.float32)
        return Distribution(np.arange(3), ("a", "b", "c"), p, p, 1.0, 1.0, 0, 3)
    if op == "devices":
        return ({"name": "cpu"},)
    if op == "echo":
        return params
    if op == "big":
        return tuple(np.zeros(250_000, dtype=np.float32) for _ in range(4))
    if op in ("jobs", "runs", "results", "samples", "compare"):
        return ()
    return None


class FakeEngine:
    """Answers what it is asked."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked = asked
        self.out = sys.stdout.buffer

    def send(self, **message: Any) -> None:
        self.out.write(encode(message))
        self.out.flush()

    def serve(self) -> None:
        self.send(type="hello", protocol=self.asked.protocol, version="fake", devices=(), memory=(8e9, 16e9))
        print("a line on stderr", file=sys.stderr, flush=True)
        frames = Frames()
        while data := os.read(sys.stdin.fileno(), 65536):
            for message in frames.feed(data):
                if message["type"] == "request" and message["op"] not in self.asked.mute.split(","):
                    self.take(message["id"], message["op"], message["params"])

    def take(self, number: int, op: str, params: dict[str, Any]) -> None:
        if op == "die":
            os._exit(3)
        if op in self.asked.fail.split(","):
            error = {"kind": "user", "id": "x", "what": f"{op} cannot be done.", "hint": "Do something else."}
            self.send(type="error", id=number, error=error)
            return
        value = answer(op, params)
        if value is None and op not in ("stream", "bug"):
            error = {"kind": "user", "id": "x", "what": f"This engine has no {op}.", "hint": ""}
            self.send(type="error", id=number, error=error)
            return
        if op == "bug":
            error = {"kind": "bug", "id": "x", "what": "ValueError", "hint": "", "details": "Traceback"}
            self.send(type="error", id=number, error=error)
            return
        self.send(type="progress", id=number, value=Progress(1, 2, "half"))
        self.send(type="progress", id=number, value=Note("noted", "info"))
        for n in range(3 if op == "stream" else 0):
            self.send(type="partial", id=number, value=n)
        time.sleep(self.asked.slow)
        self.send(type="reply", id=number, value=value)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--protocol", type=int, default=PROTOCOL)
    parser.add_argument("--garbage", action="store_true")
    parser.add_argument("--mute", default="")
    parser.add_argument("--fail", default="")
    parser.add_argument("--slow", type=float, default=0.0)
    asked = parser.parse_args()
    if asked.garbage:
        sys.stdout.buffer.write(b"\xff" * 64)
        sys.stdout.buffer.flush()
        sys.stdin.buffer.read()
        return
    FakeEngine(asked).serve()


if __name__ == "__main__":
    main()
