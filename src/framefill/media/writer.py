"""Writing what a reader gave, changed or not: same size, times, orientation, colour; sound, subtitles, chapters and metadata follow.

Known pixels need not pass through RGB: where a mask says which pixels were made, every other sample is the decoder's own.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

import av
import av.error
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from framefill.errors import UnwritableMedia, UsageError
from framefill.media.animation import LAST_DELAY
from framefill.media.codecs import ENCODER_THREADS, Plan, plan_output
from framefill.media.colour import FromRGB, as_planar, display_matrix, keep_native, to_coded
from framefill.media.container import url
from framefill.media.packing import Packing, encoder_options, stream_metadata, untold, write_boxes
from framefill.media.part import Part
from framefill.media.reader import VideoReader
from framefill.media.remux import BITEXACT, EDIT_LISTS, AnyPacket, Followers
from framefill.media.video import Frame, VideoMeta

if TYPE_CHECKING:
    from PIL import Image

CODEC_BITEXACT, FRAME_DURATION = int(av.codec.context.Flags.bitexact), int(av.codec.context.Flags.frame_duration)
NO_B_FRAMES = {"avi"}  # AVI keeps one time a packet, which reordered frames would need two of
Picture = NDArray[np.uint8]


class Sink(Protocol):
    """Where a writer's pictures go; all of them in display orientation."""

    def write(self, frame: Frame, rgb: Picture, mask: NDArray[np.bool_] | None) -> None:
        """Take one picture."""

    def finish(self) -> None:
        """Complete the target and give it its name."""

    def abort(self) -> None:
        """Leave nothing behind."""


class VideoWriter:
    """Write a video file, an animation, a still image or a folder of PNGs that is to its source `like` as the frames given are.

    Use it as a context manager: on a normal exit what follows the picture has followed and the target appears under its name;
    on an exception nothing does. With a `VideoReader` as `like` sound, subtitles, attachments, chapters and metadata come along,
    with a `VideoMeta` only the picture's own properties do. `size` (width, height in display orientation) when it is not the source's.
    `lead`: seconds of picture that come before the source's own; what follows the picture begins later by as much. `packing`: how two eyes
    lie in the picture, to be said in the file.
    `warnings` is filled while writing. Raises `UsageError` before any work, `UnwritableMedia` when the disk or the folder refuses.
    """

    def __init__(
        self,
        path: str | Path,
        like: VideoReader | VideoMeta,
        *,
        codec: str = "auto",
        crf: int | None = None,
        lossless: bool = False,
        size: tuple[int, int] | None = None,
        lead: Fraction = Fraction(0),
        packing: Packing | None = None,
    ) -> None:
        reader = like if isinstance(like, VideoReader) else None
        meta = like.meta if isinstance(like, VideoReader) else like
        self.plan = plan_output(path, meta, codec=codec, crf=crf, lossless=lossless, size=size)
        self.path = self.plan.path
        self.warnings = list(self.plan.warnings)
        if reader is not None and self.path.exists() and reader.path.exists() and self.path.samefile(reader.path):
            raise UsageError(f"{self.path} is the input too; give another output, the input is never written to")
        self._last: int | None = None
        if reader is not None and (left := _left_out(self.plan, meta)):
            self.warnings.append(left)
        streamed = self.plan.kind == "stream"
        if packing is not None and (silent := untold(packing, self.plan)):
            self.warnings.append(silent)
        self._sink: Sink = _Stream(self.plan, meta, reader, self.warnings, lead, packing) if streamed else _Images(self.plan)

    def write(self, frame: Frame, rgb: Picture, mask: NDArray[np.bool_] | None = None) -> None:
        """Add one picture, uint8 H W 3 in display orientation, at the frame's time.

        `mask` (bool H W) says which pixels were made: all others are then taken from the decoder's own samples,
        where the target's kind allows it.
        None: the whole picture is taken from `rgb`.
        """
        if rgb.shape != (self.plan.height, self.plan.width, 3) or rgb.dtype != np.uint8:
            came = "x".join(map(str, rgb.shape))
            raise UsageError(
                f"frame {frame.index} is {rgb.dtype} {came}, expected uint8 {self.plan.height}x{self.plan.width}x3 (height, width, RGB)"
            )
        if self._last is not None and frame.pts <= self._last:
            raise UsageError(
                f"frame {frame.index} comes at {frame.pts}, not after the one before ({self._last}); write frames in order of their times"
            )
        self._last = frame.pts
        self._sink.write(frame, rgb, mask)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self._sink.abort()
            return
        try:
            if self._last is None:
                raise UnwritableMedia(f"{self.path} was not written: there was no frame to write")
            self._sink.finish()
        except BaseException:
            self._sink.abort()
            raise


