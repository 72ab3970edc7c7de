"""Answers to a few fixed prompts while a model trains, so that one sees them change. Training takes no notice of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from models.events import Progress, Recorded, Work
from models.training.architectures import CAUSAL, MASKED, objective_of
from models.training.data import Texts
from models.training.randomness import random_state, set_random_state
from models.training.stage import TrainSettings
from models.training.task import Task
from models.words import _

CHAT_STAGES = ("sft", "dpo", "rlhf")
"""Stages that prompt in the chat template, if the tokenizer has one."""
LONGEST_PROMPT = 2000


def asker(
    task: Task, settings: TrainSettings, tokenizer: Path, stage: str, autocast: Any = None
) -> Callable[[int], Work[Recorded]] | None:
    """Return what answers the settings' prompts after a step; ``None`` if there are none, or the stage makes no language.

    Args:
        task: Holds the model.
        settings: ``sample_prompts`` and ``sample_tokens``.
        tokenizer: Folder.
        stage: As a lineage calls it: pretrain, sft, rlhf, dpo.
        autocast: torch dtype of autocast; ``None`` for fp32.
    """
    model = task.modules["model"]
    if not settings.sample_prompts or model.get_output_embeddings() is None:
        return None
    texts = Texts(tokenizer)
    objective = objective_of(model.config.model_type)
    read = {CAUSAL: _go_on, MASKED: _fill}.get(objective, _write)
    chat = stage in CHAT_STAGES and bool(texts.tokenizer.chat_template)

    def answer(step: int) -> Work[Recorded]:
        found = []
        with _aside(model, autocast):
            for at, prompt in enumerate(settings.sample_prompts):
                ids = _prompt_ids(texts, prompt, chat, objective)
                text = yield from read(model, texts, ids, settings.sample_tokens)
                found.append(text)
                yield Progress(at + 1, len(settings.sample_prompts), _("answers"))
        return Recorded("answers", step, {"prompts": list(settings.sample_prompts), "texts": found})

    return answer


@contextmanager
def _aside(model: Any, autocast: Any) -> Iterator[None]:
    """While the block runs the model evaluates; afterwards its mode and every random generator are as they were."""
    import torch

    before, training = random_state(), model.training
    device = next(model.parameters()).device.type
    model.eval()
    try:
        with torch.autocast(device, dtype=autocast, enabled=autocast is not None):
            yield
    finally:
        model.train(training)
        set_random_state(*before)


def _prompt_ids(texts: Texts, prompt: str, chat: bool, objective: str) -> list[int]:
    """Return what the model is given; a prompt for an encoder or encoder-decoder without a gap gets one at its end."""
    prompt = prompt[:LONGEST_PROMPT]
    if chat:
        return texts.prompts([[{"role": "user", "content": prompt}]])[0]
    if objective == MASKED:
        ids = texts.encode([prompt])[0]
        ids = ids if texts.mask in ids else [*ids, texts.mask]
        return [*([] if texts.bos is None else [texts.bos]), *ids, texts.end]
    ids = texts.encode([prompt])[0]
    if objective == CAUSAL:
        return ids if texts.bos is None else [texts.bos, *ids]
    sentinels = texts.sentinels
    ids = ids if sentinels and sentinels[0] in ids else [*ids, *sentinels[:1]]
    return [*ids, texts.end]


def _go_on(model: Any, texts: Texts, ids: list[int], count: int) -> Work[str]:
    """Return the likeliest continuation of a prompt by a decoder, token by token, with its cache if it has one."""
    import torch

    from models.training.forward import head_logits

    device = next(model.parameters()).device
    given, cache = torch.tensor([ids], device=device), None
    whole, written = given, []
    for number in range(count):
        with torch.no_grad():
            more: dict[str, Any] = {"past_key_values": cache} if cache is not None else {}
            output = model.base_model(input_ids=given, use_cache=True, **more)
            token = int(head_logits(model, output[0][:, -1])[0].argmax())
        if token == texts.end:
            break
        written.append(token)
        cache = getattr(output, "past_key_values", None)
        latest = torch.tensor([[token]], device=device)
        whole = torch.cat([whole, latest], 1)
        given = whole if cache is None else latest
        if number % 4 == 3:
            yield Progress(number, count, _("tokens"))
    return texts.decode(written)


def _fill(model: Any, texts: Texts, ids: list[int], count: int) -> Work[str]:
    """Return a prompt with its masks filled by the likeliest tokens of an encoder, all at once."""
    import torch

    yield Progress(0, 1, _("tokens"))
    place = torch.tensor([ids], device=next(model.parameters()).device)
    with torch.no_grad():
        best = model(input_ids=place).logits[0].argmax(-1).tolist()
    return texts.decode([guess if token == texts.mask else token for token, guess in zip(ids, best, strict=True)])


def _write(model: Any, texts: Texts, ids: list[int], count: int) -> Work[str]:
    """Return what an encoder-decoder writes for a prompt, token by token; the gaps' marks stay in the text."""
    import torch

    device = next(model.parameters()).device
    read = torch.tensor([ids], device=device)
    start = model.config.decoder_start_token_id
    written = [texts.pad if start is None else int(start)]
    with torch.no_grad():
        encoded = model.get_encoder()(input_ids=read)
    for number in range(count):
        with torch.no_grad():
            decoded = torch.tensor([written], device=device)
            logits = model(encoder_outputs=encoded, decoder_input_ids=decoded, use_cache=False).logits
        written.append(int(logits[0, -1].argmax()))
        if written[-1] == texts.end:
            break
        if number % 4 == 3:
            yield Progress(number, count, _("tokens"))
    return str(texts.tokenizer.decode([token for token in written[1:] if token != texts.end])).strip()
