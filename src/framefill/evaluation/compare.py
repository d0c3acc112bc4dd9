"""Two runs, or two models of one run, against each other on the clips that both have."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from framefill.errors import UsageError
from framefill.evaluation.metrics.paired import paired
from framefill.evaluation.report import write_comparison
from framefill.evaluation.report.comparison import Difference, cautions, metrics_of, verdict
from framefill.evaluation.report.read import Run, read_run

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Compared:
    """The paired differences, second minus first, of two runs."""

    runs: tuple[Run, Run]
    rows: tuple[Difference, ...]

    def as_dict(self) -> dict[str, object]:
        """Everything that `--json` prints."""
        metrics = metrics_of(self.runs)
        return {
            "first": str(self.runs[0].folder), "second": str(self.runs[1].folder), "cautions": cautions(self.runs),
            "rows": [asdict(row) | {"verdict": verdict(row, metrics[row.metric])} for row in self.rows],
        }  # fmt: skip

    def table(self) -> Table:
        """The differences as a table for the terminal."""
        from rich.table import Table

        metrics = metrics_of(self.runs)
        title = "\n".join(["second minus first, mean over clips, 95 % interval", *cautions(self.runs)])
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for name in ("metric", "model", "difference", "95 % interval", "p", "clips", ""):
            table.add_column(name, justify="right" if name in ("difference", "p", "clips") else "left", no_wrap=name in ("metric", "model"))
        for row in self.rows:
            interval = "" if row.low is None or row.high is None else f"{row.low:+.3g} .. {row.high:+.3g}"
            table.add_row(
                row.metric, row.model, "" if row.mean is None else f"{row.mean:+.3g}", interval,
                "" if row.p is None else f"{row.p:.3f}", str(row.clips), verdict(row, metrics[row.metric]),
            )  # fmt: skip
        return table


def compare_runs(first: str, second: str, metrics: Sequence[str], seed: int) -> Compared:
    """Compare `RUN` or `RUN:MODEL` with another, metric by metric, on the clips that both have.

    Without models: each model that both runs have, or the only one of each. Raises UsageError where nothing can be paired, JobError
    for a folder that holds no finished run.
    """
    (one, own), (other, others) = _named(first), _named(second)
    pairs = _pairs(one, own, other, others)
    known = metrics_of((one, other))
    for name in metrics:
        if name not in known:
            raise UsageError(f"--metrics {name}: both runs must have it; they share {', '.join(known) or 'none'}")
    rows = [row for model, mate in pairs for name in (metrics or known) for row in _row(one, model, other, mate, name, seed)]
    if not rows:
        raise UsageError(f"{first} and {second} have no clip in common for any metric")
    return Compared((_only(one, [model for model, _ in pairs]), _only(other, [mate for _, mate in pairs])), tuple(rows))


def write_compared(compared: Compared, folder: Path) -> list[Path]:
    """Write the comparison as Markdown and as a page into `folder`."""
    return write_comparison(compared.rows, compared.runs, folder)


def _named(text: str) -> tuple[Run, str | None]:
    """Read `RUN` or `RUN:MODEL`; a folder whose name holds a colon is taken as it is."""
    if Path(text).is_dir() or ":" not in text:
        return read_run(text), None
    folder, _, model = text.rpartition(":")
    run = read_run(folder)
    if model not in run.models:
        raise UsageError(f"{folder} has no model {model!r}; it has {', '.join(run.models)}")
    return run, model


def _pairs(one: Run, own: str | None, other: Run, others: str | None) -> list[tuple[str, str]]:
    if own is not None or others is not None:
        first = own or (others if others in one.models else None)
        second = others or (own if own in other.models else None)
        if first is None or second is None:
            raise UsageError(
                f"name a model of each: {one.folder} has {', '.join(one.models)}; {other.folder} has {', '.join(other.models)}"
            )
        return [(first, second)]
    shared = [model for model in one.models if model in other.models]
    if shared and one.folder.resolve() != other.folder.resolve():
        return [(model, model) for model in shared]
    if len(one.models) == len(other.models) == 1:
        return [(one.models[0], other.models[0])]
    raise UsageError(f"name the models to compare, as in {one.folder}:{one.models[0]} {other.folder}:{other.models[-1]}")


def _row(one: Run, model: str, other: Run, mate: str, metric: str, seed: int) -> Iterator[Difference]:
    """Give the difference in one metric; none where no clip has a finite value in both."""
    before, after = _values(one, model, metric), _values(other, mate, metric)
    shared = [clip for clip in before if clip in after]
    if not shared:
        return
    found = paired(np.array([before[clip] for clip in shared]), np.array([after[clip] for clip in shared]), seed)
    name = model if model == mate else f"{mate} against {model}"
    mean, low, high, p = (None if math.isnan(value) else value for value in (found.difference, found.low, found.high, found.p_value))
    yield Difference(name, metric, mean, low, high, p, len(shared))


def _values(run: Run, model: str, metric: str) -> dict[str, float]:
    return {
        result.clip: result.value
        for result in run.results
        if result.clip is not None and result.model == model and result.metric == metric and result.value is not None
        and math.isfinite(result.value)
    }  # fmt: skip


def _only(run: Run, models: Sequence[str]) -> Run:
    return replace(run, models=tuple(dict.fromkeys(models)))
