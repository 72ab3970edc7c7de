"""What is given to the model: a text or messages as token ids, with the receipt of how they were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from models.columns import Column
from models.errors import UserError
from models.opened import OpenModel
from models.records.tokens import Token
from models.safety import render_template
from models.template_spans import content_spans, template_flags
from models.tokens import Span, encode_with_spans, piece_bytes, piece_names, special_ids, tokens_of
from models.words import _

ROLES = ("system", "user", "assistant", "tool")
_MARKS = ("\ue000", "\ue001")


@dataclass(frozen=True)
class Prepared:
    """A text ready for a forward.

    Args:
        text: What was tokenised.
        ids: What the model (the encoder of an encoder-decoder) is given.
        tokens: Records of ``ids``.
        target_ids: What the decoder of an encoder-decoder is given, start token first.
        target_tokens: Records of ``target_ids``.
        convention: BOS, template and target in words.
        warnings: What may be wrong with it.
        template: Of rendered messages one flag per token: nothing of it stands in a message.
        written_from: Index in ``shown`` of the first token that the model wrote itself; -1 for none.
    """

    text: str
    ids: tuple[int, ...]
    tokens: tuple[Token, ...]
    target_ids: tuple[int, ...] = ()
    target_tokens: tuple[Token, ...] = ()
    convention: str = ""
    warnings: tuple[str, ...] = ()
    template: tuple[bool, ...] = ()
    written_from: int = -1

    @property
    def shown(self) -> tuple[Token, ...]:
        """The tokens that are predicted one after the other."""
        return self.target_tokens or self.tokens

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """Kind of attention → texts of its tokens."""
        own = tuple(token.text for token in self.tokens)
        if not self.target_ids:
            return {"self": own}
        return {"encoder": own, "decoder": tuple(token.text for token in self.target_tokens)}


def prepare(opened: OpenModel, column: Column, text: str, target: str = "", echo: bool = True) -> Prepared:
    """Return a text as this column gives it to its model: plainly, or as one user message of its chat template.

    Args:
        opened: The model.
        column: How to prompt it.
        text: The text; the source of an encoder-decoder.
        target: What an encoder-decoder's decoder is given.
        echo: Whether the source itself is the target when none is given; otherwise the decoder gets its start token
            (and a target without the EOS that the tokenizer adds), ready for what comes next.

    Raises:
        UserError: If there is no tokenizer, or the column asks for a template that the checkpoint does not have.
    """
    tokenizer = tokenizer_of(opened)
    if column.exact and opened.kind == "decoder" and _is_written(tokenizer, column.exact, text):
        return exactly(opened, column.exact)
    if column.prompt == "template":
        system = [{"role": "system", "content": column.system}] if column.system else []
        return render(opened, (*system, {"role": "user", "content": text}))
    if opened.kind == "encoder-decoder":
        if column.exact and not target:
            found = _exact_target(opened, text, column.exact)
            if found is not None:
                return found
        return _source_and_target(opened, text, target or (text if echo else ""), bool(target), echo)
    mask = getattr(tokenizer, "mask_token", None) if opened.kind == "encoder" else None
    masked = bool(mask) and str(mask) in text
    ids, spans = encode_with_spans(tokenizer, text, add_special=True, allow_special=masked)
    said = [_bos_said(tokenizer, ids, spans)]
    if opened.kind == "decoder" and len(ids) > 1 and ids[-1] in eos_ids(opened) and spans[-1] == (-1, -1):
        ids, spans = ids[:-1], spans[:-1]
        said.append(_("the EOS that the tokenizer adds was left out"))
    if masked:
        said.append(_("{mask} in the text is the mask").format(mask=mask))
    tokens = tokens_of(tokenizer, text, ids, spans)
    return Prepared(text, tuple(ids), tokens, convention="; ".join(part for part in said if part))


def written(tokenizer: Any, ids: Sequence[int]) -> str:
    """Return the text that token ids write, special tokens left out."""
    special = special_ids(tokenizer)
    plain = [i for i in ids if i not in special]
    return b"".join(piece_bytes(tokenizer, plain, piece_names(tokenizer, plain))).decode("utf-8", "replace")


def _is_written(tokenizer: Any, ids: Sequence[int], text: str) -> bool:
    """Return whether token ids, perhaps those of another tokenizer, write a text."""
    return max(ids) < len(tokenizer) and written(tokenizer, ids) == text


def exactly(opened: OpenModel, ids: Sequence[int]) -> Prepared:
    """Return these token ids, as they are, as a prepared text."""
    tokenizer = tokenizer_of(opened)
    text = written(tokenizer, ids)
    tokens = tokens_of(tokenizer, text, list(ids), [(-1, -1)] * len(ids))
    return Prepared(text, tuple(ids), tokens, convention=_exact_said())


def _exact_said() -> str:
    return _("the exact token ids of what was given and written")


def _source_and_target(opened: OpenModel, text: str, target: str, given: bool, whole: bool) -> Prepared:
    tokenizer = tokenizer_of(opened)
    ids, spans = encode_with_spans(tokenizer, text)
    start = start_id(opened)
    target_ids, target_spans = encode_with_spans(tokenizer, target) if target else ([], [])
    if target_ids and target_ids[0] == start:
        target_ids, target_spans = target_ids[1:], target_spans[1:]
    if not whole and target_ids and target_ids[-1] in eos_ids(opened) and target_spans[-1] == (-1, -1):
        target_ids, target_spans = target_ids[:-1], target_spans[:-1]
    target_ids, target_spans = [start, *target_ids], [(-1, -1), *target_spans]
    said = _("target given the source")
    if not given:
        said = _("no target given: the source itself is the target") if whole else _("the first token given the source")
    return Prepared(
        target, tuple(ids), tokens_of(tokenizer, text, ids, spans), tuple(target_ids),
        tokens_of(tokenizer, target, target_ids, target_spans), said,
    )  # fmt: skip


def _exact_target(opened: OpenModel, text: str, exact: Sequence[int]) -> Prepared | None:
    """Return the target that stands behind this very source in ``exact``; None where it is the ids of something else."""
    tokenizer = tokenizer_of(opened)
    ids, spans = encode_with_spans(tokenizer, text)
    target = tuple(exact[len(ids) :])
    if tuple(exact[: len(ids)]) != tuple(ids) or target[:1] != (start_id(opened),) or max(exact) >= len(tokenizer):
        return None
    said = written(tokenizer, target)
    return Prepared(
        said, tuple(ids), tokens_of(tokenizer, text, ids, spans), target,
        tokens_of(tokenizer, said, list(target), [(-1, -1)] * len(target)), _exact_said(),
    )  # fmt: skip


def start_id(opened: OpenModel) -> int:
    """Return the token that an encoder-decoder's decoder starts with."""
    generation = getattr(opened.model, "generation_config", None)
    for source in (generation, opened.config):
        for name in ("decoder_start_token_id", "bos_token_id", "pad_token_id"):
            value = getattr(source, name, None)
            if isinstance(value, int):
                return value
    raise UserError("decoder.start", _("{name} does not say which token starts its decoder.").format(name=opened.name))


