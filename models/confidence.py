"""How probable was each token of an answer, and how undecided the model when it wrote it: one teacher-forced forward a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from models.events import Progress, Work
from models.opened import OpenModel
from models.prompts import start_id
from models.readout import forward
from models.trace import check_ids, context_length
from models.words import _

TOKENS = 4096
"""Tokens of one forward."""
CHUNK = 24_000_000
"""Logits that are made at a time."""


@dataclass(frozen=True)
class TokenScores:
    """ln p of each token of an answer and the entropy of the distribution that it was taken from, nats."""

    logprobs: tuple[float, ...]
    entropies: tuple[float, ...]


def token_scores(opened: OpenModel, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Work[list[TokenScores]]:
    """Return the scores of every answer.

    Args:
        opened: A decoder (prompt and answer are one text) or an encoder-decoder (source and target).
        pairs: (prompt ids, answer ids); an answer without tokens has none.

    Yields:
        ``Progress`` in answers.

    Raises:
        UserError: If an id is not in the vocabulary.
    """
    found: dict[int, TokenScores] = {}
    for batch in _batches(opened, pairs):
        found.update(_scores(opened, pairs, batch))
        yield Progress(len(found), len(pairs), _("weighing answers"))
    return [found.get(n, TokenScores((), ())) for n in range(len(pairs))]


def _batches(opened: OpenModel, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Iterator[list[int]]:
    order = sorted((n for n, pair in enumerate(pairs) if pair[1]), key=lambda n: -len(pairs[n][0]) - len(pairs[n][1]))
    batch: list[int] = []
    for n in order:
        widest = sum(map(len, pairs[batch[0]])) if batch else 0
        if batch and (len(batch) + 1) * widest > TOKENS:
            yield batch
            batch = []
        batch.append(n)
    if batch:
        yield batch


def _scores(
    opened: OpenModel, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], members: Sequence[int]
) -> dict[int, TokenScores]:
    import torch

    contexts, answers = [list(pairs[n][0]) for n in members], [list(pairs[n][1]) for n in members]
    for context, answer in zip(contexts, answers, strict=True):
        check_ids(opened, [*context, *answer])
    output, starts = _run(opened, contexts, answers)
    rows = [row for row, answer in enumerate(answers) for _token in answer]
    places = [start + i for start, answer in zip(starts, answers, strict=True) for i in range(len(answer))]
    targets = [token for answer in answers for token in answer]
    logs: list[float] = []
    entropies: list[float] = []
    size = max(1, CHUNK // int(opened.model.get_input_embeddings().weight.shape[0]))
    for begin in range(0, len(rows), size):
        chosen = [torch.tensor(values[begin : begin + size], device=opened.device) for values in (rows, places, targets)]
        logp = torch.log_softmax(output.logits(chosen[0], chosen[1]), dim=-1)  # (part, vocab)
        logs += logp.gather(1, chosen[2][:, None])[:, 0].double().tolist()
        entropies += (-(logp.exp() * logp).nan_to_num(0.0).sum(-1)).double().tolist()
    found, begin = {}, 0
    for n, answer in zip(members, answers, strict=True):
        end = begin + len(answer)
        found[n] = TokenScores(tuple(logs[begin:end]), tuple(entropies[begin:end]))
        begin = end
    return found


def _run(opened: OpenModel, contexts: Sequence[list[int]], answers: Sequence[list[int]]) -> tuple[Any, list[int]]:
    """Run a batch; return its output and the position that predicts each row's first answer token."""
    import torch

    if opened.kind == "encoder-decoder":
        width = max(map(len, contexts))
        mask = [[1] * len(row) + [0] * (width - len(row)) for row in contexts]
        targets = [[start_id(opened), *answer[:-1]] for answer in answers]
        given = {"input_ids": _padded(contexts), "attention_mask": mask, "decoder_input_ids": _padded(targets)}
        inputs = {name: torch.tensor(rows, device=opened.device) for name, rows in given.items()}
        return forward(opened, inputs), [0] * len(answers)
    most = context_length(opened)
    whole = [[*context, *answer[:-1]] for context, answer in zip(contexts, answers, strict=True)]
    kept = [row[-most:] if most else row for row in whole]
    starts = [len(row) - len(answer) for row, answer in zip(kept, answers, strict=True)]
    return forward(opened, {"input_ids": torch.tensor(_padded(kept), device=opened.device)}), starts


def _padded(rows: Sequence[list[int]]) -> list[list[int]]:
    """Return rows of one length, padded on the right, where causal attention never looks."""
    width = max(len(row) for row in rows)
    return [row + [0] * (width - len(row)) for row in rows]