class _Stream:
    """A container with one picture stream, encoded here, and the source's other streams beside it."""

    def __init__(
        self, plan: Plan, source: VideoMeta, reader: VideoReader | None, warnings: list[str], lead: Fraction, packing: Packing | None
    ) -> None:
        self._plan, self._warnings, self._packing = plan, warnings, packing
        self._part = Part(plan.path)
        self._followers: Followers | None = None
        self._begin = source.start_pts * source.time_base - lead
        self._native_fits = (
            plan.pix_fmt.startswith(("yuv", "gray"))
            and (source.width, source.height, source.rotation, source.mirrored)
            == (plan.width, plan.height, plan.meta.rotation, plan.meta.mirrored)
            and source.color_space == plan.meta.color_space
        )
        self._convert = FromRGB("rgb24" if plan.pix_fmt == "pal8" else plan.pix_fmt, plan.meta.color_space, plan.meta.color_range)
        self._written = self._slots = 0
        self._last_seconds = Fraction(0)
        self._shifted = False
        options = {**dict(plan.container.options), **_muxer_options(plan, source)}
        self._output = av.open(url(self._part.path), "w", format=plan.container.muxer, container_options=options)
        self._output.flags |= BITEXACT
        try:
            self._stream = self._add_picture()
            self._palette = _Palette(plan.width, plan.height, self._stream.codec_context.time_base) if plan.pix_fmt == "pal8" else None
            if reader is not None and reader.meta.kind == "container" and plan.container.audio:
                self._follow(reader.path, lead)
            if packing is not None:
                self._stream.metadata.update(stream_metadata(packing, plan))
        except BaseException:
            self.abort()
            raise

    def write(self, frame: Frame, rgb: Picture, mask: NDArray[np.bool_] | None) -> None:
        """Encode one picture and mux what comes out, with the sound up to there."""
        picture = self._picture(frame, rgb, mask)
        picture.pts, picture.duration = self._time(frame)
        picture.time_base = self._stream.codec_context.time_base
        picture.pict_type = 0  # the source's key frames are not the encoder's
        picture.colorspace, picture.color_range = self._plan.meta.color_space, self._plan.meta.color_range
        self._written += 1
        self._last_seconds = frame.duration * self._plan.meta.time_base
        with self._part.writing():
            for ready in [picture] if self._palette is None else self._palette.push(picture):
                self._mux(self._stream.encode(ready))

    def finish(self) -> None:
        """Flush the encoder, let the followers run out, close, rename."""
        with self._part.writing():
            for ready in [] if self._palette is None else self._palette.push(None):
                self._mux(self._stream.encode(ready))
            self._mux(self._ended(self._in_order(self._stream.encode(None))))
            if self._followers is not None:
                self._followers.advance(None, self._output.mux_one)
                self._followers.close()
            self._output.close()
            if self._plan.container.muxer in LAST_DELAY:
                LAST_DELAY[self._plan.container.muxer](self._part.path, self._last_seconds)
            if self._packing is not None and self._plan.container.muxer in EDIT_LISTS:
                write_boxes(self._part.path, self._packing)
        self._part.keep()
        if self._shifted:
            self._warnings.append(f"{self._plan.path.suffix} keeps only a constant rate: frame times are rounded to 1/{self._rate} s")

    def abort(self) -> None:
        """Close without caring, and remove what was written."""
        with contextlib.suppress(Exception):
            self._output.close()
        if self._followers is not None:
            self._followers.close()
        with contextlib.suppress(OSError):
            self._part.discard()

    @property
    def _rate(self) -> Fraction:
        return self._plan.meta.fps or Fraction(25)

    def _add_picture(self) -> VideoStream:
        plan, meta = self._plan, self._plan.meta
        width, height = (plan.height, plan.width) if meta.turned else (plan.width, plan.height)
        base = meta.time_base if plan.container.variable else 1 / self._rate
        options = dict(plan.codec.options)
        if self._packing is not None:
            options |= encoder_options(self._packing, plan)
        if plan.crf is not None:
            options["crf"] = str(plan.crf)
        if plan.codec_name == "prores":
            options["profile"] = "4444" if plan.pix_fmt.startswith("yuv444") else "hq"
        if plan.container.muxer in NO_B_FRAMES:
            options["bf"] = "0"
        if plan.codec_name == "ffv1" and min(width, height) < 16:
            del options["slices"]  # too small to be cut in four
        stream = self._output.add_stream(
            plan.codec.encoder, rate=self._rate, options=options, width=width, height=height, pix_fmt=plan.pix_fmt, time_base=base
        )
        assert isinstance(stream, VideoStream)
        context = stream.codec_context
        context.sample_aspect_ratio = 1 / meta.sample_aspect_ratio if meta.turned else meta.sample_aspect_ratio
        context.color_range, context.colorspace = meta.color_range, meta.color_space
        context.color_primaries, context.color_trc = meta.color_primaries, meta.color_trc
        context.thread_count = ENCODER_THREADS
        context.flags |= CODEC_BITEXACT | FRAME_DURATION
        if plan.codec_name == "h265" and plan.container.muxer in ("mp4", "mov"):
            context.codec_tag = "hvc1"  # the only tag that Apple's players take
        if meta.rotation or meta.mirrored:
            stream.set_display_matrix(display_matrix(meta.rotation, meta.mirrored, plan.width, plan.height))
        os.environ.setdefault("SVT_LOG", "1")  # the only way to keep the AV1 encoder from printing its settings
        try:
            with ordinary_threads():
                context.open()
        except av.error.FFmpegError as error:
            came = f"{width}x{height} {plan.pix_fmt} (crf {plan.crf})"
            raise UsageError(f"{plan.codec_name} cannot encode {came}; choose another codec or a smaller picture") from error
        return stream

    def _follow(self, source: Path, lead: Fraction) -> None:
        self._followers = Followers(source, self._output, self._plan.container, self._plan.path.suffix, self._warnings, lead)
        self._begin = self._followers.begin
        self._stream.metadata.update(self._followers.picture_metadata)
        self._stream.disposition = self._followers.picture_disposition

    def _picture(self, frame: Frame, rgb: Picture, mask: NDArray[np.bool_] | None) -> av.VideoFrame:
        native = (
            as_planar(frame.native, self._plan.pix_fmt) if self._native_fits and frame.native is not None and mask is not None else None
        )
        if native is None or mask is None:
            return self._convert(to_coded(rgb, self._plan.meta))
        if native.format.name == self._plan.pix_fmt and not mask.any():
            return native
        made = self._convert(to_coded(rgb, self._plan.meta))
        keep_native(made, native, to_coded(mask, self._plan.meta))
        return made

    def _time(self, frame: Frame) -> tuple[int, int]:
        base = self._plan.meta.time_base
        if self._plan.container.variable:
            return frame.pts - round(self._begin / base), frame.duration
        exact = (frame.pts * base - self._begin) * self._rate
        slot = max(self._slots, round(exact))
        self._shifted |= abs(slot - exact) > Fraction(1, 10)
        self._slots = slot + 1
        return slot, 1

    def _in_order(self, packets: list[AnyPacket]) -> list[AnyPacket]:
        """x265 leaves decoding times unset in clips shorter than its reordering; one or two frames are never reordered."""
        if self._written <= 2:
            for packet in packets:
                packet.dts = packet.pts
        return packets

    def _ended(self, packets: list[AnyPacket]) -> list[AnyPacket]:
        """MP4 keeps steps in the order of decoding: the last of them is to be the last picture's time, wherever reordering has put it."""
        if packets and self._plan.container.muxer in EDIT_LISTS:
            packets[-1].duration = round(self._last_seconds / packets[-1].time_base)
        return packets

    def _mux(self, packets: list[AnyPacket]) -> None:
        for packet in packets:
            when = (packet.dts if packet.dts is not None else packet.pts or 0) * packet.time_base
            self._output.mux_one(packet)
            if self._followers is not None:
                self._followers.advance(when, self._output.mux_one)


