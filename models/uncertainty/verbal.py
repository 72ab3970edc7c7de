"""Does an answer say that it does not know? By listed phrases, English and Chinese: a rule that can be read, not a judge."""

from __future__ import annotations

import re

from models.uncertainty.pieces import normalised
from models.world import phrasings

PHRASES = (
    "i do not know", "i don't know", "i dont know", "i am not sure", "i'm not sure", "i am unsure", "i'm unsure",
    "i have no information", "i do not have information", "i don't have information", "i do not have enough information",
    "i don't have enough information", "i have no record", "i cannot answer", "i can't answer", "i am unable to", "i'm unable to",
    "i have no knowledge", "i am not aware of", "i'm not aware of", "there is no information", "there is no record",
    "it is not known", "it is unknown", "nobody knows", "no one knows", "not enough information", "cannot be determined",
    "unknown", "n/a", "not_attempted", "unanswerable",
    "我不知道", "我不清楚", "我不确定", "我无法回答", "不得而知", "没有相关信息", "没有足够的信息", "无法确定", "未知",
    "我没有相关", "没有记录",
)  # fmt: skip
WHOLE = frozenset({"unknown", "n/a", "not_attempted", "unanswerable", "未知"})
"""Phrases that count only where they are the whole answer: in a sentence they are words like others."""


def phrase_of(text: str) -> str:
    """Return the first listed phrase that an answer holds, empty if it holds none."""
    said = normalised(text.replace("’", "'"))
    if said in WHOLE:
        return said
    own = [normalised(phrase) for listed in phrasings.ABSTENTIONS.values() for phrase in listed]
    places = [(match.start(), phrase) for phrase in (*PHRASES, *own) if phrase not in WHOLE and (match := _find(phrase, said))]
    return min(places)[1] if places else ""


def abstains(text: str) -> bool:
    """Return whether an answer says that it does not know; an empty answer does not."""
    return bool(phrase_of(text))


def _find(phrase: str, text: str) -> re.Match[str] | None:
    edge = r"(?!\w)" if phrase.isascii() else ""
    front = r"(?<!\w)" if phrase.isascii() else ""
    return re.search(front + re.escape(phrase) + edge, text)
