"""`framefill info`, `mask check` and `demo`: commands that show something."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from framefill.apps.cli.guard import say
from framefill.errors import UsageError
from framefill.media.mask_rule import MaskRule
from framefill.media.reader import open_video, probe
from framefill.media.video import VideoMeta
from framefill.samples import Scene


def print_info(path: str, as_json: bool) -> None:
    """Print what a source says of itself."""
    meta = probe(path)
    if as_json:
        print(json.dumps({"path": path, **_described(meta)}))
        return
    rate = "unknown" if meta.fps is None else f"{float(meta.fps):g} frames/s"
    length = "unknown length" if meta.duration is None else f"{meta.duration:.2f} s"
    frames = "" if meta.num_frames is None else f", {meta.num_frames} frame{'s' * (meta.num_frames != 1)}"
    print(f"{path}: {meta.container or meta.kind}, {meta.width}x{meta.height}, {rate}, {length}{frames}")
    turned = f", turned by {meta.rotation} degrees" if meta.rotation else ""
    shape = f", pixel shape {meta.sample_aspect_ratio}" if meta.sample_aspect_ratio != 1 else ""
    print(f"  picture: {meta.codec or 'images'}, {meta.pix_fmt}, {meta.bit_depth} bit{turned}{shape}")
    for track in meta.tracks:
        words = (track.kind + ":", track.codec, track.detail, track.language, track.title)
        print("  " + " ".join(word for word in words if word))
    for chapter in meta.chapters:
        print(f"  chapter: {chapter.start:.2f} to {chapter.end:.2f} s {chapter.title}".rstrip())


def _described(meta: VideoMeta) -> dict[str, object]:
    return {
        "kind": meta.kind,
        "container": meta.container,
        "codec": meta.codec,
        "size": [meta.width, meta.height],
        "fps": _number(meta.fps),
        "frames": meta.num_frames,
        "seconds": meta.duration,
        "time_base": str(meta.time_base),
        "rotation": meta.rotation,
        "sample_aspect_ratio": str(meta.sample_aspect_ratio),
        "pix_fmt": meta.pix_fmt,
        "bit_depth": meta.bit_depth,
        "color": {"range": meta.color_range, "space": meta.color_space, "primaries": meta.color_primaries, "trc": meta.color_trc},
        "bit_rate": meta.bit_rate,
        "tracks": [{"kind": t.kind, "codec": t.codec, "detail": t.detail, "language": t.language, "title": t.title} for t in meta.tracks],
        "chapters": [{"start": c.start, "end": c.end, "title": c.title} for c in meta.chapters],
        "metadata": meta.metadata,
    }


def _number(value: Fraction | None) -> float | None:
    return None if value is None else round(float(value), 6)


def check_mask(video: str, fps: Fraction | None, mask: str | None, boxes: Sequence[str], rule: MaskRule, sheet: Path) -> None:
    """Print how a mask is understood for a video and write the contact sheet."""
    from framefill.jobs.targets import check_sheet
    from framefill.media import mask_sheet
    from framefill.media.mask import open_mask

    check_sheet(sheet, [video] if mask is None else [video, mask])
    with open_video(video, fps) as reader:
        found = mask_sheet.check_mask(reader, open_mask(mask, reader, rule, boxes), sheet)
        for line in found.lines:
            say(line)
        for warning in dict.fromkeys([*reader.warnings, *found.warnings]):
            say(f"warning: {warning}")
    print(found.sheet)


def run_demo(scene: Scene | None, minutes: float | None, folder: Path, arguments: Sequence[str]) -> None:
    """Run the main job on a packaged sample; results of an earlier demo in `folder` are replaced."""
    from framefill.apps.cli.fill import Printing, fill_all
    from framefill.jobs.batch import make_folder
    from framefill.jobs.settings import FillSettings
    from framefill.samples import SCENES, sample

    if minutes is not None:
        raise UsageError("--minutes is how long --train goes; give both, or neither")
    make_folder(folder)
    report = folder / "report.html"
    name: Scene = scene or "vtest"
    clip, mask = SCENES[name]
    settings = FillSettings(sample(clip), folder / f"{name}-filled.mp4", mask=sample(mask), report=report, overwrite=True)
    fill_all(settings, [str(settings.input)], Printing(arguments, json=False, quiet=False, debug=False))
    print(report)
