"""Open a folder's tokenizer, and check that it fits the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.errors import UserError
from models.headers import read_json, visible
from models.quiet import quiet
from models.safety import try_tokenizer
from models.tokenizer_files import read_tokenizer
from models.words import _


def load_tokenizer(folder: Path) -> Any:
    """Return the folder's tokenizer, tried out in a limited child first if it was never seen; None if it has none."""
    facts = read_tokenizer(folder)
    if not facts.present:
        return None
    try_tokenizer(folder)
    from transformers import AutoTokenizer

    try:
        with quiet():
            return AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except BaseException as cause:
        if isinstance(cause, KeyboardInterrupt | SystemExit | GeneratorExit | MemoryError):
            raise
        raise UserError(
            "tokenizer.rejected",
            _("{path}: its tokenizer cannot be opened: {reason}.").format(
                path=folder, reason=visible(" ".join(str(cause).split()), 300).rstrip(".")
            ),
            _("Copy the tokenizer again from where the checkpoint came."),
            path=str(folder),
        ) from cause


def check_ids(folder: Path, model: Any, n_ids: int) -> None:
    """Raise ``UserError`` if the tokenizer can give ids for which the model has no embedding."""
    embedding = model.get_input_embeddings()
    rows = int(embedding.weight.shape[0]) if embedding is not None and hasattr(embedding, "weight") else 0
    if rows and n_ids > rows:
        raise UserError(
            "tokenizer.rows",
            _("{path}: the tokenizer has ids up to {top}, but the model has embeddings for {rows}.").format(
                path=folder, top=n_ids - 1, rows=rows
            ),
            _("Use the tokenizer that belongs to these weights."),
            path=str(folder),
        )


def end_ids(model: Any, tokenizer: Any, folder: Path) -> tuple[int, ...]:
    """Return every id that ends an answer: of the tokenizer, config.json and generation_config.json."""
    found: list[Any] = [getattr(tokenizer, "eos_token_id", None), getattr(model.config, "eos_token_id", None)]
    path = folder / "generation_config.json"
    if path.is_file():
        found.append(read_json(path).get("eos_token_id"))
    flat = [id for value in found for id in (value if isinstance(value, list) else [value])]
    return tuple(dict.fromkeys(id for id in flat if type(id) is int and id >= 0))
