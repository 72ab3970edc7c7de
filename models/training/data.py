"""Data of the training stages: rows of JSONL, documents of token ids, packed batches."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.errors import UserError
from models.training.formats import DOCUMENTS, Problem, convert
from models.training.reading import Bad, bad_row, raw_rows
from models.words import _

if TYPE_CHECKING:
    from torch import Tensor

Row = Mapping[str, Any]
Message = Mapping[str, str]
OPEN_ROWS = 64  # rows that packing keeps open; more fill better and cost time
ONE_PLACE = 1024
"""Places that a token would have to look at for attention to take as long as all the rest (6 times a model's width)."""


@dataclass(frozen=True)
class Document:
    """Token ids of one text, ``(length,)``, and which of them count as targets of the loss, ``(length,)``."""

    ids: np.ndarray[Any, np.dtype[np.int64]]
    trained: np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Batch:
    """Documents packed into rows; attention does not cross from one document to another.

    Args:
        input_ids: ``(rows, time)``.
        position_ids: ``(rows, time)``, starting at 0 in each document.
        document: ``(rows, time)``, number of the document; padding has numbers of its own.
        source: ``(targets,)``, flat positions from whose state each target is predicted.
        target: ``(targets,)``, token ids to predict, document by document.
        owner: ``(targets,)``, number of the document of each target.
        last: ``(documents,)``, flat position of each document's last token.
    """

    input_ids: Tensor
    position_ids: Tensor
    document: Tensor
    source: Tensor
    target: Tensor
    owner: Tensor
    last: Tensor

    def to(self, device: str) -> Batch:
        """Return the batch on a device, taken there as one piece: each transfer waits for the device."""
        if device == "cpu":
            return self
        import torch

        fields: list[Tensor] = [getattr(self, name) for name in self.__annotations__]
        pieces = torch.split(torch.cat([field.flatten() for field in fields]).to(device), [field.numel() for field in fields])
        return Batch(*(piece.view(field.shape) for piece, field in zip(pieces, fields, strict=True)))


def read_rows(path: Path, limit: int = 0) -> list[dict[str, Any]]:
    """Read a data file as it is, at most ``limit`` rows (0: all).

    Raises:
        UserError: Naming the first row that cannot be read, or whose texts and messages are none.
    """
    rows: list[dict[str, Any]] = []
    for number, value in raw_rows(path):
        if limit and len(rows) >= limit:
            break
        if isinstance(value, Bad):
            raise bad_row(path, value)
        for key in ("messages", "prompt", "chosen", "rejected"):
            if key in value and not _is_conversation(value[key], key):
                text = _("has {key} that are no messages with role and content")
                raise bad_row(path, Bad(number, text.format(key=key)))
        if not isinstance(value.get("text", ""), str):
            raise bad_row(path, Bad(number, _("has a text that is none")))
        rows.append(dict(value))
    return rows


def _is_conversation(value: Any, key: str) -> bool:
    if isinstance(value, str):
        return key != "messages"
    return isinstance(value, list) and all(
        isinstance(message, dict) and isinstance(message.get("role"), str) and isinstance(message.get("content"), str)
        for message in value
    )


def need_rows(name: str, rows: Sequence[Row]) -> None:
    """Raise ``UserError`` if a stage has nothing to learn from."""
    if not rows:
        raise UserError(
            "training.setting", _("The {name} step has no data.").format(name=name), _("List its files in the recipe.")
        )


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_of(row: Row) -> str:
    """Return all text of a row (``text``, or ``messages``, or ``prompt``/``chosen``/``rejected``), one part a line."""
    if "text" in row:
        return str(row["text"])
    if "messages" not in row and "prompt" not in row:
        with contextlib.suppress(Problem):
            row = convert(row, DOCUMENTS)[0]
    messages = [*row.get("messages", ())]
    for key in ("prompt", "completion", "chosen", "rejected"):
        messages.extend(as_messages(row[key]) if key in row else ())
    return "\n".join(str(message["content"]) for message in messages)


def as_messages(value: str | Sequence[Message], role: str = "user") -> list[Message]:
    """Return a conversation; a plain string is one message of ``role``."""
    return [{"role": role, "content": value}] if isinstance(value, str) else list(value)


def chunk(ids: Sequence[int], trained: Sequence[bool], length: int) -> list[Document]:
    """Cut a text into documents of at most ``length`` tokens (a text that fits stays whole)."""
    ids_array, trained_array = np.asarray(ids, np.int64), np.asarray(trained, np.bool_)
    return [
        Document(ids_array[start : start + length], trained_array[start : start + length])
        for start in range(0, max(len(ids_array) - 1, 1), length - 1)  # pieces share a token: each is predicted once
    ]


def pack(lengths: Sequence[int], order: Iterable[int], block: int) -> list[tuple[int, ...]]:
    """Put documents into rows of at most ``block`` tokens, first fit in the given order; returns their numbers."""
    done: list[tuple[int, ...]] = []
    still_open: list[tuple[list[int], int]] = []
    for number in order:
        need = lengths[number]
        for at, (row, room) in enumerate(still_open):
            if need <= room:
                row.append(number)
                still_open[at] = (row, room - need)
                break
        else:
            still_open.append(([number], block - need))
        if len(still_open) > OPEN_ROWS:
            fullest = min(range(len(still_open)), key=lambda at: still_open[at][1])
            done.append(tuple(still_open.pop(fullest)[0]))
    return done + [tuple(row) for row, _ in still_open]


def plan_rows(lengths: Sequence[int], block: int, epochs: float, seed: int) -> list[tuple[int, ...]]:
    """Return the packed rows of a whole run in order: each epoch shuffled and packed anew, the last one cut short."""
    rows: list[tuple[int, ...]] = []
    remaining, epoch = epochs, 0
    while remaining > 1e-9:
        generator = np.random.default_rng([seed, epoch])
        packed = pack(lengths, generator.permutation(len(lengths)).tolist(), block)
        packed = [packed[at] for at in generator.permutation(len(packed))]
        rows.extend(packed[: max(1, round(len(packed) * min(remaining, 1.0)))])
        remaining, epoch = remaining - 1.0, epoch + 1
    return rows


def make_batch(rows: Sequence[Sequence[Document]], pad_id: int) -> Batch:
    """Lay packed rows out as tensors; documents are numbered in the order of ``rows``."""
    import torch

    time = max(sum(len(document.ids) for document in row) for row in rows)
    input_ids = np.full((len(rows), time), pad_id, np.int64)
    position_ids = np.zeros((len(rows), time), np.int64)
    numbers = np.full((len(rows), time), -1, np.int64)
    source: list[Any] = []
    target: list[Any] = []
    owner: list[Any] = []
    last: list[int] = []
    for at, row in enumerate(rows):
        start = 0
        for document in row:
            length = len(document.ids)
            input_ids[at, start : start + length] = document.ids
            position_ids[at, start : start + length] = np.arange(length)
            numbers[at, start : start + length] = len(last)
            predicted = np.flatnonzero(document.trained[1:])
            source.append(at * time + start + predicted)
            target.append(document.ids[1:][predicted])
            owner.append(np.full(len(predicted), len(last), np.int64))
            start += length
            last.append(at * time + start - 1)
    arrays = (input_ids, position_ids, numbers, *(np.concatenate(part) for part in (source, target, owner)), last)
    return Batch(*(torch.as_tensor(array, dtype=torch.long) for array in arrays))


def _work(rows: Sequence[Sequence[int]], lengths: Sequence[int]) -> int:
    """Return about how much a forward over packed rows takes: so much for each place, and more the wider attention looks."""
    time = max(sum(lengths[number] for number in row) for row in rows)
    return len(rows) * time * (ONE_PLACE + time)


def pack_batch(documents: Sequence[Document], block: int, pad_id: int) -> tuple[Batch, np.ndarray[Any, Any]]:
    """Pack documents into one batch; also returns ``order``: batch number of each given document, ``(documents,)``.

    Rows are at most ``block`` tokens wide, and only as wide as the longest document where that is less work.
    """
    lengths = [len(document.ids) for document in documents]
    longest_first = sorted(range(len(documents)), key=lambda at: (-lengths[at], at))
    widths = {max(lengths), max(block, *lengths)}
    rows = min((pack(lengths, longest_first, width) for width in sorted(widths)), key=lambda packed: _work(packed, lengths))
    batch = make_batch([[documents[number] for number in row] for row in rows], pad_id)
    order = np.empty(len(documents), np.int64)
    order[[number for row in rows for number in row]] = np.arange(len(documents))
    return batch, order


class Texts:
    """A tokenizer folder as the training stages use it: documents, prompts and answers as token ids."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer

        self.folder = folder
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        ends = (self.tokenizer.eos_token_id, self.tokenizer.sep_token_id)
        if ends == (None, None):
            raise UserError(
                "training.tokenizer",
                _("The tokenizer of {name!r} has no end token.").format(name=folder.name),
                _("Set eos_token."),
            )
        self.end: int = ends[1] if ends[0] is None else ends[0]
        first = self.tokenizer.bos_token_id
        self.bos: int | None = self.tokenizer.cls_token_id if first is None else first
        self.pad: int = self.end if self.tokenizer.pad_token_id is None else self.tokenizer.pad_token_id

    def __len__(self) -> int:
        return len(self.tokenizer)

    @property
    def mask(self) -> int:
        """The id of the mask token; -1 if there is none."""
        return -1 if self.tokenizer.mask_token_id is None else int(self.tokenizer.mask_token_id)

    @property
    def sentinels(self) -> list[int]:
        """The ids of ``<extra_id_0>``, ``<extra_id_1>`` ..., as many as there are in a row."""
        vocabulary: dict[str, int] = self.tokenizer.get_vocab()
        found: list[int] = []
        while (token := f"<extra_id_{len(found)}>") in vocabulary:
            found.append(int(vocabulary[token]))
        return found

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return token ids of each text, with no special tokens added."""
        encoded = self.tokenizer.backend_tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [item.ids for item in encoded]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids, without special tokens and outer spaces."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True)).strip()

    def documents(self, texts: Sequence[str], block: int) -> list[Document]:
        """Return whole texts as documents, first and end token included, every token trained; cut at ``block``."""
        first = [] if self.bos is None else [self.bos]
        return [
            piece
            for ids in self.encode(texts)
            for full in [[*first, *ids, self.end]]
            for piece in chunk(full, [True] * len(full), block)
        ]

    def completions(self, prompts: Sequence[str], completions: Sequence[str]) -> list[Document]:
        """Return plain prompts with their completions as documents, no template: only completion and end are trained."""
        first = [] if self.bos is None else [self.bos]
        documents = []
        for prompt, completion in zip(self.encode(prompts), self.encode(completions), strict=True):
            ids = np.asarray([*first, *prompt, *completion, self.end], np.int64)
            documents.append(Document(ids, np.arange(len(ids)) >= len(first) + len(prompt)))
        return documents

    def render(self, messages: Sequence[Message], prompt: bool) -> str:
        """Return a conversation in the chat template; ``prompt`` adds the start of an answer."""
        if not self.tokenizer.chat_template:
            raise UserError(
                "training.template",
                _("The tokenizer of {name!r} has no chat template.").format(name=self.folder.name),
                _("Use data of plain prompt and completion, or write chat_template into its tokenizer_config.json."),
            )
        text = self.tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=prompt)
        return str(text)

    def prompts(self, conversations: Sequence[Sequence[Message]]) -> list[list[int]]:
        """Return the token ids of prompts, up to the place where the answer starts."""
        return self.encode([self.render(messages, prompt=True) for messages in conversations])

    def answers(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of answers, end token included."""
        return [[*ids, self.end] for ids in self.encode(texts)]

    def chats(self, conversations: Sequence[Sequence[Message]]) -> list[Document]:
        """Return conversations as documents in which only the answers and their end tokens are trained."""
        pieces: list[str] = []
        shape: list[list[bool]] = []
        for messages in conversations:
            parts = self._parts(messages)
            pieces.extend(text for text, _ in parts)
            shape.append([trained for _, trained in parts])
        encoded = iter(self.encode(pieces))
        documents = []
        for flags in shape:
            ids: list[int] = []
            trained: list[bool] = []
            for flag in flags:
                piece = next(encoded)
                ids.extend(piece)
                trained.extend([flag] * len(piece))
            documents.append(Document(np.asarray(ids, np.int64), np.asarray(trained, np.bool_)))
        return documents

    def _parts(self, messages: Sequence[Message]) -> list[tuple[str, bool]]:
        """Cut a rendered conversation into (text, is an answer); raises if the template rewrites earlier turns."""
        parts: list[tuple[str, bool]] = []
        done = ""
        for at, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            before, after = self.render(messages[:at], prompt=True), self.render(messages[: at + 1], prompt=False)
            if not (before.startswith(done) and after.startswith(before)):
                raise UserError(
                    "training.template",
                    _("The chat template of {name!r} changes earlier turns, so answers cannot be located.").format(
                        name=self.folder.name
                    ),
                    _("Use a template that only appends."),
                )
            parts += [(before[len(done) :], False), (after[len(before) :], True)]
            done = after
        if not parts:
            raise UserError("training.row", _("A conversation has no assistant message."), _("Give each row an answer."))
        return parts
