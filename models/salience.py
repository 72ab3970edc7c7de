"""Which tokens a prediction comes from: a checkpoint and a question made into a function of embeddings, and its scores.

The prediction of a decoder is that of one token from those before it; of an encoder that at one masked token; of an
encoder-decoder that of one target token from the source and the target before it; of a reward model its score.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.errors import UserError
from models.events import Event, Progress, Work
from models.lean_gradients import check_gradients, computed_again
from models.opened import OpenModel
from models.prompts import Prepared
from models.records.arrays import Array
from models.records.salience import Salience, SalienceQuestion
from models.records.tokens import Token
from models.salience_input import Given, embedded, given
from models.salience_methods import Problem, n_calls, require_captum, scores_of
from models.salience_names import BASELINES, GRADIENTS, METHODS, REDUCTIONS, STATISTICS, TOP
from models.segments import LEVELS, segments
from models.tokens import encode_plain, token_texts
from models.turns import Pause, in_turns
from models.words import _

_TOKENS_AT_A_TIME = 512


@dataclass(frozen=True)
class Target:
    """What is explained of the logits: token minus contrast (-1: none), as logit, ln p or p; ``score``: a reward."""

    token: int
    contrast: int = -1
    statistic: str = "logit"

    def of(self, logits: Any) -> Any:
        """Return (n,) values of (n, vocab) logits."""
        if self.statistic == "score":
            return logits[:, 0]
        if self.statistic == "logprob":
            logits = logits.log_softmax(-1)
        elif self.statistic == "probability":
            logits = logits.softmax(-1)
        own = logits[:, self.token]
        return own if self.contrast < 0 else own - logits[:, self.contrast]


def check(question: SalienceQuestion) -> None:
    """Raise ``UserError`` if a question has a name or number that does not exist."""
    for name, value, allowed in (
        ("method", question.method, METHODS), ("statistic", question.statistic, STATISTICS),
        ("baseline", question.baseline, BASELINES), ("reduction", question.reduction, REDUCTIONS),
        ("unit", question.unit, LEVELS),
    ):  # fmt: skip
        if value not in allowed:
            raise UserError(
                "salience.choice",
                _("There is no {name} called {value!r} for salience.").format(name=name, value=value),
                _("Use one of {names}.").format(names=", ".join(allowed)),
            )
    if not (1 <= question.steps <= 1000 and 0 <= question.samples <= 100_000):
        raise UserError("salience.number", _("Steps are 1 to 1,000 and samples 0 to 100,000."))


def salience(opened: OpenModel, prepared: Prepared, question: SalienceQuestion) -> Work[Salience]:
    """Return how much each token counts for one prediction.

    Args:
        opened: The model.
        prepared: The text as tokens; for an encoder-decoder the source and the target so far.
        question: Which prediction, and how.

    Raises:
        UserError: If the question cannot be asked of this model or text, or captum is not installed.
    """
    check(question)
    require_captum()
    if opened.quantize and question.method in GRADIENTS:
        raise UserError(
            "salience.quantized",
            _("Gradients are not available through quantised weights ({name}).").format(name=opened.quantize),
            _("Choose occlusion, LIME or KernelSHAP, or open the checkpoint without quantising it."),
        )
    there = given(opened, prepared, question.position)
    logits = there.logits_of_ids()
    target, said = _target(opened, there, question, logits)
    return (yield from in_turns(lambda pause: _answer(opened, prepared, question, there, (target, logits, said), pause)))


def _answer(
    opened: OpenModel, prepared: Prepared, question: SalienceQuestion, there: Given, asked: tuple[Target, Any, list[str]],
    pause: Pause,
) -> Salience:  # fmt: skip
    """Compute the scores in a thread that takes turns with the engine."""
    target, logits, said = asked
    source, baseline, name = embedded(opened, there, question.baseline)
    free = there.free
    units = _units(there, question.unit if question.method not in GRADIENTS else "token")
    n_tokens = len(there.ids) + len(there.target_ids)
    again = question.method in GRADIENTS and check_gradients(opened, n_tokens) and opened.adapter == 1
    rows = 1 if again else _rows(opened, n_tokens)
    random = _Random(question.seed, opened.device)
    calls = n_calls(question, int(units.max()) + 1, rows)
    counted = _Counted(_function(there, target, source, again), calls, pause, random)
    problem = Problem(counted, source[free], baseline[free], units, rows)
    try:
        value, base = (_value(counted, state[None]) for state in (problem.inputs, problem.baseline))
        there.check_embedded(value, float(target.of(logits)[0]))
        scores = scores_of(problem, question)
    finally:
        random.leave()
    all_scores = np.full(len(there.ids) + len(there.target_ids), np.nan, dtype=np.float32)
    all_scores[free.cpu().numpy()] = scores.float().cpu().numpy()
    has_base = question.method != "gradient_x_input"
    complete = question.method in ("integrated_gradients", "kernel_shap") and question.reduction == "sum"
    known = logits.softmax(-1)[0] if target.statistic != "score" else None
    return Salience(
        question, prepared.tokens, _padded(all_scores[: len(there.ids)], len(prepared.tokens)), there.target_tokens,
        _padded(all_scores[len(there.ids) :], len(there.target_tokens)), there.position, target.token,
        _text(opened, target.token), target.contrast, _text(opened, target.contrast), value,
        base if has_base else math.nan, _probability(known, target.token), _probability(known, target.contrast),
        float(np.nansum(all_scores, dtype=np.float64)) - (value - base) if complete else math.nan, counted.n_rows,
        opened.kind, name if has_base else "", _convention(prepared, there), (*said, *_notes(opened, question, problem)),
    )  # fmt: skip


class _Random:
    """captum draws from torch's global generator: this gives it a seeded state of its own, whatever others draw between."""

    def __init__(self, seed: int, device: str) -> None:
        import torch

        self._cuda = device if device.startswith("cuda") else ""
        outer = self._get()
        torch.manual_seed(seed)
        self._own = self._get()
        self._set(outer)
        self._outer = outer
        self.enter()

    def _get(self) -> tuple[Any, ...]:
        import torch

        return (torch.get_rng_state(), *([torch.cuda.get_rng_state(self._cuda)] if self._cuda else []))

    def _set(self, state: tuple[Any, ...]) -> None:
        import torch

        torch.set_rng_state(state[0])
        if self._cuda:
            torch.cuda.set_rng_state(state[1], self._cuda)

    def enter(self) -> None:
        """Go on with our own state."""
        self._outer = self._get()
        self._set(self._own)

    def leave(self) -> None:
        """Keep our own state and put back the others'."""
        self._own = self._get()
        self._set(self._outer)


