"""Training data as other programs write it (TRL, LLaMA-Factory, minimind, our votes), turned into the rows that stages read.

A stage reads rows of five shapes: ``{"text"}``, ``{"messages"}``, ``{"prompt", "completion"}`` of plain strings, pairs
``{"prompt", "chosen", "rejected"}``, and answers that are good or bad ``{"prompt", "completion", "label"}``. Rows that have
one of them already pass through with whatever else they hold.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from models.words import _

Row = Mapping[str, Any]
Message = Mapping[str, str]
ROLES = {
    "user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "model": "assistant", "system": "system",
    "tool": "tool", "observation": "tool", "developer": "developer",
}  # fmt: skip
ANSWERS = ("answers", "responses", "ranked", "completions")
LONGEST_RANKING = 9
MOST_PAIRS = LONGEST_RANKING * (LONGEST_RANKING - 1) // 2
DOCUMENTS, PAIRS, LABELLED = "documents", "pairs", "labelled"


class Problem(Exception):
    """Why a row cannot be used, as the end of a sentence that starts with its number."""


class Passed(Problem):
    """A row that says nothing by itself, such as a vote for a tie: counted, but no fault."""


def recognise(row: Row) -> str:
    """Return what a row's format is called; empty if it is none that is known."""
    keys = row.keys()
    ranked = "chosen" in keys and "rejected" in keys
    checks: tuple[tuple[str, bool], ...] = (
        ("votes", {"answers", "choice"} <= keys),
        ("sharegpt ranking", "conversations" in keys and ranked),
        ("alpaca ranking", "instruction" in keys and ranked),
        ("trl preference", ranked),
        ("trl messages", "messages" in keys),
        ("sharegpt", "conversations" in keys and _tag(row["conversations"], "from")),
        ("minimind", "conversations" in keys),
        ("alpaca", "instruction" in keys),
        ("ranking", "prompt" in keys and any(isinstance(row.get(name), list) for name in ANSWERS)),
        ("trl prompt-completion", {"prompt", "completion"} <= keys),
        ("text", "text" in keys),
        ("trl prompt", "prompt" in keys),
    )
    return next((name for name, fits in checks if fits), "")


def _tag(messages: Any, name: str) -> bool:
    first = messages[0] if isinstance(messages, list) and messages else None
    return isinstance(first, Mapping) and name in first


def convert(row: Row, want: str) -> list[Row]:
    """Return the rows that a row stands for: one, or every pair of a ranking.

    Args:
        row: As it was read.
        want: ``documents``, ``pairs`` or ``labelled``.

    Raises:
        Problem: With the reason, if it cannot be used.
    """
    name = recognise(row)
    if not name:
        known = ", ".join(sorted(map(str, row))[:6])
        raise Problem(_("has columns of no known format ({names})").format(names=known or _("none")))
    if want == LABELLED:
        return _labelled(row, name)
    table = _TO_PAIRS if want == PAIRS else _TO_DOCUMENTS
    if name not in table:
        if want == PAIRS and {"chosen", "rejected"} & row.keys():
            raise Problem(_("lacks chosen or rejected"))
        wanted = _("a preference pair") if want == PAIRS else _("a text or a conversation")
        raise Problem(_("is {format}, not {wanted}").format(format=name, wanted=wanted))
    return table[name](row)


def _string(row: Row, name: str, needed: bool = True, *, empty: bool = False) -> str:
    """Return a text; ``needed`` if it must be there, ``empty`` if nothing is an answer too (a model may say nothing)."""
    value = row.get(name)
    if value is None and not needed:
        return ""
    if not isinstance(value, str):
        kind = _("missing") if value is None else type(value).__name__
        raise Problem(_("has {name} that is {kind}, not a text").format(name=name, kind=kind))
    if "\0" in value:
        raise Problem(_("holds a NUL character"))
    if needed and not empty and not value.strip():
        raise Problem(_("has an empty {name}").format(name=name))
    return value


def _message(value: Any, where: str) -> Message:
    if not isinstance(value, Mapping):
        raise Problem(_("has {name} that is {kind}, not a message").format(name=where, kind=type(value).__name__))
    role = value.get("role", value.get("from"))
    content = value.get("content", value.get("value"))
    if not isinstance(role, str) or role not in ROLES:
        raise Problem(_("has a message of the unknown role {role!r}").format(role=str(role)[:40]))
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, Mapping) and part.get("type") == "text"]
        parts = [text for text in texts if isinstance(text, str)]
        if len(parts) != len(content):
            raise Problem(_("has a message that is not text alone"))
        content = "".join(parts)
    text = _string({"content": content}, "content", empty=True)
    return {"role": ROLES[role], "content": text}


