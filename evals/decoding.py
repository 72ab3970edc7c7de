"""lm-eval's generation settings in our terms: what a generated answer depends on besides prompt and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.headers import read_json
from models.opened import OpenModel
from models.words import _

EXTRA = ("repetition_penalty", "min_p", "typical_p")
"""Generation settings of transformers that become stages of a chain, in its order."""
IGNORED = frozenset({"do_sample", "until", "temperature", "top_k", "top_p", "use_cache", "num_beams", *EXTRA})
OWN = ("top_k", "top_p", *EXTRA)
"""What a checkpoint's own settings say where a task says nothing, as transformers' ``generate`` has it."""
UNSET: dict[str, Any] = {"top_k": 50}
"""What ``generate`` takes for sampling where neither says anything."""
NOT_DONE: dict[str, Any] = {
    "num_beams": 1, "num_beam_groups": 1, "no_repeat_ngram_size": 0, "encoder_no_repeat_ngram_size": 0, "min_length": 0,
    "min_new_tokens": 0, "encoder_repetition_penalty": 1.0, "guidance_scale": 1.0, "penalty_alpha": 0.0, "suppress_tokens": [],
    "begin_suppress_tokens": [], "bad_words_ids": [], "sequence_bias": {}, "forced_bos_token_id": None,
    "forced_eos_token_id": None, "exponential_decay_length_penalty": None,
}  # fmt: skip
"""Settings of a checkpoint that change answers in transformers and are not followed here, and what makes each do nothing."""
LIMITS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")


def is_sure(how: Sequence[tuple[str, Any]]) -> bool:
    """Return whether decoding settings choose the most probable token: then neither seed nor repeat counts."""
    return bool(dict(how)["temperature"] == 0.0)


def own_settings(opened: OpenModel) -> dict[str, Any]:
    """Return what a checkpoint's ``generation_config.json`` says, or, where it has none, its configuration."""
    path = Path(opened.folder or opened.path) / "generation_config.json"
    if path.is_file():
        return dict(read_json(path))
    made = getattr(opened.model, "generation_config", None)
    return dict(made.to_diff_dict()) if made is not None else {}


def not_done(own: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a checkpoint's own settings that would change answers and are not followed here."""
    return {name: own[name] for name, nothing in NOT_DONE.items() if own.get(name) not in (None, nothing)}


def written(settings: Mapping[str, Any]) -> str:
    """Return settings as ``name=value`` with commas between."""
    return ", ".join(f"{name}={value}" for name, value in settings.items())


def settings_of(settings: Mapping[str, Any], own: Mapping[str, Any] | None = None) -> tuple[tuple[str, Any], ...]:
    """Return lm-eval's generation settings in our terms, sorted, greedy unless they ask for sampling.

    What they leave open is as transformers' ``generate`` has it, which lm-eval calls: a checkpoint's own repetition penalty
    counts always, its own top-k, top-p and such where answers are sampled, and then top-k is 50 if nobody says otherwise.

    Args:
        settings: Of the task, or of the command line.
        own: The checkpoint's, see :func:`own_settings`.

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
    settings = {**_left_open(own or {}, temperature > 0), **{key: value for key, value in settings.items() if value is not None}}
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


def _left_open(own: Mapping[str, Any], sampled: bool) -> dict[str, Any]:
    names = OWN if sampled else ("repetition_penalty",)
    found = {name: own[name] for name in names if isinstance(own.get(name), int | float)}
    kept = {name: value for name, value in found.items() if value != 1.0 or name not in EXTRA}
    return {**UNSET, **kept} if sampled else kept


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
