"""The end of the line: made pixels meet known ones, the result is measured, drawn and written, one frame at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.evaluation.seam import seam_score, temporal_jump
from framefill.families.base import GENERATED, PROPAGATED
from framefill.jobs.record import GENERATED_RGB, KEY_FRAME_SIDE, MAX_KEY_FRAMES, PROPAGATED_RGB, FrameRecord, KeyFrame, Shares
from framefill.jobs.scene import Item
from framefill.media.composite import bounding_box, composite, outside_difference
from framefill.media.mask_morphology import feather
from framefill.media.writer import VideoWriter

TINTS = {PROPAGATED: PROPAGATED_RGB, GENERATED: GENERATED_RGB}


@dataclass(frozen=True, slots=True)
class Done:
    """One frame with what was made for it, flat in the order of `item.fill`; both None when nothing was."""

    item: Item
    pixels: NDArray[np.uint8] | None
    provenance: NDArray[np.uint8] | None


class Sink:
    """Takes finished frames in order and keeps the figures of the record; `after` writing, they are complete."""

    def __init__(self, feather_width: int) -> None:
        self._feather = feather_width
        self._previous: tuple[NDArray[np.uint8], NDArray[np.bool_]] | None = None
        self._counts = np.zeros(4, np.int64)  # pixels left, propagated, generated; all
        self.outside_max_diff = 0
        self.timeline: list[FrameRecord] = []
        self.key_frames = KeyFrames()

    def write(self, frames: Iterator[Done], result: VideoWriter, provenance: VideoWriter | None = None) -> None:
        """Composite, measure and write every frame."""
        for done in frames:
            after, origin = self._compose(done)
            # Told what was made, the writer takes every other sample from the decoder, not by way of RGB.
            result.write(done.item.frame, after, done.item.fill)
            if provenance is not None:
                provenance.write(done.item.frame, draw_provenance(after, origin))

    @property
    def shares(self) -> Shares:
        """The shares of the whole clip; all known when it was copied unseen."""
        return _shares(self._counts) if self._counts[3] else Shares(1.0, 0.0, 0.0)

    @property
    def left(self) -> float:
        """The share of the masked pixels that no frame shows and no generator made, 0..1."""
        masked = int(self._counts[:3].sum())
        return int(self._counts[0]) / masked if masked else 0.0

    @property
    def frames_filled(self) -> int:
        """How many frames have a made pixel."""
        return sum(frame.shares.known < 1 for frame in self.timeline)

    def _compose(self, done: Done) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        item, before = done.item, done.item.frame.rgb
        origin = np.zeros(item.fill.shape, np.uint8)
        if done.pixels is None or done.provenance is None:
            self._note(item, _shares(np.array([0, 0, 0, origin.size])), before, None)
            return before, origin
        # Inside the hole's box only: an index over a whole 1280x720 frame takes 2 ms.
        box = bounding_box(item.fill)
        assert box is not None
        inside = item.fill[box]
        fill = np.empty_like(before)
        fill[box][inside] = done.pixels
        origin[box][inside] = done.provenance
        alpha = feather(item.fill, self._feather) if self._feather else None
        after = composite(before, fill, item.fill, alpha)
        self.outside_max_diff = max(self.outside_max_diff, outside_difference(before, after, item.fill))
        counts = np.bincount(done.provenance, minlength=3)
        self._note(item, _shares(np.array([*counts, origin.size])), after, seam_score(before, after, item.fill))
        self._counts += [*counts, 0]
        self.key_frames.offer(item, after, origin)
        return after, origin

    def _note(self, item: Item, shares: Shares, after: NDArray[np.uint8], seam: float | None) -> None:
        self._counts[3] += item.fill.size
        jump = None
        if self._previous is not None and seam is not None:
            frame, fill = self._previous
            jump = temporal_jump(frame, after, fill & item.fill)
        self.timeline.append(FrameRecord(item.frame.index, item.seconds, shares, _score(seam), _score(jump)))
        self._previous = None if seam is None else (after, item.fill)


class KeyFrames:
    """Up to `MAX_KEY_FRAMES` pictures spread evenly over the frames offered, however many come, in constant memory."""

    def __init__(self) -> None:
        self._kept: list[KeyFrame] = []
        self._stride = 1
        self._offered = 0

    def offer(self, item: Item, after: NDArray[np.uint8], origin: NDArray[np.uint8]) -> None:
        """Keep this frame if its turn has come; when too many are kept, every other one goes and turns come half as often."""
        if self._offered % self._stride == 0:
            if len(self._kept) == 2 * MAX_KEY_FRAMES:
                self._kept, self._stride = self._kept[::2], 2 * self._stride
            if self._offered % self._stride == 0:
                self._kept.append(_small(item, after, origin))
        self._offered += 1

    def chosen(self) -> tuple[KeyFrame, ...]:
        """Return the pictures, first and last of those kept among them."""
        if len(self._kept) <= MAX_KEY_FRAMES:
            return tuple(self._kept)
        places = np.linspace(0, len(self._kept) - 1, MAX_KEY_FRAMES).round().astype(int)
        return tuple(self._kept[place] for place in places)


def draw_provenance(after: NDArray[np.uint8], origin: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draw where each pixel came from: the known picture dark and grey, propagated pixels tinted blue, generated ones orange.

    `after` uint8 H W 3, `origin` uint8 H W (0 known, 1 propagated, 2 generated); returns uint8 H W 3.
    """
    grey = cv2.cvtColor(after, cv2.COLOR_RGB2GRAY)
    drawn = np.asarray(cv2.cvtColor(cv2.convertScaleAbs(grey, alpha=0.4), cv2.COLOR_GRAY2RGB), np.uint8)
    for code, tint in TINTS.items():
        light = grey[origin == code]
        share = 0.35 + 0.65 * light[:, None].astype(np.float32) / 255
        drawn[origin == code] = np.rint(share * np.array(tint, np.float32)).astype(np.uint8)
    return drawn


def _small(item: Item, after: NDArray[np.uint8], origin: NDArray[np.uint8]) -> KeyFrame:
    before = item.frame.rgb
    height, width = origin.shape
    scale = min(1.0, KEY_FRAME_SIDE / max(height, width))
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    pictures = [np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8) for picture in (before, after)]
    small = np.asarray(cv2.resize(origin, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    mask = np.asarray(cv2.resize(item.fill.view(np.uint8), size, interpolation=cv2.INTER_NEAREST)).astype(np.bool_)
    return KeyFrame(item.frame.index, item.seconds, pictures[0], mask, pictures[1], small)


def _shares(counts: NDArray[np.int64]) -> Shares:
    left, propagated, generated, total = (int(count) for count in counts)
    return Shares((total - left - propagated - generated) / total, propagated / total, generated / total)


def _score(score: float | None) -> float | None:
    return None if score is None or math.isnan(score) else score
