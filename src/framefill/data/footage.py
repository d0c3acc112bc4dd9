"""One source of frames, read at any place: by number and exactly, whatever its frame times, without decoding from the beginning.

The packets' times are listed once, without decoding (a thousandth of the work); frame n is the n-th time in order of display, and a
picture is known by its time, so that seeking cannot hit the wrong one. Files without usable times are decoded from their beginning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import av.error
import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from framefill.errors import UnreadableMedia
from framefill.media.colour import FULL, ToRGB, nearest_matrix, to_display
from framefill.media.container import open_input, picture_stream
from framefill.media.images import find_frames, read_image
from framefill.media.reader import VideoReader, open_video
from framefill.media.video import VideoMeta

Picture = NDArray[np.uint8]
# Without these flags FFmpeg gives pictures that are up to 2 levels too dark in the mean (measured at 90x100).
EXACT_ROUNDING = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.BITEXACT
# FFmpeg's own decoders that skip the very packet they are told to (a third less work in x264's videos); dav1d skips what it has at hand.
SKIPPING = frozenset({"h264", "hevc", "mpeg2video", "mpeg4"})
REORDERED = frozenset({"h264", "hevc"})  # an AVI has no times of its own, and FFmpeg's guesses before and after decoding differ for these
SMALL = (48, 64)  # height and width at which frames are looked at by `small`


class Footage:
    """A video file, folder or glob of frames, or animation, opened for reading by frame number. `len()` is the number of frames.

    `fps` sets the rate of stills (25 by default). Raises UnreadableMedia in one line when there is no picture to be had.
    """

    def __init__(self, path: Path, fps: Fraction | float | None = None) -> None:
        self.path = path
        self._reader: VideoReader | None = None
        self._files = find_frames(path)
        self._times: NDArray[np.int64] | None = None  # of every frame, in order of display, in ticks
        self._keys: NDArray[np.int64] = np.zeros(0, np.int64)  # those of them where decoding can begin
        self._further = 0  # key frames by which seeking has to begin earlier
        reader = open_video(path, fps if self._files is not None else None)
        self.meta: VideoMeta = reader.meta
        if self.meta.kind == "images":
            self._files = self._files or [path]
            self._count = len(self._files)
            return
        if self.meta.kind == "container":
            self._times, self._keys = _times(path)
        if self._times is None:
            self._reader = reader
            self._count = self.meta.num_frames or 0 if self.meta.kind == "animation" else sum(1 for _ in reader)
        else:
            self._count = len(self._times)

    def __len__(self) -> int:
        return self._count

    def read(self, numbers: Sequence[int], size: tuple[int, int] | None = None) -> list[Picture]:
        """Decode the frames of these numbers (not falling; repeats are the same picture), each uint8 H W 3 in display orientation.

        size: height and width to which they are resized while their colours are converted (a tenth of the time of doing one after the
        other at 768x576 to 85x64); None leaves them as they are. Raises UnreadableMedia when one cannot be decoded or is beyond the end.
        """
        if numbers[-1] >= self._count:
            raise UnreadableMedia(f"{self.path} has {self._count} frames, frame {numbers[-1]} was asked for; scan the folder again")
        wanted = sorted(set(numbers))
        if self._files is not None:
            found = {number: resized(read_image(self._files[number]), size) for number in wanted}
        elif self._times is not None:
            found = self._decode(wanted, self._times, size)
        else:
            found = self._pass(wanted, size)
        if len(found) < len(wanted):
            missing = next(number for number in wanted if number not in found)
            raise UnreadableMedia(f"{self.path}: frame {missing} cannot be decoded; see framefill data check")
        return [found[number] for number in numbers]

    def small(self, start: int = 0) -> Iterator[Picture]:
        """Decode every frame from `start` on in order, shrunk to 64x48 whatever its shape, for looking at the whole clip quickly.

        Raises UnreadableMedia where a part of the file cannot be decoded.
        """
        if self._files is not None:
            yield from (resized(read_image(file), SMALL) for file in self._files[start:])
        elif self._reader is not None:
            yield from (resized(frame.rgb, SMALL) for frame in self._reader.frames(start))
        else:
            yield from islice(self._small_container(), start, None)

    def _small_container(self) -> Iterator[Picture]:
        shrink, given = VideoReformatter(), 0
        coded = 0, 0
        with open_input(self.path) as container:
            stream = picture_stream(container, self.path)
            stream.thread_type = "AUTO"
            try:
                for native in container.decode(stream):
                    size = native.width, native.height
                    coded = size if given == 0 else coded
                    if size != coded:
                        raise UnreadableMedia(
                            f"{self.path}: frame {given} is {size[0]}x{size[1]}, the first {coded[0]}x{coded[1]}; split it"
                        )
                    given += 1
                    yield shrink.reformat(native, SMALL[1], SMALL[0], format="rgb24", interpolation="AREA").to_ndarray().view(np.uint8)
            except av.error.FFmpegError as error:
                raise UnreadableMedia(f"{self.path} is damaged after frame {given} ({error.strerror})") from error
        if given != self._count:
            raise UnreadableMedia(f"{self.path} is damaged: {given} of {self._count} frames can be decoded")

    def _decode(self, wanted: list[int], times: NDArray[np.int64], size: tuple[int, int] | None) -> dict[int, Picture]:
        """Frames of a video file; seeking in MPEG-TS and MPEG-PS may come out late, and then begins earlier."""
        key = int(np.searchsorted(self._keys, times[wanted[0]], side="right")) - 1
        while True:
            place = max(0, key - self._further)
            found = self._decode_from(place, wanted, times, size)
            if len(found) == len(wanted) or place == 0:
                return found
            self._further = 2 * self._further + 1

    def _decode_from(self, key: int, wanted: list[int], times: NDArray[np.int64], size: tuple[int, int] | None) -> dict[int, Picture]:
        """Those of the frames that come after a key frame of this number; number 0 is the beginning of the file, without seeking."""
        by_time = {int(times[number]): number for number in wanted}
        last = int(times[wanted[-1]])
        to_rgb = ToRGB(self.meta) if size is None else _ToSize(self.meta, size)
        found: dict[int, Picture] = {}
        with open_input(self.path) as container:
            stream = picture_stream(container, self.path)
            stream.thread_count = 1  # the loader's workers are the parallel part
            if key > 0:
                container.seek(int(self._keys[key]), stream=stream)
            try:
                for native in _needed(container, stream, int(times[wanted[0]])):
                    if native.pts in by_time:
                        found[by_time[native.pts]] = to_rgb(native)
                    if native.pts is not None and native.pts >= last:
                        break
            except av.error.FFmpegError as error:
                raise UnreadableMedia(f"{self.path} is damaged near frame {wanted[0]} ({error.strerror}); leave it out") from error
        return found

    def _pass(self, wanted: list[int], size: tuple[int, int] | None) -> dict[int, Picture]:
        assert self._reader is not None
        frames = islice(self._reader.frames(wanted[0]), wanted[-1] - wanted[0] + 1)
        chosen = set(wanted)
        return {frame.index: resized(frame.rgb, size) for frame in frames if frame.index in chosen}


def _needed(container: av.container.InputContainer, stream: av.VideoStream, first: int) -> Iterator[av.VideoFrame]:
    """Pictures from a place on; those before the time `first` that no other picture is built on are not decoded."""
    context = stream.codec_context
    for packet in container.demux(stream):
        if context.name in SKIPPING:
            context.skip_frame = "NONREF" if packet.pts is not None and packet.pts < first else "DEFAULT"
        yield from stream.decode(packet)


class _ToSize:
    """Decoder frames to uint8 `size` (height, width) 3 in display orientation, colours and size in one step of FFmpeg's scaler."""

    def __init__(self, meta: VideoMeta, size: tuple[int, int]) -> None:
        self._meta = meta
        self._height, self._width = size[::-1] if meta.turned else size
        shrinks = meta.width * meta.height > size[0] * size[1]
        self._filter = (Interpolation.AREA if shrinks else Interpolation.BICUBIC) | EXACT_ROUNDING
        self._reformatter = VideoReformatter()

    def __call__(self, native: av.VideoFrame) -> Picture:
        native.colorspace = nearest_matrix(native.colorspace)
        rgb = self._reformatter.reformat(
            native, self._width, self._height, format="rgb24", interpolation=self._filter, dst_color_range=FULL, threads=1
        )
        return to_display(rgb.to_ndarray().view(np.uint8), self._meta)


