"""P4: training steps of our loop beside hand-written floors with the same transformers model, dtype and geometry."""

from __future__ import annotations

import copy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.bench import where
from tests.bench.rows import Row, alternate, timed

VOCAB, BLOCK, BATCH = 2048, 128, 32
STEPS = 30 if where.on_card() else 6
ANSWER = 24
FEW, MANY = 3, 9
"""How often a model of 256 and one of 128 are measured: six short steps of the small one differ by a fifth."""


def rows() -> Iterator[Row]:
    """Measure pretrain, SFT, reward, DPO and PPO steps, and what the journal costs."""
    from models.training.llama import ModelShape, uses_bf16

    small = ModelShape(layers=2, width=128, heads=2, feed_forward=512)
    shapes = {"256 wide": ModelShape(layers=4, width=256, heads=4, feed_forward=1024), "128 wide": small}
    bf16 = uses_bf16("auto", where.device())
    if where.on_card():  # smaller models wait for the processor there: pairs and PPO are measured on a processor alone
        yield from large()
        yield from medium(shapes["256 wide"])
        return
    for name, shape in shapes.items():
        repeats = MANY if shape is small else FEW
        a, b = alternate(lambda s=shape: ours_packed(s, "fp32"), lambda s=shape: bare(s, False), repeats)
        yield row(f"P4 pretrain {name}", "pretraining, fp32, packed documents", a, b, 0.95, "bare loop")
        if bf16:
            a, b = alternate(lambda s=shape: ours_packed(s, "bf16"), lambda s=shape: bare(s, True), repeats)
            yield row(f"P4 pretrain bf16 {name}", "pretraining, bf16, packed documents", a, b, 0.95, "bare loop, bf16")
            a, b = alternate(lambda s=shape: ours_packed(s, "auto"), lambda s=shape: bare(s, False), repeats)
            yield row(f"P4 auto {name}", "the precision chosen by itself", a, b, 1.9, "bare loop, fp32")
    a, b = alternate(lambda: ours_packed(small, "fp32", answers=True), lambda: bare(small, False), MANY)
    yield row("P4 sft", "SFT on answers, fp32, packed conversations", a, b, 0.95, "bare loop")
    a, b = alternate(lambda: ours_pairs(small, "reward"), lambda: floor_pairs(small, "reward"), MANY)
    yield row("P4 reward", "reward model steps of 32 pairs", a, b, 0.95, "floor")
    a, b = alternate(lambda: ours_pairs(small, "dpo"), lambda: floor_pairs(small, "dpo"), MANY)
    yield row("P4 dpo", "DPO steps of 32 pairs", a, b, 0.95, "floor")
    a, b = alternate(lambda: ours_ppo(small), lambda: floor_ppo(small), MANY)
    yield row("P4 ppo", "PPO rollouts of 64 answers of 24 tokens, 2 updates", a, b, 0.9, "floor with generate")
    a, b = alternate(lambda: ours_packed(small, "fp32", journal=True), lambda: ours_packed(small, "fp32"), MANY)
    yield row("P4 journal", "with the journal of every step", a, b, 0.98, "without")
    a, b = alternate(lambda: ours_packed(small, "fp32", journal=True, watched=True), lambda: ours_packed(small, "fp32"), MANY)
    yield row("P4 journal, watched", "with the journal, read each second as the Train view reads it", a, b, 0.98, "without")


LARGE_BLOCK, LARGE_BATCH, LARGE_STEPS, TWICE = 1024, 32, 10, 2


