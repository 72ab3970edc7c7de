"""The loop: exact resume, accumulation, clipping, schedule, STOP, NaN, refusals."""

import json
import shutil
from pathlib import Path

import pytest

from models.errors import UserError
from models.events import Metrics, Note, Saved, finish
from models.training.stage import TrainSettings
from tests.models.training import run_stage, workspace, write_corpus, write_rows

torch = pytest.importorskip("torch")

from models.training import pretrain, sft, tokenizer  # noqa: E402
from models.training.llama import ModelShape  # noqa: E402
from models.training.loop import learning_rate  # noqa: E402

SHAPE = ModelShape(layers=1, width=32, heads=2, feed_forward=48, context=128, dropout=0.1)
SETTINGS = pretrain.PretrainSettings(
    data=("texts.jsonl",), model=SHAPE, precision="fp32", dtype="fp32", block=48, batch_size=2, accumulate=4, steps=12,
    warmup=3, save_every=3, seed=5, lr=3e-3,
)  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = write_corpus(tmp_path_factory.mktemp("corpus"))
    run_stage(tokenizer.STAGE, tokenizer.TokenizerSettings(data=("texts.jsonl", "talk.jsonl"), vocab_size=300), folder)
    return folder


@pytest.fixture
def root(corpus, tmp_path):
    shutil.copytree(corpus, tmp_path / "root")
    return tmp_path / "root"


def course(events):
    """The losses and gradient norms of a run by step, exactly."""
    return {e.step: (e.values["loss"], e.values["grad_norm"]) for e in events if isinstance(e, Metrics) and "loss" in e.values}


def start(root, settings=SETTINGS, resume=False, stage=pretrain.STAGE):
    return stage.run(settings, workspace(root, stage.name, resume=resume))


def run_until(work, step):
    """Run to the end of a step; returns the events so far."""
    events = []
    for event in work:
        events.append(event)
        if isinstance(event, Metrics) and event.step == step:
            return events
    raise AssertionError("ended before")


@pytest.fixture(scope="module")
def reference(corpus, tmp_path_factory):
    """A run without any interruption."""
    root = tmp_path_factory.mktemp("reference") / "root"
    shutil.copytree(corpus, root)
    events = list(start(root))
    weights = (root / "pretrain/checkpoint/model.safetensors").read_bytes()
    return course(events), weights


def test_every_step_learns_something_else(reference):
    losses = [loss for loss, _ in reference[0].values()]
    assert list(reference[0]) == list(range(1, 13))
    assert len(set(losses)) == 12
    assert losses[-1] < losses[0] - 0.5


def test_stopped_by_closing_and_resumed_twice_is_bit_identical(root, reference):
    seen = {}
    for end in (4, 7):
        work = start(root, resume=True)
        seen.update(course(run_until(work, end)))
        work.close()
    rest = list(start(root, resume=True))
    assert any(isinstance(event, Note) and "resumed at step 7" in event.text for event in rest)
    seen.update(course(rest))
    assert seen == reference[0]
    assert (root / "pretrain/checkpoint/model.safetensors").read_bytes() == reference[1]


def test_killed_without_a_word_and_resumed_is_bit_identical(root, reference):
    """A kill leaves the states written so far, and perhaps an unfinished folder: steps after the last are done again."""
    work = start(root)
    run_until(work, 8)
    shutil.copytree(root / "pretrain", root / "as-killed")
    work.close()
    shutil.rmtree(root / "pretrain")
    (root / "as-killed").rename(root / "pretrain")
    (root / "pretrain/state/step-9.tmp").mkdir()
    (root / "pretrain/state/step-9.tmp/model.safetensors").write_bytes(b"half")
    events = list(start(root, resume=True))
    again = course(events)
    assert min(again) == 7
    assert again == {step: value for step, value in reference[0].items() if step >= 7}
    assert (root / "pretrain/checkpoint/model.safetensors").read_bytes() == reference[1]
    assert not (root / "pretrain/state/step-9.tmp").exists()


def test_a_damaged_newest_state_is_passed_over(root, reference):
    work = start(root)
    run_until(work, 8)
    work.close()
    newest = root / "pretrain/state/step-8/model.safetensors"
    content = bytearray(newest.read_bytes())
    content[-3] ^= 1
    newest.write_bytes(bytes(content))
    again = course(start(root, resume=True))
    assert min(again) == 7
    assert again[12] == reference[0][12]


