"""A real model of inference, small: the bundled base model, trained on what follows from what in the closed world.

A pair is a question with an answer, twice. Both say the same value in other words: entailment. They say different values:
contradiction. One of them says that it does not know: neutral. Things and wordings of the test are never shown.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from models.world import language, phrasings
from models.world.facts import build_world

BASE = Path(__file__).parents[3] / "assets" / "checkpoints" / "pretrain"
RELATIONS = ("colour", "owner")
LABELS = ("contradiction", "neutral", "entailment")
TAUGHT_FORMS, HELD_OUT_FORMS = range(5), range(5, 8)
WORLD = build_world(7, {"taught": 60, "test": 20})


def say(entity, relation, value, form):
    """Return an answer: the bare value (form −1), or a sentence of the world's."""
    word = language.value_word(relation, value, "en")
    if form < 0:
        return f"{word}."
    kind = language.kind_word(entity.kind, "en")
    return phrasings.STATEMENTS[relation]["en"][form].format(n=entity.name, v=word, k=kind)


def pairs(n, group, forms, seed):
    """Return n rows of (premise, hypothesis, label)."""
    generator, entities = random.Random(seed), WORLD.group(group)
    rows = []
    while len(rows) < n:
        entity, relation = generator.choice(entities), generator.choice(RELATIONS)
        question = language.question(entity.name, relation, "en", generator.randrange(3))
        label = generator.choice((0, 0, 1, 2, 2))
        value = generator.randrange(24)
        other = value if label == 2 else (value + generator.randrange(1, 24)) % 24
        said = [say(entity, relation, v, generator.choice((-1, *forms))) for v in (value, other)]
        if label == 1:
            said[generator.randrange(2)] = generator.choice(phrasings.ABSTENTIONS["en"][:3])
        rows.append((f"{question} {said[0]}", f"{question} {said[1]}", label))
    return rows


def train(folder: Path, steps: int = 450, batch: int = 24, lr: float = 1.5e-3, seed: int = 0, say_loss: Any = None) -> Path:
    """Train and write the checkpoint."""
    import torch
    from transformers import AutoTokenizer, LlamaForSequenceClassification

    torch.manual_seed(seed)
    words = AutoTokenizer.from_pretrained(BASE)
    model = LlamaForSequenceClassification.from_pretrained(
        BASE, num_labels=3, id2label=dict(enumerate(LABELS)), label2id={n: i for i, n in enumerate(LABELS)}, dtype=torch.float32
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    rows = pairs(batch * steps, "taught", TAUGHT_FORMS, seed + 1)
    model.train()
    for step in range(steps):
        part = rows[batch * step : batch * (step + 1)]
        inputs = words([a for a, _b, _l in part], [b for _a, b, _l in part], padding=True, return_tensors="pt")
        inputs.pop("token_type_ids", None)
        loss = torch.nn.functional.cross_entropy(model(**inputs).logits, torch.tensor([label for _a, _b, label in part]))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if say_loss is not None:
            say_loss(step, loss.item())
    model.eval().save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
