"""The timeline: provenance shares, seam score and change in time over the clip, as inline SVG that stretches with the page.

The drawings use a unit square of 1000 x 100 stretched to any width (strokes do not stretch); every label is HTML beside them, so
that text keeps its size on a phone. A long clip is summed up in at most `MOST_COLUMNS` columns, each with the mean and, for
the scores, the least and the largest value of its frames: no single bad frame is averaged away.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from framefill.apps.report.readable import ceiling, count, percent, seconds
from framefill.evaluation.report.markup import Attributes, Markup, element, joined
from framefill.jobs.record import FrameRecord, RunRecord

MOST_COLUMNS = 480
LEAST_LEVELS = 5.0  # an axis of scores never ends lower, so that a fraction of a level does not look like a cliff
WIDTH, HEIGHT = 1000, 100


@dataclass(frozen=True)
class Band:
    """The least, mean and largest score of a column's frames."""

    low: float
    mean: float
    high: float


@dataclass(frozen=True)
class Column:
    """What one column of the drawing shows: frames `first` .. `last`, `seconds` of the first, mean shares, bands of scores."""

    first: int
    last: int
    seconds: float
    propagated: float
    generated: float
    seam: Band | None
    jump: Band | None


def columns(timeline: Sequence[FrameRecord], most: int = MOST_COLUMNS) -> list[Column]:
    """Return the timeline summed up in at most `most` columns of equally many frames (the last may have fewer)."""
    step = max(1, math.ceil(len(timeline) / most))
    return [_column(timeline[start : start + step]) for start in range(0, len(timeline), step)]


def drawing(record: RunRecord) -> Markup:
    """Return the figure: three charts over one axis of time, the marks of windows and key frames, and the data for the pointer."""
    shown = columns(record.timeline)
    step = math.ceil(len(record.timeline) / len(shown))
    place = {frame.index: position / (step * len(shown)) for position, frame in enumerate(record.timeline)}
    charts = [_shares_chart(shown)]
    charts.append(_score_chart("Seam in space", "levels", [column.seam for column in shown]))
    charts.append(_score_chart("Change in time inside the hole", "levels", [column.jump for column in shown]))
    marks = [_mark("window", place[border]) for border in record.window_borders if border in place]
    keys = [_mark("key", place[key.index]) for key in record.key_frames if key.index in place]
    track = element(
        "div",
        {"class": "charts", "id": "charts"},
        *charts,
        element("div", {"class": "lane", "aria-hidden": "true"}, *marks, *keys),
        element("div", {"class": "crosshair", "aria-hidden": "true"}),
    )
    scrubber: Attributes = {
        "type": "range",
        "id": "scrub",
        "class": "script",
        "min": 0,
        "max": len(shown) - 1,
        "value": 0,
        "aria-label": "Frame",
    }
    return joined(track, element("input", scrubber), _axis(record.timeline, step * len(shown)), _data(shown, step))


def sampling(record: RunRecord) -> str:
    """Say how frames became columns, or nothing where each frame has its own."""
    step = math.ceil(len(record.timeline) / MOST_COLUMNS)
    if step <= 1:
        return ""
    return (
        f"The clip's {count(len(record.timeline), 'frame')} are summed up {step} at a time: "
        "lines and areas show the mean, the pale band reaches from the least to the largest value."
    )


def _column(frames: Sequence[FrameRecord]) -> Column:
    return Column(
        first=frames[0].index,
        last=frames[-1].index,
        seconds=frames[0].seconds,
        propagated=sum(frame.shares.propagated for frame in frames) / len(frames),
        generated=sum(frame.shares.generated for frame in frames) / len(frames),
        seam=_band(frame.seam for frame in frames),
        jump=_band(frame.jump for frame in frames),
    )


def _band(scores: Iterable[float | None]) -> Band | None:
    known = [score for score in scores if score is not None and math.isfinite(score)]
    return Band(min(known), sum(known) / len(known), max(known)) if known else None


def _shares_chart(shown: Sequence[Column]) -> Markup:
    propagated = [column.propagated for column in shown]
    made = [column.propagated + column.generated for column in shown]
    top = min(ceiling(max(made)), 1.0) if any(made) else 0.01
    nothing = [0.0] * len(shown)
    areas = [
        element("path", {"class": "area propagated", "d": _area(nothing, propagated, top)}),
        element("path", {"class": "area generated", "d": _area(propagated, made, top)}),
    ]
    words = f"Share of the picture that was made, over the clip: at most {percent(max(made))}"
    return _chart("Made share of the picture", f"{100 * top:g} %", words, areas, "tall")  # a round number