def large() -> Iterator[Row]:
    """Measure, on a card, a model that fills it: 12 layers, width 768, rows of 1,024 tokens."""
    from models.training.llama import ModelShape

    shape = ModelShape(layers=12, width=768, heads=12, feed_forward=2048, context=LARGE_BLOCK)
    size = (LARGE_BATCH, LARGE_BLOCK)

    def ours(precision: str, mixed: bool = False) -> float:
        return ours_packed(shape, precision, size=size, mixed=mixed, steps=LARGE_STEPS)

    def peer(half: bool) -> float:
        return bare(shape, half, size, LARGE_STEPS)

    a, b = alternate(lambda: ours("bf16"), lambda: peer(True), TWICE)
    yield row("P4 pretrain bf16 768 wide", "pretraining, bf16, 12 layers, rows of 1,024", a, b, 0.95, "bare loop, bf16")
    c, d = alternate(lambda: ours("fp32"), lambda: peer(False), TWICE)
    yield row("P4 pretrain fp32 768 wide", "pretraining, fp32, 12 layers, rows of 1,024", c, d, 0.95, "bare loop, fp32")
    a, d = alternate(lambda: ours("auto"), lambda: peer(False), 1)
    yield row("P4 auto 768 wide", "the precision chosen by itself", a, d, 1.9, "bare loop, fp32")
    a, b = alternate(lambda: ours("bf16", mixed=True), lambda: peer(True), TWICE)
    yield row("P4 packed bf16 768 wide", "short documents packed into rows of 1,024, kept apart", a, b, 0.95, "bare loop, bf16")


def medium(shape: Any) -> Iterator[Row]:
    """Measure, on a card, what a model costs that does not fill it."""
    a, b = alternate(lambda: ours_packed(shape, "bf16"), lambda: bare(shape, True), TWICE)
    yield row("P4 pretrain bf16 256 wide", "pretraining, bf16, packed documents", a, b, 0.95, "bare loop, bf16")


def row(id: str, what: str, ours: tuple[float, ...], peer: tuple[float, ...], bar: float, name: str) -> Row:
    """Return a claim about speed, in steps a second."""
    return Row(id, what, ours, bar, peer, name, ">=", "ratio", "steps/s")


