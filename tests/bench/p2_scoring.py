"""P2: multiple choice and rolling log-likelihood beside lm-eval's Hugging Face class, SmolLM2-135M, the same requests."""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.bench import subject, where
from tests.bench.p6_metrics import WORDS
from tests.bench.rows import Row, alternate, timed

CONTEXTS, CHOICES, REPEATS = (64, 4, 5) if where.on_card() else (8, 4, 3)
TEXTS, TEXT_WORDS, WINDOW = (64, 1023, 1024) if where.on_card() else (8, 300, 1024)
"""Eight texts are about 2,400 tokens, which lm-eval scores in one batch; a card needs more to be busy."""
PEER_ROWS = {"choices": 256, "texts": 32} if where.on_card() else {"choices": 8, "texts": 8}
"""Rows of lm-eval's batches: on a card all answers at once, and texts of 6 GB of logits; ours are chosen by the scorer."""
FLOOR = "a bare bfloat16 forward with cross-entropy, times lm-eval's speed"


def requests(opened: Any, mixed: bool) -> list[tuple[tuple[str, str], list[int], list[int]]]:
    """Return contexts of about 75 tokens (or of 20 to 130), four continuations of about five tokens each."""
    generator = random.Random(2)

    def ids(n: int) -> list[int]:
        text = " ".join(generator.choice(WORDS) for _ in range(n))
        return list(opened.tokenizer(" " + text, add_special_tokens=False)["input_ids"])

    made = []
    for i in range(CONTEXTS):
        context = ids(generator.randint(20, 130) if mixed else 75)
        made += [((f"c{i}", f"k{j}"), context, ids(generator.randint(3, 7))) for j in range(CHOICES)]
    return made


def texts(n: int = TEXTS) -> list[str]:
    """Return n texts of ``TEXT_WORDS`` words."""
    generator = random.Random(1)
    return [" ".join(generator.choice(WORDS) for _ in range(TEXT_WORDS)) for _ in range(n)]


class Peer:
    """lm-eval's own class over the same open model."""

    def __init__(self, opened: Any) -> None:
        from lm_eval.models.huggingface import HFLM

        self.model = HFLM(
            pretrained=opened.model, tokenizer=opened.tokenizer, batch_size=PEER_ROWS["texts"], max_length=WINDOW,
            device=where.device(),
        )  # fmt: skip

    def score(self, asked: Any) -> Any:
        """Return log-likelihoods of continuations."""
        self.model.batch_size_per_gpu = PEER_ROWS["choices"]
        return self.model._loglikelihood_tokens(asked, disable_tqdm=True)

    def rolling(self, wanted: list[str]) -> list[float]:
        """Return log-likelihoods of texts."""
        from lm_eval.api.instance import Instance

        self.model.batch_size_per_gpu = PEER_ROWS["texts"]
        made = [Instance("loglikelihood_rolling", {}, (text,), i) for i, text in enumerate(wanted)]
        return list(self.model.loglikelihood_rolling(made, disable_tqdm=True))