def _score_chart(title: str, unit: str, bands: Sequence[Band | None]) -> Markup:
    known = [band for band in bands if band is not None]
    top = ceiling(max([band.high for band in known] + [LEAST_LEVELS]))
    if not known:
        return _chart(title, f"{top:g}", f"{title}: nothing to measure", [], "empty")
    layers = []
    for start, run in _runs(bands):
        begin, end = start / len(bands), (start + len(run)) / len(bands)
        low, mean, high = ([getattr(band, part) for band in run] for part in ("low", "mean", "high"))
        if low != high:
            layers.append(element("path", {"class": "band", "d": _area(low, high, top, begin, end)}))
        layers.append(element("path", {"class": "line", "d": "M" + " L".join(_points(mean, top, begin, end))}))
    words = f"{title}, in 8-bit {unit}: from {min(band.low for band in known):.1f} to {max(band.high for band in known):.1f}"
    return _chart(f"{title}, {unit}", f"{top:g}", words, layers, "low")


def _chart(title: str, top: str, words: str, layers: Sequence[Markup], kind: str) -> Markup:
    box: Attributes = {"viewBox": f"0 0 {WIDTH} {HEIGHT}", "preserveAspectRatio": "none", "role": "img", "aria-label": words}
    return element(
        "div",
        {"class": f"chart {kind}"},
        element("div", {"class": "chart-title"}, title),
        element("span", {"class": "top"}, top),
        element("span", {"class": "bottom"}, "0"),
        element("div", {"class": "plot"}, element("svg", box, *layers)),
    )


def _runs(bands: Sequence[Band | None]) -> list[tuple[int, list[Band]]]:
    """Return the unbroken stretches of bands, each with the column at which it starts."""
    runs: list[tuple[int, list[Band]]] = []
    for position, band in enumerate(bands):
        if band is None:
            continue
        if runs and runs[-1][0] + len(runs[-1][1]) == position:
            runs[-1][1].append(band)
        else:
            runs.append((position, [band]))
    return runs


def _points(values: Sequence[float], top: float, begin: float = 0.0, end: float = 1.0) -> list[str]:
    """Return `x y` at the middle of each column, held level to the outer edges, so that one column is a line too."""
    width = (end - begin) / len(values)
    across = [begin, *(begin + (position + 0.5) * width for position in range(len(values))), end]
    up = [values[0], *values, values[-1]]
    return [f"{WIDTH * x:.4g} {HEIGHT * (1 - y / top):.4g}" for x, y in zip(across, up, strict=True)]


def _area(lower: Sequence[float], upper: Sequence[float], top: float, begin: float = 0.0, end: float = 1.0) -> str:
    forth, back = _points(upper, top, begin, end), _points(lower, top, begin, end)
    return "M" + " L".join([*forth, *reversed(back)]) + "Z"


def _mark(kind: str, place: float) -> Markup:
    return element("i", {"class": kind, "style": f"left:{100 * place:.4g}%"})


def _axis(timeline: Sequence[FrameRecord], slots: int) -> Markup:
    """Return up to five labels, each at the left edge of the frame whose time it names."""
    wanted = min(5, len(timeline))
    positions = sorted({round(part * (len(timeline) - 1) / max(wanted - 1, 1)) for part in range(wanted)})
    ticks = []
    for order, position in enumerate(positions):
        style = f"left:{100 * position / slots:.4g}%" if order < len(positions) - 1 or order == 0 else "right:0"
        ticks.append(element("span", {"style": style}, seconds(timeline[position].seconds)))
    return element("div", {"class": "axis", "aria-hidden": "true"}, *ticks)


def _data(shown: Sequence[Column], step: int) -> Markup:
    """Return the columns as JSON for the script; `<` is written as an escape, so that no text can end the element."""
    rows = [
        [column.first, column.last, round(column.seconds, 3), round(column.propagated, 5), round(column.generated, 5)]
        + [None if band is None else [round(value, 2) for value in (band.low, band.mean, band.high)] for band in (column.seam, column.jump)]
        for column in shown
    ]
    text = json.dumps({"step": step, "columns": rows}, separators=(",", ":")).replace("<", "\\u003c")
    return element("script", {"type": "application/json", "id": "timeline-data"}, Markup(text))
