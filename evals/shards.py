"""A share of an evaluation: which batches a process of an array job answers, and how the shares become one again.

Batches are cut over all requests and dealt out in turn, so the answers of n shares are, to the last bit, those of one process.
A share keeps its answers in ``OUTPUT/shards/i-of-n/CHECKPOINT/responses.jsonl``; ``triptych merge`` unites them by key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from evals import files
from evals.options import EvalSettings
from evals.store import FILE, Request, ResponseStore, batches_in, stored
from models.errors import UserError
from models.events import Note, Work
from models.files import write_json
from models.records.scores import Cell
from models.words import _

FOLDER, PLAN = "shards", "plan.json"
KINDS = {
    "multiple_choice": "score", "loglikelihood": "score", "loglikelihood_rolling": "rolling", "generate_until": "generate"
}  # fmt: skip
NO_ANSWER: dict[str, Any] = {"rolling": 0.0, "generate": {"text": "", "stop": "eos"}}
"""Kind of request → what lm-eval is handed where another share has the answer; neither written nor scored."""
NO_SCORE = [0.0, False]
"""The same for requests that score a continuation: log-likelihood 0, not what greedy decoding gives."""


@dataclass(frozen=True)
class Shard:
    """One of ``count`` shares, numbered from 1; a label keeps shares of different cells apart."""

    index: int
    count: int
    label: str = ""

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``i/n``.

        Raises:
            UserError: Unless 1 ≤ i ≤ n.
        """
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip(), re.ASCII)
        shard = cls(int(found[1]), int(found[2])) if found else cls(0, 0)
        if not 1 <= shard.index <= shard.count:
            raise UserError(
                "eval.shard",
                _("--shard is {text!r}; it must be i/n, the first of four being 1/4.").format(text=text[:40]),
                _("Array jobs that count from 0 add one: --shard $((SLURM_ARRAY_TASK_ID + 1))/$SLURM_ARRAY_TASK_COUNT."),
            )
        return shard

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.label}-{self.index}-of-{self.count}".lstrip("-")

    def holds(self, place: int) -> bool:
        """Return whether the batch at this place is one of its own."""
        return place % self.count == self.index - 1


