"""The preferences stage: answers sampled from a policy, labelled, and made into pairs for reward and DPO."""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import UserError
from models.events import Note, Progress, Saved, Work
from models.training.data import Row, Texts, as_messages, need_rows
from models.training.decoding import Sampling, sample_answers
from models.training.labels import conversations, field_of, find_function, label_answer
from models.training.llama import pick_device, uses_bf16
from models.training.parents import find_parent
from models.training.running import read_all
from models.training.stage import PRECISIONS, Stage, Workspace, check_at_least, check_choice, help_text
from models.words import _


@dataclass(frozen=True)
class PreferenceSettings:
    """Settings of the preferences stage."""

    parent: str = field(default="sft", metadata=help_text("Step or folder of the policy that answers."))
    prompts: tuple[str, ...] = field(default=(), metadata=help_text("JSONL files of {prompt}."))
    labeller: str = field(default="", metadata=help_text("Function of ours that scores an answer."))
    samples: int = field(default=8, metadata=help_text("Answers per prompt."))
    temperature: float = field(default=1.0, metadata=help_text("Temperature of sampling."))
    top_p: float = field(default=1.0, metadata=help_text("Nucleus of sampling; 1 is off."))
    max_new_tokens: int = field(default=48, metadata=help_text("Longest answer."))
    batch_size: int = field(default=128, metadata=help_text("Answers sampled at once."))
    use_candidates: bool = field(default=False, metadata=help_text("Label the rows' own candidates too; pairs mark them."))
    pairs_per_prompt: int = field(default=2, metadata=help_text("Most pairs made of one prompt."))
    balance: tuple[str, ...] = field(default=(), metadata=help_text("Chosen verdicts to be made equally frequent."))
    max_ratio: float = field(default=1.0, metadata=help_text("How far apart those may be: largest to smallest."))
    dev_share: float = field(default=0.1, metadata=help_text("Share of prompts kept for evaluation."))
    group_by: tuple[str, ...] = field(
        default=("item.entity", "entity", "id"), metadata=help_text("First field found keeps rows on one side of dev.")
    )
    max_rows: int = field(default=0, metadata=help_text("Use at most so many prompts of each file; 0 uses all."))
    precision: str = field(default="auto", metadata=help_text("Of sampling: auto, fp32 or bf16."))
    device: str = field(default="auto", metadata=help_text("auto, cpu, cuda or cuda:N."))
    seed: int = field(default=0, metadata=help_text("Seed of sampling, pairing and splitting."))

    def __post_init__(self) -> None:
        """Raise ``UserError`` for a value that cannot work."""
        check_choice("precision", self.precision, PRECISIONS[:3])
        check_at_least("samples", self.samples, 1)
        check_at_least("pairs_per_prompt", self.pairs_per_prompt, 1)
        check_at_least("max_ratio", self.max_ratio, 1)
        if not 0 <= self.dev_share < 1:
            raise UserError(
                "training.setting",
                _("dev_share is {dev_share}.").format(dev_share=self.dev_share),
                _("It must be from 0 to below 1."),
            )


@dataclass(frozen=True)
class Labelled:
    """One answer with its label; ``added`` if the policy did not sample it, but the prompt's row brought it along."""

    text: str
    score: float
    verdict: str
    added: bool = False


def choose_pairs(answers: Sequence[Labelled], most: int, generator: np.random.Generator) -> list[tuple[Labelled, Labelled]]:
    """Return up to ``most`` (better, worse) pairs of different answers to one prompt.

    Pairs whose two verdicts were not used yet come first, so that a rare contrast (right against abstained) is kept.
    """
    sampled = {answer.text for answer in answers if not answer.added}
    distinct = [
        replace(answer, added=answer.text not in sampled) for answer in {answer.text: answer for answer in answers}.values()
    ]
    pairs = [(a, b) for a, b in itertools.permutations(distinct, 2) if a.score > b.score]
    pairs = [pairs[at] for at in generator.permutation(len(pairs))]
    chosen: list[tuple[Labelled, Labelled]] = []
    seen: Counter[tuple[str, str]] = Counter()
    while pairs and len(chosen) < most:
        best = min(pairs, key=lambda pair: seen[pair[0].verdict, pair[1].verdict])
        pairs.remove(best)
        seen[best[0].verdict, best[1].verdict] += 1
        chosen.append(best)
    return chosen


def balance_pairs(
    pairs: Sequence[Mapping[str, Any]], verdicts: Iterable[str], max_ratio: float, generator: np.random.Generator
) -> list[Mapping[str, Any]]:
    """Drop pairs at random until no verdict listed is chosen more than ``max_ratio`` times as often as another one."""
    wanted = list(verdicts)
    groups: dict[str, list[int]] = defaultdict(list)
    for at, pair in enumerate(pairs):
        groups[pair["chosen_verdict"]].append(at)
    if not wanted:
        return list(pairs)
    most = round(min(len(groups[verdict]) for verdict in wanted) * max_ratio)
    dropped: set[int] = set()
    for verdict in wanted:
        dropped.update(generator.permutation(groups[verdict])[most:].tolist())
    return [pair for at, pair in enumerate(pairs) if at not in dropped]


