"""The whole job on tiny random models: asking, keeping, judging, remedies, files, going on after a stop."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from evals.hallucination import asking, files, judging, questions, remedies, retrieval, tables
from evals.hallucination.asking import Answer, plain_text
from evals.hallucination.options import HallucinationSettings
from evals.hallucination.running import Clock, run
from evals.hallucination.tables import Who
from evals.identity import identity
from evals.store import ResponseStore
from models import library
from models.errors import UserError
from models.events import Note, Partial, Progress, Saved, finish
from models.records.hallucination import AnswerColumn

SMALL = HallucinationSettings(benchmarks=("world_unknown", "world_questions"), limit=5, samples=2, max_new_tokens=4, device="cpu")
ALL = tuple(remedies.REMEDIES)


@pytest.fixture(scope="module")
def first(small_world, tmp_path_factory):
    """Two checkpoints under every remedy, run once: (folder, settings, events, columns)."""
    output = tmp_path_factory.mktemp("hallucination") / "run"
    settings = replace(SMALL, remedies=ALL, retrieve="world", checker=str(small_world / "pretrain"))
    events = []
    work = run([str(small_world / "pretrain"), str(small_world / "sft")], settings, output)
    while True:
        try:
            events.append(next(work))
        except StopIteration as end:
            return output, settings, events, end.value


def test_every_checkpoint_has_every_column(first):
    _output, _settings, events, columns = first
    assert [(one.checkpoint, one.remedy) for one in columns] == [(name, r) for name in ("pretrain", "sft") for r in ALL]
    assert not [one.error for one in columns if one.error]
    for one in columns:
        assert one.n == 10
        assert one.correct.value + one.hallucinated.value + one.abstained.value == pytest.approx(1.0)
        assert one.hallucinated.low <= one.hallucinated.value <= one.hallucinated.high
        assert sum(1 for _cell in one.cells) >= 3
    assert sum(isinstance(e, Partial) and isinstance(e.value, AnswerColumn) for e in events) == len(columns)
    assert any(isinstance(event, Saved) for event in events)
    progress = [event for event in events if isinstance(event, Progress)]
    assert all(0 <= event.done <= event.total == 3 for event in progress)
    assert [event.done for event in progress] == sorted(event.done for event in progress)


def test_checked_by_itself_nothing_is_kept_back(first):
    _output, _settings, _events, columns = first
    known = {(one.checkpoint, one.remedy): one for one in columns}
    assert known["pretrain", "crosscheck"].hallucinated.value == known["pretrain", "plain"].hallucinated.value
    assert known["sft", "crosscheck"].abstained.value > known["sft", "plain"].abstained.value
    assert known["sft", "crosscheck"].difference.value < 0
    assert known["sft", "crosscheck"].p >= 0
    assert math.isnan(known["sft", "plain"].p)


def test_the_files_hold_what_was_found(first):
    output, _settings, _events, columns = first
    table = files.read_table(output)
    assert [str(one) for one in table.columns] != []
    for ours, theirs in zip(columns, table.columns, strict=True):
        assert (ours.checkpoint, ours.remedy, ours.n) == (theirs.checkpoint, theirs.remedy, theirs.n)
        assert theirs.hallucinated.value == pytest.approx(ours.hallucinated.value, abs=1e-6)
        assert [q.name for q in theirs.qualities] == [q.name for q in ours.qualities]
        assert all(np.allclose(a.risk, b.risk, atol=1e-5) for a, b in zip(ours.qualities, theirs.qualities, strict=True))
    assert table.settings["samples"] == "2"
    assert [str(one) for one in files.runs_in([output.parent])] == [str(table)]
    answers, total = files.read_answers(files.answers_file(output, "sft", "plain"))
    assert total == len(answers) == 10
    one = answers[0]
    assert len(one.tokens.ids) == len(one.tokens.texts) == one.scores["length"] <= 4
    assert len(one.samples) == 2
    assert one.scores["sequence_surprisal"] == pytest.approx(-float(one.tokens.logprobs.sum()), abs=1e-4)
    assert one.question in one.whole
    assert one.passages == ()
    read = files.read_answers(files.answers_file(output, "sft", "retrieval"))[0]
    assert all(1 <= len(other.passages) <= 2 for other in read)
    page = files.page(output, "sft", "plain", 5)
    assert (page.start, page.total, len(page.answers)) == (5, 10, 5)
    assert page.answers[0].id == answers[5].id
    report = (output / "hallucination.html").read_text(encoding="utf-8")
    assert "chain of thought" in report
    assert "<script" not in report
    assert not (output / files.TO_LABEL).exists()  # the world judges: nothing is left for a person


def test_the_tokens_are_those_of_a_plain_forward(first, small_world):
    import torch
    from transformers import AutoModelForCausalLM

    output, _settings, _events, _columns = first
    model = AutoModelForCausalLM.from_pretrained(small_world / "sft").eval()
    for one in files.read_answers(files.answers_file(output, "sft", "plain"))[0][:4]:
        ids = torch.tensor([[*one.prompt_ids, *one.tokens.ids]])
        with torch.inference_mode():
            logp = model(ids).logits.log_softmax(-1)[0, len(one.prompt_ids) - 1 : -1]
        own = logp.gather(1, ids[0, len(one.prompt_ids) :, None])[:, 0]
        assert np.allclose(own.numpy(), one.tokens.logprobs, atol=1e-4)
        assert np.allclose(-(logp.exp() * logp).sum(-1).numpy(), one.tokens.entropies, atol=1e-4)
        assert torch.equal(logp.argmax(-1), ids[0, len(one.prompt_ids) :])


def test_prompts_do_not_share_their_luck(small_world, tmp_path):
    import torch

    opened = finish(library.load(small_world / "pretrain", device="cpu"))
    with torch.no_grad():
        opened.model.get_output_embeddings().weight.zero_()  # every token is as likely as any other, whatever the prompt
    asker = asking.Asker(opened, finish(identity(opened)), ResponseStore(tmp_path / "responses.jsonl"), seed=3)
    drawn = [asker.request(ids, 8, 1.0, repeat) for ids in ((1, 5), (1, 6)) for repeat in (0, 1)]
    first, again = (finish(asking._answers(opened, drawn)) for _ in range(2))
    assert len({tuple(one["ids"]) for one in first}) == 4
    assert first == again
    assert asker.request((1, 5), 8).seed == asker.request((1, 6), 8).seed == 3


def test_a_second_run_asks_nothing_and_finds_the_same(first, small_world, drain, monkeypatch):
    output, settings, _events, columns = first
    before = {path: path.read_bytes() for path in output.rglob("answers_*.jsonl")}
    monkeypatch.setattr(ResponseStore, "put", lambda *_rows: pytest.fail("something was asked again"))
    _again, found = drain(run([str(small_world / "pretrain"), str(small_world / "sft")], settings, output))
    assert str(found) == str(columns)
    assert {path: path.read_bytes() for path in output.rglob("answers_*.jsonl")} == before


def test_a_stopped_run_goes_on_to_the_same_end(small_world, tmp_path, drain):
    paths = [str(small_world / "sft")]
    settings = replace(SMALL, samples=3)
    _events, whole = drain(run(paths, settings, tmp_path / "whole"))
    work = run(paths, settings, tmp_path / "cut")
    for event in work:
        if isinstance(event, Progress) and event.done > 0.3:
            break
    work.close()
    store = tmp_path / "cut" / "sft" / "responses.jsonl"
    kept = store.read_bytes()
    assert kept
    store.write_bytes(kept + b'{"key": "torn')  # a kill within the next write
    _events, found = drain(run(paths, settings, tmp_path / "cut"))
    assert str(found) == str(whole)
    name = "sft/answers_plain.jsonl"
    assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_questions_from_a_file_are_judged_by_reference_and_by_people(small_world, tmp_path, drain):
    source = tmp_path / "quiz.jsonl"
    rows = [{"id": f"q{i}", "question": f"The dog {i}?", "answers": ["fox", "the fox"] if i % 2 else []} for i in range(4)]
    source.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    settings = replace(SMALL, benchmarks=(str(source),), p_true=False)
    _events, columns = drain(run([str(small_world / "sft")], settings, tmp_path / "one"))
    label = [json.loads(line) for line in (tmp_path / "one" / files.TO_LABEL).read_text(encoding="utf-8").splitlines()]
    assert len(label) == 4
    assert columns[0].correct.value == 0.0
    labels = tmp_path / "labels.jsonl"
    labels.write_text("\n".join(json.dumps({**row, "verdict": "correct"}) for row in label), encoding="utf-8")
    _events, found = drain(run([str(small_world / "sft")], replace(settings, labels=str(labels)), tmp_path / "one"))
    assert found[0].correct.value == 1.0
    answers, _total = files.read_answers(files.answers_file(tmp_path / "one", "sft", "plain"))
    assert {one.source for one in answers} == {"person"}
    files.add_label(tmp_path / "one", "q1", answers[1].said, "abstained")
    files.add_label(tmp_path / "one", "q0", answers[0].said, "abstained")
    files.add_label(tmp_path / "one", "q0", answers[0].said, "")
    _events, found = drain(run([str(small_world / "sft")], replace(settings, labels=str(labels)), tmp_path / "one"))
    assert (found[0].correct.value, found[0].abstained.value) == (0.75, 0.25)
    with pytest.raises(UserError, match="cannot be kept"):
        files.add_label(tmp_path / "one", "q1", "x", "maybe")
    with pytest.raises(UserError, match="cannot be kept"):
        files.add_label(tmp_path, "q1", "x", "correct")


def test_an_encoder_has_columns_with_the_reason(tiny, small_world, tmp_path, drain):
    _events, columns = drain(run([str(tiny("bert")), str(small_world / "sft")], replace(SMALL, limit=2), tmp_path))
    assert "fills masks" in columns[0].error
    assert not columns[1].error
    assert files.read_table(tmp_path).columns[0].error == columns[0].error


def test_a_checkpoint_that_computes_nan_is_not_counted_as_inventing(tiny, tmp_path, drain):
    """Its columns have the reason, the other checkpoint goes on."""
    from safetensors.torch import load_file, save_file

    from tests.fakes import write_model

    broken = write_model(tmp_path / "broken", "llama", 1)
    weights = load_file(broken / "model.safetensors")
    next(value for name, value in weights.items() if "down_proj" in name)[0, 0] = math.nan
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    path = tmp_path / "q.jsonl"
    path.write_text("".join(json.dumps({"question": f"What is {n}?", "answer": str(n)}) + "\n" for n in range(3)), "utf-8")
    settings = replace(SMALL, benchmarks=(str(path),), remedies=("fewshot",), limit=0)
    _events, columns = drain(run([str(broken), str(tiny("llama"))], settings, tmp_path / "out"))
    assert [(one.checkpoint, one.remedy, one.n) for one in columns if not one.error] == [
        ("llama-0", "plain", 3), ("llama-0", "fewshot", 3)
    ]  # fmt: skip
    reasons = {one.error for one in columns if one.error}
    assert len(reasons) == 1
    assert "broken computes NaN: 9 of 9 answers are invalid" in reasons.pop()
    assert [one.remedy for one in columns if one.error] == ["plain", "fewshot"]


def test_what_was_cut_is_told_once(tiny, tmp_path, drain):
    """P(True) and answers come in many batches; prompts that are too long are counted over all of them."""
    path = tmp_path / "q.jsonl"
    path.write_text("".join(json.dumps({"question": f"{n} " + "word " * n, "answer": "a"}) + "\n" for n in (1, 2, 150)), "utf-8")
    settings = replace(SMALL, benchmarks=(str(path),), limit=0, samples=0, p_true=False)
    events, (column,) = drain(run([str(tiny("llama"))], settings, tmp_path / "out"))
    told = [event.text for event in events if isinstance(event, Note) and "cut on the left" in event.text]
    assert told == ["1 contexts were longer than the model takes and were cut on the left"]
    assert column.n == 3


def test_an_empty_file_is_said(tiny, tmp_path, drain):
    path = tmp_path / "empty.jsonl"
    path.write_text("", encoding="utf-8")
    with pytest.raises(UserError, match=r"empty\.jsonl has no rows"):
        drain(run([str(tiny("llama"))], replace(SMALL, benchmarks=(str(path),)), tmp_path / "out"))


def test_encoder_decoders_answer_too(tiny, tmp_path, drain):
    source = tmp_path / "quiz.csv"
    source.write_text("question,answer\nthe quick fox,dog\nthe lazy dog,tree\n", encoding="utf-8")
    settings = replace(SMALL, benchmarks=(str(source),), remedies=("fewshot", "role"))
    _events, columns = drain(run([str(tiny("t5"))], settings, tmp_path / "run"))
    assert [one.error for one in columns] == ["", "", ""]
    answers, _total = files.read_answers(files.answers_file(tmp_path / "run", columns[0].checkpoint, "plain"))
    assert all(np.isfinite(one.tokens.logprobs).all() for one in answers)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"remedies": ("prayer",)}, "no remedy prayer"), ({"clustering": "luck"}, "must be one of"),
        ({"clustering": "nli"}, "needs a model"),
        ({"samples": -1}, "at least 0"), ({"temperature": 0.0}, "above 0"), ({"prompt": "Q:"}, "no place"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense(settings, said):
    with pytest.raises(UserError, match=said):
        HallucinationSettings(**settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"remedies": ("retrieval",)}, "needs --retrieve"), ({"remedies": ("crosscheck",)}, "needs --checker"),
        ({"remedies": ("vote",), "samples": 0}, "at least 1"),
        ({"benchmarks": ("arc_easy",)}, "no benchmark of the closed world"),
        ({"benchmarks": ("safety_injection",)}, "no benchmark of the closed world"),
        ({"benchmarks": ("none.jsonl",)}, "no data file"), ({"labels": "none.csv"}, "no data file"),
    ],
)  # fmt: skip
def test_what_a_run_needs_is_said(settings, said, small_world, tmp_path, drain):
    with pytest.raises(UserError, match=said):
        drain(run([str(small_world / "sft")], replace(SMALL, **settings), tmp_path))


def test_the_time_left_is_said(monkeypatch):
    import evals.hallucination.running as module

    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    clock = Clock(2, began=0.0)

    def part():
        now[0] = 60.0
        yield Progress(1, 2, "answering")

    assert [event.what for event in clock.part(part(), "/a/sft")] == ["sft · answering · 3 min left"]
    assert clock.done == 1


# pieces --------------------------------------------------------------------------------------------------------------
def question(id="q", text="Who made it?", **more):
    return questions.Question(id, "quiz", text, ("Clara",), True, **more)


def test_references_are_read_in_every_form(tmp_path):
    path = tmp_path / "quiz.jsonl"
    rows = [
        {"question": "a", "answer": "x; y"}, {"question": "b", "Correct Answers": "x; y"},
        {"question": "c", "answers": '["p", "q"]'},
        {"prompt": "d", "target": ""}, {"Question": "e", "Best Answer": "z", "answerable": "false"},
    ]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    found = questions.questions(str(path), "")
    assert [one.references for one in found] == [("x; y",), ("x", "y"), ("p", "q"), (), ("z",)]
    assert [one.answerable for one in found] == [True, True, True, False, False]
    path.write_text('{"answer": "x"}', encoding="utf-8")
    with pytest.raises(UserError, match="asks nothing"):
        questions.questions(str(path), "")
    path.write_text('{"question": "a", "id": 1}\n{"question": "b", "id": 1}', encoding="utf-8")
    with pytest.raises(UserError, match="one id"):
        questions.questions(str(path), "")


def test_examples_never_hold_the_question_or_its_thing():
    pool = [question(f"q{i}", f"Who made {i}?", cluster=f"thing {i // 2}") for i in range(10)]
    shown = remedies.examples(pool, pool[0], 20, seed=1)
    assert len(shown) == 8
    assert all(one.cluster != "thing 0" for one in shown)
    assert remedies.examples(pool, pool[0], 3, 1) == remedies.examples(pool, pool[0], 3, 1)
    assert remedies.examples(pool, pool[0], 3, 1) != remedies.examples(pool, pool[0], 3, 2)
    chinese = question("z", "谁做的？")
    assert remedies.examples([*pool, chinese], chinese, 3, 1) == []


def test_what_every_remedy_says():
    one, passages = question(), [retrieval.Passage("Clara made it.", "a.txt"), retrieval.Passage("It is red.", "b.txt")]
    told = {name: remedies.messages(name, one, one.text, passages, [question("e", "Who?")]) for name in ALL}
    assert told["plain"] == told["cool"] == [{"role": "user", "content": "Who made it?"}]
    assert [message["role"] for message in told["fewshot"]] == ["user", "assistant", "user"]
    assert told["fewshot"][1]["content"] == "Clara"
    assert told["role"][0]["role"] == "system"
    assert told["thought"][0]["content"].startswith("Who made it?\n")
    assert told["retrieval"][0]["content"] == "Clara made it.\nIt is red.\nWho made it?"
    assert told["cite"][0]["content"].startswith("[1] Clara made it.\n[2] It is red.")
    assert "一步" in remedies.messages("thought", question(text="谁做的？"), "谁做的？")[0]["content"]
    assert plain_text(told["fewshot"]) == "Who? Clara\n\nWho made it?"
    assert plain_text(told["role"]).endswith("\n\nWho made it?")
    assert len({remedies.title(name) for name in ALL}) == len(ALL)
    assert all(remedies.explanation(name) for name in ALL)


def test_what_is_judged_and_what_is_supported():
    passages = [retrieval.Passage("It was Clara who made it.", ""), retrieval.Passage("It is red.", "")]
    assert remedies.final("thought", "Let me see. Answer: x. Answer: Clara") == "Clara"
    assert remedies.final("thought", "我想想。答案：克拉拉") == "克拉拉"
    assert remedies.final("thought", "Clara") == "Clara"
    assert remedies.final("cite", "Clara [1]") == "Clara"
    assert remedies.final("plain", "Clara [1]") == "Clara [1]"
    assert remedies.cited("Clara [1]", passages)
    assert not remedies.cited("Clara [2]", passages)
    assert not remedies.cited("Clara", passages)
    assert not remedies.cited("Clara [7]", passages)
    assert remedies.supported("clara!", passages)
    assert not remedies.supported("Clar", passages)
    assert not remedies.supported("", passages)


def test_bm25_by_hand(tmp_path):
    """One term: idf · tf (k₁ + 1) / (tf + k₁ (1 − b + b · length / mean)), as SQLite's manual has it."""
    texts = ["the fox jumps", "the dog sleeps under the old tree", "a bird"]
    index = retrieval.Passages([retrieval.Passage(text, str(n)) for n, text in enumerate(texts)])
    found = index.find("Fox?", 3)
    assert [one.text for one in found] == [texts[0]]
    n, with_term, mean = 3, 1, (3 + 7 + 2) / 3
    idf = math.log((n - with_term + 0.5) / (with_term + 0.5))
    assert found[0].score == pytest.approx(idf * (1 * 2.2) / (1 + 1.2 * (0.25 + 0.75 * 3 / mean)))
    assert index.find("?!", 2) == []
    assert index.find("zebra", 2) == []
    assert [one.text for one in index.find("the old dog", 1)] == [texts[1]]
    assert index.find('" OR body:x NEAR(', 2) == []  # what is asked is never a query of its own


