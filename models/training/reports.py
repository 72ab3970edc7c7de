"""Where metrics go besides the journal: TensorBoard's event files in the run folder, wandb, mlflow."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from textwrap import shorten
from typing import Any, Protocol

from models.errors import UserError
from models.events import Event, Metrics, Note
from models.words import _

PROJECT, FOLDER = "triptych", "tensorboard"


class Report(Protocol):
    """Something that is told the metrics of each step."""

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Take the metrics of a step."""

    def close(self) -> None:
        """End the report."""


class _Wandb:
    def __init__(self, folder: Path, name: str, settings: Mapping[str, Any]) -> None:
        wandb = _package("wandb")
        self._run = wandb.init(project=PROJECT, name=name, dir=str(folder), config=dict(settings), reinit="create_new")

    def add(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log({**values, "step": step})

    def close(self) -> None:
        self._run.finish()


class _Mlflow:
    def __init__(self, folder: Path, name: str, settings: Mapping[str, Any]) -> None:
        mlflow = _package("mlflow")
        mlflow.set_experiment(PROJECT)
        self._end = mlflow.end_run
        self._client, self._run = mlflow.tracking.MlflowClient(), mlflow.start_run(run_name=name, nested=True)
        for key, value in settings.items():
            self._client.log_param(self._run.info.run_id, key, str(value)[:500])

    def add(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._client.log_metric(self._run.info.run_id, name.replace(":", "."), value, step=step)

    def close(self) -> None:
        self._end()  # not the client's set_terminated: the run would stay mlflow's active one, and the next step's its child


def _package(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as cause:
        raise UserError(
            "training.report",
            _("report_to names {name}, which is not installed.").format(name=name),
            _("Install it: pip install {name}, or leave it out of report_to.").format(name=name),
            setting="report_to",
        ) from cause


def _errors(name: str) -> tuple[type[BaseException], ...]:
    """Return what a package raises when its server is away, its settings are wrong or a part of it is missing.

    Our own event files are no package: a disk that is full is the training's affair.
    """
    if name == "tensorboard":
        return ()
    module = sys.modules.get(name)
    own = getattr(module, "Error", None), getattr(getattr(module, "exceptions", None), "MlflowException", None)
    return (OSError, ImportError, *(kind for kind in own if isinstance(kind, type)))


def _reason(error: BaseException) -> str:
    return shorten(" ".join(str(error).split()) or type(error).__name__, 300, placeholder=" …").rstrip(".")


class Reports:
    """All the reports of a step of a recipe, as a context; what is not finite goes to the journal alone.

    Raises:
        UserError: If a report cannot begin. One that fails later is given up, and the training goes on.
    """

    def __init__(self, names: Sequence[str], folder: Path, title: str, settings: Mapping[str, Any]) -> None:
        self._open: dict[str, Report] = {}
        with ExitStack() as opened:  # what is open already is closed if the next one fails
            for name in names:
                self._open[name] = self._begun(name, folder, title, settings)
                opened.callback(self._close, name, self._open[name])
            self._closing = opened.pop_all()

    def _begun(self, name: str, folder: Path, title: str, settings: Mapping[str, Any]) -> Report:
        try:
            return self._opened(name, folder, title, settings)
        except _errors(name) as cause:
            raise UserError(
                "training.report_failed",
                _("{name} could not begin its report: {reason}.").format(name=name, reason=_reason(cause)),
                _("Set {name} up, or leave it out of report_to.").format(name=name),
                setting="report_to",
            ) from cause

    @staticmethod
    def _close(name: str, report: Report) -> None:
        with suppress(*_errors(name)):  # the training itself is done and saved
            report.close()

    @staticmethod
    def _opened(name: str, folder: Path, title: str, settings: Mapping[str, Any]) -> Report:
        if name == "tensorboard":
            from models.training.event_files import EventFile

            return EventFile(folder / FOLDER)
        return (_Wandb if name == "wandb" else _Mlflow)(folder, title, settings)

    def __enter__(self) -> Reports:
        return self

    def __exit__(self, *_error: object) -> None:
        self._closing.close()

    def write(self, event: Event) -> list[Note]:
        """Pass metrics on; return what is to be said of reports that were given up."""
        if not self._open or not isinstance(event, Metrics):
            return []
        values = {name: float(value) for name, value in event.values.items() if math.isfinite(value)}
        said = []
        for name, report in list(self._open.items()):
            try:
                report.add(event.step, values)
            except _errors(name) as error:
                del self._open[name]
                text = _("{name} takes no more metrics ({reason}); the journal has all of them, and the training goes on.")
                said.append(Note(text.format(name=name, reason=_reason(error)), "warning"))
        return said