def _messages(row: Row, name: str) -> list[Message]:
    value = row.get(name)
    if not isinstance(value, list) or not value:
        raise Problem(_("has {name} that is no list of messages").format(name=name))
    return [_message(item, name) for item in value]


def _chat(row: Row, messages: Sequence[Message]) -> list[Row]:
    if not any(message["role"] == "assistant" for message in messages):
        raise Problem(_("has no assistant message"))
    if not all(message["content"].strip() for message in messages if message["role"] == "assistant"):
        raise Problem(_("has an empty {name}").format(name=_("answer")))
    return [{**row, "messages": list(messages)}]


def _system(row: Row) -> list[Message]:
    text = _string(row, "system", needed=False)
    return [{"role": "system", "content": text}] if text else []


def _as_text(row: Row) -> list[Row]:
    _string(row, "text")
    return [row]


def _conversation(name: str) -> Callable[[Row], list[Row]]:
    return lambda row: _chat(row, [*_system(row), *_messages(row, name)])


def _instruction(row: Row) -> list[Message]:
    """Return alpaca's turns up to the answer: ``history`` holds earlier (question, answer) pairs."""
    messages = _system(row)
    history = row.get("history") or []
    if not isinstance(history, list) or not all(isinstance(turn, list) and len(turn) == 2 for turn in history):
        raise Problem(_("has history that is no list of pairs"))
    for asked, answered in history:
        messages += [_message({"role": "user", "content": asked}, "history")]
        messages += [_message({"role": "assistant", "content": answered}, "history")]
    parts = (_string(row, "instruction"), _string(row, "input", needed=False))
    return [*messages, {"role": "user", "content": "\n".join(part for part in parts if part)}]


def _alpaca(row: Row) -> list[Row]:
    answer = _string(row, "output")
    return _chat(row, [*_instruction(row), {"role": "assistant", "content": answer}])


def _prompt_completion(row: Row) -> list[Row]:
    if isinstance(row["prompt"], list) or isinstance(row["completion"], list):
        return _chat(row, [*_side(row, "prompt", "user"), *_side(row, "completion", "assistant")])
    _string(row, "prompt", needed=False)
    _string(row, "completion")
    return [row]


def _side(row: Row, name: str, role: str) -> list[Message]:
    value = row.get(name)
    if isinstance(value, Mapping):
        return [_message(value, name)]
    return _messages(row, name) if isinstance(value, list) else [{"role": role, "content": _string(row, name, empty=True)}]


def _pair(row: Row, prompt: Any, chosen: Sequence[Message], rejected: Sequence[Message]) -> Row:
    for name, side in (("chosen", chosen), ("rejected", rejected)):
        if len(side) != 1 or side[0]["role"] != "assistant":
            raise Problem(_("has {name} that is not one assistant message").format(name=name))
    if not prompt:
        raise Problem(_("has no prompt"))
    if chosen[0]["content"] == rejected[0]["content"]:
        raise Passed(_("prefers no answer"))
    return {**row, "prompt": prompt, "chosen": list(chosen), "rejected": list(rejected)}


def _preference(row: Row) -> list[Row]:
    if "prompt" in row:
        prompt = row["prompt"] if isinstance(row["prompt"], str) else _messages(row, "prompt")
        return [_pair(row, prompt, _side(row, "chosen", "assistant"), _side(row, "rejected", "assistant"))]
    if isinstance(row["chosen"], str) or isinstance(row["rejected"], str):
        return [_implicit(row, _string(row, "chosen"), _string(row, "rejected"))]
    chosen, rejected = _messages(row, "chosen"), _messages(row, "rejected")
    shared = _shared(chosen, rejected)
    return [_pair(row, list(chosen[:shared]), chosen[shared:], rejected[shared:])]


def _implicit(row: Row, chosen: str, rejected: str) -> Row:
    """Two whole texts: what they share, up to the end of its last word, is the prompt (as TRL extracts it)."""
    shared = _shared(chosen, rejected)
    while shared and not chosen[shared - 1].isspace():
        shared -= 1
    answers = [[{"role": "assistant", "content": text[shared:]}] for text in (chosen, rejected)]
    return _pair(row, chosen[:shared].rstrip(), *answers)


def _shared(one: Sequence[Any], other: Sequence[Any]) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _alpaca_ranking(row: Row) -> list[Row]:
    return [_pair(row, _instruction(row), _side(row, "chosen", "assistant"), _side(row, "rejected", "assistant"))]


def _sharegpt_ranking(row: Row) -> list[Row]:
    prompt = [*_system(row), *_messages(row, "conversations")]
    return [_pair(row, prompt, _side(row, "chosen", "assistant"), _side(row, "rejected", "assistant"))]


