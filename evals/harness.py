"""Our model class behind lm-eval: it answers requests from the store, and says which are missing.

lm-eval builds its requests and asks ``loglikelihood``, ``loglikelihood_rolling`` or ``generate_until`` for all of them at
once. Each request is looked up under its response key. If all are known the answers go back; if not, ``Missing`` is raised
with the requests: whoever drives (``evals.grid``) answers them with events and calls lm-eval again. So going on after a
crash is not a special case, it is the only way this works.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lm_eval.api.model import TemplateLM

from evals import answering, decoding, pseudo
from evals.benchmark import Answer, Likelihood
from evals.identity import digest
from evals.identity import identity as identity
from evals.shards import Others
from evals.store import Identity, Request, ResponseStore, response_key, seed_of, unnumber
from models.errors import UserError
from models.events import Work
from models.opened import OpenModel
from models.words import _

END = "\u2060\u2061end\u2061\u2060 "
"""Stands at the end of a message that is to be continued, while the template writes it."""


class Missing(Exception):
    """Some requests have no stored answer: their keys and the requests, in lm-eval's order (known ones included)."""

    def __init__(self, requests: Mapping[str, Any]) -> None:
        super().__init__(f"{len(requests)} requests")
        self.requests = requests


def looked_up(model: Any, made: Sequence[Any], requests: Sequence[Any]) -> list[Any]:
    """Return the answers to lm-eval's requests from a model's store, and note their keys under the tasks that asked.

    Raises:
        Missing: If some are not there.
    """
    keys = [response_key(model.who, one) for one in made]
    for key, request in zip(keys, requests, strict=True):
        model.keys.setdefault(str(request.task_name), []).append(key)
    if any(key not in model.store for key in keys):
        raise Missing(dict(zip(keys, made, strict=True)))
    return [model.store[key] for key in keys]


class Rendered(str):
    """A prompt that a chat template made: special tokens in it are meant.

    Where a message held the text of a special token, ``ids`` are the tokens, with that text encoded as text.
    """

    ids: tuple[int, ...] = ()


