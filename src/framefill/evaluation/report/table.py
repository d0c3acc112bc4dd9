"""The table of results: who is best in which column, by region of the picture and by mask case, ready to be drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from framefill.evaluation.report.read import Metric, Region, Row, Run
from framefill.evaluation.report.words import decimals, written

ORDER: tuple[Region | None, ...] = ("whole", "hole", "rim", "outside", None)


@dataclass(frozen=True)
class Cell:
    """A model's mean as it is shown, its 95 % interval or None; `partial`: over fewer clips than others, so not comparable."""

    mean: str
    interval: str | None
    best: bool
    partial: bool
    clips: int


@dataclass(frozen=True)
class Column:
    """One metric: its cells by mask case (None: all clips) and model; a model without a value has none."""

    metric: Metric
    cells: Mapping[str | None, Mapping[str, Cell]]


@dataclass(frozen=True)
class Section:
    """A mask case (None: all clips): one line a model, one cell a column, None where nothing was measured."""

    case: str | None
    lines: tuple[tuple[str, tuple[Cell | None, ...]], ...]


def columns(run: Run) -> list[Column]:
    """Return the run's table, a column for each metric that has a value, those of one region together.

    With several mask cases each has cells of its own.
    """
    cases: tuple[str | None, ...] = (None, *run.cases) if len(run.cases) > 1 else (None,)
    ordered = sorted(run.metrics.values(), key=lambda metric: ORDER.index(metric.region))
    table = [Column(metric, {case: _cells(run, metric, case) for case in cases}) for metric in ordered]
    return [column for column in table if any(column.cells.values())]


def regions(table: Sequence[Column]) -> list[tuple[Region | None, list[Column]]]:
    """Return the columns by region, in the table's order."""
    found: dict[Region | None, list[Column]] = {}
    for column in table:
        found.setdefault(column.metric.region, []).append(column)
    return list(found.items())


def sections(run: Run, table: Sequence[Column]) -> list[Section]:
    """Return the lines of these columns, first over all clips, then by mask case; a case in which nothing was measured is left out."""
    found = []
    for case in dict.fromkeys(case for column in table for case in column.cells):
        lines = [(model, tuple(column.cells[case].get(model) for column in table)) for model in run.models]
        if any(cell is not None for _, cells in lines for cell in cells):
            found.append(Section(case, tuple(lines)))
    return found


def cells_of(table: Sequence[Column]) -> Iterator[Cell]:
    """Give every cell there is."""
    return (cell for column in table for cells in column.cells.values() for cell in cells.values())


def firsts(table: Sequence[Column]) -> tuple[Counter[str], int]:
    """Count for each model the columns over all clips in which it has, alone or with others, the best mean; and those that have a best."""
    best = [[model for model, cell in column.cells[None].items() if cell.best] for column in table]
    return Counter(model for models in best for model in models), sum(map(bool, best))


def best_of(rows: Sequence[Row], metric: Metric, digits: int) -> set[str]:
    """Return the models whose mean, to `digits` decimals, is the best; none where all are equal or only one has a mean."""
    means = {row.model: round(row.mean, digits) for row in rows if row.mean is not None}
    if len(set(means.values())) < 2:
        return set()
    best = max(means.values()) if metric.better == "higher" else min(means.values())
    return {model for model, mean in means.items() if mean == best}


def _cells(run: Run, metric: Metric, case: str | None) -> dict[str, Cell]:
    # A metric's decimals are those of all its rows, so that a case can be read against the whole.
    digits = decimals(row.mean for row in run.rows if row.metric == metric.key)
    rows = [row for row in run.rows if row.metric == metric.key and row.case == case and row.mean is not None]
    most = max((row.clips for row in rows), default=0)
    winners = best_of([row for row in rows if row.clips == most], metric, digits)
    return {
        row.model: Cell(
            mean=written(row.mean, digits),
            interval=_interval(row, digits),
            best=row.model in winners,
            partial=row.clips < most,
            clips=row.clips,
        )
        for row in rows
    }


def _interval(row: Row, digits: int) -> str | None:
    """An interval as it is shown; one that, to the digits shown, is the mean itself says nothing."""
    if row.low is None or row.high is None:
        return None
    low, high = written(row.low, digits), written(row.high, digits)
    return None if low == high == written(row.mean, digits) else f"{low} to {high}"
