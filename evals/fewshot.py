"""Examples before an item never hold the item itself.

lm-eval leaves the evaluated row out only where examples come from a split that is named as the test split, and then compares
whole rows: a task without a split of its own for examples, or the same question under another id, gives its answer away.
Here the texts are compared, whatever split they come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from models.errors import UserError
from models.words import _


class Examples:
    """A task's sampler of examples, with the item at hand known and kept out."""

    def __init__(self, task: Any) -> None:
        """Wrap the task's prompt building and its sampler; ``install`` puts them in place."""
        self.task = task
        self.sampler = task.sampler
        self.inner_context = task.fewshot_context
        self.inner_sample = task.sampler.sample
        self.doc: Mapping[str, Any] | None = None

    def context(self, doc: Mapping[str, Any], *places: Any, **settings: Any) -> Any:
        """Build the prompt of an item."""
        self.doc = doc
        return self.inner_context(doc, *places, **settings)

    def sample(self, n: int, eval_doc: Any = None, df: Any = None, **settings: Any) -> Sequence[Mapping[str, Any]]:
        """Return n examples whose text is not the item's.

        Raises:
            UserError: If there are not so many.
        """
        found = list(self.inner_sample(n, eval_doc, df, **settings))
        kept = [row for row in found if self._text(row) != self._text(self.doc)]
        missing = len(found) - len(kept)
        if not missing:
            return found
        pool = [row for row in self.sampler.df if self._text(row) != self._text(self.doc) and row not in kept]
        if len(pool) < missing:
            raise UserError(
                "task.fewshot",
                _("{name} has too few different rows for {n} examples.").format(name=self.task.config.task, n=n),
                _("Ask for fewer with --num-fewshot."),
            )
        return [*kept, *self.sampler.rnd.sample(pool, missing)]

    def _text(self, row: Any) -> str:
        text = self.task.doc_to_text(row)
        return text if isinstance(text, str) else repr(row)


def install(task: Any) -> None:
    """Keep a task's items out of their own examples."""
    if getattr(task, "sampler", None) is None:
        return
    examples = Examples(task)
    task.fewshot_context = examples.context
    task.sampler.sample = examples.sample
