"""`--tensors`: every tensor of the files, with statistics, without opening the model."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from lab.inspecting._section import Question, Section, Table, number
from models.columns import Column
from models.engine_ops import Operations
from models.events import Work
from models.headers import visible

NUMBERS = ("mean", "std", "minimum", "maximum", "nan", "inf", "zeros")


def ask(operations: Operations, column: Column, question: Question) -> Work[dict[str, Any]]:
    """Return every tensor with its statistics, tied matrices, and parameters and bytes of each component."""
    listed = yield from operations.ask("tensor_list", column.checkpoint)
    found = yield from operations.ask("tensor_statistics", column.checkpoint)
    rows = []
    parameters: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for i, name in enumerate(listed.names):
        n = math.prod(listed.shapes[i])
        parameters[listed.components[i]] += n
        sizes[listed.components[i]] += int(listed.n_bytes[i])
        values = {key: number(float(getattr(found, key)[i])) for key in NUMBERS}
        problem = {"problem": found.problems[name]} if name in found.problems else {}
        rows.append({
            "name": name, "shape": list(listed.shapes[i]), "dtype": listed.dtypes[i], "bytes": int(listed.n_bytes[i]),
            "component": listed.components[i], "file": listed.files[i], **values, **problem,
        })  # fmt: skip
    return {
        "tensors": rows, "tied": dict(listed.tied), "parameters": dict(parameters), "bytes": dict(sizes),
        "notes": list(listed.notes),
    }  # fmt: skip


def tables(shown: dict[str, Any]) -> Iterator[Table]:
    """Yield the tensors, and the components."""
    header = ["tensor", "shape", "mean ± std", "min … max", "NaN, Inf", "zeros"]
    rows = [[visible(t["name"], 200), f"{'×'.join(map(str, t['shape']))} {t['dtype']}", *_figures(t)] for t in shown["tensors"]]
    rows += [[visible(name, 200), f"= {visible(source)}", "", "", "", ""] for name, source in shown["tied"].items()]
    yield "Tensors (all digits: --json)", header, rows
    parts = [[name, f"{n:,}", f"{shown['bytes'][name]:,}"] for name, n in shown["parameters"].items()]
    yield "Components", ["component", "parameters", "bytes"], parts


def _figures(t: dict[str, Any]) -> list[str]:
    if t["mean"] is None and "problem" in t:
        return [t["problem"], "", "", ""]
    bad = f"{(t['nan'] or 0) + (t['inf'] or 0):.2%}" if t["nan"] or t["inf"] else "0"
    if t["mean"] is None:
        return ["", "", bad, ""]
    return [f"{t['mean']:.3g} ± {t['std']:.3g}", f"{t['minimum']:.3g} … {t['maximum']:.3g}", bad, f"{t['zeros']:.2%}"]


SECTION = Section(
    "tensors", 110, "--tensors", "Every tensor of the files with its statistics; needs no text.", ask, tables, needs_text=False
)
