"""``cutoff.html``: one table of what a checkpoint knows of the time after its texts, by every way, and what each forgets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from evals.report._text import escape, number, p_value, signed
from evals.report.html import STYLE
from models.files import write_text
from models.words import _

if TYPE_CHECKING:
    from models.records.cutoff import CutoffRow
    from models.records.hallucination import Rate

SURE = 0.05


def header() -> list[tuple[str, str]]:
    """Return title and explanation of every column of the table, the two of its name first."""
    return [
        (_("Checkpoint"), _("What was asked")),
        (_("Asked"), _("As it is, or with passages of the news before the question")),
        (_("New: correct"), _("Questions about things that the news tells of for the first time")),
        (_("New: abstained"), _("Likewise: it says that it does not know")),
        (_("New: invented"), _("Likewise: it says something else")),
        (_("Changed: correct"), _("Questions about facts that changed: as it is now")),
        (_("Changed: outdated"), _("Likewise: as it was before")),
        (_("Beside: correct"), _("Other facts of the things that changed")),
        (_("Old: correct"), _("Facts from before about other things")),
        (_("Forgotten"), _("Difference of the old facts to the checkpoint as it was, same questions, paired; * p < 0.05 (Holm)")),
        (_("Unknown: abstained"), _("Questions about things that nobody knows: abstaining is right")),
        (_("Perplexity, old texts"), _("Per token, of articles that training never showed; lower is better")),
        (_("Prompt"), _("Mean number of tokens of a prompt about the news")),
        (_("Weights trained"), _("How many numbers changed")),
        (_("Training"), _("Seconds")),
    ]


def cells(one: CutoffRow) -> list[str]:
    """Return a row of the table as texts: shares with 95 % intervals."""
    from evals.cutoff.options import RETRIEVAL, title

    rates = (one.new, one.new_abstained, one.new_invented, one.changed, one.outdated, one.unchanged, one.old)
    star = " *" if math.isfinite(one.p) and one.p < SURE else ""
    forgotten = f"{signed(one.forgotten.value)}{star}" if one.forgotten.n else ""
    return [
        f"{one.checkpoint}: {title(one.way)}" if one.way else one.checkpoint,
        title(RETRIEVAL) if one.remedy == RETRIEVAL else _("as it is"),
        *map(share, rates), forgotten, share(one.unknown), share(one.perplexity),
        number(one.prompt_tokens), f"{one.trained:,}" if one.trained else "", f"{one.seconds:.0f}" if one.seconds else "",
    ]  # fmt: skip


def share(rate: Rate) -> str:
    """Return a rate with its interval, empty without answers."""
    if not rate.n or not math.isfinite(rate.value):
        return ""
    return f"{number(rate.value)} [{number(rate.low)}, {number(rate.high)}]"


def short_rows(rows: Sequence[CutoffRow]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the table for a terminal; intervals, numbers of questions and the rest are in the report."""
    from evals.cutoff.options import RETRIEVAL

    head = [_("checkpoint"), _("new right"), _("silent"), _("false"), _("changed right"), _("outdated"), _("old right")]
    head += [_("lost"), _("unknown silent"), _("perplexity"), _("seconds")]
    made = []
    for one in rows:
        name = f"{one.checkpoint} + {_('news')}" if one.remedy == RETRIEVAL else one.checkpoint
        rates = (one.new, one.new_abstained, one.new_invented, one.changed, one.outdated, one.old)
        shares = [f"{rate.value:.2f}".removeprefix("0") if rate.n else "" for rate in (*rates, one.unknown)]
        lost = cells(one)[9].replace("0.", ".")
        perplexity = number(one.perplexity.value) if one.perplexity.n else ""
        made.append([name, *shares[:-1], lost, shares[-1], perplexity, cells(one)[14]])
    return head, made


def write_report(path: Path, rows: Sequence[CutoffRow]) -> None:
    """Write the table as one page without scripts or links."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    head = "".join(f'<th title="{escape(tip)}">{escape(text)}</th>' for text, tip in header())
    body = "".join(f"<tr>{_row(one)}</tr>" for one in rows)
    key = "".join(f"<li>{escape(text)}: {escape(tip)}</li>" for text, tip in header()[2:])
    note = _("Shares of answers with 95 % intervals; questions about one thing are counted as alike.")
    made = [
        '<!DOCTYPE html><html><head><meta charset="utf-8">', f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        f"<title>{escape(_('Knowledge cutoff'))}</title><style>{STYLE}</style></head><body>",
        f"<h1>{escape(_('Knowledge cutoff'))}</h1><p>{escape(note)}</p><table><tr>{head}</tr>{body}</table><ul>{key}</ul>",
        f"<p>{escape(_('Every answer with its tokens is in the files named here:'))}</p><ul>{_receipts(rows)}</ul>",
        "</body></html>\n",
    ]  # fmt: skip
    write_text(path, "\n".join(made))


def _row(one: CutoffRow) -> str:
    from evals.cutoff.options import explanation

    name, asked, *rest = cells(one)
    sizes = (
        one.new, one.new, one.new, one.changed, one.outdated, one.unchanged, one.old, one.forgotten, one.unknown, one.perplexity,
    )  # fmt: skip
    tips = [f"n = {rate.n}" for rate in sizes]
    tips[7] += f", p = {p_value(one.p)}"
    values = "".join(
        f'<td class="n" title="{escape(tips[at] if at < len(tips) else "")}">{escape(text)}</td>' for at, text in enumerate(rest)
    )
    return f'<th title="{escape(explanation(one.way))}">{escape(name)}</th><td>{escape(asked)}</td>{values}'


def _receipts(rows: Sequence[CutoffRow]) -> str:
    return "".join(
        f"<li>{escape(one.checkpoint)}, {escape(one.remedy)}: "
        + escape(" · ".join(f"{name}: {path}" for name, path in one.receipts.items()))
        + "</li>"
        for one in rows
    )
