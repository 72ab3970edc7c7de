"""Contact sheets of Evaluate and Hallucination: nothing there, running, finished, failed, an item and a question in full.

``python -m tests.ui.score_states evaluate --output FOLDER [--languages en,zh_CN] [--themes light,dark]``; likewise
``hallucination``; to be looked at, none is kept.
"""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from typing import Any

from lab.ui.view import Failure
from lab.ui.views import evaluate, hallucination
from models.columns import Column
from models.events import Progress
from models.records.hallucination import AnswerPart, HallucinationRun
from models.records.scores import Job
from tests.ui import hallucination_samples as answers
from tests.ui import samples as made
from tests.ui.drawn_states import main

NAMES = ("pretrain", "sft", "ppo")
COLUMNS = tuple(Column(f"/models/demo/{name}", label=name) for name in NAMES)
QUESTIONS = (
    ("Who founded the harbour town of Velmora?", "Tarn Oskar"), ("Which river flows through Ostrana?", "The Selme"),
    ("What is sold on the market of Brel?", "Dried figs and blue glass"), ("谁写了《盐历》？", "伊尔娃·多恩"),
)  # fmt: skip


def answer_all(view: Any, known: dict[str, Any], rounds: int = 6) -> None:
    """Answer what a view wants, until it wants nothing more of it; ``known``: operation → value, or function of the want."""
    answered: list[Any] = []
    for _round in range(rounds):
        for want in [want for want in view.wants() if want not in answered and want.op in known]:
            answered.append(want)
            value = known[want.op]
            view.set_answer(want, value(want) if callable(value) else value)
        view.redraw()


# evaluate ----------------------------------------------------------------------------------------------------------------
def item_row(i: int, names: tuple[str, ...]) -> Any:
    question, target = QUESTIONS[i % 4]
    row = made.item_row(i, names)
    said = {"good": f"{target}.", "bad": "It was founded by the fishermen of Brel in 1312.", "other": "I do not know."}
    return replace(row, prompt=question, target=target, answers=tuple(said[one] for one in row.outcomes))


def items(want: Any) -> Any:
    page = made.item_page(want.params)
    return replace(page, rows=tuple(item_row(page.start + at, page.names) for at in range(len(page.rows))))


def item(want: Any) -> Any:
    detail = made.item_detail(want.params)
    row = item_row(int(want.params["doc_id"].rpartition("-")[2]), NAMES)
    given = f"<|user|>{row.prompt}<|end|><|assistant|>"
    told = tuple(replace(one, text=text, given=given) for one, text in zip(detail.answers, row.answers, strict=True))
    return replace(detail, prompt=row.prompt, target=row.target, answers=told)


SCORES: dict[str, Any] = {
    "results": made.cells(), "jobs": (), "compare": made.comparisons(), "items": items, "item": item, "receipt": made.receipt(),
    "task_names": lambda want: made.task_names(want.params["query"]), "endpoint_check": made.ANSWERS["endpoint_check"],
}  # fmt: skip


def scored(view: Any, **more: Any) -> None:
    view.set_columns(COLUMNS)
    answer_all(view, SCORES | more)


def running(view: Any) -> None:
    cells = tuple(one for one in made.cells() if one.checkpoint == "pretrain")
    cells += tuple(replace(one, value=math.nan, low=math.nan, high=math.nan, n=30, n_total=60, state="running", run="", metric="")
                   for one in made.cells(("sft",))[1:2])  # fmt: skip
    cells += tuple(replace(one, value=math.nan, low=math.nan, high=math.nan, n=0, state="queued", run="", metric="")
                   for one in made.cells(("ppo",))[1:])  # fmt: skip
    scored(view, results=cells, jobs=(made.job(),), evaluations=(made.run_progress(),))


def failed_cells(view: Any) -> None:
    bad = [replace(one, value=math.nan, low=math.nan, high=math.nan, n=0, state="failed", metric="", run="/runs/job-1",
                   signature="ppo has no chat template, and world_questions needs one.")
           for one in made.cells(("ppo",))[1:3]]  # fmt: skip
    scored(view, results=(*made.cells(("pretrain", "sft")), *bad))
    view._on_chosen("world_questions", "exact_match", "ppo")
    view.redraw()


def baseline(view: Any) -> None:
    scored(view)
    view.scores.take_baseline("pretrain")
    answer_all(view, SCORES)