def test_a_stop_file_saves_and_ends(root, reference):
    seen, saved = {}, None
    work = start(root)
    for event in work:
        if isinstance(event, Metrics):
            seen.update(course([event]))
            if event.step == 5:
                (root / "pretrain/STOP").touch()
        if isinstance(event, Saved):
            saved = event
    assert max(seen) == 5
    assert saved == Saved("state/step-5", 5)
    assert not (root / "pretrain/checkpoint").exists()
    seen.update(course(start(root, resume=True)))
    assert seen == reference[0]


def test_only_the_newest_states_are_kept_and_hold_no_pickle(root):
    work = start(root)
    run_until(work, 10)
    folders = sorted(path.name for path in (root / "pretrain/state").iterdir())
    assert folders == ["step-6", "step-9"]
    files = {path.name for path in (root / "pretrain/state/step-9").iterdir()}
    assert files == {"manifest.json", "state.json", "model.safetensors", "optimizer.safetensors", "random.safetensors"}
    assert json.loads((root / "pretrain/state/step-9/state.json").read_text())["step"] == 9
    work.close()


@pytest.mark.parametrize("change", ["data", "settings", "tokenizer"])
def test_resuming_with_something_else_is_refused(root, change):
    work = start(root)
    run_until(work, 4)
    work.close()
    settings = SETTINGS
    if change == "data":
        with (root / "texts.jsonl").open("a") as file:
            file.write('{"text": "more"}\n')
    elif change == "settings":
        settings = pretrain.PretrainSettings(**{**SETTINGS.__dict__, "batch_size": 4})
    else:
        path = root / "tokenizer/checkpoint/tokenizer.json"
        path.write_text(path.read_text() + "\n")
    with pytest.raises(UserError) as caught:
        list(start(root, settings, resume=True))
    assert caught.value.id == "training.resume_changed"


def test_without_resume_a_run_starts_again(root, reference):
    work = start(root)
    run_until(work, 4)
    work.close()
    work = start(root)
    assert course(run_until(work, 1))[1] == reference[0][1]
    assert not list((root / "pretrain/state").glob("step-*"))
    work.close()


def test_accumulation_does_not_change_the_course(root):
    """The loss is a mean over all tokens, so eight rows are eight rows, however they are cut into micro-batches."""
    courses = []
    plain = {**SETTINGS.__dict__, "model": ModelShape(layers=1, width=32, heads=2, feed_forward=48), "save_every": 0}
    for size, accumulate in ((8, 1), (2, 4), (1, 8)):
        settings = pretrain.PretrainSettings(**{**plain, "batch_size": size, "accumulate": accumulate, "steps": 5})
        courses.append(course(start(root, settings)))
    for other in courses[1:]:
        for step, (loss, norm) in courses[0].items():
            assert other[step] == (pytest.approx(loss, abs=1e-5), pytest.approx(norm, abs=1e-4))


def poison(task, at):
    """Make the loss NaN at one step (counted from 1)."""
    honest, calls = type(task).loss, {"step": 0}

    def loss(self, batch):
        calls["step"] += 1
        value, metrics = honest(self, batch)
        return (value * float("nan") if calls["step"] == at else value), metrics

    return loss


@pytest.mark.parametrize("choice", ["stop", "skip"])
def test_nan_is_never_hidden(root, monkeypatch, choice):
    from models.training.packed import PackedTask

    settings = pretrain.PretrainSettings(**{**SETTINGS.__dict__, "nan": choice, "accumulate": 1, "save_every": 2, "steps": 6})
    monkeypatch.setattr(PackedTask, "loss", poison(PackedTask.__new__(PackedTask), 4))
    if choice == "stop":
        with pytest.raises(UserError, match="step 4 the loss is nan"):
            list(start(root, settings))
        assert (root / "pretrain/state/step-2").exists()
        assert not (root / "pretrain/checkpoint").exists()
        return
    work, events = start(root, settings), []
    try:
        while True:
            events.append(next(work))
    except StopIteration as end:
        metrics = end.value
    losses = {step: loss for step, (loss, _) in course(events).items()}
    assert losses[4] != losses[4]  # the raw value is reported
    assert losses[6] == losses[6]
    assert metrics["steps_skipped"] == 1


def test_a_full_disk_is_a_sentence_and_costs_nothing_saved(root, reference, monkeypatch):
    from models.training import checkpoints

    honest, calls = checkpoints.os.fsync, []

    def fsync(handle):
        calls.append(handle)
        if len(calls) > 9:
            raise OSError(28, "No space left on device")
        honest(handle)

    monkeypatch.setattr(checkpoints.os, "fsync", fsync)
    settings = pretrain.PretrainSettings(**{**SETTINGS.__dict__, "disk_full": "stop"})
    with pytest.raises(UserError, match="step 6 of pretrain could not be written: No space left"):
        list(start(root, settings))
    monkeypatch.undo()
    assert course(start(root, resume=True))[12] == reference[0][12]


