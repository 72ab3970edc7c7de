"""A question with several answers: how sure is the model?"""

from __future__ import annotations

from models.columns import Column
from models.events import Work
from models.operations._asked import check_text
from models.records.hallucination import QuestionAnswer
from models.shelf import Shelf


def question(  # noqa: PLR0913 - these are the wire's parameters, given by name
    shelf: Shelf, column: Column, text: str, n: int = 8, temperature: float = 1.0, max_new_tokens: int = 48, seed: int = 0,
    clustering: str = "exact",
) -> Work[QuestionAnswer]:  # fmt: skip
    """Answer a question greedily and ``n`` times drawn; each answer is a partial one."""
    from models.generation import refuse_unless_generating
    from models.questioning import Questioning
    from models.questioning import question as ask

    check_text(text)
    asked = Questioning(int(n), float(temperature), int(max_new_tokens), int(seed), str(clustering))
    opened = yield from shelf.open(column)
    refuse_unless_generating(opened)
    return (yield from ask(opened, column, text, asked))


OPERATIONS = {"question": question}
