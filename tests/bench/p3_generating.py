"""P3: generating tokens, every step's distribution kept, beside transformers' generate."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.bench import subject, where
from tests.bench.rows import Row, alternate, timed

NEW, TIMES = (64, 2) if where.on_card() else (128, 3)


def rows() -> Iterator[Row]:
    """Measure one answer, many of mixed prompt lengths, and the first token."""
    if not subject.path():
        skipped = subject.WHY
        yield Row("P3 generate", "one answer of 128 tokens", (), 0.95, kind="ratio", relation=">=", skipped=skipped)
        return
    import torch

    from models.answers import generate_many
    from models.columns import Sampler
    from models.events import Partial, finish
    from models.generation import generate

    opened = subject.opened()
    opened.eos_ids, opened.model.generation_config.eos_token_id, opened.tokenizer.eos_token = (), None, None
    ids = subject.tokens(32)
    sampler = Sampler(temperature=0.0, max_new_tokens=NEW)

    def theirs(prompts: list[list[int]]) -> object:
        width = max(len(prompt) for prompt in prompts)
        batch = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts], device=opened.device)
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=opened.device)
        return opened.model.generate(
            batch, attention_mask=mask, do_sample=False, max_new_tokens=NEW, min_new_tokens=NEW, pad_token_id=0
        )

    def speed(work: object, n: int) -> float:
        return n * NEW / timed(work)  # type: ignore[arg-type]

    spent: tuple[list[float], list[float]] = [], []

    def processed(work: object, seconds: list[float], n: int) -> float:
        """Return the speed of work, and keep the seconds of the processor that it took."""
        before = time.process_time()
        found = speed(work, n)
        seconds.append(time.process_time() - before)
        return found

    a, b = alternate(
        lambda: speed(lambda: finish(generate(opened, ids, sampler)), 1), lambda: speed(lambda: theirs([ids]), 1), TIMES
    )  # fmt: skip
    yield Row("P3 generate", f"one answer of {NEW} tokens, top 20, entropy and rank of each step kept", a, 0.95, b,
              "transformers generate", ">=", "ratio", "tokens/s")  # fmt: skip
    mixed = [subject.tokens(16 + 24 * n, n) for n in range(8)]
    a, b = alternate(
        lambda: processed(lambda: finish(generate_many(opened, mixed, sampler)), spent[0], 8),
        lambda: processed(lambda: theirs(mixed), spent[1], 8), 2,
    )  # fmt: skip
    yield Row("P3 mixed", f"8 answers of {NEW} tokens, prompts of 16 to 184 tokens", a, 1.2, b, "transformers generate",
              ">=", "ratio", "tokens/s")  # fmt: skip
    if not where.on_card():  # there the processor waits most of the time
        yield _processor(spent)
    long = subject.tokens(256)

    def first() -> None:
        for event in generate(opened, long, sampler):
            if isinstance(event, Partial):
                return

    def forward() -> None:
        with torch.inference_mode():
            opened.model(input_ids=torch.tensor([long], device=opened.device), use_cache=True, logits_to_keep=1)

    a, b = alternate(lambda: timed(first), lambda: timed(forward), 7)
    yield Row("P3 first token", "first token of an answer to 256 tokens", a, 1.15, b, "one forward", kind="ratio")


def _processor(spent: tuple[list[float], list[float]]) -> Row:
    """Return the claim about the processor's seconds."""
    return Row("P3 mixed processor", "the same in processor time, which other work on the machine does not change",
               tuple(spent[0][1:]), 1 / 1.2, tuple(spent[1][1:]), "transformers generate", "<=", "ratio")  # fmt: skip
