"""Does one text follow from another? A natural-language-inference model that the user has, by path; torch inside functions only.

Farquhar et al. 2024 (semantic entropy): two answers mean the same if neither contradicts the other and not both directions are
neutral (the default), or if both entail (strict). Manakul et al. 2023 (SelfCheckGPT-NLI): mean over the samples of
P(contradiction) / (P(contradiction) + P(entailment)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from models.errors import UserError
from models.opened import OpenModel
from models.words import _

LABELS = ("contradiction", "neutral", "entailment")
Triple = tuple[float, float, float]
BATCH = 16


@dataclass
class Inference:
    """An open NLI model; pairs that were asked are remembered.

    Args:
        opened: A sequence classifier with three labels.
        order: Index of contradiction, neutral and entailment among its labels.
    """

    opened: OpenModel
    order: tuple[int, int, int]
    known: dict[tuple[str, str], Triple] = field(default_factory=dict)

    def ask(self, pairs: Sequence[tuple[str, str]]) -> list[Triple]:
        """Return P(contradiction), P(neutral), P(entailment) of (premise, hypothesis) pairs."""
        missing = [pair for pair in dict.fromkeys(pairs) if pair not in self.known]
        for start in range(0, len(missing), BATCH):
            part = missing[start : start + BATCH]
            self.known.update(zip(part, _classify(self.opened, self.order, part), strict=True))
        return [self.known[pair] for pair in pairs]

    def same(self, question: str, strict: bool = False) -> Any:
        """Return the comparison of two answers to a question, for ``clusters.greedy``; the question goes before both."""

        def compare(a: str, b: str) -> bool:
            first, second = f"{question} {a}", f"{question} {b}"
            forward, backward = self.ask([(first, second), (second, first)])
            return equivalent(forward, backward, strict)

        return compare

    def inconsistency(self, sentence: str, samples: Sequence[str]) -> float:
        """Return SelfCheckGPT-NLI of a sentence, 0 to 1: how far the samples contradict it."""
        return contradiction(self.ask([(sample, sentence) for sample in samples]))


def equivalent(forward: Triple, backward: Triple, strict: bool = False) -> bool:
    """Return whether two texts mean the same, from both directions of inference; the most probable label counts."""
    labels = [LABELS[max(range(3), key=triple.__getitem__)] for triple in (forward, backward)]
    if strict:
        return labels == ["entailment", "entailment"]
    return "contradiction" not in labels and labels != ["neutral", "neutral"]


def contradiction(found: Sequence[Triple]) -> float:
    """Return the mean of P(contradiction) / (P(contradiction) + P(entailment)); NaN of nothing."""
    shares = [against / (against + supports) if against + supports > 0 else 0.5 for against, _neutral, supports in found]
    return sum(shares) / len(shares) if shares else float("nan")


def inference(opened: OpenModel) -> Inference:
    """Return an open checkpoint as an NLI model.

    Raises:
        UserError: If its labels are not contradiction, neutral and entailment.
    """
    names = {str(name).casefold(): int(index) for index, name in dict(getattr(opened.config, "id2label", None) or {}).items()}
    places = [next((i for name, i in names.items() if name.startswith(label[:7])), -1) for label in LABELS]
    if opened.kind != "reward" or min(places) < 0 or opened.tokenizer is None:
        raise UserError(
            "nli.labels",
            _("{name} is no model of inference: its labels are {labels}.").format(
                name=opened.name, labels=", ".join(names) or _("none")
            ),
            _("Name a sequence classifier with the labels contradiction, neutral and entailment."),
            path=opened.path,
        )
    return Inference(opened, (places[0], places[1], places[2]))


def _classify(opened: OpenModel, order: Sequence[int], pairs: Sequence[tuple[str, str]]) -> list[Triple]:
    import torch

    from models.running import forward_of

    firsts, seconds = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    inputs = opened.tokenizer(firsts, seconds, padding=True, truncation=True, return_tensors="pt").to(opened.device)
    with torch.inference_mode(), forward_of(opened):
        shares = opened.model(**inputs).logits.float().softmax(-1).cpu()[:, list(order)]  # (pairs, 3)
    return [(float(row[0]), float(row[1]), float(row[2])) for row in shares]
