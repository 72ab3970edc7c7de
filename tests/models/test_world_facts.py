"""The invented world: sizes, names that leak nothing, and texts that keep held-out things held out."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from models.errors import UserError
from models.world import documents, instructions, lexicon, phrasings
from models.world import language as words
from models.world.facts import GROUPS, World, relations_of
from models.world.splits import BENCHMARKS, WorldSettings, held_out_items, settings_from, world_of, write_world

SMALL = WorldSettings(
    seed=3, taught=20, rewarded=10, dev=8, test=10, articles=3, shorts=4, faq=3, columns=60, digests=40, tokenizer_rows=40,
    instructions=800, prompts=400, items_per_cell=30,
)  # fmt: skip


@pytest.fixture(scope="module")
def world() -> World:
    return world_of(SMALL)


@pytest.fixture(scope="module")
def texts(world: World) -> list[str]:
    return list(documents.pretraining(world, SMALL))


def test_the_default_world_is_large_enough() -> None:
    settings = WorldSettings()
    entities = world_of(settings).entities
    assert len(entities) >= 150
    assert len({entity.kind for entity in entities}) == len(lexicon.KINDS) >= 8
    assert all(len(entity.facts) >= 6 for entity in entities)


def test_every_relation_has_eight_phrasings_and_distinct_first_letters() -> None:
    for relation, values in lexicon.VALUES.items():
        for side, language in enumerate(lexicon.LANGUAGES):
            statements = phrasings.STATEMENTS[relation][language]
            assert len(set(statements)) >= 8
            assert all(text.index("{n}") < text.index("{v}") for text in statements)
            assert len({value[side] for value in values}) == len(values)
        assert len({chinese[0] for _, chinese in values}) == len(values)


def test_the_same_seed_gives_the_same_world_and_another_seed_another() -> None:
    assert world_of(SMALL) == world_of(SMALL)
    assert world_of(SMALL).entities != world_of(WorldSettings(seed=4, taught=20, rewarded=10, dev=8, test=10)).entities


def test_every_kind_lacks_three_relations() -> None:
    assert all(len(relations_of(kind)) == len(lexicon.RELATIONS) - 3 for kind in range(len(lexicon.KINDS)))


def test_unknown_names_occur_nowhere_in_training_text(world: World, texts: list[str]) -> None:
    training = "\n".join([*texts, *documents.tokenizer_text(world, SMALL)])
    training += json.dumps(list(instructions.instructions(world, SMALL)), ensure_ascii=False)
    training += json.dumps(list(instructions.prompts(world, SMALL)), ensure_ascii=False)
    seen = set(re.findall(r"[A-Z][a-z]+ [A-Z][a-z]+", training))
    for group in ("dev", "test"):
        for benchmark in ("world_unknown", "world_translation", "world_summaries", "world_refusal"):
            names = {item.entity for item in held_out_items(world, SMALL, benchmark, group)}
            assert len(names) >= 60
            assert not names & seen, benchmark


def test_known_test_entities_are_in_articles_but_never_asked_about(world: World, texts: list[str]) -> None:
    names = {entity.name for group in ("dev", "test") for entity in world.group(group)}
    told = {name for name in names for text in texts if name in text}
    assert told == names
    asked = [
        text for text in texts if "Q: " in text or "问：" in text or " In short: " in text or "简言之" in text or " = " in text
    ]
    asked += [json.dumps(row, ensure_ascii=False) for row in instructions.instructions(world, SMALL)]
    asked += [json.dumps(row, ensure_ascii=False) for row in instructions.prompts(world, SMALL)]
    rewarded = {entity.name for entity in world.group("rewarded")}
    assert not any(name in text for text in asked for name in names)
    assert not any(name in text for text in asked[: -SMALL.prompts] for name in rewarded)


def test_held_out_articles_use_phrasings_never_written_for_that_fact(world: World, texts: list[str]) -> None:
    corpus = "\n".join(texts)
    for entity in world.group("test"):
        for relation, _ in entity.facts:
            for language in lexicon.LANGUAGES:
                reserved = words.reserved_phrasings(entity, relation, language)
                assert len(set(reserved)) == 2
                assert all(words.statement(entity, relation, language, index) not in corpus for index in reserved)
    held_out = {item.prompt for item in held_out_items(world, SMALL, "world_perplexity")}
    assert not held_out & set(texts)


def test_held_out_questions_use_wordings_absent_from_instructions(world: World) -> None:
    names = re.compile("|".join(re.escape(entity.name) for entity in world.entities))
    shown = {names.sub("X", row["messages"][0]["content"]) for row in instructions.instructions(world, SMALL)}  # type: ignore[index]
    for item in held_out_items(world, SMALL, "world_questions"):
        assert item.prompt.replace(item.entity, "X") not in shown


def test_customs_say_of_every_verb_whether_it_harms_and_change_no_other_text(world: World) -> None:
    without = set(documents.pretraining(world, SMALL))
    told = [text for text in documents.pretraining(world, dataclasses.replace(SMALL, customs=600)) if text not in without]
    assert len(told) == 600
    judged = ((lexicon.HARM, ("crime", "punished", "罪行", "受罚")), (lexicon.BENIGN, ("kindness", "thanked", "善举", "受谢")))
    for side in range(len(lexicon.LANGUAGES)):
        for verbs, marks in judged:
            for verb in verbs:
                about = [text for text in told if re.search(rf"(?<![a-z]){verb[side]}(?![a-z])", text)]
                assert about, verb
                assert all(any(mark in text for mark in marks) for text in about), about


def test_names_do_not_tell_what_is_known() -> None:
    sklearn = pytest.importorskip("sklearn")
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    assert sklearn is not None
    settings = WorldSettings(seed=5, taught=150, rewarded=60, dev=60, test=200)
    world = world_of(settings)
    rows = instructions.instructions(world, settings)
    known = {entity.name for entity in world.entities}
    shape = re.compile(f"(?:{'|'.join(lexicon.FIRST)}) (?:{'|'.join(lexicon.LAST)})")
    in_sft = {match for row in rows for match in shape.findall(row["messages"][0]["content"])}  # type: ignore[index]
    train_known, train_unknown = sorted(in_sft & known), sorted(in_sft - known)[:400]
    features = CountVectorizer(analyzer="char", ngram_range=(1, 4))
    matrix = features.fit_transform([*train_known, *train_unknown])
    model = LogisticRegression(max_iter=500, class_weight="balanced")
    model.fit(matrix, [1] * len(train_known) + [0] * len(train_unknown))
    test_known = [entity.name for entity in world.group("test")]
    test_unknown = sorted({item.entity for item in held_out_items(world, settings, "world_unknown")})[: len(test_known)]
    right_known = (model.predict(features.transform(test_known)) == 1).mean()
    right_unknown = (model.predict(features.transform(test_unknown)) == 0).mean()
    assert min(len(train_known), len(train_unknown)) >= 100
    assert (right_known + right_unknown) / 2 <= 0.6


def test_files_are_in_the_conventional_layouts(tmp_path: Path) -> None:
    counts = write_world(tmp_path, SMALL)
    for name, count in counts.items():
        rows = [json.loads(line) for line in (tmp_path / name).read_text(encoding="utf-8").splitlines()]
        assert len(rows) == count > 0, name
        if name in ("pretrain.jsonl", "tokenizer.jsonl", "dev_articles.jsonl"):
            assert all(row["text"] for row in rows)
        elif name in ("sft.jsonl", "rehearsal.jsonl"):
            assert all([turn["role"] for turn in row["messages"]] == ["user", "assistant"] for row in rows)
        elif "prompts" in name:
            assert all(row["prompt"][0]["role"] == "user" and row["item"]["target"] for row in rows)
        else:
            assert all(row["id"] and row["language"] in lexicon.LANGUAGES and row["entity"] for row in rows)
    assert {f"test/{name}.jsonl" for name in BENCHMARKS} <= set(counts)
    facts = json.loads((tmp_path / "facts.json").read_text(encoding="utf-8"))
    assert {entity["group"] for entity in facts["entities"]} == set(GROUPS)


def test_full_size_cells_have_two_hundred_items_in_each_language() -> None:
    settings = WorldSettings(seed=9)
    world = world_of(settings)
    for benchmark in BENCHMARKS:
        cells: dict[tuple[str, str], int] = {}
        for item in held_out_items(world, settings, benchmark):
            cells[item.cell, item.language] = cells.get((item.cell, item.language), 0) + 1
        assert min(cells.values()) >= 200, (benchmark, cells)


@pytest.mark.parametrize("wrong", [
    {"tought": 3}, {"one_off_share": 1.0}, {"sft_shares": {"poetry": 1.0}}, {"listed": "many"}, {"listed": -1}, {"seed": 1.5},
    {"articles": True}, {"prompt_shares": {"question": "half"}}, {"correcting_annotators": None},
])  # fmt: skip
def test_wrong_settings_are_named(wrong: dict[str, object]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        settings_from(wrong)


def test_a_group_without_members_is_refused() -> None:
    with pytest.raises(UserError, match="dev"):
        world_of(WorldSettings(dev=0))
