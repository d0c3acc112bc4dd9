"""A video file as a source of frames, decoded by FFmpeg through PyAV: times, orientation, colour, and what to do with damage."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import av.error
import numpy as np
from av.sidedata.sidedata import SideData, Type
from av.video.frame import PictureType
from numpy.typing import NDArray

from framefill.errors import UnreadableMedia
from framefill.media.colour import FULL, KNOWN_MATRICES, ToRGB, orientation
from framefill.media.video import TRANSFER_HLG, TRANSFER_PQ, Chapter, Frame, Track, VideoMeta

ATTACHED_PICTURE = 0x400  # FFmpeg's AV_DISPOSITION_ATTACHED_PIC
# Demuxers whose header tells how long the file should be; the others only guess from the bytes that are there.
STATES_DURATION = ("mov", "matroska", "avi", "asf", "flv", "nut")
NOT_VIDEO = {"tty"}  # FFmpeg draws plain text as pictures
MAX_READ_ERRORS = 100
MICROSECOND = Fraction(1, 1_000_000)


def url(path: Path) -> str:
    """The path as FFmpeg takes it: "a:b.mp4" is a file, not a protocol."""
    return f"file:{path}"


def open_input(path: Path) -> av.container.InputContainer:
    """Open a media file, or say in one line why it cannot be."""
    if path.stat().st_size == 0:
        raise UnreadableMedia(f"{path} is empty (0 bytes); give a video file, an animation or a folder of images")
    try:
        container = av.open(url(path), metadata_errors="replace")
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise UnreadableMedia(
            f"{path} is not a media file that can be read ({_reason(error)}); give a video, an animation or a folder of images"
        ) from error
    if container.format.name in NOT_VIDEO:
        container.close()
        raise UnreadableMedia(f"{path} is a text file; give a video file, an animation or a folder of images")
    return container


def picture_stream(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    """The stream that FFmpeg thinks best, cover art aside."""
    best = container.streams.best("video")
    moving = [stream for stream in container.streams.video if not stream.disposition.value & ATTACHED_PICTURE]
    if not moving:
        what = "holds only sound" if container.streams.audio else "holds no picture"
        raise UnreadableMedia(f"{path} {what}; give a file with a video stream")
    chosen = best if best in moving else moving[0]
    assert isinstance(chosen, av.VideoStream)
    if chosen.codec_context is None:
        raise UnreadableMedia(f"{path} is coded in a way that this FFmpeg cannot decode; convert it first")
    return chosen


@dataclass
class _Count:
    """What went wrong and how far reading got, in one pass over the file."""

    frames: int = 0
    damaged: int = 0
    concealed: int = 0
    unreadable: int = 0
    mended: int = 0
    flushing: int = 0  # damaged, found out only when the decoder was emptied
    latest: int | None = None  # the highest time of a picture's packet
    final: int = 0  # how long that packet says it is shown, if none came after it in the file
    reached: Fraction = Fraction(0)  # the latest end of a packet of any stream, seconds
    cut: bool = False  # the file ends before the time that its header states


class ContainerSource:
    """Frames of one video file. `warnings` gets one line for each thing that the user should know, never twice the same."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.warnings: list[str] = []
        with open_input(path) as container:
            stream = picture_stream(container, path)
            counts = _Count()
            first = next(self._decode(container, stream, counts), None)
            if first is None:
                raise UnreadableMedia(f"{path} holds no picture that could be decoded; is it cut off or encrypted?")
            self.meta = _meta(container, stream, first)
            self._end = _stated_end(container, stream)
        self._size = first.width, first.height
        self._announce(first)

    def frames(self, start: int) -> Iterator[Frame]:
        """Frames from number `start` on, decoded from the beginning, converted only from there."""
        to_rgb = ToRGB(self.meta)
        counts = _Count()
        step = max(1, round(1 / (self.meta.fps * self.meta.time_base))) if self.meta.fps else 1
        held: av.VideoFrame | None = None
        last = 0
        for native in self._pictures(counts):
            pts = self._time(native, last if held is not None else None, step, counts)
            if held is not None and counts.frames > start:
                # The time to the next frame: a container's own durations are those of the order of decoding.
                yield Frame(counts.frames - 1, to_rgb(held), last, pts - last, held)
            if (native.width, native.height) != self._size:
                raise UnreadableMedia(
                    f"{self.path}: frame {counts.frames} is {native.width}x{native.height}, the first {self._size[0]}x{self._size[1]};"
                    " split the file where the size changes"
                )
            held, last = native, pts
            counts.frames += 1
        if held is not None and counts.frames > start:
            yield Frame(counts.frames - 1, to_rgb(held), last, self._rest(last, counts) or held.duration or step, held)

    def _rest(self, last: int, counts: _Count) -> int:
        """How long the last frame is shown as the header has it, 0 when it does not say or the file is not whole."""
        if self._end is None or counts.cut or counts.latest != last:
            return 0
        # FFmpeg sums the stored steps up to the end, which falls short of it where reordered pictures come at uneven times.
        return max(self._end - last, counts.final)

    @staticmethod
    def _time(native: av.VideoFrame, last: int | None, step: int, counts: _Count) -> int:
        """A frame's time, made up where it has none or one that does not come after the `last`."""
        pts = native.pts if native.pts is not None else native.dts
        if pts is not None and (last is None or pts > last):
            return pts
        counts.mended += 1
        if last is None:
            return 0
        return last + (step if pts is None else 1)

    def _pictures(self, counts: _Count) -> Iterator[av.VideoFrame]:
        """Every picture of the file; says in the end what was wrong with it."""
        given: int | None = None
        with open_input(self.path) as container:
            stream = picture_stream(container, self.path)
            stream.thread_type = "AUTO"
            for native in self._decode(container, stream, counts):
                given = native.pts
                yield native
            if given is not None and counts.latest is not None and counts.latest > given:
                yield from self._tail(given, counts)
            else:
                counts.damaged += counts.flushing
            self._conclude(container, stream, counts)

    def _tail(self, after: int, counts: _Count) -> Iterator[av.VideoFrame]:
        """The pictures after one time, decoded again in one thread.

        With several, PyAV stops emptying the decoder at the first damaged packet among the last few and the good ones after it are lost.
        """
        again = _Count()
        with open_input(self.path) as container:
            stream = picture_stream(container, self.path)
            stream.thread_count = 1
            with contextlib.suppress(av.error.FFmpegError):
                container.seek(after, stream=stream)
            for native in self._decode(container, stream, again, after):
                if native.pts is not None and native.pts > after:
                    yield native
        counts.damaged += again.damaged

    def _decode(
        self, container: av.container.InputContainer, stream: av.VideoStream, counts: _Count, after: int | None = None
    ) -> Iterator[av.VideoFrame]:
        """The picture's frames in order of display; packets that cannot be read or decoded are skipped, and counted (from `after` on)."""
        packets = container.demux()
        turns = _Turns(container.format.name == "avi" and bool(stream.codec_context.has_b_frames))
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.error.FFmpegError:
                counts.unreadable += 1
                if counts.unreadable >= MAX_READ_ERRORS:
                    return
                packets = container.demux()
                continue
            if packet.pts is not None and packet.time_base:
                counts.reached = max(counts.reached, (packet.pts + (packet.duration or 0)) * packet.time_base)
            if packet.stream.index != stream.index:  # the flushing packets at the end have no stream_index of their own
                continue
            turns.note(packet)
            if packet.pts is not None and not packet.is_discard:
                newest = counts.latest is None or packet.pts > counts.latest
                counts.latest = packet.pts if newest else counts.latest
                counts.final = packet.duration or 0 if newest else 0
            try:
                frames = stream.decode(packet)
            except av.error.EOFError:
                continue  # a second flush, after an error at the very end
            except av.error.FFmpegError:
                if not packet.size:
                    counts.flushing += 1
                elif after is None or packet.pts is None or packet.pts > after:
                    counts.damaged += 1
                continue
            for frame in frames:
                counts.concealed += frame.is_corrupt
                turns.tell(frame)
                yield frame

    def _announce(self, first: av.VideoFrame) -> None:
        meta = self.meta
        if meta.bit_depth > 8:
            self._warn(f"{meta.bit_depth}-bit source ({meta.pix_fmt}): worked on in 8 bit")
        if meta.color_trc in (TRANSFER_PQ, TRANSFER_HLG):
            name = "PQ" if meta.color_trc == TRANSFER_PQ else "HLG"
            self._warn(f"HDR source ({name} transfer): filled in its coded values, the HDR tags are kept")
        if meta.color_space not in KNOWN_MATRICES:
            self._warn(f"colour matrix {meta.color_space} (ITU-T H.273) is not known here: read as the nearest known one")
        if any(part.is_alpha for part in first.format.components):
            self._warn("the source has transparency: it is not kept")
        if first.interlaced_frame:
            self._warn("interlaced source: its fields are worked on as one frame")
        matrix = _matrix(first)
        if matrix is not None and orientation(matrix) is None:
            self._warn("the source asks to be turned by an angle that is no multiple of 90 degrees: not turned")

    def _conclude(self, container: av.container.InputContainer, stream: av.VideoStream, counts: _Count) -> None:
        cut = counts.cut = self._cut_off(container, stream, counts)
        if cut:
            expected = f" of {self.meta.num_frames}" if self.meta.num_frames else ""
            self._warn(f"the file ends early: {counts.frames}{expected} frames read")
        damaged = counts.damaged + (0 if cut else counts.unreadable)
        if damaged:
            self._warn(f"{damaged} damaged packet{'s' * (damaged > 1)} skipped")
        if counts.concealed:
            self._warn(f"{counts.concealed} damaged frame{'s' * (counts.concealed > 1)} patched up by the decoder")
        if counts.mended:
            self._warn(f"{counts.mended} frame{'s' * (counts.mended > 1)} without a usable time: placed after the frame before")

    def _cut_off(self, container: av.container.InputContainer, stream: av.VideoStream, counts: _Count) -> bool:
        if not container.duration or not container.format.name.startswith(STATES_DURATION):
            return False
        end = (container.duration + (container.start_time or 0)) * MICROSECOND
        if container.format.name == "avi" and stream.frames and self.meta.fps:
            end = max(end, stream.frames / self.meta.fps)  # FFmpeg shortens an AVI's duration to what is there
        missing = end - counts.reached
        return missing > max(Fraction(1, 4), 2 / (self.meta.fps or Fraction(25)))

    def _warn(self, line: str) -> None:
        if line not in self.warnings:
            self.warnings.append(line)


