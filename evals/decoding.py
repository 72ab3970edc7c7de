"""lm-eval's generation settings in our terms: what a generated answer depends on besides prompt and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from models.errors import UserError
from models.words import _

EXTRA = ("repetition_penalty", "min_p", "typical_p")
"""Generation settings of transformers that become stages of a chain, in its order."""
IGNORED = frozenset({"do_sample", "until", "temperature", "top_k", "top_p", "use_cache", "num_beams", *EXTRA})
LIMITS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")


def is_sure(how: Sequence[tuple[str, Any]]) -> bool:
    """Return whether decoding settings choose the most probable token: then neither seed nor repeat counts."""
    return bool(dict(how)["temperature"] == 0.0)


def settings_of(settings: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Return lm-eval's generation settings in our terms, sorted, greedy unless they ask for sampling.

    Raises:
        UserError: For a temperature below 0, a limit below 1, or a setting that is not known here.
    """
    until = settings.get("until") or []
    stops = [until] if isinstance(until, str) else list(until)
    longest = next((settings[key] for key in LIMITS if settings.get(key) is not None), 256)
    temperature = float(settings.get("temperature") or 0.0)
    if settings.get("do_sample") and "temperature" not in settings:
        temperature = 1.0
    if settings.get("do_sample") is False:
        temperature = 0.0
    if temperature < 0 or int(longest) < 1:
        raise UserError(
            "task.decoding",
            _("Generation settings with temperature {t} and at most {n} tokens make no sense.").format(t=temperature, n=longest),
            _("Correct generation_kwargs of the task."),
        )
    _refuse_unknown(settings)
    found = {
        "max_new_tokens": int(longest),
        "temperature": temperature,
        "top_k": int(settings.get("top_k") or 0),
        "top_p": float(settings.get("top_p") or 1.0),
        "until": tuple(str(stop) for stop in stops if stop),
    }
    more = [name for name in EXTRA if settings.get(name) is not None]
    if more:
        order = ("repetition_penalty", "temperature", "top_k", "top_p", "min_p", "typical_p")
        every = {**{name: settings[name] for name in more}, **{name: found[name] for name in order if name in found}}
        found["chain"] = ",".join(f"{name}={float(every[name]):g}" for name in order if name in every)
    return tuple(sorted(found.items()))


def _refuse_unknown(settings: Mapping[str, Any]) -> None:
    """Refuse settings that would change the answers and are not known here, rather than pass over them."""
    unknown = sorted(set(settings) - IGNORED - set(LIMITS))
    if int(settings.get("num_beams") or 1) > 1:
        unknown.append("num_beams")
    if unknown:
        raise UserError(
            "task.decoding",
            _("The generation setting {name} is not known here.").format(name=unknown[0]),
            _("Known are {names}.").format(names=", ".join(sorted(IGNORED - {"use_cache", "num_beams"}))),
        )
