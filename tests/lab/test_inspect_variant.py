"""Prompt variant, system text and exact tokens of a column, in what the window copies as Python and as a command line."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from lab.cli import run as run_line
from lab.ui.as_python import command_line, script
from models.api import open_checkpoint
from models.columns import Column
from models.prompts import written


def test_prompt_variant_system_text_and_exact_tokens_are_computed_again(
    tiny_lineage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In Python and in the command line, with two flags of which neither knows of them."""
    path = str(tiny_lineage / "sft")
    chat = Column(path, dtype="float32", prompt="template", system="Be brief.", label="chat")
    exact = Column(path, dtype="float32", exact=(1, 44, 60), label="exact")
    scope: dict[str, Any] = {}
    own = "    results = globals().setdefault('results', {}); results[name] = checkpoint.tokens(TEXT)\n"
    exec(compile(script((chat,), "Hi there", "tokens", {}, own), "script", "exec"), scope)
    strip = scope["results"]["chat"]
    assert "Be brief." in "".join(token.text for token in strip.tokens)
    opened = open_checkpoint(path, dtype="float32", exact=(1, 44, 60))
    text = opened.tokens(decoded(opened, exact.exact)).tokens
    assert [token.id for token in text] == [1, 44, 60]
    for column, words in ((chat, "Hi there"), (exact, decoded(opened, exact.exact))):
        line = shlex.split(command_line((column,), words, ("--tokens", "--attention", "1.2")))
        assert run_line([*line[1:], "--json"]) == 0
        shown = json.loads(capsys.readouterr().out)
        ids = [token["id"] for token in shown["tokens"]]
        assert ids == ([token.id for token in strip.tokens] if column is chat else [1, 44, 60])
        assert len(shown["attention"]["queries"]) == len(ids)


def decoded(opened: Any, ids: tuple[int, ...]) -> str:
    return written(opened.opened.tokenizer, ids)
