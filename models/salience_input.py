"""What a prediction is made from: the ids that come before it, their embeddings, and the logits that follow from either."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.errors import UserError
from models.next_token import mask_place
from models.opened import OpenModel
from models.prompts import Prepared
from models.records.tokens import Token
from models.running import forward_of
from models.trace import accepts, check_ids, check_length
from models.words import _


@dataclass(frozen=True)
class Given:
    """The input of one prediction.

    Args:
        opened: The model.
        ids: Ids before the prediction (of the source; with the mask in place for an encoder).
        target_ids: What the decoder of an encoder-decoder is given.
        tokens: Records of ``ids``; ``shown_target`` of ``target_ids``; ``target_tokens`` of the whole target.
        position: The predicted token, in the target of an encoder-decoder.
        row: Where in the logits it is predicted.
        actual: Id of the token that stands there, -1 if none does.
        free: (features,) int64: the tokens that are explained, counted over ids and then target_ids.
        said: In words.
    """

    opened: OpenModel
    ids: tuple[int, ...]
    target_ids: tuple[int, ...]
    tokens: tuple[Token, ...]
    shown_target: tuple[Token, ...]
    target_tokens: tuple[Token, ...]
    text: str
    target_text: str
    position: int
    row: int
    actual: int
    free: Any
    said: str

    def logits_of_ids(self) -> Any:
        """Return (1, vocab) float32 logits of the prediction as the model itself makes it."""
        import torch

        inputs = {"input_ids": torch.tensor([list(self.ids)], device=self.opened.device)}
        if self.target_ids:
            inputs["decoder_input_ids"] = torch.tensor([list(self.target_ids)], device=self.opened.device)
        with torch.no_grad():
            return self._run(inputs)

    def logits(self, whole: Any) -> Any:
        """Return (n, vocab) float32 logits from (n, ids + target_ids, width) embeddings."""
        inputs = {"inputs_embeds": whole[:, : len(self.ids)]}
        if self.target_ids:
            inputs["decoder_inputs_embeds"] = whole[:, len(self.ids) :]
        return self._run(inputs)

    def _run(self, inputs: Mapping[str, Any]) -> Any:
        model = self.opened.model
        options: dict[str, Any] = {"use_cache": False} if accepts(model, "use_cache") else {}
        last = self.row == len(self.target_ids or self.ids) - 1
        if last and accepts(model, "logits_to_keep"):
            options["logits_to_keep"] = 1
        with forward_of(self.opened):
            logits = model(**inputs, **options, return_dict=True).logits
        if self.opened.kind == "reward":
            return logits.float()
        return (logits[:, -1] if last else logits[:, self.row]).float()

    def check_embedded(self, by_embeddings: float, by_ids: float) -> None:
        """Raise ``UserError`` unless embeddings give what the ids give (some families feed ids elsewhere too)."""
        near = (1e-3 if self.opened.dtype == "float32" else 5e-2) * max(1.0, abs(by_ids))
        if not abs(by_embeddings - by_ids) <= near:
            raise UserError(
                "salience.embeddings",
                _("{name} does not compute the same from embeddings as from tokens, so tokens cannot be scored.").format(
                    name=self.opened.description.architecture
                ),
            )


def given(opened: OpenModel, prepared: Prepared, position: int) -> Given:
    """Return the input of the prediction at a position of a prepared text (-1: what comes next, or the mask).

    Raises:
        UserError: If there is no such position, nothing before it, or the model predicts nothing.
    """
    if opened.kind != "reward" and opened.model.get_output_embeddings() is None:
        raise UserError(
            "salience.head",
            _("{name} has no head that predicts tokens, so there is nothing to explain.").format(name=opened.name),
        )
    shown = prepared.shown
    if not -1 <= position <= len(shown):
        raise UserError(
            "salience.position",
            _("There is no token {n}; tokens are 0 to {last}.").format(n=position, last=len(shown) - 1),
        )
    make = {"encoder": _masked, "reward": _whole, "encoder-decoder": _target}.get(opened.kind, _prefix)
    check_ids(opened, [*prepared.ids, *prepared.target_ids])
    check_length(opened, max(len(prepared.ids), len(prepared.target_ids)))
    return make(opened, prepared, position)


def _masked(opened: OpenModel, prepared: Prepared, position: int) -> Given:
    mask = getattr(opened.tokenizer, "mask_token_id", None)
    if mask is None:
        raise UserError("encoder.mask", _("The tokenizer of {name} has no mask token.").format(name=opened.name))
    place = position if position >= 0 else mask_place(opened, prepared)
    if place >= len(prepared.ids):
        place = mask_place(opened, prepared)
    ids = list(prepared.ids)
    actual, ids[place] = ids[place], int(mask)
    said = _("the prediction at the masked token #{n}").format(n=place)
    free = _free(opened, prepared.tokens, (), skip=place)
    return Given(
        opened, tuple(ids), (), prepared.tokens, (), (), prepared.text, "", place, place,
        -1 if actual == mask else actual, free, said,
    )  # fmt: skip


def _whole(opened: OpenModel, prepared: Prepared, _position: int) -> Given:
    n = len(prepared.ids)
    free = _free(opened, prepared.tokens, ())
    return Given(
        opened, prepared.ids, (), prepared.tokens, (), (), prepared.text, "", n, n - 1, -1, free, _("the score of the text")
    )


def _prefix(opened: OpenModel, prepared: Prepared, position: int) -> Given:
    place, actual, said = _place(prepared.tokens, position)
    tokens = prepared.tokens[:place]
    free = _free(opened, tokens, ())
    return Given(opened, prepared.ids[:place], (), tokens, (), (), prepared.text, "", place, place - 1, actual, free, said)


def _target(opened: OpenModel, prepared: Prepared, position: int) -> Given:
    place, actual, said = _place(prepared.target_tokens, position)
    shown = prepared.target_tokens[:place]
    free = _free(opened, prepared.tokens, shown)
    return Given(
        opened, prepared.ids, prepared.target_ids[:place], prepared.tokens, shown, prepared.target_tokens, "",
        prepared.text, place, place - 1, actual, free, said,
    )  # fmt: skip


def _place(tokens: tuple[Token, ...], position: int) -> tuple[int, int, str]:
    """Return (place, id of the token there or -1, words)."""
    if position < 0 or position == len(tokens):
        return len(tokens), -1, _("the prediction of what comes next")
    if position == 0:
        raise UserError(
            "salience.first", _("Nothing comes before the first token, so nothing predicts it."), _("Choose a later one.")
        )
    return position, tokens[position].id, _("the prediction of token #{n}").format(n=position)


def _free(opened: OpenModel, tokens: tuple[Token, ...], target: tuple[Token, ...], skip: int = -1) -> Any:
    """Return the numbers of the tokens that are no special ones."""
    import torch

    numbers = [n for n, token in enumerate((*tokens, *target)) if not token.special and n != skip]
    if not numbers:
        raise UserError(
            "salience.nothing",
            _("Only special tokens come before this prediction: there is nothing to score."),
            _("Choose a later token, or type more text."),
        )
    return torch.tensor(numbers, device=opened.device)


def embedded(opened: OpenModel, there: Given, baseline: str) -> tuple[Any, Any, str]:
    """Return the embeddings of all tokens, the baseline for each, and the baseline's name.

    Returns:
        (tokens, width) in the model's dtype, (tokens, width), words.
    """
    import torch

    with torch.no_grad():
        parts, bases = [], []
        for ids, module in zip((there.ids, there.target_ids), _tables(opened), strict=True):
            if ids:
                rows = module(torch.tensor([list(ids)], device=opened.device))[0]
                base, name = _baseline(opened, module, baseline)
                parts.append(rows)
                bases.append(base.to(rows.dtype).expand_as(rows))
        return torch.cat(parts), torch.cat(bases), name


def _tables(opened: OpenModel) -> tuple[Any, Any]:
    """Return the embedding modules of ids and of target ids."""
    model = opened.model
    if opened.kind != "encoder-decoder":
        return model.get_input_embeddings(), None
    return model.get_encoder().get_input_embeddings(), model.get_decoder().get_input_embeddings()


def _baseline(opened: OpenModel, module: Any, name: str) -> tuple[Any, str]:
    import torch

    mask = getattr(opened.tokenizer, "mask_token_id", None)
    if name == "token" or (name == "auto" and mask is not None):
        names = ("mask_token_id", "unk_token_id", "pad_token_id", "eos_token_id")
        token = next((value for value in (getattr(opened.tokenizer, n, None) for n in names) if value is not None), None)
        if token is not None:
            said = opened.tokenizer.convert_ids_to_tokens([int(token)])[0]
            return module(torch.tensor([int(token)], device=opened.device))[0], str(said)
    if name == "zero":
        return torch.zeros_like(module.weight[0]), _("zeros")
    scale = float(getattr(module, "scalar_embed_scale", getattr(module, "embed_scale", 1.0)))
    return module.weight.float().mean(0) * scale, _("the mean embedding")
