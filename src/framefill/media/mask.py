"""The one mask contract: bool T H W, True (white, 1) = unknown, to be made; False (black, 0) = known.

Whatever a mask arrives as, `open_mask` reads it frame by frame in constant memory and says in `understood` what it took it for:
source, encoding, size, length. A mask that does not fit is repaired by a stated rule or refused with `MaskMismatch`, never silently.
Masks are in display orientation, as the video is shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Unpack

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.errors import MaskMismatch, UnreadableMedia, UsageError
from framefill.media.composite import bounding_box
from framefill.media.mask_boxes import Box, Boxes, parse_box
from framefill.media.mask_encoding import DEFAULT_THRESHOLD, RawMask, Reading, Survey, understand
from framefill.media.mask_match import Match, Timeline, match
from framefill.media.mask_morphology import close, dilate, erode, feather
from framefill.media.mask_rule import MaskRule, RuleOptions, parse_ids
from framefill.media.mask_source import Array, MaskSource, open_source
from framefill.media.video import Frame, Video, VideoMeta

__all__ = ["Box", "Mask", "MaskReader", "MaskRule", "MaskScan", "Target", "open_mask", "parse_box", "parse_ids", "read_mask"]

_ASPECT_TOLERANCE = 0.01


class Target(Protocol):
    """What a mask must fit: a `VideoReader`, or anything that tells size, rates and frame times as one does."""

    meta: VideoMeta
    path: Path

    def seconds(self, frame: Frame) -> float:
        """When a frame is shown, in seconds from the clip's first."""
        ...

    def __iter__(self) -> Iterator[Frame]: ...


@dataclass(frozen=True)
class Mask:
    """A mask in memory: `frames` bool T H W, True = unknown; `understood` and `warnings` are the lines of the reader that made it.

    Raises MaskMismatch when `frames` is not bool T H W.
    """

    frames: NDArray[np.bool_]
    understood: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.frames.dtype != np.bool_ or self.frames.ndim != 3:
            raise MaskMismatch(f"mask is {self.frames.dtype} {self.frames.shape}, expected bool T H W with True = unknown; see read_mask")


@dataclass(frozen=True)
class MaskScan:
    """What a pass over the whole mask tells: is anything unknown, its share of each mask frame, where, and a hash of it all.

    shares: float64, one for each mask frame (not video frame). box: rows and columns that hold every unknown pixel, None when there
    is none. sha256: hex, over the masks as they will be used, their times and the boxes: two masks that fill the same pixels of the
    same frames by the same rule agree. Feathering is no part of it.
    """

    any_unknown: bool
    shares: NDArray[np.float64]
    box: tuple[slice, slice] | None
    sha256: str


