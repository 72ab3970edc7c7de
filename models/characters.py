"""A tokenizer of single characters, as nanoGPT's models of Shakespeare use, and tokenizer files copied to a checkpoint."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.files import write_json, write_text
from models.headers import read_json
from models.tokenizer_files import SLOW_FILES
from models.torch_files import read_table
from models.words import _

VOCABULARIES = ("tokenizer.json", *SLOW_FILES)
"""Files that hold a vocabulary: with none of them there is no tokenizer."""
FILES = (
    *VOCABULARIES, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt", "chat_template.jinja",
)  # fmt: skip
LONGEST = 1 << 30
"""Bytes of a text whose characters are collected."""


def write_tokenizer(source: Path, folder: Path) -> None:
    """Give a checkpoint folder its tokenizer.

    Args:
        source: A folder with tokenizer files, which are copied; nanoGPT's ``meta.pkl``; or the text that a model of
            characters was trained on: its characters, sorted, are the vocabulary.
        folder: The checkpoint.

    Raises:
        UserError: If there is no tokenizer, or it has not one entry for each row of the model's vocabulary.
    """
    if source.is_dir():
        if not any((source / name).is_file() for name in VOCABULARIES):
            raise UserError(
                "convert.tokenizer",
                _("{path} holds no tokenizer.").format(path=source),
                _("Name a folder with a tokenizer.json, nanoGPT's meta.pkl, or the text itself."),
                path=str(source),
            )
        for name in FILES:
            if (source / name).is_file():
                shutil.copyfile(source / name, folder / name)
        return
    ids = _characters(source)
    rows = read_json(folder / "config.json").get("vocab_size") if (folder / "config.json").is_file() else None
    if rows != len(ids):
        raise UserError(
            "convert.characters",
            _("{path} has {n} different characters, the model has {rows} tokens.").format(path=source, n=len(ids), rows=rows),
            _("Name the text that the model was trained on, or its meta.pkl."),
            path=str(source),
        )
    write_text(folder / "tokenizer.json", json.dumps(character_tokenizer(ids), ensure_ascii=False, indent=1) + "\n")
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    write_json(folder / "tokenizer_config.json", config)


def _characters(source: Path) -> dict[str, int]:
    """Return character → id of a ``meta.pkl`` or of a text."""
    try:
        if source.suffix == ".pkl":
            return _checked(read_table(source).get("stoi"))
        if source.stat().st_size > LONGEST:
            raise ValueError(_("it is larger than {n} bytes").format(n=LONGEST))
        with source.open(encoding="utf-8") as text:
            return {character: at for at, character in enumerate(sorted({c for line in text for c in line}))}
    except (OSError, ValueError) as cause:
        raise UserError(
            "convert.tokenizer",
            _("{path} gives no characters: {reason}.").format(path=source, reason=cause),
            _("Name a folder with a tokenizer.json, nanoGPT's meta.pkl, or the text itself."),
            path=str(source),
        ) from cause


def _checked(table: object) -> dict[str, int]:
    """Return nanoGPT's ``stoi`` if it is a character for each id."""
    if not isinstance(table, dict) or not all(isinstance(key, str) and len(key) == 1 for key in table):
        raise ValueError(_("it has no table of characters"))
    if not all(type(value) is int for value in table.values()) or sorted(table.values()) != list(range(len(table))):
        raise ValueError(_("it has no table of characters"))
    return dict(table)


def character_tokenizer(ids: Mapping[str, int]) -> dict[str, Any]:
    """Return the ``tokenizer.json`` of a vocabulary of characters; other characters are an error, as in nanoGPT."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel(dict(ids)))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return dict(json.loads(tokenizer.to_str()))
