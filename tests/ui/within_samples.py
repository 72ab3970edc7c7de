"""Records for the tests of the views Salience and Inside one step, made by hand."""

import numpy as np

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


ANSWERS = {
    "salience": lambda want: salience(want.params["text"], want.column, want.params["question"]),
}
"""Operation → what the engine could answer to a want."""