def an_item(view: Any) -> None:
    baseline(view)
    view._on_chosen("world_questions", "exact_match", "sft")
    answer_all(view, SCORES)


def a_receipt(view: Any) -> None:
    an_item(view)
    view._on_receipt("world_questions", "exact_match", "sft")
    answer_all(view, SCORES)


def no_samples(view: Any) -> None:
    scored(view)
    view._on_chosen("world_questions", "exact_match", "sft")
    empty = replace(made.item_page({"places": [(name, "", "") for name in NAMES], "start": 0, "count": 0}), n=0, found=0)
    answer_all(view, SCORES | {"items": empty})


def to_be_run(view: Any) -> None:
    scored(view)
    view.scores.buttons["run"].setChecked(True)
    answer_all(view, SCORES)


def an_endpoint(view: Any) -> None:
    to_be_run(view)
    view.form.chosen = ["world_questions", "world_perplexity", "arc_easy"]
    view.form.far.setChecked(True)
    view.form.endpoint.url.setText("http://localhost:8000/v1")
    view.form.endpoint.models.setText("Qwen/Qwen3-8B")
    view.form.endpoint.tokenizer.setText("/models/Qwen3-8B")
    view.form.refresh()
    answer_all(view, SCORES)


def a_chat_endpoint(view: Any) -> None:
    an_endpoint(view)
    view.form.endpoint.kind.setCurrentIndex(1)
    answer_all(view, SCORES)


def unread(view: Any) -> None:
    want = next(want for want in view.wants() if want.op == "results")
    view.set_failure(want, Failure("user", "/results/old cannot be read: Permission denied.", "Give yourself the right to."))
    view.redraw()


def filtered(view: Any) -> None:
    scored(view)
    view.scores.search.setText("nothing is called so")
    view.scores._on_search()
    view.redraw()


EVALUATE = {
    "empty": lambda view: answer_all(view, SCORES | {"results": ()}),
    "reading": lambda view: view.redraw(),
    "unread": unread, "run": to_be_run, "endpoint": an_endpoint, "chat": a_chat_endpoint,
    "running": running, "finished": scored, "failed": failed_cells, "baseline": baseline,
    "item": an_item, "receipt": a_receipt, "no_samples": no_samples, "filtered": filtered,
}  # fmt: skip


# hallucination -----------------------------------------------------------------------------------------------------------
def told(number: int = 0, seed: int = 0) -> Any:
    """An answer without hostile texts."""
    question, right = QUESTIONS[number % 4]
    found = answers.answer(number, seed)
    said = {"correct": f"{right}.", "hallucinated": "It was the fishermen of Brel.", "abstained": "I do not know."}[found.verdict]
    texts = (said, "Perhaps Ilva Dorn.", "I am not sure.")
    drawn = tuple(replace(one, text=texts[at % 3]) for at, one in enumerate(found.samples))
    tokens = replace(found.tokens, texts=(" It", " was", " Brel", "."))
    return replace(found, question=question, references=(right,) if number % 2 else (), answer=said, said=said, samples=drawn,
                   tokens=tokens, passages=("Velmora is a harbour town in the north. Tarn Oskar founded it in 1204.",),
                   whole=f"{question} {said}")  # fmt: skip


def page(want: Any) -> Any:
    whole = answers.page(want.params)
    seed = NAMES.index(want.params["checkpoint"]) if want.params["checkpoint"] in NAMES else 0
    return replace(whole, answers=tuple(told(whole.start + at, seed) for at in range(len(whole.answers))))


def a_run(broken: bool = False) -> tuple[HallucinationRun, ...]:
    (whole,) = answers.runs()
    columns = tuple(replace(one, error="The folder /models/gone is not there." if one.error else "") for one in whole.columns)
    kept = columns if broken else tuple(one for one in columns if not one.error)
    return (replace(whole, path="/runs/20261125-hallucination-7a", title="Hallucination of 3 checkpoints", columns=kept),)


RUNS: dict[str, Any] = {"hallucination_runs": a_run(), "jobs": (), "hallucination_answers": page}


def asked(view: Any, tab: int = 0, **more: Any) -> Any:
    runs = view.page("runs")
    runs.set_columns(COLUMNS)
    answer_all(runs, RUNS | more)
    runs.below.setCurrentIndex(tab)
    runs.redraw()
    return runs


