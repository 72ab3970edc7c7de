"""What a folder's tokenizer files say, and what is wrong with them; nothing here runs the tokenizer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.headers import read_bytes, read_json, visible
from models.words import _

SLOW_FILES = ("vocab.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "vocab.json")
FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", *SLOW_FILES)
ROLES = ("bos_token", "eos_token", "pad_token", "unk_token", "mask_token", "sep_token", "cls_token")
MAX_IDS = 2**24
GAP_SHARE = 100
"""One id in so many may be missing: a few real tokenizers have holes, an array sized from an invented id is refused."""
TEMPLATE_LIMIT = 512 * 1024


@dataclass(frozen=True)
class TokenizerFacts:
    """A tokenizer as its files describe it.

    Args:
        present: Whether there are tokenizer files at all.
        n_ids: One more than the largest token id; 0 where only running it would tell.
        shown: Label → value pairs for the description.
        special: Role (``eos_token`` ...) → token text.
    """

    present: bool
    n_ids: int = 0
    chat_template: str = ""
    shown: Mapping[str, str] = field(default_factory=dict)
    special: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def read_tokenizer(folder: Path) -> TokenizerFacts:
    """Read and check the tokenizer files of a Hugging Face folder; remembered while they do not change.

    Raises:
        UserError: If a file is malformed, names code, or gives tokens impossible ids.
    """
    return _read_tokenizer(folder, tuple(map(_version, (folder / name for name in FILES))))


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


@lru_cache(maxsize=16)
def _read_tokenizer(folder: Path, _versions: tuple[tuple[int, int, int] | None, ...]) -> TokenizerFacts:
    config = _tokenizer_config(folder)
    template = read_template(folder, config)
    special = {role: text for role in ROLES if (text := _token_text(config.get(role)))}
    path = folder / "tokenizer.json"
    if not path.is_file():
        slow = next((name for name in SLOW_FILES if (folder / name).is_file()), "")
        shown = _shown(config, {}, 0, special, template) if slow else {}
        return TokenizerFacts(bool(slow), 0, template, shown, special)
    content = read_json(path)
    n_ids, warnings = check_tokenizer(content, path)
    return TokenizerFacts(True, n_ids, template, _shown(config, content, n_ids, special, template), special, tuple(warnings))


def _tokenizer_config(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return {}
    config = read_json(path)
    if config.get("auto_map"):
        raise UserError(
            "tokenizer.code",
            _("{path}: auto_map names Python code ({value}).").format(path=path, value=visible(config["auto_map"])),
            _("Code from a checkpoint is never run; use a version of it without this entry."),
            path=str(path),
        )
    return config


def read_template(folder: Path, config: Mapping[str, Any]) -> str:
    """Return the folder's chat template (``chat_template.jinja``, else in tokenizer_config.json); empty if none."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        try:
            return read_bytes(path, TEMPLATE_LIMIT).decode("utf-8")
        except UnicodeDecodeError as cause:
            raise UserError("template.encoding", _("{path} is not UTF-8 text.").format(path=path)) from cause
    template = config.get("chat_template")
    if isinstance(template, list):
        named = {str(row.get("name")): row.get("template") for row in template if isinstance(row, dict)}
        template = named.get("default", next(iter(named.values()), ""))
    if template is None:
        return ""
    if not isinstance(template, str) or len(template) > TEMPLATE_LIMIT:
        raise UserError(
            "template.malformed",
            _("{path}: the chat template is not a text of at most {n} characters.").format(
                path=folder / "tokenizer_config.json", n=TEMPLATE_LIMIT
            ),
        )
    return template