class _Turns:
    """Times of the pictures of an AVI that are shown in another order than they are stored in.

    An AVI has no times, and FFmpeg's guesses then come a frame late, or (h264) in the order of storage. The n-th picture's time is the
    turn of the n-th packet. For other files nothing is done.
    """

    def __init__(self, needed: bool) -> None:
        self._needed = needed
        self._left: deque[int] = deque()

    def note(self, packet: av.Packet[av.stream.Stream]) -> None:
        """Take the turn of a packet that goes into the decoder."""
        if self._needed and packet.dts is not None:
            packet.pts = packet.dts
            self._left.append(packet.dts)

    def tell(self, frame: av.VideoFrame) -> None:
        """Give a picture from the decoder, which carries its packet's turn, its own time; turns of pictures that were lost are left out."""
        if not self._left:
            return
        if frame.pict_type in (PictureType.I, PictureType.P) and frame.pts is not None:
            # Only B-pictures are shown before what was stored before them.
            while len(self._left) > 1 and self._left[0] < frame.pts:
                self._left.popleft()
        frame.pts = self._left.popleft()


def _meta(container: av.container.InputContainer, stream: av.VideoStream, first: av.VideoFrame) -> VideoMeta:
    time_base = stream.time_base or Fraction(1, 25)
    fps = stream.average_rate or stream.guessed_rate or None
    duration: Fraction | None = stream.duration * time_base if stream.duration else None
    start = first.pts if first.pts is not None else (first.dts or 0)
    if duration is None and container.duration:
        duration = container.duration * MICROSECOND
        if container.format.name.startswith("matroska"):  # states the end on the clip's own clock, which may start late
            duration = max(duration - start * time_base, Fraction(0))
    count = stream.frames or (round(duration * fps) if duration and fps else None)
    matrix = _matrix(first)
    rotation, mirrored = (orientation(matrix) if matrix is not None else None) or (0, False)
    turned = rotation in (90, 270)
    aspect = stream.sample_aspect_ratio or Fraction(1)
    pix_fmt = first.format.name
    return VideoMeta(
        width=first.height if turned else first.width,
        height=first.width if turned else first.height,
        time_base=time_base,
        fps=fps,
        num_frames=count,
        rotation=rotation,
        sample_aspect_ratio=1 / aspect if turned else aspect,
        pix_fmt=pix_fmt,
        bit_depth=max(part.bits for part in first.format.components),
        color_range=first.color_range or (FULL if pix_fmt.startswith("yuvj") else 0),
        color_space=first.colorspace,
        color_primaries=first.color_primaries,
        color_trc=first.color_trc,
        codec=stream.codec_context.codec.canonical_name,
        container=container.format.name,
        bit_rate=stream.bit_rate or container.bit_rate or None,
        duration=float(duration) if duration is not None else None,
        metadata=dict(container.metadata),
        mirrored=mirrored,
        start_pts=start,
        tracks=tuple(_track(other) for other in container.streams if other.index != stream.index),
        chapters=_chapters(container),
    )


