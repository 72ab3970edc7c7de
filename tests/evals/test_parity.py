"""Beside lm-eval's own Hugging Face class: the same log-likelihoods (to 1e-5, or 1e-6 of large ones) and scores."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from evals import grid, tasks
from evals.options import EvalSettings
from evals.results import raw_samples
from models.events import finish
from models.library import load
from models.scoring import windows

LONG = "The quick brown fox jumps over the lazy dog. The answer is in the numbers of the old tree. " * 12


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def both(request, tiny, tmp_path_factory):
    """Samples of lm-eval's class and of ours on the same tasks of the same tiny model."""
    import json
    import logging

    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

    from tests.evals.test_grid import CHOICES, QUESTIONS, ROLLING, TEXTS

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    folder = tmp_path_factory.mktemp(request.param)
    head = "task: {0}\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {0}.jsonl}}}}\ntest_split: test\n"
    rows = {"mc": [*QUESTIONS, {"question": "", "choices": ["a b", "The dog"], "gold": 1}], "roll": [*TEXTS, {"text": LONG}]}
    for name, text in (("mc", CHOICES), ("roll", ROLLING)):
        (folder / f"{name}.yaml").write_text(head.format(name) + text, encoding="utf-8")
        (folder / f"{name}.jsonl").write_text("\n".join(json.dumps(row) for row in rows[name]), encoding="utf-8")
    path = tiny(request.param)
    opened = finish(load(str(path)))
    theirs = {}
    for name in ("mc", "roll"):
        model = HFLM(pretrained=opened.model, tokenizer=opened.tokenizer, device="cpu", batch_size=2)
        planned = tasks.plan(str(folder / f"{name}.yaml"), str(path))
        task = planned.tasks[name]
        task.set_fewshot_seed(0)
        task.set_config("num_fewshot", 0)
        theirs[name] = evaluate(lm=model, task_dict={"tasks": {name: task}, "groups": {}, "group_map": {}}, bootstrap_iters=0)
    names = [str(folder / "mc.yaml"), str(folder / "roll.yaml")]
    cells = finish(grid.run([str(path)], names, EvalSettings(), folder / "run"))
    assert {cell.state for cell in cells} == {"done"}
    return theirs, cells


def test_multiple_choice(both):
    theirs, cells = both
    run = next(cell.run for cell in cells if cell.benchmark == "mc")
    ours = raw_samples(run, "mc")
    for row, other in zip(ours, theirs["mc"]["samples"]["mc"], strict=True):
        for answer, reference in zip(row["resps"], other["resps"], strict=True):
            assert float(answer[0][0]) == pytest.approx(float(reference[0][0]), abs=1e-5, rel=1e-6)
            assert str(answer[0][1]) == str(reference[0][1])
        assert (row["acc"], row["acc_norm"]) == (other["acc"], other["acc_norm"])
    for cell in cells:
        if cell.benchmark == "mc":
            assert cell.value == pytest.approx(theirs["mc"]["results"]["mc"][f"{cell.metric},none"])


def test_rolling(both):
    theirs, cells = both
    run = next(cell.run for cell in cells if cell.benchmark == "roll")
    for row, other in zip(raw_samples(run, "roll"), theirs["roll"]["samples"]["roll"], strict=True):
        expected = float(other["resps"][0][0])
        assert float(row["resps"][0][0]) == pytest.approx(expected, abs=1e-5, rel=1e-6)
    for cell in cells:
        if cell.benchmark == "roll":
            assert cell.value == pytest.approx(theirs["roll"]["results"]["roll"][f"{cell.metric},none"], rel=1e-5)


@given(st.integers(1, 60), st.integers(2, 12), st.integers(1, 8))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_windows_are_lm_evals(n, length, context):
    context = min(context, length)
    ids = list(range(n))
    expected = [
        make_disjoint_window(window)
        for window in get_rolling_token_windows(token_list=ids, prefix_token=-100, max_seq_len=length, context_len=context)
    ]
    found = windows(ids, -100, length, context)
    assert [(list(a), list(b)) for a, b in found] == [(list(a), list(b)) for a, b in expected]
    assert [token for _before, predicted in found for token in predicted] == ids  # each token exactly once


def test_windows_by_hand():
    found = windows(list(range(34)), -100, 10, 1)
    assert len(found) == 4
    assert list(found[0][0]) == [-100]
    assert list(found[-1][0]) == list(range(23, 30))
    assert list(found[-1][1]) == [30, 31, 32, 33]
    assert len(windows(list(range(34)), -100, 10, 8)) == 9
    assert tuple(map(list, windows(list(range(9)), -100, 2, 1)[-1])) == ([6, 7], [8])