def under_way(view: Any) -> None:
    one = Job("h", "/runs/h", "hallucination", "Hallucination of 3 checkpoints", "running", 120, 300, "sft: drawing answers", 0.0,
              30.0, ("triptych", "hallucination"))  # fmt: skip
    asked(view, jobs=(one,))


def unread_runs(view: Any) -> None:
    runs = view.page("runs")
    want = next(want for want in runs.wants() if want.op == "hallucination_runs")
    runs.set_failure(want, Failure("user", "/runs/h/table.json cannot be read.", "Start the run again."))
    runs.redraw()


def to_be_asked(view: Any) -> None:
    asked(view).start.setChecked(True)


def question(view: Any) -> Any:
    view.show_page("question")
    shown = view.page("question")
    shown.set_columns(COLUMNS[1:])
    shown.set_text(QUESTIONS[0][0])
    return shown


def streaming(view: Any) -> None:
    shown = question(view)
    whole = told(1)
    for want in [want for want in shown.wants() if want.op == "question"]:
        parts = [AnswerPart(answer=whole.answer, tokens=whole.tokens), *(AnswerPart(sample=one) for one in whole.samples[:3])]
        for part in parts[: 4 - 2 * want.column]:
            shown.set_partial(want, part)
    shown.redraw()


def answered(view: Any) -> None:
    shown = question(view)
    for want in [want for want in shown.wants() if want.op == "question"]:
        shown.set_answer(want, told(1, want.column))
    shown.redraw()


def refused(view: Any) -> None:
    shown = question(view)
    for want in [want for want in shown.wants() if want.op == "question"]:
        if want.column:
            shown.set_progress(want, Progress(3, 9, "answers"))
        else:
            shown.set_failure(want, Failure("user", "sft is an encoder: it writes no answers.", "Open a decoder."))
    shown.redraw()


def no_question(view: Any) -> None:
    question(view).set_text("")
    view.page("question").redraw()


TRIALS: dict[str, Any] = {
    "cutoff_runs": answers.cutoff_runs(), "jobs": (), "cutoff_places": lambda want: answers.cutoff_places(want.params),
}  # fmt: skip


def cutoff(view: Any, **more: Any) -> Any:
    view.show_page("cutoff")
    shown = view.page("cutoff")
    shown.set_columns(COLUMNS)
    answer_all(shown, TRIALS | more)
    return shown


def cutoff_form(view: Any) -> None:
    cutoff(view).start.setChecked(True)
    answer_all(view.page("cutoff"), TRIALS)


def cutoff_without_world(view: Any) -> None:
    shown = cutoff(view, cutoff_runs=())
    shown.set_columns(COLUMNS[:1])
    shown.start.setChecked(True)
    answer_all(shown, TRIALS | {"cutoff_runs": ()})


def cutoff_running(view: Any) -> None:
    one = Job("c", "/runs/c", "cutoff", "Cutoff of ppo", "running", 0.4, 1, "adapter: step 40", 0.0, 30.0, ("triptych", "cutoff"))
    cutoff(view, jobs=(one,))


HALLUCINATION = {
    "empty": lambda view: answer_all(view.page("runs"), RUNS | {"hallucination_runs": ()}),
    "reading": lambda view: view.page("runs").redraw(),
    "unread": unread_runs, "run": to_be_asked, "running": under_way, "finished": asked,
    "kinds": lambda view: asked(view, 1), "curves": lambda view: asked(view, 2), "scores": lambda view: asked(view, 3),
    "failed": lambda view: asked(view, hallucination_runs=a_run(True)).grid.scrollToBottom(),
    "cutoff": lambda view: cutoff(view).grid.clicked.emit(view.page("cutoff").grid.rows.index(3, 0)), "cutoff_form": cutoff_form,
    "cutoff_empty": lambda view: cutoff(view, cutoff_runs=()), "cutoff_no_world": cutoff_without_world,
    "cutoff_running": cutoff_running,
    "no_question": no_question, "streaming": streaming, "answered": answered, "refused": refused,
}  # fmt: skip


VIEWS = {"evaluate": (evaluate.VIEW, EVALUATE), "hallucination": (hallucination.VIEW, HALLUCINATION)}

if __name__ == "__main__":
    which = sys.argv.pop(1)
    main(which, *VIEWS[which])