def tokenizer_of(opened: OpenModel) -> Any:
    """Return the tokenizer; ``UserError`` if the checkpoint has none."""
    if opened.tokenizer is None:
        raise UserError(
            "tokenizer.none",
            _("{name} has no tokenizer.").format(name=opened.name),
            _("Copy tokenizer.json and tokenizer_config.json into its folder."),
        )
    return opened.tokenizer


def eos_ids(opened: OpenModel) -> frozenset[int]:
    """Return every id that ends an answer."""
    found = set(opened.eos_ids)
    generation = getattr(opened.model, "generation_config", None)
    for value in (getattr(generation, "eos_token_id", None), getattr(opened.tokenizer, "eos_token_id", None)):
        found.update([value] if isinstance(value, int) else value or ())
    return frozenset(int(i) for i in found)


def _bos_said(tokenizer: Any, ids: Sequence[int], spans: Sequence[Span]) -> str:
    if ids and spans[0] == (-1, -1):
        return _("{token} added in front").format(token=tokenizer.convert_ids_to_tokens([ids[0]])[0])
    return _("no BOS")


def chat_template(opened: OpenModel) -> str:
    """Return the checkpoint's own chat template; empty if it has none."""
    template = opened.chat_template or getattr(opened.tokenizer, "chat_template", None) or ""
    return template if isinstance(template, str) else str(dict(template).get("default", ""))


