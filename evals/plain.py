"""The second path to a number: one request at a time through the plain transformers model, no cache, no batch, no padding.

Slow and easy to trust. ``triptych eval --explain`` holds it beside what a run stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from evals.store import Request

if TYPE_CHECKING:
    from models.opened import OpenModel


def answer(opened: OpenModel, request: Request) -> dict[str, Any]:
    """Answer a request.

    Returns:
        ``loglikelihood`` in nats and ``greedy`` for scored ones, ``text`` for greedy generation; empty for sampled answers,
        which hang on the very generator.
    """
    if request.kind == "generate":
        return _generated(opened, request)
    if request.kind == "rolling":
        parts = [_scored(opened, before, after) for before, after in windows(opened, request)]
        return {"loglikelihood": sum(part[0] for part in parts), "greedy": all(part[1] for part in parts), "windows": len(parts)}
    total, greedy = (
        _masked(opened, request) if request.kind == "pseudo" else _scored(opened, request.context, request.continuation)
    )
    return {"loglikelihood": total, "greedy": greedy}


def windows(opened: OpenModel, request: Request) -> list[tuple[list[int], list[int]]]:
    """Return (context, predicted) windows of a rolling text as lm-eval cuts them."""
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    from models.scoring import max_length

    cut = get_rolling_token_windows(
        token_list=list(request.continuation), prefix_token=request.context[0], max_seq_len=max_length(opened), context_len=1
    )
    return [(list(before), list(after)) for before, after in map(make_disjoint_window, cut)]


def truncated(opened: OpenModel, request: Request) -> int:
    """Return how many tokens of the context do not fit into the model."""
    from evals import pseudo
    from models.scoring import max_length

    if request.kind == "pseudo":
        _ids, skip = pseudo.pieces(request, pseudo.room(opened))[0]
        return len(request.context) - skip.index(False)
    most, n = max_length(opened), len(request.context)
    if request.kind == "generate":
        room = most - (0 if opened.kind == "encoder-decoder" else int(dict(request.decoding)["max_new_tokens"]))
    elif opened.kind == "encoder-decoder":
        room = most
    else:
        room = most + 1 - len(request.continuation)
    return 0 if request.kind == "rolling" else max(0, n - room)


def _log_probabilities(opened: OpenModel, **inputs: Any) -> Any:
    import torch

    with torch.no_grad():
        return torch.log_softmax(opened.model(**inputs).logits[0].float(), dim=-1)


def _scored(opened: OpenModel, context: Sequence[int], continuation: Sequence[int]) -> tuple[float, bool]:
    import torch

    from models.scoring import max_length

    most, device, n = max_length(opened), opened.device, len(continuation)
    if opened.kind == "encoder-decoder":
        from models.prompts import start_id

        source = list(context)[-most:] or [start_id(opened)]
        target = torch.tensor([[start_id(opened), *continuation[:-1]]], device=device)
        table = _log_probabilities(opened, input_ids=torch.tensor([source], device=device), decoder_input_ids=target)
    else:
        whole = [*context, *continuation][-(most + 1) :][:-1]
        table = _log_probabilities(opened, input_ids=torch.tensor([whole], device=device))[-n:]
    wanted = torch.tensor(list(continuation), device=device)
    total = float(table.double().gather(1, wanted[:, None]).sum())
    return total, bool((table.argmax(-1) == wanted).all())


def _masked(opened: OpenModel, request: Request) -> tuple[float, bool]:
    import torch

    from evals.pseudo import pieces, room

    total, greedy = 0.0, True
    for ids, skip in pieces(request, room(opened)):
        for place, skipped in enumerate(skip):
            if skipped:
                continue
            row = torch.tensor([ids], device=opened.device)
            row[0, place] = opened.tokenizer.mask_token_id
            logs = _log_probabilities(opened, input_ids=row)[place]
            total += float(logs[ids[place]])
            greedy = greedy and int(logs.argmax()) == ids[place]
    return total, greedy


def _generated(opened: OpenModel, request: Request) -> dict[str, Any]:
    import torch

    from models.chain import parse
    from models.prompts import start_id

    how = dict(request.decoding)
    if how["temperature"] != 0.0:
        return {}
    stages = {stage.name: stage.value for stage in parse(how.get("chain", ""))}  # those that cut off leave the best token
    more: dict[str, Any] = {"decoder_start_token_id": start_id(opened)} if opened.kind == "encoder-decoder" else {}
    cut = truncated(opened, request)
    ids = torch.tensor([list(request.context)[cut:]], device=opened.device)
    with torch.no_grad():
        made = opened.model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, num_beams=1,
            max_new_tokens=int(how["max_new_tokens"]), pad_token_id=opened.tokenizer.pad_token_id,
            repetition_penalty=stages.get("repetition_penalty", 1.0), **more,
        )[0].tolist()  # fmt: skip
    new = made[1:] if opened.kind == "encoder-decoder" else made[ids.shape[1] :]
    text = str(opened.tokenizer.decode(new, skip_special_tokens=True))
    for mark in (*how["until"], opened.tokenizer.eos_token or ""):
        text = text.split(mark)[0] if mark else text
    return {"text": text}
