"""The language in which items of a benchmark are searched: ``wrong``, ``flip``, ``score<0.5``, ``"text"``, ``field:value``.

Terms beside each other must all hold; ``or`` between them, ``-`` or ``not`` before one, and brackets do what they say. A term
about answers holds if it holds for any checkpoint; ``wrong@sft`` asks for that one.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from models.errors import UserError
from models.records.scores import Sample
from models.words import _


@dataclass(frozen=True)
class Item:
    """One item and what each checkpoint made of it, by name; ``reference`` is the one that flips are counted from."""

    doc_id: str
    prompt: str
    target: str
    samples: Mapping[str, Sample]
    outcomes: Mapping[str, str]
    reference: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)

    def gained(self, name: str) -> bool:
        """Return whether a checkpoint has it right and the reference does not."""
        return self._both(name) and self.outcomes[name] == "good" != self.outcomes[self.reference]

    def lost(self, name: str) -> bool:
        """Return whether the reference has it right and a checkpoint does not."""
        return self._both(name) and self.outcomes[self.reference] == "good" != self.outcomes[name]

    def _both(self, name: str) -> bool:
        return name in self.outcomes and self.reference in self.outcomes


Test: TypeAlias = Callable[[Item], bool]
_Answer: TypeAlias = Callable[[Item, str], bool]
_TOKEN = re.compile(
    r'\s*(?:(?P<bracket>[()])|(?P<minus>-(?=[\w"(@]))|(?P<quoted>"[^"]*"?)'
    r'|(?P<name>[^\s()"<>=:!@]+)(?P<column>@[^\s()<>=:!"]+)?(?:(?P<sign><=|>=|!=|[<>=:])(?P<value>"[^"]*"?|[^\s()]*))?'
    r"|(?P<odd>\S))"
)
_FLAGS: dict[str, _Answer] = {
    "wrong": lambda item, name: item.outcomes[name] == "bad",
    "right": lambda item, name: item.outcomes[name] == "good",
    "other": lambda item, name: item.outcomes[name] == "other",
    "gained": lambda item, name: item.gained(name),
    "lost": lambda item, name: item.lost(name),
    "flip": lambda item, name: item.gained(name) or item.lost(name),
    "empty": lambda item, name: not item.samples[name].answer.strip(),
    "invalid": lambda item, name: item.samples[name].verdict == "invalid",
    "differs": lambda item, name: item.samples[name].answer.strip() != _said(item),
}
_SIGNS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq, "!=": operator.ne,
}  # fmt: skip
_NUMBERS: dict[str, Callable[[Sample], float]] = {
    "score": lambda sample: sample.score,
    "length": lambda sample: float(len(sample.answer)),
}
_TEXTS: dict[str, Callable[[Sample], str]] = {"answer": lambda sample: sample.answer, "verdict": lambda sample: sample.verdict}
_OF_ITEM: dict[str, Callable[[Item], str]] = {
    "prompt": lambda item: item.prompt, "target": lambda item: item.target, "id": lambda item: item.doc_id
}  # fmt: skip
DEEPEST = 50


def _said(item: Item) -> str:
    sample = item.samples.get(item.reference)
    return sample.answer.strip() if sample is not None else ""


@dataclass(frozen=True)
class Query:
    """A search that was understood.

    Args:
        test: Item → whether it is found.
        fields: Names of items' own fields that it asks for. ``columns``: names of checkpoints.
    """

    test: Test
    fields: frozenset[str] = frozenset()
    columns: frozenset[str] = frozenset()


def parse(text: str) -> Query:
    """Return the query that a text stands for; an empty one finds everything.

    Raises:
        UserError: If it cannot be understood.
    """
    parser = _Parser(text)
    test = parser.either(0)
    if parser.peek():
        raise _unclear(_("there is a bracket too many"))
    return Query(test, frozenset(parser.fields), frozenset(parser.columns))


def _unclear(why: str) -> UserError:
    return UserError(
        "items.query",
        _("This filter is not understood: {why}.").format(why=why),
        _('Write words, "a text", wrong, flip, score<0.5 or field:value.'),
    )


class _Parser:
    """Recursive descent: either → both → one."""

    def __init__(self, text: str) -> None:
        self.tokens = [match for match in _TOKEN.finditer(text) if match.group().strip()]
        self.place = 0
        self.fields: set[str] = set()
        self.columns: set[str] = set()

    def peek(self) -> str:
        """Return the next token, empty at the end."""
        return self.tokens[self.place].group().strip() if self.place < len(self.tokens) else ""

    def either(self, depth: int) -> Test:
        """Read terms with ``or`` between them."""
        if depth > DEEPEST:
            raise _unclear(_("it has too many brackets"))
        parts = [self.both(depth)]
        while self.peek().lower() in ("or", "|"):
            self.place += 1
            parts.append(self.both(depth))
        return parts[0] if len(parts) == 1 else lambda item: any(part(item) for part in parts)

    def both(self, depth: int) -> Test:
        """Read terms that must all hold."""
        parts: list[Test] = []
        while self.peek() and self.peek() != ")" and self.peek().lower() not in ("or", "|"):
            if self.peek().lower() in ("and", "&"):
                self.place += 1
            else:
                parts.append(self.one(depth))
        return parts[0] if len(parts) == 1 else lambda item: all(part(item) for part in parts)

    def one(self, depth: int) -> Test:
        """Read one term, a bracket, or the contrary of one."""
        match = self.tokens[self.place]
        self.place += 1
        if match["minus"] or match.group().strip().lower() == "not":
            if not self.peek() or self.peek() == ")":
                raise _unclear(_("nothing stands after {word}").format(word=match.group().strip()))
            inner = self.one(depth + 1) if depth < DEEPEST else self.either(depth + 1)
            return lambda item: not inner(item)
        if match["bracket"]:
            whole = self.either(depth + 1)
            if self.peek() != ")":
                raise _unclear(_("a bracket is not closed"))
            self.place += 1
            return whole
        if match["quoted"]:
            return _holds(match["quoted"].strip('"'))
        if match["odd"]:
            return _holds(match["odd"])
        return self._named(match)

    def _named(self, match: re.Match[str]) -> Test:
        name, sign, column = match["name"], match["sign"], (match["column"] or "@")[1:]
        key = name.lower()
        if column:
            self.columns.add(column)
        if not sign:
            if key in _FLAGS:
                return _any_answer(_FLAGS[key], column)
            return _holds(match.group().strip())
        value = match["value"].strip('"')
        if key in _NUMBERS:
            return self._number(key, sign, value, column)
        compare = _text_test(sign, value)
        if key in _TEXTS:
            return _any_answer(lambda item, one: compare(_TEXTS[key](item.samples[one])), column)
        if key in _OF_ITEM:
            return lambda item: compare(_OF_ITEM[key](item))
        self.fields.add(name)
        return lambda item: compare(item.fields.get(name, ""))

    @staticmethod
    def _number(key: str, sign: str, value: str, column: str) -> Test:
        try:
            wanted = float(value)
        except ValueError:
            raise _unclear(_("{name} needs a number, not {value!r}").format(name=key, value=value)) from None
        holds = _SIGNS["=" if sign == ":" else sign]
        return _any_answer(lambda item, one: holds(_NUMBERS[key](item.samples[one]), wanted), column)


def _any_answer(test: _Answer, column: str) -> Test:
    """Return a test that holds if it holds for any checkpoint, or for those whose name is, or begins with, ``column``."""
    if not column:
        return lambda item: any(test(item, name) for name in item.samples)

    def of_column(item: Item) -> bool:
        names = [column] if column in item.samples else [name for name in item.samples if name.startswith(column)]
        return any(test(item, name) for name in names)

    return of_column


def _text_test(sign: str, value: str) -> Callable[[str], bool]:
    """Return a test of a text: ``:`` contains, ``=`` is, ``!=`` is not, the others compare numbers."""
    word = value.casefold()
    if sign == ":":
        return lambda text: word in text.casefold()
    if sign in ("=", "!="):
        return lambda text: (text.strip().casefold() == word) == (sign == "=")
    try:
        wanted = float(value)
    except ValueError:
        raise _unclear(_("{sign} needs a number, not {value!r}").format(sign=sign, value=value)) from None

    def compare(text: str) -> bool:
        try:
            return _SIGNS[sign](float(text), wanted)
        except ValueError:
            return False

    return compare


def _holds(text: str) -> Test:
    """Return a test that looks for a text in prompt, reference, answers and verdicts."""
    word = text.casefold()

    def holds(item: Item) -> bool:
        if word in item.prompt.casefold() or word in item.target.casefold() or word == item.doc_id.casefold():
            return True
        return any(word in one.answer.casefold() or word in one.verdict.casefold() for one in item.samples.values())

    return holds
