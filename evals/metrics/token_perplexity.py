"""Perplexity per token. It depends on the tokenizer: compare only checkpoints that share one."""

from __future__ import annotations

from evals.metrics import _perplexity
from evals.metrics._spec import MetricSpec, Statistics


def item(loglikelihood: float, text: str, n_tokens: int = 0) -> Statistics:
    """Return log-likelihood and the number of tokens that were predicted.

    Raises:
        ValueError: If the number of tokens is not given: a text alone does not say it.
    """
    if n_tokens <= 0:
        raise ValueError("token_perplexity: the number of predicted tokens is needed")
    return (float(loglikelihood), float(n_tokens))


def signature() -> str:
    """Return the convention."""
    return "token_perplexity|pooled|first-token:after-BOS|windows:full-context"


METRIC = MetricSpec(
    name="token_perplexity",
    title="Token perplexity",
    description="Perplexity per token, pooled over the corpus; comparable only between checkpoints with one tokenizer.",
    higher_is_better=False,
    inputs="likelihood",
    item=item,
    pool=_perplexity.pool_exp,
    signature=signature,
    scale=">=1",
    mean=False,
)
