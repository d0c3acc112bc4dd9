"""Generation: a set of made clips against a set of real ones, by features of I3D (`fvd2048_16f` and every other count and length).

The sampling is StyleGAN-V's (arXiv 2112.14683): real clips begin at a random frame of videos that are long enough.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np

from framefill.errors import UnreadableMedia
from framefill.evaluation.clips import Resize, find_clips, resized
from framefill.evaluation.protocols.base import Option, SetProtocol, Settings, parse_size
from framefill.evaluation.protocols.completion import RESIZE
from framefill.media.reader import open_video
from framefill.media.video import Frames

NAME = re.compile(r"fvd(\d+)_(\d+)f(?:_s(\d+))?")


@dataclass(frozen=True)
class Drawn:
    """Where a clip of a set comes from: frames `start`, `start + stride`, ... of a video, mirrored left to right or not."""

    path: Path
    start: int
    mirrored: bool


def fvd(count: int, length: int, stride: int = 1) -> SetProtocol:
    """Make the protocol `fvd{count}_{length}f`, with `_s{stride}` where every stride-th frame is taken."""
    every = f", one in {stride} taken" if stride > 1 else ""
    return SetProtocol(
        name=f"fvd{count}_{length}f" + (f"_s{stride}" if stride > 1 else ""),
        about=f"generated clips against real ones: FVD of {count} clips of {length} frames{every}, as StyleGAN-V measures it",
        layout="--clips REAL: videos or folders of frames; --results NAME=DIR: the generated clips of each model, of any names",
        options={
            "count": Option(count, "how many clips of each set"),
            "length": Option(length, "frames of each clip"),
            "stride": Option(stride, "every n-th frame is taken"),
            "size": Option("source", "width x height clips are resized to before the feature network resizes them to 224, or source"),
            "resize": RESIZE,
            "mirror": Option("on", "whether half of the real clips are mirrored left to right", ("on", "off")),
        },
        define=_define,
        metrics=("fvd", "fvd-floor", "kvd", "diversity", "nearest"),
    )


def by_name(name: str) -> SetProtocol | None:
    """Return the protocol that a name such as `fvd256_16f` or `fvd2048_128f_s8` stands for; None when it is no such name."""
    found = NAME.fullmatch(name)
    if found is None:
        return None
    count, length, stride = (int(part or 1) for part in found.groups())
    return fvd(count, length, stride) if min(count, length, stride) > 0 else None


def _define(settings: Settings) -> list[str]:
    span = (int(settings["length"]) - 1) * int(settings["stride"]) + 1
    every = f", one in {settings['stride']} taken" if settings["stride"] != 1 else " in a row"
    mirror = ", half of them mirrored" if settings["mirror"] == "on" else ""
    return [
        f"{settings['count']} clips of each set, {settings['length']} frames{every}. Real clips begin at a random frame of"
        f" videos with at least {span} frames{mirror}; generated ones at their first frame.",
        f"Frames at {settings['size']} ({settings['resize']}), uint8, mapped to -1..1, resized to 224x224; I3D (Kinetics-400), 400 logits; Fréchet distance.",
        "Where a set has fewer videos than clips are wanted, its videos are drawn again, at other frames; a set of generated clips is taken as it is.",
        "fvd-floor: the FVD of one half of the real clips against the other, below which no difference means anything at this count.",
        "FVD is biased to what frames show over how they move, and changes with codec, resize filter, clip count and length: compare at equal settings only.",
    ]


def draw_real(folder: Path, settings: Settings, seed: int) -> tuple[list[Drawn], list[str]]:
    """Draw the real clips: every long enough video in turn, shuffled anew each round. Raises UnreadableMedia when none is long enough."""
    count, span = int(settings["count"]), _span(settings)
    videos = {path: frames for path in find_clips(folder).values() if (frames := _length(path)) >= span}
    if not videos:
        raise UnreadableMedia(f"{folder} has no video of {span} frames or more; give longer ones or a protocol of fewer frames")
    rng = np.random.default_rng([seed, 0x5EA1])
    drawn: list[Drawn] = []
    while len(drawn) < count:
        for index in rng.permutation(len(videos))[: count - len(drawn)]:
            path = list(videos)[index]
            start = int(rng.integers(0, videos[path] - span, endpoint=True))
            drawn.append(Drawn(path, start, bool(rng.integers(2)) and settings["mirror"] == "on"))
    left_out = len(find_clips(folder)) - len(videos)
    notes = [f"{left_out} real videos are shorter than {span} frames and left out"] if left_out else []
    if len(videos) < count:
        notes.append(f"{count} real clips are drawn from {len(videos)} videos, several from each")
    return drawn, notes


def list_made(folder: Path, settings: Settings) -> tuple[list[Drawn], list[str]]:
    """List the generated clips, at most as many as the protocol counts. Raises UnreadableMedia where one is too short."""
    span, count = _span(settings), int(settings["count"])
    paths = list(find_clips(folder).values())[:count]
    for path in paths:
        if (frames := _length(path)) < span:
            raise UnreadableMedia(f"{path} has {frames} frames, the protocol wants {span}")
    notes = [] if len(paths) == count else [f"{folder.name}: {len(paths)} clips; the protocol wants {count}, and FVD falls with the count"]
    return [Drawn(path, 0, False) for path in paths], notes


def read_drawn(drawn: Drawn, settings: Settings) -> Frames:
    """Read one clip of a set as uint8 T H W 3."""
    stride, size, resize = int(settings["stride"]), parse_size(settings["size"]), cast("Resize", settings["resize"])
    with open_video(drawn.path) as reader:
        frames = [resized(frame.rgb, size, resize) for frame in islice(reader.frames(drawn.start), 0, _span(settings), stride)]
    if len(frames) < int(settings["length"]):
        raise UnreadableMedia(f"{drawn.path} ends early: {len(frames)} of {settings['length']} frames from {drawn.start} on")
    clip = np.stack(frames)
    return np.ascontiguousarray(clip[:, :, ::-1]) if drawn.mirrored else clip


def _span(settings: Settings) -> int:
    return (int(settings["length"]) - 1) * int(settings["stride"]) + 1


def _length(path: Path) -> int:
    with open_video(path) as reader:
        told = reader.meta.num_frames if reader.meta.kind == "images" else None
        return told if told is not None else sum(1 for _ in reader)


PROTOCOLS = (fvd(2048, 16), fvd(2048, 128), fvd(2048, 16, 8))