def conversation(opened: OpenModel, column: Column, messages: Sequence[Mapping[str, str]]) -> Prepared:
    """Return messages as ids: by the checkpoint's template, or plainly for a base model.

    A base model (no template, or of stage pretrain unless the column asks for the template) gets the contents joined
    by line breaks, without any marks of roles.
    """
    check_messages(messages)
    messages = with_system(column, messages)
    if column.prompt == "template" or (chat_template(opened) and opened.description.stage != "pretrain"):
        return render(opened, messages)
    text = joined(messages)
    plain = Column(column.checkpoint)
    prepared = prepare(opened, plain, text, echo=False)
    said = _("prompted plainly: a base model; contents joined by line breaks")
    return Prepared(
        text, prepared.ids, prepared.tokens, prepared.target_ids, prepared.target_tokens,
        f"{said}; {prepared.convention}",
    )  # fmt: skip


def with_system(column: Column, messages: Sequence[Mapping[str, str]]) -> Sequence[Mapping[str, str]]:
    """Return messages with the column's system message in front, where they have none of their own."""
    if column.system and messages[0]["role"] != "system":
        return ({"role": "system", "content": column.system}, *messages)
    return messages


def joined(messages: Sequence[Mapping[str, str]]) -> str:
    """Return messages as a base model is given them: their contents, joined by line breaks."""
    return "\n".join(message["content"] for message in messages)


def check_messages(messages: Sequence[Mapping[str, str]]) -> None:
    """Raise ``UserError`` unless messages are a non-empty sequence of role and content."""
    for message in messages:
        if not isinstance(message, Mapping) or not all(isinstance(message.get(name), str) for name in ("role", "content")):
            raise UserError("chat.message", _("A message needs a role and a content, both texts."))
    if not messages:
        raise UserError("chat.empty", _("There is no message."), _("Write one."))