def _stated_end(container: av.container.InputContainer, stream: av.VideoStream) -> int | None:
    """The end of the picture in ticks, where a header states it."""
    if stream.start_time is None or not stream.duration or not container.format.name.startswith(STATES_DURATION):
        return None
    return stream.start_time + stream.duration


def _matrix(frame: av.VideoFrame) -> NDArray[np.int32] | None:
    data = cast("Mapping[Type, SideData]", frame.side_data).get(Type.DISPLAYMATRIX)  # PyAV's stub knows of motion vectors only
    return None if data is None else np.frombuffer(bytes(data), np.int32)


def _track(stream: av.stream.Stream) -> Track:
    context = stream.codec_context
    detail = ""
    if isinstance(stream, av.AudioStream) and context is not None:
        detail = f"{stream.rate} Hz {stream.layout.name}"
    elif isinstance(stream, av.VideoStream) and context is not None:
        detail = f"{stream.width}x{stream.height}" + (" cover" if stream.disposition.value & ATTACHED_PICTURE else "")
    return Track(
        index=stream.index,
        kind=stream.type,
        codec=context.codec.canonical_name if context is not None else stream.metadata.get("mimetype", ""),
        language=stream.metadata.get("language", "").replace("und", ""),
        title=stream.metadata.get("title", stream.metadata.get("filename", "")),
        detail=detail,
        duration=float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None,
    )


def _chapters(container: av.container.InputContainer) -> tuple[Chapter, ...]:
    begin = (container.start_time or 0) * MICROSECOND
    return tuple(
        Chapter(
            float(entry["start"] * (entry["time_base"] or MICROSECOND) - begin),
            float(entry["end"] * (entry["time_base"] or MICROSECOND) - begin),
            entry["metadata"].get("title", ""),
        )
        for entry in container.chapters()
    )


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return str(text).splitlines()[0].rstrip(".")
