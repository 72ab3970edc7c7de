"""Metrics beside the journal: TensorBoard's event files byte by byte, and what is said of packages that are not there."""

import math
import struct
import sys
import types

import pytest

from models.errors import UserError
from models.events import Metrics, Note
from models.training.event_files import EventFile, crc32c, record, scalars_event
from models.training.pretrain import PretrainSettings
from models.training.reports import Reports


def records(content):
    """Read TFRecords, checking both checksums."""
    found = []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        message = content[12 : 12 + length]
        assert content[: 16 + length] == record(message)
        found.append(message)
        content = content[16 + length :]
    return found


def fields(message):
    """Read a protobuf message: (number, value) of each field."""
    found, at = [], 0

    def varint():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        key = varint()
        if key & 7 == 2:
            length = varint()
            value, at = message[at : at + length], at + length
        elif key & 7 == 0:
            value = varint()
        else:
            size, form = (8, "<d") if key & 7 == 1 else (4, "<f")
            (value,) = struct.unpack(form, message[at : at + size])
            at += size
        found.append((key >> 3, value))
    return found


def scalars(message):
    event = dict(fields(message))
    values = [dict(fields(value)) for number, value in fields(event[5]) if number == 1]
    return event[1], event[2], {value[1].decode(): value[2] for value in values}


def test_checksums_by_hand():
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"") == 0


def test_an_event_holds_its_numbers():
    seconds, step, values = scalars(scalars_event(300, {"loss": 1.5, "objective/kl": -0.25, "β": 0.1}, 12.5))
    assert (seconds, step) == (12.5, 300)
    assert values == pytest.approx({"loss": 1.5, "objective/kl": -0.25, "β": 0.1})


def test_a_number_beyond_float32_is_written_as_the_largest():
    values = scalars(scalars_event(1, {"eval_perplexity": math.exp(700.0), "least": -1e300}, 0.0))[2]
    assert values == {"eval_perplexity": 3.4028234663852886e38, "least": -3.4028234663852886e38}


def test_a_file_begins_with_its_version_and_is_whole_after_every_step(tmp_path):
    file = EventFile(tmp_path / "tensorboard")
    file.add(1, {"loss": 2.0})
    file.add(2, {"loss": 1.0})
    (path,) = (tmp_path / "tensorboard").iterdir()
    assert path.name.startswith("events.out.tfevents.")
    first, *rest = records(path.read_bytes())
    assert dict(fields(first))[3] == b"brain.Event:2"
    assert [scalars(message)[1:] for message in rest] == [(1, {"loss": 2.0}), (2, {"loss": 1.0})]
    file.close()


def test_tensorboard_itself_reads_it(tmp_path):
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    file = EventFile(tmp_path)
    file.add(7, {"loss": 0.5})
    file.close()
    (path,) = tmp_path.iterdir()
    events = list(loader.LegacyEventFileLoader(str(path)).Load())
    assert [(event.step, value.tag, value.simple_value) for event in events for value in event.summary.value] == [
        (7, "loss", 0.5)
    ]


def test_metrics_are_passed_on_and_what_is_not_finite_is_left_out(tmp_path):
    with Reports(("tensorboard",), tmp_path, "a/b", {}) as reports:
        reports.write(Note("nothing"))
        reports.write(Metrics(3, {"loss": 1.0, "grad_norm": float("nan")}))
    (path,) = (tmp_path / "tensorboard").iterdir()
    assert scalars(records(path.read_bytes())[1])[1:] == (3, {"loss": 1.0})


def test_wandb_and_mlflow_hear_the_same(tmp_path, monkeypatch):
    heard = []
    run = types.SimpleNamespace(log=lambda values: heard.append(values), finish=lambda: heard.append("end"))
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=lambda **given: heard.append(given["name"]) or run))
    with Reports(("wandb",), tmp_path, "mine/sft", {"lr": 1}) as reports:
        reports.write(Metrics(3, {"loss": 1.0}))
    assert heard == ["mine/sft", {"loss": 1.0, "step": 3}, "end"]

    logged, active = [], []
    client = types.SimpleNamespace(
        log_param=lambda run, key, value: logged.append((key, value)),
        log_metric=lambda run, name, value, step: logged.append((name, value, step)),
    )
    started = types.SimpleNamespace(info=types.SimpleNamespace(run_id="id"))
    mlflow = types.SimpleNamespace(
        set_experiment=lambda name: None,
        tracking=types.SimpleNamespace(MlflowClient=lambda: client),
        start_run=lambda **given: active.append(started) or started,
        end_run=lambda: logged.append(active.pop().info.run_id),
    )
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    with Reports(("mlflow",), tmp_path, "mine/sft", {"lr": 1}) as reports:
        reports.write(Metrics(3, {"verdict/known: correct": 1.0}))
    assert logged == [("lr", "1"), ("verdict/known. correct", 1.0, 3), "id"]
    assert not active


