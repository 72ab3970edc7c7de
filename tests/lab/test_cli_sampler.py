"""`triptych inspect --sampler` and the sampler flags of `triptych generate`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.cli import run
from lab.cli_generate import chain_of
from models.api import open_checkpoint

TEXT = "The quick brown fox"
USUAL = {"repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0, "min_p": 0.0, "typical_p": 1.0}


def test_one_block_for_each_stage(tiny: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    chain = "repetition_penalty=1.2,top_k=5,!top_p=0.9,temperature=0.5"
    assert run(["inspect", str(tiny("llama")), "--text", TEXT, "--sampler", chain, "--json", "--top", "20"]) == 0
    shown = json.loads(capsys.readouterr().out)["sampler"]
    found = open_checkpoint(str(tiny("llama"))).sampler(TEXT, chain, 20)
    assert shown["chain"] == chain
    assert [stage["stage"] for stage in shown["stages"]] == chain.split(",")
    assert shown["sampled"] == pytest.approx(found.distribution.sampled.tolist(), abs=1e-6)
    assert [t["id"] for t in shown["tokens"]] == found.distribution.ids.tolist()
    for stage, own in zip(shown["stages"], found.stages, strict=True):
        assert stage["probabilities"] == pytest.approx(own.probabilities.tolist(), abs=1e-6)
        assert (stage["n_left"], stage["n_removed"]) == (own.n_left, own.n_removed)
    assert shown["chosen"]["best"]["id"] == found.outcomes[0].best_id
    assert run(["inspect", str(tiny("llama")), "--text", TEXT, "--sampler", chain]) == 0
    printed = capsys.readouterr().out
    assert "top_k=5: entropy" in printed
    assert "!top_p=0.9: off" in printed
    assert "removed" in printed


def test_a_bad_chain_is_one_sentence(tiny: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(tiny("llama")), "--text", TEXT, "--sampler", "top_q=1"]) == 2
    assert "'top_q=1' is no stage of a sampler" in capsys.readouterr().err


def test_generate_takes_a_chain(tiny: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    given = ["generate", str(tiny("llama")), "--prompt", TEXT, "--max-new-tokens", "6", "--json"]
    flags = ["--repetition-penalty", "1.3", "--min-p", "0.1", "--temperature", "0.8", "--ban", "5+6", "--seed", "4"]
    assert run([*given, *flags]) == 0
    single = json.loads(capsys.readouterr().out)[0]
    chain = "repetition_penalty=1.3,ban=5+6,temperature=0.8,top_k=0,top_p=1,min_p=0.1"
    assert run([*given, "--sampler", chain, "--seed", "4"]) == 0
    whole = json.loads(capsys.readouterr().out)[0]
    assert single["token_ids"] == whole["token_ids"]
    assert "min_p=0.1" in whole["receipt"]
    own = open_checkpoint(str(tiny("llama"))).generate(TEXT, chain=chain, seed=4, max_new_tokens=6)
    assert list(own.token_ids) == whole["token_ids"]


def test_old_flags_make_the_old_sampler() -> None:
    assert chain_of("", 0.7, 40, 0.9, dict(USUAL), "") == ""
    assert chain_of("", 0.7, 40, 0.9, {**USUAL, "presence_penalty": 0.5}, "") == (
        "presence_penalty=0.5,temperature=0.7,top_k=40,top_p=0.9"
    )
    assert chain_of("top-k=3, temp=1", 0.7, 40, 0.9, dict(USUAL), "7") == "top_k=3,temperature=1"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--beams", "x"], "no beam search"), (["--beams", "4:5:1:2"], "no beam search"), (["--beams", "0"], "1 to 32"),
        (["--samples", "many"], "asks for no answers"), (["--samples", "2:4:0:top_q=1"], "no stage"),
        (["--samples", "0"], "1 to 256"),
        (["--sampler", "top_k=3", "--path", "a+b"], "no list of token ids"),
        (["--divergence", "/no/such/place"], "/no/such/place"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_one_sentence(
    tiny: Callable[..., Path], capsys: pytest.CaptureFixture[str], flags: list[str], said: str
) -> None:
    assert run(["inspect", str(tiny("llama")), "--text", TEXT, *flags]) == 2
    assert said in capsys.readouterr().err


def test_tables_of_beams_samples_and_divergence(tiny: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    other = str(tiny("llama", 1))
    flags = ["--beams", "2:3", "--samples", "2:3", "--divergence", other, "--path", "44"]
    assert run(["inspect", str(tiny("llama")), "--text", TEXT, *flags]) == 0
    printed = capsys.readouterr().out
    assert "2 beams, length penalty 1" in printed
    assert "n_duplicates" in printed
    assert "KL(P‖Q)" in printed
