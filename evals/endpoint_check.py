"""What a form has to know of an endpoint before anything is asked of it: is it written rightly, and what can it not give?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from evals import endpoints, filed, needed, tasks
from evals.endpoints import CHAT, COMPLETIONS, KEY, KEY_NAME, OPENAI, SCHEME, VARIABLE
from models.errors import UserError
from models.records.endpoints import EndpointCheck, EndpointFields
from models.words import _

WRITES = "generate_until"


def check(fields: EndpointFields, names: Sequence[str]) -> EndpointCheck:
    """Return what the fields of an endpoint come to; nothing is asked of it, and no key is looked at, only whether it is there.

    Args:
        fields: As they were typed.
        names: The benchmarks that are chosen.
    """
    likely = tuple(name for name in names if asks_likelihoods(name))
    try:
        checkpoints, arguments = written(fields)
        endpoints.arguments(",".join(arguments))
    except UserError as error:
        return EndpointCheck(problem=str(error), likelihoods=likely)
    problem, note = _refused(fields, checkpoints[0], likely), _noted(fields, likely)
    return EndpointCheck(checkpoints, ",".join(arguments), problem, note, likely)


def written(fields: EndpointFields) -> tuple[tuple[str, ...], list[str]]:
    """Return the endpoints as a command line names them, one for each model, and the parts of ``--model-args``.

    Raises:
        UserError: If something is missing, or would be written down that is a secret.
    """
    models = [name.strip() for name in fields.models.split(",") if name.strip()]
    if not fields.url.strip() or not models:
        raise UserError("endpoint.fields", _("An endpoint needs its address and the name of the model."))
    url = fields.url.strip().rstrip("/")
    base = next((url.removesuffix(end) for end in (CHAT, COMPLETIONS) if url.endswith(end)), url)
    ours = [f"{SCHEME}{base}{CHAT if fields.chat else COMPLETIONS}#{name}" for name in models]
    for one in ours:
        endpoints.parts(one)
    if fields.key_name.strip() and not VARIABLE.fullmatch(fields.key_name.strip()):
        raise UserError(
            "endpoint.secret",
            _("This is no name of an environment variable."),
            _("Give the name, in capitals, of the variable that holds the key; the key itself is never written down."),
        )
    folder = fields.tokenizer.strip()
    if "," in folder or "=" in folder:
        raise UserError("endpoint.tokenizer", _("The path of the tokenizer must hold no comma and no equals sign."))
    given = [f"tokenizer={Path(folder).expanduser()}"] if folder else []
    given += [f"num_concurrent={fields.at_once}"] if fields.at_once > 1 else []
    return tuple(ours), given + ([f"{KEY_NAME}={fields.key_name.strip()}"] if fields.key_name.strip() else [])


def _refused(fields: EndpointFields, first: str, likely: Sequence[str]) -> str:
    """Return why it cannot be started as it is, empty if it can."""
    name, folder = fields.key_name.strip() or KEY, fields.tokenizer.strip()
    asked_for = bool(fields.key_name.strip()) or f"//{OPENAI}/" in first
    if asked_for and not os.environ.get(name):
        return _("{name} is not set where the job would run: export {name}=… there, and start Triptych again.").format(name=name)
    if folder and not Path(folder).expanduser().is_dir():
        return _("There is no folder {path}.").format(path=folder)
    if likely and fields.chat:
        said = _("{names} need log-likelihoods, which a chat endpoint does not give: choose completions, or take them out.")
        return said.format(names=_few(likely))
    return ""


def _noted(fields: EndpointFields, likely: Sequence[str]) -> str:
    """Return what is good to know."""
    name = fields.key_name.strip() or KEY
    key = (
        _("The key is taken from {name}.").format(name=name)
        if os.environ.get(name)
        else _("Without a key, as local servers take it ({name} is not set).").format(name=name)
    )
    if likely and not fields.tokenizer.strip():
        return key + " " + _("{names} need the folder of its tokenizer, unless the server tells it, as vLLM does.").format(
            names=_few(likely)
        )
    return key


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f", … ({len(names)})" if len(names) > 3 else "")


def asks_likelihoods(name: str) -> bool:
    """Return whether a benchmark asks how likely texts are; of one that is not known, or cannot be read, False.

    Task files are looked at, nothing is imported or run.
    """
    ours = tasks.benchmarks().get(name)
    if ours is not None:
        return ours.output_type != WRITES
    if "@" in name:
        family = filed.families().get(name.partition("@")[0])
        return family is not None and family.likelihoods
    paths = [Path(name).expanduser()] if name.endswith((".yaml", ".yml")) else list(needed.files_of(name))
    kinds = {str(needed.settings(path).get("output_type", WRITES)) for path in paths if path.is_file()}
    return bool(kinds - {WRITES})
