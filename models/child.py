"""The other end of ``models/children.py``: limits itself, then runs one task for every line of its input.

Started by its path with ``python -I``, so that nothing of the environment or the current folder is imported.
"""

from __future__ import annotations

import json
import os
import sys
import types
from collections.abc import Iterable
from typing import Any

TASKS = {
    "render": "models.sandbox:render",
    "tokenizer": "models.sandbox:tokenizer",
    "torch_file": "models.torch_convert:convert",
    "gguf": "models.gguf_convert:convert",
    "gguf_transformers": "models.gguf_convert:convert_with_transformers",
    "pacmap": "models.embeddings.projecting:project",
    "tsne": "models.embeddings.projecting:project",
    "umap": "models.embeddings.projecting:project",
}
FORBIDDEN = (
    "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn", "subprocess.Popen",
    "socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "urllib.Request",
    "webbrowser.open", "ftplib.connect", "smtplib.connect",
)  # fmt: skip
NATIVE = ("gguf_transformers", "pacmap", "tsne", "umap")
"""Tasks that may load native libraries after they have begun; torch does so late."""
CHANGING = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.chmod", "os.truncate", "shutil.rmtree")
MOVING = ("os.rename", "os.link", "os.symlink")
"""Of these the target counts too: nothing may be moved or linked out of the folder."""


def limit(setup: dict[str, Any]) -> None:
    """Bound address space and processor time, and leave the network where the system lets us."""
    try:
        import resource
    except ImportError:  # Windows: the parent's time limit remains
        return
    for name, value in (("RLIMIT_AS", setup["memory"]), ("RLIMIT_CPU", setup["cpu_seconds"]), ("RLIMIT_CORE", 0)):
        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))
    if sys.platform == "linux":
        follow_parent()


def follow_parent() -> None:
    """Die with the parent, and move into a network namespace without interfaces where the system gives the right to."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    set_death_signal, kill = 1, 9
    libc.prctl(set_death_signal, kill)
    new_user, new_network = 0x10000000, 0x40000000
    if libc.unshare(new_network) != 0:
        libc.unshare(new_user | new_network)


def watch(writable: list[str], native: bool = False) -> None:
    """Refuse, from now on, to start processes, to use the network, and to write outside the given folders."""
    forbidden = FORBIDDEN if native else (*FORBIDDEN, "ctypes.dlopen")
    roots = tuple(os.path.realpath(folder) + os.sep for folder in writable)

    def allowed(path: Any) -> bool:
        if isinstance(path, int):
            return True
        text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
        return text == os.devnull or os.path.realpath(text).startswith(roots)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event.startswith(forbidden):
            raise PermissionError(f"{event} is not allowed here")
        if event == "open":
            path, mode, flags = (*args, 0, 0)[:3]
            writes = (isinstance(mode, str) and any(c in mode for c in "wax+")) or (
                isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            )
            if writes and not allowed(path):
                raise PermissionError(f"writing {path} is not allowed here")
        elif event in CHANGING and not all(allowed(path) for path in args[: 2 if event in MOVING else 1]):
            raise PermissionError(f"{event} of {args[0]} is not allowed here")

    sys.addaudithook(hook)


def serve(function: Any, output: Any) -> None:
    """Answer every line of standard input."""

    def say(message: dict[str, Any]) -> None:
        output.write(json.dumps(message).encode("utf-8") + b"\n")
        output.flush()

    for line in sys.stdin.buffer:
        params = json.loads(line)
        try:
            value = function(params)
            if isinstance(value, types.GeneratorType):
                value = _run(value, say)
            say({"value": value})
        except BaseException as error:  # noqa: BLE001 - reported to the parent, which decides
            say(_explain(error))
            if isinstance(error, KeyboardInterrupt | SystemExit):
                return


def _run(work: types.GeneratorType[Iterable[Any], None, Any], say: Any) -> Any:
    while True:
        try:
            say({"progress": list(next(work))})
        except StopIteration as end:
            return end.value


def _explain(error: BaseException) -> dict[str, Any]:
    what = getattr(error, "what", None)
    if what is not None:
        fields = {key: value for key, value in vars(error)["fields"].items() if isinstance(value, str | int | float)}
        return {"error": {"id": vars(error)["id"], "what": what, "hint": vars(error)["hint"], "fields": fields}}
    return {"failed": f"{type(error).__name__}: {error}"[:2000], "memory": isinstance(error, MemoryError)}


def main() -> None:
    """Set limits, import the one function, serve."""
    setup = json.loads(sys.argv[1])
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # no stray print breaks a message
    sys.path.insert(0, setup["root"])
    limit(setup)
    import importlib

    module, _colon, name = TASKS[setup["task"]].partition(":")
    function = getattr(importlib.import_module(module), name)
    prepare = getattr(sys.modules[module], "prepare", None)
    if prepare is not None:
        prepare(setup["task"])  # imports of native libraries, before the watch starts
    from models.words import set_language

    set_language(setup["language"])
    watch(setup["writable"], setup["task"] in NATIVE)
    serve(function, output)


if __name__ == "__main__":
    main()
