"""Beam search that keeps everything it looked at, with the scores and the stopping rule of transformers' ``generate``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.batched import State, begin
from models.errors import UserError
from models.events import Progress, Work
from models.generation import answer_text, refuse_unless_generating
from models.opened import OpenModel
from models.prompts import eos_ids
from models.records.beams import DROPPED, FINISHED, KEPT, BeamSequence, BeamTree, path_to
from models.sampling import check_numbers
from models.tokens import token_texts
from models.trace import check_ids, check_length, context_length
from models.words import _

MOST_BEAMS = 32
_NEVER = -1e9


@dataclass(frozen=True)
class BeamSettings:
    """How to search.

    Args:
        num_beams: Hypotheses that go on; 1 is greedy decoding.
        max_new_tokens: Longest answer.
        length_penalty: A finished hypothesis scores logprob / length ** length_penalty: above 0 favours long ones.
        early_stopping: Whether to end as soon as ``num_beams`` hypotheses are finished.
    """

    num_beams: int = 4
    max_new_tokens: int = 16
    length_penalty: float = 1.0
    early_stopping: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.num_beams <= MOST_BEAMS:
            said = _("There can be 1 to {most} beams, not {n}.").format(most=MOST_BEAMS, n=self.num_beams)
            raise UserError("beams.number", said)
        if self.max_new_tokens < 1:
            raise UserError("sampler.length", _("At least one token must be generated, not {x}.").format(x=self.max_new_tokens))
        if not math.isfinite(self.length_penalty) or abs(self.length_penalty) > 100:
            raise UserError("beams.penalty", _("The length penalty must be −100 to 100, not {x}.").format(x=self.length_penalty))


@dataclass
class _Tree:
    """Grows node by node; node 0 is the prompt."""

    parents: list[int] = field(default_factory=lambda: [-1])
    ids: list[int] = field(default_factory=lambda: [-1])
    logprobs: list[float] = field(default_factory=lambda: [0.0])
    totals: list[float] = field(default_factory=lambda: [0.0])
    states: list[int] = field(default_factory=lambda: [KEPT])

    def add(self, parent: int, id: int, logprob: float, total: float) -> int:
        self.parents.append(parent)
        self.ids.append(id)
        self.logprobs.append(logprob)
        self.totals.append(total)
        self.states.append(DROPPED)
        return len(self.ids) - 1


@dataclass(frozen=True)
class _Finished:
    score: float
    node: int
    ended: bool


@dataclass
class _Search:
    """The state between two steps; the lists have one entry per beam."""

    settings: BeamSettings
    ends: frozenset[int]
    last: int
    tree: _Tree = field(default_factory=_Tree)
    nodes: list[int] = field(default_factory=list)
    totals: Any = None
    finished: list[_Finished] = field(default_factory=list)
    steps: int = 0
    improvable: bool = True

    def take(self, logs: Any) -> tuple[list[int], list[int]]:
        """Take one step with (beams, vocab) log-probabilities; return (rows, token ids) of the beams that go on."""
        import torch

        beams, n_vocab = self.settings.num_beams, logs.shape[-1]
        width = min(max(2, 1 + len(self.ends)) * beams, n_vocab)
        best = torch.topk((logs + self.totals[:, None]).flatten(), width)
        rows, ids = (best.indices // n_vocab).tolist(), (best.indices % n_vocab).tolist()
        self.steps += 1
        stops = [id in self.ends or self.steps == self.last for id in ids]
        owns = logs.flatten()[best.indices].tolist()
        nodes = [
            self.tree.add(self.nodes[row], id, own, total)
            for row, id, own, total in zip(rows, ids, owns, best.values.tolist(), strict=True)
        ]
        running = best.values + torch.tensor([_NEVER if stop else 0.0 for stop in stops])
        chosen = torch.topk(running, beams)
        self._finish(nodes, ids, stops)
        kept = chosen.indices.tolist()
        for n in kept:
            if not stops[n]:
                self.tree.states[nodes[n]] = KEPT
        self.nodes, self.totals = [nodes[n] for n in kept], chosen.values
        self.improvable = self.improvable and not all(stops) and self._can_improve(float(chosen.values[0]))
        return [rows[n] for n in kept], [ids[n] for n in kept]

    def _finish(self, nodes: list[int], ids: list[int], stops: list[bool]) -> None:
        """Take the finished ones among the best ``num_beams`` candidates; a candidate further down is forgotten."""
        beams = self.settings.num_beams
        if len(self.finished) == beams and self.settings.early_stopping:
            return
        new = []
        for n in range(min(beams, len(nodes))):
            if stops[n]:
                score = self.tree.totals[nodes[n]] / self.steps**self.settings.length_penalty
                new.append(_Finished(score, nodes[n], ids[n] in self.ends))
                self.tree.states[nodes[n]] = FINISHED
        self.finished = sorted([*self.finished, *new], key=lambda one: -one.score)[:beams]

    def _can_improve(self, best: float) -> bool:
        """Return whether a running hypothesis may still beat the worst finished one (transformers' estimate)."""
        if len(self.finished) < self.settings.num_beams:
            return True
        if self.settings.early_stopping:
            return False
        return bool(best / self.steps**self.settings.length_penalty > self.finished[-1].score)


def search(
    opened: OpenModel, ids: Sequence[int], settings: BeamSettings, receipt: str = "", prefix: Sequence[int] = ()
) -> Work[BeamTree]:
    """Search for the most probable answers (Graves 2012, arXiv 1211.3711; length penalty as transformers has it).

    Args:
        opened: A decoder or encoder-decoder.
        ids: Prompt (source) token ids.
        settings: Beams, length, penalty.
        receipt: How the prompt was made.
        prefix: How an encoder-decoder's answer begins, without its start token.

    Yields:
        Progress in tokens.

    Raises:
        UserError: If the model cannot generate, the prompt is empty or too long, or a prediction is not a number.
    """
    import torch

    refuse_unless_generating(opened)
    check_ids(opened, ids)
    check_length(opened, len(ids), room=0 if opened.kind == "encoder-decoder" else 1)
    most = context_length(opened)
    given = len(prefix) + 1 if opened.kind == "encoder-decoder" else len(ids)
    last = min(settings.max_new_tokens, most - given + 1) if most else settings.max_new_tokens
    found = _Search(settings, eos_ids(opened), max(last, 1))
    found.nodes = [0] * settings.num_beams
    found.totals = torch.tensor([0.0] + [_NEVER] * (settings.num_beams - 1))
    yield Progress(0, found.last, _("reading the prompt"))
    state, feed = begin(opened, [list(ids)] * settings.num_beams, prefix)
    answers: list[list[int]] = [[] for _beam in range(settings.num_beams)]
    while found.improvable:
        logits = state.step(feed).cpu()
        check_numbers(logits, given + found.steps - 1)
        rows, chosen = found.take(torch.log_softmax(logits, dim=-1))
        answers = [[*answers[row], id] for row, id in zip(rows, chosen, strict=True)]
        yield Progress(found.steps, found.last, _("searching"))
        if found.improvable:
            state, feed = _next(opened, state, rows, answers, (ids, prefix))
    return _record(opened, found, receipt)


def _next(
    opened: OpenModel, state: State, rows: list[int], answers: list[list[int]], prompt: tuple[Sequence[int], Sequence[int]]
) -> tuple[State, Any]:
    """Return state and ids for the next step; a family whose cache cannot be sorted reads everything again."""
    import torch

    if state.can_keep:
        state.keep(torch.tensor(rows, device=opened.device))
        return state, torch.tensor([[answer[-1]] for answer in answers], device=opened.device)
    ids, prefix = prompt
    if opened.kind != "encoder-decoder":
        return begin(opened, [[*ids, *answer] for answer in answers])
    again, first = begin(opened, [list(ids)] * len(answers), prefix)
    return again, torch.cat([first, torch.tensor(answers, device=opened.device)], dim=1)


def _record(opened: OpenModel, found: _Search, receipt: str) -> BeamTree:
    tree = found.tree
    real = [n for n, total in enumerate(tree.totals) if total > _NEVER / 2]  # not the copies of the first step
    place = {n: new for new, n in enumerate(real)}
    parents = np.array([place.get(tree.parents[n], -1) for n in real], dtype=np.int32)
    ids = [tree.ids[n] for n in real]
    sequences = []
    for one in found.finished:
        node = place[one.node]
        path = [ids[n] for n in path_to(parents, node)]
        total = tree.totals[one.node]
        sequences.append(BeamSequence(answer_text(opened, path), tuple(path), one.score, total, node, one.ended))
    return BeamTree(
        parents, np.array(ids, dtype=np.int64), ("", *token_texts(opened.tokenizer, ids[1:])),
        np.array([tree.logprobs[n] for n in real], dtype=np.float32), np.array([tree.totals[n] for n in real], dtype=np.float32),
        np.array([tree.states[n] for n in real], dtype=np.uint8), tuple(sequences), found.settings.num_beams,
        found.settings.length_penalty, found.steps, receipt,
    )  # fmt: skip
