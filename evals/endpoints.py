"""A model that is only an OpenAI-compatible address: ``endpoint:URL#MODEL``, how it is written, and how it is asked.

The key comes from the environment (``OPENAI_API_KEY``, or the variable that ``api_key_env`` names) and goes nowhere but into the
request's header.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from evals.identity import TOKENIZER_FILES
from evals.options import EvalSettings
from evals.store import SCORER_REVISION
from models.errors import UserError
from models.events import Progress, Work
from models.records.checkpoints import CheckpointRef
from models.words import _

SCHEME = "endpoint:"
KEY = "OPENAI_API_KEY"
OPENAI = "api.openai.com"
CHAT, COMPLETIONS = "/chat/completions", "/completions"
NEEDED = ("requests", "aiohttp", "tenacity", "tqdm")
UNKNOWN = "not known: an endpoint does not say which weights answer"
ANSWERS: Mapping[str, Any] = {
    "tokenizer": "", "tokenizer_backend": "", "tokenized_requests": None, "max_length": 2048, "max_gen_toks": 256,
    "add_bos_token": False, "custom_prefix_token_id": None, "eos_string": None, "think_end_token": None, "revision": "main",
    "use_fast_tokenizer": True, "truncate": False,
}  # fmt: skip
"""Settings of lm-eval's classes that change answers, with what they are if nothing is said: part of each answer's key."""
KEY_NAME = "api_key_env"
"""The setting that names the environment variable with the key; the key itself is none."""
WAYS = ("num_concurrent", "timeout", "max_retries", "verify_certificate", "ca_cert_path", KEY_NAME)
"""Those that only say how the answer is fetched."""
VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
SECRETS = ("api_key", "auth_token", "header", "token", "key", "password")


@dataclass(frozen=True)
class EndpointIdentity:
    """What the answers of an endpoint depend on, as far as that can be known; ``weights`` says that they cannot."""

    endpoint: str
    model: str
    api: str
    tokenizer: str
    settings: str
    weights: str = UNKNOWN
    scorer: int = SCORER_REVISION


@dataclass
class Endpoint:
    """An endpoint as the grid holds it where a checkpoint would be open.

    Args:
        path: As it was written, ``endpoint:URL#MODEL``.
        url: The whole address of the requests.
        model: The name that the server knows.
        api: lm-eval's name of the class that asks it.
        given: Settings of that class.
        n_batch: Prompts in one request.
    """

    path: str
    url: str
    model: str
    api: str
    given: Mapping[str, Any]
    n_batch: int = 1

    @property
    def chat(self) -> bool:
        """Whether it takes messages and writes, but says no likelihoods."""
        return self.api.endswith("chat-completions")

    @property
    def near(self) -> str:
        """The folder beside which the items of a closed world are looked for: the tokenizer's."""
        folder = str(self.given.get("tokenizer") or "")
        return folder if Path(folder).is_dir() and folder else "/"

    @property
    def key_name(self) -> str:
        """The environment variable that holds the key."""
        return str(self.given.get(KEY_NAME) or KEY)

    @property
    def key(self) -> str:
        """The key, empty if there is none."""
        return os.environ.get(self.key_name, "")

    @property
    def timeout(self) -> int:
        """Seconds that an answer may take."""
        return int(self.given.get("timeout") or 300)

    def setting(self, name: str) -> Any:
        """Return a setting, or what it is if nothing was said."""
        return self.given.get(name, ANSWERS.get(name))

    def identity(self) -> EndpointIdentity:
        """Return what its answers depend on."""
        settings = {name: self.setting(name) for name in ANSWERS if name != "tokenizer"}
        text = json.dumps(settings, sort_keys=True)
        return EndpointIdentity(self.url, self.model, self.api, _tokenizer(str(self.given.get("tokenizer") or "")), text)


