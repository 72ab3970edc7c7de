"""The token ids of an evaluated item: from a score back to what the model was given."""

from __future__ import annotations

from models.columns import Column
from models.events import Work
from models.records.tokens import ExactText
from models.shelf import Shelf
from models.words import _


def exact(
    shelf: Shelf, column: Column, prompt: str, answer: str = "", rendered: bool = False, scored: bool = False
) -> Work[ExactText]:
    """Return prompt and answer as the token ids that an evaluation uses.

    The prompt is encoded as lm-eval does: BOS where the tokenizer adds one, unless a chat template wrote it already. A scored
    continuation is encoded together with its prompt, a generated answer behind it.

    Args:
        shelf: Open models.
        column: The checkpoint.
        prompt: Exactly as it was given, few-shot examples and template included.
        answer: What was written, or scored, after it.
        rendered: Whether a chat template wrote the prompt, so that special tokens in it are meant.
        scored: Whether the answer is a continuation whose likelihood was taken.
    """
    from models.prompts import tokenizer_of, written
    from models.scoring import max_length, prefix_token
    from models.tokens import encode_plain

    opened = yield from shelf.open(column)
    tokenizer = tokenizer_of(opened)
    bos = tokenizer.bos_token
    begins = bool(rendered and bos and prompt.startswith(bos))
    before = encode_plain(tokenizer, prompt, not begins, rendered) if prompt else [prefix_token(opened)]
    if scored and prompt:
        ids = encode_plain(tokenizer, prompt + answer, not begins, rendered)
    else:
        ids = [*before, *encode_plain(tokenizer, answer, False)] if answer else list(before)
    most = max_length(opened)
    note = _("cut at the left to the {n} tokens that the model takes").format(n=most) if len(ids) > most else ""
    n_prompt = max(min(len(before), len(ids)) - max(len(ids) - most, 0), 0)
    ids = ids[-most:]
    return ExactText(written(tokenizer, ids), tuple(ids), n_prompt, note)


OPERATIONS = {"exact": exact}
