"""The sampler chain as an ordered list of stages, and its compact text: ``temperature=0.7,top_k=40,!top_p=0.9``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from models.columns import Sampler
from models.errors import UserError
from models.words import _


@dataclass(frozen=True)
class Stage:
    """One step of a chain.

    Args:
        name: One of ``KINDS``.
        value: Its number; 0 for ``ban`` and ``force``.
        ids: Token ids of ``ban`` and ``force``.
        on: Whether it is applied; a stage that is off keeps its place.
    """

    name: str
    value: float = 0.0
    ids: tuple[int, ...] = ()
    on: bool = True


@dataclass(frozen=True)
class Kind:
    """What a stage of one name may hold: a number from ``low`` to ``high`` (``open_low``: above it), or token ids.

    Args:
        usual: The value of a stage that is newly added. ``off``: the value with which it changes nothing.
    """

    usual: float = 0.0
    off: float = math.nan
    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    whole: bool = False
    tokens: bool = False


KINDS: dict[str, Kind] = {
    "repetition_penalty": Kind(1.1, 1.0, 0.0, 1e6, open_low=True),
    "presence_penalty": Kind(0.5, 0.0, -1e6, 1e6),
    "frequency_penalty": Kind(0.5, 0.0, -1e6, 1e6),
    "ban": Kind(tokens=True),
    "force": Kind(tokens=True),
    "temperature": Kind(0.7, 1.0, 0.0, 1e6),
    "top_k": Kind(40, 0, 0, 2**31 - 1, whole=True),
    "top_p": Kind(0.9, 1.0, 0.0, 1.0, open_low=True),
    "min_p": Kind(0.05, 0.0, 0.0, 1.0),
    "typical_p": Kind(0.9, 1.0, 0.0, 1.0, open_low=True),
    "epsilon_cutoff": Kind(3e-4, 0.0, 0.0, 1.0),
    "eta_cutoff": Kind(3e-4, 0.0, 0.0, 1.0),
}
"""Every stage by name, in the order in which transformers would apply them."""
PENALTIES = frozenset({"repetition_penalty", "presence_penalty", "frequency_penalty"})
_ALIASES = {
    "typical": "typical_p", "rep": "repetition_penalty", "repeat_penalty": "repetition_penalty", "t": "temperature",
    "temp": "temperature", "banned": "ban", "forced": "force", "allow": "force",
}  # fmt: skip
LONGEST = 4000
"""Characters of a chain's text."""


def parse(text: str) -> tuple[Stage, ...]:
    """Read a chain such as ``top_k=40,top_p=0.9,temperature=0.7``: stages by commas, applied from left to right.

    ``!`` before a name switches the stage off; token ids of ``ban`` and ``force`` are joined by ``+``; ``greedy`` is
    ``temperature=0``. An empty text is the empty chain: the model's own distribution.

    Raises:
        UserError: If a part is no stage, or its value is out of range.
    """
    if len(text) > LONGEST:
        raise UserError("sampler.chain", _("The sampler chain has {n} characters.").format(n=len(text)))
    parts = [part.strip() for part in text.split(",")]
    return tuple(_stage(part) for part in parts if part)


def is_chain(text: str) -> bool:
    """Return whether a text can be read as a chain."""
    try:
        parse(text)
    except UserError:
        return False
    return True


def _stage(part: str) -> Stage:
    switched = part.removeprefix("!")
    name, equals, value = (piece.strip() for piece in switched.partition("="))
    name = name.lower().replace("-", "_")
    if name == "greedy" and not equals:
        name, equals, value = "temperature", "=", "0"
    name = _ALIASES.get(name, name)
    if name not in KINDS or not equals:
        raise UserError(
            "sampler.chain",
            _("{part!r} is no stage of a sampler.").format(part=part[:60]),
            _("Write NAME=VALUE with commas between; the names are {names}.").format(names=", ".join(KINDS)),
        )
    if KINDS[name].tokens:
        return checked(Stage(name, 0.0, _ids(name, value), part == switched))
    try:
        number = float(value)
    except ValueError:
        raise UserError("sampler.chain", _("{name} needs a number, not {value!r}.").format(name=name, value=value[:40])) from None
    return checked(Stage(name, number, (), part == switched))