def test_a_folder_is_cut_into_passages(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.md").write_text("狐狸跳过。\n\n" + "A long sentence about a dog. " * 60, encoding="utf-8")
    (tmp_path / "b.bin").write_bytes(b"\x00")
    index = retrieval.folder(tmp_path)
    assert max(len(one.text) for one in index.passages) <= retrieval.PASSAGE
    assert index.find("狐狸", 1)[0].text == "狐狸跳过。"
    assert {one.source for one in index.passages} == {str((tmp_path / "deep" / "a.md").relative_to(tmp_path))}
    with pytest.raises(UserError, match="is no folder"):
        retrieval.folder(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="nothing to retrieve"):
        retrieval.folder(tmp_path / "empty")


def answered(text, samples=(), asked=None):
    judge = judging.Judge((), "exact", None, lambda ids: tuple(map(str, ids)), lambda ids: "")
    made = [Answer(sample, "eos", (1,), (-1.0,), (0.5,)) for sample in samples]
    own = Answer(text, "eos", (1, 2), (-1.0, -2.0), (0.1, 0.3))
    return judge, judging.judge_answer(judge, "plain", asked or question(), own, samples=made)


def test_outcomes_of_samples_are_shares():
    _judge, one = answered("Boris", ["Clara", "Boris", "I do not know.", "clara"])
    shares = judging.outcomes([one], drawn=True)[0]
    assert (shares.correct, shares.abstained, shares.hallucinated, shares.good) == (0.5, 0.25, 0.25, 0.5)
    assert judging.outcomes([one], drawn=False)[0].hallucinated == 1.0
    assert one.cluster == 0
    assert [sample.cluster for sample in one.samples] == [1, 0, 2, 1]
    assert one.scores["disagreement"] == 0.75
    assert one.scores["semantic_entropy"] == pytest.approx(-(0.5 * math.log(0.5) + 0.5 * math.log(0.25)))


def test_votes_and_what_is_kept_back():
    judge, one = answered("Boris", ["Clara", "Boris", "clara"])
    voted = judging.voted([one], {"q": question()}, judge)[0]
    assert (voted.said, voted.verdict) == ("Clara", "correct")
    kept = judging.crosschecked([one], {"q": "Clara"}, judge)[0]
    assert (kept.verdict, kept.word, kept.good) == ("abstained", "withheld", False)
    assert judging.crosschecked([one], {"q": "boris."}, judge)[0] is one
    assert judging.supported([replace(one, passages=("It was Boris.",))])[0].verdict == "hallucinated"
    unknowable = replace(one, passages=("Clara.",), answerable=False)
    assert judging.supported([unknowable])[0].good


def test_a_column_by_hand():
    asked = [question(f"q{i}", cluster=str(i)) for i in range(12)]
    texts = ["Clara"] * 6 + ["Boris"] * 4 + ["I do not know."] * 2
    answers = [answered(text, ["Clara"] * 2, one)[1] for text, one in zip(texts, asked, strict=True)]
    who, names = Who("sft", "sft", "/sft", "plain"), [one.cluster for one in asked]
    found = tables.column(who, answers, judging.outcomes(answers, False), names, 0, True)
    assert (found.correct.value, found.hallucinated.value, found.abstained.value) == pytest.approx((0.5, 1 / 3, 1 / 6))
    assert found.given_attempted.value == pytest.approx(0.6)
    assert found.false_abstention.value == pytest.approx(1 / 6)
    assert math.isnan(found.unanswerable.value)
    quality = {one.name: one for one in found.qualities}
    assert quality["disagreement"].auroc == 1.0  # the samples say Clara: right answers agree with them, wrong ones do not
    assert quality["token_surprisal"].auroc == 0.5  # all answers have the same tokens
    assert quality["length"].n == 10
    agreement = next(one for one in found.reliabilities if one.name == "agreement")
    assert agreement.ece == 0.0
    assert agreement.brier == 0.0
    assert found.penalty.confidence == "agreement"
    assert found.penalty.by_confidence[-1] == pytest.approx(0.5)
    assert found.penalty.as_answered[10] == pytest.approx(0.5 - 1 / 3)
