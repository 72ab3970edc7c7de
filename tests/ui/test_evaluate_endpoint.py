"""A model that is only an address, from the form to the matrix: the real window, engine and job, a real HTTP server."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication

from lab.runs import find_runs
from lab.settings import Settings, runs_root
from lab.ui.app import App
from lab.ui.views.evaluate import EvaluateView
from models.columns import Column
from models.events import finish
from models.library import load
from tests.evals.serving import Server, serving

pytest.importorskip("tenacity", reason="the extra 'endpoints' is not installed")
pytestmark = pytest.mark.slow
SECONDS = 240
NAME, SECRET = "TRIPTYCH_TEST_KEY", "sk-very-secret-1147"
TASK = """task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {name}.jsonl}}}}
test_split: test
output_type: {kind}
doc_to_text: "{{{{q}}}}"
doc_to_target: "{{{{a}}}}"
"""
WRITES = 'generation_kwargs: {until: ["\\n"], max_gen_toks: 4}\nmetric_list: [{metric: exact_match}]\n'
CHOOSES = 'doc_to_choice: ["yes", "no"]\nmetric_list: [{metric: acc}]\n'


@pytest.fixture(scope="module")
def server(tiny: Callable[..., Path]) -> Iterator[Server]:
    with serving(finish(load(str(tiny("llama"))))) as found:
        yield found


@pytest.fixture
def tasks(tmp_path: Path) -> tuple[str, str]:
    """A task that generates and one that asks for log-likelihoods."""
    paths = []
    for name, kind, more in (("writes", "generate_until", WRITES), ("chooses", "multiple_choice", CHOOSES)):
        rows = [{"q": f"Is {n} even?", "a": "yes" if n % 2 == 0 else "no"} for n in range(3)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
        (tmp_path / f"{name}.yaml").write_text(TASK.format(name=name, kind=kind) + more, "utf-8")
        paths.append(str(tmp_path / f"{name}.yaml"))
    return paths[0], paths[1]


@pytest.fixture
def opened(
    open_app: Callable[..., App], qtbot: Any, tiny: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> tuple[App, EvaluateView]:
    monkeypatch.setenv(NAME, SECRET)  # where the engine runs
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    app = open_app(settings=Settings(text="Who?"))
    app.context.session.set_columns((Column(str(tiny("llama")), label="own"),))
    app.window.centre.show_view("evaluate")
    view = app.window.centre.view_widget("evaluate")
    assert isinstance(view, EvaluateView)
    qtbot.mouseClick(view.scores.buttons["run"], Qt.MouseButton.LeftButton)
    settle(app, qtbot, lambda: view.form.found.count() > 0)  # ours are chosen when the names arrive
    view.form.chosen = []
    view.form.refresh()
    return app, view


def settle(app: App, qtbot: Any, done: Callable[[], bool]) -> None:
    qtbot.waitUntil(lambda: app.context.session.is_settled and done(), timeout=SECONDS * 1000)


def choose(app: App, qtbot: Any, view: EvaluateView, path: str) -> None:
    view.form.search.setText(path)
    qtbot.keyClick(view.form.search, Qt.Key.Key_Return)
    assert view.form.chosen[-1] == path


def test_from_the_form_to_the_matrix(
    opened: tuple[App, EvaluateView], qtbot: Any, server: Server, tasks: tuple[str, str], tiny: Callable[..., Path]
) -> None:
    app, view = opened
    form, far = view.form, view.form.endpoint
    for path in tasks:
        choose(app, qtbot, view, path)
    assert form.start.isEnabled()  # the open column alone
    qtbot.mouseClick(form.far, Qt.MouseButton.LeftButton)
    settle(app, qtbot, lambda: far.is_checked)
    assert far.isVisibleTo(view)
    assert "needs its address" in far.said.whole()
    assert not form.start.isEnabled()

    far.url.setText(server.url)
    far.models.setText("org/tiny")
    far.kind.setCurrentIndex(1)
    settle(app, qtbot, lambda: far.is_checked and far.check.checkpoints != ())
    assert "chat endpoint does not give" in far.said.whole()
    assert tasks[1] in far.said.whole()
    assert tasks[0] not in far.said.whole()
    grey = {form.picked.item(row).text(): form.picked.item(row).toolTip() != "" for row in range(2)}
    assert grey == {tasks[0]: False, tasks[1]: True}
    assert not form.start.isEnabled()

    far.kind.setCurrentIndex(0)
    far.key_name.setText("NO_SUCH_KEY_HERE")
    settle(app, qtbot, lambda: far.is_checked and "NO_SUCH_KEY_HERE" in far.said.whole())
    assert not form.start.isEnabled()
    far.key_name.setText(NAME)
    far.tokenizer.setText(str(tiny("llama")))
    far.columns.setChecked(False)
    settle(app, qtbot, lambda: far.ready)
    assert NAME in far.said.whole()
    assert not far.kind.model().item(1).isEnabled()  # type: ignore[attr-defined]

    qtbot.mouseClick(form.copy, Qt.MouseButton.LeftButton)
    line = shlex.split(QGuiApplication.clipboard().text())
    assert line == ["triptych", *form.command()]
    assert line[2] == f"endpoint:{server.url}/completions#org/tiny"
    assert f"api_key_env={NAME}" in line[line.index("--model-args") + 1]
    qtbot.mouseClick(form.start, Qt.MouseButton.LeftButton)
    wanted = {("writes", "exact_match"), ("chooses", "acc")}
    settle(app, qtbot, lambda: {cell.benchmark for cell in view.cells if cell.state == "done"} >= {"writes", "chooses"})
    settle(app, qtbot, lambda: wanted <= set(view.scores.table.visible_rows()))
    cell = view.matrix().cells[("chooses", "acc"), "org/tiny"]
    assert (cell.n, cell.path) == (3, f"endpoint:{server.url}/completions#org/tiny")
    assert {headers["Authorization"] for _path, headers, _body in server.asked} == {f"Bearer {SECRET}"}
    assert nowhere(SECRET, view)


def nowhere(secret: str, view: EvaluateView) -> bool:
    """Return whether a text is in no file of any run, in no command of a job, and not remembered."""
    runs = find_runs((runs_root(),))
    files = [path for run in runs for path in run.rglob("*") if path.is_file()]
    assert files
    assert any(NAME.encode() in path.read_bytes() for path in files)
    told = json.dumps([view.state(), [job.command for job in view.jobs]])
    return secret not in told and not [path for path in files if secret.encode() in path.read_bytes()]


def test_what_is_typed_is_kept_but_never_a_key(opened: tuple[App, EvaluateView], qtbot: Any, tasks: tuple[str, str]) -> None:
    app, view = opened
    form, far = view.form, view.form.endpoint
    choose(app, qtbot, view, tasks[0])
    qtbot.mouseClick(form.far, Qt.MouseButton.LeftButton)
    far.url.setText("http://localhost:8000/v1")
    far.models.setText("a, b")
    far.key_name.setText(SECRET)  # pasted by mistake
    settle(app, qtbot, lambda: far.is_checked)
    assert "no name of an environment variable" in far.said.whole()
    assert SECRET not in json.dumps(view.state()) + form.command_line() + far.said.whole()
    far.key_name.setText("ABCDEF0123")  # looks like a name, but none is set
    settle(app, qtbot, lambda: far.is_checked)
    assert "ABCDEF0123" not in json.dumps(view.state())
    far.key_name.setText(NAME)
    settle(app, qtbot, lambda: far.ready)
    state = json.loads(json.dumps(view.state()))
    other = EvaluateView()
    qtbot.addWidget(other)
    other.restore(state)
    assert other.form.endpoint.fields() == far.fields()
    assert other.form.far.isChecked()
    assert form.command()[1:4] == (*form.paths[:1], "endpoint:http://localhost:8000/v1/completions#a",
                                   "endpoint:http://localhost:8000/v1/completions#b")  # fmt: skip
    qtbot.mouseClick(form.far, Qt.MouseButton.LeftButton)
    assert not any("endpoint" in word for word in form.command())