class MaskReader:
    """A mask opened for one video; `at(frame)` gives its frames in order, `understood` and `warnings` say what it was taken for."""

    def __init__(self, source: MaskSource | None, like: Target, rule: MaskRule, boxes: Sequence[Box | str] = ()) -> None:
        self.rule = rule
        self.understood: list[str] = []
        self.warnings: list[str] = []
        self._like = like
        self._size = (like.meta.height, like.meta.width)
        self._source = source
        self._reading: Reading | None = None
        self._match = Match("still", 1)
        self._boxes = Boxes(boxes, like.meta.width, like.meta.height, like.meta.duration)
        self._pass: Iterator[RawMask] = iter(())
        self._next = 0  # number of the mask frame that the pass under way gives next
        self._raw = (-1, np.zeros(self._size, np.bool_))  # the mask frame decoded last, with its number
        self._made: tuple[tuple[int, tuple[int, ...]], NDArray[np.bool_]] | None = None
        if source is not None:
            self._understand(source)
        self.understood += self._boxes.understood
        self.warnings += self._boxes.warnings
        self._say_morphology()

    def at(self, frame: Frame) -> NDArray[np.bool_]:
        """The mask bool H W of one video frame, True = unknown; not to be written to.

        Frames in order cost one decoded mask frame each; going back starts the source again. Raises MaskMismatch past the mask's end
        when `rule.length` is "error", UnreadableMedia when the source breaks off.
        """
        seconds = self._like.seconds(frame) if self._match.by == "time" or self._boxes.timed else 0.0
        number = self._match.index(frame.index, seconds) if self._source is not None else -1
        return self._at(number, self._boxes.present(seconds))

    def alpha(self, mask: NDArray[np.bool_]) -> NDArray[np.float32] | None:
        """The share of made pixels, float32 H W, that `rule.feather` asks for in one mask of this reader; None without feathering."""
        return feather(mask, self.rule.feather) if self.rule.feather else None

    def scan(self) -> MaskScan:
        """Go through every mask frame once, as it will be used. Timed boxes count as if always there for `any_unknown`, `shares`, `box`."""
        everything = tuple(range(len(self._boxes.boxes)))
        numbers = range(self._match.count) if self._source is not None else range(-1, 0)
        digest = hashlib.sha256(repr((self._size, self._boxes.boxes, self._match.by, self._match.past_end)).encode())
        digest.update(self._match.times.tobytes())
        shares, union = [], np.zeros(self._size, np.bool_)
        for number in numbers:
            mask = self._at(number, everything)
            shares.append(float(np.count_nonzero(mask) / mask.size))
            np.logical_or(union, mask, out=union)
            digest.update(np.packbits(self._at(number, ()) if self._boxes.timed else mask).tobytes())
        box = bounding_box(union)
        return MaskScan(box is not None, np.array(shares), box, digest.hexdigest())

    def _understand(self, source: MaskSource) -> None:
        survey = _survey(source, self.rule, self._size, self._like.meta)
        self._reading = understand(survey, self.rule)
        self.understood.append(f"mask: {source.name}, {survey.size[1]}x{survey.size[0]}, {survey.count} frame{'s' * (survey.count > 1)}")
        self.understood += self._reading.understood
        if survey.size != self._size:
            self.understood.append(f"resized to {self._size[1]}x{self._size[0]} by nearest neighbour")
        seconds = [time for time in survey.seconds if time is not None]
        times = np.array(seconds) if len(seconds) == survey.count else None
        video = _timeline(self._like, survey.count, self.rule) if survey.count > 1 else Timeline(None, None)
        self._match = match(Timeline(survey.count, source.fps, times), video, self.rule)
        self.understood += self._match.understood
        self.warnings += [*source.warnings, *self._reading.warnings, *self._match.warnings]

    def _say_morphology(self) -> None:
        rule = self.rule
        radii = {"close": rule.close, "erode": rule.erode, "dilate": rule.dilate}
        steps = [f"{name} {radius} px" for name, radius in radii.items() if radius]
        if steps:
            self.understood.append("then " + ", ".join(steps))
        if rule.feather:
            self.understood.append(f"feather {rule.feather} px, inside the hole")

    def _at(self, number: int, boxes: tuple[int, ...]) -> NDArray[np.bool_]:
        """Mask frame `number` (-1: none) with these boxes drawn in, grown and shrunk; kept until another is asked for."""
        if self._made is not None and self._made[0] == (number, boxes):
            return self._made[1]
        mask = self._boxes.draw(boxes)
        if number >= 0:
            mask |= self._frame(number)
        rule = self.rule
        if rule.close:
            mask = close(mask, rule.close)
        if rule.erode:
            mask = erode(mask, rule.erode)
        if rule.dilate:
            mask = dilate(mask, rule.dilate)
        mask.flags.writeable = False
        self._made = ((number, boxes), mask)
        return mask

    def _frame(self, number: int) -> NDArray[np.bool_]:
        """Mask frame `number` of the source at the video's size."""
        if self._raw[0] == number:
            return self._raw[1]
        assert self._source is not None
        assert self._reading is not None
        if number < self._next:
            self._next = 0
        if self._next == 0:
            self._pass = iter(self._source)
        for raw in self._pass:
            self._next += 1
            if self._next > number:
                self._raw = (number, _resized(self._reading.apply(raw), self._size))
                return self._raw[1]
        raise UnreadableMedia(f"mask {self._source.name}: frame {number} could be read before but cannot now; has the file changed?")


def open_mask(source: str | Path | Array | None, like: Target, rule: MaskRule, boxes: Sequence[Box | str] = ()) -> MaskReader:
    """Open a mask for the video `like`.

    source: a path (picture, folder, glob, video, animation, .npy, .npz, run-length .json), an array, or None for boxes alone.
    The source is surveyed once from end to end, so that its encoding is decided from all frames. boxes are united with it.
    Raises UsageError when there is neither, UnreadableMedia when the source cannot be read, MaskMismatch when it does not fit.
    """
    if source is None and not boxes:
        raise UsageError("no mask given; pass --mask FILE or --box x,y,w,h")
    return MaskReader(None if source is None else open_source(source, rule.key), like, rule, boxes)


