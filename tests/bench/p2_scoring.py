"""P2: multiple choice and rolling log-likelihood beside lm-eval's own Hugging Face model."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from tests.bench import subject
from tests.bench.rows import Row, alternate, timed


def rows() -> Iterator[Row]:
    """Measure tokens per second; each answer is compared with lm-eval's too."""
    if not subject.path():
        yield Row("P2 choice", "multiple choice", (), 3.0, kind="ratio", relation=">=", skipped=subject.WHY)
        return
    from lm_eval.models.huggingface import HFLM

    from models.events import finish
    from models.scoring import rolling
    from models.tokens import encode_plain

    model = subject.opened()
    peer = HFLM(pretrained=model.model, tokenizer=model.tokenizer, batch_size=16, max_length=1024, device="cpu")

    def encode(text: str) -> list[int]:
        return encode_plain(model.tokenizer, text, add_special=False)

    for name, bar, spread in (("equal", 3.0, 0), ("mixed", 2.5, 40)):
        yield _choice(model, peer, _pairs(encode, spread), name, bar)
    yield _rolling(model, peer, encode, rolling, finish)


def _choice(model: Any, peer: Any, pairs: list[tuple[list[int], list[int]]], name: str, bar: float) -> Row:
    from models.events import finish
    from models.scoring import score

    n_tokens = sum(len(context) + len(continuation) for context, continuation in pairs)
    requests = [((str(n), str(n)), context, continuation) for n, (context, continuation) in enumerate(pairs)]
    kept: dict[str, Any] = {}

    def ours() -> None:
        kept["ours"] = finish(score(model, pairs))

    def theirs() -> None:
        kept["theirs"] = peer._loglikelihood_tokens(requests, disable_tqdm=True)

    a, b = alternate(lambda: n_tokens / timed(ours), lambda: n_tokens / timed(theirs), 3)
    worst = max(abs(x[0] - y[0]) for x, y in zip(kept["ours"], kept["theirs"], strict=True))
    return Row(
        f"P2 choice {name}", f"4 continuations of a context, contexts of {name} length", a, bar, b, "lm-eval hf",
        relation=">=", kind="ratio", unit="tokens/s", extra={"largest_difference": worst},
    )  # fmt: skip


def _pairs(encode: Any, spread: int) -> list[tuple[list[int], list[int]]]:
    chance = random.Random(2)
    found = []
    for _ in range(60):
        context = encode(subject.sentence(chance, 70 + chance.randint(-spread, spread)))
        found += [(context, encode(" " + subject.sentence(chance, chance.randint(3, 7)))) for _ in range(4)]
    return found


def _rolling(model: Any, peer: Any, encode: Any, rolling: Any, finish: Any) -> Row:
    from lm_eval.api.instance import Instance

    chance = random.Random(1)
    texts = [subject.sentence(chance, 200) for _ in range(8)]
    ids = [encode(text) for text in texts]
    n_tokens = sum(len(one) for one in ids)
    requests = [Instance("loglikelihood_rolling", {}, (text,), n) for n, text in enumerate(texts)]
    a, b = alternate(
        lambda: n_tokens / timed(lambda: finish(rolling(model, ids, length=1024))),
        lambda: n_tokens / timed(lambda: peer.loglikelihood_rolling(requests, disable_tqdm=True)),
        3,
    )
    return Row("P2 rolling", "rolling log-likelihood, float32", a, 0.95, b, "lm-eval hf", ">=", "ratio", "tokens/s")
