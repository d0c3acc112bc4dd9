"""What a run's units say together: every value in one file, means with their intervals, set metrics, and the reports."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

import framefill
from framefill.errors import JobError
from framefill.evaluation.metrics.intervals import bootstrap_interval, mean_interval
from framefill.evaluation.plan import EvalSettings, Plan
from framefill.evaluation.protocols.base import Found, Protocol
from framefill.evaluation.table import METRICS, SET_METRICS, Measured, Metric
from framefill.evaluation.unit import read_features, read_unit
from framefill.media.hashes import sha256_of
from framefill.media.part import clear_leavings

Values = NDArray[np.float64]
Entry = dict[str, object]  # of a JSON file
PACKAGES = ("av", "numpy", "opencv-python-headless", "pillow", "scipy", "torch", "safetensors")


@dataclass(frozen=True)
class Curve:
    """A model's values of one metric on one clip, frame by frame (or one)."""

    clip: str
    case: str | None
    model: str
    metric: str
    values: Values

    @property
    def mean(self) -> float:
        """The mean of the frames that count; nan where none does."""
        known = self.values[~np.isnan(self.values)]
        return float(known.mean()) if len(known) else math.nan


def gather_cases(plan: Plan, protocol: Protocol, found: Found, keys: Mapping[tuple[str, str], str], seconds: float) -> list[Path]:
    """Put a finished run together and write its files and reports; returns the reports. Raises JobError where a unit is gone."""
    folder = plan.settings.output
    curves: list[Curve] = []
    clips: list[Entry] = []
    for source in found.cases:
        for model in plan.models:
            unit = read_unit(folder, source.name, model.name, keys[source.name, model.name])
            if unit is None:
                raise JobError(f"{folder}: the values of {model.name} on {source.name} are gone; run the same command again")
            curves += _curves(unit)
            size = {name: unit[name] for name in ("frames", "width", "height", "hole")}
        clips.append({"name": source.name, "case": source.case, **size, "sha256": sha256_of(source.files[0])})
    names = [model.name for model in plan.models]
    used = [name for name in plan.metrics if name in SET_METRICS or any(curve.metric == name for curve in curves)]
    unused = [name for name in plan.metrics if name not in used]
    notes = [*found.notes, *([f"not measured, for want of a truth or of what they need: {', '.join(unused)}"] if unused else [])]
    if others := [model.name for model in plan.models if model.results is not None]:
        how = "the known pixels were put back into them first" if protocol.composite else "they are measured as they came"
        notes.append(f"results of other programs: {', '.join(others)}; {how}")
    rows = _rows(curves, names, used, protocol.mean, plan.settings.seed)
    set_rows, set_notes = _set_rows(plan.settings, [source.name for source in found.cases], names, used)
    return write_run(folder, describe_run(plan, clips, used, [*notes, *set_notes], seconds), curves, rows + set_rows)


def describe_run(plan: Plan, clips: Sequence[Entry], metrics: Sequence[str], notes: Sequence[str], seconds: float) -> Entry:
    """Tell what was measured and everything needed to do it again."""
    return {
        "protocol": {"name": plan.protocol.name, "definition": plan.protocol.define(plan.chosen), "settings": dict(plan.chosen)},
        "models": [model.name for model in plan.models],
        "clips": list(clips),
        "metrics": {name: entry_of(name) for name in metrics},
        "versions": versions(),
        "seed": plan.settings.seed,
        "weights": dict(plan.weights),
        "command": plan.settings.command,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "seconds": round(seconds, 1),
        "notes": list(notes),
    }


def entry_of(name: str) -> Entry:
    """What a run's file says of a metric."""
    metric = METRICS[name] if name in METRICS else SET_METRICS[name]
    per = metric.per if isinstance(metric, Metric) else "set"
    region = metric.region if isinstance(metric, Metric) else None
    return {"title": metric.title, "unit": metric.unit, "better": metric.better, "region": region, "per": per, "about": metric.about}


