"""What people read for the names of benchmarks, metrics, verdicts and states, in the chosen language."""

from __future__ import annotations

import math

from models.records.scores import Comparison
from models.words import _


def translated(text: str) -> str:
    """Return a title or word of this package in the chosen language; what a plug-in brings stays as it is."""
    return _known().get(text) or (_(text) if text else text)


def _known() -> dict[str, str]:
    return {
        "Perplexity of unseen articles": _("Perplexity of unseen articles"),
        "Questions": _("Questions"),
        "Translation": _("Translation"),
        "Summaries": _("Summaries"),
        "Unknown things": _("Unknown things"),
        "After the cutoff": _("After the cutoff"),
        "False premises": _("False premises"),
        "Refusals": _("Refusals"),
        "Word perplexity": _("Word perplexity"),
        "Byte perplexity": _("Byte perplexity"),
        "Token perplexity": _("Token perplexity"),
        "Bits per byte": _("Bits per byte"),
        "Exact match": _("Exact match"),
        "Hallucination rate": _("Hallucination rate"),
        "Abstention rate": _("Abstention rate"),
        "Refusal rate": _("Refusal rate"),
        "Benign refusal rate": _("Benign refusal rate"),
        "Correction rate": _("Correction rate"),
        "Confirmation rate": _("Confirmation rate"),
        "Counterfactual pairs": _("Counterfactual pairs"),
        "Everyday refusals": _("Everyday refusals"),
        "Wrapped requests": _("Wrapped requests"),
        "Hidden instructions": _("Hidden instructions"),
        "Missing words": _("Missing words"),
        "Feelings": _("Feelings"),
        "Kinds of names": _("Kinds of names"),
        "Conclusions": _("Conclusions"),
        "Accuracy": _("Accuracy"),
        "Yes rate": _("Yes rate"),
        "Unparsable rate": _("Unparsable rate"),
        "Injection rate": _("Injection rate"),
        "Counterfactual gap": _("Counterfactual gap"),
        "Counterfactual lean": _("Counterfactual lean"),
        "TruthfulQA": _("TruthfulQA"),
        "Recognising hallucinations": _("Recognising hallucinations"),
        "Perplexity of a text": _("Perplexity of a text"),
        "Perplexity of targets given their sources": _("Perplexity of targets given their sources"),
        "answered": _("answered"),
        "obeyed": _("obeyed"),
        "correct": _("correct"),
        "wrong": _("wrong"),
        "abstained": _("abstained"),
        "hallucinated": _("hallucinated"),
        "accepted": _("accepted"),
        "corrected": _("corrected"),
        "confirmed": _("confirmed"),
        "refused": _("refused"),
        "complied": _("complied"),
        "invalid": _("invalid"),
        "failed": _("failed"),
        "running": _("running"),
        "done": _("done"),
    }


def verdict_of(row: Comparison) -> str:
    """Return what a comparison says: better, worse, or how many samples it would take; and whether the two were asked alike."""
    text = _verdict(row)
    return f"{text}; {unlike_text(row)}" if text and row.unlike else text


def unlike_text(row: Comparison) -> str:
    """Return in what two scores were asked differently, in words."""
    return _("asked differently: {settings}").format(settings=", ".join(row.unlike))


def _verdict(row: Comparison) -> str:
    if row.n_needed:
        least = f"{row.detectable:.2g}" if math.isfinite(row.detectable) else "?"
        text = _("not enough samples: {n} needed ({here} could show {least})")
        return text.format(n=f"{row.n_needed:,}", here=f"{row.n:,}", least=least)
    words = {
        "better": _("better"), "worse": _("worse"), "different": _("different"), "unclear": _("no difference shown"),
    }  # fmt: skip
    return words[row.verdict] if row.verdict and math.isfinite(row.difference) else ""
