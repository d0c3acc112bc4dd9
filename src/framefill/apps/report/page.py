"""The page's words and order: what a reader wants first stands first, the evidence below, the settings last."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from string import Template

import numpy as np
from numpy.typing import NDArray

from framefill.apps.report import timeline
from framefill.apps.report.pictures import Strip, strips
from framefill.apps.report.readable import count, levels, percent, seconds
from framefill.evaluation.report.markup import Markup, element, joined
from framefill.evaluation.seam import temporal_seam
from framefill.families.base import GENERATED, KNOWN, PROPAGATED
from framefill.jobs.record import JsonValue, KeyFrame, RunRecord

NOTHING = Markup("")
PARTS = ("Before", "Mask", "After", "Provenance")


def render(record: RunRecord, command: str | None) -> str:
    """Return the whole page about `record` as HTML."""
    assets = files(__package__)
    pictures = strips(record.key_frames, record.sample_aspect_ratio)
    return Template(assets.joinpath("template.html").read_text("utf-8")).substitute(
        title=joined(f"{record.input.name} – framefill report"),
        style=assets.joinpath("report.css").read_text("utf-8"),
        script=assets.joinpath("report.js").read_text("utf-8"),
        header=_header(record),
        warnings=_warnings(record.warnings),
        comparison=_comparison(record.key_frames, pictures),
        timeline=_timeline(record),
        strips=_strips(record, pictures),
        details=_details(record, command),
        version=joined(record.versions.get("framefill", "")),
    )


def _header(record: RunRecord) -> Markup:
    width, height = record.size
    rate = "" if record.fps is None else f"{record.fps:.6g} frames/s"
    made = f"{'copied' if record.copied else 'filled'} as {record.output.name}"
    shape = record.sample_aspect_ratio
    size = f"{width} × {height}" + ("" if shape == 1 else f", pixels {shape.numerator}:{shape.denominator}")
    facts = [made, size, count(record.frames, "frame"), rate, f"model {record.model}"]
    return joined(
        element("h1", {"title": str(record.input)}, record.input.name),
        element("p", {"class": "facts"}, " · ".join(fact for fact in facts if fact)),
        _verdict(record),
        _tiles(record),
        _composition(record),
    )


def _verdict(record: RunRecord) -> Markup:
    if record.copied:
        line, proof = "Nothing was masked", "The streams were copied as they are, without re-encoding."
    elif record.outside_max_diff == 0:
        line = "Known pixels unchanged: max difference 0"
        proof = "Measured between every frame handed to the encoder and the decoded input, outside the mask that was used."
    else:
        line = f"Known pixels changed: max difference {record.outside_max_diff}"
        proof = "Frames handed to the encoder differ, in steps of 255, from the decoded input outside the mask. Please report this."
    good = record.copied or record.outside_max_diff == 0
    sign = element("span", {"class": "sign", "aria-hidden": "true"}, "✓" if good else "!")
    return element(
        "div", {"class": "verdict good" if good else "verdict bad"}, sign, element("p", {}, element("strong", {}, line), " ", proof)
    )


def _tiles(record: RunRecord) -> Markup:
    hole = _hole(record)
    scores = [(frame.seam, frame.index) for frame in record.timeline if frame.seam is not None and math.isfinite(frame.seam)]
    tiles = [
        ("frames with a hole", f"{record.frames_filled:,}", f"of {record.frames:,}"),
        ("made in all", percent(hole), "of the clip's picture"),
        ("propagated", percent(record.provenance.propagated / hole) if hole else "–", "of what was made"),
        ("generated", percent(record.provenance.generated / hole) if hole else "–", "of what was made"),
    ]
    if record.left:
        tiles.append(("left as it was", percent(record.left), "of the masked pixels"))
    if scores:
        mean = sum(score for score, _ in scores) / len(scores)
        worst, where = max(scores, key=lambda pair: (pair[0], -pair[1]))
        tiles.append(("seam score, mean", levels(mean), f"levels; largest {levels(worst)} at frame {where:,}"))
    tiles.append(("speed", f"{record.frames_per_second:.1f}", f"frames/s; {_duration(record.seconds)} in all"))
    return element("dl", {"class": "tiles"}, *(_tile(*tile) for tile in tiles))


def _tile(name: str, figure: str, unit: str) -> Markup:
    return element("div", {}, element("dt", {}, name), element("dd", {}, element("b", {}, figure), " ", element("small", {}, unit)))


def _composition(record: RunRecord) -> Markup:
    """Return the bar that shows of what the made pixels are."""
    hole = _hole(record)
    if not hole:
        return NOTHING
    propagated = record.provenance.propagated / hole
    words = f"Of the made pixels {percent(propagated)} were propagated from other frames and {percent(1 - propagated)} generated"
    parts = [
        element("i", {"class": name, "style": f"flex-grow:{share:.5f}"})
        for name, share in (("propagated", propagated), ("generated", 1 - propagated))
        if share
    ]
    return joined(element("div", {"class": "composition", "role": "img", "aria-label": words}, *parts), _legend())


def _legend() -> Markup:
    entries = [("propagated", "propagated: another frame shows it"), ("generated", "generated: no frame shows it")]
    return element("p", {"class": "legend"}, *(element("span", {}, element("i", {"class": name}), words) for name, words in entries))


def _warnings(warnings: Sequence[str]) -> Markup:
    if not warnings:
        return NOTHING
    head = element("h2", {"id": "warnings-title"}, count(len(warnings), "warning"))
    items = [element("li", {}, line) for line in warnings]
    shown = element("ul", {}, *items[:6])
    rest = (
        element("details", {}, element("summary", {}, f"{len(items) - 6:,} more"), element("ul", {}, *items[6:])) if items[6:] else NOTHING
    )
    return element("section", {"class": "warnings", "aria-labelledby": "warnings-title"}, head, shown, rest)


def _comparison(keys: Sequence[KeyFrame], pictures: Sequence[Strip]) -> Markup:
    """Return the slider; the script lends it the strips' pictures, so that none is in the page twice."""
    if not keys:
        return NOTHING
    first = _showpiece(keys)
    choices = [
        element(
            "label",
            {},
            element(
                "input",
                {"type": "radio", "name": "key", "value": position, "checked": position == first, "data-frame": key.index},
            ),
            element("img", {"alt": "", "width": picture.width, "height": picture.height}),
            element("span", {}, f"{key.index:,}"),
        )
        for position, (key, picture) in enumerate(zip(keys, pictures, strict=True))
    ]
    largest = max(pictures, key=lambda picture: picture.width)
    stage = element(
        "div",
        {"class": "stage", "id": "stage", "style": f"--ratio:{largest.width / largest.height:.5f};--pixels:{largest.width}px"},
        element("img", {"class": "after", "alt": "The frame after filling"}),
        element("img", {"class": "before", "alt": "The frame before filling"}),
        element("img", {"class": "made", "alt": "", "hidden": True}),
        element("span", {"class": "tag left", "aria-hidden": "true"}, "Before"),
        element("span", {"class": "tag right", "aria-hidden": "true"}, "After"),
        element("span", {"class": "handle", "aria-hidden": "true"}),
        element(
            "input",
            {
                "type": "range",
                "id": "cut",
                "min": 0,
                "max": 100,
                "value": _middle(keys[first].mask),
                "aria-label": "Part of the frame shown before filling",
            },
        ),
    )
    overlay = element(
        "label", {"class": "switch"}, element("input", {"type": "checkbox", "id": "overlay"}), "show what was propagated and generated"
    )
    picker = element("fieldset", {"class": "picker"}, element("legend", {}, "Key frame"), element("div", {}, *choices))
    return element(
        "section",
        {"class": "script", "aria-labelledby": "compare-title"},
        element("h2", {"id": "compare-title"}, "Before and after"),
        stage,
        element("p", {"class": "under"}, element("output", {"id": "chosen"}), overlay),
        picker,
    )


