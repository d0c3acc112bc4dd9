"""Make the clips and masks of src/framefill/samples from their two sources, which SOURCES.md there names.

    python tools/make_samples.py cityCC0.mpg vtest.avi src/framefill/samples

The masks are made, not drawn: the man who walks over the court is found by background subtraction against the temporal median and
followed; over the city hang two swaying wires and a drifting balloon, which never were there, so that the truth is known.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Picture = NDArray[np.uint8]

CITY_FRAMES = (2, 98)  # 96 frames at 25 per second, before the first cut
CITY_SIZE = (640, 360)
COURT_FRAMES = (214, 254)  # 40 frames at 10 per second
COURT_START = (657.0, 362.0)  # x, y of the walking man's middle in the first of them
AUDIO_RATE = 48_000


def main() -> None:
    """Read the two sources, write four files and say how large they are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("city", type=Path, help="cityCC0.mpg")
    parser.add_argument("court", type=Path, help="vtest.avi")
    parser.add_argument("folder", type=Path, help="where the samples go")
    args = parser.parse_args()

    city = [frame.reformat(*CITY_SIZE, format="yuv420p", interpolation="LANCZOS") for frame in decode(args.city, *CITY_FRAMES)]
    write_clip(args.folder / "city.mp4", city, rate=25, crf=24, sound=chord(len(city) / 25))
    write_mask(args.folder / "city-mask.mp4", [wires_and_balloon(t) for t in range(len(city))], rate=25)

    court = [frame.reformat(format="yuv420p") for frame in decode(args.court, *COURT_FRAMES)]
    write_clip(args.folder / "vtest.mp4", court, rate=10, crf=19)
    background = median(args.court, step=8)
    write_mask(args.folder / "vtest-mask.mp4", follow([rgb(frame) for frame in court], background), rate=10)

    for path in sorted(args.folder.glob("*.mp4")):
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def decode(path: Path, start: int, stop: int | None, step: int = 1) -> Iterator[av.VideoFrame]:
    """Frames `start .. stop` of a file, every `step`-th."""
    with av.open(str(path)) as container:
        yield from islice(container.decode(video=0), start, stop, step)


def rgb(frame: av.VideoFrame) -> Picture:
    """The frame's picture, uint8 H W 3."""
    return frame.to_ndarray(format="rgb24").astype(np.uint8)


def median(path: Path, step: int) -> Picture:
    """The temporal median of a fixed camera's clip: what stands there when nobody walks by; uint8 H W 3."""
    middle = np.median(np.stack([rgb(frame) for frame in decode(path, 0, None, step)]), axis=0)
    return np.asarray(middle, np.uint8)


def follow(frames: Sequence[Picture], background: Picture) -> list[Mask]:
    """One mask a frame of the person who stands at COURT_START first: the changed pixels near where the last frame left him."""
    x, y = COURT_START
    masks = []
    for frame in frames:
        changed = (np.abs(frame.astype(np.int16) - background).max(axis=2) > 24).astype(np.uint8)
        changed = cv2.morphologyEx(changed, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        joined = cv2.morphologyEx(changed, cv2.MORPH_CLOSE, np.ones((17, 9), np.uint8))  # the pole cuts him in two
        count, labels, stats, centres = cv2.connectedComponentsWithStats(joined)
        near = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] > 400 and math.dist(centres[i], (x, y)) < 40]
        person = min(near, key=lambda i: math.dist(centres[i], (x, y)))
        x, y = centres[person]
        ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (17, 17))
        masks.append(cv2.dilate((labels == person).astype(np.uint8), ellipse) > 0)
    return masks


def wires_and_balloon(t: int) -> Mask:
    """Two wires of 5 pixels that sway by a few pixels, and a balloon of 60 by 72 pixels that drifts from left to right."""
    width, height = CITY_SIZE
    picture = np.zeros((height, width), np.uint8)
    xs = np.linspace(-10, width + 10, 60)
    for level, sag, phase in ((70, 60, 0.0), (215, 45, 1.3)):
        sway = 9 * math.sin(t / 14 + phase)
        ys = level + (sag + sway) * (1 - ((xs - width / 2) / (width / 2)) ** 2) + 0.05 * xs
        cv2.polylines(picture, [np.stack([xs, ys], axis=1).round().astype(np.int32)], isClosed=False, color=255, thickness=5)
    centre = (round(70 + 5.2 * t), round(170 - 60 * math.sin(t / 30)))
    cv2.ellipse(picture, centre, (30, 36), 0, 0, 360, color=255, thickness=-1)
    return picture > 0


def chord(seconds: float) -> NDArray[np.float32]:
    """A quiet open fifth with a slow tremolo, about -30 dB, mono at AUDIO_RATE."""
    time = np.arange(round(seconds * AUDIO_RATE)) / AUDIO_RATE
    tone = np.sin(2 * np.pi * 220 * time) + 0.7 * np.sin(2 * np.pi * 330 * time)
    fade = np.clip(np.minimum(time, seconds - time) / 0.2, 0, 1)
    return (0.03 * tone * fade * (0.8 + 0.2 * np.sin(2 * np.pi * 1.5 * time))).astype(np.float32)


def write_clip(path: Path, frames: Sequence[av.VideoFrame], rate: int, crf: int, sound: NDArray[np.float32] | None = None) -> None:
    """H.264 with, where given, the sound as AAC; one thread, so that the same library writes the same bytes."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": "veryslow", "g": "50"})
        video.width, video.height, video.pix_fmt, video.thread_count = frames[0].width, frames[0].height, "yuv420p", 1
        audio = None if sound is None else container.add_stream("aac", rate=AUDIO_RATE, layout="mono", bit_rate=64_000)
        for index, frame in enumerate(frames):
            frame.pts, frame.time_base = index, Fraction(1, rate)
            frame.pict_type = av.video.frame.PictureType.NONE
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None and sound is not None:
            for start in range(0, len(sound), 1024):
                samples = av.AudioFrame.from_ndarray(sound[None, start : start + 1024], format="fltp", layout="mono")
                samples.sample_rate, samples.pts, samples.time_base = AUDIO_RATE, start, Fraction(1, AUDIO_RATE)
                container.mux(audio.encode(samples))
            container.mux(audio.encode(None))


def write_mask(path: Path, masks: Sequence[Mask], rate: int) -> None:
    """Lossless grey H.264, 0 = known and 255 = to be made."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=rate, options={"qp": "0", "preset": "veryslow", "g": "250"})
        video.height, video.width = masks[0].shape
        video.pix_fmt, video.thread_count = "gray", 1
        for index, mask in enumerate(masks):
            frame = av.VideoFrame.from_ndarray(mask.astype(np.uint8) * 255, format="gray")
            frame.pts, frame.time_base = index, Fraction(1, rate)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))


if __name__ == "__main__":
    main()
