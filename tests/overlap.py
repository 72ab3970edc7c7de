"""Write what the bundled benchmarks have in common with the bundled lineage's training data: python -m tests.overlap

To be run after the lineage was trained again; a test says so.
"""

from __future__ import annotations

import json
from pathlib import Path

from evals import tasks
from evals.trained import items_of
from models.events import finish
from models.library import read_lineage
from models.places import bundled_root
from models.training.known_data import training_data
from models.training.seen import BUNDLED, look, text_key


def texts() -> dict[str, str]:
    """Return the texts of all items of our benchmarks, by key."""
    place = str(bundled_root() / "sft")
    found = {}
    for benchmark in tasks.benchmarks().values():
        rows = [{"doc": row, "doc_id": n, "target": row.get("target", "")} for n, row in enumerate(benchmark.items(place))]
        found |= {text_key(text): text for _name, text in items_of(rows, None)}
    return found


def main() -> None:
    wanted, files = texts(), {}
    for checkpoint in read_lineage(bundled_root() / "lineage.json").checkpoints:
        for file in finish(training_data(Path(checkpoint.path))).files:
            if file.sha256 not in files:
                files[file.sha256] = {key: kind for key, kind in sorted(finish(look(file, wanted)).items()) if kind}
                print(file.name, len(files[file.sha256]))
    content = {"texts": sorted(wanted), "files": files}
    (bundled_root() / BUNDLED).write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