def render(opened: OpenModel, messages: Sequence[Mapping[str, str]]) -> Prepared:
    """Return messages as the checkpoint's own chat template writes them, ready for an answer.

    A special token written out in a message is encoded as the text that it is, not as the token.

    Raises:
        UserError: If the checkpoint has no template, or the template fails.
    """
    check_messages(messages)
    tokenizer, template = tokenizer_of(opened), chat_template(opened)
    if not template:
        raise UserError(
            "chat.template",
            _("{name} has no chat template.").format(name=opened.name),
            _("Prompt it plainly."),
        )
    names = special_names(tokenizer)
    marked, literals = _mark(messages, sorted(names, key=len, reverse=True))
    values = {name: str(token) for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
    values = {name: token for name, token in values.items() if name.endswith("_token")}
    allowed = {name: values[name] for name in values if name in _PASSED}
    text = render_template(template, marked, add_generation_prompt=True, **allowed)
    without = render_template(template, marked, add_generation_prompt=False, **allowed)
    ids, spans, shown = _encode_rendered(tokenizer, text, literals)
    warnings = _warnings(tokenizer, ids, messages, shown, text == without)
    if literals:
        found = ", ".join(sorted(set(literals)))
        warnings.append(_("Special tokens written out in a message were encoded as text: {tokens}").format(tokens=found))
    tokens = tokens_of(tokenizer, shown, ids, spans)
    flags = template_flags(tokens, shown, content_spans(template, messages, shown, allowed))
    return Prepared(
        shown, tuple(ids), tokens, convention=_("the checkpoint's own chat template"), warnings=tuple(warnings), template=flags
    )  # fmt: skip


def extended(opened: OpenModel, prepared: Prepared, ids: Sequence[int]) -> Prepared:
    """Return a prepared text with tokens put behind it that the model wrote."""
    tokenizer = tokenizer_of(opened)
    source = prepared.target_ids or prepared.ids
    known = prepared.shown
    whole = [*source, *ids]
    text = written(tokenizer, ids)
    group, shift = 1 + max((token.group for token in known), default=-1), len(prepared.text)
    new_tokens = tuple(
        replace(
            token, group=token.group + group if token.group >= 0 else -1,
            start=token.start + shift if token.start >= 0 else -1, end=token.end + shift if token.end >= 0 else -1,
        )
        for token in tokens_of(tokenizer, text, list(ids), [(-1, -1)] * len(ids))
    )  # fmt: skip
    said = _("{n} tokens written by the model itself").format(n=len(ids))
    changes: dict[str, Any] = {"text": prepared.text + text, "written_from": len(known)}
    changes["convention"] = f"{prepared.convention}; {said}"
    if prepared.target_ids:
        changes |= {"target_ids": tuple(whole), "target_tokens": (*known, *new_tokens)}
    else:
        changes |= {"ids": tuple(whole), "tokens": (*known, *new_tokens)}
    return replace(prepared, **changes)


_PASSED = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token")


def special_names(tokenizer: Any) -> frozenset[str]:
    """Return the texts of every special token."""
    added = {str(token) for token in tokenizer.added_tokens_decoder.values() if getattr(token, "special", False)}
    return frozenset(name for name in added | {str(token) for token in tokenizer.all_special_tokens} if name)


def _mark(messages: Sequence[Mapping[str, str]], names: Sequence[str]) -> tuple[list[dict[str, str]], list[str]]:
    """Replace special tokens written out in contents by marks, so that the template's own can be told from them."""
    literals: list[str] = []
    marked = []
    for message in messages:
        content = message["content"].replace(_MARKS[0], "").replace(_MARKS[1], "")
        for name in names:
            if name in content:
                content = content.replace(name, f"{_MARKS[0]}{len(literals)}{_MARKS[1]}")
                literals.append(name)
        marked.append({**message, "content": content})
    return marked, literals


def _encode_rendered(tokenizer: Any, text: str, literals: Sequence[str]) -> tuple[list[int], list[Span], str]:
    """Return ids, spans and the text itself, marks put back as the text that they stand for."""
    if not literals:
        ids, spans = encode_with_spans(tokenizer, text, add_special=False, allow_special=True)
        return ids, spans, text
    all_ids: list[int] = []
    all_spans: list[Span] = []
    shown = ""
    for part in text.split(_MARKS[0]):
        number, closed, rest = part.partition(_MARKS[1])
        pieces = [(literals[int(number)], False), (rest, True)] if closed else [(part, True)]
        for piece, allow in pieces:
            if not piece:
                continue
            ids, spans = encode_with_spans(tokenizer, piece, add_special=False, allow_special=allow)
            all_ids += ids
            all_spans += [(a + len(shown), b + len(shown)) if a >= 0 else (a, b) for a, b in spans]
            shown += piece
    return all_ids, all_spans, shown


def gets_bos_twice(tokenizer: Any, text: str) -> bool:
    """Return whether a text that begins with BOS gets another one from its tokenizer, encoded the usual way."""
    bos = getattr(tokenizer, "bos_token_id", None)
    return bos is not None and encode_with_spans(tokenizer, text, add_special=True, allow_special=True)[0][:2] == [bos, bos]


def _warnings(tokenizer: Any, ids: Sequence[int], messages: Sequence[Mapping[str, str]], text: str, no_prompt: bool) -> list[str]:
    warnings = []
    bos = getattr(tokenizer, "bos_token_id", None)
    if bos is not None and list(ids[:2]) == [bos, bos]:
        warnings.append(_("The text begins with BOS twice."))
    if no_prompt:
        warnings.append(_("The template has no generation prompt: the model may continue the user's message."))
    for number, message in enumerate(messages):
        if message["role"] not in ROLES:
            warnings.append(_("Message {n} has the unknown role {role!r}.").format(n=number + 1, role=message["role"]))
        if message["content"].strip() and message["content"].strip() not in text:
            warnings.append(_("The template leaves message {n} ({role}) out or changes it.").format(
                n=number + 1, role=message["role"]
            ))  # fmt: skip
    return warnings