def _token_text(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else ""


def _kind(part: Any) -> str:
    if not isinstance(part, dict):
        return ""
    inner = part.get("pretokenizers") or part.get("normalizers") or part.get("decoders") or part.get("processors")
    if isinstance(inner, list):
        return " + ".join(filter(None, map(_kind, inner)))
    return str(part.get("type", ""))


def _shown(
    config: Mapping[str, Any], content: Mapping[str, Any], n_ids: int, special: Mapping[str, str], template: str
) -> dict[str, str]:
    length = config.get("model_max_length")
    rows = {
        _("Class"): config.get("tokenizer_class"),
        _("Method"): _kind(content.get("model")),
        _("Entries"): f"{n_ids:,}" if n_ids else "",
        _("Added tokens"): len(content.get("added_tokens") or []),
        _("Normalizer"): _kind(content.get("normalizer")),
        _("Splitting"): _kind(content.get("pre_tokenizer")),
        _("Longest text"): length if isinstance(length, int) and length < 10**9 else "",
        _("Padding side"): config.get("padding_side"),
        **{role.replace("_token", "").upper(): text for role, text in special.items()},
        _("Chat template"): _("yes") if template else _("no"),
    }
    return {label: visible(value) for label, value in rows.items() if value not in ("", 0, None)}


def check_tokenizer(content: Mapping[str, Any], path: Path) -> tuple[int, list[str]]:
    """Return (one more than the largest id, warnings) of a tokenizer.json.

    Raises:
        UserError: If ids are negative, repeated, too large or full of holes, or a merge is not in the vocabulary.
    """
    model = content.get("model")
    if not isinstance(model, dict):
        raise _bad(path, _("it has no model"))
    ids: dict[int, str] = {}
    texts = dict(_entries(model.get("vocab"), path))
    for text, id in texts.items():
        if id in ids:
            raise _bad(path, _("id {id} is given to {a!r} and {b!r}").format(id=id, a=visible(ids[id]), b=visible(text)))
        ids[id] = text
    for text, id in _added(content.get("added_tokens"), path):
        if ids.get(id, text) != text:
            raise _bad(path, _("id {id} is given to {a!r} and {b!r}").format(id=id, a=visible(ids[id]), b=visible(text)))
        ids[id] = text
    _check_merges(model, texts, path)
    n_ids = max(ids, default=-1) + 1
    holes = n_ids - len(ids)
    if holes * GAP_SHARE > n_ids:
        raise _bad(path, _("{n} of its ids below {top} belong to no token").format(n=holes, top=n_ids))
    return n_ids, [_("{n} token ids belong to no token.").format(n=holes)] if holes else []


def _entries(vocabulary: Any, path: Path) -> Iterable[tuple[str, int]]:
    if isinstance(vocabulary, dict):
        return [(text, _id(id, text, path)) for text, id in vocabulary.items()]
    if isinstance(vocabulary, list) and all(isinstance(row, list) and len(row) == 2 for row in vocabulary):
        return [(f"{row[0]}\0{id}", id) for id, row in enumerate(vocabulary)]
    raise _bad(path, _("its vocabulary is not a table"))


def _added(rows: Any, path: Path) -> Iterable[tuple[str, int]]:
    if rows is not None and not isinstance(rows, list):
        raise _bad(path, _("its added tokens are not a list"))
    for row in rows or []:
        if not isinstance(row, dict) or not isinstance(row.get("content"), str):
            raise _bad(path, _("an added token has no content"))
        yield row["content"], _id(row.get("id"), row["content"], path)


def _id(value: Any, text: str, path: Path) -> int:
    if type(value) is not int or not 0 <= value < MAX_IDS:
        raise _bad(path, _("token {text!r} has the impossible id {id}").format(text=visible(text), id=visible(value)))
    return value


def _check_merges(model: Mapping[str, Any], texts: Mapping[str, int], path: Path) -> None:
    merges = model.get("merges")
    if model.get("type", "BPE") != "BPE" or not merges:
        return
    if not isinstance(merges, list):
        raise _bad(path, _("its merges are not a list"))
    prefix = model.get("continuing_subword_prefix") or ""
    for merge in merges:
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise _bad(path, _("the merge {merge} is not a pair").format(merge=visible(merge)))
        result = pair[0] + pair[1].removeprefix(prefix)
        missing = next((part for part in (*pair, result) if part not in texts), None)
        if missing is not None:
            raise _bad(
                path,
                _("the merge {merge} makes {text!r}, which is not in the vocabulary").format(
                    merge=visible(merge), text=visible(missing)
                ),
            )


def _bad(path: Path, reason: str) -> UserError:
    return UserError(
        "tokenizer.malformed",
        _("{path} is not a usable tokenizer: {reason}.").format(path=path, reason=reason),
        _("Copy the tokenizer again from where the checkpoint came."),
        path=str(path),
    )
