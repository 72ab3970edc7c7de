"""What is said of each step of "Inside one step": its title, its formula, one or two sentences, and names of its arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from models.records.inside import InsideStep
from models.words import _


class Words(NamedTuple):
    """What is said of a step."""

    title: str
    formula: str
    sentence: str


def words(step: InsideStep) -> Words:
    """Return what is said of a step, with its own facts."""
    crossing = step.name.startswith("cross.")
    name = step.name.removeprefix("cross.")
    if name.endswith(("add.after", "add.norm")):
        found = _norm_of_sum(step.facts, after=name.endswith("after"))
    else:
        found = SAID.get(name, _unknown)(step.facts)
    if not crossing:
        return found
    sentence = found.sentence
    if name == "qkv":
        sentence = _("The query comes from the decoder; keys and values from the encoder's last vectors.") + " " + sentence
    return Words(_("Cross attention: {step}").format(step=found.title), found.formula, sentence)


def _unknown(_facts: Mapping[str, Any]) -> Words:
    return Words(_("Step of the model"), "", "")


def _tokens(facts: Mapping[str, Any]) -> Words:
    return Words(
        _("Tokens"), "text → t₁ … tₙ",
        _("The text is cut into {n} pieces of a fixed vocabulary. To the model each piece is only a number.").format(
            n=facts.get("n", 0)
        ),
    )  # fmt: skip


def _embed(facts: Mapping[str, Any]) -> Words:
    text = _("Each number picks one row of a learned table of {rows} × {width}: all that is known of a token by itself.")
    return Words(_("Embedding"), "xᵢ = E[tᵢ]", text.format(rows=facts.get("vocabulary", "?"), width=facts.get("width", "?")))


def _position(facts: Mapping[str, Any]) -> Words:
    kind = str(facts.get("positions", "none"))
    formula, sentence = {
        "learned": ("xᵢ ← xᵢ + pᵢ", _("A learned row for each place is added: attention by itself does not know the order.")),
        "sinusoidal": (
            "xᵢ ← xᵢ + (sin ωₘi, cos ωₘi)",
            _("Sines and cosines of the place are added: attention by itself does not know the order."),
        ),
        "rotary": ("", _("Nothing is added here: the place comes in later, as a rotation of queries and keys.")),
        "relative": ("", _("Nothing is added here: the distance of two tokens comes in later, as a bias on their score.")),
    }.get(kind, ("", _("This model adds no positions to its embeddings.")))  # fmt: skip
    if "scale" in facts:
        formula = f"xᵢ ← {float(facts['scale']):.4g} · xᵢ   {formula}"
        sentence += " " + _("The embedding is first multiplied by a constant.")
    return Words(_("Position"), formula, sentence)


def _norm_formula(facts: Mapping[str, Any]) -> str:
    if facts.get("norm") == "layer":
        return "n = (x − mean(x)) / √(var(x) + ε) · γ + β"
    return "n = x / √(mean(x²) + ε) · γ"


def _norm_numbers(facts: Mapping[str, Any]) -> str:
    if facts.get("norm") == "layer" and "mean" in facts:
        return _("Before it the row had mean {mean} and spread {std}.").format(
            mean=f"{float(facts['mean']):.3f}", std=f"{float(facts['std']):.3f}"
        )
    if "rms" in facts:
        return _("Before it the row had a root mean square of {rms}.").format(rms=f"{float(facts['rms']):.3f}")
    return ""


def _normed(title: str, sentence: str) -> Callable[[Mapping[str, Any]], Words]:
    def said(facts: Mapping[str, Any]) -> Words:
        return Words(_(title), _norm_formula(facts), f"{_(sentence)} {_norm_numbers(facts)}".strip())

    return said


def _norm_of_sum(facts: Mapping[str, Any], after: bool) -> Words:
    title, said = _("Norm of what was written"), _("What was written is normed before it is added.")
    if after:
        title, said = _("Norm after adding"), _("In this model the stream itself is normed after each addition.")
    return Words(title, _norm_formula(facts), f"{said} {_norm_numbers(facts)}".strip())


def _stream(facts: Mapping[str, Any]) -> Words:
    text = _(
        "This row per token is carried from layer to layer; every part reads it and adds something to it. "
        "Its length here is {size}."
    )
    title = _("Residual stream before layer {n}").format(n=facts.get("layer", 0))
    return Words(title, "x", text.format(size=f"{float(facts.get('size', 0)):.2f}"))


def _qkv(facts: Mapping[str, Any]) -> Words:
    said = [_("Each token asks with its query, offers its key and hands over its value: {n} numbers each for this head.").format(
        n=facts.get("head_width", "?"))]  # fmt: skip
    if int(facts.get("shared", 1)) > 1:
        said.append(_("{n} heads share these keys and values.").format(n=facts["shared"]))
    if facts.get("normed"):
        said.append(_("Queries and keys are normed."))
    return Words(_("Query, key, value"), "q = n W_Q    k = n W_K    v = n W_V", " ".join(said))


def _rotate(facts: Mapping[str, Any]) -> Words:
    text = _(
        "Pairs of numbers are turned by an angle that grows with the place i (here {i}), "
        "so that a score depends on the distance of two tokens."
    )
    formula = "(qₐ, q_b) ← (qₐ cos iθ − q_b sin iθ,  qₐ sin iθ + q_b cos iθ)"
    return Words(_("Rotation by place"), formula, text.format(i=facts.get("position", 0)))


def _scores(facts: Mapping[str, Any]) -> Words:
    scaling = float(facts.get("scaling", 1))
    return Words(_("Scores"), f"sᵢⱼ = qᵢ · kⱼ × {scaling:.4g}" + ("   (1/√d)" if scaling < 1 else ""),
                 _("How well the query of a row fits the key of a column."))  # fmt: skip


def _cap(facts: Mapping[str, Any]) -> Words:
    return Words(_("Soft cap"), f"s ← c · tanh(s / c)   c = {float(facts.get('cap', 0)):g}", _("Scores are kept within bounds."))


def _bias(_facts: Mapping[str, Any]) -> Words:
    text = _("A learned number for the distance of the two tokens is added: this is how the order comes in.")
    return Words(_("Position bias"), "sᵢⱼ ← sᵢⱼ + b(i − j)", text)


def _mask(facts: Mapping[str, Any]) -> Words:
    if not facts.get("hidden"):
        return Words(_("Mask"), "", _("Nothing is hidden: every token sees all the others."))
    if facts.get("causal"):
        return Words(_("Mask"), "sᵢⱼ ← −∞   (j > i)", _("A token must not see what follows it: it is what has to be predicted."))
    return Words(_("Mask"), "sᵢⱼ ← −∞", _("Some places are hidden."))


def _softmax(facts: Mapping[str, Any]) -> Words:
    said = _("Scores become shares that sum to 1 in each row: where this token looks.")
    if facts.get("sink"):
        said += " " + _("A learned sink takes a part of each row and is dropped.")
    return Words(_("Attention weights"), "aᵢⱼ = exp(sᵢⱼ) / Σₘ exp(sᵢₘ)", said)


def _mix(_facts: Mapping[str, Any]) -> Words:
    return Words(_("Weighted sum"), "zᵢ = Σⱼ aᵢⱼ vⱼ", _("The values are averaged with these shares: what the head has read."))


def _output(_facts: Mapping[str, Any]) -> Words:
    text = _(
        "What all heads have read is put side by side and mapped back to the width of the stream; "
        "one row is what this head alone writes."
    )
    return Words(_("Output projection"), "oᵢ = [z¹ᵢ … zᴴᵢ] W_O", text)


def _share(facts: Mapping[str, Any]) -> str:
    return f"{100 * float(facts.get('share', 0)):.0f} %"


def _add(facts: Mapping[str, Any]) -> Words:
    text = _("What attention wrote is added; its length is {share} of the stream's.")
    return Words(_("Add to the stream"), "x ← x + o", text.format(share=_share(facts)))


def _mlp_add(facts: Mapping[str, Any]) -> Words:
    text = _("What the MLP wrote is added; its length is {share} of the stream's.")
    return Words(_("Add to the stream"), "x ← x + m", text.format(share=_share(facts)))


def _mlp_up(facts: Mapping[str, Any]) -> Words:
    formula, text = "u = n W_up", _("Each token by itself is mapped to {n} neurons.")
    if facts.get("gated"):
        formula = "g = n W_gate    u = n W_up"
        text = _("Each token by itself is mapped to {n} neurons; a second map of the same size will gate them.")
    return Words(_("MLP: into the neurons"), formula, text.format(n=facts.get("neurons", "?")))


def _activation(facts: Mapping[str, Any]) -> Words:
    name = str(facts.get("activation") or "act")
    text = _("The only bend in this part: {on} of this token's neurons are above zero. The largest are listed.")
    formula = f"h = {name}(g) ⊙ u" if facts.get("gated") else f"h = {name}(u)"
    return Words(_("MLP: activation"), formula, text.format(on=f"{100 * float(facts.get('on', 0)):.0f} %"))


def _mlp_down(facts: Mapping[str, Any]) -> Words:
    text = _("Each of the {n} neurons writes its own direction, as strongly as it is on.")
    return Words(_("MLP: out of the neurons"), "m = h W_down", text.format(n=facts.get("neurons", "?")))


def _layers(facts: Mapping[str, Any]) -> Words:
    text = _("The stream of this token before each of the {n} layers: the same steps happen in every one.")
    return Words(_("All layers"), "x⁰ → x¹ → … → xᴸ", text.format(n=facts.get("layers", "?")))


def _to_decoder(_facts: Mapping[str, Any]) -> Words:
    return Words(_("To the decoder"), "", _("These vectors are what the cross attention of every decoder layer reads."))


def _no_head(facts: Mapping[str, Any]) -> Words:
    if facts.get("kind") == "reward":
        return Words(_("The end"), "r = xₙ · w", _("A reward model maps the last token's vector to one number, its score."))
    return Words(_("The end"), "", _("This checkpoint has no head that predicts tokens: these vectors are its result."))


def _rescale(facts: Mapping[str, Any]) -> Words:
    text = _("The vector is multiplied by a constant before it meets the vocabulary.")
    return Words(_("Rescaling"), f"x ← {float(facts.get('scale', 1)):.4g} · x", text)


def _transform(_facts: Mapping[str, Any]) -> Words:
    text = _("The head of a masked-language model first maps the vector once more.")
    return Words(_("Head transform"), "x ← norm(act(x W + b))", text)


def _unembed(facts: Mapping[str, Any]) -> Words:
    text = _(
        "Each of the {n} tokens of the vocabulary has a row; its product with the vector is the token's logit. "
        "The largest are listed."
    )
    formula = "ℓ = x W_U"
    if "cap" in facts:
        formula += f"    ℓ ← c · tanh(ℓ / c)   c = {float(facts['cap']):g}"
    return Words(_("Unembedding"), formula, text.format(n=facts.get("vocabulary", "?")))


def _predict(facts: Mapping[str, Any]) -> Words:
    text = _("Logits become probabilities that sum to 1; those listed have {top} of them. Entropy {h} nats.")
    return Words(_("Prediction"), "p = softmax(ℓ)", text.format(
        top=f"{100 * float(facts.get('top', 0)):.1f} %", h=f"{float(facts.get('entropy', 0)):.3f}"))  # fmt: skip


def N_(text: str) -> str:
    """Mark a text for the catalogue."""
    return text


SAID: dict[str, Callable[[Mapping[str, Any]], Words]] = {
    "tokens": _tokens, "embed": _embed, "position": _position, "stream": _stream, "qkv": _qkv, "rotate": _rotate,
    "scores": _scores, "cap": _cap, "bias": _bias, "mask": _mask, "softmax": _softmax, "mix": _mix, "output": _output,
    "add": _add, "mlp.up": _mlp_up, "mlp.activation": _activation, "mlp.down": _mlp_down, "mlp.add": _mlp_add,
    "layers": _layers, "to_decoder": _to_decoder, "no_head": _no_head, "rescale": _rescale, "transform": _transform,
    "unembed": _unembed, "predict": _predict,
    "embed_norm": _normed(
        N_("Norm of the embeddings"), N_("The sum is brought to a common size before the first layer."),
    ),
    "norm": _normed(
        N_("Norm before attention"), N_("Attention reads the stream brought to a common size; the stream itself stays."),
    ),
    "mlp.norm": _normed(
        N_("Norm before the MLP"), N_("The MLP reads the stream brought to a common size; the stream itself stays."),
    ),
    "final_norm": _normed(N_("Final norm"), N_("After the last layer the stream is brought to a common size once more.")),
}  # fmt: skip


def part_name(name: str) -> str:
    """Return what an array is called."""
    return {
        "id": _("token ids"), "embedding": _("embedding"), "position": _("position"), "segment": _("segment and others"),
        "sum": _("sum"), "normed": _("normed n"), "stream": _("residual stream x"), "query": _("query q"), "key": _("key k"),
        "value": _("value v"), "angle": _("angle of each pair, in radians"),
        "rotated query": _("rotated query"), "rotated key": _("rotated key"), "scores": _("scores s"),
        "capped": _("capped scores"), "bias": _("bias b"), "scores with bias": _("scores with bias"), "mask": _("mask"),
        "masked scores": _("masked scores"), "weights": _("attention weights a"), "z": _("weighted sum z"),
        "z of all heads": _("z of all heads, this token"), "written by this head": _("written by this head"),
        "attention output": _("attention output o"), "gate": _("gate, before the activation"), "up": _("up u"),
        "neurons": _("neurons h"), "largest": _("largest neurons of this token"), "mlp output": _("MLP output m"),
        "layers": _("stream of this token, layer by layer"), "size": _("length of the stream"), "memory": _("encoder output"),
        "final": _("last vectors"), "scaled": _("rescaled"), "transformed": _("transformed"), "logits": _("largest logits ℓ"),
        "probabilities": _("most probable p"),
    }.get(name, name)  # fmt: skip


SHARES = ("weights", "probabilities")
"""Arrays of values between 0 and 1."""
PLAIN = ("id",)
"""Arrays without colours."""