def run(settings: PreferenceSettings, workspace: Workspace) -> Work[Mapping[str, Any]]:
    """Write ``samples.jsonl``, ``pairs.jsonl`` and ``dev.jsonl``."""
    labeller = find_function(settings.labeller)
    rows = read_all(workspace, settings.prompts, settings.max_rows)
    need_rows("preferences", rows)
    parent = yield from find_parent(workspace, settings.parent)
    texts, model = Texts(parent.texts), parent.open(pick_device(settings.device))
    prompts = texts.prompts(conversations(rows))
    bf16 = uses_bf16(settings.precision, next(model.parameters()).device.type)
    repeated = [prompt for prompt in prompts for _ in range(settings.samples)]
    sampling = Sampling(settings.max_new_tokens, settings.temperature, settings.top_p, settings.batch_size, bf16)
    answers = yield from sample_answers(model, repeated, texts.end, sampling, [settings.seed, 3])
    labelled: list[list[Labelled]] = []
    for at, row in enumerate(rows):
        drawn = answers[at * settings.samples : (at + 1) * settings.samples]
        own = [readable(Labelled(*label_answer(labeller, texts, row, answer))) for answer in drawn]
        extra = row.get("candidates", ()) if settings.use_candidates else ()
        labelled.append(own + [replace(Labelled(text, *labeller(row, text)), added=True) for text in extra])
        if at % 200 == 0:
            yield Progress(at, len(rows), _("labels"))
    return (yield from _write(settings, workspace.folder, rows, labelled))


def _write(
    settings: PreferenceSettings, folder: Path, rows: Sequence[Row], labelled: Sequence[Sequence[Labelled]]
) -> Work[Mapping[str, Any]]:
    generator = np.random.default_rng([settings.seed, 5])
    held_out = _dev_groups(settings, rows)
    train: list[Mapping[str, Any]] = []
    dev: list[Mapping[str, Any]] = []
    with (folder / "samples.jsonl").open("w", encoding="utf-8") as file:
        for row, answers in zip(rows, labelled, strict=True):
            content = [{"text": a.text, "score": a.score, "verdict": a.verdict, "added": a.added} for a in answers]
            file.write(json.dumps({"prompt": row["prompt"], "answers": content}, ensure_ascii=False) + "\n")
            target = dev if _group(settings, row) in held_out else train
            chosen_pairs = choose_pairs(answers, settings.pairs_per_prompt, generator)
            target.extend(_pair(row, better, worse) for better, worse in chosen_pairs)
    kept = balance_pairs(train, settings.balance, settings.max_ratio, generator)
    kept_dev = balance_pairs(dev, settings.balance, settings.max_ratio, generator)
    if not kept:
        raise UserError(
            "training.no_pairs", _("No prompt got two answers of different score."), _("Sample more, or hotter."), rows=len(rows)
        )
    for name, pairs in (("pairs.jsonl", kept), ("dev.jsonl", kept_dev)):
        with (folder / name).open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(pair, ensure_ascii=False) + "\n" for pair in pairs)
        yield Saved(name)
    verdicts = Counter(answer.verdict for answers in labelled for answer in answers)
    chosen = Counter((pair["chosen_verdict"], pair["rejected_verdict"]) for pair in kept)
    added = sum(answer.added for answers in labelled for answer in answers)
    with_added = sum(pair["chosen_added"] or pair["rejected_added"] for pair in kept)
    if added:
        yield Note(
            _("preferences: {added} of the answers were added to the samples; they are in {pairs} of {n} pairs").format(
                added=added, pairs=with_added, n=len(kept)
            )
        )
    yield Note("preferences: answers " + ", ".join(f"{name} {count}" for name, count in verdicts.most_common()))
    yield Note("preferences: pairs " + ", ".join(f"{a} > {b} {count}" for (a, b), count in chosen.most_common()))
    return {
        "prompts": len(rows),
        "answers": sum(verdicts.values()),
        "answers_added": added,
        "pairs": len(kept),
        "pairs_with_added": with_added,
        "dev_pairs": len(kept_dev),
        "dropped_by_balance": len(train) - len(kept),
        "verdicts": dict(verdicts.most_common()),
        "pair_kinds": {f"{a} > {b}": count for (a, b), count in chosen.most_common()},
    }


def _group(settings: PreferenceSettings, row: Row) -> str:
    found = (field_of(row, path) for path in settings.group_by)
    return next((str(value) for value in found if value is not None), json.dumps(row["prompt"], ensure_ascii=False))


def _dev_groups(settings: PreferenceSettings, rows: Sequence[Row]) -> set[str]:
    groups = sorted({_group(settings, row) for row in rows})
    order = np.random.default_rng([settings.seed, 6]).permutation(len(groups))
    return {groups[at] for at in order[: round(settings.dev_share * len(groups))]}


def readable(answer: Labelled) -> Labelled:
    """Return an answer without NUL characters, which a young model may sample and every reader of pairs refuses."""
    return replace(answer, text=answer.text.replace("\0", "\ufffd"))


def _pair(row: Row, better: Labelled, worse: Labelled) -> dict[str, Any]:
    return {
        "prompt": as_messages(row["prompt"]),
        "chosen": as_messages(better.text, "assistant"),
        "rejected": as_messages(worse.text, "assistant"),
        "chosen_verdict": better.verdict,
        "rejected_verdict": worse.verdict,
        "chosen_score": better.score,
        "rejected_score": worse.score,
        "chosen_added": better.added,
        "rejected_added": worse.added,
    }


STAGE = Stage("preferences", "Preference pairs", PreferenceSettings, run)
