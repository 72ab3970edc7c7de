"""`triptych generate`: let checkpoints go on from a prompt, with any sampler."""

from __future__ import annotations

from typing import Annotated

import typer

from models.chain import parse, written
from models.columns import Column, Sampler


def generate(
    checkpoints: Annotated[list[str], typer.Argument(metavar="CKPT...")],
    prompt: Annotated[str, typer.Option("--prompt", "-p")],
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.0,
    top_k: Annotated[int, typer.Option(help="0 is off.")] = 0,
    top_p: Annotated[float, typer.Option(help="1 is off.")] = 1.0,
    min_p: Annotated[float, typer.Option(help="At least this share of the best token's probability; 0 is off.")] = 0.0,
    typical_p: Annotated[float, typer.Option(help="Locally typical sampling; 1 is off.")] = 1.0,
    repetition_penalty: Annotated[float, typer.Option(help="1 is off.")] = 1.0,
    presence_penalty: Annotated[float, typer.Option(help="0 is off.")] = 0.0,
    frequency_penalty: Annotated[float, typer.Option(help="0 is off.")] = 0.0,
    ban: Annotated[str, typer.Option(help="Ids of tokens that are never taken, joined by +.")] = "",
    sampler: Annotated[
        str,
        typer.Option(metavar="CHAIN", help="The whole sampler in order, such as top_k=40,min_p=0.05,temperature=0.7, instead."),
    ] = "",
    max_new_tokens: Annotated[int, typer.Option()] = 64,
    seed: Annotated[int, typer.Option()] = 0,
    chat: Annotated[bool, typer.Option("--chat", help="Render the prompt by the chat template.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    quantize: Annotated[str, typer.Option(help="int8 or int4; empty for none.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Let one or more checkpoints go on from a prompt."""
    import dataclasses

    from lab.cli import follow, show
    from models.engine_ops import Operations
    from models.shelf import Shelf

    added = {
        "repetition_penalty": repetition_penalty, "presence_penalty": presence_penalty, "frequency_penalty": frequency_penalty,
        "min_p": min_p, "typical_p": typical_p,
    }  # fmt: skip
    chosen = Sampler(temperature, top_k, top_p, max_new_tokens, seed, chain_of(sampler, temperature, top_k, top_p, added, ban))
    operations = Operations(Shelf())
    answers = []
    for path in checkpoints:
        column = Column(path, device, dtype, quantize, prompt="template" if chat else "plain", sampler=chosen)
        answer = follow(operations.ask("generate", column, prompt=prompt))
        answers.append({"checkpoint": path, **dataclasses.asdict(answer)})
        if not as_json:
            print(f"── {path}" if len(checkpoints) > 1 else "", answer.text, sep="\n" if len(checkpoints) > 1 else "")
    if as_json:
        show(answers)
    return 0


def chain_of(given: str, temperature: float, top_k: int, top_p: float, added: dict[str, float], ban: str) -> str:
    """Return the chain that the flags mean: the given one, or transformers' order of the single ones; empty if none is new.

    Raises:
        UserError: If a value means nothing.
    """
    if given:
        return written(parse(given))
    off = {"repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0, "min_p": 0.0, "typical_p": 1.0}
    if added == off and not ban:
        return ""
    before = [f"{name}={added[name]}" for name in ("repetition_penalty", "presence_penalty", "frequency_penalty")]
    after = [f"temperature={temperature}", f"top_k={top_k}", f"top_p={top_p}"]
    rest = [f"{name}={added[name]}" for name in ("min_p", "typical_p")]
    stages = parse(",".join([*before, *([f"ban={ban}"] if ban else []), *after, *rest]))
    return written([stage for stage in stages if stage.name not in off or stage.value != off[stage.name]])