def _showpiece(keys: Sequence[KeyFrame]) -> int:
    """Return the position of the key frame with the largest hole, the first of equals: the one to show first."""
    return max(range(len(keys)), key=lambda position: (float(keys[position].mask.mean()), -position))


def _middle(mask: NDArray[np.bool_]) -> int:
    """Return where the hole's middle lies between the left edge, 0, and the right edge, 100: there the slider starts."""
    columns = np.flatnonzero(mask.any(axis=0))
    return round(100 * (float(columns.mean()) + 0.5) / mask.shape[1]) if len(columns) else 50


def _timeline(record: RunRecord) -> Markup:
    if not record.timeline:
        return NOTHING
    notes = [
        "Seam in space: how many levels of 255 more the colour jumps across the mask's rim than between the known pixels just outside. "
        "0 is no more than the surroundings do.",
        "Change in time: mean difference to the frame before, in levels, inside the hole. " + _windows(record),
        timeline.sampling(record),
    ]
    marks = [("window", "a window of the filler begins")] if record.window_borders else []
    marks += [("key", "key frame")] if record.key_frames else []
    hint = "Point at a frame, or move the slider with the arrow keys." + (" Click for the nearest key frame." if record.key_frames else "")
    return element(
        "section",
        {"aria-labelledby": "timeline-title"},
        element("h2", {"id": "timeline-title"}, "Timeline"),
        element("p", {"class": "readout script"}, element("output", {"id": "readout", "for": "scrub", "data-hint": hint}, hint)),
        timeline.drawing(record),
        element(
            "p",
            {"class": "legend"},
            *(element("span", {}, element("i", {"class": name}), name) for name in ("propagated", "generated")),
            *(element("span", {}, element("i", {"class": name}), words) for name, words in marks),
        ),
        *(element("p", {"class": "note"}, note) for note in notes if note),
    )


