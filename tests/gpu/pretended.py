"""A card that is not there: tensors on it live on the processor and are marked, and what a real card refuses is refused.

For machines without a card. Work under ``Pretended()`` believes that there is one CUDA device. Tensors of both sides in one
operation, a card's tensor handed to numpy and a processor's generator for a card's tensor raise as torch raises there.
Numbers, memory, speed and kernels of a card it cannot show: for those the same tests run on a real one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

CARD = torch.device("cuda:0")
MIXES = {
    "copy_", "__set__", "to", "type_as", "is_set_to", "_make_subclass", "swap_tensors", "_has_compatible_shallow_copy_type",
    "is_same_size", "equal", "load_state_dict", "__torch_function__", "is_shared", "requires_grad_", "result_type",
    "promote_types", "can_cast",
}  # fmt: skip
INDEXES = {"__getitem__", "__setitem__", "index", "index_put_", "index_put", "_index_put_impl_"}


def on_card(tensor: torch.Tensor) -> bool:
    """Return whether a tensor is marked as lying on the card."""
    return bool(getattr(tensor.untyped_storage(), "card", False))


def _mark(tensor: Any, card: bool = True) -> Any:
    if isinstance(tensor, torch.Tensor) and not tensor.is_sparse:
        tensor.untyped_storage().card = card
    return tensor


def _is_card(device: Any) -> bool:
    return device is not None and not isinstance(device, int) and str(device).startswith("cuda")


class Pretended(TorchFunctionMode):
    """While it is entered there is one CUDA device."""

    def __init__(self) -> None:
        super().__init__()
        self._patches = ExitStack()

    def __enter__(self) -> Any:
        import torch._dynamo  # it looks at what is patched here when it is first imported

        for name, value in _CUDA.items():
            self._patches.enter_context(mock.patch.object(torch.cuda, name, value))
        self._patches.enter_context(mock.patch.object(torch, "Generator", _Generator))
        self._patches.enter_context(mock.patch.object(threading.Thread, "run", self._threads()))
        return super().__enter__()

    def __exit__(self, *details: Any) -> None:
        super().__exit__(*details)
        self._patches.close()

    def _threads(self) -> Callable[[threading.Thread], None]:
        plain = threading.Thread.run

        def run(thread: threading.Thread) -> None:
            TorchFunctionMode.__enter__(self)  # a mode holds for one thread
            try:
                plain(thread)
            finally:
                TorchFunctionMode.__exit__(self, None, None, None)

        return run

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", str(func))
        if name == "__get__":
            return self._read(func, args)
        if name in ("to", "cuda", "cpu") and args and isinstance(args[0], torch.Tensor):
            return self._moved(func, name, args, kwargs)
        given = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, torch.Tensor)]
        cards = [on_card(value) for value in given]
        self._check(name, given, cards, args, kwargs)
        wanted = kwargs.get("device")
        if _is_card(wanted):
            kwargs["device"] = torch.device("cpu")
        found = func(*args, **kwargs)
        card = _is_card(wanted) or (wanted is None and any(cards))
        if wanted is not None or card or not any(cards):
            return self._placed(found, given, card)
        return found

    def _placed(self, found: Any, given: list[torch.Tensor], card: bool) -> Any:
        known = {value.untyped_storage()._cdata for value in given if not value.is_sparse}

        def place(value: Any) -> Any:
            if not isinstance(value, torch.Tensor) or value.is_sparse:
                return value
            if value.untyped_storage()._cdata in known:  # a view, or what was changed in place
                same = on_card(value) == card
                return value if same else _mark(value.detach().clone().requires_grad_(value.requires_grad), card)
            return _mark(value, card) if card else value

        return tree_map(place, found)

    def _read(self, func: Any, args: Any) -> Any:
        found = func(*args)
        attribute = getattr(func.__self__, "__name__", "")
        tensor = args[0]
        if attribute in ("device", "is_cuda", "is_cpu"):
            card = on_card(tensor)
            return {"device": CARD if card else found, "is_cuda": card, "is_cpu": not card}[attribute]
        if isinstance(found, torch.Tensor) and on_card(tensor):
            _mark(found)
        return found

    def _moved(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        tensor, card = args[0], on_card(args[0])
        target: Any = {"cuda": CARD, "cpu": "cpu"}.get(name)
        rest = list(args[1:]) if name == "to" else []
        for place, value in enumerate(rest):
            if isinstance(value, str | torch.device) and target is None:
                target, rest[place] = value, torch.device("cpu") if _is_card(value) else value
            elif isinstance(value, torch.Tensor):
                target = CARD if on_card(value) else "cpu"
        if kwargs.get("device") is not None:
            target = kwargs["device"]
            kwargs["device"] = torch.device("cpu") if _is_card(target) else target
        found = tensor if name != "to" else func(tensor, *rest, **kwargs)
        wanted = card if target is None else _is_card(target)
        if wanted != card and found.untyped_storage()._cdata == tensor.untyped_storage()._cdata:
            found = found.clone()
        return _mark(found, wanted) if wanted or wanted != card else found

    def _check(self, name: str, given: list[torch.Tensor], cards: list[bool], args: Any, kwargs: Any) -> None:
        if name in ("numpy", "__array__") and any(cards):
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first (pretended card)")
        generator = kwargs.get("generator")
        card = any(cards) or _is_card(kwargs.get("device"))
        if isinstance(generator, torch._C.Generator) and getattr(generator, "card", False) != card:
            raise RuntimeError(f"{name}: the generator and the tensor are on different devices (pretended card)")
        if not any(cards) or all(cards) or name in MIXES:
            return
        if name in INDEXES and cards[0]:
            return
        if any(value.ndim for value, card in zip(given, cards, strict=True) if not card):
            both = zip(given, cards, strict=True)
            shapes = ", ".join(f"{tuple(value.shape)} on {'card' if card else 'cpu'}" for value, card in both)
            raise RuntimeError(f"{name}: Expected all tensors to be on the same device ({shapes}; pretended card)")


class _Generator(torch._C.Generator):
    def __new__(cls, device: Any = "cpu") -> Any:
        made = super().__new__(cls, device="cpu")
        made.card = _is_card(device)
        return made


def _nothing(*_given: Any, **_named: Any) -> None:
    return None


_CUDA: dict[str, Callable[..., Any]] = {
    "is_available": lambda: True,
    "device_count": lambda: 1,
    "current_device": lambda: 0,
    "get_device_name": lambda device=None: "a card that is not there",
    "is_bf16_supported": lambda including_emulation=True: True,
    "mem_get_info": lambda device=None: (8 * 10**9, 16 * 10**9),
    "memory_allocated": lambda device=None: 0,
    "memory_reserved": lambda device=None: 0,
    "max_memory_allocated": lambda device=None: 0,
    "reset_peak_memory_stats": _nothing,
    "empty_cache": _nothing,
    "synchronize": _nothing,
    "get_rng_state": lambda device=None: torch.zeros(16, dtype=torch.uint8),
    "get_rng_state_all": lambda: [torch.zeros(16, dtype=torch.uint8)],
    "set_rng_state": _nothing,
    "set_rng_state_all": _nothing,
}
