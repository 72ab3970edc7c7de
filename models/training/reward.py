"""The reward stage: a model that scores answers, learned from preference pairs (Bradley-Terry)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.errors import UserError
from models.events import Note, Work
from models.training.data import Document, Texts, need_rows
from models.training.llama import new_reward, pick_device, place
from models.training.methods import MethodSettings, add_adapter
from models.training.pairs import PairBatch, PairPlan, PairTask, pair_batch, pair_documents
from models.training.parents import find_parent
from models.training.running import gather_inputs, train_and_publish
from models.training.sft import describe_model
from models.training.sources import PAIRS, load_rows
from models.training.stage import Stage, Workspace, help_text
from models.words import _

EVAL_PAIRS = 128

Pair = tuple[Document, Document]


@dataclass(frozen=True)
class RewardSettings(MethodSettings):
    """Settings of the reward stage."""

    parent: str = field(default="sft", metadata=help_text("Step or folder whose body the reward model starts from."))
    pairs: tuple[str, ...] = field(default=("preferences/pairs.jsonl",), metadata=help_text("JSONL files of pairs."))
    dev: str = field(default="", metadata=help_text("JSONL file of pairs to evaluate on."))
    centring: float = field(default=0.01, metadata=help_text("Weight that pulls rewards towards 0."))
    margin: float = field(default=0.0, metadata=help_text("Least difference that is asked for."))
    max_length: int = field(default=256, metadata=help_text("Longer pairs are dropped and counted."))
    batch_size: int = field(default=32, metadata=help_text("Pairs of one micro-batch."))
    lr: float = field(default=2e-4, metadata=help_text("Highest learning rate."))

    def __post_init__(self) -> None:
        """Raise ``UserError`` for a value that cannot work."""
        super().__post_init__()
        if self.method == "qlora":
            raise UserError(
                "training.setting",
                _("method is qlora, but a reward model is written with its adapter merged, which needs unrounded weights."),
                _("Use lora, dora, rslora or full."),
                setting="method",
            )


class RewardTask(PairTask):
    """Bradley-Terry loss of pairs."""

    def __init__(self, model: Any, pairs: Sequence[Pair], dev: Sequence[Pair], settings: RewardSettings, pad: int) -> None:
        self.model, self.pairs, self.dev, self.settings, self.pad = model, pairs, dev, settings, pad
        self.device = str(next(model.parameters()).device)
        self.modules = {"model": model}
        self.plan, self.micro = PairPlan(len(pairs), settings), settings.batch_size
        self.total_steps = self.plan.total_steps

    def batches(self, step: int) -> list[PairBatch]:
        """Return the micro-batches of a step."""
        return [self._batch([self.pairs[n] for n in numbers]) for numbers in self.plan.micro_batches(step, self.micro)]

    def _batch(self, pairs: Sequence[Pair]) -> PairBatch:
        return pair_batch(pairs, self.settings.block, self.pad).to(self.device)

    def loss(self, batch: PairBatch) -> tuple[Any, dict[str, float]]:
        """Return the summed loss; metrics are named as in TRL."""
        from models.training.forward import scores
        from models.training.losses import bradley_terry

        rewards = scores(self.model, batch.packed)
        chosen, rejected = rewards[batch.chosen], rewards[batch.rejected]
        loss = bradley_terry(chosen, rejected, self.settings.margin, self.settings.centring)
        seen, margins = rewards.detach(), (chosen - rejected).detach()
        metrics = {
            "accuracy": float((margins > 0).float().mean()),
            "margin": float(margins.mean()),
            "mean_reward": float(seen.mean()),
        }
        return loss.sum(), metrics

    def evaluate(self) -> dict[str, float]:
        """Return accuracy, margin and loss on the held-out pairs."""
        import torch

        totals: dict[str, float] = {}
        self.model.eval()
        for start in range(0, len(self.dev), EVAL_PAIRS):
            with torch.no_grad():
                batch = self._batch(self.dev[start : start + EVAL_PAIRS])
                loss, metrics = self.loss(batch)
            for name, value in {**metrics, "loss": float(loss) / self.weight(batch)}.items():
                totals[name] = totals.get(name, 0.0) + value * self.weight(batch) / len(self.dev)
        return {f"eval_{name}": value for name, value in totals.items()}


def mean_reward(task: RewardTask) -> float:
    """Return the mean reward of the chosen training answers, which is to become 0 (N+ implementation details)."""
    import torch

    from models.training.forward import scores

    total = 0.0
    task.model.eval()
    chosen = task.pairs[: 8 * EVAL_PAIRS]
    for start in range(0, len(chosen), EVAL_PAIRS):
        with torch.no_grad():
            batch = task._batch(chosen[start : start + EVAL_PAIRS])
            total += float(scores(task.model, batch.packed)[batch.chosen].sum())
    return total / len(chosen)


def run(settings: RewardSettings, workspace: Workspace) -> Work[Mapping[str, Any]]:
    """Train the reward model and write ``checkpoint/``; its config keeps ``reward_shift``, to be subtracted."""
    rows = yield from load_rows(workspace, settings.pairs, PAIRS, bad_rows=settings.bad_rows)
    need_rows("reward", rows)
    files = [*settings.pairs, *([settings.dev] if settings.dev else [])]
    parent = yield from find_parent(workspace, settings.parent)
    inputs = gather_inputs(workspace, files, {"parent": settings.parent}, parent)
    texts = Texts(parent.texts)
    pairs, dropped = pair_documents(texts, rows, settings.max_length)
    dev_rows = yield from load_rows(workspace, [settings.dev] if settings.dev else [], PAIRS, bad_rows=settings.bad_rows)
    dev = pair_documents(texts, dev_rows, settings.max_length)[0] if dev_rows else []
    yield Note(
        _("reward: {n:,} pairs, {held_out:,} held out, {dropped} dropped as too long").format(
            n=len(pairs), held_out=len(dev), dropped=dropped
        )
    )
    model = new_reward(parent.open("cpu"), settings.seed)
    if settings.method != "full":
        add_adapter(model, settings, "SEQ_CLS")
        yield Note(_("reward: the adapter is merged when it is written, for its base has no score"))
    yield from describe_model(model)
    model = place(model, pick_device(settings.device))
    task = RewardTask(model, pairs, dev, settings, texts.pad)
    task.decode = texts.tokenizer.decode

    def finish() -> dict[str, float]:
        model.config.reward_shift = mean_reward(task)
        return {"reward_shift": model.config.reward_shift, "pairs_dropped": float(dropped)}

    return (yield from train_and_publish(task, settings, workspace, inputs=inputs, stage="reward", finish=finish))


STAGE = Stage("reward", "Reward model", RewardSettings, run, "reward", parallel=True)