class Others:
    """The store of one share: the answers of other shares are pretended, so that lm-eval asks for its next kind of request."""

    def __init__(self, shard: Shard, known: Mapping[str, Any], own: ResponseStore) -> None:
        """Join what is known already, from an earlier evaluation, and the share's own store."""
        self.shard = shard
        self.known = known
        self.own = own
        self.pretended: dict[str, Any] = {}
        self.asked: dict[str, set[str]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self.own or key in self.known or key in self.pretended

    def __getitem__(self, key: str) -> Any:
        return self.own[key] if key in self.own else self.known.get(key, self.pretended.get(key))

    def put(self, rows: Mapping[str, Any], sync: bool = False) -> None:
        """Keep answers of this share."""
        self.own.put(rows, sync)

    def close(self) -> None:
        """Flush to the disk and close."""
        self.own.close()

    def pretend(self, requests: Mapping[str, Request], planned: Any) -> bool:
        """Answer what other shares hold with nothing; returns whether all kinds of requests of the tasks were asked for."""
        asked = self.asked.setdefault(planned.name, set())
        for key, request in requests.items():
            asked.add(request.kind)
            if key not in self:
                self.pretended[key] = NO_ANSWER.get(request.kind, NO_SCORE)
        return asked >= kinds(planned)

    def told(self, base: Cell, computed: int) -> Cell:
        """Return a cell that says how many answers of one benchmark the share has computed, in place of a score."""
        text = _("share {i} of {n}; `triptych merge` scores them all").format(i=self.shard.index, n=self.shard.count)
        return replace(base, metric=_("answers"), value=float(computed), n=computed, signature=text)


@dataclass(frozen=True)
class Plan:
    """What an evaluation was asked for; written beside every share."""

    checkpoints: tuple[str, ...]
    benchmarks: tuple[str, ...]
    settings: EvalSettings

    def write(self, folder: Path) -> None:
        """Write it into the folder of a share."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / PLAN, asdict(self))


def plan_of(output: Path) -> tuple[Plan, list[Shard]]:
    """Return what the shares under a folder were asked for, and which there are.

    Raises:
        UserError: If there are none, or they were asked for different things.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted((output / FOLDER).glob(f"*/{PLAN}")):
        found.setdefault(path.read_text(encoding="utf-8"), []).append(path)
    if not found:
        raise UserError(
            "merge.nothing",
            _("There are no shares under {path}.").format(path=output),
            _("Run `triptych eval … --output-path {path} --shard i/n` first.").format(path=output),
        )
    if len(found) > 1:
        places = [paths[0].parent.name for paths in found.values()]
        raise UserError(
            "merge.different",
            _("The shares under {path} were asked for different things: {names}.").format(path=output, names=", ".join(places)),
            _("Remove the folders under {path} that do not belong to this evaluation.").format(path=output / FOLDER),
        )
    ((text, paths),) = found.items()
    return _plan(text, paths[0]), [Shard.parse(path.parent.name.replace("-of-", "/")) for path in paths]


def _plan(text: str, path: Path) -> Plan:
    try:
        row = json.loads(text)
        settings = {name: row["settings"][name] for name in EvalSettings.__dataclass_fields__ if name in row["settings"]}
        return Plan(tuple(row["checkpoints"]), tuple(row["benchmarks"]), EvalSettings(**settings))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError("merge.plan", _("{path} cannot be read.").format(path=path), _("Run that share again.")) from error


def merge(output: Path) -> Work[list[Cell]]:
    """Unite the answers of all shares by their keys and score them; what no share has answered is computed here.

    Args:
        output: The folder that was given to every share.

    Returns:
        The cells, as an evaluation in one process gives them.
    """
    from evals import grid

    plan, shares = plan_of(output)
    lacking = sorted({n for share in shares for n in range(1, share.count + 1)} - {share.index for share in shares})
    if lacking:
        names = ", ".join(map(str, lacking))
        yield Note(_("shares {names} have not run; what they hold is computed now").format(names=names), "warning")
    n, n_twice, n_other = unite(output)
    yield Note(_("{n} answers united, {twice} were there twice").format(n=n, twice=n_twice))
    if n_other:
        yield Note(_("{n} answers differ between shares; the first one counts").format(n=n_other), "warning")
    return (yield from grid.run(plan.checkpoints, plan.benchmarks, plan.settings, output))


def unite(output: Path) -> tuple[int, int, int]:
    """Put the answers of all shares into the stores of the whole; returns how many, how many twice, how many of those differ."""
    n = n_twice = n_other = 0
    for name in sorted({path.parent.name for path in (output / FOLDER).glob(f"*/*/{FILE}")}):
        store = ResponseStore(output / name / FILE)
        try:
            for path in sorted((output / FOLDER).glob(f"*/{name}/{FILE}")):
                for batch in batches_in(path):
                    new = {key: value for key, value in batch.items() if key not in store}
                    n += len(new)
                    n_twice += len(batch) - len(new)
                    n_other += sum(store[key] != value for key, value in batch.items() if key not in new)
                    store.put(new)
        finally:
            store.close()
    return n, n_twice, n_other


def store_of(shard: Shard, output: Path, name: str) -> Others:
    """Return the store of a share of one checkpoint; what an earlier evaluation into ``output`` has answered is known to it."""
    folder = files.sanitised(name)
    own = ResponseStore(output / FOLDER / shard.name / folder / FILE)
    return Others(shard, stored(output / folder / FILE), own)


def kinds(planned: Any) -> set[str]:
    """Return the kinds of requests that the tasks of a plan make."""
    names = {str(task.get_config("output_type") or task.OUTPUT_TYPE) for task in planned.tasks.values()}
    return {KINDS.get(name, name) for name in names}
