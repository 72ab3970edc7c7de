"""The PPO stage: a policy learns by reinforcement from a learned reward model, held near its parent by KL."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from models.events import Event, Metrics, Note, Recorded, Work
from models.training.data import Batch, Document, Row, Texts, need_rows, pack_batch
from models.training.decoding import Sampling, sample_answers
from models.training.labels import conversations, find_function
from models.training.llama import open_reward, pick_device, uses_bf16, without_dropout
from models.training.packed import Replay, row_documents
from models.training.parents import find_parent
from models.training.rollouts import (
    Measured,
    Rollout,
    answer_documents,
    gather,
    judge_answers,
    make_rollout,
    prompt_numbers,
    rollout_from,
    rollout_tensors,
    score_answers,
    spread,
)
from models.training.running import gather_inputs, read_all, train_and_publish
from models.training.sources import load_rows
from models.training.stage import PRECISIONS, SHARDINGS, Stage, TrainSettings, Workspace, check_at_least, check_choice, help_text
from models.words import _


@dataclass(frozen=True)
class PpoSettings(TrainSettings):
    """Settings of the PPO stage. Steps follow from rollouts, passes and minibatch."""

    parent: str = field(default="sft", metadata=help_text("Step or folder of the policy; also the reference."))
    reward_model: str = field(default="reward", metadata=help_text("Step or folder of the reward model; empty: rule only."))
    prompts: tuple[str, ...] = field(default=(), metadata=help_text("JSONL files of {prompt}."))
    rollouts: int = field(default=60, metadata=help_text("How often answers are sampled."))
    rollout_size: int = field(default=128, metadata=help_text("Answers of a rollout."))
    passes: int = field(default=2, metadata=help_text("Passes of updates over a rollout."))
    minibatch: int = field(default=64, metadata=help_text("Answers of an update."))
    max_new_tokens: int = field(default=48, metadata=help_text("Longest answer."))
    temperature: float = field(default=1.0, metadata=help_text("Of sampling, and of every log-probability."))
    gamma: float = field(default=1.0, metadata=help_text("Discount."))
    lam: float = field(default=0.95, metadata=help_text("Trace decay of GAE."))
    clip_ratio: float = field(default=0.2, metadata=help_text("Half-width of the trusted range of the ratio."))
    value_clip: float = field(default=0.2, metadata=help_text("Half-width of the trusted range of values."))
    value_weight: float = field(default=0.1, metadata=help_text("Weight of the value loss."))
    value_detached: bool = field(default=True, metadata=help_text("The value loss does not move the policy's body."))
    kl: float = field(default=0.05, metadata=help_text("Price of a nat of KL to the reference."))
    kl_target: float = field(default=0.0, metadata=help_text("KL of an answer that the price adapts to; 0: fixed price."))
    kl_horizon: float = field(default=10000.0, metadata=help_text("Answers over which the price may move fully."))
    whiten_rewards: bool = field(default=False, metadata=help_text("Rewards get unit variance, their mean kept."))
    whiten_advantages: bool = field(default=True, metadata=help_text("Advantages get mean 0 and unit variance."))
    eos_penalty: float = field(default=1.0, metadata=help_text("Taken from the score of an answer that never ended."))
    reward_scale: float = field(default=1.0, metadata=help_text("Factor on the learned reward."))
    reward_clip: float = field(default=5.0, metadata=help_text("Largest learned reward either way; 0: no limit."))
    learned_weight: float = field(default=1.0, metadata=help_text("Weight of the learned reward."))
    rule: str = field(default="", metadata=help_text("Function of ours whose score is added."))
    rule_weight: float = field(default=0.0, metadata=help_text("Weight of that score."))
    judge: str = field(default="", metadata=help_text("Function of ours whose score is only reported."))
    group_by: str = field(default="item.type", metadata=help_text("Field of a prompt row that verdicts are counted by."))
    entropy: float = field(default=0.0, metadata=help_text("Weight of an entropy bonus."))
    replay: tuple[str, ...] = field(default=(), metadata=help_text("JSONL files of earlier data to mix in."))
    replay_weight: float = field(default=0.5, metadata=help_text("Weight of their mean token loss."))
    replay_rows: int = field(default=16, metadata=help_text("Rows of it an update."))
    lr: float = field(default=1e-4, metadata=help_text("Highest learning rate."))
    warmup: int = field(default=10, metadata=help_text("Steps of linear warm-up."))
    adam_eps: float = field(default=1e-5, metadata=help_text("AdamW epsilon; 1e-8 makes early steps far too large."))

    def __post_init__(self) -> None:
        """Raise ``UserError`` for a value that cannot work."""
        super().__post_init__()
        for name in ("rollouts", "rollout_size", "passes", "minibatch", "max_new_tokens"):
            check_at_least(name, getattr(self, name), 1)
        check_at_least("temperature", self.temperature, 0.01)
        check_choice("precision", self.precision, PRECISIONS[:3])  # its own forwards know no fp16
        check_choice("sharding", self.sharding, SHARDINGS[:2])  # the first process does it alone

    @property
    def updates(self) -> int:
        """Return the optimizer steps of one rollout."""
        return self.passes * math.ceil(self.rollout_size / self.minibatch)


@dataclass(frozen=True)
class Actors:
    """The models of PPO: what is trained, what is frozen."""

    policy: Any
    value_head: Any
    reference: Any
    reward_model: Any


@dataclass(frozen=True)
class Update:
    """One minibatch of answers with what the losses need, all ``(targets,)``."""

    packed: Batch
    old: Any
    values: Any
    advantages: Any
    returns: Any
    watched: int = -1
    """Document of the answer that is looked into, -1 for none."""


class PpoTask:
    """Rollouts and clipped updates, as the loop wants them."""

    def __init__(self, actors: Actors, texts: Texts, rows: Sequence[Row], settings: PpoSettings) -> None:
        self.actors, self.texts, self.rows, self.settings = actors, texts, rows, settings
        self.prompts = texts.prompts(conversations(rows))
        self.modules: Mapping[str, Any] = {"model": actors.policy, "value_head": actors.value_head}
        self.total_steps = settings.steps or settings.rollouts * settings.updates
        self.device = str(next(actors.policy.parameters()).device)
        self.bf16 = uses_bf16(settings.precision, self.device)
        self.rule = find_function(settings.rule) if settings.rule else None
        self.judge = find_function(settings.judge) if settings.judge else None
        self.replay: Replay | None = None
        self.micro = settings.minibatch
        self.decode = texts.tokenizer.decode
        self.beta = settings.kl
        self.rollout: Rollout | None = None
        self.number = -1
        """Of the rollout, counted from 0."""
        self.price = settings.kl
        """Of a nat of KL in the rollout that there is."""
        self.watched: tuple[int, Any] | None = None
        """Number of the answer that is looked into, and its log-probabilities in the last update, ``(tokens,)``."""
        self.step = 0

    def prepare(self, step: int) -> Iterator[Event]:
        """Sample and score a new rollout when the last one is used up."""
        if step // self.settings.updates != self.number:
            yield from self._new_rollout(step)

    def _new_rollout(self, step: int) -> Work[None]:
        import torch

        settings, number = self.settings, step // self.settings.updates
        chosen = prompt_numbers(len(self.rows), settings.rollout_size, number, settings.seed)
        prompts, rows = [self.prompts[at] for at in chosen], [self.rows[at] for at in chosen]
        sampling = Sampling(settings.max_new_tokens, settings.temperature, 1.0, settings.rollout_size, self.bf16)
        answers = yield from sample_answers(self.actors.policy, prompts, self.texts.end, sampling, [settings.seed, 19, number])
        documents = answer_documents(prompts, answers)
        measured = self._measure(documents, number)
        with torch.autocast(self.device.split(":")[0], dtype=torch.bfloat16, enabled=self.bf16):
            paid, learned, metrics = self._score(documents, answers, rows)
        rollout, more = make_rollout(documents, measured, paid, settings, self.beta)
        self.rollout = replace(rollout, seen={**rollout.seen, "learned": learned.to(self.device)})
        self.number, self.price = number, self.beta
        metrics = {**more, **metrics, "val/eos_rate": float(np.mean([answer.ended for answer in answers]))}
        if settings.kl_target:
            from models.training.losses import next_beta

            self.beta = next_beta(self.beta, more["objective/kl"], settings.kl_target, len(answers), settings.kl_horizon)
        if more["objective/kl"] < -3 * more["objective/kl_se"]:
            yield Note(_("KL is {kl:.4f}: answers are not drawn from what is scored").format(kl=more["objective/kl"]), "warning")
        yield Metrics(step, metrics)

    def _score(
        self, documents: Sequence[Document], answers: Sequence[Any], rows: Sequence[Row]
    ) -> tuple[Any, Any, dict[str, float]]:
        """Return what each answer is paid, what the reward model alone gave it, ``(answers,)`` each, and metrics."""
        import torch

        settings = self.settings
        if self.actors.reward_model is not None:
            scored = score_answers(self.actors.reward_model, documents, answers, settings, self.texts.pad)
            learned, paid, metrics = scored.learned, scored.paid, dict(scored.metrics)
        else:
            learned = torch.zeros(len(answers))
            paid, metrics = -settings.eos_penalty * torch.tensor([float(not answer.ended) for answer in answers]), {}
        judge = self.judge or self.rule
        if judge is not None:
            judged, more = judge_answers(judge, self.texts, rows, answers, learned, settings.group_by)
            metrics.update(more)
        if self.rule is not None:
            if self.rule is not judge:
                judged, _ = judge_answers(self.rule, self.texts, rows, answers, learned, settings.group_by)
            paid = paid + settings.rule_weight * judged
        return paid.to(self.device), learned, metrics

    def _measure(self, documents: Sequence[Document], number: int) -> Measured:
        """Score every token with policy, reference and value head, in the minibatches of the first pass.

        In the same batches, so that the first ratios are exactly 1.
        """
        import torch

        from models.training.forward import hidden_states, target_logits, target_logprobs, warmed

        width = max(int(document.trained.sum()) for document in documents)
        tables = {name: torch.zeros(len(documents), width, device=self.device) for name in ("logp", "ref", "value", "mask")}
        entropies, count = 0.0, 0
        self.actors.policy.eval()
        for chosen in self._minibatches(number, 0):
            packed, order = self._pack([documents[at] for at in chosen])
            with torch.no_grad(), torch.autocast(self.device.split(":")[0], dtype=torch.bfloat16, enabled=self.bf16):
                hidden = hidden_states(self.actors.policy, packed)
                logprobs = warmed(target_logits(self.actors.policy, hidden, packed), self.settings.temperature).log_softmax(-1)
                flat = {
                    "logp": logprobs.gather(-1, packed.target[:, None]).squeeze(-1),
                    "ref": target_logprobs(self.actors.reference, packed, self.settings.temperature),
                    "value": self._values(hidden, packed),
                    "mask": torch.ones(len(packed.target), device=self.device),
                }
                entropies, count = entropies - float((logprobs.exp() * logprobs).sum()), count + len(packed.target)
            for name, values in flat.items():
                tables[name][chosen] = spread(values.float(), packed, order, width)
        mask = tables["mask"] > 0
        return Measured(tables["logp"], tables["ref"], tables["value"], mask, entropies / count)

    def _values(self, hidden: Any, packed: Batch) -> Any:
        state = hidden[packed.source]
        return self.actors.value_head(state.detach() if self.settings.value_detached else state).float().squeeze(-1)

    def _pack(self, documents: Sequence[Document]) -> tuple[Batch, Any]:
        packed, order = pack_batch(documents, self.settings.block, self.texts.pad)
        return packed.to(self.device), order

    def _minibatches(self, number: int, turn: int) -> list[list[int]]:
        size = self.settings.minibatch
        order = np.random.default_rng([self.settings.seed, 23, number, turn]).permutation(self.settings.rollout_size)
        return [order[start : start + size].tolist() for start in range(0, len(order), size)]

    def batches(self, step: int) -> list[Update]:
        """Return the minibatch of a step, in one piece unless memory ran out."""
        assert self.rollout is not None, "prepare comes first"
        self.step = step
        number, within = divmod(step, self.settings.updates)
        turn, at = divmod(within, self.settings.updates // self.settings.passes)
        chosen = self._minibatches(number, turn)[at]
        self.watched = (chosen[0], None)
        return [self._update(self.rollout, chosen[start : start + self.micro]) for start in range(0, len(chosen), self.micro)]

    def _update(self, rollout: Rollout, chosen: list[int]) -> Update:
        packed, order = self._pack([rollout.documents[n] for n in chosen])
        tables = (rollout.old, rollout.values, rollout.advantages, rollout.returns)
        old, values, advantages, returns = (gather(table[chosen], packed, order) for table in tables)
        watched = int(order[0]) if self.watched is not None and chosen[0] == self.watched[0] else -1
        return Update(packed, old, values, advantages, returns, watched)

    def weight(self, batch: Update) -> float:
        """Return the number of sampled tokens."""
        return float(len(batch.packed.target))

    def loss(self, batch: Update) -> tuple[Any, dict[str, float]]:
        """Return policy loss + value loss (+ replay, - entropy), summed over tokens; metrics are named as in TRL."""
        from models.training.forward import entropy, gather_logprobs, hidden_states, target_logits, target_logprobs, warmed
        from models.training.losses import ppo_diagnostics, ppo_policy, ppo_value

        settings = self.settings
        hidden = hidden_states(self.actors.policy, batch.packed)
        logits = warmed(target_logits(self.actors.policy, hidden, batch.packed), settings.temperature)
        logprob = gather_logprobs(logits, batch.packed.target)
        if batch.watched >= 0 and self.watched is not None:
            self.watched = (self.watched[0], logprob.detach()[batch.packed.owner == batch.watched])
        policy = ppo_policy(logprob, batch.old, batch.advantages, settings.clip_ratio)
        value = ppo_value(self._values(hidden, batch.packed), batch.values, batch.returns, settings.value_clip)
        loss = policy.sum() + settings.value_weight * value.sum()
        seen = ppo_diagnostics(logprob, batch.old, settings.clip_ratio)
        metrics = {
            "loss/policy_avg": float(policy.detach().mean()),
            "loss/value_avg": float(value.detach().mean()),
            "policy/approxkl_avg": seen["approxkl"],
            "policy/clipfrac_avg": seen["clip_fraction"],
            "val/ratio": seen["ratio"],
            "val/ratio_var": seen["ratio_var"],
        }
        if settings.entropy:
            loss = loss - settings.entropy * entropy(logits).sum()
        if self.replay is not None and settings.replay_weight:
            nll = -target_logprobs(self.actors.policy, self.replay.batch(self.step).to(self.device)).mean()
            loss = loss + settings.replay_weight * nll * self.weight(batch)
            metrics["loss/replay"] = float(nll.detach())
        return loss, metrics

    def inside(self, step: int) -> Iterator[Event]:
        """Write down one answer of the update that ended with ``step``: not of more than some hundred of a run's updates."""
        from models.training.ppo_example import EXAMPLES, example_values

        stride = max(1, self.total_steps // EXAMPLES)
        if self.rollout is None or self.watched is None or self.watched[1] is None or not self.rollout.seen:
            return
        if step % stride == 0 or step in (1, self.total_steps):
            yield Recorded("ppo", step, example_values(self, self.rollout, *self.watched))

    def evaluate(self) -> dict[str, float]:
        """Return nothing: rollouts are the evaluation."""
        return {}

    def extra(self) -> dict[str, Any]:
        """Return the adapted price of KL, and which rollout there is."""
        return {"beta": self.beta, "rollout": self.number, "price": self.price}

    def tensors(self, step: int) -> dict[str, Any]:
        """Return the rollout, unless it is used up."""
        if self.rollout is None or step // self.settings.updates != self.number:
            return {}
        return rollout_tensors(self.rollout)

    def restore(self, extra: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
        """Take them back; without a rollout the next step begins one."""
        self.beta = float(extra["beta"]) if self.settings.kl_target else self.settings.kl
        self.price = float(extra.get("price", self.beta))
        if tensors:
            self.rollout, self.number = rollout_from(tensors, self.device), int(extra["rollout"])


def new_value_head(width: int, seed: int) -> Any:
    """Return a linear value head that starts at 0 for every state."""
    import torch

    head = torch.nn.Linear(width, 1)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    return head


def run(settings: PpoSettings, workspace: Workspace) -> Work[Mapping[str, Any]]:
    """Train the policy and write ``checkpoint/`` (the value head stays behind)."""
    rows = read_all(workspace, settings.prompts)
    need_rows("ppo", rows)
    parents = {"parent": settings.parent}
    if settings.reward_model:
        parents["reward_model"] = settings.reward_model
    parent = yield from find_parent(workspace, settings.parent)
    inputs = gather_inputs(workspace, [*settings.prompts, *settings.replay], parents, parent)
    texts, device = Texts(parent.texts), pick_device(settings.device)
    policy = without_dropout(parent.open(device))
    reference = without_dropout(parent.open(device)).requires_grad_(False).eval()
    reward_model = None
    if settings.reward_model:
        reward_model = open_reward(workspace.checkpoint(settings.reward_model), device)
        reward_model = without_dropout(reward_model).requires_grad_(False).eval()
    head = new_value_head(policy.config.hidden_size, settings.seed).to(device)
    task = PpoTask(Actors(policy, head, reference, reward_model), texts, rows, settings)
    if settings.replay and settings.replay_weight:
        replay = yield from load_rows(workspace, settings.replay, bad_rows=settings.bad_rows)
        documents = row_documents(texts, replay, settings.block)
        task.replay = Replay(documents, settings.replay_rows, settings.block, texts.pad, settings.seed)
    yield Note(
        _("ppo: {n:,} prompts, {rollouts} rollouts of {rollout_size}").format(
            n=len(rows), rollouts=settings.rollouts, rollout_size=settings.rollout_size
        )
    )
    return (yield from train_and_publish(task, settings, workspace, inputs=inputs, stage="rlhf"))


STAGE = Stage("ppo", "RLHF with PPO", PpoSettings, run, "rlhf")
