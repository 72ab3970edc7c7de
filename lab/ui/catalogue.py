"""What the engine knows to list: lineages, runs, jobs, devices, descriptions. Asked now and then, told by signals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from lab.job_commands import resumed
from lab.ui.engine import EngineClient, Handlers
from lab.ui.store import Store
from lab.ui.view import Failure
from models.records.checkpoints import Description, Lineage
from models.records.scores import Job

BUSY_MS = 1_000
IDLE_MS = 4_000
ALIVE = ("queued", "running")
LIST_EVERY = 5
"""The folders are looked through at every fifth look at the jobs."""


class Catalogue(QObject):
    """Keeps the rail, the inspector and the job list up to date."""

    lineages_changed = Signal(tuple)
    jobs_changed = Signal(tuple)
    job_ended = Signal(object)
    """A ``Job`` that was alive when last looked at and no longer is."""
    devices_changed = Signal(tuple)
    described = Signal(object)
    describe_failed = Signal(str, object)
    failed = Signal(object)

    def __init__(self, client: EngineClient, store: Store, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._client = client
        self._store = store
        self.lineages: tuple[Lineage, ...] = ()
        self.jobs: tuple[Job, ...] = ()
        self.devices: tuple[dict[str, Any], ...] = ()
        self._rounds = 0
        self._last_failure = ""
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._on_timer)
        client.state_changed.connect(self._on_engine_state)

    def refresh(self) -> None:
        """Ask for the lineages and jobs now."""
        folders = tuple(self._store.settings.folders)
        self._client.ask("list", {"folders": folders}, Handlers(self._on_lineages, self._on_failed), key="catalogue/list")
        self.refresh_jobs()

    def refresh_jobs(self) -> None:
        """Ask for the jobs now."""
        folders = tuple(self._store.settings.folders)
        self._client.ask("jobs", {"folders": folders}, Handlers(self._on_jobs, self._on_jobs_failed), key="catalogue/jobs")

    def describe(self, path: str) -> None:
        """Ask what a checkpoint is."""
        self._client.ask("describe", {"path": path}, _Describing(self, path).handlers(), key="catalogue/describe")

    def name_of(self, path: str) -> str:
        """Return what a checkpoint is called in its lineage, empty if it is in none."""
        refs = (ref for lineage in self.lineages for ref in lineage.checkpoints)
        return next((ref.name for ref in refs if ref.path == path), "")

    def device_names(self) -> tuple[str, ...]:
        """Return the names of the devices that the engine has."""
        return tuple(str(device.get("name") or device.get("device") or "cpu") for device in self.devices)

    def start_job(self, argv: tuple[str, ...], title: str) -> None:
        """Start a job; it outlives the window."""
        self._client.ask("start_job", {"argv": argv, "title": title}, Handlers(self._on_job_changed, self.failed.emit))

    def stop_job(self, job_id: str) -> None:
        """Ask a job to stop; what it has done is kept."""
        self._client.ask("stop_job", {"id": job_id}, Handlers(self._on_job_changed, self.failed.emit))

    def resume_job(self, job: Job) -> None:
        """Start a job again where it stopped, in its own folder."""
        argv = resumed(job)
        if argv:
            asked = {"argv": argv, "title": job.title}
            self._client.ask("start_job", asked, Handlers(self._on_job_changed, self.failed.emit))

    @Slot(str)
    def _on_engine_state(self, state: str) -> None:
        if state == "starting":
            self.refresh()
        elif state == "ready":
            hello = self._client.hello
            self._take_devices(hello.get("devices"))
            self._client.ask("devices", {}, Handlers(self._take_devices), key="catalogue/devices")
        else:
            self._timer.stop()

    def _take_devices(self, devices: Any) -> None:
        if isinstance(devices, tuple | list) and devices:
            self.devices = tuple(item if isinstance(item, dict) else {"name": str(item)} for item in devices)
            self.devices_changed.emit(self.devices)

    def _on_lineages(self, lineages: tuple[Lineage, ...]) -> None:
        if lineages != self.lineages or not lineages:
            self.lineages = lineages
            self.lineages_changed.emit(lineages)

    def _on_jobs(self, jobs: tuple[Job, ...]) -> None:
        was_alive = {job.id for job in self.jobs if job.state in ALIVE}
        for job in jobs:
            if job.id in was_alive and job.state not in ALIVE:
                self.job_ended.emit(job)
        if jobs != self.jobs:
            self.jobs = jobs
            self.jobs_changed.emit(jobs)
        alive = any(job.state in ALIVE for job in jobs)
        self._timer.start(BUSY_MS if alive else IDLE_MS)

    def _on_jobs_failed(self, failure: Failure) -> None:
        self._on_failed(failure)
        self._timer.start(IDLE_MS)

    def _on_failed(self, failure: Failure) -> None:
        """Tell a failure once, though it comes again every few seconds."""
        if failure.kind != "cancelled" and failure.what != self._last_failure:
            self._last_failure = failure.what
            self.failed.emit(failure)

    def _on_job_changed(self, _job: object) -> None:
        self.refresh_jobs()

    @Slot()
    def _on_timer(self) -> None:
        if self._client.state != "ready":
            return
        self._rounds += 1
        if self._rounds % LIST_EVERY:
            self.refresh_jobs()
        else:
            self.refresh()
            self._client.ask("devices", {}, Handlers(self._take_devices), key="catalogue/devices")


@dataclass(frozen=True)
class _Describing:
    """Listens to one description."""

    catalogue: Catalogue
    path: str

    def handlers(self) -> Handlers:
        return Handlers(reply=self.on_reply, failure=self.on_failure)

    def on_reply(self, description: Description) -> None:
        self.catalogue.described.emit(description)

    def on_failure(self, failure: Failure) -> None:
        self.catalogue.describe_failed.emit(self.path, failure)
