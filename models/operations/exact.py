"""The token ids of an evaluated item, or of an answer: from a score, or from Chat, back to what the model was given."""

from __future__ import annotations

from collections.abc import Mapping

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
    continuation is encoded together with its prompt, a generated answer behind it. An encoder-decoder is given the prompt as
    its source and the answer as its target.

    Args:
        shelf: Open models.
        column: The checkpoint.
        prompt: Exactly as it was given, few-shot examples and template included.
        answer: What was written, or scored, after it.
        rendered: Whether a chat template wrote the prompt, so that special tokens in it are meant.
        scored: Whether the answer is a continuation whose likelihood was taken.
    """
    from models.prompts import start_id, tokenizer_of, written
    from models.scoring import max_length, prefix_token
    from models.tokens import encode_plain

    opened = yield from shelf.open(column)
    tokenizer = tokenizer_of(opened)
    if opened.kind == "encoder-decoder":
        source = [*encode_plain(tokenizer, prompt), start_id(opened)]
        return ExactText(prompt, (*source, *encode_plain(tokenizer, answer, False)), len(source), "")
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


def written_out(
    shelf: Shelf, column: Column, ids: tuple[int, ...], prompt: str = "", messages: tuple[Mapping[str, str], ...] = (),
    position: int = -1,
) -> Work[ExactText]:  # fmt: skip
    """Return what was generated, behind what the model was given, as the very token ids.

    Of an encoder-decoder the text is the source, and the ids are the source's, then its decoder's: start token, answer.

    Args:
        shelf: Open models.
        column: The checkpoint that wrote it, under the prompt variant that it was given.
        ids: What it wrote.
        prompt: The text that it went on with.
        messages: The conversation that it answered, in place of a text.
        position: The token of the prompt behind which ``ids`` stand; -1 for the last.
    """
    from models.prompts import conversation, joined, prepare, tokenizer_of, with_system, written

    opened = yield from shelf.open(column)
    given = conversation(opened, column, messages) if messages else prepare(opened, column, prompt, echo=False)
    tokenizer = tokenizer_of(opened)
    if given.target_ids:
        source = joined(with_system(column, messages)) if messages else prompt
        before = (*given.ids, *(given.target_ids if position < 0 else given.target_ids[: position + 1]))
        return ExactText(source, (*before, *ids), len(before), "")
    before = given.ids if position < 0 else given.ids[: position + 1]
    whole = (*before, *ids)
    return ExactText(written(tokenizer, whole), whole, len(before), "")


OPERATIONS = {"exact": exact, "written_out": written_out}
