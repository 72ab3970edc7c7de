"""What the Attention view wants and has: its requests, its answers, and both as tables, Python and a command line."""

from __future__ import annotations

from typing import Any

import numpy as np

from lab.ui.view import Want
from lab.ui.views._attention_tools import AttentionTools
from lab.ui.widgets.attention_panel import (
    AttentionPanel,
    block_of,
    cell_of,
    cells_region,
    pair_of,
    top,
)
from lab.ui.widgets.columns import ColumnView
from lab.ui.widgets.head_grid import head_name
from lab.ui.widgets.head_side import PENDING, HeadSide, statistic_names
from models.records.arrays import Array
from models.records.attention import (
    STATISTICS,
    AttentionGrid,
    AttentionHead,
    AttentionPair,
    HeadCost,
    difference_statistics,
)
from models.words import _

FINEST = 960
"""Rows and columns that the engine sends without pooling."""
Region = tuple[int, int, int, int]


class AttentionData(ColumnView):
    """The view without its drawing."""

    main_slot = "grid"
    controls: AttentionTools
    side: HeadSide

    def __init__(self) -> None:
        super().__init__()
        self._layer, self._head, self._kind = 0, 0, ""
        self._cursor = (-1, -1)
        """Row and column of the pattern that the mouse is on; one of them alone in lines."""
        self._pinned = (-1, -1)
        """Query and key that were clicked."""

    # wants -----------------------------------------------------------------------------------------------------------
    def wanted(self, index: int) -> Want:
        """Return the request for a column's grid."""
        params = {"column": self.columns[index], "text": self.text, "kind": self._kind}
        return Want("grid", "attention_grid", params, index)

    def extra_wants(self) -> list[Want]:
        """Return the requests for the chosen head, and for what is looked at in it."""
        found: list[Want] = []
        for index in self.asked():
            grid = self.grid(index)
            if grid is None or self.stale(index):
                continue
            params = self.head_params(index, grid)
            weighted = {"weighted": True} if self.is_weighted() else {}
            found.append(Want("head", "attention", {**params, **weighted}, index))
            found += self._wants_inside(index, params, weighted)
            if self.controls.ranked.isChecked() and self.side.cost.isChecked():
                found.append(Want("cost", "head_cost", params, index))
        return found

    def _wants_inside(self, index: int, params: dict[str, Any], weighted: dict[str, Any]) -> list[Want]:
        found: list[Want] = []
        place = self.pair_place()
        if self.controls.mode() == "pair" and place is not None:
            found.append(Want("pair", "attention_pair", {**params, "query": place[0], "key": place[1]}, index))
        shown = self.pattern(index)
        if shown is None or shown.pooled <= 1 or self.controls.mode() == "pair":
            return found
        if self._inside(shown):
            region = block_of(shown, *self._cursor)
            found.append(Want("exact", "attention", {**params, "region": region, **weighted}, index))
        if (zoomed := self.zoomed(index, shown)) is not None:
            found.append(Want("region", "attention", {**params, "region": zoomed, **weighted}, index))
        return found

    def head_params(self, index: int, grid: AttentionGrid) -> dict[str, Any]:
        """Return the parameters of a request about the chosen head."""
        layer, head = self.clamped(grid)
        return {
            "column": self.columns[index], "text": self.text, "layer": layer, "head": head, "kind": grid.kind,
        }  # fmt: skip

    def zoomed(self, index: int, shown: AttentionHead) -> Region | None:
        """Return the region in view if it can be had finer than the pooled pattern is, else None."""
        content = self.panels[index].content if index < len(self.panels) else None
        if not isinstance(content, AttentionPanel) or content.matrix.values.shape != shown.matrix.shape:
            return None
        region = cells_region(shown, content.matrix.visible_cells())
        side = max(region[1] - region[0], region[3] - region[2])
        return region if side > 0 and -(-side // FINEST) < shown.pooled else None

    # answers ---------------------------------------------------------------------------------------------------------
    def grid(self, index: int) -> AttentionGrid | None:
        """Return the grid of a column."""
        found = self.answer(index)
        return found if isinstance(found, AttentionGrid) else None

    def grids(self) -> list[AttentionGrid | None]:
        """Return the grid of every column."""
        return [self.grid(index) for index in range(len(self.columns))]

    def stale(self, index: int) -> bool:
        """Return whether the grid is of an earlier text or kind."""
        found = self.answers.get(("grid", index))
        return bool(found is None or found[0] != self.wanted(index))

    def pattern(self, index: int) -> AttentionHead | None:
        """Return the pattern of a column."""
        found = self.answer(index, "head")
        return found if isinstance(found, AttentionHead) else None

    def patterns(self) -> list[AttentionHead]:
        """Return the patterns of the columns on screen."""
        return [head for head in map(self.pattern, self.asked()) if head is not None]

    def pair(self, index: int) -> AttentionPair | None:
        """Return the vectors of a column, if they are of the chosen head and pair."""
        found, place, grid = self.answer(index, "pair"), self.pair_place(), self.grid(index)
        if not isinstance(found, AttentionPair) or grid is None:
            return None
        same = (found.layer, found.head) == self.clamped(grid) and (found.query, found.key) == place
        return found if same else None

    def costs(self) -> list[HeadCost | str | None]:
        """Return the ablation cost of the chosen head in every column, or why there is none."""
        found: list[HeadCost | str | None] = []
        for index in range(len(self.columns)):
            grid, answer = self.grid(index), self.answers.get(("cost", index))
            failed = self.failures.get(("cost", index))
            params = self.head_params(index, grid) if grid is not None else {}
            if answer is not None and isinstance(answer[1], HeadCost) and answer[0].params == params:
                found.append(answer[1])
            elif failed is not None and failed[0].params == params and failed[1].kind != "cancelled":
                found.append(failed[1].what)
            else:
                found.append(PENDING if self.side.cost.isChecked() and index in self.asked() else None)
        return found

    def clamped(self, grid: AttentionGrid) -> tuple[int, int]:
        """Return the chosen layer and head, or the nearest that a model has."""
        layers, heads = grid.entropy.shape
        return min(self._layer, layers - 1), min(self._head, heads - 1)

    def chosen(self) -> tuple[int, int]:
        """Return layer and head as the first column with a grid has them."""
        known = [grid for grid in self.grids() if grid is not None]
        return self.clamped(known[0]) if known else (self._layer, self._head)

    def is_weighted(self) -> bool:
        """Return whether value-weighted patterns are asked for."""
        return self.controls.weighted.isChecked() and self.controls.mode() != "pair"

    def pair_place(self) -> tuple[int, int] | None:
        """Return the query and key whose vectors are shown: those that were clicked, else the last token's strongest."""
        shown = next(iter(self.patterns()), None)
        if shown is None:
            return None
        query, key = self._pinned
        if not shown.region[0] <= query < shown.region[1]:
            query = pair_of(shown, shown.matrix.shape[0] - 1, 0)[0]
        if not shown.region[2] <= key < shown.region[3]:
            row = shown.matrix[max(cell_of(shown, query, 0)[0], 0)]
            key = pair_of(shown, 0, int(np.argmax(row)))[1]
        return query, key

    def _inside(self, head: AttentionHead) -> bool:
        row, column = self._cursor
        return bool(0 <= row < head.matrix.shape[0] and 0 <= column < head.matrix.shape[1])

    def ranked(self) -> tuple[list[str], list[Array], bool]:
        """Return titles and (layers, heads) values of the ranked list, and whether they are differences."""
        name, pair = self.side.statistic(), self.difference.pair()
        known = [(index, grid) for index in self.asked() if (grid := self.grid(index)) is not None]
        if pair and len(known) == 2 and known[0][1].entropy.shape == known[1][1].entropy.shape:
            return [_("difference")], [difference_statistics(known[0][1], known[1][1], name)], True
        same = [(index, grid) for index, grid in known if grid.entropy.shape == known[0][1].entropy.shape]
        return [self.columns[index].name for index, _grid in same], [grid.statistic(name) for _index, grid in same], False

    def statistic_top(self, name: str) -> float:
        """Return the largest magnitude of a statistic in the columns on screen."""
        return top([grid.statistic(name) for grid in map(self.grid, self.asked()) if grid is not None])

    # tables, Python, command line ------------------------------------------------------------------------------------
    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return what is shown of the chosen head: one row per column, query and key, or per dimension of a pair."""
        if self.controls.mode() == "pair":
            return self._pair_table()
        header = [_("Column"), _("Head"), _("Query"), _("Query token"), _("Key"), _("Key token"), _("Attention")]
        rows: list[list[Any]] = []
        for index in self.asked():
            head = self.pattern(index)
            if head is None:
                continue
            for row, column in np.argwhere(head.matrix > 0).tolist():
                query, key = pair_of(head, row, column)
                rows.append([
                    self.columns[index].name, head_name(head.layer, head.head), query, head.queries[row], key,
                    head.keys[column], float(head.matrix[row, column]),
                ])  # fmt: skip
        return header, rows

    def _pair_table(self) -> tuple[list[str], list[list[Any]]]:
        header = [_("Column"), _("Head"), _("Query"), _("Key"), _("Dimension"), "q", "k", "q × k"]
        rows: list[list[Any]] = []
        for index in self.asked():
            pair = self.pair(index)
            if pair is None:
                continue
            for place, (q, k, product) in enumerate(zip(pair.q.tolist(), pair.k.tolist(), pair.product.tolist(), strict=True)):
                named = [self.columns[index].name, head_name(pair.layer, pair.head), pair.query, pair.key]
                rows.append([*named, place, q, k, product])
        return header, rows

    def grid_table(self) -> tuple[list[str], list[list[Any]]]:
        """Return all statistics of all heads."""
        header = [_("Column"), _("Head"), *statistic_names()]
        rows: list[list[Any]] = []
        for index in self.asked():
            grid = self.grid(index)
            if grid is not None:
                for layer, head in np.ndindex(*grid.entropy.shape):
                    numbers = [float(grid.statistic(name)[layer, head]) for name in STATISTICS]
                    rows.append([self.columns[index].name, head_name(layer, head), *numbers])
        return header, rows

    def python(self) -> str:
        """Return lines that compute the ranking, the chosen head as it is shown, and what it is worth."""
        layer, head = self.chosen()
        kind = f", kind={self._kind!r}" if self._kind else ""
        named = f"layer={layer}, head={head}"
        lines = []
        if self.controls.ranked.isChecked():
            lines += [
                f"heads = checkpoint.heads(TEXT{kind})",
                f"for rank in rank_heads(heads.{self.side.statistic()})[:10]:",
                '    print(name, rank.name, f"{rank.value:.4f}")',
            ]
            lines.insert(0, "from models.records.attention import rank_heads")
        if self.controls.mode() == "pair" and (place := self.pair_place()) is not None:
            asked = f"TEXT, {named}, query={place[0]}, key={place[1]}{kind}"
            lines += [
                f"pair = checkpoint.attention_pair({asked})",
                "print(name, pair.q, pair.k, pair.product, pair.score, pair.weight)",
            ]
        else:
            weighted = ", weighted=True" if self.is_weighted() else ""
            lines += [
                f"pattern = checkpoint.attention(TEXT, {named}{kind}{weighted})",
                "print(name, pattern.matrix.shape)  # row = query, column = key",
                "print(pattern.matrix.round(3))",
            ]
        if self._has_cost():
            lines += [f"cost = checkpoint.head_cost(TEXT, {named}{kind})", 'print(name, f"{cost.cost:+.4f} nats per token")']
        return "".join(f"    {line}\n" for line in lines)

    def command(self) -> tuple[str, ...]:
        """Return the ranking and the chosen head as flags."""
        layer, head = self.chosen()
        name, place = f"{layer}.{head}", self.pair_place()
        ranked = ("--heads", self.side.statistic()) if self.controls.ranked.isChecked() else ()
        if self.controls.mode() == "pair" and place is not None:
            shown = ("--pair", f"{name}:{place[0]}:{place[1]}")
        else:
            shown = ("--weighted" if self.is_weighted() else "--attention", name)
        cost = ("--head-cost", name) if self._has_cost() else ()
        return (*ranked, *shown, *cost, *(("--kind", self._kind) if self._kind else ()))

    def _has_cost(self) -> bool:
        known = [cost for index, cost in enumerate(self.costs()) if index in self.asked()]
        return self.controls.ranked.isChecked() and bool(known) and all(isinstance(cost, HeadCost) for cost in known)
