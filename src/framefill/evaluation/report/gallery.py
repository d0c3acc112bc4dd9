"""The part of the page that goes clip by clip: the video side by side, key frames where the models differ, and curves over the frames."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

from framefill.evaluation.report import words
from framefill.evaluation.report.markup import Markup, element, joined
from framefill.evaluation.report.plots import Curve, Look, curve_plot, legend
from framefill.evaluation.report.read import Clip, Metric, Region, Run
from framefill.evaluation.report.videos import KeyFrame, Panel, Picture, Still, data_uri, key_frames, montage, panels

ClipCurves: TypeAlias = "dict[str, dict[str, Curve]]"  # by metric, then model
VIDEO_BUDGET = 5_000_000  # bytes of video in a page; what is beyond lies beside it
VIDEO_MOST = 2_000_000  # bytes of one video in a page
STILL_BUDGET = 4_500_000  # bytes of JPEG in a page
FEW, SOME = 6, 20  # clips: up to FEW are open at once, up to SOME have two key frames each and close-ups, beyond that one
QUALITIES = (85, 75, 62, 48)  # JPEG, the first with which a clip's pictures fit its share
MOST_CLIPS = 50  # with pictures and curves of their own
MOST_CURVES = 8  # plots a clip
PARTS: tuple[Region | None, ...] = ("hole", "whole", "rim", "outside", None)  # which curves come first


@dataclass
class Budget:
    """The bytes of video that the page may still take."""

    video: int
    written: list[Path] = field(default_factory=list)  # the videos that lie beside the page


def gallery(run: Run, shown: Mapping[str, Look]) -> Markup:
    """Return one block a clip; videos that do not fit the page are written to `media` in the run's folder.

    Raises `UnreadableMedia` where one of the run's videos is damaged, `UnwritableMedia` where the disk refuses.
    """
    budget = Budget(VIDEO_BUDGET)
    curves = _curves(run)
    chosen = shown_clips(run)
    blocks = [_clip(run, run.clips[number - 1], number, curves.get(run.clips[number - 1].name, {}), shown, budget) for number in chosen]
    media = run.folder / "media"
    if media.is_dir():
        for old in set(media.glob("[0-9][0-9][0-9]-*.mp4")) - set(budget.written):  # of a report written before
            old.unlink()
        with contextlib.suppress(OSError):  # the folder stays while anything is in it
            media.rmdir()
    left = len(run.clips) - len(chosen)
    some = f"{len(chosen)} of the {len(run.clips)} clips, evenly chosen; the values of all are below and in results.csv. " if left else ""
    return joined(element("p", {"class": "note"}, f"{some}Click a clip's line to open or close it."), *blocks)


def shown_clips(run: Run) -> list[int]:
    """The numbers, from 1, of the clips that have a block of their own: all, or `MOST_CLIPS` spread evenly over the run."""
    if len(run.clips) <= MOST_CLIPS:
        return list(range(1, len(run.clips) + 1))
    return [1 + round(place * (len(run.clips) - 1) / (MOST_CLIPS - 1)) for place in range(MOST_CLIPS)]


def anchor(number: int) -> str:
    """The id of a clip's block, by its number from 1."""
    return f"clip-{number}"


def _clip(run: Run, clip: Clip, number: int, curves: ClipCurves, shown: Mapping[str, Look], budget: Budget) -> Markup:
    facts = f"{words.count(clip.frames, 'frame')}, {clip.width} × {clip.height}"
    head = element("summary", {}, element("b", {}, clip.name), " ", element("span", {}, f"{facts}{f', {clip.case}' if clip.case else ''}"))
    found = panels(run, clip)
    none = element("p", {"class": "note"}, "The run kept no videos of this clip.")
    parts = [_pictures(run, clip, number, found, budget) if found else none, _plots(run, clip, curves, shown)]
    return element("details", {"class": "clip", "id": anchor(number), "open": len(run.clips) <= FEW}, head, *parts)


def _pictures(run: Run, clip: Clip, number: int, found: Sequence[Panel], budget: Budget) -> Markup:
    path = run.folder / "media" / f"{number:03}-{re.sub(r'[^A-Za-z0-9]+', '-', clip.name).strip('-') or 'clip'}.mp4"
    maps = montage(found, path)
    size = path.stat().st_size
    names = words.listed([panel.label for panel in found if panel.label != "mask"])
    if size <= min(budget.video, VIDEO_MOST):
        budget.video -= size
        source, note = data_uri("video/mp4", path.read_bytes()), ""
        path.unlink()
    else:
        budget.written.append(path)
        source = quote(f"media/{path.name}")
        note = f" This video lies beside the page, in {source}: keep them together."
    cut = f" The video shows the first {len(maps)} of {clip.frames} frames." if len(maps) < clip.frames else ""
    label = f"{clip.name}: {names}, side by side"
    player = element(
        "video",
        {"controls": True, "loop": True, "muted": True, "playsinline": True, "preload": "metadata", "src": source, "aria-label": label},
        "Your browser cannot play H.264 video.",
    )
    return joined(player, element("p", {"class": "note"}, f"Side by side: {names}.{cut}{note}"), _strips(run, clip, found, maps))