def _windows(record: RunRecord) -> str:
    """Say how the change at window borders compares with the frames around them."""
    known = {frame.index: frame.jump for frame in record.timeline}
    inner = [border for border in record.window_borders if border]
    if not inner or not record.timeline:
        return ""
    jumps = [math.nan if (jump := known.get(index)) is None else jump for index in range(record.timeline[-1].index + 1)]
    seams = {border: seam for border, seam in temporal_seam(jumps, inner).items() if math.isfinite(seam)}
    if not seams:
        return f"{count(len(inner), 'window border')}, none inside a hole."
    worst = max(seams, key=lambda border: (seams[border], -border))
    borders = count(len(inner), "window border")
    if not seams[worst]:
        return f"{borders}: at none does the hole change more than in the frames around it."
    return f"{borders}: the largest seam in time is {levels(seams[worst])} levels above the frames around it, at frame {worst:,}."


def _strips(record: RunRecord, pictures: Sequence[Strip]) -> Markup:
    if not record.key_frames:
        return element(
            "section", {}, element("h2", {}, "Key frames"), element("p", {"class": "note"}, "None: nothing was made in this clip.")
        )
    return element(
        "section",
        {"aria-labelledby": "strips-title"},
        element("h2", {"id": "strips-title"}, "Key frames"),
        *(_strip(key, picture) for key, picture in zip(record.key_frames, pictures, strict=True)),
        element(
            "p",
            {"class": "note"},
            "Pictures on this page are scaled and compressed to look at; every figure was measured on the full frames.",
        ),
    )


def _strip(key: KeyFrame, picture: Strip) -> Markup:
    made = int(key.mask.sum())
    shares = [float((key.provenance == kind).sum()) / made if made else 0.0 for kind in (PROPAGATED, GENERATED)]
    words = f"hole {percent(made / key.mask.size)} of the picture"
    words += f" · {percent(shares[0])} of it propagated, {percent(shares[1])} generated" if made else ""
    left = made - int((key.provenance[key.mask] != KNOWN).sum())
    words += f", {percent(left / made)} left as it was" if left else ""
    figures = [
        element(
            "figure",
            {"class": part.lower()},
            element("img", {"src": source, "alt": f"{part}, frame {key.index}", "width": picture.width, "height": picture.height}),
            element("figcaption", {}, part),
        )
        for part, source in zip(PARTS, (picture.before, picture.mask, picture.after, picture.provenance), strict=True)
    ]
    heading = element("h3", {}, element("b", {}, f"Frame {key.index:,}"), " ", element("span", {}, f"{seconds(key.seconds)} · {words}"))
    return element("article", {"class": "strip"}, heading, element("div", {"class": "four"}, *figures))


def _details(record: RunRecord, command: str | None) -> Markup:
    run: dict[str, JsonValue] = {
        "output": str(record.output),
        "time, whole command": _duration(record.seconds),
        "time, filling": _duration(record.fill_seconds),
        "peak memory": f"{record.peak_memory_mb:,.0f} MB",
        "windows taken from an interrupted run": record.resumed_windows or None,
    }
    mask = element("ul", {}, *(element("li", {}, line) for line in (f"given: {record.mask}", *record.mask_lines)))
    hashes = [(path, element("code", {}, digest)) for path, digest in record.hashes.items()]
    return joined(
        _command(command),
        _block("Mask, as it was understood", mask),
        _block("Run", _table([(name, _shown(value)) for name, value in run.items() if value is not None])),
        _block("Settings", _table(_flat(record.settings))),
        _block("Versions", _table(record.versions.items())),
        _block("Inputs, sha256", _table(hashes, "wide"), "whole") if hashes else NOTHING,
    )


def _command(command: str | None) -> Markup:
    if not command:
        return NOTHING
    copy = element("button", {"type": "button", "id": "copy", "class": "script"}, "Copy")
    return _block(
        "Make it again", element("div", {"class": "command"}, element("pre", {"id": "command", "tabindex": 0}, command), copy), "whole"
    )


def _block(title: str, body: Markup, kind: str = "") -> Markup:
    return element("section", {"class": kind or None}, element("h2", {}, title), body)


def _table(rows: Iterable[tuple[str, str]], kind: str = "") -> Markup:
    lines = [element("tr", {}, element("th", {"scope": "row"}, name), element("td", {}, value)) for name, value in rows]
    return element("table", {"class": kind or None}, element("tbody", {}, *lines)) if lines else element("p", {"class": "note"}, "None.")


def _flat(settings: Mapping[str, JsonValue], above: str = "") -> list[tuple[str, str]]:
    """Return the settings one a row, those in groups as `group.name`."""
    rows: list[tuple[str, str]] = []
    for name, value in settings.items():
        rows += _flat(value, f"{above}{name}.") if isinstance(value, dict) and value else [(above + name, _shown(value))]
    return rows


def _shown(value: JsonValue) -> str:
    if value is None or value in ("", [], {}):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(_shown, value)) if isinstance(value, list) else str(value)


def _duration(time: float) -> str:
    return f"{time:.1f} s" if time < 59.95 else seconds(time)


def _hole(record: RunRecord) -> float:
    return record.provenance.propagated + record.provenance.generated
