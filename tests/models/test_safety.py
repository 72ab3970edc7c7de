"""The gate: chat templates in the sandbox, tokenizers tried out in a child, children that are limited."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models import safety
from models.children import MB, Child, ChildFailure, Limits, answer, run_limited
from models.errors import UserError
from models.events import finish

HELLO = [{"role": "user", "content": "hello"}]
NAMED = "{% for m in messages %}<{{ m.role }}>{{ m['content'] }}{% endfor %}"


@pytest.fixture(autouse=True, scope="module")
def _no_child_left() -> Iterator[None]:
    yield
    safety.close()


def test_renders_as_transformers_does() -> None:
    from transformers.utils.chat_template_utils import render_jinja_template

    template = (
        "{{ bos_token }}{%- for m in messages %}\n  {%- if m.role == 'user' %}U: {{ m.content | trim }}\n{% else %}"
        "A: {% generation %}{{ m.content }}{% endgeneration %}{% endif %}{% if loop.last %}{% break %}{% endif %}\n"
        "{%- endfor %}{% if add_generation_prompt %}A: {% endif %}{{ {'b': 1, 'ä': [2]} | tojson }}"
    )
    messages = [{"role": "user", "content": " hi <b> "}, {"role": "assistant", "content": "你好"}]
    ours = safety.render_template(template, messages, add_generation_prompt=True, bos_token="<s>")
    theirs, _spans = render_jinja_template(
        conversations=[messages], chat_template=template, add_generation_prompt=True, bos_token="<s>"
    )
    assert ours == theirs[0]


def test_child_stays_warm() -> None:
    safety.render_template(NAMED, HELLO)
    first = safety._renderer
    assert safety.render_template(NAMED, HELLO) == "<user>hello"
    assert safety._renderer is first


def test_child_that_ended_is_replaced() -> None:
    safety.render_template(NAMED, HELLO)
    assert safety._renderer is not None
    safety._renderer._process.kill()
    assert safety.render_template(NAMED, HELLO) == "<user>hello"


FORK = """
import os, sys
from models import safety

def render():
    return safety.render_template("{{ messages[0].content }}", [{"role": "user", "content": "hello"}])

render()
folder = safety._renderer._temporary.name
number = os.fork()
if number == 0:
    render()
    sys.exit(3)
assert os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) == 3
assert os.path.isdir(folder)
warm = safety._renderer
assert render() == "hello" and safety._renderer is warm
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_fork_of_this_process_has_a_child_of_its_own() -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORK], check=True, timeout=60)


ESCAPES = {
    "b60-class": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "b60-cycler": "{{ cycler.__init__.__globals__.os.system('true') }}",
    "b60-subclasses": "{{ ().__class__.__base__.__subclasses__() }}",
    "b60-namespace": "{{ namespace.__init__.__globals__ }}",
    "b61-format": "{{ '{0.__class__.__mro__}'.format(1) }}",
    "b61-format-map": "{{ '{a.__class__.__init__.__globals__}'.format_map({'a': 1}) }}",
    "b61-format-reference": "{% set f = '{0.__class__.__init__.__globals__}'.format %}{{ f(cycler) }}",
    "b61-attr": "{{ ''|attr('__class__')|attr('__mro__') }}",
    "b61-attr-format": "{{ ('{0.__class__}'|attr('format'))(1) }}",
    "b61-map-attribute": "{{ [cycler]|map(attribute='__init__.__globals__')|list }}",
}


@pytest.mark.parametrize("name", ESCAPES)
def test_template_escapes(name: str) -> None:
    try:
        text = safety.render_template(ESCAPES[name], HELLO)
    except UserError as error:
        assert error.id in ("template.unsafe", "template.failed")  # noqa: PT017 - either refused, or nothing came out
    else:
        assert not any(word in text for word in ("class", "module", "function", "os", "built"))


LIMITED = {
    "b62-range": ("{% for i in range(10**9) %}{% endfor %}", "range"),
    "b63-nested-loops": ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "seconds"),
    "b63-long-text": ("{{ 'a' * 10**8 }}", "characters|seconds|memory"),
    "b63-too-long-for-memory": ("{{ 'a' * 10**12 }}", "memory|seconds"),
    "b63-much-output": ("{% for i in range(99999) %}{{ 'a' * 10000 }}{% endfor %}", "characters"),
    "b63-recursion": ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "Recursion"),
    "b64-mutates": ("{{ messages.append(1) }}", "not allowed"),
    "b64-mutates-one": ("{{ messages[0].update({'role': 'x'}) }}", "not allowed"),
    "b64-raises": ("{{ raise_exception('only one user turn') }}", "only one user turn"),
    "b64-syntax": ("{{ ok }}\n{% for %}", "line 2"),
    "b64-undefined": ("a\n\n{{ messages[0].nothing.at_all }}", "line 3"),
    "b64-no-files": ("{% include '/etc/passwd' %}", "fails"),
}


