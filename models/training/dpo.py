"""The DPO stage: a policy learned from preference pairs directly, against a frozen reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.events import Note, Work
from models.training.data import Document, Texts, need_rows
from models.training.llama import pick_device, without_dropout
from models.training.methods import MethodSettings, is_adapted, open_trainable, opened_reference, reference_of
from models.training.packed import Replay, row_documents
from models.training.pairs import PairBatch, PairPlan, PairTask, pair_batch, pair_documents
from models.training.parents import find_parent
from models.training.running import gather_inputs, train_and_publish
from models.training.sft import describe_model
from models.training.sources import PAIRS, load_rows
from models.training.stage import Stage, Workspace, check_choice, help_text
from models.words import _

EVAL_PAIRS = 64

Pair = tuple[Document, Document]


@dataclass(frozen=True)
class DpoSettings(MethodSettings):
    """Settings of the DPO stage."""

    parent: str = field(default="sft", metadata=help_text("Step or folder to start from; also the reference."))
    pairs: tuple[str, ...] = field(default=("preferences/pairs.jsonl",), metadata=help_text("JSONL files of pairs."))
    dev: str = field(default="", metadata=help_text("JSONL file of pairs to evaluate on."))
    beta: float = field(default=0.1, metadata=help_text("Inverse temperature of the implied reward."))
    kind: str = field(default="sigmoid", metadata=help_text("sigmoid, ipo or hinge."))
    label_smoothing: float = field(default=0.0, metadata=help_text("Share of labels taken to be wrong."))
    nll: float = field(default=0.0, metadata=help_text("Weight of the chosen answers' mean token loss."))
    replay: tuple[str, ...] = field(default=(), metadata=help_text("JSONL files of earlier data to mix in."))
    replay_weight: float = field(default=0.0, metadata=help_text("Weight of their mean token loss."))
    replay_rows: int = field(default=16, metadata=help_text("Rows of it a step."))
    max_length: int = field(default=256, metadata=help_text("Longer pairs are dropped and counted."))
    batch_size: int = field(default=32, metadata=help_text("Pairs of one micro-batch."))
    lr: float = field(default=5e-5, metadata=help_text("Highest learning rate."))

    def __post_init__(self) -> None:
        """Raise ``UserError`` for a value that cannot work."""
        super().__post_init__()
        check_choice("kind", self.kind, ("sigmoid", "ipo", "hinge"))


class DpoTask(PairTask):
    """DPO loss of pairs; the reference runs on the same batch, so the first loss is exactly ln 2.

    ``reference`` is a frozen model, or an ``OwnReference``: the trained model with its adapter switched.
    """

    def __init__(
        self, model: Any, reference: Any, pairs: Sequence[Pair], dev: Sequence[Pair], settings: DpoSettings, pad: int
    ) -> None:
        self.model, self.reference = model, reference
        self.pairs, self.dev, self.settings, self.pad = pairs, dev, settings, pad
        self.device = str(next(model.parameters()).device)
        self.modules = {"model": model}
        self.plan, self.micro = PairPlan(len(pairs), settings), settings.batch_size
        self.total_steps = self.plan.total_steps
        self.replay: Replay | None = None
        self.step = 0

    def batches(self, step: int) -> list[PairBatch]:
        """Return the micro-batches of a step."""
        self.step = step
        return [self._batch([self.pairs[n] for n in numbers]) for numbers in self.plan.micro_batches(step, self.micro)]

    def _batch(self, pairs: Sequence[Pair]) -> PairBatch:
        return pair_batch(pairs, self.settings.block, self.pad).to(self.device)

    def loss(self, batch: PairBatch) -> tuple[Any, dict[str, float]]:
        """Return the summed loss; metrics are named as in TRL."""
        loss, metrics = self._preference_loss(batch)
        if self.replay is not None and self.settings.replay_weight:
            from models.training.forward import target_logprobs

            nll = -target_logprobs(self.model, self.replay.batch(self.step).to(self.device)).mean()
            loss = loss + self.settings.replay_weight * nll * self.weight(batch)
            metrics["replay_loss"] = float(nll.detach())
        return loss, metrics

    def _preference_loss(self, batch: PairBatch) -> tuple[Any, dict[str, float]]:
        import torch

        from models.training.forward import sum_by_document, target_logprobs
        from models.training.losses import dpo, dpo_margin

        tokens = target_logprobs(self.model, batch.packed)
        with torch.no_grad(), opened_reference(self.reference) as frozen:
            reference = sum_by_document(target_logprobs(frozen, batch.packed), batch.packed)
        policy = sum_by_document(tokens, batch.packed)
        chosen, rejected = batch.chosen, batch.rejected
        margin = dpo_margin(policy[chosen], policy[rejected], reference[chosen], reference[rejected])
        loss = dpo(margin, self.settings.beta, self.settings.kind, self.settings.label_smoothing).sum()
        with torch.no_grad():
            rewards = self.settings.beta * (policy - reference)
            metrics = {
                "rewards/chosen": float(rewards[chosen].mean()),
                "rewards/rejected": float(rewards[rejected].mean()),
                "rewards/accuracies": float((rewards[chosen] > rewards[rejected]).float().mean()),
                "rewards/margins": float((rewards[chosen] - rewards[rejected]).mean()),
                "logps/chosen": float(policy[chosen].mean()),
                "logps/rejected": float(policy[rejected].mean()),
            }
        if self.settings.nll:
            lengths = sum_by_document(torch.ones_like(tokens), batch.packed)
            nll = -policy[chosen].sum() / lengths[chosen].sum()
            loss = loss + self.settings.nll * nll * self.weight(batch)
            metrics["nll_loss"] = float(nll.detach())
        return loss, metrics

    def evaluate(self) -> dict[str, float]:
        """Return loss, accuracy and margin on the held-out pairs."""
        import torch

        totals: dict[str, float] = {}
        self.model.eval()
        for start in range(0, len(self.dev), EVAL_PAIRS):
            with torch.no_grad():
                batch = self._batch(self.dev[start : start + EVAL_PAIRS])
                loss, metrics = self._preference_loss(batch)
            for name, value in {**metrics, "loss": float(loss) / self.weight(batch)}.items():
                totals[name] = totals.get(name, 0.0) + value * self.weight(batch) / len(self.dev)
        return {f"eval_{name}": value for name, value in totals.items()}


def run(settings: DpoSettings, workspace: Workspace) -> Work[Mapping[str, Any]]:
    """Train the policy and write ``checkpoint/``."""
    rows = yield from load_rows(workspace, settings.pairs, PAIRS, bad_rows=settings.bad_rows)
    need_rows("dpo", rows)
    files = [*settings.pairs, *settings.replay, *([settings.dev] if settings.dev else [])]
    parent = yield from find_parent(workspace, settings.parent)
    inputs = gather_inputs(workspace, files, {"parent": settings.parent}, parent)
    texts, device = Texts(parent.texts), pick_device(settings.device)
    pairs, dropped = pair_documents(texts, rows, settings.max_length)
    dev_rows = yield from load_rows(workspace, [settings.dev] if settings.dev else [], PAIRS, bad_rows=settings.bad_rows)
    dev = pair_documents(texts, dev_rows, settings.max_length)[0] if dev_rows else []
    yield Note(
        _("dpo: {n:,} pairs, {held_out:,} held out, {dropped} dropped as too long").format(
            n=len(pairs), held_out=len(dev), dropped=dropped
        )
    )
    model = without_dropout(open_trainable(parent, settings, device))
    yield from describe_model(model)
    if is_adapted(model):
        reference: Any = reference_of(model, parent)
    else:
        reference = without_dropout(parent.open(device)).requires_grad_(False)
    task = DpoTask(model, reference, pairs, dev, settings, texts.pad)
    task.decode = texts.tokenizer.decode
    if settings.replay_weight and settings.replay:
        replay = yield from load_rows(workspace, settings.replay, bad_rows=settings.bad_rows)
        documents = row_documents(texts, replay, settings.block)
        task.replay = Replay(documents, settings.replay_rows, settings.block, texts.pad, settings.seed)
    metrics = yield from train_and_publish(task, settings, workspace, inputs=inputs, stage="dpo")
    return {**metrics, "pairs_dropped": dropped}


STAGE = Stage("dpo", "Direct preference optimisation", DpoSettings, run, "dpo", parallel=True)
