"""Clips and a family for the tests of jobs: small, quick, and wrong in a visible way when a window, a state or a mask goes astray.

Run as a program it fills one clip: `python jobs_kit.py VIDEO MASK OUT MOMENT`. At MOMENT, counted in files about to be flushed to the disk,
it kills itself by a signal that cannot be caught; 0 is never.
"""

from __future__ import annotations

import os
import signal
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from framefill.families.base import GENERATED, PROPAGATED, Filled, Span, State


class Tally:
    """Fills a hole with a colour that depends on every known pixel of the span, the frame's index and all windows before."""

    name = "tally"

    def __init__(self, window: int = 4, reach: int = 3, fail_at: int | None = None) -> None:
        self.window = window
        self.reach = reach
        self.calls: list[tuple[int, int]] = []
        self._fail_at = fail_at

    def fill_span(self, span: Span, state: State | None) -> tuple[Filled, State]:
        if self._fail_at is not None and len(self.calls) == self._fail_at:
            raise KeyboardInterrupt
        self.calls.append((span.fill_start, span.fill_stop))
        before = int(state["total"]) if state else 0
        total = (before + int(span.frames.sum(dtype=np.int64)) + 1) % 251
        part = slice(span.fill_start - span.start, span.fill_stop - span.start)
        frames, hole = span.frames[part].copy(), span.mask[part]
        for offset in range(len(frames)):
            index = span.fill_start + offset
            frames[offset][hole[offset]] = ((total + 5 * index) % 256, index % 256, before % 256)
        provenance = np.where(hole, np.uint8(PROPAGATED), np.uint8(0))
        left = hole.copy()
        left[:, :, hole.shape[2] // 2 :] = False
        provenance[left] = GENERATED
        return Filled(frames, provenance, np.zeros_like(hole)), {"total": np.array(total)}


def picture(index: int, width: int, height: int) -> NDArray[np.uint8]:
    """A moving gradient with some texture, uint8 H W 3."""
    y, x = np.mgrid[0:height, 0:width]
    texture = (x * 7 + y * 13) % 31
    channels = [(3 * x + 2 * index + texture) % 256, (2 * y + 5 * index + texture) % 256, (x + y + index) % 256]
    return np.stack(channels, -1).astype(np.uint8)


def write_clip(
    path: Path,
    frames: int = 10,
    width: int = 64,
    height: int = 48,
    *,
    codec: str = "ffv1",
    pix_fmt: str = "bgr0",
    sound: float = 0.0,
    rate: int = 10,
) -> Path:
    """Write a clip of `picture`s, with `sound` seconds of a tone beside it."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, width=width, height=height, pix_fmt=pix_fmt)
        tone = container.add_stream("aac" if path.suffix in (".mp4", ".mov") else "flac", rate=8000, layout="mono") if sound else None
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(index, width, height), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone is not None:
            samples = (np.sin(np.arange(int(8000 * sound)) * 0.3) * 8000).astype(np.int16)[None]
            block = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            block.sample_rate, block.pts, block.time_base = 8000, 0, Fraction(1, 8000)
            resampler = av.AudioResampler(
                format=tone.codec_context.format, layout="mono", rate=8000, frame_size=tone.codec_context.frame_size or 1024
            )
            for part in [*resampler.resample(block), *resampler.resample(None)]:
                container.mux(tone.encode(part))
            container.mux(tone.encode(None))
    return path


def write_mask(path: Path, mask: NDArray[np.bool_]) -> Path:
    """Write a mask, bool H W or T H W, as npy (0 and 255)."""
    np.save(path, mask.astype(np.uint8) * 255)
    return path


def box_mask(frames: int, width: int, height: int) -> NDArray[np.bool_]:
    """A box around the middle that moves one pixel a frame, bool T H W."""
    mask = np.zeros((frames, height, width), np.bool_)
    for index in range(frames):
        left = width // 4 + index % max(width // 2, 1)
        mask[index, height // 4 : height // 2 + 1, left : left + max(width // 4, 1)] = True
    return mask


def rgb_of(path: Path) -> NDArray[np.uint8]:
    """All frames of a file, uint8 T H W 3, decoded by PyAV alone."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def _die_at(moment: int) -> None:
    flush, flushed = os.fsync, 0

    def counted(descriptor: int) -> None:
        nonlocal flushed
        flushed += 1
        if flushed == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        flush(descriptor)

    os.fsync = counted


def main(video: str, mask: str, output: str, moment: str) -> None:
    from framefill.jobs.runner import run
    from framefill.jobs.settings import FillSettings

    if int(moment):
        _die_at(int(moment))
    record = run(FillSettings(video, output, mask=mask), filler=Tally())
    print(record.resumed_windows)


if __name__ == "__main__":
    main(*sys.argv[1:])
