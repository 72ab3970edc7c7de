"""Our model class behind lm-eval: it answers requests from the store, and says which are missing.

lm-eval builds its requests and asks ``loglikelihood``, ``loglikelihood_rolling`` or ``generate_until`` for all of them at
once. Each request is looked up under its response key. If all are known the answers go back; if not, ``Missing`` is raised
with the requests: whoever drives (``evals.grid``) answers them with events and calls lm-eval again. So going on after a
crash is not a special case, it is the only way this works.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lm_eval.api.model import TemplateLM

from evals.benchmark import Answer, Likelihood
from evals.identity import digest
from evals.identity import identity as identity
from evals.shards import Others
from evals.store import Identity, Request, ResponseStore, response_key, unnumber
from models.errors import UserError
from models.opened import OpenModel
from models.words import _


class Missing(Exception):
    """Some requests have no stored answer: their keys and the requests, in lm-eval's order (known ones included)."""

    def __init__(self, requests: Mapping[str, Request]) -> None:
        super().__init__(f"{len(requests)} requests")
        self.requests = requests


class Rendered(str):
    """A prompt that a chat template made: special tokens in it are meant.

    Where a message held the text of a special token, ``ids`` are the tokens, with that text encoded as text.
    """

    ids: tuple[int, ...] = ()


class CheckpointLM(TemplateLM):  # type: ignore[misc]
    """An open checkpoint as lm-eval sees it."""

    def __init__(self, opened: OpenModel, who: Identity, store: ResponseStore | Others, seed: int = 0) -> None:
        """Answer for an open checkpoint from a store.

        Raises:
            UserError: If the checkpoint cannot write or score text, or has no tokenizer.
        """
        super().__init__()
        if opened.kind not in ("decoder", "encoder-decoder") or opened.tokenizer is None:
            why = opened.loaded.unavailable.get("generate") or _("it is no language model that writes")
            raise UserError(
                "eval.kind",
                _("{name} cannot be evaluated: {why}.").format(name=Path(opened.path).name, why=why.rstrip(".")),
                _("Choose a decoder or an encoder-decoder."),
                path=opened.path,
            )
        self.opened = opened
        self.who = who
        self.store = store
        self.seed = seed
        self.tokenizer = opened.tokenizer
        self.backend = "seq2seq" if opened.kind == "encoder-decoder" else "causal"
        self.keys: list[str] = []
        """Response keys of everything asked, in order: what a score rests on."""
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
        """Encode both together, then split; the marks of a rendered prompt survive."""
        if self.backend != "causal" or not isinstance(context, Rendered):
            pair: tuple[list[int], list[int]] = super()._encode_pair(context, continuation)
            return pair
        if context.ids:
            return list(context.ids), self.tok_encode(continuation, add_special_tokens=False)
        whole = self.tok_encode(Rendered(context + continuation))
        n_context = len(self.tok_encode(context))
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
        from models.safety import render_template

        self._special = self._special or prompts.special_names(self.tokenizer)
        if add_generation_prompt and any(name in message["content"] for message in messages for name in self._special):
            prepared = prompts.render(self.opened, messages)
            found = Rendered(prepared.text)
            found.ids = prepared.ids
            return found
        names = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token")
        tokens = {name: getattr(self.tokenizer, name, None) for name in names}
        given = {name: token for name, token in tokens.items() if isinstance(token, str)}
        template = prompts.chat_template(self.opened)
        return Rendered(render_template(template, messages, add_generation_prompt=add_generation_prompt, **given))

    def chat_template(self, chat_template: bool | str = False) -> str:
        """Return the template's text, for the results file."""
        return self.opened.chat_template

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Return (log-likelihood of the continuation, whether greedy decoding gives it) of each request."""
        made = [self._score_request(*request.args[:2]) for request in requests]
        return [(unnumber(value[0]), bool(value[1])) for value in self._answers(made)]

    def _score_request(self, context: str, continuation: str) -> Request:
        if context:
            before, after = self._encode_pair(context, continuation)
        else:
            after = self.tok_encode(continuation, add_special_tokens=False)
            before = [self.prefix_token_id]
            if after and after[0] == self.prefix_token_id:
                before, after = after[:1], after[1:]
        if not after:
            raise UserError(
                "task.continuation",
                _("The answer {text!r} has no tokens of its own, so it has no likelihood.").format(text=continuation[:80]),
                _("Correct the choices of the task."),
            )
        return Request("score", tuple(before), tuple(after))

    def _loglikelihood_tokens(self, requests: Any, **_settings: Any) -> list[tuple[float, bool]]:
        raise AssertionError("loglikelihood does not come here")

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Return the log-likelihood of each whole text, with its number of tokens."""
        prefix = (self.prefix_token_id,)
        made = [
            Request("rolling", prefix, tuple(self.tok_encode(request.args[0], add_special_tokens=False))) for request in requests
        ]
        for place, one in enumerate(made):
            if not one.continuation:
                raise UserError(
                    "task.text",
                    _("Text {row} of the task has no tokens.").format(row=place + 1),
                    _("Correct the data of the task."),
                    row=place + 1,
                )
        values = self._answers(made)
        return [Likelihood.of(unnumber(value), len(request.continuation)) for value, request in zip(values, made, strict=True)]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Return the answer to each prompt; it knows how it ended."""
        seen: Counter[tuple[Any, ...]] = Counter()
        made = []
        for request in requests:
            context, settings = request.args[:2]
            ids = tuple(self.tok_encode(context)) or (self.prefix_token_id,)
            who = (request.task_name, request.doc_id, request.idx)
            made.append(Request("generate", ids, (), decoding(settings), self.seed, seen[who]))
            seen[who] += 1
        return [Answer.of(value["text"], value["stop"]) for value in self._answers(made)]

    def _answers(self, made: Sequence[Request]) -> list[Any]:
        keys = [response_key(self.who, request) for request in made]
        self.keys += keys
        if any(key not in self.store for key in keys):
            raise Missing(dict(zip(keys, made, strict=True)))
        return [self.store[key] for key in keys]


def decoding(settings: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Return lm-eval's generation settings in our terms, sorted, greedy unless they ask for sampling.

    Raises:
        UserError: For a temperature below 0 or a limit below 1.
    """
    until = settings.get("until") or []
    stops = [until] if isinstance(until, str) else list(until)
    longest = next((settings[key] for key in ("max_gen_toks", "max_new_tokens", "max_tokens") if key in settings), 256)
    temperature = float(settings.get("temperature") or 0.0)
    if settings.get("do_sample") and "temperature" not in settings:
        temperature = 1.0
    if settings.get("do_sample") is False:
        temperature = 0.0
    if temperature < 0 or int(longest) < 1:
        raise UserError(
            "task.decoding",
            _("Generation settings with temperature {t} and at most {n} tokens make no sense.").format(t=temperature, n=longest),
            _("Correct generation_kwargs of the task."),
        )
    return tuple(
        sorted(
            {
                "max_new_tokens": int(longest),
                "temperature": temperature,
                "top_k": int(settings.get("top_k") or 0),
                "top_p": float(settings.get("top_p") or 1.0),
                "until": tuple(str(stop) for stop in stops if stop),
            }.items()
        )
    )
