"""Collect the texts of the code into the Chinese catalogue and compile it: ``python -m tests.translations``.

The code is read as syntax trees, so a text inside an f-string is found under every Python version. Titles and
descriptions that modules declare (benchmarks, metrics, stages), and words that results hold, are texts too.
"""

from __future__ import annotations

import ast
import dataclasses
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import get_type_hints

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from models.discover import discover

ROOT = Path(__file__).parent.parent
PACKAGES = ("lab", "models", "evals")
FOLDER = ROOT / "assets" / "translations" / "zh_CN" / "LC_MESSAGES"
PO, MO = FOLDER / "triptych.po", FOLDER / "triptych.mo"
SINGLE, PLURAL = {"_", "N_"}, "ngettext"
STATES = ("queued", "running", "done", "failed", "stopped", "crashed")
Key = str | tuple[str, str]


def called(node: ast.Call) -> str:
    """Return the name of what a call calls, without its module."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def texts_of(source: str, where: str = "") -> Iterator[Key]:
    """Yield the texts that a module marks with ``_``, ``N_`` or ``ngettext``; an f-string among them is an error."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or called(node) not in (*SINGLE, PLURAL):
            continue
        wanted = node.args[: 2 if called(node) == PLURAL else 1]
        if any(isinstance(part, ast.JoinedStr) for part in wanted):
            raise ValueError(f"{where}:{node.lineno}: an f-string cannot be translated")
        found = [part.value for part in wanted if isinstance(part, ast.Constant) and isinstance(part.value, str)]
        if called(node) == PLURAL and len(found) == 2:
            yield found[0], found[1]
        elif called(node) in SINGLE and found and found[0]:
            yield found[0]


def declared() -> Iterator[str]:
    """Yield titles and descriptions of benchmarks, metrics and stages, verdicts and states."""
    from models.world import verdicts

    for package, constant in (("evals.benchmarks", "BENCHMARK"), ("evals.metrics", "METRIC"), ("models.training", "STAGE")):
        for item in discover(package, constant):
            if item.error:
                raise RuntimeError(item.error)
            yield item.value.title
            if description := getattr(item.value, "description", ""):
                yield description
    for item in discover("models.training", "STAGE"):
        yield from helps(item.value.settings)
    yield from {*verdicts.GOOD.values(), "wrong", "hallucinated", "accepted", "complied", *STATES}


def helps(settings: type) -> Iterator[str]:
    """Yield the help of every setting of a stage, nested ones included."""
    hints = get_type_hints(settings)
    for item in dataclasses.fields(settings):
        if dataclasses.is_dataclass(hints[item.name]):
            yield from helps(hints[item.name])
        if text := item.metadata.get("help", ""):
            yield text


def collected() -> set[Key]:
    """Return every text of the program."""
    found: set[Key] = set(declared())
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            found.update(texts_of(path.read_text(encoding="utf-8"), str(path.relative_to(ROOT))))
    return found


def read(path: Path = PO) -> Catalog:
    """Return the catalogue as it is on disk."""
    with path.open("rb") as file:
        return read_po(file, locale="zh_CN", domain="triptych")


def updated(old: Catalog, texts: set[Key]) -> Catalog:
    """Return a catalogue of exactly these texts, with the translations that the old one has."""
    new = Catalog(
        locale="zh_CN", domain="triptych", project="Triptych", header_comment="# Chinese texts of Triptych.", fuzzy=False,
        copyright_holder="The Triptych authors", last_translator="The Triptych authors", language_team="zh_CN",
        creation_date=old.creation_date, revision_date=old.creation_date,
    )  # fmt: skip
    for key in sorted(texts, key=lambda key: key if isinstance(key, str) else key[0]):
        known = old.get(key if isinstance(key, str) else key[0])
        new.add(key, known.string if known else ("" if isinstance(key, str) else ("",)))
    for message in new:
        message.flags.discard("python-format")
    return new


def compiled(catalogue: Catalog) -> bytes:
    """Return the catalogue as gettext reads it."""
    buffer = BytesIO()
    write_mo(buffer, catalogue)
    return buffer.getvalue()


def untranslated(catalogue: Catalog) -> list[Key]:
    """Return the texts without a translation."""
    return [m.id for m in catalogue if m.id and not (m.string if isinstance(m.string, str) else all(m.string))]


def main() -> int:
    """Bring the catalogue up to date; 1 if something is not translated yet."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    catalogue = updated(read() if PO.exists() else Catalog(locale="zh_CN"), collected())
    buffer = BytesIO()
    write_po(buffer, catalogue, width=120, no_location=True)
    PO.write_bytes(buffer.getvalue())
    MO.write_bytes(compiled(catalogue))
    missing = untranslated(catalogue)
    sys.stdout.write("".join(f"{key!r}\n" for key in missing) + f"{len(catalogue)} texts, {len(missing)} not translated\n")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