class CheckpointLM(TemplateLM):  # type: ignore[misc]
    """An open checkpoint as lm-eval sees it."""

    def __init__(
        self,
        opened: OpenModel,
        who: Identity,
        store: ResponseStore | Others,
        seed: int = 0,
        *,
        template: str = "",
        whole_text: bool = False,
    ) -> None:
        """Answer for an open checkpoint from a store.

        Args:
            opened: The checkpoint.
            who: What its answers depend on.
            store: Where they are.
            seed: Of sampled answers.
            template: Jinja text used in place of the checkpoint's own chat template.
            whole_text: Whether a rolling text is scored with what the tokenizer adds to it (BOS), as lm-eval's class does.

        Raises:
            UserError: If the checkpoint cannot write or score text, or has no tokenizer.
        """
        super().__init__()
        masked = opened.kind == "encoder" and opened.model.get_output_embeddings() is not None
        if (opened.kind not in ("decoder", "encoder-decoder") and not masked) or opened.tokenizer is None:
            why = opened.loaded.unavailable.get("generate") or _("it is no language model that writes")
            raise UserError(
                "eval.kind",
                _("{name} cannot be evaluated: {why}.").format(name=Path(opened.path).name, why=why.rstrip(".")),
                _("Choose a decoder, an encoder-decoder, or an encoder with its masked-language head."),
                path=opened.path,
            )
        self.masked = masked
        self.opened = opened
        self.who = who
        self.store = store
        self.seed = seed
        self.template = template
        self.whole_text = whole_text
        self.generation = decoding.own_settings(opened)
        """The checkpoint's own generation settings."""
        self.n_without_system = 0
        """Prompts whose system message the template refused, so that it was left out (lm-eval's rule)."""
        self.tokenizer = opened.tokenizer
        self.backend = "seq2seq" if opened.kind == "encoder-decoder" else "causal"
        self.keys: dict[str, list[str]] = {}
        """Task → response keys of all that it asked, in order: what its scores rest on."""
        self._rendered: dict[str, Rendered] = {}
        self._special: frozenset[str] = frozenset()

    @property
    def eot_token_id(self) -> int:
        """The token that ends an answer."""
        return int(self.opened.eos_ids[0]) if self.opened.eos_ids else int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """The token before the first: BOS, else EOS."""
        from models.scoring import prefix_token

        return int(prefix_token(self.opened))

    @property
    def tokenizer_name(self) -> str:
        """A name for lm-eval's caches, which stay off."""
        return self.who.tokenizer

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_settings: Any) -> list[int]:
        """Return token ids as lm-eval's own class does: BOS where the tokenizer adds one and the text has none yet.

        A special token written out in a plain text is encoded as text; in a rendered prompt it is meant.
        """
        from models.tokens import encode_plain

        if isinstance(string, Rendered) and string.ids:
            return list(string.ids)
        rendered = isinstance(string, Rendered)
        if add_special_tokens is None:
            bos = self.tokenizer.bos_token
            add_special_tokens = not (rendered and bos and string.startswith(bos))
        return encode_plain(self.tokenizer, str(string), add_special_tokens, rendered)

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Encode both together, then split; blanks at the context's end belong to the continuation; marks survive."""
        if not isinstance(context, Rendered):
            pair: tuple[list[int], list[int]] = super()._encode_pair(context, continuation)
            return pair
        if context.ids:
            return list(context.ids), self.tok_encode(continuation, add_special_tokens=False)
        before = Rendered(context.rstrip())
        after = context[len(before) :] + continuation
        if self.backend != "causal":
            return self.tok_encode(before), self.tok_encode(after, add_special_tokens=False)
        n_context = len(self.tok_encode(before))
        whole = self.tok_encode(Rendered(before + after))
        return whole[:n_context], whole[n_context:]

    def apply_chat_template(self, chat_history: Sequence[Mapping[str, str]], add_generation_prompt: bool = True) -> str:
        """Return the messages as the checkpoint's template writes them.

        Raises:
            UserError: If there is no template, or it fails.
        """
        key = digest(repr([list(map(dict, chat_history)), add_generation_prompt]))
        if key not in self._rendered:
            self._rendered[key] = self._render(chat_history, add_generation_prompt)
        return self._rendered[key]

    def _render(self, messages: Sequence[Mapping[str, str]], add_generation_prompt: bool) -> Rendered:
        from models import prompts

        self._special = self._special or prompts.special_names(self.tokenizer)
        told = any(name in message["content"] for message in messages for name in self._special)
        if add_generation_prompt and told and not self.template:
            prepared = prompts.render(self.opened, messages)
            found = Rendered(prepared.text)
            found.ids = prepared.ids
            return found
        try:
            return self._by_template(messages, add_generation_prompt)
        except UserError:
            others = [message for message in messages if message["role"] != "system"]
            if len(others) == len(messages):
                raise
            self.n_without_system += 1
            return self._by_template(others, add_generation_prompt)

    def _by_template(self, messages: Sequence[Mapping[str, str]], add_generation_prompt: bool) -> Rendered:
        """Return rendered messages; without a generation prompt the last message goes on where it ends."""
        from models import prompts
        from models.safety import render_template

        names = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token")
        tokens = {name: getattr(self.tokenizer, name, None) for name in names}
        given = {name: token for name, token in tokens.items() if isinstance(token, str)}
        template = self.template or prompts.chat_template(self.opened)
        if not add_generation_prompt:
            messages = [*messages[:-1], {**messages[-1], "content": messages[-1]["content"] + END}]
        text = render_template(template, messages, add_generation_prompt=add_generation_prompt, **given)
        if add_generation_prompt:
            return Rendered(text)
        place = text.rfind(END.strip())
        if place < 0:
            raise UserError("chat.continue", _("The chat template leaves out the last message, so it cannot be continued."))
        return Rendered(text[:place] if text[place : place + len(END)] == END else text[:place].rstrip())

    def chat_template(self, chat_template: bool | str = False) -> str:
        """Return the template's text, for the results file."""
        return self.template or self.opened.chat_template

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Return (log-likelihood of the continuation, whether greedy decoding gives it) of each request."""
        made = [self.score_request(*request.args[:2]) for request in requests]
        values = zip(looked_up(self, made, requests), made, strict=True)
        return [(Likelihood.of(unnumber(value[0]), len(one.continuation)), bool(value[1])) for value, one in values]

    def score_request(self, context: str, continuation: str) -> Request:
        """Return the request for the likelihood of a continuation.

        Raises:
            UserError: If it has no tokens of its own.
        """
        if self.masked:
            return self._masked_request(context, continuation)
        if context:
            before, after = self._encode_pair(context, continuation)
        else:
            after = self.tok_encode(continuation, add_special_tokens=False)
            before = [self.prefix_token_id]
            if after and after[0] == self.prefix_token_id:
                before, after = after[:1], after[1:]
        if not after:
            raise self._no_tokens(continuation)
        return Request("score", tuple(before), tuple(after))

    def _masked_request(self, context: str, continuation: str) -> Request:
        whole = context + continuation
        plain, n_context = self.tok_encode(whole, False), len(self.tok_encode(context.rstrip(), False)) if context else 0
        if len(plain) <= n_context:
            raise self._no_tokens(continuation)
        return pseudo.request(plain, self.tok_encode(whole, True), n_context)

    def _no_tokens(self, continuation: str) -> UserError:
        return UserError(
            "task.continuation",
            _("The answer {text!r} has no tokens of its own, so it has no likelihood.").format(text=continuation[:80]),
            _("Correct the choices of the task."),
        )

    def _loglikelihood_tokens(self, requests: Any, **_settings: Any) -> list[tuple[float, bool]]:
        raise AssertionError("loglikelihood does not come here")

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Return the log-likelihood of each whole text, with its number of tokens."""
        if self.masked:
            return self._masked_texts(requests)
        made = [self.text_request(request.args[0]) for request in requests]
        for place, one in enumerate(made):
            if len(one.continuation) < 3 and not self.tok_encode(requests[place].args[0], False):  # no more than BOS and EOS
                raise UserError(
                    "task.text",
                    _("Text {row} of the task has no tokens.").format(row=place + 1),
                    _("Correct the data of the task."),
                    row=place + 1,
                )
        values = looked_up(self, made, requests)
        return [Likelihood.of(unnumber(value), len(request.continuation)) for value, request in zip(values, made, strict=True)]

    def text_request(self, text: str) -> Request:
        """Return the request for the likelihood of a whole text."""
        if self.masked:
            return self._masked_request("", text)
        ids = self.tok_encode(text, None if self.whole_text else False)
        return Request("rolling", (self.prefix_token_id,), tuple(ids))

    def _masked_texts(self, requests: Sequence[Any]) -> list[float]:
        made = [self._masked_request("", request.args[0]) for request in requests]
        values = looked_up(self, made, requests)
        return [Likelihood.of(unnumber(value[0]), len(one.continuation)) for value, one in zip(values, made, strict=True)]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Return the answer to each prompt; it knows how it ended.

        Raises:
            UserError: If the checkpoint is an encoder.
        """
        if self.masked:
            pseudo.refuse_generation(Path(self.opened.path).name)
        seen: Counter[tuple[Any, ...]] = Counter()
        made = []
        for request in requests:
            context, settings = request.args[:2]
            ids = tuple(self.tok_encode(context)) or (self.prefix_token_id,)
            how = decoding.settings_of(settings, self.generation)
            who = (request.task_name, request.doc_id, request.idx)
            made.append(self.answer_request(ids, how, seen[who]))
            seen[who] += 1
        return [Answer.of(value["text"], value["stop"]) for value in looked_up(self, made, requests)]

    def answer_request(self, ids: Sequence[int], how: tuple[tuple[str, Any], ...], repeat: int = 0) -> Request:
        """Return the request for an answer; sampled ones of different prompts draw from generators of their own."""
        if decoding.is_sure(how):
            return Request("generate", tuple(ids), (), how)
        return Request("generate", tuple(ids), (), how, seed_of(self.seed, ids), repeat)

    def answer(self, requests: Mapping[str, Request], n_batch: int) -> Work[int]:
        """Answer what is missing and keep it; returns how many answers were computed."""
        return (yield from answering.answer(self.opened, requests, self.store, n_batch))

    def facts(self, chat: bool) -> dict[str, Any]:
        """Return what the receipt says besides what every one says."""
        from models import half

        difference = half.found(self.opened)
        return {
            "half_precision": None if difference is None else asdict(difference),
            "chat_template_text": self.chat_template() if chat else "",
            "prompts_without_system": self.n_without_system,
            "generation_settings_not_followed": decoding.written(decoding.not_done(self.generation)),
        }

    def config(self) -> dict[str, Any]:
        """Return what a results file of lm-eval says of the model."""
        return {"model": "triptych", "model_dtype": self.opened.dtype, "device": self.opened.device}