def versions() -> dict[str, str]:
    """The versions of all that can change a value."""
    found = {"framefill": framefill.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write_run(folder: Path, about: Mapping[str, object], curves: Sequence[Curve], rows: Sequence[Mapping[str, object]]) -> list[Path]:
    """Write a run's files, run.json last so that a folder that has it is complete, then its reports; returns the reports."""
    from framefill.evaluation.report import write_reports

    lines, table = io.StringIO(), io.StringIO(newline="")
    cells = csv.writer(table, lineterminator="\n")
    cells.writerow(("clip", "case", "model", "metric", "value"))
    for curve in curves:
        told: Entry = {"clip": curve.clip, "case": curve.case, "model": curve.model, "metric": curve.metric}
        told["value"] = _told(curve.mean)
        if len(curve.values) > 1:
            told["frames"] = [_told(value) for value in curve.values]
        lines.write(json.dumps(told, ensure_ascii=False) + "\n")
        cells.writerow((curve.clip, curve.case or "", curve.model, curve.metric, "" if math.isnan(curve.mean) else repr(curve.mean)))
    for name, text in (
        ("results.jsonl", lines.getvalue()),
        ("results.csv", table.getvalue()),
        ("summary.json", json.dumps({"rows": list(rows)}, indent=1, ensure_ascii=False)),
        ("run.json", json.dumps(about, indent=1, ensure_ascii=False)),
    ):
        part = folder / f".{name}.part"
        part.write_text(text, encoding="utf-8")
        part.replace(folder / name)
    for name in ("report.md", "report.html"):
        clear_leavings(folder / name)  # a killed run's
    return [*write_reports(folder), folder / "results.csv"]


def _curves(unit: Mapping[str, object]) -> list[Curve]:
    measured = cast("Mapping[str, list[float | None]]", unit["metrics"])
    clip, case, model = str(unit["clip"]), cast("str | None", unit["case"]), str(unit["model"])
    return [
        Curve(clip, case, model, name, np.array([math.nan if value is None else value for value in values], np.float64))
        for name, values in measured.items()
    ]


def _rows(curves: Sequence[Curve], models: Sequence[str], metrics: Sequence[str], mean: str, seed: int) -> list[Entry]:
    """One row a metric and model: over all clips, and over those of each case where there are several."""
    cases = list(dict.fromkeys(curve.case for curve in curves if curve.case is not None))
    rows: list[Entry] = []
    for metric in metrics:
        if metric not in METRICS:
            continue
        for model in models:
            own = [curve for curve in curves if curve.metric == metric and curve.model == model]
            for case in [None, *cases] if len(cases) > 1 else [None]:
                chosen = [curve for curve in own if case in (None, curve.case) and not math.isnan(curve.mean)]
                rows.append(_row(chosen, model, metric, mean, seed, case))
    return rows


def _row(curves: Sequence[Curve], model: str, metric: str, mean: str, seed: int, case: str | None) -> Entry:
    means = np.array([curve.mean for curve in curves], np.float64)
    counts = np.array([np.count_nonzero(~np.isnan(curve.values)) if mean == "frames" else 1 for curve in curves], np.float64)
    row: Entry = {"model": model, "metric": metric, "mean": None, "low": None, "high": None, "clips": len(curves), "case": case}
    if not len(curves):
        return row
    row["mean"] = _told(float((means * counts).sum() / counts.sum()))
    if len(curves) > 1:
        pairs = np.stack([means * counts, counts], axis=1)
        found = mean_interval(means, seed) if mean == "clips" else bootstrap_interval(pairs, _ratio, seed, resamples=2000)
        row |= {"low": _told(found.low), "high": _told(found.high)}
    return row


def _ratio(pairs: NDArray[np.float64]) -> float:
    return float(pairs[:, 0].sum() / pairs[:, 1].sum())


def _set_rows(settings: EvalSettings, clips: Sequence[str], models: Sequence[str], metrics: Sequence[str]) -> tuple[list[Entry], list[str]]:
    rows: list[Entry] = []
    notes: dict[str, None] = {}
    for name in metrics:
        if name not in SET_METRICS:
            continue
        metric = SET_METRICS[name]
        real = np.stack([read_features(settings.output, clip, "truth", metric.features) for clip in clips])
        for model in models:
            made = np.stack([read_features(settings.output, clip, model, metric.features) for clip in clips])
            measured = metric.measure(real, made, settings.seed)
            notes |= dict.fromkeys(measured.notes)
            rows.append(set_row(model, name, measured, len(clips)))
    return rows, list(notes)


def set_row(model: str, metric: str, measured: Measured, clips: int) -> Entry:
    """One row of a set metric."""
    low, high = (None if bound is None else _told(bound) for bound in (measured.low, measured.high))
    return {"model": model, "metric": metric, "mean": _told(measured.value), "low": low, "high": high, "clips": clips, "case": None}


def _told(value: float) -> float | str | None:
    return None if math.isnan(value) else "inf" if value == math.inf else float(value)
