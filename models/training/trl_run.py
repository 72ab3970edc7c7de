"""A trainer of TRL as work of ours: events while it runs, a STOP file that ends it, a checkpoint with its manifest."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from models.errors import UserError
from models.events import Event, Metrics, Note, Progress, Saved, Work
from models.lean import lean_adapters
from models.memory import is_out_of_memory
from models.threads import in_thread
from models.training.checkpoints import clean_states, newest_state
from models.training.identity import fingerprint
from models.training.loop import STOP
from models.training.methods import MethodSettings, adapter_config, seeded_adapter
from models.training.parallel import launched
from models.training.parents import Parent
from models.training.room import no_space, not_halved, patiently
from models.training.running import STOPPED, Inputs, describe_run, write_checkpoint
from models.training.stage import TrainSettings, Workspace
from models.training.trl_state import STATES, ours
from models.words import _

NAMES = {
    "loss": "loss",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
    "entropy": "objective/entropy",
    "reward": "objective/paid",
    "reward_std": "objective/paid_std",
    "frac_reward_zero_std": "objective/groups_alike",
    "completions/mean_length": "val/length",
    "clip_ratio/region_mean": "policy/clipfrac_avg",
    "rewards/chosen": "rewards/chosen",
    "rewards/rejected": "rewards/rejected",
    "rewards/margins": "rewards/margins",
    "logps/chosen": "logps/chosen",
    "logps/rejected": "logps/rejected",
}
"""What TRL calls a metric, and what the journal calls it; the others of TRL's are left out."""
ENDED = "completions/clipped_ratio"
HELD_OUT = "eval_"


@dataclass(frozen=True)
class Edge:
    """What a stage hands over to a trainer of TRL.

    Args:
        trainer: The trainer's name in ``trl``; its settings class is the same with Config instead of Trainer.
        arguments: Further arguments of that settings class.
        parts: Further arguments of the trainer: data, tokenizer, what pays.
        names: Further metrics of TRL with their names in the journal.
        more: Gives metrics that were gathered beside the trainer since it was last asked.
        held_out: The same of an evaluation.
    """

    trainer: str
    arguments: Mapping[str, Any]
    parts: Mapping[str, Any]
    names: Mapping[str, str] = field(default_factory=dict)
    more: Callable[[], Mapping[str, float]] = dict
    held_out: Callable[[], Mapping[str, float]] = dict


def check_edge(settings: MethodSettings) -> None:
    """Raise ``UserError`` for settings that TRL's trainers do not share with our loop."""
    refused = (
        ("method", settings.method in ("qlora", "adalora"), _("full, lora, dora or rslora")),
        ("precision", settings.precision == "fp16", _("auto, fp32 or bf16")),
        ("snapshot_every", settings.snapshot_every > 0, "0"),
        ("nan", settings.nan != "stop", "stop"),
        ("best", bool(settings.best), '""'),
        ("patience", settings.patience > 0, "0"),
        ("sharding", settings.sharding == "full", "none"),
        ("sample_prompts", bool(settings.sample_prompts), "[]"),
    )
    for name, wrong, instead in refused:
        if wrong:
            raise UserError(
                "training.setting",
                _("{name} is {value!r}, which this stage cannot do.").format(name=name, value=getattr(settings, name)),
                _("Use {instead}.").format(instead=instead),
                setting=name,
            )


def need_trl(workspace: Workspace) -> Any:
    """Return the package ``trl``.

    Raises:
        UserError: If it is not installed, or if there is more than one process.
    """
    if workspace.measure is None and launched()[1] > 1:
        raise UserError(
            "training.parallel",
            _("The stages of TRL train in one process here."),
            _("Start this recipe without a launcher; finished steps are kept with --resume."),
        )
    try:
        import trl
    except ImportError as cause:
        raise UserError(
            "training.trl",
            _("This stage needs the package trl, which is not installed."),
            _("Install it: pip install 'triptych[trl]'"),
        ) from cause
    return trl