def test_weights_that_are_not_finite_are_never_published(root, tmp_path):
    from models.training.checkpoints import publish
    from models.training.llama import new_llama

    model = new_llama(SHAPE, 300, (1, 2, 0), seed=0)
    with torch.no_grad():
        model.model.norm.weight[3] = 1e6  # overflows fp16
    with pytest.raises(UserError, match=r"model\.norm\.weight .* fp16"):
        publish(model, root / "tokenizer/checkpoint", tmp_path / "out", dtype="fp16", manifest={})
    assert not (tmp_path / "out").exists()


def test_schedule():
    settings = TrainSettings(lr=1.0, warmup=4, min_lr=0.1)
    rates = [learning_rate(step, 24, settings) for step in range(25)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[14] == pytest.approx(0.55)
    assert rates[24] == pytest.approx(0.1)
    assert rates[4:] == sorted(rates[4:], reverse=True)


@pytest.mark.parametrize(
    ("name", "value"), [("lr", 0.0), ("precision", "int8"), ("steps", -1), ("batch_size", 0), ("dtype", "f")]
)
def test_settings_that_cannot_work_are_named(name, value):
    with pytest.raises(UserError, match=name):
        TrainSettings(**{name: value})


def test_the_model_learns_to_end(root):
    """P(end) after the fixed-length answers of SFT is above 0.9: the end token is trained."""
    run_stage(pretrain.STAGE, pretrain.PretrainSettings(**{**SETTINGS.__dict__, "accumulate": 1, "save_every": 0}), root)
    settings = sft.SftSettings(data=("talk.jsonl",), precision="fp32", dtype="fp32", block=64, batch_size=4, steps=140, lr=1e-2)
    run_stage(sft.STAGE, settings, root)
    from models.training.data import Texts, pack_batch
    from models.training.forward import hidden_states, target_logits
    from models.training.llama import open_causal
    from tests.models.training import TALK

    folder = root / "sft/checkpoint"
    texts, model = Texts(folder), open_causal(folder).eval()
    packed, _ = pack_batch(texts.chats([row["messages"] for row in TALK[:8]]), 64, texts.pad)
    with torch.no_grad():
        probabilities = target_logits(model, hidden_states(model, packed), packed).softmax(-1)
    assert probabilities[packed.target == texts.end, texts.end].min() > 0.9


def test_events_come_every_step_and_evaluation_is_reported(root):
    write_rows(root / "dev.jsonl", [{"text": "Name1 lies in Velm."}])
    values = {**SETTINGS.__dict__, "dev": "dev.jsonl", "eval_every": 2, "steps": 4, "accumulate": 1, "save_every": 0}
    events = list(start(root, pretrain.PretrainSettings(**values)))
    evaluated = [event for event in events if isinstance(event, Metrics) and "eval_loss" in event.values]
    assert [event.step for event in evaluated] == [2, 4]
    import math

    for event in evaluated:
        assert event.values["eval_perplexity"] == pytest.approx(math.exp(event.values["eval_loss"]))


def test_finish_returns_metrics(root):
    values = {**SETTINGS.__dict__, "steps": 2, "save_every": 0}
    metrics = finish(start(root, pretrain.PretrainSettings(**values)))
    assert metrics["steps"] == 2
    assert metrics["parameters"] > 10_000


# --- schedules, best weights, memory, disk ---------------------------------------------------------------------------


def test_linear_constant_and_wsd_by_hand():
    values = {"lr": 1.0, "warmup": 4, "min_lr": 0.2}
    constant = TrainSettings(schedule="constant", **values)
    assert [learning_rate(step, 24, constant) for step in (0, 3, 4, 23)] == [0.25, 1.0, 1.0, 1.0]
    linear = TrainSettings(schedule="linear", **values)
    assert learning_rate(14, 24, linear) == pytest.approx(0.6)
    assert learning_rate(24, 24, linear) == pytest.approx(0.2)
    wsd = TrainSettings(schedule="wsd", decay=0.25, **values)
    assert {learning_rate(step, 40, wsd) for step in range(4, 31)} == {1.0}
    assert learning_rate(35, 40, wsd) == pytest.approx(0.6)
    assert learning_rate(40, 40, wsd) == pytest.approx(0.2)
    with pytest.raises(UserError, match="schedule is 'step'"):
        TrainSettings(schedule="step")


def plain(**changes):
    shape = ModelShape(layers=1, width=32, heads=2, feed_forward=48, context=128)
    return pretrain.PretrainSettings(**{**SETTINGS.__dict__, "model": shape, "save_every": 0, "steps": 6, **changes})


def test_recomputed_activations_change_nothing(root):
    whole = course(start(root, plain()))
    recomputed = course(start(root, plain(checkpointing=True)))
    for step, (loss, norm) in whole.items():
        assert recomputed[step] == (pytest.approx(loss, abs=1e-6), pytest.approx(norm, abs=1e-5))


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory. Tried to allocate"), MemoryError()])
def test_out_of_memory_halves_the_micro_batch_and_keeps_the_losses(root, monkeypatch, error):
    from models.training.packed import PackedTask

    whole = course(start(root, plain(batch_size=8, accumulate=1)))
    honest, sizes = PackedTask.loss, []

    def loss(self, batch):
        rows = len(batch.input_ids)
        sizes.append(rows)
        if self.tight and rows > 2:
            raise error
        return honest(self, batch)

    monkeypatch.setattr(PackedTask, "loss", loss)
    monkeypatch.setattr(PackedTask, "tight", False, raising=False)
    events = []
    for event in start(root, plain(batch_size=8, accumulate=1)):
        events.append(event)
        if isinstance(event, Metrics) and event.step == 2:
            monkeypatch.setattr(PackedTask, "tight", True)
    small = course(events)
    assert {step: loss for step, (loss, _) in small.items()} == {
        step: pytest.approx(loss, abs=1e-5) for step, (loss, _) in whole.items()
    }
    assert sizes == [8, 8, 8, 4, *[2] * 16]
    notes = [event.text for event in events if isinstance(event, Note) and "Memory ran out" in event.text]
    assert notes == [
        "Memory ran out at step 3: micro-batches of 4 from here, as many more of them; the losses stay the same.",
        "Memory ran out at step 3: micro-batches of 2 from here, as many more of them; the losses stay the same.",
    ]


def test_a_row_that_never_fits_is_a_sentence_and_other_errors_fly(root, monkeypatch):
    from models.training.packed import PackedTask

    def loss(self, batch):
        raise RuntimeError(self.said)

    monkeypatch.setattr(PackedTask, "loss", loss)
    monkeypatch.setattr(PackedTask, "said", "DefaultCPUAllocator: can't allocate memory", raising=False)
    with pytest.raises(UserError, match="Step 1 does not fit into memory even one row at a time"):
        list(start(root, plain()))
    monkeypatch.setattr(PackedTask, "said", "shapes differ")
    with pytest.raises(RuntimeError, match="shapes differ"):
        list(start(root, plain()))


def test_the_small_micro_batch_is_remembered_over_a_resume(root, monkeypatch):
    from models.training.packed import PackedTask

    honest, sizes = PackedTask.loss, []

    def loss(self, batch):
        sizes.append(len(batch.input_ids))
        if len(batch.input_ids) > 2:
            raise MemoryError
        return honest(self, batch)

    monkeypatch.setattr(PackedTask, "loss", loss)
    settings = plain(batch_size=4, accumulate=1, save_every=2)
    work = start(root, settings)
    run_until(work, 3)
    work.close()
    del sizes[:]
    list(start(root, settings, resume=True))
    assert set(sizes) == {2}


def scripted(monkeypatch, values):
    """Make the evaluations report these losses, one after the other."""
    from models.training.packed import PackedTask

    left = list(values)
    monkeypatch.setattr(PackedTask, "evaluate", lambda self: {"eval_loss": left.pop(0)})


def test_training_stops_early_and_publishes_the_best_weights(root, monkeypatch):
    from models.training.llama import open_causal

    write_rows(root / "dev.jsonl", [{"text": "Name1 lies in Velm."}])
    scripted(monkeypatch, [3.0, 2.0, float("nan"), 2.5, 9.0])
    settings = plain(dev="dev.jsonl", eval_every=2, patience=2, steps=20, snapshot_every=4)
    events = list(start(root, settings))
    assert max(event.step for event in events if isinstance(event, Metrics)) == 8
    said = [event.text for event in events if isinstance(event, Note)]
    assert "stopped at step 8: 2 evaluations without a better one" in said
    assert "the weights are those of step 4, the best by eval_loss (2.0000)" in said
    published = dict(open_causal(root / "pretrain/checkpoint").named_parameters())
    fourth = dict(open_causal(root / "pretrain/snapshots/step-4").named_parameters())
    last = dict(open_causal(root / "pretrain/snapshots/step-8").named_parameters())
    assert all(torch.equal(published[name], value) for name, value in fourth.items())
    assert not all(torch.equal(published[name], value) for name, value in last.items())


def test_best_goes_on_over_a_resume(root, monkeypatch):
    write_rows(root / "dev.jsonl", [{"text": "Name1 lies in Velm."}])
    settings = plain(dev="dev.jsonl", eval_every=2, best="eval_loss", steps=8, save_every=2)
    scripted(monkeypatch, [3.0, 1.0])
    work = start(root, settings)
    run_until(work, 5)
    work.close()
    scripted(monkeypatch, [2.0, 2.0])
    work, result = start(root, settings, resume=True), None
    while result is None:
        try:
            next(work)
        except StopIteration as end:
            result = end.value
    assert (result["best_step"], result["eval_loss"]) == (4.0, 1.0)


def test_weights_that_are_not_finite_are_never_best(tmp_path):
    from models.training.best import Best

    best = Best(TrainSettings(), tmp_path)
    best.metric = "eval_loss"
    good, bad = {"w": torch.ones(2)}, {"w": torch.tensor([1.0, float("inf")])}
    assert not best.consider(1, {"eval_loss": 0.1}, bad)
    assert not best.consider(2, {"eval_loss": float("nan")}, good)
    assert best.consider(3, {"eval_loss": 5.0}, good)
    assert not best.consider(4, {"eval_loss": 5.0}, good)
    best.metric = "eval_accuracy"
    assert best.consider(5, {"eval_accuracy": 6.0}, good)
    with pytest.raises(UserError, match="best is 'eval_accuracy', but the evaluation reports eval_loss"):
        best.consider(6, {"eval_loss": 1.0}, good)


def test_best_without_held_out_data_is_refused():
    with pytest.raises(UserError, match="held-out"):
        pretrain.PretrainSettings(patience=2)


def test_a_full_disk_pauses_and_goes_on_by_itself(root, reference, monkeypatch):
    from models.training import checkpoints, room

    honest, calls = checkpoints.os.fsync, []

    def fsync(handle):
        calls.append(handle)
        if 9 < len(calls) < 13:
            raise OSError(28, "No space left on device")
        honest(handle)

    monkeypatch.setattr(checkpoints.os, "fsync", fsync)
    monkeypatch.setattr(room, "PAUSE", 0.0)
    events = list(start(root))
    told = [event for event in events if isinstance(event, Note) and "The disk is full" in event.text]
    assert len(told) == 1
    assert "The state of step 6 of pretrain waits for room" in told[0].text
    assert course(events) == reference[0]
    assert not list((root / "pretrain").rglob("*.tmp"))


def test_what_safetensors_cannot_write_is_an_error_of_the_system(tmp_path, monkeypatch):
    """safetensors says "No space left" by an error of its own (seen on a full tmpfs)."""
    import errno

    import safetensors
    import safetensors.torch

    from models.training.checkpoints import write_tensors

    def full(*_given, **_named):
        raise safetensors.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_tensors({}, tmp_path / "a.safetensors")
    assert caught.value.errno == errno.ENOSPC


def test_a_full_disk_can_be_left_with_a_stop_file(root, monkeypatch):
    from models.training import checkpoints, room

    def fsync(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(room, "PAUSE", 0.0)
    work = start(root)
    next(work)
    monkeypatch.setattr(checkpoints.os, "fsync", fsync)

    def go_on():
        for event in work:
            if isinstance(event, Note) and "The disk is full" in event.text:
                (root / "pretrain/STOP").touch()

    with pytest.raises(UserError, match="could not be written: No space"):
        go_on()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
def test_a_full_disk_does_not_end_a_journal(monkeypatch):
    from models.training.journal import Journal

    monkeypatch.setattr(Journal, "_mend", lambda self: None)  # it would read what never ends
    with Journal(Path("/dev/full")) as journal:
        for number in range(2000):
            journal.append({"n": number})


def test_the_batch_of_a_nan_is_shown_as_text(root, monkeypatch):
    from models.training.packed import PackedTask

    monkeypatch.setattr(PackedTask, "loss", poison(PackedTask.__new__(PackedTask), 2))
    events = []

    def go_on():
        for event in start(root, plain(accumulate=1)):
            events.append(event)

    with pytest.raises(UserError, match="step 2 the loss is nan"):
        go_on()
    text = next(event.text for event in events if isinstance(event, Note) and "the loss is nan" in event.text)
    assert "lies in" in text
    assert [event.values["loss"] != event.values["loss"] for event in events if isinstance(event, Metrics)] == [False, True]


def test_fp16_needs_a_device_that_has_it(root):
    with pytest.raises(UserError, match="fp16, which needs a CUDA device"):
        list(start(root, plain(precision="fp16", device="cpu")))
