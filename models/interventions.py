"""Forwards with some activations changed: zeroed, averaged, scaled, or patched from another forward.

Hooks change what a module is given or gives; they are removed in any case. The weights are never touched, so adapters
and quantised weights are as they are. Ablation and patching as in Meng et al. 2022 (causal tracing, arXiv 2202.05262)
and Wang et al. 2022 (arXiv 2211.00593); zero ablation of a head is that of Michel et al. 2019 (arXiv 1905.10650).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias

from models.anatomy import Site, anatomy_of
from models.errors import UserError
from models.opened import OpenModel
from models.records.interventions import HOW, Edit
from models.running import forward_of
from models.words import _

Plan: TypeAlias = Mapping[Edit, Any]
"""Edits in order, each with what it patches from (time, width); None where it does not patch."""


def capture(
    opened: OpenModel, ids: Sequence[int], target_ids: Sequence[int], names: Sequence[str],
    made: Callable[[Any], Any] | None = None, plan: Plan | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Run one forward and return name of a site → its activation (time, width), as the model computed it.

    Args:
        opened: The model.
        ids: Token ids of the text (of the source, for an encoder-decoder).
        target_ids: What the decoder of an encoder-decoder is given.
        names: Sites, by the names that ``anatomy.Site`` has.
        made: What is kept of each activation (batch, time, width) instead; its first row is returned.
        plan: What is changed in the forward.

    Raises:
        UserError: If the model has no such site, or the site did not run.
    """
    import torch

    from models.trace import accepts

    inputs: dict[str, Any] = {"input_ids": torch.tensor([list(ids)], device=opened.device)}
    if opened.kind == "encoder-decoder":
        inputs["decoder_input_ids"] = torch.tensor([list(target_ids)], device=opened.device)
    if accepts(opened.model, "use_cache"):
        inputs["use_cache"] = False
    if accepts(opened.model, "logits_to_keep"):
        inputs["logits_to_keep"] = 1
    with (
        torch.inference_mode(), intervened(opened.model, tuple(plan or ()), plan), reading(opened.model, names, made) as found,
        forward_of(opened),
    ):  # fmt: skip
        opened.model(**inputs)
    for name in names:
        if name not in found:
            raise UserError("interventions.silent", _("{name} took no part in the forward.").format(name=name))
    return {name: found[name][0] for name in names}


@contextmanager
def reading(model: Any, names: Sequence[str], made: Callable[[Any], Any] | None = None) -> Iterator[dict[str, Any]]:
    """While the block runs, keep the activations (batch, time, width) of these sites in the dictionary that is given.

    ``made`` is what is kept of each, such as a few of its rows or its norms; None keeps all of it.
    """
    anatomy = anatomy_of(model)
    found: dict[str, Any] = {}

    def keep(name: str) -> Callable[[Any], Any]:
        def kept(value: Any) -> Any:
            found[name] = value if made is None else made(value)
            return value

        return kept

    with ExitStack() as hooks:
        for name in names:
            hooks.enter_context(hooked(anatomy.site(name), keep(name), first=False))
        yield found


@contextmanager
def intervened(model: Any, edits: Sequence[Edit], sources: Mapping[Edit, Any] | None = None) -> Iterator[None]:
    """While the block runs, forwards of ``model`` are changed by these edits, in this order at each site.

    Args:
        model: The transformers model.
        edits: What is changed.
        sources: Edit that patches → the activation (time, width) of the forward that it is taken from (``capture``).

    Raises:
        UserError: If an edit names no site, head, neuron or position of this model, or a patch does not fit.
    """
    anatomy = anatomy_of(model)
    changes: dict[str, list[Callable[[Any], Any]]] = {}
    for edit in edits:
        site = anatomy.site(edit.site)
        check(edit, site)
        source = (sources or {}).get(edit)
        if edit.how == "patch" and source is None:
            raise UserError("interventions.source", _("Nothing is known of what {name} is patched from.").format(name=edit.site))
        changes.setdefault(site.name, []).append(_changer(edit, site, source))
    with ExitStack() as hooks:
        for name, these in changes.items():
            hooks.enter_context(hooked(anatomy.sites[name], _one_after_the_other(these)))
        yield


