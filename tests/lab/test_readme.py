"""The READMEs say what was measured."""

from __future__ import annotations

import re

import pytest

from tests import readme


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_tables_are_those_of_the_measurements(language: str) -> None:
    page = readme.PAGES[language].read_text(encoding="utf-8")
    assert readme.filled(page, language) == page, "run: python -m tests.readme"
    for name in readme.tables(language):
        assert f"<!-- {name} -->" in page


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_two_commands_come_first_and_links_lead_somewhere(language: str) -> None:
    page = readme.PAGES[language].read_text(encoding="utf-8")
    assert page.index("make demo") < page.index("make test") < 1500
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", page):
        assert (readme.ROOT / link).exists(), link


def test_a_table_by_hand() -> None:
    cell = {
        "benchmark": "world_unknown",
        "metric": "hallucination_rate",
        "value": 0.5,
        "low": 0.4,
        "high": 0.6,
        "higher_is_better": False,
    }
    results = {"cells": [{**cell, "checkpoint": "sft"}, {**cell, "checkpoint": "ppo", "value": float("nan")}]}
    lines = readme.story_table(results, "en").splitlines()
    assert lines[0] == "| | sft | ppo |"
    assert lines[2] == "| Invents facts about the unknown ↓ | 0.500 [0.400, 0.600] | invalid [0.400, 0.600] |"