def open_policy(parent: Parent, settings: MethodSettings, device: str) -> Any:
    """Return the model to train: whole, or with an adapter as PEFT wraps it, which is how TRL knows one."""
    from models.adapters import read_adapter
    from models.training.llama import open_causal, place, without_dropout

    if settings.method == "full":
        return without_dropout(parent.open(device))
    from peft import PeftModel, get_peft_model

    model = open_causal(parent.folder)
    if parent.adapter is not None:
        if read_adapter(parent.adapter).kind == "ADALORA":
            raise UserError(
                "training.adapter",
                _("{path} is an AdaLoRA adapter, whose ranks TRL's trainers would not keep.").format(path=parent.adapter),
                _("Merge it first: triptych models merge {path}").format(path=parent.adapter),
                path=str(parent.adapter),
            )
        return place(PeftModel.from_pretrained(model, str(parent.adapter), is_trainable=True), device)
    with lean_adapters(), seeded_adapter(model, settings):
        return place(get_peft_model(model, adapter_config(settings)), device)


def train_by_trl(
    edge: Edge, model: Any, settings: MethodSettings, workspace: Workspace, *, inputs: Inputs, stage: str
) -> Work[Mapping[str, Any]]:
    """Run a trainer of TRL over a model and write ``checkpoint/``; returns the final metrics.

    It resumes from its newest state: weights, optimizer, schedule and random generators are put back, but answers that were
    sampled and not used up are sampled anew, so the course is not bit-identical to an uninterrupted one.
    """
    started, folder = time.time(), workspace.folder
    if workspace.measure is not None:
        from models.training.trl_plan import measured_by_trl

        trainer, _watcher = make_trainer(edge, model, settings, folder, "")
        judge = getattr(edge.parts.get("reward_funcs"), "reward_model", None)
        return {"plan": (yield from measured_by_trl(trainer, settings, judge, workspace.measure))}
    (folder / STOP).unlink(missing_ok=True)
    clean_states(folder / STATES, settings.keep if workspace.resume else 0)
    state = newest_state(folder / STATES) if workspace.resume else None
    trainer, watcher = make_trainer(edge, model, settings, folder, fingerprint(settings, inputs.all()))
    yield Note(_("{stage}: by TRL's {trainer}").format(stage=workspace.folder.name, trainer=edge.trainer))
    if state is not None:
        yield Note(_("resumed from {state}; answers are sampled anew, so the course differs a little").format(state=state.name))

    def train() -> None:
        import torch

        if settings.threads:
            torch.set_num_threads(settings.threads)
        trainer.train(resume_from_checkpoint=None if state is None else str(state))
        evaluated = settings.eval_every and trainer.state.global_step % settings.eval_every == 0
        if trainer.eval_dataset is not None and not watcher.stopped and not evaluated:
            trainer.evaluate()

    yield from _watched(train, watcher, folder)
    steps = trainer.state.global_step
    if watcher.stopped:
        return STOPPED
    metrics: dict[str, Any] = {**watcher.last, "steps": steps, "seconds": round(time.time() - started, 1)}
    manifest = describe_run(stage, settings, workspace, inputs, metrics)
    yield Progress(steps, steps, _("saving"))
    written = trainer.model if settings.method == "full" else trainer.model.get_base_model()
    yield from patiently(
        lambda: write_checkpoint(written, settings, inputs, folder / "checkpoint", manifest),
        folder,
        _("the checkpoint"),
        wait=settings.disk_full == "pause",
    )
    yield Saved("checkpoint", steps)
    return metrics


def _watched(train: Callable[[], None], watcher: Any, folder: Path) -> Iterator[Event]:
    """Run the trainer beside us and pass on what its watcher heard; closing ends it after the step that it does."""
    work = in_thread(train, "", lambda: Progress(watcher.step, watcher.total), watcher.stop)
    try:
        for event in work:
            yield from watcher.heard()
            yield event
    except (RuntimeError, MemoryError, UserError) as error:
        yield from watcher.heard()
        if is_out_of_memory(error):
            raise not_halved(watcher.step + 1) from error
        raise
    except OSError as error:
        raise no_space(_("The state of step {step} of {name}").format(step=watcher.step, name=folder.name), error) from error
    finally:
        work.close()
    yield from watcher.heard()


def make_trainer(edge: Edge, model: Any, settings: TrainSettings, folder: Path, identity: str) -> tuple[Any, Any]:
    """Return the trainer and the callback that watches it."""
    import trl
    from transformers.trainer_callback import PrinterCallback, TrainerCallback

    name = edge.trainer
    config = getattr(trl, name.removesuffix("Trainer") + "Config")
    held_out = evaluation_arguments(settings) if edge.parts.get("eval_dataset") is not None else {}
    arguments = config(**{**common_arguments(settings, folder), **held_out, **edge.arguments})
    if arguments.device.type == "cuda":
        arguments._n_gpu = 1  # else the Trainer splits batches over every card that it sees
    trainer = ours(getattr(trl, name), settings, folder, identity)(model=model, args=arguments, **edge.parts)
    if getattr(trainer, "ref_model", None) is not None:
        trainer.ref_model.load_state_dict(model.state_dict())  # also where the base was merged with an adapter
    trainer.remove_callback(PrinterCallback)
    watcher = type("Watching", (Watcher, TrainerCallback), {})(settings, folder, edge)
    trainer.add_callback(watcher)
    return trainer, watcher


