"""What a stage of training is: a name, a settings dataclass and a generator of events."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.events import Work
from models.hub import PREFIX
from models.hub_data import kept_file
from models.training.parallel import ALONE, World
from models.words import _

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
SCHEDULES = ("cosine", "linear", "constant", "wsd")
DTYPES = ("fp16", "bf16", "fp32")
OPTIMIZERS = ("adamw", "muon")
SHARDINGS = ("auto", "none", "full")
REPORTS = ("tensorboard", "wandb", "mlflow")


@dataclass(frozen=True)
class Workspace:
    """Where a stage reads and writes; turns the names used in a recipe into paths.

    Args:
        output: Folder of the whole chain.
        folder: Run folder of this stage, inside ``output``.
        recipe_folder: Folder of the recipe, for paths that no earlier step made.
        made: Names of the steps (and ``world``) whose files lie in ``output``.
        resume: Continue from the newest complete state instead of starting again.
        recipe: Name of the recipe, for the manifest.
        world: The processes that train together.
        measure: Take so many steps to plan with instead of training; ``None`` trains.
    """

    output: Path
    folder: Path
    recipe_folder: Path
    made: frozenset[str] = frozenset()
    resume: bool = False
    recipe: str = ""
    world: World = ALONE
    measure: int | None = None

    def path(self, name: str) -> Path:
        """Return the file that a recipe calls ``name``; raises ``UserError`` if it is not there.

        What is named ``hub:OWNER/NAME`` was fetched before the stage began (``models/hub_data.py``).
        """
        if name.startswith(PREFIX) and kept_file(name).is_file():
            return kept_file(name)
        first = Path(name).parts[0] if Path(name).parts else ""
        path = Path(name) if Path(name).is_absolute() else self._base(first) / name
        if not path.is_file():
            raise UserError(
                "training.data_missing",
                _("There is no file {name!r}.").format(name=name),
                _("Correct its path in the recipe."),
                path=str(path),
            )
        return path

    def checkpoint(self, name: str) -> Path:
        """Return the checkpoint folder of step ``name``, or of the folder so called; ``UserError`` if there is none."""
        if name in self.made:
            path = self.output / name / "checkpoint"
        elif Path(name).parts[:1] and Path(name).parts[0] in self.made:
            path = self.output / name
        else:
            path = Path(name) if Path(name).is_absolute() else self.recipe_folder / name
        if not self._is_checkpoint(path):
            known = ", ".join(sorted(self.made - {"world"})) or "none"
            raise UserError(
                "training.checkpoint_missing",
                _("There is no checkpoint {name!r}.").format(name=name),
                _("Name an earlier step ({known}), a Hugging Face folder, a PEFT adapter or a GGUF file.").format(known=known),
                path=str(path),
            )
        return path

    def made_here(self, name: str) -> bool:
        """Return whether an earlier step of this chain made what is so called."""
        return bool(Path(name).parts[:1]) and Path(name).parts[0] in self.made

    @staticmethod
    def _is_checkpoint(path: Path) -> bool:
        if (path / "tokenizer.json").is_file():
            return True
        from models.library import what_is

        return what_is(path) in ("folder", "adapter", "gguf")

    def _base(self, first: str) -> Path:
        return self.output if first in self.made else self.recipe_folder


@dataclass(frozen=True)
class Stage:
    """One kind of training step.

    Args:
        name: Word used in recipes (``stage: NAME``).
        title: Short English title, shown in the window.
        settings: Frozen dataclass of its settings, every field with a default.
        run: Does the work; yields events, returns the final metrics (written to ``done.json``).
        lineage_stage: What its checkpoint is called in a lineage; empty if it makes none.
        parent_field: The setting that names the checkpoint it starts from.
        parallel: Whether several processes can share its steps; otherwise the first one does it alone.
    """

    name: str
    title: str
    settings: type[Any]
    run: Callable[[Any, Workspace], Work[Mapping[str, Any]]]
    lineage_stage: str = ""
    parent_field: str = "parent"
    parallel: bool = False


def help_text(text: str) -> dict[str, str]:
    """Return dataclass field metadata with one line of help."""
    return {"help": text}


@dataclass(frozen=True)
class TrainSettings:
    """What every training stage can be told; a stage's settings inherit from it."""

    seed: int = field(default=0, metadata=help_text("Seed of every random choice."))
    steps: int = field(default=0, metadata=help_text("Optimizer steps; 0 computes them from epochs."))
    epochs: float = field(default=1.0, metadata=help_text("Passes over the data, when steps is 0."))
    batch_size: int = field(default=8, metadata=help_text("Rows (or pairs) of one micro-batch."))
    block: int = field(default=128, metadata=help_text("Tokens of a packed row; longer texts are cut."))
    accumulate: int = field(default=1, metadata=help_text("Micro-batches per optimizer step."))
    lr: float = field(default=3e-4, metadata=help_text("Highest learning rate."))
    optimizer: str = field(default="adamw", metadata=help_text("adamw, or muon (matrices orthogonalised, the rest AdamW)."))
    schedule: str = field(default="cosine", metadata=help_text("After warm-up: cosine, linear, constant or wsd (stable, decay)."))
    decay: float = field(default=0.2, metadata=help_text("Share of the steps in which wsd goes down."))
    min_lr: float = field(default=0.1, metadata=help_text("Last learning rate as a share of the highest."))
    warmup: int = field(default=20, metadata=help_text("Steps of linear warm-up."))
    weight_decay: float = field(default=0.0, metadata=help_text("AdamW weight decay of matrices."))
    beta1: float = field(default=0.9, metadata=help_text("AdamW first moment decay."))
    beta2: float = field(default=0.95, metadata=help_text("AdamW second moment decay."))
    adam_eps: float = field(default=1e-8, metadata=help_text("AdamW epsilon."))
    clip: float = field(default=1.0, metadata=help_text("Largest global gradient norm; 0 does not clip."))
    precision: str = field(default="auto", metadata=help_text("auto, fp32, bf16 or fp16 (autocast)."))
    device: str = field(default="auto", metadata=help_text("auto, cpu, cuda or cuda:N."))
    dtype: str = field(default="fp16", metadata=help_text("Of the saved weights: fp16, bf16 or fp32."))
    save_every: int = field(default=0, metadata=help_text("Steps between states to resume from; 0 only when stopped."))
    keep: int = field(default=2, metadata=help_text("Newest states kept."))
    snapshot_every: int = field(default=0, metadata=help_text("Steps between kept copies of the model; 0 keeps none."))
    eval_every: int = field(default=0, metadata=help_text("Steps between evaluations on dev; 0 only at the end."))
    log_every: int = field(default=1, metadata=help_text("Steps between reported metrics."))
    threads: int = field(default=0, metadata=help_text("CPU threads; 0 leaves torch's choice."))
    checkpointing: bool = field(default=False, metadata=help_text("Recompute activations: less memory, about a third slower."))
    best: str = field(default="", metadata=help_text("Publish the weights best by this held-out metric, such as eval_loss."))
    patience: int = field(default=0, metadata=help_text("Stop after so many evaluations without a better one; 0 never."))
    disk_full: str = field(default="pause", metadata=help_text("When the disk is full: pause until there is room, or stop."))
    bad_rows: str = field(default="stop", metadata=help_text("On a row of the data that cannot be used: stop or skip."))
    report_to: tuple[str, ...] = field(
        default=(), metadata=help_text("Where metrics also go: tensorboard (event files in the run folder), wandb, mlflow.")
    )
    sample_prompts: tuple[str, ...] = field(default=(), metadata=help_text("Prompts answered as it trains, to see them change."))
    sample_every: int = field(default=0, metadata=help_text("Steps between those answers; 0 answers at the start and the end."))
    sample_tokens: int = field(default=32, metadata=help_text("Longest of those answers; the likeliest token is taken."))
    sharding: str = field(
        default="auto",
        metadata=help_text("Several processes: full divides the model (FSDP), none repeats it (DDP), auto as accelerate says."),
    )
    nan: str = field(default="stop", metadata=help_text("On a loss or gradient that is not finite: stop or skip."))

    def __post_init__(self) -> None:
        """Raise ``UserError`` for a value that cannot work."""
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("dtype", self.dtype, DTYPES)
        check_choice("schedule", self.schedule, SCHEDULES)
        check_choice("disk_full", self.disk_full, ("pause", "stop"))
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_choice("nan", self.nan, ("stop", "skip"))
        check_choice("sharding", self.sharding, SHARDINGS)
        check_choice("bad_rows", self.bad_rows, ("stop", "skip"))
        for name in self.report_to:
            check_choice("report_to", name, REPORTS)
        for name in (
            "seed",
            "steps",
            "warmup",
            "save_every",
            "snapshot_every",
            "eval_every",
            "sample_every",
            "threads",
            "epochs",
            "clip",
            "weight_decay",
            "patience",
            "decay",
        ):
            check_at_least(name, getattr(self, name), 0)
        check_at_least("block", self.block, 8)
        for name in ("batch_size", "accumulate", "log_every", "keep", "sample_tokens"):
            check_at_least(name, getattr(self, name), 1)
        if not self.lr > 0:
            raise UserError(
                "training.setting", _("lr is {lr}.").format(lr=self.lr), _("It must be greater than 0."), setting="lr"
            )
        if (self.best or self.patience) and not getattr(self, "dev", ""):
            raise UserError(
                "training.setting",
                _("best and patience need held-out data."),
                _("Name a file as dev, and set eval_every."),
                setting="best" if self.best else "patience",
            )


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise ``UserError`` if a setting is none of its choices."""
    if value not in choices:
        raise UserError(
            "training.setting",
            _("{name} is {value!r}.").format(name=name, value=value),
            _("It must be one of: {names}.").format(names=", ".join(choices)),
            setting=name,
        )


def check_at_least(name: str, value: float, least: float) -> None:
    """Raise ``UserError`` if a setting is too small."""
    if not value >= least:
        raise UserError(
            "training.setting",
            _("{name} is {value}.").format(name=name, value=value),
            _("It must be at least {least}.").format(least=least),
            setting=name,
        )


def as_settings(settings: Any) -> dict[str, Any]:
    """Return a settings dataclass as a plain mapping that JSON can hold, nested ones included."""

    def plain(value: Any) -> Any:
        if hasattr(value, "__dataclass_fields__"):
            return as_settings(value)
        return [plain(item) for item in value] if isinstance(value, list | tuple) else value

    return {item.name: plain(getattr(settings, item.name)) for item in fields(settings)}


def same_settings(before: Mapping[str, Any], now: Any) -> bool:
    """Return whether settings noted as JSON are those of a dataclass; one that did not exist then has its usual value."""
    usual = json.loads(json.dumps(as_settings(type(now)())))
    return bool(_over(usual, before) == json.loads(json.dumps(as_settings(now))))


def _over(usual: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    both = {name: _over(usual[name], value) for name, value in given.items() if isinstance(value, dict) and name in usual}
    return {**usual, **given, **both}