def _times(path: Path) -> tuple[NDArray[np.int64] | None, NDArray[np.int64]]:
    """The time of every picture and of every key picture of a file, sorted; None where packets lack times or share them."""
    times: list[int] = []
    keys: list[int] = []
    none = np.zeros(0, np.int64)
    with open_input(path) as container:
        stream = picture_stream(container, path)
        if container.format.name == "avi" and stream.codec_context.name in REORDERED:
            return None, none
        try:
            for packet in container.demux(stream):
                if not packet.size or packet.is_discard:
                    continue
                if packet.pts is None:
                    return None, none
                times.append(packet.pts)
                if packet.is_keyframe:
                    keys.append(packet.pts)
        except av.error.FFmpegError as error:
            raise UnreadableMedia(f"{path} is damaged after {len(times)} frames ({error.strerror})") from error
    if not keys or len(set(times)) < len(times):
        return None, none
    ordered = np.array(sorted(times), np.int64)
    # What comes before the first key picture cannot be decoded.
    return ordered[ordered >= min(keys)], np.array(sorted(keys), np.int64)


def resized(rgb: Picture, size: tuple[int, int] | None) -> Picture:
    """A picture H W 3 at `size` (height, width): by the mean of the covered area when it gets smaller, else bicubic."""
    if size is None or rgb.shape[:2] == size:
        return rgb
    shrinks = rgb.shape[0] * rgb.shape[1] > size[0] * size[1]
    return np.asarray(cv2.resize(rgb, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC), np.uint8)