@pytest.mark.parametrize("name", LIMITED)
def test_template_limits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safety, "TEMPLATE_SECONDS", 0.5)
    template, words = LIMITED[name]
    with pytest.raises(UserError, match=words):
        safety.render_template(template, HELLO)
    monkeypatch.undo()
    assert safety.render_template(NAMED, HELLO) == "<user>hello"


@pytest.mark.parametrize("name", ["tokenize", "chat_template", "messages2", "trust_remote_code", "return_dict"])
def test_b65_values_are_an_allow_list(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        safety.render_template(NAMED, HELLO, **{name: True})


def test_jinja_is_recent_enough() -> None:
    from importlib.metadata import version

    assert tuple(int(part) for part in version("jinja2").split(".")[:3]) >= (3, 1, 6)


class TestChildren:
    """What a task may not do, tried from inside a template child through its own interpreter."""

    CODE = """
import json, os, sys
sys.argv = ["child", json.dumps({setup})]
import runpy
import models.child as child
child.TASKS["try"] = "tests.models.test_safety:attempt"
child.main()
"""

    def run(self, action: str, tmp_path: Path, memory: int = 1024 * MB) -> dict[str, Any]:
        root = Path(safety.__file__).parents[1]
        setup = {"root": str(root), "task": "try", "language": "en", "memory": memory, "cpu_seconds": 30,
                 "writable": [str(tmp_path)]}  # fmt: skip
        import json

        done = subprocess.run(
            [sys.executable, "-c", self.CODE.replace("{setup}", repr(setup))], input=json.dumps({"action": action}) + "\n",
            capture_output=True, text=True, cwd=root, check=True,
        )  # fmt: skip
        message: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return message

    @pytest.mark.parametrize("action", ["system", "popen", "fork", "connect", "resolve", "write", "remove", "rename"])
    def test_rights(self, action: str, tmp_path: Path) -> None:
        assert "not allowed" in self.run(action, tmp_path)["failed"]

    def test_own_folder_can_be_written(self, tmp_path: Path) -> None:
        assert self.run(f"own {tmp_path}", tmp_path) == {"value": "written"}

    @pytest.mark.parametrize("way", ["move", "link", "symlink"])
    def test_nothing_is_moved_or_linked_out_of_the_own_folder(self, way: str, tmp_path: Path) -> None:
        assert "not allowed" in self.run(f"{way} {tmp_path}", tmp_path)["failed"]

    def test_memory(self, tmp_path: Path) -> None:
        assert self.run("memory", tmp_path, 512 * MB)["memory"] is True

    def test_time(self) -> None:
        template = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
        params = {"template": template, "messages": [], "values": {}}
        with pytest.raises(ChildFailure) as caught:
            finish(run_limited("render", params, Limits(0.5)))
        assert caught.value.reason == "time"

    def test_cancelling_kills_it(self) -> None:
        child = Child("render", Limits(60))
        child.send({"template": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
                    "messages": [], "values": {}})  # fmt: skip
        work = answer(child, 60)
        next(work)
        work.close()
        child.close()
        assert not child.alive
        assert not os.path.exists(child._temporary.name)

    def test_secrets_do_not_travel(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from models.children import environment

        monkeypatch.setenv("HF_TOKEN", "hf_planted")
        monkeypatch.setenv("HTTPS_PROXY", "http://planted")
        assert "planted" not in str(environment("/tmp"))


def attempt(params: dict[str, str]) -> str:
    """Try one forbidden thing; runs inside the child."""
    import socket

    name, _space, folder = params["action"].partition(" ")
    if name == "own":
        Path(folder, "x").write_text("x", encoding="utf-8")
        return "written"
    ways = {"move": os.rename, "link": os.link, "symlink": os.symlink}
    if name in ways:
        Path(folder, "x").write_text("x", encoding="utf-8")
        ways[name](Path(folder, "x"), "/tmp/triptych-nor-there")
        return "moved"
    actions: dict[str, Any] = {
        "system": lambda: os.system("true"),
        "popen": lambda: subprocess.run(["true"], check=True),
        "fork": os.fork,
        "connect": lambda: socket.create_connection(("127.0.0.1", 9), 1),
        "resolve": lambda: socket.getaddrinfo("example.org", 80),
        "write": lambda: Path("/tmp/triptych-not-allowed").write_text("x", encoding="utf-8"),
        "remove": lambda: os.remove("/tmp/triptych-not-there"),
        "rename": lambda: os.rename("/tmp/triptych-not-there", "/tmp/triptych-nor-there"),
        "memory": lambda: bytearray(2**31),
    }
    actions[name]()
    return "done"
