"""Records for the tests of the views Salience and Inside one step, made by hand."""

import numpy as np

from models.records.inside import Inside, InsideStep, Part
from models.records.salience import Salience, SalienceQuestion
from tests.ui.samples import TEXT, tokens


def salience(text=TEXT, seed=0, question=None, kind="decoder"):
    made = tokens(text)
    random = np.random.default_rng(seed)
    scores = random.normal(0, 1, len(made)).astype(np.float32)
    scores[0] = np.nan
    target = tokens(" so far", bos=False) if kind == "encoder-decoder" else ()
    own = random.normal(0, 1, len(target)).astype(np.float32)
    place = len(target) if target else len(made)
    return Salience(question or SalienceQuestion(), made, scores, target, own, place, 17, " Ombra", -1, "", 7.25, float("nan"),
                    0.4, float("nan"), float("nan"), 3, kind, "", "the prediction of what comes next")  # fmt: skip


def inside(text=TEXT, seed=0, layer=0, head=0):
    labels = tuple(token.text or token.piece for token in tokens(text))[-24:]
    n = len(labels)
    random = np.random.default_rng(seed)

    def matrix(name, columns=48, whole=64):
        return Part(name, random.normal(0, 1, (n, columns)).astype(np.float32), labels, (), 0, 0, (n, whole), n - 1)

    def square(name, values):
        return Part(name, values.astype(np.float32), labels, labels, 0, 0, (n, n), n - 1)

    scores = random.normal(0, 1, (n, n))
    mask = np.triu(np.full((n, n), -np.inf), 1)
    weights = np.exp(scores + mask)
    chances = np.sort(random.dirichlet(np.ones(16)))[::-1].astype(np.float32)[:, None]
    names = tuple(f" word{i}" for i in range(16))
    ids = Part("id", np.arange(n, dtype=np.float32)[:, None], labels, ("id",), 0, 0, (n, 1), n - 1)
    steps = (
        InsideStep("tokens", (ids,), {"n": n}),
        InsideStep("norm", (matrix("normed"),), {"norm": "rms", "rms": 1.25}, 0.0),
        InsideStep("qkv", (matrix("query", 8, 8), matrix("key", 8, 8), matrix("value", 8, 8)), {"head_width": 8, "shared": 2}),
        InsideStep("mask", (square("mask", mask), square("masked scores", scores + mask)), {"hidden": 1, "causal": 1}),
        InsideStep("softmax", (square("weights", weights / weights.sum(1, keepdims=True)),)),
        InsideStep("predict", (Part("probabilities", chances, names, (), 0, 0, (300, 1)),), {"entropy": 2.1, "top": 1.0}),
    )
    return Inside("decoder", "self", layer, head, 4, 4, n - 1, labels, steps, (), "BOS added")


ANSWERS = {
    "inside": lambda want: inside(want.params["text"], want.column, want.params["layer"], want.params["head"]),
    "salience": lambda want: salience(want.params["text"], want.column, want.params["question"]),
}
"""Operation → what the engine could answer to a want."""