def _tokenizer(named: str) -> str:
    """Return the hash of a tokenizer's files, or the name of one that is not on this machine."""
    files = [Path(named) / name for name in (*TOKENIZER_FILES, "chat_template.jinja")] if named else []
    known = [path.read_bytes() for path in files if path.is_file()]
    return hashlib.sha256(b"\0".join(known)).hexdigest() if known else named


def is_endpoint(checkpoint: str) -> bool:
    """Return whether a checkpoint's path is the address of an endpoint."""
    return checkpoint.startswith(SCHEME)


def parts(checkpoint: str) -> tuple[str, str]:
    """Return the address and the model's name of ``endpoint:URL#MODEL``; a bare ``…/v1`` is completed.

    Raises:
        UserError: If it is written otherwise, or holds a secret.
    """
    found = re.fullmatch(r"(https?://[^\s#]+)#(\S.*)", checkpoint.removeprefix(SCHEME))
    if found is None:
        raise UserError(
            "endpoint.address",
            _("{text!r} is no endpoint.").format(text=checkpoint[:120]),
            _("Write it as {example}.").format(example="endpoint:http://localhost:8000/v1/completions#MODEL"),
        )
    url, model = found[1].rstrip("/"), found[2].strip()
    split = urlsplit(url)
    secret = "@" in split.netloc or any(re.search("key|token|secret|sig|pass", name, re.I) for name, _v in parse_qsl(split.query))
    if secret:
        raise _secret()
    if not split.path.endswith(COMPLETIONS):
        url = split._replace(path=split.path.rstrip("/") + COMPLETIONS).geturl()
    return url, model


def _secret() -> UserError:
    return UserError(
        "endpoint.secret",
        _("A key does not belong into the command line: it would be kept with the run."),
        _("Put it into the environment: export {name}=…").format(name=KEY),
    )


def reference(checkpoint: str) -> CheckpointRef:
    """Return an endpoint as a row of the library, named as its model."""
    _url, model = parts(checkpoint)
    return CheckpointRef(model, checkpoint, kind="endpoint")


def arguments(text: str) -> dict[str, Any]:
    """Return ``--model-args`` as a mapping.

    Raises:
        UserError: For a setting that is not known here, or holds a key.
    """
    from evals.driving import pairs

    try:
        found = pairs(text) if text.strip() else {}
    except ValueError as error:
        raise UserError(
            "endpoint.settings",
            _("--model-args {text!r} cannot be read.").format(text=text[:80]),
            _("Write it as {example}.").format(example="tokenizer=FOLDER,num_concurrent=8"),
        ) from error
    for name in found:
        if name in SECRETS:
            raise _secret()
        if name not in ANSWERS and name not in WAYS:
            raise UserError(
                "endpoint.settings",
                _("The setting {name} of --model-args is not known here.").format(name=name),
                _("Known are {names}.").format(names=", ".join(sorted([*ANSWERS, *WAYS]))),
            )
    if KEY_NAME in found and not VARIABLE.fullmatch(str(found[KEY_NAME])):
        raise _secret()  # perhaps the key itself
    return found


def open_endpoint(checkpoint: str, settings: EvalSettings) -> Work[Endpoint]:
    """Return an endpoint; nothing is asked of it yet.

    Raises:
        UserError: If it is not written as one, its settings are not known, or what asks it is not installed.
    """
    yield Progress(0, 0, checkpoint)
    url, model = parts(checkpoint)
    lacking = [name for name in NEEDED if find_spec(name) is None]
    if lacking:
        raise UserError(
            "endpoint.missing",
            _("Endpoints are asked with {names}, which is not installed.").format(names=", ".join(lacking)),
            _("Install it: pip install 'triptych[endpoints]'."),
        )
    kind = "chat-completions" if urlsplit(url).path.endswith(CHAT) else "completions"
    api = f"{'openai' if urlsplit(url).hostname == OPENAI else 'local'}-{kind}"
    return Endpoint(checkpoint, url, model, api, arguments(settings.model_args), settings.n_batch or 1)
