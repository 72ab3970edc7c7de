"""ln p and entropy of every token of an answer: as transformers gives them one answer at a time, whatever the batch."""

import numpy as np
import pytest
import torch

from models import confidence
from models.events import finish
from models.prompts import start_id

PAIRS = [([1, 9, 8, 7, 30], [11, 12]), ([1, 40], [13, 14, 15, 2]), ([1, 9, 8], []), ([5, 6, 7, 8, 9, 10, 11], [2])]


def reference(opened, prompt, answer):
    """Return (ln p, entropies) of one answer from the model's own forward."""
    with torch.inference_mode():
        if opened.kind == "encoder-decoder":
            given = {"input_ids": torch.tensor([prompt]), "decoder_input_ids": torch.tensor([[start_id(opened), *answer[:-1]]])}
            logits = opened.model(**given).logits[0]
        else:
            logits = opened.model(torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1]
    logp = logits.float().log_softmax(-1)
    return logp.gather(1, torch.tensor(answer)[:, None])[:, 0].numpy(), -(logp.exp() * logp).sum(-1).numpy()


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "mamba", "t5", "bart"])
def test_tokens_as_transformers_scores_them(opened, family, monkeypatch):
    model = opened(family)
    found = finish(confidence.token_scores(model, PAIRS))
    assert found[2] == confidence.TokenScores((), ())
    for (prompt, answer), one in zip(PAIRS, found, strict=True):
        if answer:
            logs, entropies = reference(model, prompt, answer)
            assert np.allclose(one.logprobs, logs, atol=1e-4)
            assert np.allclose(one.entropies, entropies, atol=1e-4)
    monkeypatch.setattr(confidence, "TOKENS", 1)  # each by itself
    monkeypatch.setattr(confidence, "CHUNK", 1)
    alone = finish(confidence.token_scores(model, PAIRS))
    assert all(np.allclose(a.logprobs, b.logprobs, atol=1e-5) for a, b in zip(found, alone, strict=True))


def test_of_nothing(opened):
    assert finish(confidence.token_scores(opened("llama"), [])) == []
