"""Where metrics go besides the journal: TensorBoard's event files in the run folder, wandb, mlflow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

from models.errors import UserError
from models.events import Event, Metrics
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


class Reports:
    """All the reports of a step of a recipe, as a context; what is not finite goes to the journal alone."""

    def __init__(self, names: Sequence[str], folder: Path, title: str, settings: Mapping[str, Any]) -> None:
        self._open: list[Report] = []
        with ExitStack() as opened:  # what is open already is closed if the next one fails
            for name in names:
                self._open.append(self._opened(name, folder, title, settings))
                opened.callback(self._open[-1].close)
            self._closing = opened.pop_all()

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

    def write(self, event: Event) -> None:
        """Pass metrics on."""
        if not self._open or not isinstance(event, Metrics):
            return
        values = {name: float(value) for name, value in event.values.items() if math.isfinite(value)}
        for report in self._open:
            report.add(event.step, values)
