"""How well tokenizers compress the same texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.events import Progress, Work
from models.words import _

PART = 100_000
"""Characters between two reports of progress: a row of a text file can have a million."""


@dataclass(frozen=True)
class Compression:
    """A tokenizer over some texts.

    Args:
        name: Of its checkpoint.
        entries: Size of its vocabulary.
        n_texts: Texts read. ``returned``: those that came back from their tokens as they were, but for a space put
            before them.
        n_tokens: Tokens of all texts, without those that it adds by itself.
        n_bytes: UTF-8 bytes of all texts. ``n_characters``: their Unicode characters.
        used: Different entries that occur.
    """

    name: str
    entries: int
    n_texts: int
    returned: int
    n_tokens: int
    n_bytes: int
    n_characters: int
    used: int

    @property
    def bytes_per_token(self) -> float:
        """UTF-8 bytes that a token stands for on average; NaN without tokens. Higher is better compressed."""
        return self.n_bytes / self.n_tokens if self.n_tokens else float("nan")

    @property
    def characters_per_token(self) -> float:
        """Characters that a token stands for on average; NaN without tokens."""
        return self.n_characters / self.n_tokens if self.n_tokens else float("nan")


def compression(name: str, tokenizer: Any, texts: Sequence[str]) -> Work[Compression]:
    """Encode every text, decode it again and count.

    Raises:
        UserError: If the tokenizer has no tokens for a part of a text.
    """
    from models.tokens import encode_plain

    tokens, returned, used, unsaid = 0, 0, set[int](), 0
    for number, text in enumerate(texts, 1):
        ids = encode_plain(tokenizer, text, add_special=False)
        tokens += len(ids)
        used.update(ids)
        returned += tokenizer.decode(ids, clean_up_tokenization_spaces=False) in (text, f" {text}")
        unsaid += len(text)
        if unsaid >= PART or number == len(texts):
            unsaid = 0
            yield Progress(number, len(texts), name)
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    return Compression(name, len(tokenizer), len(texts), returned, tokens, size, sum(map(len, texts)), len(used))


def compare(folders: Iterable[Path], texts: Sequence[str]) -> Work[list[Compression]]:
    """Return the compression of the tokenizer of every folder.

    Raises:
        UserError: If a folder has no tokenizer, or one that cannot be opened.
    """
    from models.tokenizer_open import load_tokenizer

    found = []
    for folder in folders:
        tokenizer = load_tokenizer(folder) if folder.is_dir() else None
        if tokenizer is None:
            raise UserError(
                "compression.tokenizer",
                _("{path} holds no tokenizer.").format(path=folder),
                _("Name the folder of a checkpoint, or one with a tokenizer.json."),
                path=str(folder),
            )
        found.append((yield from compression(folder.name, tokenizer, texts)))
    return found


def in_words(one: Compression) -> str:
    """Return the report of one tokenizer in a line."""
    return _("{name}: {n:.3g} bytes, {characters:.3g} characters per token; {entries:,} entries, {used:.0%} of them used").format(
        name=one.name,
        n=one.bytes_per_token,
        characters=one.characters_per_token,
        entries=one.entries,
        used=one.used / one.entries,
    )
