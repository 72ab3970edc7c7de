"""What the Sampling view shows of a prediction, as rows and lines: pure functions of the records."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lab.ui.widgets.bars import Bar
from lab.ui.widgets.text import number, percent, signed, visible
from models.chain import all_stages, is_chain, written
from models.columns import Sampler
from models.records.chain import SamplerChain, StageResult
from models.records.sampling import Distribution, difference_distributions
from models.words import _

BITS = 1 / math.log(2)
DIFFERENCES = 50


def bars(found: Distribution, after: Any = None, cumulative: bool = False) -> list[Bar]:
    """Return one row per token: the model's probability, and what the sampler (up to a stage) made of it."""
    after = found.sampled if after is None else after
    plain = np.allclose(found.probabilities, after, atol=1e-6)
    own_values, after_values = (np.cumsum(p) if cumulative else p for p in (found.probabilities, after))
    rows = []
    for i, text in enumerate(found.texts):
        own, left = float(found.probabilities[i]), float(after[i])
        shown, second = float(own_values[i]), float(after_values[i])
        label = percent(shown) if plain else f"{percent(shown)} → {percent(second) if left or cumulative else _('cut')}"
        tip = (
            f"{visible(text)}   {_('id {id}').format(id=int(found.ids[i]))}   {_('rank {n}').format(n=i)}",
            _("model: {p}, surprisal {s} nats").format(p=percent(own), s=number(-math.log(max(own, 1e-45)), 3)),
            _("after the sampler: {p}").format(p=percent(left)),
            _("this and all above: {p}").format(p=percent(float(found.probabilities[: i + 1].sum()))),
        )
        thin = float("nan") if plain else second
        short = "" if plain else percent(second) if left or cumulative else _("cut")
        rows.append(Bar(visible(text, 24) or "∅", shown, label, thin, i == found.rank_of_actual, tip, short))
    return rows


def difference_bars(a: Distribution, b: Distribution, most: int = DIFFERENCES) -> list[Bar]:
    """Return the tokens whose probabilities differ most, b minus a, largest change first."""
    ids, texts, delta = difference_distributions(a, b)
    order = np.argsort(-np.abs(delta), kind="stable")[:most]
    before = {int(id): float(p) for id, p in zip(a.ids, a.probabilities, strict=True)}
    after = {int(id): float(p) for id, p in zip(b.ids, b.probabilities, strict=True)}
    rows = []
    for i in order.tolist():
        id = int(ids[i])
        label = f"{signed(100 * float(delta[i]), 2)} %"
        tip = (visible(texts[i]), f"{percent(before.get(id, 0.0))} → {percent(after.get(id, 0.0))}")
        rows.append(Bar(visible(texts[i], 24) or "∅", float(delta[i]), label, tip=tip))
    return rows


def facts(found: Distribution, after_entropy: float, unit: float = 1.0, name: str = "nats") -> tuple[str, str]:
    """Return two lines: rank of the true token and entropy; perplexity and effective support."""
    entropy = number(found.entropy * unit, 2)
    if abs(after_entropy - found.entropy) > 5e-4:
        entropy = f"{entropy} → {number(after_entropy * unit, 2)}"
    first = _("entropy {h} {unit}").format(h=entropy, unit=name)
    if found.rank_of_actual >= 0:
        true = _("true next: rank {n}").format(n=found.rank_of_actual)
        first = f"{true} ({number(found.surprisal_of_actual * unit, 2)} {name}) · {first}"
    perplexity = _("perplexity {n}").format(n=number(math.exp(min(found.entropy, 30)), 1))
    return first, f"{perplexity} · {_('95 % in {n} tokens').format(n=found.support)}"


def context(found: SamplerChain | None, text: str, position: int) -> str:
    """Return where the prediction is made, in words."""
    if found is None or not text:
        return ""
    behind = "".join(found.path_texts)
    if position < 0:
        return _("What comes after: {text}").format(text=visible(f"{text}{behind}"[-72:], 72, " ") + " ▮")
    put = f" + {visible(behind, 60, ' ')}" if behind else ""
    return _("What comes after token #{n}").format(n=position) + f"{put} ▮"


def stage_line(stage: StageResult, unit: float = 1.0) -> tuple[str, str]:
    """Return what a stage did in one line, and in many for the tool tip."""
    if not stage.on:
        return _("off"), _("off")
    removed = _("{left} left · −{n} ({p})").format(left=stage.n_left, n=stage.n_removed, p=percent(stage.mass))
    line = f"{removed} · H {number(stage.entropy * unit, 2)}" if stage.n_removed else f"H {number(stage.entropy * unit, 2)}"
    examples = [
        f"  {visible(text, 30)}   {percent(float(p))}"
        for text, p in zip(stage.removed_texts, stage.removed_probabilities, strict=True)
    ]
    best = _("most probable now: {text} {p}").format(text=visible(stage.best_text, 30), p=percent(stage.best_probability))
    head = [stage.text, line, best]
    return line, "\n".join([*head, _("removed, most probable first:"), *examples] if examples else head)


def outcome_rows(found: SamplerChain, seed: int) -> tuple[list[str], list[list[Any]]]:
    """Return what the chain and every preset choose here."""
    header = [_("Preset"), _("Most probable"), "p", _("Drawn, seed {n}").format(n=seed), "p", _("Entropy"), _("Left")]
    rows: list[list[Any]] = []
    for outcome in found.outcomes:
        name = _("this chain") if outcome.name == "chain" and outcome is found.outcomes[0] else outcome.name
        if outcome.failure:
            rows.append([name, outcome.failure, None, "", None, None, None])
            continue
        best, drawn = visible(outcome.best_text, 20), visible(outcome.drawn_text, 20)
        rows.append([
            name, best, outcome.best_probability, drawn, outcome.drawn_probability, outcome.entropy, outcome.n_left
        ])  # fmt: skip
    return header, rows


def table_rows(name: str, found: SamplerChain) -> list[list[Any]]:
    """Return one row per token and stage: column, rank, id, token, stage, probability."""
    own = found.distribution
    stages = [(_("model"), own.probabilities), *((stage.text, stage.probabilities) for stage in found.stages)]
    return [
        [name, i, int(own.ids[i]), own.texts[i], stage, float(values[i])]
        for stage, values in stages
        for i in range(len(own.ids))
    ]


def chain_of(sampler: Sampler) -> str:
    """Return a sampler as a chain; an empty one where its own text cannot be read."""
    if sampler.chain and not is_chain(sampler.chain):
        return ""
    return written(all_stages(sampler))


def calls(chains: Sequence[str], top: int, position: int, path: Sequence[int]) -> str:
    """Return the Python lines that compute what the view shows."""
    same = len(set(chains)) == 1
    chain = repr(chains[0]) if same else f"{tuple(chains)!r}[list(checkpoints).index(name)]"
    place = f", position={position}" if position >= 0 else ""
    put = f", path={list(path)}" if path else ""
    return f"""    found = checkpoint.sampler(TEXT, {chain}, top={top}{place}{put})
    print(name, f"entropy {{found.distribution.entropy:.3f}} nats")
    for text, own, after in zip(found.distribution.texts, found.distribution.probabilities, found.distribution.sampled):
        print(f"  {{text!r:20}} {{own:8.4f}} {{after:8.4f}}")
    for stage in found.stages:
        print(f"  {{stage.text}}: {{stage.n_left}} left, {{stage.n_removed}} removed with {{stage.mass:.4f}}")
"""
