"""Numbers, and names of a model's components, as people read them."""

from __future__ import annotations

from models.words import _


def size(n_bytes: float) -> str:
    """Return bytes in the unit that suits them; empty for 0."""
    if n_bytes <= 0:
        return ""
    for unit in ("B", "KB", "MB", "GB"):
        if n_bytes < 1000 or unit == "GB":
            return f"{n_bytes:.0f} {unit}" if unit in ("B", "KB") or n_bytes >= 100 else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return ""


def duration(seconds: float) -> str:
    """Return seconds as ``12 s``, ``3 min 20 s`` or ``1 h 05 min``; empty below half a second."""
    whole = round(seconds)
    if whole < 1:
        return ""
    if whole < 60:
        return _("{seconds} s").format(seconds=whole)
    if whole < 3600:
        return _("{minutes} min {seconds:02d} s").format(minutes=whole // 60, seconds=whole % 60)
    return _("{hours} h {minutes:02d} min").format(hours=whole // 3600, minutes=whole % 3600 // 60)


def count(number: float) -> str:
    """Return a number of parameters: ``135 M``, ``1.2 B``."""
    for unit, scale in (("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if number >= scale:
            return f"{number / scale:.3g} {unit}"
    return f"{number:.0f}"


def component_words(name: str) -> str:
    """Return what a component of a model is called."""
    words = {
        "embedding": _("embedding"), "attention": _("attention"), "mlp": "MLP", "norm": _("norms"), "head": _("output head"),
        "adapter": _("adapter"), "other": _("other"),
    }  # fmt: skip
    return words.get(name, name)
