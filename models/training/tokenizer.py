"""The tokenizer stage: byte-level BPE with a chat template, trained on text files."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import accumulate
from typing import Any

from models.compression import Compression, compare, in_words
from models.errors import UserError
from models.events import Note, Progress, Work
from models.files import write_json
from models.training.data import Row, read_rows, text_of
from models.training.stage import Stage, Workspace, check_at_least, help_text
from models.words import _

REPORTED, REPORTED_CHARACTERS = 2000, 5_000_000
"""Most texts of the report, and most characters: a row of a text file has up to a million."""
PAD, BOS, END = "<|pad|>", "<|bos|>", "<|end|>"
MASK = "<|mask|>"
SPECIAL = (PAD, BOS, END, "<|user|>", "<|assistant|>", "<|system|>")
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{{ eos_token }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
CJK = r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
WORDS = r" ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


@dataclass(frozen=True)
class TokenizerSettings:
    """Settings of the tokenizer stage."""

    data: tuple[str, ...] = field(default=(), metadata=help_text("JSONL files with text or messages."))
    vocab_size: int = field(default=1800, metadata=help_text("Entries, special tokens included; at least 262."))
    digits_single: bool = field(default=True, metadata=help_text("Every digit is a token of its own."))
    isolate_cjk: bool = field(default=True, metadata=help_text("No token spans two Chinese characters."))
    prefix_space: bool = field(default=True, metadata=help_text("A first word is the same token as within a text."))
    min_frequency: int = field(default=2, metadata=help_text("Pairs rarer than this are not merged."))
    max_rows: int = field(default=0, metadata=help_text("Read at most so many rows of each file; 0 reads all."))
    mask_token: bool = field(default=False, metadata=help_text("Add <|mask|>, for masked language modelling."))
    sentinels: int = field(default=0, metadata=help_text("Add so many <extra_id_N>, for span corruption."))
    compare: tuple[str, ...] = field(
        default=(), metadata=help_text("Checkpoints whose tokenizers read the same texts, for the report on compression.")
    )
    report: tuple[str, ...] = field(default=(), metadata=help_text("Texts of the report; without them the first of data."))
    seed: int = field(default=0, metadata=help_text("Unused: BPE training is deterministic."))

    def __post_init__(self) -> None:
        """Raise ``UserError`` for a vocabulary that cannot hold the bytes and the special tokens."""
        check_at_least("vocab_size", self.vocab_size, 256 + len(self.special))

    @property
    def special(self) -> list[str]:
        """The special tokens, in the order of their ids."""
        return [*SPECIAL, *([MASK] if self.mask_token else []), *(f"<extra_id_{n}>" for n in range(self.sentinels))]


def build_tokenizer(texts: Iterator[str], settings: TokenizerSettings) -> Any:
    """Train a byte-level BPE (``tokenizers.Tokenizer``) whose ``encode`` adds the first token ``<|bos|>``."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    if settings.prefix_space:
        # In two steps, because tokenizers panics on a replaced match of no width.
        before_other = Regex(r"""\A (?=[^A-Za-z0-9"'(])""")
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(" "), normalizers.Replace(before_other, "")])
    splits: list[Any] = []
    if settings.digits_single:
        splits.append(pre_tokenizers.Digits(individual_digits=True))
    if settings.isolate_cjk:
        splits.append(pre_tokenizers.Split(Regex(CJK), "isolated"))
    splits.append(pre_tokenizers.Split(Regex(WORDS), "isolated"))
    splits.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(splits)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocab_size,
        min_frequency=settings.min_frequency,
        special_tokens=settings.special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return tokenizer


def tokenizer_config(max_length: int = 512, special: Sequence[str] = SPECIAL) -> dict[str, Any]:
    """Return ``tokenizer_config.json`` as transformers reads it, chat template included."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": END,
        "pad_token": PAD,
        **({"mask_token": MASK} if MASK in special else {}),
        "additional_special_tokens": [token for token in special[3:] if token != MASK],
        "clean_up_tokenization_spaces": False,
        "model_max_length": max_length,
        "padding_side": "left",
        "chat_template": TEMPLATE,
    }


def run(settings: TokenizerSettings, workspace: Workspace) -> Work[Mapping[str, Any]]:
    """Train the tokenizer and write ``checkpoint/tokenizer.json`` and ``tokenizer_config.json``."""
    if not settings.data:
        raise UserError("training.setting", _("The tokenizer step has no data."), _("List its files under data."))
    rows = [row for name in settings.data for row in read_rows(workspace.path(name), settings.max_rows)]
    yield Progress(0, 1, _("tokenizer"))
    tokenizer = build_tokenizer((text_of(row) for row in rows), settings)
    folder = workspace.folder / "checkpoint"
    folder.mkdir(parents=True, exist_ok=True)
    config = json.dumps(tokenizer_config(special=settings.special), indent=1, ensure_ascii=False)
    (folder / "tokenizer_config.json").write_text(config + "\n", encoding="utf-8")
    tokenizer.save(str(folder / "tokenizer.json"))
    size = tokenizer.get_vocab_size()
    if size < settings.vocab_size:
        yield Note(
            _("tokenizer: the texts gave {size} of {vocab_size} entries").format(size=size, vocab_size=settings.vocab_size),
            "warning",
        )
    yield Progress(1, 1, _("tokenizer"))
    own = yield from _report(settings, workspace, rows)
    return {"vocab_size": size, "rows": len(rows), "bytes_per_token": own.bytes_per_token}


def _report(settings: TokenizerSettings, workspace: Workspace, rows: Sequence[Row]) -> Work[Compression]:
    """Say how well the tokenizer compresses, beside others; written to ``compression.json``. Returns its own figures."""
    read = [row for name in settings.report for row in read_rows(workspace.path(name), REPORTED)] or rows
    texts = [text_of(row) for row in read[:REPORTED]]
    texts = texts[: max(1, bisect_right(list(accumulate(map(len, texts))), REPORTED_CHARACTERS))]
    found = yield from compare([workspace.folder / "checkpoint", *map(workspace.checkpoint, settings.compare)], texts)
    own = replace(found[0], name=workspace.folder.name)
    named = [own, *(replace(one, name=name) for one, name in zip(found[1:], settings.compare, strict=True))]
    for one in named:
        yield Note(in_words(one))
    table = [{**asdict(one), "bytes_per_token": one.bytes_per_token} for one in named]
    write_json(workspace.folder / "compression.json", {"texts": list(settings.report or settings.data), "tokenizers": table})
    return own


STAGE = Stage("tokenizer", "Tokenizer", TokenizerSettings, run, parent_field="")
