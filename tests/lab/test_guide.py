"""The guide: twins in both languages, links that lead somewhere, and examples that the command line understands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from lab.cli import app

GUIDE = Path(__file__).parent.parent.parent / "assets" / "guide"
PAGES = ("index", "views", "opening", "evaluating", "hallucination", "training", "commands", "story", "decisions")
LANGUAGES = {"en": "", "zh": ".zh"}


def page(name: str, language: str) -> str:
    """Return the text of a page."""
    return (GUIDE / f"{name}{LANGUAGES[language]}.md").read_text(encoding="utf-8")


def examples(text: str) -> list[str]:
    """Return every line of a block that is a command of ours, without what follows ``#``."""
    lines = [re.split(r"\s#", line)[0].strip() for line in text.splitlines() if line.startswith("    triptych")]
    return [line for line in lines if "…" not in line]


def shape(text: str) -> list[str]:
    """Return what twins must share: the kind of every line that is not prose."""
    kinds = []
    for line in text.splitlines():
        if line.startswith("#"):
            kinds.append(line.split(" ")[0])
        elif line.startswith("|"):
            kinds.append(f"row of {line.count('|')}")
        elif line.startswith("    "):
            kinds.append("code " + re.split(r"\s+#", line.strip())[0] if line.strip().isascii() else "code")
    return kinds


@pytest.mark.parametrize("name", PAGES)
def test_twins_have_the_same_headings_tables_and_examples(name: str) -> None:
    ours, theirs = shape(page(name, "en")), shape(page(name, "zh"))
    plain = [(a, b) for a, b in zip(ours, theirs, strict=True) if a != b and "code" not in (a, b)]
    assert plain == []


def test_twins_of_the_log_and_the_decisions_hold_the_same_figures_and_dates() -> None:
    def cells(text: str) -> list[str]:
        return [re.sub(r"[^\d.]", "", line) for line in text.splitlines() if line.startswith("|") and "→" not in line]

    def dates(text: str) -> list[str]:
        return re.findall(r"^\*\*(\d{4}-\d\d-\d\d)", text, flags=re.MULTILINE)

    assert cells(page("story", "en")) == cells(page("story", "zh")) != []
    assert dates(page("decisions", "en")) == dates(page("decisions", "zh")) != []


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", PAGES)
def test_links_between_pages_lead_somewhere(name: str, language: str) -> None:
    found = re.findall(r"\]\((?!https?:)([^)#]+)", page(name, language))
    assert [link for link in found if not (GUIDE / link).exists()] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_example_is_understood(language: str) -> None:
    """The words are parsed by the real command line, whose commands are then not run."""
    root = typer.main.get_command(app)
    n_examples = 0
    for name in PAGES:
        for line in examples(page(name, language)):
            words = shlex.split(line)[1:]
            if not words or words[0] == "--engine":
                continue
            group, n_examples = root, n_examples + 1
            while hasattr(group, "commands"):
                assert words[0] in group.commands, line
                group, words = group.commands[words[0]], words[1:]
            group.make_context(line, words)
    assert n_examples > 20


def test_every_command_has_an_example() -> None:
    text = page("commands", "en")
    root = typer.main.get_command(app)
    for name, command in root.commands.items():
        inner = getattr(command, "commands", None)
        wanted = [f"triptych {name}"] if inner is None else [f"triptych {name} {part}" for part in inner]
        assert [words for words in wanted if f"    {words}" not in text] == []


def test_every_benchmark_metric_and_stage_is_explained() -> None:
    from models.discover import discover

    evaluating, training = page("evaluating", "en"), page("training", "en")
    benchmarks = [item.name for item in discover("evals.benchmarks", "BENCHMARK")]
    assert benchmarks
    assert [name for name in benchmarks if f"`{name}`" not in evaluating] == []
    stages = [item.value.name for item in discover("models.training", "STAGE")]
    assert stages
    assert [name for name in stages if f"| `{name}` |" not in training] == []


def test_the_settings_that_the_guide_lists_exist() -> None:
    from dataclasses import fields

    from models.training.stage import TrainSettings

    known = {item.name: item.default for item in fields(TrainSettings)}
    table = page("training", "en").split("| common setting")[1].split("\n\n")[0]
    rows = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| `")]
    assert rows
    for names, defaults in rows:
        listed, values = re.findall(r"`(\w+)`", names), [value.strip() for value in defaults.split(",")]
        assert [name for name in listed if name not in known] == []
        shown = [value for value in zip(listed, values, strict=True) if not value[1].startswith("per ")]
        assert [(name, value) for name, value in shown if str(known[name]) != value] == []


@pytest.mark.parametrize(("language", "titles"), [("en", ["First steps", "The views"]), ("zh_CN", ["快速上手", "视图"])])
def test_the_window_shows_the_pages_of_its_language(language: str, titles: list[str]) -> None:
    from lab.ui.guide import page_text, pages

    found = pages(language)
    assert [title for title, _name in found][:2] == titles
    assert all(page_text(name) for _title, name in found)
