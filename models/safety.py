"""The gate for what strangers wrote: templates, tokenizers and pickled weights only ever run in a limited child."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.children import MB, Child, ChildFailure, Limits, answer, run_limited
from models.errors import UserError
from models.events import finish
from models.manifest import keep
from models.places import cache_folder
from models.words import _

TEMPLATE_SECONDS = 2.0
START_SECONDS = 5.0
"""What the first answer of a child may take in addition, for starting Python on a busy machine."""
TOKENIZER_SECONDS = 3.0
BYTES_PER_SECOND = 2 * MB
"""What reading a tokenizer.json may take in addition."""
ALLOWED = frozenset({
    "add_generation_prompt", "continue_final_message", "bos_token", "eos_token", "pad_token", "unk_token",
    "sep_token", "cls_token", "mask_token", "additional_special_tokens", "tools", "documents", "date_string",
    "enable_thinking", "custom_tools", "builtin_tools", "system_message", "reasoning_effort",
})  # fmt: skip
"""Values that a caller may pass to a chat template; ``tokenize`` and ``chat_template`` are not among them."""
SAMPLES = (
    "",
    " ",
    "Hello, world!\n\n\tif x == 1:  # 10,000.5",
    "Zażółć — naïve “quotes” … 你好，世界。",
    "\U0001f642\U0001f469\u200d\U0001f467 ｈａｌｆ ﬁ ①",
    "\x00\x7f\u202e",
    "a" * 2000,
    "1" * 300,
    " " * 300,
)
"""Texts of every kind that a first look at a tokenizer tries."""
_lock = threading.Lock()
_renderer: Child | None = None
_left: list[Child] = []


def render_template(template: str, messages: Sequence[Mapping[str, Any]], **allowed: Any) -> str:
    """Return the text that a chat template makes of messages, in a sandbox in a killable child (2 s, 4 MB).

    The child is kept warm, so a rendering takes about a millisecond after the first. Never falls back to another
    template.

    Args:
        template: Jinja text of the checkpoint.
        messages: ``{"role", "content"}`` mappings; the template cannot change them.
        **allowed: Values among ``ALLOWED``, such as ``add_generation_prompt=True, bos_token="<s>"``.

    Raises:
        UserError: If the template has an error, does what is not allowed, refuses the messages, or takes too long.
        TypeError: For a value that is not in ``ALLOWED``.
    """
    unknown = sorted(set(allowed) - ALLOWED)
    if unknown:
        raise TypeError(f"a chat template may not be given {', '.join(unknown)}")
    request = {"template": template, "messages": [dict(message) for message in messages], "values": allowed}
    with _lock:
        try:
            return _render(request)
        except ChildFailure as cause:
            close()
            if cause.reason != "crash":
                raise _template_failed(cause) from cause
        try:  # the warm child may have ended by itself; one that ends twice is the template's doing
            return _render(request)
        except ChildFailure as cause:
            close()
            raise _template_failed(cause) from cause


def _render(request: Mapping[str, Any]) -> str:
    global _renderer
    if _renderer is None or not _renderer.alive:
        close()
        _renderer = Child("render", Limits(3600, 512 * MB))
    _renderer.send(request)
    return str(finish(answer(_renderer, TEMPLATE_SECONDS + (0 if _renderer.warm else START_SECONDS))))


def _template_failed(cause: ChildFailure) -> UserError:
    reasons = {
        "time": _("it did not finish within {n:g} seconds").format(n=TEMPLATE_SECONDS),
        "memory": _("it used too much memory"),
        "crash": cause.details or _("it stopped unexpectedly"),
    }
    return UserError(
        "template.limits",
        _("The chat template was stopped: {reason}.").format(reason=reasons[cause.reason]),
        _("Correct the chat template."),
        reason=cause.reason,
    )


def close() -> None:
    """End the warm child, if there is one."""
    global _renderer
    if _renderer is not None:
        _renderer.close()
        _renderer = None


def _begin_anew() -> None:
    """Forget the warm child in a fork of this process: it answers the parent, and the threads that read it are not here."""
    global _lock, _renderer
    _lock = threading.Lock()
    if _renderer is not None:
        _renderer.leave()
        _left.append(_renderer)  # kept: to let go of its pipes would wait for the threads that read them
        _renderer = None


atexit.register(close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def try_tokenizer(folder: Path) -> None:
    """Try a tokenizer.json that was never seen before in a limited child; the verdict is kept by content.

    Raises:
        UserError: If it makes the tokenizers library panic, hang or use too much memory.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        return
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    place = cache_folder("tokenizers") / f"{digest}.json"
    verdict = _verdict(place)
    if verdict is None:
        verdict = _try(path)
        keep(place, {"verdict": verdict})
    if verdict:
        raise UserError(
            "tokenizer.rejected",
            _("{path} cannot be used: {reason}.").format(path=path, reason=verdict.rstrip(".")),
            _("Copy the tokenizer again from where the checkpoint came."),
            path=str(path),
        )


def _verdict(place: Path) -> str | None:
    try:
        verdict = json.loads(place.read_text(encoding="utf-8")).get("verdict")
    except (OSError, ValueError, AttributeError):
        return None
    return verdict if isinstance(verdict, str) else None


def _try(path: Path) -> str:
    """Return why the tokenizer cannot be used; empty if it can."""
    params = {"path": str(path.resolve()), "samples": list(SAMPLES)}
    seconds = TOKENIZER_SECONDS + path.stat().st_size / BYTES_PER_SECOND
    try:
        finish(run_limited("tokenizer", params, Limits(seconds, 2048 * MB)))
    except ChildFailure as failure:
        return {
            "time": _("it takes longer than {n:.0f} seconds on short texts").format(n=seconds),
            "memory": _("it uses too much memory"),
            "crash": failure.details,
        }[failure.reason]
    return ""