def _ids(name: str, value: str) -> tuple[int, ...]:
    pieces = [piece.strip() for piece in value.split("+")]
    if not all(piece.isascii() and piece.isdigit() and len(piece) < 10 for piece in pieces):
        raise UserError(
            "sampler.chain",
            _("{name} needs token ids, not {value!r}.").format(name=name, value=value[:40]),
            _("Write ids joined by +, such as {name}=12+7.").format(name=name),
        )
    return tuple(dict.fromkeys(int(piece) for piece in pieces))


def checked(stage: Stage) -> Stage:
    """Return the stage; ``UserError`` if its value is out of range."""
    kind, x = KINDS[stage.name], stage.value
    if kind.tokens:
        return stage
    too_low = x <= kind.low if kind.open_low else x < kind.low
    if not math.isfinite(x) or too_low or x > kind.high or (kind.whole and x != int(x)):
        raise UserError("sampler." + stage.name, _range_said(stage.name, x))
    return stage


def _range_said(name: str, x: float) -> str:
    kind = KINDS[name]
    if kind.whole:
        return _("{name} must be a whole number of 0 (off) or more, not {x:g}.").format(name=name, x=x)
    if kind.high == 1.0:
        text = _("{name} must be above 0 and at most 1, not {x:g}.") if kind.open_low else _("{name} must be 0 to 1, not {x:g}.")
        return text.format(name=name, x=x)
    if kind.low == 0.0:
        text = _("{name} must be above 0, not {x:g}.") if kind.open_low else _("{name} must be 0 or more, not {x:g}.")
        return text.format(name=name, x=x)
    return _("{name} must be a number, not {x:g}.").format(name=name, x=x)


def written(stages: Sequence[Stage]) -> str:
    """Return the compact text of a chain; ``parse`` reads it back exactly."""
    return ",".join(stage_text(stage) for stage in stages)


def stage_text(stage: Stage) -> str:
    """Return one stage as it stands in a chain's text."""
    value = "+".join(map(str, stage.ids)) if KINDS[stage.name].tokens else number_text(stage.value)
    return f"{'' if stage.on else '!'}{stage.name}={value}"


def number_text(value: float) -> str:
    """Return the shortest text that is read back as the same number."""
    return repr(float(value)).removesuffix(".0")


def is_neutral(stage: Stage) -> bool:
    """Return whether a stage changes nothing: switched off, or at the value that means off."""
    kind = KINDS[stage.name]
    return not stage.on or (not stage.ids if kind.tokens else stage.value == kind.off)


@lru_cache(maxsize=256)
def stages_of(sampler: Sampler) -> tuple[Stage, ...]:
    """Return the stages that a sampler applies, in order, without those that change nothing.

    A sampler without a chain applies temperature, then top-k, then top-p, as transformers does.

    Raises:
        UserError: If the chain's text cannot be read, or a value is out of range.
    """
    return tuple(stage for stage in all_stages(sampler) if not is_neutral(stage))


def all_stages(sampler: Sampler) -> tuple[Stage, ...]:
    """Return every stage of a sampler, those that are off or change nothing too.

    Raises:
        UserError: If the chain's text cannot be read.
    """
    if sampler.chain:
        return parse(sampler.chain)
    named = (("temperature", sampler.temperature), ("top_k", sampler.top_k), ("top_p", sampler.top_p))
    return tuple(Stage(name, float(value)) for name, value in named)


def is_greedy(sampler: Sampler) -> bool:
    """Return whether the most probable token is always taken."""
    return any(stage.name == "temperature" and stage.value == 0.0 for stage in stages_of(sampler))


def temperature_of(sampler: Sampler) -> float:
    """Return the temperature; 1 if the chain has none."""
    return next((stage.value for stage in stages_of(sampler) if stage.name == "temperature"), 1.0)


def with_temperature(sampler: Sampler, temperature: float) -> Sampler:
    """Return the sampler with another temperature, in its chain too where it has one (at the end if there was none)."""
    changed = replace(sampler, temperature=temperature)
    if not sampler.chain:
        return changed
    stages = list(parse(sampler.chain))
    place = next((n for n, stage in enumerate(stages) if stage.name == "temperature" and stage.on), len(stages))
    stages[place : place + 1] = [Stage("temperature", temperature)]
    return replace(changed, chain=written(stages))
