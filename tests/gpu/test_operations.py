"""Every question to a checkpoint has the same answer on a card as on the processor, in float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.columns import Column, Sampler
from models.engine_ops import Operations
from models.events import finish
from models.records.embeddings import PlaneAsked, RowsAsked
from models.records.interventions import Edit
from models.records.salience import SalienceQuestion
from tests.fakes import DECODERS, TEXT, write_reward_model
from tests.gpu.alike import differences
from tests.models.training import write_corpus

NEAR = 1e-4
"""Sums in another order: float32 without TF32."""
GREEDY = Sampler(temperature=0.0, max_new_tokens=12)
CHAIN = "repetition_penalty=1.2,presence_penalty=0.1,frequency_penalty=0.1,ban=7,top_k=40,typical_p=0.95,min_p=0.01,"
CHAIN += "epsilon_cutoff=0.0001,top_p=0.9,temperature=0.8"
LATER = {"target": "the dog"}
EDITS = (
    Edit("blocks.0.attn.hook_z", "zero", unit=1), Edit("blocks.0.mlp.hook_post", "mean", unit=3),
    Edit("blocks.1.hook_mlp_out", "scale", factor=0.5, positions=(2, -1)),
    Edit("blocks.1.hook_resid_pre", "patch", text="The quick cat sat by the old dog.", positions=(3,), source_positions=(2,)),
)  # fmt: skip
CHAT = ({"role": "user", "content": "Where is the dog?"},)
ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "tokens": ("tokens", {"text": TEXT}),
    "distribution": ("distribution", {"text": TEXT}),
    "sampler chain": ("sampler_chain", {"text": TEXT, "presets": (("mine", CHAIN), ("hot", "temperature=1.5"))}),
    "generate": ("generate", {"prompt": TEXT}),
    "chat": ("generate", {"messages": CHAT}),
    "grow": ("grow", {"text": TEXT, "position": 0, "path": (20, 21)}),
    "beams": ("beams", {"text": TEXT, "num_beams": 3, "max_new_tokens": 5}),
    "samples": ("draw_samples", {"text": TEXT, "n": 5}),
    "question": ("question", {"text": "Where is the dog?", "n": 3, "max_new_tokens": 6}),
    "score answer": ("score_answer", {"messages": CHAT, "answer": "In the tree."}),
    "attention grid": ("attention_grid", {"text": TEXT}),
    "attention": ("attention", {"text": TEXT, "layer": 1, "head": 2}),
    "attention weighted": ("attention", {"text": TEXT, "layer": 1, "head": 2, "weighted": True}),
    "attention pair": ("attention_pair", {"text": TEXT, "layer": 1, "head": 2, "query": 5, "key": 3}),
    "head cost": ("head_cost", {"text": TEXT, "layer": 0, "head": 1}),
    "lens": ("lens", {"text": TEXT}),
    "lens edited": ("lens", {"text": TEXT, "edits": EDITS}),
    "norms": ("norms", {"text": TEXT}),
    "norms edited": ("norms", {"text": TEXT, "edits": EDITS}),
    "attribution": ("attribution", {"text": TEXT}),
    "attribution edited": ("attribution", {"text": TEXT, "edits": EDITS[:2]}),
    "neurons": ("neurons", {"text": TEXT, "layer": 1}),
    "effect": ("effect", {"text": TEXT, "edits": EDITS}),
    "inside": ("inside", {"text": TEXT, "layer": 1, "head": 1, "position": 4}),
    "neighbours": ("neighbours", {"token": 40}),
    "analogy": ("analogy", {"plus": (40, 41), "minus": (42,)}),
    "positions": ("positions", {}),
    **{
        f"salience {method}": ("salience", {"text": TEXT, "question": SalienceQuestion(method=method, samples=64, steps=8)})
        for method in ("gradient_x_input", "integrated_gradients", "occlusion", "lime", "kernel_shap")
    },
}
ENCODED = ("tokens", "distribution", "attention grid", "attention", "attention pair", "head cost", "lens", "norms", "inside",
           "neighbours", "positions", "salience gradient_x_input")  # fmt: skip
BOTH = (*(name for name in ENCODED if name != "head cost"), "generate", "beams", "samples", "grow")
SOME = ("attention grid", "lens", "attribution", "samples", "inside", "head cost", "salience gradient_x_input")
WANTED = {
    "llama": tuple(ASKED), **{family: SOME for family in DECODERS if family != "llama"},
    "bert": tuple(name for name in ENCODED if name != "head cost"), "t5": (*BOTH, "head cost"), "bart": BOTH,
    "mamba": ("distribution", "generate", "samples", "lens"), "bloom": ("attention", "lens", "inside"),
}  # fmt: skip
QUICK = ("llama", "bert", "t5")
PAIRS = [
    pytest.param(family, name, marks=() if family in QUICK else pytest.mark.slow)
    for family, names in WANTED.items()
    for name in names
]


def columns(path: Path, device: str, sampler: Sampler = GREEDY) -> tuple[Column, Column]:
    return Column(str(path), device="cpu", sampler=sampler), Column(str(path), device=device, sampler=sampler)


@pytest.fixture(scope="module")
def operations() -> Operations:
    return Operations()


def asked(operations: Operations, name: str, column: Any, named: dict[str, Any]) -> Any:
    return finish(operations.ask(name, column, **named))


@pytest.mark.parametrize(("family", "name"), PAIRS)
def test_the_card_says_what_the_processor_says(
    operations: Operations, tiny: Callable[..., Path], anywhere: str, family: str, name: str
) -> None:
    operation, named = ASKED[name]
    sampler = GREEDY if name not in ("samples", "sampler chain") else Sampler(temperature=0.9, top_p=0.95, max_new_tokens=8)
    if family in ("t5", "bart") and name in ("tokens", "distribution", "lens", "norms", "inside"):
        named = {**named, **LATER}
    one, other = (asked(operations, operation, column, named) for column in columns(tiny(family), anywhere, sampler))
    assert not differences(one, other, NEAR)


def test_two_columns_on_the_card(operations: Operations, tiny: Callable[..., Path], anywhere: str) -> None:
    paths = [str(tiny("llama", seed)) for seed in (0, 1)]
    pairs = [tuple(Column(path, device=device) for path in paths) for device in ("cpu", anywhere)]
    for name, named in (
        ("lens_difference", {"text": TEXT}), ("divergence", {"text": TEXT}), ("drift", {"align": "procrustes", "sample": 50}),
        ("project", {"rows": RowsAsked(), "plane": PlaneAsked("pca")}),
    ):  # fmt: skip
        one, other = (asked(operations, name, pair, named) for pair in pairs)
        assert not differences(one, other, 1e-3 if name == "project" else NEAR), name


def test_a_patch_from_another_column(operations: Operations, tiny: Callable[..., Path], anywhere: str) -> None:
    found = []
    for device in ("cpu", anywhere):
        source = Column(str(tiny("llama", 1)), device=device)
        named = {"text": TEXT, "edits": (Edit("blocks.1.hook_resid_post", "patch", column=source),)}
        found.append(asked(operations, "effect", Column(str(tiny("llama")), device=device), named))
    assert not differences(*found, NEAR)


@pytest.mark.parametrize("source", ["input", "output", "hidden"])
def test_rows_of_a_text(operations: Operations, tiny: Callable[..., Path], anywhere: str, source: str) -> None:
    rows = RowsAsked(source=source, text=TEXT + "\n" + TEXT[:20])
    plane = PlaneAsked("pca")
    found = []
    for column in columns(tiny("llama"), anywhere):
        points = finish(operations.ask("points", (column,), rows, plane, 0, 0, 0))
        found.append(replace(points, xy=abs(points.xy)))
    assert not differences(*found, 1e-3)


def test_a_chain_of_every_stage_draws_the_same(operations: Operations, tiny: Callable[..., Path], anywhere: str) -> None:
    sampler = Sampler(max_new_tokens=10, seed=3, chain=CHAIN)
    pair = columns(tiny("llama"), anywhere, sampler)
    one, other = (asked(operations, "draw_samples", column, {"text": TEXT, "n": 4}) for column in pair)
    assert not differences(one, other, NEAR)


def test_the_model_is_on_the_card(operations: Operations, tiny: Callable[..., Path], anywhere: str) -> None:
    _processor, card = columns(tiny("llama"), anywhere)
    opened = finish(operations.shelf.open(card))
    assert opened.device == ("cpu" if anywhere == "cpu" else "cuda:0")
    assert {value.device.type for value in opened.model.parameters()} == {anywhere}
    assert finish(operations.shelf.open(replace(card, device="auto"))).device == opened.device or anywhere == "cpu"


def test_a_reward_model_has_the_same_clinic(operations: Operations, tmp_path: Path, anywhere: str) -> None:
    path, pairs = write_reward_model(tmp_path / "reward"), write_corpus(tmp_path) / "pairs.jsonl"
    one, other = (finish(operations.ask("reward_clinic", str(path), (str(pairs),), 0, device)) for device in ("cpu", anywhere))
    assert not differences(one, other, NEAR)