def our_rolling(opened: Any, wanted: list[str]) -> list[float]:
    """Return log-likelihoods of texts by our scorer."""
    from models.events import finish
    from models.scoring import rolling

    ids = [list(opened.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in wanted]
    return finish(rolling(opened, ids, length=WINDOW))


def rows() -> Iterator[Row]:
    """Measure multiple choice on equal and mixed lengths, rolling in float32 and bfloat16, and memory."""
    if not subject.path():
        yield Row("P2 scoring", "beside lm-eval", (), 3.0, skipped=subject.WHY)
        return
    from models.events import finish
    from models.scoring import score

    opened = subject.opened()
    theirs = Peer(opened)
    for name, mixed, bar in (("equal lengths", False, 3.0), ("mixed lengths", True, 2.5)):
        asked = requests(opened, mixed)
        pairs = [(context, continuation) for _names, context, continuation in asked]
        answers: dict[str, Any] = {}

        def ours(pairs: Any = pairs, answers: dict[str, Any] = answers) -> None:
            answers["ours"] = [value for value, _greedy in finish(score(opened, pairs))]

        def peer(asked: Any = asked, answers: dict[str, Any] = answers) -> None:
            answers["peer"] = [value for value, _greedy in theirs.score(asked)]

        yield _row(f"P2 multiple choice, {name}", ours, peer, bar, answers)
    yield from _rolling(opened, theirs)
    yield _memory_of_card(opened, theirs) if where.on_card() else _memory()


def _memory_of_card(opened: Any, theirs: Peer) -> Row:
    """Measure the most that the card holds while the texts are scored, the model included."""
    works: list[Callable[[], object]] = [lambda: our_rolling(opened, texts()), lambda: theirs.rolling(texts())]
    ours, peer = (tuple(where.peak_of(work) for _ in range(2)) for work in works)
    what = f"peak of the card's memory while {TEXTS} texts are scored"
    return Row("P2 memory", what, ours, 0.6, peer, "lm-eval", "<=", "ratio", "MB")


def _rolling(opened: Any, theirs: Peer) -> Iterator[Row]:
    """Measure the same texts in float32 and, by choice, in bfloat16; the peer computes in float32."""
    half = subject.opened("bfloat16")
    for name, model, bar in (("rolling", opened, 0.95), ("rolling, bfloat16 beside float32", half, 2.5)):
        found: dict[str, Any] = {}

        def ours(model: Any = model, found: dict[str, Any] = found) -> None:
            found["ours"] = our_rolling(model, texts())

        def peer(found: dict[str, Any] = found) -> None:
            found["peer"] = theirs.rolling(texts())

        row = _row(f"P2 {name}", ours, peer, bar, found)
        if model is half:
            bare = tuple(timed(lambda: _bare(half)) for _ in range(REPEATS + 1))[1:]
            row.extra[FLOOR] = statistics.median(row.peer) / statistics.median(bare)
        yield row


def _bare(half: Any) -> float:
    """Return the mean loss of all texts by one plain forward and a cross-entropy in bfloat16, which rounds what it sums."""
    import torch

    rows = [list(half.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts()]
    width = max(map(len, rows))
    batch = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=half.device)
    wanted = torch.tensor([[*row[1:], *[-100] * (width - len(row) + 1)] for row in rows], device=half.device)
    with torch.inference_mode():
        logits = half.model(input_ids=batch, use_cache=False).logits
        return float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=-100))


def _row(name: str, ours: Callable[[], None], peer: Callable[[], None], bar: float, answers: dict[str, Any]) -> Row:
    fast, slow = alternate(lambda: timed(ours), lambda: timed(peer), REPEATS)
    worst = max(abs(a - b) for a, b in zip(answers["ours"], answers["peer"], strict=True))
    what = "times lm-eval's speed on the same requests"
    total = sum(answers["peer"])
    extra = {"largest difference of a log-likelihood": worst, "difference of their sum": sum(answers["ours"]) / total - 1}
    return Row(name, what, fast, bar, slow, "lm-eval", ">=", "speed", extra=extra)


def _memory() -> Row:
    """Measure the peak memory of a fresh process that scores eight texts, each way."""
    ours, peer = (tuple(_peak(who) for _ in range(2)) for who in ("ours", "peer"))
    return Row("P2 memory", "peak of a process that scores eight texts", ours, 0.6, peer, "lm-eval", "<=", "ratio", "MB")


def _peak(who: str) -> float:
    command = [sys.executable, "-m", "tests.bench.p2_scoring", who]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    return float(json.loads(result.stdout.strip().splitlines()[-1])["mb"])


def _measure(who: str) -> None:
    opened = subject.opened()
    work: Callable[[], object] = {
        "ours": lambda: our_rolling(opened, texts()), "peer": lambda: Peer(opened).rolling(texts())
    }[who]  # fmt: skip
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak of loading does not count
    work()
    print(json.dumps({"mb": subject._highest()}))


if __name__ == "__main__":
    _measure(sys.argv[1])
