"""Generate one answer token by token, with a key-value cache, keeping what each step's distribution looked like."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.chain import is_greedy, stages_of, written
from models.columns import Sampler
from models.errors import UserError
from models.events import Partial, Progress, Work
from models.opened import OpenModel
from models.prompts import eos_ids, start_id, tokenizer_of
from models.records.sampling import Generation, Step
from models.running import cache_name, cache_of, forward_of, keeps_keys
from models.sampling import check_sampler, draw, sampled
from models.tokens import token_texts
from models.trace import accepts, check_ids, check_length, context_length
from models.words import _

TOP = 20


@dataclass
class Decoder:
    """A model that is fed a few tokens at a time and remembers the rest in its cache."""

    opened: OpenModel
    source: Any = None
    cache: Any = None
    fed: list[int] = field(default_factory=list)

    def feed(self, ids: Sequence[int]) -> Any:
        """Feed token ids and return float32 logits (vocab,) of what follows the last.

        A recurrent family goes on from its state one token at a time.
        """
        import torch

        if self.cache is not None and len(ids) > 1 and not keeps_keys(self.cache):
            return [self.feed([id]) for id in ids][-1]

        model, self.fed = self.opened.model, [*self.fed, *ids]
        given = list(ids) if self.cache is not None else self.fed  # a family without a cache reads everything again
        options: dict[str, Any] = {"use_cache": True} if accepts(model, "use_cache") else {}
        if accepts(model, "logits_to_keep"):
            options["logits_to_keep"] = 1
        if self.cache is not None:
            options[cache_name(model)] = self.cache
        batch = torch.tensor([given], device=self.opened.device)
        with torch.inference_mode(), forward_of(self.opened):
            if self.source is not None:
                outputs = model(encoder_outputs=self.source, decoder_input_ids=batch, return_dict=True, **options)
            else:
                outputs = model(input_ids=batch, return_dict=True, **options)
        self.cache = cache_of(outputs)
        return outputs.logits[0, -1].float()


def start(opened: OpenModel, ids: Sequence[int], prefix: Sequence[int] = ()) -> tuple[Decoder, list[int]]:
    """Return a decoder and the ids to feed it first (for an encoder-decoder the source is encoded here).

    Args:
        opened: The model.
        ids: The prompt; the source of an encoder-decoder.
        prefix: How an encoder-decoder's answer begins, without its start token.

    Raises:
        UserError: If the model cannot generate, or the prompt is empty or too long.
    """
    import torch

    refuse_unless_generating(opened)
    check_ids(opened, ids)
    check_length(opened, len(ids), room=0 if opened.kind == "encoder-decoder" else 1)
    if opened.kind != "encoder-decoder":
        return Decoder(opened), list(ids)
    batch = torch.tensor([list(ids)], device=opened.device)
    with torch.inference_mode(), forward_of(opened):
        source = opened.model.get_encoder()(input_ids=batch, return_dict=True)
    return Decoder(opened, source), [start_id(opened), *prefix]


def refuse_unless_generating(opened: OpenModel) -> None:
    """Raise ``UserError`` for a model that generates no text."""
    reason = {
        "encoder": _("an encoder fills masks and does not generate"),
        "reward": _("a reward model scores answers and does not generate"),
    }.get(opened.kind)
    if reason is None and opened.model.get_output_embeddings() is None:
        reason = _("it has no head that predicts tokens")
    if reason is not None:
        raise UserError("generate.kind", _("{name} cannot generate: {reason}.").format(name=opened.name, reason=reason))


def generate(
    opened: OpenModel, ids: Sequence[int], sampler: Sampler, receipt: str = "", prefix: Sequence[int] = ()
) -> Work[Generation]:
    """Generate one answer; yields ``Partial(Step)`` for each token.

    Args:
        opened: A decoder or encoder-decoder.
        ids: Prompt (source) token ids.
        sampler: How to choose; its seed makes the answer repeatable.
        receipt: How the prompt was made, kept in the result.
        prefix: How an encoder-decoder's answer begins, without its start token; it is no part of the result.

    Raises:
        UserError: If the model cannot generate, or the prompt or sampler is not usable.
    """
    import torch

    check_sampler(sampler)
    started = time.monotonic()
    yield Progress(0, sampler.max_new_tokens, _("reading the prompt"))
    decoder, feed = start(opened, ids, prefix)
    ends, most = eos_ids(opened), context_length(opened)
    generator = torch.Generator().manual_seed(sampler.seed)
    tokens: list[int] = []
    total, stop = 0.0, "length"
    for _index in range(sampler.max_new_tokens):
        if most and len(decoder.fed) + len(feed) > most:
            stop = "limit"
            break
        logits = decoder.feed(feed)
        if bool(torch.isnan(logits).any()):
            stop = "nan"
            break
        step = choose(opened, logits, sampler, generator, tokens, decoder.fed)
        tokens.append(step.id)
        total += step.surprisal
        yield Partial(step)
        if step.id in ends:
            stop = "eos"
            break
        feed = [step.id]
    text = answer_text(opened, tokens)
    return Generation(
        text, tuple(tokens), stop, time.monotonic() - started, len(ids), total / max(len(tokens), 1), sampler.seed,
        "; ".join(part for part in (receipt, sampler_said(sampler)) if part),
    )  # fmt: skip


def choose(
    opened: OpenModel, logits: Any, sampler: Sampler, generator: Any, answer: Sequence[int], before: Sequence[int] = ()
) -> Step:
    """Choose the next token from logits (vocab,) and return all that is shown of the step.

    Args:
        opened: The model.
        logits: What it predicts.
        sampler: How to choose.
        generator: Draws; untouched where the sampler is greedy.
        answer: Ids generated so far.
        before: All ids that stand before, prompt included, for the sampler's penalties.
    """
    import torch

    logs = torch.log_softmax(logits, dim=-1)
    own = logs.exp()
    after = sampled(logits, sampler, [before]) if stages_of(sampler) else own
    chosen = int(after.argmax()) if is_greedy(sampler) else draw(after, generator)
    best = torch.topk(own, min(TOP, own.shape[-1]))
    top_ids = best.indices.cpu().numpy().astype(np.int64)
    texts = token_texts(opened.tokenizer, [chosen, *top_ids.tolist()])
    return Step(
        index=len(answer),
        id=chosen,
        text=texts[0],
        probability=float(after[chosen]),
        surprisal=-float(logs[chosen]),
        entropy=float(-(own * logs).nan_to_num_(0.0).sum()),
        rank=int((logits > logits[chosen]).sum()),
        text_so_far=answer_text(opened, [*answer, chosen]),
        top_ids=top_ids,
        top_texts=tuple(texts[1:]),
        top_probabilities=best.values.cpu().numpy().astype(np.float32),
    )


def answer_text(opened: OpenModel, ids: Sequence[int]) -> str:
    """Return the text of generated ids without special tokens, and without a character that is not whole yet."""
    text = str(tokenizer_of(opened).decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))
    return text.rstrip("\ufffd")


def sampler_said(sampler: Sampler) -> str:
    """Return a sampler in words."""
    seed = _("seed {seed}").format(seed=sampler.seed)
    if sampler.chain:
        return _("sampler chain {chain}, {seed}").format(chain=written(stages_of(sampler)) or _("empty"), seed=seed)
    if is_greedy(sampler):
        return _("greedy")
    parts = [_("temperature {x:g}").format(x=sampler.temperature)]
    if sampler.top_k:
        parts.append(_("top-k {k}").format(k=sampler.top_k))
    if sampler.top_p < 1.0:
        parts.append(_("top-p {p:g}").format(p=sampler.top_p))
    return ", ".join([*parts, seed])
