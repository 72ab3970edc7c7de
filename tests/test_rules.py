"""Rules of the house that a machine can check."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("lab", "models", "evals", "assets")
FORBIDDEN_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "shelve", "marshal"}
FORBIDDEN_CALLS = {
    "torch.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "eval", "jinja2.Environment",
    "numpy.load", "np.load",
}  # fmt: skip
ALLOWED = {("models/safety.py", "jinja2.Environment"), ("models/sandbox.py", "jinja2.Environment")}
HEAVY = ("torch", "transformers", "lm_eval", "sklearn", "datasets", "scipy", "accelerate", "peft")
KINDS = (
    ("lab.ui.views", "VIEW"), ("models.training", "STAGE"), ("evals.metrics", "METRIC"), ("evals.benchmarks", "BENCHMARK"),
)  # fmt: skip


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def child(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)


def test_the_window_starts_without_any_heavy_import() -> None:
    """A fresh process imports the window and every discovered module, and no torch comes with it."""
    code = f"""
import json, sys
import lab.ui.app
first = sorted(name for name in {HEAVY!r} + ("pyqtgraph", "numpy") if name in sys.modules)
from models.discover import discover
errors = {{}}
counts = {{}}
for package, constant in {KINDS!r}:
    found = discover(package, constant)
    counts[constant] = len(found)
    errors |= {{item.name: item.error for item in found if item.error}}
heavy = sorted(name for name in {HEAVY!r} if name in sys.modules)
print(json.dumps([first, heavy, errors, counts]))
"""
    run = child(code)
    assert run.returncode == 0, run.stderr
    first, heavy, errors, counts = json.loads(run.stdout.splitlines()[-1])
    assert first == [], "imported before the first frame"
    assert heavy == [], "imported by discovering"
    assert errors == {}
    assert all(count > 0 for count in counts.values()), counts


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def broken_rules(path: Path) -> list[str]:
    """Return what a source file does that none may."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    where = path.relative_to(ROOT).as_posix()
    found = []
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [f"{where} imports {name}" for name in names if name.split(".")[0] in FORBIDDEN_MODULES]
    for name, call in calls(tree):
        keywords = {keyword.arg: keyword.value for keyword in call.keywords}
        if name in FORBIDDEN_CALLS and (where, name) not in ALLOWED:
            unpickled = isinstance(keywords.get("allow_pickle"), ast.Constant) and keywords["allow_pickle"].value is False  # type: ignore[attr-defined]
            if not (name.endswith("np.load") or name == "numpy.load") or not unpickled:
                found.append(f"{where}:{call.lineno} calls {name}")
        remote = keywords.get("trust_remote_code")
        if isinstance(remote, ast.Constant) and remote.value is True:
            found.append(f"{where}:{call.lineno} trusts remote code")
        if name == "print" and not where.startswith("lab/cli"):
            found.append(f"{where}:{call.lineno} prints")
    return found


def test_nothing_forbidden_is_called_or_imported() -> None:
    assert [problem for path in sources() for problem in broken_rules(path)] == []


def test_the_rules_are_seen_to_be_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    bad = tmp_path / "bad.py"
    bad.write_text(
        "import pickle\nfrom dill import x\ntorch.load('a')\neval('1')\nf(trust_remote_code=True)\nprint(1)\n"
        "model.eval()\nnp.load(p, allow_pickle=False)\nyaml.safe_load(s)\nf(trust_remote_code=False)\n",
        encoding="utf-8",
    )
    assert len(broken_rules(bad)) == 6


STATES = {
    "inference_mode", "no_grad", "enable_grad", "autocast", "forward_of", "keeping", "adapter", "switched", "intervened",
    "reading", "cancellable", "watching", "quiet",
}  # fmt: skip
"""Contexts that change how everything in the process computes."""


def yields_inside(tree: ast.AST) -> list[int]:
    """Lines at which a generator lets others run while one of ``STATES`` is on; context managers themselves may."""
    found = []
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        if any("contextmanager" in ast.dump(decorator) for decorator in function.decorator_list):
            continue
        for block in (node for node in ast.walk(function) if isinstance(node, ast.With)):
            names = {ast.unparse(item.context_expr).partition("(")[0].rpartition(".")[2] for item in block.items}
            if names & STATES:
                inner = (node for statement in block.body for node in ast.walk(statement))
                found += [node.lineno for node in inner if isinstance(node, ast.Yield | ast.YieldFrom)]
    return found


def test_no_generator_lets_others_run_in_its_own_state_of_torch() -> None:
    """The engine takes generators in turn: a mode that is on over a yield is on for all, and may never be put back."""
    wrong = {str(path): lines for path in sources() if (lines := yields_inside(ast.parse(path.read_text(encoding="utf-8"))))}
    assert wrong == {}
    bad = "def work():\n    with torch.inference_mode(), x:\n        for i in y:\n            yield i\n"
    assert yields_inside(ast.parse(bad)) == [4]
    assert yields_inside(ast.parse("@contextmanager\n" + bad)) == []


def test_package_files_are_empty() -> None:
    filled = [str(path.relative_to(ROOT)) for path in sources() if path.name == "__init__.py" and path.read_bytes().strip()]
    assert filled == []


def test_modules_and_functions_keep_their_size() -> None:
    """A module has at most 400 lines, a function at most 60."""
    long = []
    for path in sources():
        text = path.read_text(encoding="utf-8")
        n_lines = text.count("\n")
        if n_lines > 400:
            long.append(f"{path.relative_to(ROOT)}: {n_lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
                size = node.end_lineno - node.lineno + 1
                if size > 60:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {size} lines")
    assert long == []


def test_ten_thousand_signals_can_be_emitted() -> None:
    """PySide6 6.12.0 on Python 3.11 aborts after about 570: each emit dropped one reference to True."""
    code = """
import sys
from PySide6.QtCore import QCoreApplication, QObject, Signal
class Speaker(QObject):
    said = Signal(bool)
application = QCoreApplication([])
speaker = Speaker()
heard = []
speaker.said.connect(heard.append)
before = sys.getrefcount(True)
for _ in range(10_000):
    speaker.said.emit(True)
assert len(heard) == 10_000
"""
    run = child(code)
    assert run.returncode == 0, run.stderr


def test_imports_follow_the_arrows() -> None:
    """lab.ui above lab above evals above models; Qt only in lab.ui; views do not know each other."""
    run = child("import sys; from importlinter import cli; sys.exit(cli.lint_imports(no_cache=True))")
    assert run.returncode == 0, run.stdout + run.stderr