def _one_after_the_other(changes: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def change(value: Any) -> Any:
        for one in changes:
            value = one(value)
        return value

    return change


def check(edit: Edit, site: Site) -> None:
    """Raise ``UserError`` unless an edit can be made at its site."""
    if edit.how not in HOW:
        raise UserError(
            "interventions.how",
            _("There is no edit {how}.").format(how=repr(edit.how)),
            _("It is one of: {known}.").format(known=", ".join(HOW)),
        )
    if edit.unit >= 0 and site.units <= 1:
        raise UserError("interventions.units", _("{name} has no heads or neurons of its own.").format(name=site.name))
    if not -1 <= edit.unit < site.units:
        raise UserError(
            "interventions.unit",
            _("{name} has no head or neuron {unit}; they are 0 to {last}.").format(
                name=site.name, unit=edit.unit, last=site.units - 1
            ),
        )
    if edit.source_positions and len(edit.source_positions) != len(edit.positions):
        raise UserError("interventions.pairs", _("Each position that is patched needs one that it is patched from."))


@contextmanager
def hooked(site: Site, change: Callable[[Any], Any], first: bool = True) -> Iterator[None]:
    """While the block runs, the activation of a site, (batch, time, width), goes through ``change``.

    ``first``: before every other hook there is. Edits are, so that whoever reads (``reading``, transformers' own record
    of hidden states) sees what they made.
    """
    if site.place == "input":
        handle = site.module.register_forward_pre_hook(_before(change), with_kwargs=True, prepend=first)
    else:
        handle = site.module.register_forward_hook(_after(change), prepend=first)
    try:
        yield
    finally:
        handle.remove()


def _before(change: Callable[[Any], Any]) -> Callable[..., Any]:
    def hook(_module: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if arguments:
            return (_shaped(arguments[0], change), *arguments[1:]), keywords
        name = "hidden_states" if "hidden_states" in keywords else next(iter(keywords))
        return arguments, {**keywords, name: _shaped(keywords[name], change)}

    return hook


def _after(change: Callable[[Any], Any]) -> Callable[..., Any]:
    def hook(_module: Any, _arguments: tuple[Any, ...], output: Any) -> Any:
        if isinstance(output, tuple):
            return (_shaped(output[0], change), *output[1:])
        return _shaped(output, change)

    return hook


def _shaped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Apply ``change`` to a tensor of (batch, time, width), also where a module takes (batch * time, width)."""
    if value.ndim == 2:
        return change(value[None])[0]
    return change(value)


def _changer(edit: Edit, site: Site, source: Any) -> Callable[[Any], Any]:
    """Return the function that makes an edit of an activation (batch, time, width)."""

    def change(value: Any) -> Any:
        n_tokens, width = int(value.shape[1]), int(value.shape[2]) // site.units
        start, end = (edit.unit * width, (edit.unit + 1) * width) if edit.unit >= 0 else (0, int(value.shape[2]))
        places = places_of(edit.positions, n_tokens) or list(range(n_tokens))
        old = value[:, places, start:end]
        if edit.how == "zero":
            new = old * 0
        elif edit.how == "mean":
            new = value[:, :, start:end].mean(1, keepdim=True).expand_as(old)
        elif edit.how == "scale":
            new = old * edit.factor
        else:
            new = _taken(edit, source, places, n_tokens, int(value.shape[2]))[:, start:end].to(old)[None].expand_as(old)
        changed = value.clone()
        changed[:, places, start:end] = new
        return changed

    return change


def places_of(positions: Sequence[int], n_tokens: int) -> list[int]:
    """Return positions counted from the beginning.

    Raises:
        UserError: If the text has no such token.
    """
    for place in positions:
        if not -n_tokens <= place < n_tokens:
            raise UserError(
                "interventions.position",
                _("There is no token {n}; tokens are 0 to {last}.").format(n=place, last=n_tokens - 1),
            )
    return [place % n_tokens for place in positions]


def _taken(edit: Edit, source: Any, places: list[int], n_tokens: int, width: int) -> Any:
    """Return the rows (positions, width) that a patch takes."""
    if int(source.shape[1]) != width:
        raise UserError(
            "interventions.width",
            _("{name} has width {a} here and {b} there: it cannot be patched.").format(
                name=edit.site, a=width, b=int(source.shape[1])
            ),
        )
    n_there = int(source.shape[0])
    if not edit.positions and n_there != n_tokens:
        raise UserError(
            "interventions.lengths",
            _("The texts have {a} and {b} tokens, so not all positions can be patched.").format(a=n_tokens, b=n_there),
            _("Choose the token to patch."),
        )
    wanted = edit.source_positions or edit.positions
    return source[places_of(wanted, n_there) if wanted else places]
