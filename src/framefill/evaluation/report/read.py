"""An evaluation run's folder as frozen values: what was measured, on what, with what, and every number of it.

Both the report and `eval compare` read runs through here, so that a folder which is damaged or half written ends in one line,
whoever asks.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias, cast

from framefill.errors import JobError

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"
Object: TypeAlias = "dict[str, Json]"
Better = Literal["higher", "lower"]
Region = Literal["whole", "hole", "outside", "rim"]
Per = Literal["frame", "pair", "clip", "set"]
FILES = ("run.json", "results.jsonl", "summary.json")


@dataclass(frozen=True)
class Protocol:
    """How was measured: `definition` in whole lines, `settings` by name."""

    name: str
    definition: tuple[str, ...]
    settings: Mapping[str, Json]


@dataclass(frozen=True)
class Clip:
    """One clip with its mask: `frames`, `width`, `height` in pixels, `sha256` of what was measured; `case` such as still or moving."""

    name: str
    case: str | None
    frames: int
    width: int
    height: int
    sha256: str


@dataclass(frozen=True)
class Metric:
    """One measure: `title` tells it from every other of its run, `about` is one line.

    `unit` may be empty; `region` is None where the measure belongs to no part of the picture.
    """

    key: str
    title: str
    unit: str
    better: Better
    region: Region | None
    per: Per
    about: str


@dataclass(frozen=True)
class Result:
    """A model's value in a metric on a clip; `value` None where there is none, infinity where nothing differs.

    `clip` is None for a measure of the whole set. `frames` is the curve over frames or pairs of frames, None where there is none.
    """

    clip: str | None
    case: str | None
    model: str
    metric: str
    value: float | None
    frames: tuple[float | None, ...] | None


@dataclass(frozen=True)
class Row:
    """A model's mean in a metric over `clips` clips with its 95 % interval; `case` None is all of them, `low`, `high` None for one clip."""

    model: str
    metric: str
    mean: float | None
    low: float | None
    high: float | None
    clips: int
    case: str | None


@dataclass(frozen=True)
class Run:
    """One finished evaluation; `weights` are sha256 by name, `seconds` the wall time, `notes` what a reader must know."""

    folder: Path
    protocol: Protocol
    models: tuple[str, ...]
    clips: tuple[Clip, ...]
    metrics: Mapping[str, Metric]
    results: tuple[Result, ...]
    rows: tuple[Row, ...]
    versions: Mapping[str, str]
    seed: int
    weights: Mapping[str, str]
    command: str
    machine: str
    seconds: float
    notes: tuple[str, ...]

    @property
    def cases(self) -> tuple[str, ...]:
        """The mask cases in the order in which the clips have them."""
        return tuple(dict.fromkeys(clip.case for clip in self.clips if clip.case is not None))


def read_run(folder: str | Path) -> Run:
    """Return the run that lies in `folder`. Raises `JobError`, one line, where it is missing, half written or damaged."""
    folder = Path(folder)
    for name in FILES:
        if not (folder / name).is_file():
            raise JobError(f"{folder} holds no finished run: {name} is missing; run the same `framefill eval run` again to finish it")
    about = _Node.of(folder / "run.json")
    protocol = about.child("protocol")
    clips = tuple(_clip(node) for node in about.children("clips"))
    metrics = _told_apart([_metric(key, node) for key, node in about.members("metrics")])
    run = Run(
        folder=folder,
        protocol=Protocol(protocol.text("name"), protocol.texts("definition"), protocol.object("settings")),
        models=tuple(about.texts("models")),
        clips=clips,
        metrics=metrics,
        results=_results(folder / "results.jsonl"),
        rows=tuple(_row(node) for node in _Node.of(folder / "summary.json").children("rows")),
        versions=about.mapping("versions"),
        seed=about.whole("seed"),
        weights=about.mapping("weights"),
        command=about.text("command"),
        machine=about.text("machine"),
        seconds=about.number("seconds"),
        notes=about.texts("notes"),
    )
    _check(run)
    return run