def _ranking(row: Row) -> list[Row]:
    """A prompt with answers from best to worst (or with a score each): every better answer with every worse one.

    Source: Ouyang et al. 2022, arXiv 2203.02155, section 3.5: K answers, K from 4 to 9, give K (K - 1) / 2 pairs.
    """
    name = next(name for name in ANSWERS if isinstance(row.get(name), list))
    answers = [_answer(item, name) for item in row[name]]
    if not 2 <= len(answers) <= LONGEST_RANKING:
        raise Problem(_("ranks {n} answers; it must be 2 to {most}").format(n=len(answers), most=LONGEST_RANKING))
    scored = [score for _text, score in answers if score is not None]
    if scored and len(scored) != len(answers):
        raise Problem(_("has a score for some answers only"))
    if scored:
        answers.sort(key=lambda item: -float(item[1] or 0.0))
    pairs = [
        _made(row, better[0], worse[0])
        for better, worse in itertools.combinations(answers, 2)
        if better[0] != worse[0] and (better[1] is None or better[1] != worse[1])
    ]
    if not pairs:
        raise Passed(_("prefers no answer"))
    return pairs


def _answer(item: Any, name: str) -> tuple[str, float | None]:
    if isinstance(item, str):
        return _string({name: item}, name, empty=True), None
    if not isinstance(item, Mapping):
        raise Problem(_("has {name} that is {kind}, not a text").format(name=name, kind=type(item).__name__))
    rank, score = item.get("rank"), item.get("score")
    value = -rank if isinstance(rank, int | float) else score if isinstance(score, int | float) else None
    text = "text" if "text" in item else "content"
    return _string(item, text, empty=True), None if value is None else float(value)


def _made(row: Row, better: str, worse: str) -> Row:
    prompt = row["prompt"] if isinstance(row["prompt"], str) else _messages(row, "prompt")
    kept = {name: value for name, value in row.items() if name not in ANSWERS}
    sides = ([{"role": "assistant", "content": text}] for text in (better, worse))
    return _pair(kept, prompt, *sides)


def _votes(row: Row) -> list[Row]:
    """A line of votes.jsonl: the answer that was chosen against each other one; a tie prefers none."""
    if not isinstance(row["answers"], list):
        raise Problem(_("has {name} that is no list of messages").format(name="answers"))
    texts = [_answer(item, "answers")[0] for item in row["answers"]]
    choice = row["choice"]
    names = [item.get("checkpoint") if isinstance(item, Mapping) else None for item in row["answers"]]
    if choice is None or (isinstance(choice, str | int) and choice in ("", "tie", "none", -1)):
        raise Passed(_("prefers no answer"))
    at = names.index(choice) if choice in names else choice
    if not isinstance(at, int) or isinstance(at, bool) or not 0 <= at < len(texts):
        raise Problem(_("chooses {choice!r}, which is none of its answers").format(choice=str(choice)[:40]))
    pairs = [_made(row, texts[at], text) for text in texts if text != texts[at]]
    if not pairs:
        raise Passed(_("prefers no answer"))
    return pairs


def _labelled(row: Row, name: str) -> list[Row]:
    """Answers that are good or bad by themselves (TRL's ``label``, LLaMA-Factory's ``kto_tag``); a pair is one of each."""
    if name in _TO_PAIRS:
        pairs = _TO_PAIRS[name](row)
        return [
            {"prompt": pair["prompt"], "completion": pair[side], "label": side == "chosen"}
            for pair in pairs
            for side in ("chosen", "rejected")
        ]
    label = row.get("label", row.get("kto_tag"))
    if not isinstance(label, bool | int) or label not in (0, 1):
        raise Problem(_("has no label that is true or false"))
    if name == "trl prompt-completion":
        messages = [*_side(row, "prompt", "user"), *_side(row, "completion", "assistant")]
    elif name in _TO_DOCUMENTS:
        messages = list(_TO_DOCUMENTS[name](row)[0].get("messages", ()))
    else:
        messages = []
    if len(messages) < 2 or messages[-1]["role"] != "assistant":
        raise Problem(_("has no prompt and answer"))
    return [{"prompt": messages[:-1], "completion": messages[-1:], "label": bool(label)}]


_TO_DOCUMENTS: dict[str, Callable[[Row], list[Row]]] = {
    "text": _as_text,
    "trl messages": _conversation("messages"),
    "minimind": _conversation("conversations"),
    "sharegpt": _conversation("conversations"),
    "alpaca": _alpaca,
    "trl prompt-completion": _prompt_completion,
}
_TO_PAIRS: dict[str, Callable[[Row], list[Row]]] = {
    "trl preference": _preference,
    "alpaca ranking": _alpaca_ranking,
    "sharegpt ranking": _sharegpt_ranking,
    "ranking": _ranking,
    "votes": _votes,
}
