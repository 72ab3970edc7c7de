"""What GRPO and RLOO share: answers sampled in groups to one prompt, paid by a model, by a rule, or by both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.errors import UserError
from models.events import Work
from models.training.data import Row, Texts, need_rows
from models.training.decoding import Answer
from models.training.labels import conversations, find_function
from models.training.llama import open_reward, pick_device, without_dropout
from models.training.methods import MethodSettings
from models.training.parents import find_parent
from models.training.rollouts import answer_documents, judge_answers, score_answers
from models.training.running import gather_inputs, read_all
from models.training.stage import Workspace, check_at_least, help_text
from models.training.trl_run import Edge, check_edge, need_trl, open_policy, rows_of, train_by_trl
from models.words import _


@dataclass(frozen=True)
class OnlineSettings(MethodSettings):
    """Settings that GRPO and RLOO share."""

    parent: str = field(default="sft", metadata=help_text("Step or folder of the policy; also the reference."))
    reward_model: str = field(default="", metadata=help_text("Step or folder of the reward model; empty: rule only."))
    prompts: tuple[str, ...] = field(default=(), metadata=help_text("JSONL files of {prompt}."))
    dev: str = field(default="", metadata=help_text("JSONL file of {prompt} to evaluate on."))
    answers: int = field(default=8, metadata=help_text("Answers sampled to each prompt: the group that is compared."))
    batch_size: int = field(default=64, metadata=help_text("Answers of a micro-batch; a multiple of answers."))
    passes: int = field(default=1, metadata=help_text("Updates from each batch of answers."))
    minibatch: int = field(default=64, metadata=help_text("Answers that are scored at once."))
    max_new_tokens: int = field(default=48, metadata=help_text("Longest answer."))
    temperature: float = field(default=1.0, metadata=help_text("Of sampling, and of every log-probability."))
    clip_ratio: float = field(default=0.2, metadata=help_text("Half-width of the trusted range of the ratio."))
    kl: float = field(default=0.05, metadata=help_text("Price of a nat of KL to the reference; 0 needs no reference."))
    eos_penalty: float = field(default=1.0, metadata=help_text("Taken from the score of an answer that never ended."))
    reward_scale: float = field(default=1.0, metadata=help_text("Factor on the learned reward."))
    reward_clip: float = field(default=5.0, metadata=help_text("Largest learned reward either way; 0: no limit."))
    learned_weight: float = field(default=1.0, metadata=help_text("Weight of the learned reward."))
    rule: str = field(default="", metadata=help_text("Function of ours whose score is added."))
    rule_weight: float = field(default=1.0, metadata=help_text("Weight of that score."))
    judge: str = field(default="", metadata=help_text("Function of ours whose score is only reported."))
    group_by: str = field(default="item.type", metadata=help_text("Field of a prompt row that verdicts are counted by."))
    lr: float = field(default=1e-5, metadata=help_text("Highest learning rate."))
    warmup: int = field(default=10, metadata=help_text("Steps of linear warm-up."))
    adam_eps: float = field(default=1e-5, metadata=help_text("AdamW epsilon; 1e-8 makes early steps far too large."))

    def __post_init__(self) -> None:
        """Raise ``UserError`` for a value that cannot work."""
        super().__post_init__()
        check_edge(self)
        check_at_least("answers", self.answers, 2)
        check_at_least("temperature", self.temperature, 0.01)
        for name in ("passes", "minibatch", "max_new_tokens"):
            check_at_least(name, getattr(self, name), 1)
        if self.batch_size % self.answers:
            raise UserError(
                "training.setting",
                _("batch_size is {n}, answers is {answers}.").format(n=self.batch_size, answers=self.answers),
                _("batch_size must be a multiple of answers."),
                setting="batch_size",
            )


class Pay:
    """What TRL calls a reward function: pays answers by a reward model, a rule or both, and keeps metrics of them."""

    __name__ = "pay"

    def __init__(self, texts: Texts, rows: Sequence[Row], settings: OnlineSettings, reward_model: Any) -> None:
        self.texts, self.rows, self.settings, self.reward_model = texts, rows, settings, reward_model
        self.rule = find_function(settings.rule) if settings.rule else None
        self.judge = find_function(settings.judge) if settings.judge else None
        self.prompts = texts.prompts(conversations(rows))
        self.held_out_from = len(rows)
        """Rows from here on are held out."""
        self._seen: list[dict[str, float]] = []
        self._held_out: list[dict[str, float]] = []

    def __call__(self, completion_ids: Sequence[Sequence[int]], row: Sequence[int], **_more: Any) -> list[float]:
        """Return what each answer is paid; ``row`` is the number of its prompt."""
        import torch

        settings = self.settings
        rows = [self.rows[at] for at in row]
        answers = [Answer(tuple(ids), bool(ids) and ids[-1] == self.texts.end) for ids in completion_ids]
        if self.reward_model is not None:
            documents = answer_documents([self.prompts[at] for at in row], answers)
            scored = score_answers(self.reward_model, documents, answers, settings, self.texts.pad)
            learned, paid, metrics = scored.learned, scored.paid, dict(scored.metrics)
        else:
            learned = torch.zeros(len(answers))
            paid, metrics = -settings.eos_penalty * torch.tensor([float(not answer.ended) for answer in answers]), {}
        if self.rule is not None:
            judged, more = judge_answers(self.rule, self.texts, rows, answers, learned, settings.group_by)
            paid = paid + settings.rule_weight * judged
            metrics.update(more)
        if self.judge is not None:
            metrics.update(judge_answers(self.judge, self.texts, rows, answers, learned, settings.group_by)[1])
        (self._held_out if row[0] >= self.held_out_from else self._seen).append(metrics)
        return [float(value) for value in paid]

    def metrics(self) -> dict[str, float]:
        """Return the means of the metrics since the last call."""
        seen, self._seen = self._seen, []
        return _means(seen)

    def held_out(self) -> dict[str, float]:
        """Return the same of held-out prompts."""
        seen, self._held_out = self._held_out, []
        return _means(seen)


def _means(seen: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for metrics in seen for name in metrics)
    found = {name: [metrics[name] for metrics in seen if name in metrics] for name in names}
    return {name: sum(values) / len(values) for name, values in found.items()}


def run_online(settings: OnlineSettings, workspace: Workspace, trainer: str, more: Mapping[str, Any]) -> Work[Mapping[str, Any]]:
    """Train a policy by TRL's ``trainer``, told ``more`` of its own settings, and write ``checkpoint/``."""
    need_trl(workspace)
    if not settings.reward_model and not settings.rule:
        raise UserError(
            "training.setting",
            _("Nothing pays the answers."),
            _("Name a reward_model, a rule, or both."),
            setting="reward_model",
        )
    rows = read_all(workspace, settings.prompts)
    need_rows(workspace.folder.name, rows)
    parent = yield from find_parent(workspace, settings.parent)
    roles = {"parent": settings.parent, **({"reward": settings.reward_model} if settings.reward_model else {})}
    held_out = read_all(workspace, [settings.dev] if settings.dev else [])
    inputs = gather_inputs(workspace, [*settings.prompts, *([settings.dev] if settings.dev else [])], roles, parent)
    device, texts = pick_device(settings.device), Texts(parent.texts)
    judge = None
    if settings.reward_model:
        judge = without_dropout(open_reward(workspace.checkpoint(settings.reward_model), device)).requires_grad_(False).eval()
    pay = Pay(texts, [*rows, *held_out], settings, judge)
    pay.held_out_from = len(rows)
    arguments = {
        "num_generations": settings.answers,
        "max_completion_length": settings.max_new_tokens,
        "temperature": settings.temperature,
        "top_k": 0,
        "beta": settings.kl,
        "epsilon": settings.clip_ratio,
        "num_iterations": settings.passes,
        **more,
    }
    data = [{"prompt": list(messages), "row": at} for at, messages in enumerate(conversations(pay.rows))]
    parts = {"reward_funcs": pay, "train_dataset": rows_of(data[: len(rows)]), "processing_class": texts.tokenizer}
    if held_out:
        parts["eval_dataset"] = rows_of(data[len(rows) :])
    edge = Edge(trainer, arguments, parts, {"kl": "objective/kl_token"}, pay.metrics, pay.held_out)
    model = open_policy(parent, settings, device)
    return (yield from train_by_trl(edge, model, settings, workspace, inputs=inputs, stage="rlhf"))