def _strips(run: Run, clip: Clip, found: Sequence[Panel], maps: Sequence[Picture]) -> Markup:
    share = STILL_BUDGET // len(shown_clips(run))
    count = 2 if len(run.clips) <= SOME else 1
    frames = key_frames(found, maps, count, close_ups=len(run.clips) <= SOME)
    stills = [still for frame in frames for still in (*frame.whole, *frame.close)]
    fitting = (quality for quality in QUALITIES if sum(len(still.jpeg(quality)) for still in stills) <= share)
    quality = next(fitting, QUALITIES[-1])
    made = [panel for panel in found if panel.made]
    why = "where the models differ most" if len(made) > 1 else "where the result is farthest from the truth"
    return joined(element("h4", {}, f"Key frames, {why}"), *(_strip(clip, frame, quality) for frame in frames))


def _strip(clip: Clip, frame: KeyFrame, quality: int) -> Markup:
    whole = _row(frame.whole, f"{clip.name}, frame {frame.index}", quality, small=frame.part is not None)
    parts = [element("h5", {}, f"Frame {frame.index}"), whole]
    if frame.part is not None:
        left, top, right, bottom = frame.part
        parts.append(element("p", {"class": "note"}, f"The part where they differ, x {left} to {right}, y {top} to {bottom}:"))
        parts.append(_row(frame.close, f"{clip.name}, frame {frame.index}, close up", quality, small=True))
    return element("article", {"class": "strip"}, *parts)


def _row(stills: Sequence[Still], about: str, quality: int, small: bool) -> Markup:
    """Return the pictures in one row, or in two where they are many and no close-ups follow."""
    columns = len(stills) if len(stills) <= 5 or (small and len(stills) <= 8) else (len(stills) + 1) // 2
    return element(
        "div",
        {"class": "strip-row", "style": f"--columns:{columns}"},
        *(
            element(
                "figure",
                {},
                element(
                    "img",
                    {
                        "src": data_uri("image/jpeg", still.jpeg(quality)),
                        "alt": f"{about}: {still.label}",
                        "width": still.rgb.shape[1],
                        "height": still.rgb.shape[0],
                        "loading": "lazy",
                    },
                ),
                element("figcaption", {}, still.label),
            )
            for still in stills
        ),
    )


def _curves(run: Run) -> dict[str, ClipCurves]:
    """Return the curves of every clip."""
    found: dict[str, ClipCurves] = {}
    for result in run.results:
        if result.clip is not None and result.frames and any(value is not None for value in result.frames):
            found.setdefault(result.clip, {}).setdefault(result.metric, {})[result.model] = result.frames
    return found


def _plots(run: Run, clip: Clip, curves: ClipCurves, shown: Mapping[str, Look]) -> Markup:
    """Return the plots of the metrics that vary over the frames, those of the hole first, and name those that are not drawn."""
    metrics = sorted((run.metrics[key] for key in curves), key=lambda metric: PARTS.index(metric.region))
    flat = [metric for metric in metrics if not _varies(curves[metric.key])]
    drawn = [metric for metric in metrics if metric not in flat]
    left = drawn[MOST_CURVES:]
    if not metrics:
        return Markup("")
    notes = [f"Not drawn, the same in every frame of every model: {words.listed([metric.title for metric in flat])}."] if flat else []
    notes += [f"Not drawn, for room: {words.listed([metric.title for metric in left])}; every value is in results.jsonl."] if left else []
    plots = [
        element("figure", {"class": "plot"}, curve_plot(metric, curves[metric.key], shown, _curve_words(clip, metric, curves[metric.key])))
        for metric in drawn[:MOST_CURVES]
    ]
    if plots:
        plots = [element("h4", {}, "Frame by frame"), legend(shown), element("div", {"class": "plots"}, *plots)]
        notes.insert(0, "↑ ↓ beside a unit: the direction in which it is better.")
        if any(value is not None and math.isinf(value) for metric in drawn for curve in curves[metric.key].values() for value in curve):
            notes.insert(1, "▲ at the top: no difference at all in that frame.")
    return joined(*plots, *(element("p", {"class": "note"}, note) for note in notes))


def _varies(curves: Mapping[str, Curve]) -> bool:
    return len({value for curve in curves.values() for value in curve if value is not None}) > 1


def _curve_words(clip: Clip, metric: Metric, curves: Mapping[str, Curve]) -> str:
    """What the plot shows, for those who cannot see it."""
    spans = []
    for model, curve in curves.items():
        known = [value for value in curve if value is not None and abs(value) != float("inf")]
        if known:
            digits = words.decimals(known)
            spans.append(f"{model} {words.written(min(known), digits)} to {words.written(max(known), digits)}")
    return f"{clip.name}: {metric.title} over the frames ({metric.key}). {'; '.join(spans)}"
