"""What the Residual stream view shows, as a table, as Python and as flags of ``triptych inspect``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from models.lens_names import BETWEEN, CELLS
from models.records.arrays import Array
from models.records.attribution import Attribution, Neurons
from models.records.interventions import Effect
from models.records.lens import Lens, Norms
from models.words import _

if TYPE_CHECKING:
    from lab.ui.views.residual import ResidualView


def token_of(text: str, usual: int = -1) -> int | str:
    """Return what a field names: ``#42`` is an id, anything else a token's text; empty is ``usual``."""
    if text.startswith("#") and text[1:].isdigit():
        return int(text[1:])
    return text or usual


def rows_of(view: ResidualView) -> tuple[list[str], list[list[Any]]]:
    """Return header and one row for each cell that has been fetched."""
    header = [
        _("Column"), _("Layer"), _("Position"), _("Token"), _("Top token"), _("Probability"),
        _("Probability of the actual token"), _("Rank of the actual token"), _("Cross entropy (nats)"), _("Entropy (nats)"),
        _("KL to the final layer (nats)"),
    ]  # fmt: skip
    rows: list[list[Any]] = []
    for index in view.asked():
        for lens in view.blocks(index):
            values: list[Array] = [getattr(lens, name) for name in CELLS]
            rows += [_row(view.columns[index].name, lens, values, row, place)
                     for row in range(len(lens.rows)) for place in range(len(lens.tokens))]  # fmt: skip
    return header, rows


def _row(name: str, lens: Lens, values: list[Array], row: int, place: int) -> list[Any]:
    top = lens.pieces[int(lens.top[row, place, 0])]
    return [name, lens.rows[row], lens.start + place, lens.tokens[place], top, *(float(value[row, place]) for value in values)]


def tab_rows(view: ResidualView) -> tuple[list[str], list[list[Any]]]:
    """Return header and rows of what the open tab shows."""
    made: dict[str, tuple[list[str], Callable[[Any], Iterator[list[Any]]]]] = {
        "attribution": ([_("Part"), _("Contribution")], _share_rows),
        "effect": ([_("Token"), _("Before"), _("After"), _("Logit before"), _("Logit after")], _mover_rows),
        "neurons": ([_("Neuron"), _("Activation"), _("Contribution"), _("Promotes")], _neuron_rows),
        "norms": ([_("Position"), _("Layer"), _("Residual"), _("Attention"), _("MLP")], _norm_rows),
    }
    tab = "norms" if view.is_bare() else view.tab
    header, rows = made[tab]
    found = [(view.columns[index].name, view.answer(index, tab)) for index in view.asked()]
    return [_("Column"), *header], [[name, *row] for name, value in found if value is not None for row in rows(value)]


def _share_rows(found: Attribution) -> Iterator[list[Any]]:
    yield from ([name, value] for name, value in found.ranked())


def _mover_rows(found: Effect) -> Iterator[list[Any]]:
    for i, text in enumerate(found.texts):
        yield [text, *(float(v[i]) for v in (found.before, found.after, found.logits_before, found.logits_after))]


def _neuron_rows(found: Neurons) -> Iterator[list[Any]]:
    for i, neuron in enumerate(found.neurons):
        yield [int(neuron), float(found.activation[i]), float(found.contribution[i]), " ".join(found.promoted[i])]


def _norm_rows(found: Norms) -> Iterator[list[Any]]:
    for place in range(len(found.tokens)):
        for layer in range(len(found.residual)):
            parts = [float(part[layer, place]) if layer < len(part) else None for part in (found.attention, found.mlp)]
            yield [found.start + place, layer, float(found.residual[layer, place]), *parts]


def _target(view: ResidualView) -> tuple[int | str, int | str, int]:
    """Return the token whose logit is taken apart, the one that is subtracted, and the position."""
    return token_of(view.token.text(), view.picked), token_of(view.against.text()), view.position


def python_of(view: ResidualView) -> str:
    """Return lines for the body of a loop over ``name, checkpoint``."""
    edits = view.history.saved()
    given = f", edits={edits!r}" if edits else ""
    if view.is_bare():
        return f"    stream = {_stream(view)}\n    print(name, stream.norms(TEXT{given}).residual.round(3))\n"
    lines = [
        f"stream = {_stream(view)}", f"lens = stream.lens(TEXT{given})", "print(name, lens.note)",
        "for row in reversed(range(len(lens.rows))):",
        '    print(f"  {lens.rows[row]:6}", [lens.words(row, place)[0][0] for place in range(len(lens.tokens))])',
    ]  # fmt: skip
    statistic, pair = view.shown_statistic(), view.difference.pair()
    if pair and statistic in ("top", *BETWEEN):
        field = "js" if statistic == "top" else statistic
        lines.append(f"print(stream.difference({view.columns[pair[0]].checkpoint!r}, TEXT{given}).{field}.round(4))")
    elif statistic == "norm":
        lines.append(f"print(stream.norms(TEXT{given}).residual.round(3))")
    elif statistic != "top":
        lines.append(f"print(lens.{statistic}.round(4))")
    return "".join(f"    {line}\n" for line in [*lines, *_tab_lines(view, given, edits)])


def _stream(view: ResidualView) -> str:
    """Return the residual stream of a checkpoint, prompted as its column is."""
    systems = {column.system for column in view.columns if column.prompt == "template"}
    if not systems:
        return "checkpoint.residual"
    chat = f"checkpoint.residual.chat({min(systems)!r})" if systems != {""} else "checkpoint.residual.chat()"
    if all(column.prompt == "template" for column in view.columns):
        return chat
    ends = tuple(column.name for column in view.columns if column.prompt == "template")
    return f"{chat} if name.endswith({ends!r}) else checkpoint.residual"


def _tab_lines(view: ResidualView, given: str, edits: str) -> list[str]:
    token, against, position = _target(view)
    target = f"{token!r}, {against!r}, {position!r}"
    if view.tab == "attribution":
        return [
            f"share = stream.attribution(TEXT, {target}{given})",
            'print(name, share.what, f"{share.logit:.4f} = {share.total:.4f}", share.ranked()[:10])',
        ]
    if view.tab == "effect" and edits:
        return [
            f"effect = stream.effect(TEXT, {edits!r}, {position!r})",
            "print(name, effect.kl.round(4), list(zip(effect.texts, effect.before, effect.after))[:10])",
        ]
    if view.tab == "neurons":
        return [
            f"found = stream.neurons(TEXT, {view.layer}, {target}{given})",
            "print(name, list(zip(found.neurons.tolist(), found.contribution.tolist(), found.promoted))[:10])",
        ]
    if view.tab == "norms":
        return [f"norms = stream.norms(TEXT{given})", "print(name, norms.residual.round(2))"]
    return []


def command_of(view: ResidualView) -> tuple[str, ...]:
    """Return flags of ``triptych inspect``."""
    statistic, pair = view.shown_statistic(), view.difference.pair()
    flags = ["--lens", statistic]
    if pair and statistic in ("top", *BETWEEN):
        flags = ["--lens", "js" if statistic == "top" else statistic, "--against", view.columns[pair[0]].checkpoint]
    token, against, position = _target(view)
    if view.tab == "attribution" and not view.is_bare():
        minus = f"-{_written(against)}" if against != -1 else ""
        flags += ["--attribution", f"{_written(token)}{minus}"]
    if view.history.edits:
        flags += ["--edits", view.history.saved(), *(["--effect"] if view.tab == "effect" else [])]
    return (*flags, "--position", str(position))


def _written(token: int | str) -> str:
    if token == -1:
        return "top"
    return f"#{token}" if isinstance(token, int) else token
