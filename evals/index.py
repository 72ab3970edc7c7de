"""The SQLite index of results: derived from run folders, refreshed by size and time, thrown away without loss."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sql

from evals import files, foreign
from models.records.scores import Cell

VERSION = 3
_metadata = sql.MetaData()
_files = sql.Table(
    "file",
    _metadata,
    sql.Column("path", sql.String, primary_key=True),
    sql.Column("changed", sql.Integer, nullable=False),
    sql.Column("size", sql.Integer, nullable=False),
)
_cells = sql.Table(
    "cell",
    _metadata,
    sql.Column("path", sql.String, sql.ForeignKey("file.path", ondelete="CASCADE"), primary_key=True),
    sql.Column("place", sql.Integer, primary_key=True),
    sql.Column("checkpoint", sql.String, index=True),
    sql.Column("benchmark", sql.String, index=True),
    sql.Column("metric", sql.String),
    sql.Column("value", sql.Float),
    sql.Column("row", sql.String, nullable=False),
)


class Index:
    """Scores of all results files that were seen, in one SQLite file (write-ahead log), or in memory."""

    def __init__(self, path: Path | None = None) -> None:
        """Open or create it; a file that is damaged or of another version is begun again."""
        self.path = path
        try:
            self._engine = self._open()
        except sql.exc.DatabaseError:
            if path is None:
                raise
            for suffix in ("", "-wal", "-shm"):
                Path(f"{path}{suffix}").unlink(missing_ok=True)
            self._engine = self._open()

    def _open(self) -> sql.Engine:
        engine = sql.create_engine("sqlite://" if self.path is None else f"sqlite:///{self.path}", connect_args={"timeout": 30})

        def prepare(connection: Any, _record: Any) -> None:
            for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=30000"):
                connection.execute(f"PRAGMA {pragma}")

        sql.event.listen(engine, "connect", prepare)
        with engine.begin() as connection:
            version = connection.execute(sql.text("PRAGMA user_version")).scalar()
            if version != VERSION:
                _metadata.drop_all(connection)
                connection.execute(sql.text(f"PRAGMA user_version = {VERSION}"))
            _metadata.create_all(connection)
        return engine

    def close(self) -> None:
        """Let the file go."""
        self._engine.dispose()

    def refresh(self, folders: Iterable[Path]) -> None:
        """Read what is new or changed under these folders, and forget what is gone."""
        roots = [Path(os.path.realpath(folder)) for folder in folders]
        found = {str(path): stat for root in roots for path in results_files(root) if (stat := _stat(path)) is not None}
        with self._engine.connect() as connection:
            known = {row.path: (row.changed, row.size) for row in connection.execute(sql.select(_files))}
        gone = [path for path in known if path not in found and _below(path, roots)]
        changed = [path for path, stat in found.items() if known.get(path) != (stat.st_mtime_ns, stat.st_size)]
        if not gone and not changed:
            return
        with self._engine.begin() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            for path in [*gone, *changed]:
                connection.execute(sql.delete(_files).where(_files.c.path == path))
            for path in changed:
                stat = found[path]
                connection.execute(sql.insert(_files).values(path=path, changed=stat.st_mtime_ns, size=stat.st_size))
                rows = [_row(path, place, cell) for place, cell in enumerate(read_cells(Path(path)))]
                if rows:
                    connection.execute(sql.insert(_cells), rows)

    def cells(self, folders: Sequence[Path]) -> list[Cell]:
        """Return the scores of all files under these folders, oldest file first."""
        roots = [Path(os.path.realpath(folder)) for folder in folders]
        query = sql.select(_cells.c.path, _cells.c.row).join(_files).order_by(_files.c.changed, _cells.c.path, _cells.c.place)
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return [files.cell_from(json.loads(row.row), Path(row.path)) for row in rows if _below(row.path, roots)]

    def rebuild(self, folders: Iterable[Path]) -> int:
        """Forget everything, read these folders, and return the number of scores."""
        with self._engine.begin() as connection:
            connection.execute(sql.delete(_files))
        self.refresh(folders)
        with self._engine.connect() as connection:
            return int(connection.execute(sql.select(sql.func.count()).select_from(_cells)).scalar() or 0)


def refreshed(place: Path, folders: Sequence[Path]) -> Index:
    """Return the index at ``place``, up to date for these folders; one in memory where the disk is full or not ours."""
    kept: Index | None = None
    try:
        kept = Index(place)
        kept.refresh(folders)
        return kept
    except (sql.exc.OperationalError, OSError):
        if kept is not None:
            kept.close()
    found = Index()
    found.refresh(folders)
    return found


def _row(path: str, place: int, cell: Cell) -> dict[str, Any]:
    row = files.cell_row(cell, Path(path).parent)
    return {
        "path": path,
        "place": place,
        "checkpoint": cell.checkpoint,
        "benchmark": cell.benchmark,
        "metric": cell.metric,
        "value": row["value"],
        "row": json.dumps(row),
    }


def _stat(path: Path) -> os.stat_result | None:
    """Return size and times of a file, None if it has just gone."""
    try:
        return path.stat()
    except OSError:
        return None


def _below(path: str, roots: Sequence[Path]) -> bool:
    return any(Path(path).is_relative_to(root) for root in roots)


def results_files(root: Path) -> Iterator[Path]:
    """Yield every results file at or under a path, links not followed."""
    if root.is_file() and root.suffix == ".json":
        yield root
        return
    for place, names, found in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in sorted(found):
            if name == "results.json" or (name.startswith("results_") and name.endswith(".json")):
                yield Path(place) / name


def read_cells(path: Path) -> list[Cell]:
    """Return the scores of one results file, ours or lm-eval's own; nothing for one that is neither."""
    content = files.read_results(path)
    ours = content.get(files.OURS)
    try:
        if isinstance(ours, dict):
            return [files.cell_from(row, path) for row in ours.get("cells", [])]
        return foreign.cells(content, path)
    except (TypeError, ValueError, AttributeError, KeyError):
        return []
