"""`triptych inspect`: one flag for each section of ``lab/inspecting``."""

from __future__ import annotations

import inspect as signatures
from typing import Annotated, Any

import typer

from lab.inspecting._run import sections
from lab.inspecting._section import Question, Wanted
from models.columns import Column
from models.words import _

TEXT = Annotated[str, typer.Option("--text", "-t", help="The text to look at; not needed for the files' tensors.")]
OTHERS: dict[str, tuple[Any, Any]] = {
    "kind": (Annotated[str, typer.Option(help="Which attention of an encoder-decoder: encoder, decoder or cross.")], ""),
    "target": (Annotated[str, typer.Option(help="What the decoder of an encoder-decoder is given.")], ""),
    "position": (Annotated[int, typer.Option(help="The token that is asked about, counted from zero; -1: the last.")], -1),
    "top": (Annotated[int, typer.Option(help="Rows of a ranking.")], 10),
    "path": (Annotated[str, typer.Option(metavar="ID+ID", help="Token ids put behind that token, joined by +.")], ""),
    "slice": (Annotated[int, typer.Option(help="Which matrix of a tensor with more than two dimensions.")], 0),
    "against": (Annotated[str, typer.Option(help="Path of the checkpoint to compare with (--tensor, --lens).")], ""),
    "edits": (Annotated[str, typer.Option(help="Activations to change in the forward, as JSON (see the guide).")], ""),
    "rows": (Annotated[str, typer.Option(help="Vectors: input, output, positions, hidden[:LAYER[:each|last|mean]].")], "input"),
    "texts": (Annotated[str, typer.Option(help="File of texts for hidden states (txt, jsonl, csv; one text a row).")], ""),
    "plane": (Annotated[str, typer.Option(help="Settings of a plane, such as 'seed=1;align=procrustes'.")], ""),
    "metric": (Annotated[str, typer.Option(help="cosine or euclidean; empty for the usual.")], ""),
    "together": (Annotated[list[str], typer.Option(help="Checkpoint that shares the plane; once for each.")], []),
    "with_inputs": (Annotated[bool, typer.Option("--with-inputs", help="Analogy: list its own words too.")], False),
    "write": (Annotated[int, typer.Option(help="Tokens that the model writes itself behind the text (--tokens).")], 0),
    "sort": (Annotated[str, typer.Option(help="Order of --vocabulary: id, text, characters, bytes, norm, indicator.")], "id"),
    "descending": (Annotated[bool, typer.Option("--descending", help="The largest first.")], False),
    "suspects": (Annotated[bool, typer.Option("--suspects", help="Only entries that were perhaps never trained.")], False),
    "chat": (Annotated[bool, typer.Option("--chat", help="Render the text as a user message by the chat template.")], False),
    "system": (Annotated[str, typer.Option(help="System message that stands before it (with --chat).")], ""),
    "no_adapter": (Annotated[bool, typer.Option("--no-adapter", help="Switch the adapter off: the base model.")], False),
    "adapter_scale": (Annotated[float, typer.Option(help="How strongly the adapter counts; 1 as trained, 0 off.")], 1.0),
    "exact": (Annotated[str, typer.Option(metavar="ID+ID", help="Token ids that the text is, joined by +.")], ""),
    "device": (Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")], "auto"),
    "dtype": (Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")], "auto"),
    "quantize": (Annotated[str, typer.Option(help="int8 or int4; empty for none.")], ""),
    "as_json": (Annotated[bool, typer.Option("--json", help="Print JSON.")], False),
}
OTHERS_OF_SECTIONS = ("rows", "texts", "plane", "metric", "together", "with_inputs")
"""Options that only some sections know."""


def inspect(checkpoint: str, text: str, **given: Any) -> int:
    """Look into one text: tokens, attention, next tokens, and more; tokens where no flag says what."""
    from lab.cli import follow, show, show_table
    from lab.inspecting import _run
    from lab.inspecting.sampler import ids_of

    prompt = "template" if given["chat"] else "plain"
    column = Column(
        checkpoint, given["device"], given["dtype"], given["quantize"], prompt, given["system"],
        adapter=0.0 if given["no_adapter"] else given["adapter_scale"], exact=ids_of(given["exact"]),
    )  # fmt: skip
    wanted = {section.name: given[section.name] for section in sections()}
    if not text and needs_text(wanted):
        raise typer.BadParameter(_("--text is needed."))
    question = Question(
        text, kind=given["kind"], target=given["target"], position=given["position"], top=given["top"],
        slice=given["slice"], against=given["against"], edits=given["edits"], path=given["path"],
        others={name: given[name] for name in OTHERS_OF_SECTIONS},
        write=given["write"], sort=given["sort"], descending=given["descending"], suspects=given["suspects"],
    )  # fmt: skip
    shown = follow(_run.inspect(column, question, wanted))
    if given["as_json"]:
        show(shown)
    else:
        for title, header, rows in _run.tables(shown):
            show_table(title, header, rows)
    return 0


def needs_text(wanted: Wanted) -> bool:
    """Return whether one of the sections that are asked for (tokens, where none is) is about a text."""
    asked = [section for section in sections() if wanted.get(section.name)]
    return not asked or any(section.needs_text for section in asked)


def filled(words: list[str]) -> list[str]:
    """Return the words of a command line with the usual value after each flag of ``inspect`` that stands without one."""
    if words[:1] != ["inspect"]:
        return words
    bare = {section.flag: section.bare for section in sections() if section.bare}
    found: list[str] = []
    for word, following in zip(words, [*words[1:], "--"], strict=True):
        found.append(word)
        if word in bare and following.startswith("-"):
            found.append(bare[word])
    return found


def command() -> Any:
    """Return ``inspect`` with a parameter for every section, for Typer to read."""
    positional = signatures.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [
        signatures.Parameter("checkpoint", positional, annotation=str),
        signatures.Parameter("text", positional, default="", annotation=TEXT),
    ]
    for section in sections():
        option: Any = typer.Option(section.flag, help=section.help, metavar=section.metavar or None)
        kind: Any = section.kind if section.metavar else bool
        parameters.append(
            signatures.Parameter(section.name, positional, default=section.default, annotation=Annotated[kind, option])
        )
    for name, (annotation, default) in OTHERS.items():
        parameters.append(signatures.Parameter(name, positional, default=default, annotation=annotation))
    inspect.__signature__ = signatures.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    inspect.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters} | {"return": int}
    return inspect