def test_a_package_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="wandb"):
        Reports(("wandb",), tmp_path, "a", {})
    closed = []
    monkeypatch.setattr(EventFile, "close", lambda self: closed.append(self._file.close()))
    with pytest.raises(UserError, match="wandb"):
        Reports(("tensorboard", "wandb"), tmp_path, "a", {})
    assert len(closed) == 1
    with pytest.raises(UserError, match="tensorbord"):
        PretrainSettings(report_to=("tensorbord",))


def test_a_report_that_fails_stops_no_training(tmp_path, monkeypatch):
    class Error(Exception):
        pass

    def log(values):
        if values["step"] == 4:
            raise Error("the server\n is away.")
        heard.append(values["step"])

    def finish():
        raise Error("still away")

    heard = []
    run = types.SimpleNamespace(log=log, finish=finish)
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=lambda **given: run, Error=Error))
    with Reports(("wandb", "tensorboard"), tmp_path, "a", {}) as reports:
        said = [reports.write(Metrics(step, {"loss": 1.0})) for step in (3, 4, 5)]
    assert heard == [3]
    assert [len(notes) for notes in said] == [0, 1, 0]
    assert said[1][0].level == "warning"
    assert "wandb takes no more metrics (the server is away)" in said[1][0].text
    (path,) = (tmp_path / "tensorboard").iterdir()
    assert [scalars(message)[1] for message in records(path.read_bytes())[1:]] == [3, 4, 5]


def test_a_report_that_cannot_begin_is_said_in_one_sentence(tmp_path, monkeypatch):
    class MlflowException(Exception):
        pass

    def refuse(name):
        raise MlflowException("no such store")

    names = {"set_experiment": refuse, "exceptions": types.SimpleNamespace(MlflowException=MlflowException)}
    monkeypatch.setitem(sys.modules, "mlflow", types.SimpleNamespace(**names))
    with pytest.raises(UserError, match="mlflow could not begin its report: no such store"):
        Reports(("mlflow",), tmp_path, "a", {})
    monkeypatch.setitem(sys.modules, "mlflow", types.SimpleNamespace(set_experiment=lambda name: {}["bug"]))
    with pytest.raises(KeyError):
        Reports(("mlflow",), tmp_path, "a", {})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_real_training_is_reported_by_the_real_package(name, tmp_path, monkeypatch):
    """Without a network: wandb offline, mlflow into a folder; skipped where the package is not installed."""
    pytest.importorskip("torch")
    package = pytest.importorskip(name)
    from models.events import finish
    from models.training.recipe import load_recipe, run_recipe
    from tests.models.training import write_corpus

    for variable, value in (("WANDB_MODE", "offline"), ("WANDB_SILENT", "true"), ("MLFLOW_ALLOW_FILE_STORE", "true"),
                            ("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())):  # fmt: skip
        monkeypatch.setenv(variable, value)
    write_corpus(tmp_path)
    (tmp_path / "r.yaml").write_text(
        "stages:\n  - {stage: tokenizer, data: [texts.jsonl], vocab_size: 262}\n"
        f"  - {{stage: pretrain, data: [texts.jsonl], steps: 3, block: 32, report_to: {name},\n"
        "     model: {layers: 1, width: 32, heads: 2, feed_forward: 48}}\n"
    )
    finish(run_recipe(load_recipe(tmp_path / "r.yaml"), tmp_path / "out"))
    if name == "wandb":
        assert list((tmp_path / "out/pretrain/wandb").glob("offline-run-*/run-*.wandb"))
        return
    (run,) = package.search_runs(experiment_names=["triptych"], output_format="list")
    assert run.info.status == "FINISHED"
    assert [one.step for one in package.tracking.MlflowClient().get_metric_history(run.info.run_id, "loss")] == [1, 2, 3]


def test_a_recipe_writes_event_files(tmp_path):
    pytest.importorskip("torch")
    from models.events import finish
    from models.training.recipe import load_recipe, run_recipe
    from tests.models.training import write_corpus

    write_corpus(tmp_path)
    (tmp_path / "r.yaml").write_text(
        "stages:\n  - {stage: tokenizer, data: [texts.jsonl], vocab_size: 262}\n"
        "  - {stage: pretrain, data: [texts.jsonl], steps: 3, block: 32, report_to: tensorboard,\n"
        "     model: {layers: 1, width: 32, heads: 2, feed_forward: 48}}\n"
    )
    finish(run_recipe(load_recipe(tmp_path / "r.yaml"), tmp_path / "out"))
    (path,) = (tmp_path / "out/pretrain/tensorboard").iterdir()
    found = [scalars(message) for message in records(path.read_bytes())[1:]]
    assert [step for _seconds, step, _values in found] == [1, 2, 3]
    assert all("loss" in values for _seconds, _step, values in found)
