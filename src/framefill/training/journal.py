"""What a run tells while it goes: `metrics.jsonl`, `log.txt`, `curves.png`."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path

Record = dict[str, float]
Point = tuple[float, float]  # samples, value
LOGARITHMIC = 20  # a drawing whose largest value is so many times its smallest has a logarithmic scale


class Journal:
    """The records of a run, in files of its folder; `quiet` ones (all processes but the main) write nothing."""

    def __init__(self, folder: Path, quiet: bool) -> None:
        self._folder = folder
        self._quiet = quiet
        if not quiet:
            folder.mkdir(parents=True, exist_ok=True)

    def resume(self, samples: int) -> None:
        """Drop the records after `samples`: a killed run wrote them after its last state, and they will come again."""
        if self._quiet or not (self._folder / "metrics.jsonl").exists():
            return
        kept = [record for record in self.records() if record["samples"] <= samples]
        making = self._folder / ".metrics.jsonl"
        making.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
        making.replace(self._folder / "metrics.jsonl")

    def records(self) -> list[Record]:
        """Read all records; half a line, which a killed run leaves, is left out."""
        return read_records(self._folder)

    def record(self, values: Mapping[str, float]) -> None:
        """Add a line of numbers to metrics.jsonl; `samples` says when. Numbers that are not finite are left out."""
        if self._quiet:
            return
        line = json.dumps({name: value for name, value in values.items() if math.isfinite(value)})
        with (self._folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def say(self, line: str) -> None:
        """Add a line with the time of day to log.txt, and print it on stderr."""
        if self._quiet:
            return
        with (self._folder / "log.txt").open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
        print(line, file=sys.stderr, flush=True)

    def draw(self) -> None:
        """Draw curves.png: the loss, by task, by noise level, and each measure of the validation; nothing without matplotlib."""
        if not self._quiet and (records := self.records()):
            draw_curves(records, self._folder / "curves.png")


def read_records(folder: Path) -> list[Record]:
    """Read a run's metrics.jsonl, empty before its first line; half a line, which a killed run leaves, is left out."""
    file = folder / "metrics.jsonl"
    records = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


def draw_curves(records: list[Record], target: Path) -> None:
    """Draw each group of numbers (the part of a name before `/`) against samples; does nothing when matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    groups = curves_of(records)
    columns = 2
    rows = math.ceil(len(groups) / columns)
    figure = Figure(figsize=(12, 3.2 * rows))
    for number, (title, curves) in enumerate(groups.items(), 1):
        axes = figure.add_subplot(rows, columns, number)
        for name, points in curves.items():
            axes.plot(*zip(*points, strict=True), label=name, marker="." if len(points) < 20 else None, lw=1)
        values = [value for points in curves.values() for _, value in points]
        if min(values) > 0 and max(values) > LOGARITHMIC * min(values):
            axes.set_yscale("log")
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("samples", fontsize=8)
        axes.grid(alpha=0.3)
        if len(curves) > 1:
            axes.legend(fontsize=7, ncols=2)
    figure.subplots_adjust(0.06, 0.25 / rows, 0.98, 1 - 0.12 / rows, 0.15, 0.35)
    making = target.with_name(f".{target.name}")
    figure.savefig(making, dpi=90, format="png")
    making.replace(target)


def curves_of(records: list[Record]) -> dict[str, dict[str, list[Point]]]:
    """Return the curves of each drawing by name: the loss, the groups `task/...`, `sigma/...` and `validate/METRIC/...`, then the rest."""
    groups: dict[str, dict[str, list[Point]]] = {}
    for record in records:
        for name, value in record.items():
            if name != "samples":
                group, _, curve = name.rpartition("/")
                groups.setdefault(group or name, {}).setdefault(curve, []).append((record["samples"], value))
    last = ("lr", "gradient_norm", "samples_per_second", "waiting_share")
    return dict(sorted(groups.items(), key=lambda group: (group[0] != "loss", group[0] in last, group[0])))
