"""Checkpoints by name from the Hugging Face Hub, where there is a network; nothing but weights and texts is fetched."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.events import Note, Progress, Work
from models.threads import in_thread
from models.words import _

PREFIX = "hub:"
PART = r"[A-Za-z0-9][\w.-]{0,95}"
NAME = re.compile(rf"^(?P<name>{PART}(/{PART})?)(@(?P<revision>[A-Za-z0-9][\w.-]{{0,95}}))?$", re.ASCII)
WANTED = ["*.safetensors", "*.json", "*.txt", "*.jinja", "*.model"]
SECONDS = 4.0
"""How long to wait for the Hub's first answer."""


def hub_name(text: str) -> str:
    """Return ``name`` or ``name@revision`` if ``text`` means the Hub: ``hub:NAME``, or ``owner/name``; else empty.

    A path that exists is never a name on the Hub: write ``hub:owner/name`` where a folder is called the same.

    Raises:
        UserError: If it begins with ``hub:`` and is not a name.
    """
    explicit = text.startswith(PREFIX)
    name = text.removeprefix(PREFIX)
    valid = NAME.match(name) is not None and ".." not in name and "--" not in name
    if explicit and not valid:
        raise UserError(
            "hub.name",
            _("{name!r} is not a name on the Hub.").format(name=name),
            _("Write hub:OWNER/NAME or hub:OWNER/NAME@REVISION."),
            name=name,
        )
    plain = valid and name.count("/") == 1 and not Path(text).exists()
    return name if explicit or plain else ""


def fetch(name: str) -> Work[Path]:
    """Return the local folder of a checkpoint on the Hub, downloading what is not there yet.

    Raises:
        UserError: If there is no network, no such checkpoint, or it has no safetensors weights.
    """
    match = NAME.match(name)
    assert match is not None
    repository, revision = match["name"], match["revision"]
    yield Progress(0, 0, _("asking the Hub"))
    import huggingface_hub

    offline = is_offline()
    info = None if offline else (yield from ask_hub("model", repository, revision))
    if info is None:
        return _kept(repository, revision, offline)
    _check(repository, info)
    yield Note(_("{name} is fetched from the Hub").format(name=repository))
    # The exact commit that was asked about, so that what was checked is what is fetched; nothing in subfolders.
    path = yield from in_thread(
        lambda: huggingface_hub.snapshot_download(repository, revision=info.sha, allow_patterns=WANTED, ignore_patterns=["*/*"]),
        _("downloading {name}").format(name=repository),
    )
    return Path(path)


def is_offline() -> bool:
    """Return whether the user has forbidden to ask the Hub."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE) or os.environ.get("HF_HUB_OFFLINE", "") in ("1", "true", "yes")


def ask_hub(kind: str, repository: str, revision: str | None) -> Work[Any]:
    """Return what the Hub knows of a ``model`` or ``dataset``; None if it cannot be reached in time.

    Raises:
        UserError: If it has none of that name, or refuses it.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    found: list[Any] = []
    failed: list[Exception] = []

    def ask() -> None:
        try:
            found.append(HfApi().repo_info(repository, revision=revision, repo_type=kind, timeout=SECONDS))
        except Exception as error:  # noqa: BLE001 - looked at below, in the caller's thread
            failed.append(error)

    thread = threading.Thread(target=ask, name="triptych-hub", daemon=True)
    thread.start()
    for _step in range(int(SECONDS * 10)):
        thread.join(0.1)
        if not thread.is_alive():
            break
        yield Progress(0, 0, _("asking the Hub"))
    if found:
        return found[0]
    error = failed[0] if failed else None
    if isinstance(error, RepositoryNotFoundError | RevisionNotFoundError):
        raise UserError(
            "hub.unknown",
            (
                _("There is no public checkpoint {name} on the Hub.")
                if kind == "model"
                else _("There is no public data set {name} on the Hub.")
            ).format(name=repository),
            _("Correct the name, or give a folder.") if kind == "model" else _("Correct the name, or give a file."),
            name=repository,
        ) from error
    if isinstance(error, HfHubHTTPError) and error.response is not None and error.response.status_code < 500:
        raise UserError(
            "hub.refused",
            _("The Hub does not give {name}: {reason}.").format(name=repository, reason=error.response.status_code),
            _("Ask for access on its page and log in, or give a folder."),
            name=repository,
        ) from error
    return None


def _kept(repository: str, revision: str | None, offline: bool) -> Path:
    """Return the folder of an earlier download; ``UserError`` if there is none."""
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(huggingface_hub.snapshot_download(repository, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, OSError, ValueError) as cause:
        why = _("HF_HUB_OFFLINE is set") if offline else _("there is no network")
        raise UserError(
            "hub.offline",
            _("{name} is not on this machine and cannot be fetched: {why}.").format(name=repository, why=why),
            _("Give a folder or a GGUF file."),
            name=repository,
        ) from cause


def _check(repository: str, info: Any) -> None:
    names = [item.rfilename for item in info.siblings or []]
    if not any(name.endswith(".safetensors") and "/" not in name for name in names):
        raise UserError(
            "hub.weights",
            _("{name} has no safetensors weights on the Hub.").format(name=repository),
            _("Choose another checkpoint, or download and convert it: triptych models convert PATH"),
            name=repository,
        )