def common_arguments(settings: TrainSettings, folder: Path) -> dict[str, Any]:
    """Return what all trainers are told: nothing is written, printed or reported by themselves."""
    from models.training.llama import pick_device, uses_bf16

    device = pick_device(settings.device)
    return {
        "output_dir": str(folder / "trl"),
        "use_cpu": device == "cpu",
        "bf16": uses_bf16(settings.precision, device),
        "seed": settings.seed,
        "learning_rate": settings.lr,
        "max_steps": settings.steps or -1,
        "num_train_epochs": settings.epochs,
        "per_device_train_batch_size": settings.batch_size,
        "gradient_accumulation_steps": settings.accumulate,
        "max_grad_norm": settings.clip,
        "gradient_checkpointing": settings.checkpointing,
        "logging_steps": settings.log_every,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps" if settings.save_every else "no",
        "save_steps": settings.save_every or 500,
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": device != "cpu",
    }


def evaluation_arguments(settings: TrainSettings) -> dict[str, Any]:
    """Return what a trainer is told of when to evaluate; at the end it is asked to."""
    return {
        "eval_strategy": "steps" if settings.eval_every else "no",
        "eval_steps": settings.eval_every or None,
        "per_device_eval_batch_size": settings.batch_size,
    }


class Watcher:
    """Hears what a trainer logs and tells it when to end; used from two threads, joined with TRL's callback class on use."""

    def __init__(self, settings: TrainSettings, folder: Path, edge: Edge) -> None:
        self.settings, self.folder, self.edge = settings, folder, edge
        self.names = {**NAMES, **edge.names}
        self.step, self.total = 0, 0
        self.stopped = False
        self.last: dict[str, float] = {}
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._asked = False

    def stop(self) -> None:
        """Ask the trainer to end after this step."""
        self._asked = True

    def heard(self) -> Iterator[Event]:
        """Yield the events since the last time."""
        while True:
            try:
                yield self._events.get_nowait()
            except Empty:
                return

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Learn how many steps there are."""
        self.step, self.total = state.global_step, state.max_steps

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """End after this step if there is a STOP file, or if we were closed; the state is saved."""
        self.step = state.global_step
        if (self._asked or (self.folder / STOP).exists()) and self.step < self.total:
            self.stopped = control.should_save = control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Say where the state is."""
        self._events.put(Saved(f"{STATES}/step-{state.global_step}", state.global_step))

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **more: Any) -> None:
        """Pass metrics on by their names in the journal; a loss that is not finite ends the run."""
        values = translated(logs or {}, self.names)
        if not values:
            return
        if "loss" in values:
            values.update(self.edge.more())
        else:
            values.update({f"{HELD_OUT}{name}": value for name, value in self.edge.held_out().items()})
        self.last = {**self.last, **values}
        self._events.put(Metrics(state.global_step, values))
        if not all(math.isfinite(values.get(name, 0.0)) for name in ("loss", "grad_norm")):
            raise UserError(
                "training.nan",
                _("At step {step} the loss is {loss} and the gradient norm {norm}.").format(
                    step=state.global_step, loss=values.get("loss"), norm=values.get("grad_norm")
                ),
                _("Lower lr or clip; the last saved state is intact."),
                step=state.global_step,
            )


def translated(logs: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, float]:
    """Return TRL's metrics by the journal's names, of a step or of an evaluation; empty for the summary that is logged last."""
    before = "" if "loss" in logs else HELD_OUT
    if f"{before}loss" not in logs:
        return {}
    given = {name.removeprefix(before): value for name, value in logs.items() if name.startswith(before) and value is not None}
    values = {f"{before}{names[name]}": float(value) for name, value in given.items() if name in names}
    if ENDED in given:
        values[f"{before}val/eos_rate"] = 1.0 - float(given[ENDED])
    return values


def rows_of(values: Sequence[Mapping[str, Any]]) -> Any:
    """Return rows as a data set of ``datasets``, in memory."""
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    return Dataset.from_list([dict(value) for value in values])