class _Counted:
    """A function of embeddings that lets others take their turn after each call."""

    def __init__(self, function: Callable[[Any], Any], n_calls: int, pause: Pause, random: _Random) -> None:
        self._function, self._n_calls = function, n_calls
        self._pause, self._random = pause, random
        self._done = self.n_rows = 0

    def __call__(self, inputs: Any) -> Any:
        values = self._function(inputs)
        self._done += 1
        self.n_rows += int(inputs.shape[0])
        self._random.leave()
        event: Event = Progress(min(self._done, self._n_calls), self._n_calls, _("salience"))
        self._pause(event)
        self._random.enter()
        return values


def _function(there: Given, target: Target, source: Any, again: bool) -> Callable[[Any], Any]:
    """Return the function (n, features, width) → (n,): the free tokens' embeddings to the value that is explained.

    ``again``: whether layers are computed again on the way back, which needs less memory.
    """
    import torch

    def function(inputs: Any) -> Any:
        whole = source.expand(inputs.shape[0], -1, -1).clone()
        whole[:, there.free] = inputs.to(whole.dtype)
        with computed_again(there.opened.model, again and torch.is_grad_enabled()):
            return target.of(there.logits(whole))

    return function


def _value(function: Callable[[Any], Any], inputs: Any) -> float:
    import torch

    with torch.no_grad():
        return float(function(inputs)[0])