def documents(count: int, answers: bool = False, block: int = BLOCK) -> list[Any]:
    """Return documents of a whole row each, all of their tokens or only the last third trained."""
    from models.training.data import Document

    generator = np.random.default_rng(0)
    trained = np.arange(block) >= (block * 2 // 3 if answers else 0)
    return [Document(generator.integers(8, VOCAB, block), trained) for _ in range(count)]


@lru_cache(2)
def _written(shape: Any, seed: int) -> Any:
    from models.training.llama import new_llama

    return new_llama(shape, VOCAB, (1, 2, 0), seed)


def model_of(shape: Any, seed: int = 0) -> Any:
    """Return a new model, on a card with the attention that is best there."""
    from models.training.llama import place

    return place(copy.deepcopy(_written(shape, seed)), where.device())


def speed(step: Callable[[], object], steps: int = STEPS) -> float:
    """Return steps a second, after one to warm up."""
    step()
    return steps / timed(lambda: [step() for _ in range(steps)])


def ours_packed(
    shape: Any, precision: str, answers: bool = False, journal: bool = False, watched: bool = False,
    size: tuple[int, int] = (BATCH, BLOCK), mixed: bool = False, steps: int = STEPS,
) -> float:  # fmt: skip
    """Return our steps a second on packed rows; ``mixed`` packs documents of a quarter of a row."""
    from models.training.packed import PackedTask
    from models.training.stage import TrainSettings

    batch, block = size
    settings = TrainSettings(steps=steps + 1, batch_size=batch, block=block, precision=precision, device=where.device())
    count = batch * (steps + 1) * (4 if mixed else 1)
    task = PackedTask(model_of(shape), documents(count, answers, block // 4 if mixed else block), [], settings, 0)
    return run_loop(task, settings, journal, steps, watched=watched)


READER = """
import sys, time
from pathlib import Path
from lab.curves import training_run
while True:
    training_run(Path(sys.argv[1]))
    time.sleep(1)
"""


@contextmanager
def reader(folder: str) -> Iterator[None]:
    """Let another process read a run as the engine reads it for the Train view."""
    process = subprocess.Popen([sys.executable, "-c", READER, folder])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def run_loop(task: Any, settings: Any, journal: bool = False, steps: int = STEPS, watched: bool = False) -> float:
    """Drive a task through the loop; returns steps a second without the first one."""
    from models.events import Metrics
    from models.training.journal import Journal
    from models.training.loop import Loop

    with tempfile.TemporaryDirectory() as output, ExitStack() as stack:
        folder = Path(output) / "pretrain"
        folder.mkdir()
        (Path(output) / "recipe.json").write_text('{"name": "bench", "recipe": {"stages": [{"stage": "pretrain"}]}}')
        writer = stack.enter_context(Journal(folder / "events.jsonl"))
        if watched:
            stack.enter_context(reader(output))
        work = Loop(task, settings, folder, {}).run(resume=False)

        def until(step: int) -> None:
            for event in work:
                if journal:
                    writer.write(event)
                if isinstance(event, Metrics) and "loss" in event.values and event.step == step:
                    return

        until(task.total_steps - steps)
        return steps / timed(lambda: until(task.total_steps))


def optimizer_of(model: Any) -> Any:
    """Return the optimizer of every floor."""
    import torch

    return torch.optim.AdamW(model.parameters(), lr=3e-4, fused=True)


def bare(shape: Any, bf16: bool, size: tuple[int, int] = (BATCH, BLOCK), steps: int = STEPS) -> float:
    """Return steps a second of the shortest loop there is."""
    import torch

    model = model_of(shape).train()
    optimizer = optimizer_of(model)
    data = torch.tensor(np.stack([d.ids for d in documents(size[0], block=size[1])]))

    def step() -> None:
        given = data.to(where.device())
        with torch.autocast(where.device().split(":")[0], dtype=torch.bfloat16, enabled=bf16):
            loss = model(input_ids=given, labels=given, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return speed(step, steps)


def pairs() -> list[Any]:
    """Return 32 pairs of 64 tokens, the last 24 of them the answer."""
    from models.training.pairs import answer_document

    generator = np.random.default_rng(1)
    made = [generator.integers(8, VOCAB, 64).tolist() for _ in range(2 * BATCH)]
    return [
        (answer_document(a[: 64 - ANSWER], a[64 - ANSWER :]), answer_document(b[: 64 - ANSWER], b[64 - ANSWER :]))
        for a, b in zip(made[::2], made[1::2], strict=True)
    ]


def reward_of(shape: Any) -> Any:
    """Return a reward model of a shape."""
    from transformers import LlamaConfig, LlamaForSequenceClassification

    config = LlamaConfig.from_dict({**model_of(shape).config.to_dict(), "id2label": {0: "reward"}})
    config._attn_implementation = "eager"
    return LlamaForSequenceClassification(config)


def ours_pairs(shape: Any, kind: str) -> float:
    """Return our steps a second on pairs."""
    from models.training.dpo import DpoSettings, DpoTask
    from models.training.reward import RewardSettings, RewardTask

    common = {"steps": STEPS + 1, "batch_size": BATCH, "precision": "fp32", "block": BLOCK, "device": "cpu"}
    if kind == "reward":
        settings: Any = RewardSettings(**common)
        return run_loop(RewardTask(reward_of(shape), pairs(), [], settings, 0), settings)
    settings = DpoSettings(**common)
    frozen = model_of(shape).requires_grad_(False)
    return run_loop(DpoTask(model_of(shape), frozen, pairs(), [], settings, 0), settings)


def floor_pairs(shape: Any, kind: str) -> float:
    """Return steps a second of a hand-written reward or DPO step on the same pairs, which need no padding."""
    import torch
    from torch.nn.functional import logsigmoid

    ids = torch.tensor(np.stack([d.ids for pair in pairs() for d in pair]))
    mask = torch.ones_like(ids)
    model, frozen = (reward_of(shape) if kind == "reward" else model_of(shape)), model_of(shape)
    optimizer = optimizer_of(model.train())

    def logps(of: Any) -> Any:
        logits = of(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=ANSWER + 1).logits[:, :-1]
        return logits.log_softmax(-1).gather(-1, ids[:, -ANSWER:, None]).sum((1, 2))

    def step() -> None:
        if kind == "reward":
            scores = model.score(model.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state[:, -1])
            loss = -logsigmoid(scores[::2] - scores[1::2]).mean()
        else:
            with torch.no_grad():
                reference = logps(frozen)
            gain = logps(model) - reference
            loss = -logsigmoid(0.1 * (gain[::2] - gain[1::2])).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return speed(step)


class _Ids:
    """Stands for a tokenizer where prompts are token ids already and nothing ever ends."""

    end, pad = -1, 0
    tokenizer = SimpleNamespace(decode=str)

    def decode(self, ids: Any) -> str:
        """Return the ids as words."""
        return " ".join(map(str, ids))

    def prompts(self, conversations: list[Any]) -> list[list[int]]:
        """Return the ids that a prompt's one message holds."""
        return [[int(word) for word in messages[0]["content"].split()] for messages in conversations]


def ours_ppo(shape: Any) -> float:
    """Return our updates a second, rollouts included."""
    import torch

    from models.training.ppo import Actors, PpoSettings, PpoTask, new_value_head

    settings = PpoSettings(
        rollouts=4, rollout_size=64, passes=1, minibatch=32, max_new_tokens=ANSWER, precision="fp32", device="cpu"
    )
    asked = [{"prompt": " ".join(map(str, pair[0].ids[:40]))} for pair in pairs()] * 2
    policy, reference = model_of(shape), model_of(shape).requires_grad_(False)
    actors = Actors(policy, new_value_head(shape.width, 0), reference, reward_of(shape).requires_grad_(False))
    task = PpoTask(actors, _Ids(), asked, replace(settings, whiten_advantages=True))  # type: ignore[arg-type]
    with torch.random.fork_rng():
        return run_loop(task, settings, steps=6)


def floor_ppo(shape: Any) -> float:
    """Return updates a second of a hand-written PPO: generate, score, two passes without gradient, two updates."""
    import torch

    policy, reference, judge = model_of(shape), model_of(shape), reward_of(shape)
    head = torch.nn.Linear(shape.width, 1)
    optimizer = optimizer_of(torch.nn.ModuleList([policy, head]))
    prompts = torch.tensor(np.stack([pair[0].ids[:40] for pair in pairs()] * 2))

    def measure(of: Any, ids: Any) -> tuple[Any, Any]:
        hidden = of.model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).last_hidden_state
        hidden = hidden[:, -ANSWER - 1 : -1]
        return of.lm_head(hidden).log_softmax(-1).gather(-1, ids[:, -ANSWER:, None])[..., 0], hidden

    def rollout() -> None:
        ids = policy.generate(
            prompts, attention_mask=torch.ones_like(prompts), do_sample=True, top_k=0, max_new_tokens=ANSWER,
            min_new_tokens=ANSWER, pad_token_id=0, eos_token_id=None,
        )  # fmt: skip
        with torch.no_grad():
            old, hidden = measure(policy, ids)
            values = head(hidden)[..., 0]
            kl = old - measure(reference, ids)[0]
            body = judge.model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).last_hidden_state
            paid = -0.05 * kl
            paid[:, -1] += judge.score(body[:, -1])[:, 0]
            returns = paid.flip(1).cumsum(1).flip(1)
            gain = returns - values
            gain = (gain - gain.mean()) / (gain.std() + 1e-8)
        for chosen in torch.randperm(len(ids)).split(len(ids) // 2):
            logp, hidden = measure(policy, ids[chosen])
            ratio = (logp - old[chosen]).exp()
            clipped = torch.maximum(-gain[chosen] * ratio, -gain[chosen] * ratio.clamp(0.8, 1.2)).mean()
            fit = (head(hidden.detach())[..., 0] - returns[chosen]).pow(2).mean()
            (clipped + 0.1 * fit).backward()
            torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

    return 2 * speed(rollout, 3)