def read_mask(
    source: str | Path | Array | None, like: Target | Video, boxes: Sequence[Box | str] = (), **rule: Unpack[RuleOptions]
) -> Mask:
    """The whole mask of a clip in memory, one frame for each of the clip's.

    rule: the fields of `MaskRule`. Errors are those of `MaskRule` and `open_mask`.
    """
    target = _Clip(like) if isinstance(like, Video) else like
    reader = open_mask(source, target, MaskRule(**rule), boxes)
    frames = [reader.at(frame) for frame in target]
    return Mask(np.stack(frames), tuple(reader.understood), tuple(reader.warnings))


class _Clip:
    """A clip in memory as a `Target`: frame number n is shown at `times[n]`."""

    def __init__(self, video: Video) -> None:
        from dataclasses import replace

        count, height, width = video.frames.shape[:3]
        self.meta = replace(video.meta, width=width, height=height, num_frames=count)
        self.path = Path("clip in memory")
        self.timeline = Timeline(count, None if video.meta.fps is None else float(video.meta.fps), last=float(video.times[-1]))
        self._video = video

    def seconds(self, frame: Frame) -> float:
        return float(self._video.times[frame.index])

    def __iter__(self) -> Iterator[Frame]:
        for index, rgb in enumerate(self._video.frames):
            yield Frame(index, rgb, index, 1)


def _survey(source: MaskSource, rule: MaskRule, size: tuple[int, int], video: VideoMeta) -> Survey:
    if source.size is not None:
        _check_size(source.size, size, video)
    survey = Survey(source.lossy, DEFAULT_THRESHOLD if rule.threshold is None else rule.threshold)
    for raw in source:
        if survey.count == 0:
            _check_size((raw.values.shape[0], raw.values.shape[1]), size, video)
        survey.add(raw)
    if survey.count == 0:
        raise UnreadableMedia(f"mask {source.name} holds no frame that could be decoded; check the file")
    return survey


def _check_size(mask: tuple[int, int], video: tuple[int, int], meta: VideoMeta) -> None:
    ratio = (mask[1] * video[0]) / (mask[0] * video[1])
    if mask == video or abs(ratio - 1) <= _ASPECT_TOLERANCE:
        return
    sizes = f"mask is {mask[1]}x{mask[0]}, video is {video[1]}x{video[0]}"
    turned = (mask[0] * video[0]) / (mask[1] * video[1])
    if meta.rotation in (90, 270) and abs(turned - 1) <= _ASPECT_TOLERANCE:
        raise MaskMismatch(
            f"{sizes} as shown (its file is turned by {meta.rotation} degrees); the mask has the size before turning: "
            "turn the mask, masks are in display orientation"
        )
    raise MaskMismatch(f"{sizes}: the shapes differ by more than 1 %; make the mask at the video's size")


def _resized(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    if mask.shape == size:
        return mask
    resized = cv2.resize(mask.view(np.uint8), (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(resized, np.uint8).view(np.bool_)


def _timeline(like: Target, expected: int, rule: MaskRule) -> Timeline:
    """The video's frames: what it says of itself when that is what the mask has, else its packets counted without decoding them."""
    if isinstance(like, _Clip):
        return like.timeline
    meta = like.meta
    if meta.kind == "images":  # a folder has no clock of its own
        return Timeline(meta.num_frames, None)
    fps = None if meta.fps is None else float(meta.fps)
    if meta.kind == "animation":
        last = None if meta.duration is None or fps is None else meta.duration - 1 / fps
        return Timeline(meta.num_frames, fps, last=last)
    if meta.num_frames == expected and rule.match != "time":
        return Timeline(expected, fps)
    return _counted(like, fps)


def _counted(like: Target, fps: float | None) -> Timeline:
    """Number of frames and time of the last one, from the packets: containers often tell neither, or the sound's length."""
    from framefill.media.container import open_input, picture_stream

    count, last = 0, like.meta.start_pts
    with open_input(like.path) as container:
        stream = picture_stream(container, like.path)
        for packet in container.demux(stream):
            if packet.size and not packet.is_discard:
                count += 1
                last = max(last, packet.pts if packet.pts is not None else last)
    return Timeline(count, fps, last=float((last - like.meta.start_pts) * like.meta.time_base))