def _rows(opened: OpenModel, n_tokens: int) -> int:
    """Return how many texts are run at a time."""
    if opened.kind == "reward" and getattr(opened.config, "pad_token_id", None) is None:
        return 1  # transformers finds the end of each text by its padding
    rows = max(1, min(32, _TOKENS_AT_A_TIME // max(n_tokens, 1)))
    if opened.kind != "encoder":
        return rows
    n_vocab = int(opened.model.get_input_embeddings().weight.shape[0])
    return max(1, min(rows, 48_000_000 // (n_vocab * n_tokens)))


def _units(there: Given, level: str) -> Any:
    """Return (features,) the unit of each free token, counted from 0 over source and target."""
    import torch

    numbers: list[int] = []
    for tokens, text in ((there.tokens, there.text), (there.shown_target, there.target_text)):
        for part in segments(tokens, level, text):
            numbers += [numbers[-1] + 1 if numbers else 0] * (part.last - part.first)
    picked = torch.tensor(numbers, dtype=torch.int64)[there.free.cpu()]
    return torch.unique_consecutive(picked, return_inverse=True)[1].to(there.free.device)


def _padded(scores: Array, length: int) -> Array:
    """Return scores with NaN for the tokens from the explained one on."""
    found = np.full(length, np.nan, dtype=np.float32)
    found[: len(scores)] = scores
    return found


def _text(opened: OpenModel, token: int) -> str:
    return token_texts(opened.tokenizer, [token])[0] if token >= 0 else ""


def _probability(known: Any, token: int) -> float:
    return float(known[token]) if known is not None and token >= 0 else math.nan


# which token ---------------------------------------------------------------------------------------------------------
def _target(opened: OpenModel, there: Given, question: SalienceQuestion, logits: Any) -> tuple[Target, list[str]]:
    """Return what is explained, and remarks on how the tokens were found."""
    if opened.kind == "reward":
        return Target(-1, -1, "score"), []
    said: list[str] = []
    best = int(logits[0].argmax())
    if question.token == TOP:
        token = best
    elif question.token == "":
        token = there.actual if there.actual >= 0 else best
    else:
        token = resolve(opened, question.token, logits[0], said)
    contrast = -1
    if question.contrast == TOP:
        contrast = best
    elif question.contrast != "":
        contrast = resolve(opened, question.contrast, logits[0], said)
    if contrast == token:
        raise UserError(
            "salience.contrast",
            _("The token and its contrast are the same: {text!r}.").format(text=_text(opened, token)),
            _("Choose another token to compare with."),
        )
    return Target(token, contrast, question.statistic), said


def resolve(opened: OpenModel, token: int | str, logits: Any, said: list[str]) -> int:
    """Return the id that is meant by an id or a text: the text as written or after a space, whichever is more probable.

    Of a text of several tokens the first is taken, and ``said`` gets a sentence about it.

    Raises:
        UserError: If there is no such token.
    """
    n_vocab = int(logits.shape[-1])
    if isinstance(token, int):
        if not 0 <= token < n_vocab:
            raise UserError("token.unknown", _("There is no token {id}; ids are 0 to {last}.").format(id=token, last=n_vocab - 1))
        return token
    known = opened.tokenizer.get_vocab().get(token)
    if known is not None and known in opened.tokenizer.all_special_ids:
        return int(known)
    ways = [token] if token[:1].isspace() else [token, " " + token]
    split = [ids for ids in (encode_plain(opened.tokenizer, way, add_special=False) for way in ways) if ids]
    if not split:
        raise UserError("token.empty", _("{text!r} is no token.").format(text=token))
    single = [ids[0] for ids in split if len(ids) == 1]
    if single:
        return max(single, key=lambda i: float(logits[i]))
    first = max((ids[0] for ids in split), key=lambda i: float(logits[i]))
    said.append(_("{text!r} is several tokens; the first, {first!r}, is taken").format(text=token, first=_text(opened, first)))
    return first


# words ---------------------------------------------------------------------------------------------------------------
def _convention(prepared: Prepared, there: Given) -> str:
    return "; ".join(part for part in (there.said, prepared.convention) if part)


def _notes(opened: OpenModel, question: SalienceQuestion, problem: Problem) -> Sequence[str]:
    notes = []
    if opened.dtype != "float32":
        notes.append(
            _("computed in {dtype}: scores carry about three digits; open the column in float32 for more").format(
                dtype=opened.dtype
            )
        )
    if question.method == "kernel_shap" and question.samples and question.samples < problem.n_units + 2:
        notes.append(_("fewer samples than tokens: the scores are not determined"))
    return notes


def plain_tokens(tokens: Sequence[Token]) -> list[int]:
    """Return the numbers of the tokens that are not special."""
    return [n for n, token in enumerate(tokens) if not token.special]
