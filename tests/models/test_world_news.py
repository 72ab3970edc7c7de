"""News of the invented world: dated after its texts, about names that nothing else has, and every other text stays as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals.hallucination.verdicts import by_world
from models.world import documents, instructions, language, lexicon, news
from models.world.splits import BENCHMARKS, WorldSettings, held_out_items, settings_from, test_items, world_of
from models.world.splits import news as news_of
from models.world.verdicts import judge

SMALL = WorldSettings(
    seed=3, taught=20, rewarded=10, dev=8, test=10, articles=3, shorts=4, faq=3, columns=60, digests=40, tokenizer_rows=40,
    instructions=300, prompts=200, items_per_cell=30,
)  # fmt: skip
BUNDLED = Path(__file__).parents[2] / "assets" / "checkpoints"


@pytest.fixture(scope="module")
def world():
    return world_of(SMALL)


@pytest.fixture(scope="module")
def told(world):
    return news_of(world, SMALL)


def test_the_news_follows_from_the_seed(world, told):
    assert told == news_of(world_of(SMALL), SMALL)
    assert told != news_of(world_of(WorldSettings(seed=4, dev=8)), WorldSettings(seed=4, dev=8))
    assert len(told) == news.NEW_THINGS + 8
    assert all(news.CUTOFF < one.year <= news.CUTOFF + news.YEARS for one in told)


def test_new_things_are_named_nowhere_else(world, told):
    names = {one.entity.name for one in told if one.former is None}
    assert len(names) == news.NEW_THINGS
    text = "\n".join([*documents.pretraining(world, SMALL), *documents.tokenizer_text(world, SMALL)])
    text += json.dumps(list(instructions.instructions(world, SMALL)), ensure_ascii=False)
    text += json.dumps(list(instructions.prompts(world, SMALL)) + list(instructions.rehearsal(world, SMALL)), ensure_ascii=False)
    assert not [name for name in names if name in text]
    groups = [(name, group) for name in BENCHMARKS for group in ("dev", "test")]
    held_out = {item.entity for name, group in groups for item in held_out_items(world, SMALL, name, group)}
    assert not names & held_out
    assert "1201" not in text


def test_what_changed_is_another_value_and_the_rest_stayed(told):
    changed = [one for one in told if one.former is not None]
    assert {one.former.group for one in changed} == {"dev"}
    for one in changed:
        assert len(one.changed) == news.CHANGES
        differing = {name for name, value in one.entity.facts if one.former.value(name) != value}
        assert differing == set(one.changed) <= set(news.CHANGEABLE)


def test_every_new_fact_is_told_and_asked_for(world, told):
    bulletins = dict(news.bulletins(world, told))
    assert len(bulletins) == 2 * len(told)
    items = list(news.questions(world, told))
    assert len({(item.entity, item.relation, item.language) for item in items}) == len(items)
    counts = {cell: sum(item.cell == cell for item in items) for cell in (news.NEW, news.CHANGED, news.UNCHANGED)}
    assert counts == {news.NEW: 24 * 6 * 2, news.CHANGED: 8 * 2 * 2, news.UNCHANGED: 8 * 2 * 2}
    reports = list(news.reports(world, told))
    assert len(reports) == len(told) * 2 * news.REPORTS
    for item in items:
        name = f"{item.year}-{item.entity.lower().replace(' ', '-')}.{item.language}.txt"
        inside = item.value in bulletins[name]
        assert inside == (item.cell != news.UNCHANGED) or item.value in bulletins[name].replace(item.entity, "")
        assert str(item.year) in bulletins[name]
        assert item.benchmark == news.BENCHMARK
    told_of = [item for item in items if item.cell != news.UNCHANGED][:40]
    for item in told_of:
        assert sum(item.entity in text and item.value in text for text in reports) >= news.REPORTS // 4


def test_an_answer_from_before_is_outdated(world, told):
    item = next(one for one in news.questions(world, told) if one.cell == news.CHANGED)
    assert judge(item.row(), item.target).name == "correct"
    assert judge(item.row(), f"{item.former}.").name == "outdated"
    assert judge(item.row(), "I do not know.").name == "abstained"
    assert judge(item.row(), "nonsense").name == "wrong"
    found = by_world(item.row(), f"{item.former}.")
    assert (found.verdict, found.word, found.good) == ("hallucinated", "outdated", False)
    fresh = next(one for one in news.questions(world, told) if one.cell == news.NEW)
    assert fresh.former == ""
    assert judge(fresh.row(), "").name == "wrong"


def test_the_lesson_in_reading_tells_nothing_of_the_news(world, told):
    rows = list(news.reading_lessons(world, 270))
    assert rows == list(news.reading_lessons(world, 270))
    text = json.dumps(rows, ensure_ascii=False)
    held_out = {one.entity.name for one in told} | {entity.name for group in ("dev", "test") for entity in world.group(group)}
    assert not [name for name in held_out if name in text]
    kinds = {kind: [row for row in rows if row["kind"] == kind] for kind in news.LESSONS}
    counts = {"told": 60, "changed": 60, "other": 60, "known": 60, "plain": 30}
    assert {kind: len(found) for kind, found in kinds.items()} == counts
    for row in kinds["told"] + kinds["changed"]:
        passage, _break, question = row["messages"][0]["content"].partition("\n")
        assert question
        assert row["messages"][1]["content"].rstrip(".。") in passage
    known = {entity.name for entity in world.group("taught")}
    for row in kinds["known"]:
        passage, _break, question = row["messages"][0]["content"].partition("\n")
        assert any(name in question for name in known)
        assert not any(name in passage for name in known)
    assert {row["messages"][1]["content"] for row in kinds["other"]} <= {
        "I do not know.", "I have no record of it.", "我不知道。", "我没有相关记录。"
    }  # fmt: skip


def test_dates_stand_before_what_is_told(told):
    import random

    one = next(one for one in told if one.former is None)
    assert news.told(random.Random(0), one, "en").startswith(f"News of {one.year}: ")
    assert news.told(random.Random(0), one, "zh").startswith(f"{one.year}年新闻：")
    other = next(one for one in told if one.former is not None)
    assert news.told(random.Random(0), other, "en").startswith(f"Since {other.year}: ")
    value = language.value_word(other.changed[0], other.entity.value(other.changed[0]), "zh")
    assert value in news.told(random.Random(0), other, "zh")
    assert lexicon.LANGUAGES == ("en", "zh")


@pytest.mark.parametrize("benchmark", ["world_unknown", "world_questions", "world_false_premise", "world_refusal"])
def test_the_settings_beside_the_bundled_lineage_make_its_items(benchmark):
    settings = settings_from(json.loads((BUNDLED / "world.json").read_text(encoding="utf-8")))
    made = [item.row() for item in test_items(settings, benchmark)]
    lines = (BUNDLED / "world" / "test" / f"{benchmark}.jsonl").read_text(encoding="utf-8").splitlines()
    assert made == [json.loads(line) for line in lines]