class _Palette:
    """RGB frames to GIF's 256 colours, chosen anew for each frame."""

    def __init__(self, width: int, height: int, time_base: Fraction) -> None:
        self._graph = graph = av.filter.Graph()
        source = graph.add_buffer(width=width, height=height, format=av.VideoFormat("rgb24"), time_base=time_base)
        split, choose, use = (
            graph.add("split"),
            graph.add("palettegen", "stats_mode=single:reserve_transparent=0"),
            graph.add("paletteuse", "new=1"),
        )
        sink = graph.add("buffersink")
        source.link_to(split)
        split.link_to(use, 0, 0)
        split.link_to(choose, 1, 0)
        choose.link_to(use, 0, 1)
        use.link_to(sink)
        graph.configure()

    def push(self, frame: av.VideoFrame | None) -> list[av.VideoFrame]:
        """Put one frame in (None at the end), take out those that are ready."""
        ready: list[av.VideoFrame] = []
        self._graph.push(frame)
        with contextlib.suppress(av.error.BlockingIOError, av.error.EOFError):
            while True:
                pulled = self._graph.pull()
                assert isinstance(pulled, av.VideoFrame)
                ready.append(pulled)
        return ready


class _Images:
    """A folder of PNGs named by frame number from 000000, or one still image."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._folder = plan.kind == "folder"
        if self._folder and plan.path.is_dir():
            _refuse_foreign(plan.path)
        self._part = Part(plan.path, folder=self._folder)

    def write(self, frame: Frame, rgb: Picture, mask: NDArray[np.bool_] | None) -> None:
        """Write one picture as its file; `mask` has no meaning here, since nothing is lost."""
        from PIL import Image

        with self._part.writing():
            image = Image.fromarray(rgb)
            if self._folder:
                image.save(self._part.path / f"{frame.index:06d}.png", format="PNG", compress_level=1)
            else:
                _save_still(image, self._part.path, self._plan.path.suffix.lower())

    def finish(self) -> None:
        """Rename."""
        self._part.keep()

    def abort(self) -> None:
        """Remove what was written."""
        with contextlib.suppress(OSError):
            self._part.discard()


@contextlib.contextmanager
def ordinary_threads() -> Iterator[None]:
    """Keep the scheduling of this thread and of those begun within: the AV1 encoder of a root user makes all of them real-time ones."""
    if not hasattr(os, "sched_setscheduler"):
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    tasks = Path("/proc/self/task")
    before = _names_in(tasks)
    try:
        yield
    finally:
        for thread in (0, *map(int, _names_in(tasks) - before)):
            with contextlib.suppress(OSError):
                if os.sched_getscheduler(thread) != policy:
                    os.sched_setscheduler(thread, policy, parameters)


def _names_in(folder: Path) -> set[str]:
    """The names of what lies in a folder, none where there is no such folder."""
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _save_still(image: Image.Image, path: Path, suffix: str) -> None:
    if suffix in (".jpg", ".jpeg"):
        image.save(path, format="JPEG", quality=95, subsampling=0)
    elif suffix == ".webp":
        image.save(path, format="WEBP", lossless=True)
    else:
        image.save(path, format={".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP"}.get(suffix, "PNG"))


def _refuse_foreign(folder: Path) -> None:
    """A folder may be replaced when it is empty or holds nothing but frames that were written here before."""
    for name in folder.iterdir():
        if not (name.suffix == ".png" and len(name.stem) == 6 and name.stem.isdigit()):
            raise UsageError(f"{folder} holds other files ({name.name}); give a new or empty folder for the frames")


def _left_out(plan: Plan, source: VideoMeta) -> str:
    """One line that says what a target of pictures alone loses; "" when that is nothing."""
    if plan.container.audio:
        return ""
    kinds = {"audio": "sound track", "subtitle": "subtitle track"}
    counts = [(sum(track.kind == kind for track in source.tracks), word) for kind, word in kinds.items()]
    counts.append((len(source.chapters), "chapter"))
    lost = [f"{count} {word}{'s' * (count > 1)}" for count, word in counts if count]
    what = "a folder of PNGs" if plan.kind == "folder" else plan.path.suffix
    return f"{', '.join(lost)} left out: {what} holds only pictures" if lost else ""


def _muxer_options(plan: Plan, source: VideoMeta) -> dict[str, str]:
    """QuickTime's own metadata keys (a phone's make, model, place) are only kept when asked for."""
    if plan.container.muxer in ("mp4", "mov") and any(key.startswith("com.") for key in source.metadata):
        return {"movflags": "+faststart+use_metadata_tags"}
    return {}
