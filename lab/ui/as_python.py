"""What the window shows, as a Python script or a command line that computes it again."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from typing import Any

from models.columns import Column, Sampler

GENERAL = """    strip = checkpoint.tokens(TEXT)
    print(name, strip.convention)
    for token, nats in zip(strip.tokens, strip.surprisal):
        print(f"  {token.text!r:20} {nats:8.3f} nats")
"""
VIEWS = {
    "tokens": GENERAL,
    "attention": """    pattern = checkpoint.attention(TEXT, layer={layer}, head={head})
    print(name, pattern.matrix.shape)  # row = query, column = key
    print(pattern.matrix.round(3))
""",
    "sampling": """    after = checkpoint.distribution(TEXT, top=20)
    print(name, f"entropy {{after.entropy:.3f}} nats")
    for text, model, sampled in zip(after.texts, after.probabilities, after.sampled):
        print(f"  {{text!r:20}} {{model:8.4f}} {{sampled:8.4f}}")
""",
    "chat": """    answer = checkpoint.generate([{"role": "user", "content": TEXT}])
    print(name, answer.text)
""",
    "embeddings": """    projection = checkpoint.project()
    print(name, projection.xy.shape, projection.explained)
""",
}


def open_call(column: Column) -> str:
    """Return the call that opens a column as the window has it."""
    names = ("device", "dtype", "quantize", "prompt", "system", "adapter", "exact")
    usual = Column(column.checkpoint)
    given = [f"{name}={getattr(column, name)!r}" for name in names if getattr(column, name) != getattr(usual, name)]
    return f"open_checkpoint({', '.join([repr(column.checkpoint), *given])})"


def sampler_call(sampler: Sampler) -> str:
    """Return the sampler's settings that are not the usual ones as keyword arguments."""
    usual = Sampler()
    items = dataclasses.asdict(sampler).items()
    return "".join(f", {name}={value!r}" for name, value in items if value != getattr(usual, name))


def command_line(columns: tuple[Column, ...], text: str, flags: tuple[str, ...]) -> str:
    """Return one ``triptych inspect`` line for each column, quoted for a POSIX shell.

    Args:
        columns: The columns shown.
        text: The prompt.
        flags: What the view shows, as flags of ``triptych inspect``.
    """
    lines = []
    for column in columns:
        named = {"--device": column.device, "--dtype": column.dtype, "--quantize": column.quantize}
        usual = Column(column.checkpoint)
        given = [word for flag, value in named.items() if value != getattr(usual, flag[2:]) for word in (flag, value)]
        lines.append(shlex.join(["triptych", "inspect", column.checkpoint, "--text", text, *flags, *_variant(column), *given]))
    return "\n".join(lines) + "\n"


def _variant(column: Column) -> list[str]:
    """Return what a column gives its model around the text, as flags of ``triptych inspect``."""
    chat = ["--chat"] if column.prompt == "template" else []
    system = ["--system", column.system] if column.system else []
    exact = ["--exact", "+".join(map(str, column.exact))] if column.exact else []
    adapter = [] if column.adapter == 1 else ["--adapter-scale", f"{column.adapter:g}"] if column.adapter else ["--no-adapter"]
    return [*chat, *system, *exact, *adapter]


def script(columns: tuple[Column, ...], text: str, view: str, selection: Mapping[str, Any], own: str = "") -> str:
    """Return a script that opens the columns and computes what a view shows of the text.

    Args:
        columns: The columns shown.
        text: The prompt.
        view: Name of the view; one without an entry of its own is written as the Tokens view.
        selection: What is selected; an attention head's ``layer`` and ``head`` are taken from it.
        own: What the view itself writes (``ViewWidget.python``).
    """
    body = own or VIEWS.get(view, GENERAL)
    if not own and view in ("attention", "sampling"):
        body = body.format(layer=int(selection.get("layer", 0)), head=int(selection.get("head", 0)))
    if not own and view == "chat" and columns:
        body = body.replace("TEXT}]", "TEXT}]" + sampler_call(columns[0].sampler))
    rows = [f"    {column.name!r}: {open_call(column)}," for column in columns]
    names = {column.name for column in columns}
    if len(names) < len(columns):
        rows = [f"    '{number} {column.name}': {open_call(column)}," for number, column in enumerate(columns, start=1)]
    head = ["from models.api import open_checkpoint", "", f"TEXT = {text!r}", "checkpoints = {", *rows, "}"]
    return "\n".join([*head, "for name, checkpoint in checkpoints.items():", body.rstrip(), ""])
