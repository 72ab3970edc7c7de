"""What is taught against hallucination, each as one way to ask a question (or to keep an answer back).

Sources: Lewis et al. 2020, arXiv 2005.11401 (retrieval); Brown et al. 2020, arXiv 2005.14165 (few-shot); Wei et al. 2022, arXiv
2201.11903 (chain of thought); Wang et al. 2023, arXiv 2203.11171 (vote); Gao et al. 2023, arXiv 2305.14627 (citations).
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evals.hallucination.questions import Question
from evals.hallucination.retrieval import Passage
from models.words import _

PLAIN = "plain"
ROLE = {
    "en": "You are a careful expert. Answer only what you know for certain. If you do not know, say: {abstention}",
    "zh": "你是一位严谨的专家。只回答你确定的内容。如果不知道，就说：{abstention}",
}
THINK = {
    "en": "{question}\nLet's think step by step, and give the answer at the end after 'Answer:'.",
    "zh": "{question}\n让我们一步一步地思考，最后在“答案：”后面给出答案。",
}
READ = {"en": "{passages}\n{question}", "zh": "{passages}\n{question}"}
CITE = {
    "en": "{passages}\n{question}\nName the number of the text that says so, such as [1]. If none does, say: {abstention}",
    "zh": "{passages}\n{question}\n请注明出处的编号，例如 [1]。如果都没有提到，就说：{abstention}",
}
_ANSWER = re.compile(r"(?:answer|答案)\s*[:：]", re.IGNORECASE)
_CITED = re.compile(r"[\[［【]\s*(\d{1,3})\s*[\]］】]")


@dataclass(frozen=True)
class Remedy:
    """One remedy.

    Args:
        name: As on the command line. ``asks``: whether the model is asked anew; False for one that uses answers that are there.
        needs: What the settings must name: ``retrieve`` or ``checker``; empty for nothing.
        base: Of one that uses answers: whose answers (plain, retrieval).
        longer: How many times the usual length an answer may have.
    """

    name: str
    asks: bool = True
    needs: str = ""
    base: str = PLAIN
    longer: int = 1


_ALL = (
    Remedy(PLAIN), Remedy("sampled", asks=False), Remedy("cool"), Remedy("vote", asks=False), Remedy("fewshot"),
    Remedy("thought", longer=4), Remedy("role"), Remedy("retrieval", needs="retrieve"),
    Remedy("cite", needs="retrieve", longer=2), Remedy("support", asks=False, needs="retrieve", base="retrieval"),
    Remedy("crosscheck", asks=False, needs="checker"),
)  # fmt: skip
REMEDIES: Mapping[str, Remedy] = {one.name: one for one in _ALL}


def title(name: str) -> str:
    """Return what a remedy is called."""
    return {
        PLAIN: _("as it is (greedy)"), "sampled": _("sampled"), "cool": _("low temperature"), "vote": _("vote of the samples"),
        "fewshot": _("few-shot"), "thought": _("chain of thought"), "role": _("role prompt"), "retrieval": _("retrieval"),
        "cite": _("citing sources"), "support": _("retrieval, unsupported answers kept back"),
        "crosscheck": _("checked by a second checkpoint"),
    }.get(name, name)  # fmt: skip


def explanation(name: str) -> str:
    """Return in a sentence or two what a remedy does."""
    return {
        PLAIN: _("The question as it is; the most probable token each time."),
        "sampled": _("The mean over answers drawn at the temperature of the samples: what a user of a chat gets."),
        "cool": _("As many answers drawn at a low temperature; their mean."),
        "vote": _("The most frequent of the drawn answers (self-consistency)."),
        "fewshot": _("Other questions with their right answers come first."),
        "thought": _("The model is asked to think step by step; what follows “Answer:” is judged."),
        "role": _("A system message: a careful expert who says so when he does not know."),
        "retrieval": _("The best passages of the texts by BM25 come before the question."),
        "cite": _("Numbered passages, and the request to name the number of the one that says so."),
        "support": _("The answer with retrieval, kept back where none of its passages holds its words."),
        "crosscheck": _("The answer, kept back where a second checkpoint, asked the same, says something else."),
    }.get(name, "")


def side(question: Question) -> str:
    """Return the language of a question, ``zh`` or ``en``: as its row says, else by its letters."""
    if question.language in ("en", "zh"):
        return question.language
    return "zh" if re.search(r"[\u4e00-\u9fff]", question.text) else "en"


def abstention(language: str) -> str:
    """Return the phrase by which one says that one does not know."""
    from models.world import phrasings

    return phrasings.ABSTENTIONS[language][0]


def messages(
    name: str, question: Question, text: str, passages: Sequence[Passage] = (), examples: Sequence[Question] = ()
) -> list[dict[str, str]]:
    """Return what the model is told under a remedy.

    Args:
        name: The remedy.
        question: The question; ``text`` is how it is put.
        text: See ``question``.
        passages: For retrieval and cite.
        examples: For few-shot: other questions, answered.
    """
    language = side(question)
    said = {"question": text, "abstention": abstention(language)}
    if name == "fewshot":
        shown: list[dict[str, str]] = []
        for one in examples:
            right = one.references[0] if one.answerable and one.references else abstention(side(one))
            shown += [{"role": "user", "content": one.text}, {"role": "assistant", "content": right}]
        return [*shown, {"role": "user", "content": text}]
    if name == "role":
        return [{"role": "system", "content": ROLE[language].format(**said)}, {"role": "user", "content": text}]
    if name == "thought":
        return [{"role": "user", "content": THINK[language].format(**said)}]
    if name in ("retrieval", "cite"):
        numbered = [f"[{n}] {one.text}" if name == "cite" else one.text for n, one in enumerate(passages, 1)]
        form = READ if name == "retrieval" else CITE
        return [{"role": "user", "content": form[language].format(passages="\n".join(numbered), **said).lstrip()}]
    return [{"role": "user", "content": text}]


def examples(questions: Sequence[Question], question: Question, n: int, seed: int) -> list[Question]:
    """Return ``n`` other questions of the same language about other things, drawn by seed and question; fewer if there are not.

    No example has the text of the question, or is about what it is about.
    """
    others = [
        one
        for one in questions
        if side(one) == side(question) and one.text != question.text and (not one.cluster or one.cluster != question.cluster)
    ]
    generator = random.Random(f"{seed} {question.id}")
    return generator.sample(others, min(n, len(others)))


def final(name: str, answer: str) -> str:
    """Return the part of an answer that is judged: after the last "Answer:" of a chain of thought, without marks of citations."""
    if name == "thought":
        parts = _ANSWER.split(answer)
        return parts[-1].strip() if len(parts) > 1 else answer
    return _CITED.sub("", answer).strip() if name == "cite" else answer


def cited(answer: str, passages: Sequence[Passage]) -> bool:
    """Return whether an answer names a passage that holds its words."""
    said = final("cite", answer)
    numbers = {int(number) for number in _CITED.findall(answer)}
    return any(supported(said, [one]) for n, one in enumerate(passages, 1) if n in numbers)


def supported(answer: str, passages: Sequence[Passage]) -> bool:
    """Return whether all words of an answer stand, next to each other, in one of the passages."""
    from evals.hallucination.verdicts import within
    from models.uncertainty.pieces import words

    said = words(answer)
    return bool(said) and any(within(said, words(one.text)) for one in passages)