def number(value: Json) -> float | None:
    """Return a number as the run's files hold it: "inf", "-inf" and "nan" are words there, "nan" is no value. Raises ValueError."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{value!r} is no number")
    found = float(value)
    return None if math.isnan(found) else found


@dataclass(frozen=True)
class _Node:
    """A JSON object and where it came from, so that a wrong entry can be named."""

    where: str
    value: Object

    @classmethod
    def of(cls, path: Path) -> _Node:
        return cls.parse(path.read_bytes(), str(path))

    @classmethod
    def parse(cls, data: bytes, where: str) -> _Node:
        try:
            value = cast("Json", json.loads(data))
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise JobError(f"{where} is damaged: {error}; run the same `framefill eval run` again to mend it") from error
        if not isinstance(value, dict):
            raise JobError(f"{where} is damaged: expected an object; run the same `framefill eval run` again to mend it")
        return cls(where, value)

    def wrong(self, name: str, expected: str) -> JobError:
        came = repr(self.value[name])[:60] if name in self.value else "nothing"
        return JobError(f"{self.where}: {name} is {came}, expected {expected}; run the same `framefill eval run` again to mend it")

    def text(self, name: str) -> str:
        value = self.value.get(name)
        if not isinstance(value, str):
            raise self.wrong(name, "text")
        return value

    def text_or_none(self, name: str) -> str | None:
        return None if self.value.get(name) is None else self.text(name)

    def texts(self, name: str) -> tuple[str, ...]:
        value = self.value.get(name)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(name, "a list of texts")
        return tuple(cast("list[str]", value))

    def whole(self, name: str) -> int:
        value = self.value.get(name)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(name, "a whole number")
        return value

    def number(self, name: str) -> float:
        value = self.number_or_none(name)
        if value is None:
            raise self.wrong(name, "a number")
        return value

    def number_or_none(self, name: str) -> float | None:
        try:
            return number(self.value.get(name))
        except ValueError:
            raise self.wrong(name, 'a number, "inf" or null') from None

    def choice(self, name: str, allowed: Sequence[str]) -> str:
        value = self.text(name)
        if value not in allowed:
            raise self.wrong(name, " or ".join(allowed))
        return value

    def object(self, name: str) -> Object:
        value = self.value.get(name)
        if not isinstance(value, dict):
            raise self.wrong(name, "an object")
        return value

    def mapping(self, name: str) -> dict[str, str]:
        return {key: str(value) for key, value in self.object(name).items()}

    def child(self, name: str) -> _Node:
        return _Node(f"{self.where}: {name}", self.object(name))

    def members(self, name: str) -> list[tuple[str, _Node]]:
        node = self.child(name)
        return [(key, node.child(key)) for key in node.value]

    def children(self, name: str) -> list[_Node]:
        value = self.value.get(name)
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.wrong(name, "a list of objects")
        return [_Node(f"{self.where}: {name} {position}", cast("Object", item)) for position, item in enumerate(value, 1)]


def _clip(node: _Node) -> Clip:
    return Clip(
        name=node.text("name"),
        case=node.text_or_none("case"),
        frames=node.whole("frames"),
        width=node.whole("width"),
        height=node.whole("height"),
        sha256=node.text("sha256"),
    )


def _metric(key: str, node: _Node) -> Metric:
    region = node.value.get("region")
    return Metric(
        key=key,
        title=node.text("title"),
        unit=node.text("unit"),
        better=cast("Better", node.choice("better", ("higher", "lower"))),
        region=None if region is None else cast("Region", node.choice("region", ("whole", "hole", "outside", "rim"))),
        per=cast("Per", node.choice("per", ("frame", "pair", "clip", "set"))),
        about=node.text("about"),
    )


def _told_apart(metrics: Sequence[Metric]) -> dict[str, Metric]:
    """Return the metrics by key; a title that several have gets its region, and where that does not help its key."""
    shared = Counter(metric.title for metric in metrics)
    named = []
    for metric in metrics:
        clear = shared[metric.title] == 1 or metric.region in (None, "whole")
        named.append(metric if clear else replace(metric, title=f"{metric.title}, {metric.region}"))
    again = Counter(metric.title for metric in named)
    return {metric.key: metric if again[metric.title] == 1 else replace(metric, title=f"{metric.title} ({metric.key})") for metric in named}


def _results(path: Path) -> tuple[Result, ...]:
    """Each line of `results.jsonl`; a line cut off by a killed run is damage like any other."""
    lines = path.read_bytes().split(b"\n")
    return tuple(_result(_Node.parse(line, f"{path} line {position}")) for position, line in enumerate(lines, 1) if line.strip())


def _result(node: _Node) -> Result:
    curve = node.value.get("frames")
    frames: tuple[float | None, ...] | None = None
    if curve is not None:
        if not isinstance(curve, list):
            raise node.wrong("frames", "a list of numbers")
        try:
            frames = tuple(number(value) for value in curve)
        except ValueError:
            raise node.wrong("frames", "a list of numbers") from None
    return Result(
        clip=node.text_or_none("clip"),
        case=node.text_or_none("case"),
        model=node.text("model"),
        metric=node.text("metric"),
        value=node.number_or_none("value"),
        frames=frames,
    )


def _row(node: _Node) -> Row:
    return Row(
        model=node.text("model"),
        metric=node.text("metric"),
        mean=node.number_or_none("mean"),
        low=node.number_or_none("low"),
        high=node.number_or_none("high"),
        clips=node.whole("clips"),
        case=node.text_or_none("case"),
    )


def _check(run: Run) -> None:
    """Refuse numbers of what the run does not know, and names that would lead out of its folder."""
    clips = {clip.name for clip in run.clips}
    for where, entries in (("results.jsonl", run.results), ("summary.json", run.rows)):
        for entry in entries:
            if entry.model not in run.models or entry.metric not in run.metrics:
                raise JobError(
                    f"{run.folder / where} has a value of {entry.model!r} in {entry.metric!r}, which run.json does not list; "
                    "these are parts of two runs: run the same `framefill eval run` again into an empty folder"
                )
    for result in run.results:
        if result.clip is not None and result.clip not in clips:
            raise JobError(
                f"{run.folder / 'results.jsonl'} has a value for the clip {result.clip!r}, which run.json does not list; "
                "these are parts of two runs: run the same `framefill eval run` again into an empty folder"
            )
    for name in (*clips, *run.models):
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise JobError(f"{run.folder / 'run.json'} names {name!r}, which leads out of the run's folder; this run is not to be trusted")
