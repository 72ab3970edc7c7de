"""The search for the parts of a loaded transformer: by structure first, by name where structure leaves a choice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from models.anatomy import Anatomy, Attention, Layer, Mlp, Site, Stack
from models.anatomy_norms import placed
from models.capture import heads_of, kind_of
from models.words import _

_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)
_MLP = re.compile(r"^(mlp|ffn|feed_forward|feedforward|densereludense|block_sparse_moe|moe|shared_mlp)$", re.IGNORECASE)
_MIXER = re.compile(r"(^|\.)(mixer|mamba|ssm|conv)\.", re.IGNORECASE)
"""State-space layers (Mamba) are neither attention nor MLP."""
_OUTPUT = ("o_proj", "out_proj", "c_proj", "dense", "o", "wo", "out_lin", "proj", "fc_out")
_DOWN = ("down_proj", "dense_4h_to_h", "c_proj", "fc2", "fc_out", "wo", "w2", "lin2", "output.dense", "proj_out", "out_proj")
_QUERY, _KEY, _VALUE = ("q_proj", "query", "q", "q_lin"), ("k_proj", "key", "k", "k_lin"), ("v_proj", "value", "v", "v_lin")
_FUSED = ("c_attn", "query_key_value", "qkv_proj", "Wqkv", "W_pack", "in_proj", "attn_qkv")
_WIDTHS = ("head_dim", "attention_head_size", "key_value_proj_dim", "v_head_dim")


def width_of(config: Any) -> int:
    """Return the width of the residual stream; 0 if the configuration does not say."""
    for name in ("hidden_size", "d_model", "n_embd", "dim"):
        value = getattr(config, name, None)
        if isinstance(value, int):
            return value
    return 0


def find(model: Any) -> Anatomy:
    """Return the parts of a loaded transformers model, with a reason for each that was not found."""
    config = getattr(model.config, "text_config", None) or model.config
    missing: dict[str, str] = {}
    stacks: dict[str, Stack] = {}
    for kind, module, path in _stack_modules(model):
        stack = _stack(kind, module, path, config, missing)
        if stack is not None:
            stacks[kind] = stack
    if not stacks:
        missing.setdefault("layers", _("No list of layers was found in this architecture."))
    if stacks:
        stacks = placed(model, stacks, _readers(stacks))
    sites = {site.name: site for stack in stacks.values() for site in _sites(stack)}
    head = model.get_output_embeddings()
    if head is None:
        missing["unembed"] = _("This checkpoint has no head that predicts tokens.")
    return Anatomy(stacks, head, sites, missing)


def _stack_modules(model: Any) -> Iterator[tuple[str, Any, str]]:
    """Yield kind, module and path of each stack of layers."""
    paths = {id(module): name for name, module in model.named_modules()}
    if getattr(model.config, "is_encoder_decoder", False):
        for kind in ("encoder", "decoder"):
            module = getattr(model.base_model, kind, None) or getattr(model, kind, None)
            if module is not None:
                yield kind, module, paths[id(module)]
        return
    yield "self", model.base_model, paths[id(model.base_model)]


def _readers(stacks: dict[str, Stack]) -> dict[int, list[Any]]:
    """Return identity of each attention and each layer → the linear maps that read in it (a layer's: outside attentions)."""
    found: dict[int, list[Any]] = {}
    for layer in (layer for stack in stacks.values() for layer in stack.layers):
        inner = [part for _path, part in attention_modules(layer.module)]
        found[id(layer.module)] = [part for _path, part in linears(layer.module, frozenset(id(part) for part in inner))]
        for part in inner:
            found[id(part)] = [linear for _path, linear in linears(part)]
    return found


def _join(*names: str) -> str:
    return ".".join(name for name in names if name)


def _stack(kind: str, root: Any, root_path: str, config: Any, missing: dict[str, str]) -> Stack | None:
    n_layers = _n_layers(config, kind)
    lists = [
        (name, module) for name, module in root.named_modules()
        if type(module).__name__ == "ModuleList" and len(module) and any(True for _ in module[0].children())
    ]  # fmt: skip
    lists.sort(key=lambda item: item[0].count("."))
    fitting = [item for item in lists if len(item[1]) == n_layers] if n_layers else lists
    if not fitting:
        if lists:
            missing["layers"] = _("Layers of this architecture share their weights, so one cannot be told from another.")
        return None
    name, members = fitting[0]
    owner = root.get_submodule(name.rpartition(".")[0])
    prefix = "blocks" if kind == "self" else kind
    layers = tuple(
        _layer(f"{prefix}.{i}", _join(root_path, name, str(i)), i, module, config, missing)
        for i, module in enumerate(members)
    )
    positions, position_kind = _positions(root)
    return Stack(
        kind, owner, layers, _embedding(root), _norm_named(root, name, before=True), positions, position_kind,
        _norm_named(owner, "", before=False),
    )  # fmt: skip


def _n_layers(config: Any, kind: str) -> int:
    names: tuple[str, ...] = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
    if kind != "self":
        names = (f"{kind}_layers", f"num_{kind}_layers", *names)
    for name in names:
        value = getattr(config, name, None)
        if isinstance(value, int):
            return value
    return 0


def _embedding(root: Any) -> Any:
    ask = getattr(root, "get_input_embeddings", None)
    return ask() if ask is not None else None


def is_norm(module: Any) -> bool:
    """Return whether a module is a norm (by its class's name: every family has its own)."""
    return "norm" in type(module).__name__.lower() and not any(True for _ in module.children())


def _norm_named(root: Any, layers: str, before: bool) -> Any:
    """Return the norm on the embeddings (anywhere outside the layers), or the final one (a child of the layers' owner)."""
    for name, module in root.named_modules() if before else root.named_children():
        embedding = "emb" in name.lower()
        if is_norm(module) and embedding == before and not (layers and name.startswith(layers + ".")):
            return module
    return None


def _positions(root: Any) -> tuple[Any, str]:
    """Return the table of learned positions, and the kind of positions that the modules show."""
    kind = "none"
    for name, module in root.named_modules():
        last = name.rsplit(".", 1)[-1].lower()
        if "rotary" in last:
            kind = "rotary"
        elif "relative_attention_bias" in last or "rel_pos" in last:
            kind = "relative"
        elif (last == "wpe" or "pos" in last) and getattr(getattr(module, "weight", None), "ndim", 0) == 2:
            return module, "sinusoidal" if "sinus" in type(module).__name__.lower() else "learned"
    return None, kind


def features(module: Any) -> tuple[int, int]:
    """Return (inputs, outputs) of a linear map, quantised or with an adapter too; (0, 0) if it is none."""
    inputs, outputs = getattr(module, "in_features", None), getattr(module, "out_features", None)
    if isinstance(inputs, int) and isinstance(outputs, int):
        return inputs, outputs
    if type(module).__name__ == "Conv1D" and getattr(module.weight, "ndim", 0) == 2:
        return int(module.weight.shape[0]), int(module.weight.shape[1])
    return 0, 0


def linears(root: Any, skip: frozenset[int] = frozenset(), prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield path and module of the linear maps inside ``root``, none inside another (an adapter wraps one)."""
    for name, child in root.named_children():
        path = _join(prefix, name)
        if id(child) in skip:
            continue
        if features(child)[0]:
            yield path, child
        else:
            yield from linears(child, skip, path)


def _called(path: str, names: tuple[str, ...]) -> bool:
    return any(path == name or path.endswith("." + name) for name in names)


def _layer(
    name: str, path: str, index: int, module: Any, config: Any, missing: dict[str, str]
) -> Layer:
    norms = {inner: part for inner, part in module.named_modules() if is_norm(part) and not _inside(module, inner)}
    attention, cross = None, None
    found = list(attention_modules(module))
    for inner, part in found:
        crossing = kind_of(inner, True) == "cross" or "cross" in inner.lower()
        own = f"{name}.cross_attn" if crossing else f"{name}.attn"
        described = _attention(own, _join(path, inner), part, config, missing)
        if crossing:
            cross = cross or described
        else:
            attention = attention or described
    if attention is None:
        missing[f"{name}.attn"] = missing[f"{name}.attn.hook_z"] = _("This layer has no attention.")
    mlp = _mlp(name, path, module, frozenset(id(part) for _inner, part in found), config, missing)
    return Layer(index, name, path, module, attention, cross, mlp, norms)


def _inside(layer: Any, path: str) -> bool:
    """Return whether a norm belongs to the heads (q_norm, k_norm) and not to the residual stream."""
    return bool(re.search(r"(^|[._])(q|k|query|key)_?(layer)?norm$|q_norm|k_norm", path))


def attention_modules(layer: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield path and module of the outermost attentions inside a layer."""
    for name, child in layer.named_children():
        path = _join(prefix, name)
        if _ATTENTION.search(name) and not features(child)[0] and any(True for _ in child.children()):
            yield path, child
        elif not features(child)[0]:
            yield from attention_modules(child, path)


def _attention(name: str, path: str, module: Any, config: Any, missing: dict[str, str]) -> Attention:
    inner = list(linears(module))
    by_role: dict[str, Any] = {
        role: next((part for at, part in inner if _called(at, names)), None)
        for role, names in (("query", _QUERY), ("key", _KEY), ("value", _VALUE), ("fused", _FUSED))
    }
    used = {id(part) for part in by_role.values() if part is not None}
    width = width_of(config)
    ends = [(at, part) for at, part in inner if id(part) not in used and features(part)[1] == width]
    named = [part for at, part in ends if _called(at, _OUTPUT)]
    output = named[-1] if named else (ends[-1][1] if len(ends) == 1 else None)
    if output is None:
        missing[f"{name}.hook_z"] = _("No output projection was found in this attention.")
        return Attention(name, path, module, **by_role)
    n_heads = _heads(module, config)
    inputs = features(output)[0]
    said = [getattr(part, attribute, None) for part in module.modules() for attribute in _WIDTHS]
    known = {value for value in said if isinstance(value, int)}
    if not n_heads or inputs % n_heads or (known and inputs // n_heads not in known):
        missing[f"{name}.heads"] = _("The input of the output projection does not divide into heads.")
        n_heads = 0
    return Attention(name, path, module, **by_role, output=output, n_heads=n_heads, width=inputs // max(1, n_heads))


def _heads(module: Any, config: Any) -> int:
    for part in module.modules():
        for attribute in ("num_heads", "n_heads", "num_attention_heads", "n_head"):
            value = getattr(part, attribute, None)
            if isinstance(value, int) and value > 0:
                return value
    return heads_of(config)


def _mlp(
    name: str, path: str, layer: Any, attentions: frozenset[int], config: Any, missing: dict[str, str]
) -> Mlp | None:
    width = width_of(config)
    ends = [
        (at, part) for at, part in linears(layer, attentions) if features(part)[1] == width and not _MIXER.search(at)
    ]  # fmt: skip
    named = [(at, part) for at, part in ends if _called(at, _DOWN)]
    module = next(((at, part) for at, part in layer.named_modules() if _MLP.match(at.rsplit(".", 1)[-1])), None)
    downs = named or ends
    if not downs and module is None:
        missing[f"{name}.hook_mlp_out"] = _("This layer has no MLP.")
        return None
    if len(downs) == 1 and not _inside_list(downs[0][0]):
        at, down = downs[0]
        inner, part = module or (at, down)
        return Mlp(f"{name}.mlp", _join(path, inner), part, down, features(down)[0])
    missing[f"{name}.mlp.hook_post"] = _("This MLP is a mixture of experts: its neurons have no common axis.")
    if module is None:
        missing[f"{name}.hook_mlp_out"] = _("The MLP of this layer was not found.")
        return None
    return Mlp(f"{name}.mlp", _join(path, module[0]), module[1])


def _inside_list(path: str) -> bool:
    return "experts" in path


def _sites(stack: Stack) -> Iterator[Site]:
    """Yield every site of a stack, from the first layer to the last."""
    for layer in stack.layers:
        at, kind = layer.index, stack.kind
        yield Site(f"{layer.name}.hook_resid_pre", layer.path, layer.module, "input", kind, at)
        for part, written in ((layer.attention, "hook_attn_out"), (layer.cross, "hook_cross_attn_out")):
            if part is None:
                continue
            if part.output is not None:
                yield Site(f"{part.name}.hook_z", part.path, part.output, "input", kind, at, part.n_heads)
            writer = part.post_norm or part.output or part.module
            yield Site(f"{layer.name}.{written}", part.path, writer, "output", kind, at)
        if layer.mlp is not None:
            if layer.mlp.down is not None:
                yield Site(f"{layer.mlp.name}.hook_post", layer.mlp.path, layer.mlp.down, "input", kind, at, layer.mlp.n_neurons)
            writer = layer.mlp.post_norm or layer.mlp.down or layer.mlp.module
            yield Site(f"{layer.name}.hook_mlp_out", layer.mlp.path, writer, "output", kind, at)
        yield Site(f"{layer.name}.hook_resid_post", layer.path, layer.module, "output", kind, at)
