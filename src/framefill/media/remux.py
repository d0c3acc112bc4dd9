"""What follows the picture unchanged: sound, subtitles, attachments, chapters, metadata; and whole files, stream by stream."""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import av
import av.error
from av.container import InputContainer, OutputContainer
from av.subtitles.codeccontext import SubtitleCodecContext
from av.subtitles.stream import SubtitleStream

from framefill.errors import UsageError
from framefill.media.codecs import CONTAINERS, Container
from framefill.media.container import ATTACHED_PICTURE, MAX_READ_ERRORS, MICROSECOND, open_input, picture_stream, url
from framefill.media.part import Part

BITEXACT = 0x400  # FFmpeg's AVFMT_FLAG_BITEXACT: no random ids, no dates of now
STALE = (
    "encoder",
    "major_brand",
    "minor_version",
    "compatible_brands",
    "duration",
    "_statistics",
    "bps",
    "number_of_",
    "vendor_id",
    "rotate",
)
FIRST_PACKETS = 500
USUAL_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
# QuickTime numbers the languages it knows; FFmpeg's table has one of the two ISO 639-2 codes of each.
QUICKTIME_LANGUAGES = {
    **{"deu": "ger", "nld": "dut", "swe": "sve", "ell": "gre", "isl": "ice", "zho": "chi"},
    **{"sqi": "alb", "rum": "ron", "cze": "ces", "slo": "slk", "fre": "fra", "mkd": "mac"},
}
SILENCE = b"\0\0"  # a mov_text sample that ends the text before it; the muxer makes its own
NO_CHAPTERS = "chapters are left out: {} cannot hold them"
EDIT_LISTS = ("mp4", "mov")  # muxers that can say "begin later than the first packet"
MAX_REORDERED = 20  # packets; H.264 and HEVC reorder 16 pictures at most
AnyPacket: TypeAlias = "av.Packet[av.stream.Stream]"
Mux = Callable[[AnyPacket], None]


def fresh(metadata: dict[str, str]) -> dict[str, str]:
    """Metadata without what a muxer wrote about the former file."""
    return {key: value for key, value in metadata.items() if not key.lower().startswith(STALE)}


def prepare(output: OutputContainer, source: InputContainer, keeps_chapters: bool, lead: Fraction = Fraction(0)) -> None:
    """Give a new container the source's metadata and chapters, timed from `lead` seconds before its start, and reproducible bytes."""
    output.flags |= BITEXACT
    output.metadata.update(fresh(source.metadata))
    begin = (source.start_time or 0) * MICROSECOND - lead
    chapters = source.chapters()
    for chapter in chapters:
        for end in ("start", "end"):
            chapter[end] -= round(begin / (chapter["time_base"] or MICROSECOND))
    if chapters and keeps_chapters:
        output.set_chapters(chapters)


class Followers:
    """The streams that go along with a picture written anew, which begins `lead` seconds before the source's, muxed in step with it."""

    def __init__(
        self, source: Path, output: OutputContainer, container: Container, suffix: str, warnings: list[str], lead: Fraction
    ) -> None:
        self._input = open_input(source)
        start = (self._input.start_time or 0) * MICROSECOND
        self._begin = start - lead
        self._from = None if container.muxer in EDIT_LISTS and not lead else start
        self._damaged = 0
        self._routes: dict[int, _Route] = {}
        self._warnings = warnings
        picture = picture_stream(self._input, source)
        self.picture_metadata = fresh(picture.metadata)
        self.picture_disposition = picture.disposition
        prepare(output, self._input, container.chapters, lead)
        if self._input.chapters() and not container.chapters:
            warnings.append(NO_CHAPTERS.format(suffix))
        first = first_packets(source)
        for stream in self._input.streams:
            if stream.index == picture.index:
                stream.discard = av.stream.Discard.all
            elif not _is_chapter_text(self._input, stream):
                route = _route(output, stream, container, first.get(stream.index))
                if route is None:
                    warnings.append(f"{_name(stream)} is left out: {suffix} cannot hold it")
                elif route.note:
                    warnings.append(f"{_name(stream)} {route.note}: {suffix} cannot hold it as it is")
                if route is not None:
                    self._routes[stream.index] = route
        self._packets = self._read()
        self._next: AnyPacket | None = None
        self._ended = not self._routes

    @property
    def begin(self) -> Fraction:
        """The time in the source, in seconds, that is zero in the output."""
        return self._begin

    def advance(self, seconds: Fraction | None, mux: Mux) -> None:
        """Mux every packet up to a time (None: all that are left)."""
        while not self._ended:
            packet = self._next if self._next is not None else next(self._packets, None)
            self._next = packet
            if packet is None:
                break
            when = packet.dts if packet.dts is not None else packet.pts
            if seconds is not None and when is not None and when * packet.time_base - self._begin > seconds:
                return
            self._next = None
            if self._from is None or not _before(packet, self._from):
                self._damaged += _passed_on(self._routes[packet.stream.index].packets(packet, self._begin), mux)
        if not self._ended:
            self._ended = True
            for route in self._routes.values():
                self._damaged += _passed_on(route.flush(), mux)
            if self._damaged:
                self._warnings.append(_damage(self._damaged))

    def close(self) -> None:
        """Let go of the source."""
        self._input.close()

    def _read(self) -> Iterator[AnyPacket]:
        streams = [self._input.streams[index] for index in self._routes]
        errors = 0
        while errors < MAX_READ_ERRORS:
            try:
                yield from (packet for packet in self._input.demux(streams) if packet.dts is not None or packet.size)
                break
            except av.error.FFmpegError:
                errors += 1
        self._damaged += errors


class _Route:
    """One stream copied packet by packet."""

    note = ""

    def __init__(self, target: av.stream.Stream) -> None:
        self._target = target
        self._waiting: list[AnyPacket] = []  # without a decoding time: Matroska's first pictures, where they are reordered

    def packets(self, packet: AnyPacket, begin: Fraction) -> Iterator[AnyPacket]:
        """The packets to be muxed for one that was read."""
        if _is_silence(packet):
            return
        self._waiting.append(moved(packet, self._target, begin))
        if packet.dts is not None or len(self._waiting) >= MAX_REORDERED:
            yield from self.flush()

    def flush(self) -> Iterator[AnyPacket]:
        """What still waits; decoding times that are missing lead up to the first known one, or to the earliest picture."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        if waiting[-1].dts is None:
            waiting[-1].dts = min((packet.pts for packet in waiting if packet.pts is not None), default=0)
        for earlier, later in reversed(list(itertools.pairwise(waiting))):
            assert later.dts is not None
            earlier.dts = later.dts - (earlier.duration or 1)
        yield from waiting


class _Recoded(_Route):
    """Sound decoded and encoded again."""

    def __init__(self, target: av.AudioStream, source: av.AudioStream) -> None:
        super().__init__(target)
        self._sound, self._source = target, source
        self.note = f"is coded again as {target.codec_context.codec.canonical_name}"

    def packets(self, packet: AnyPacket, begin: Fraction) -> Iterator[AnyPacket]:
        """Decode one packet, encode what comes out."""
        for frame in self._source.decode(packet):
            if frame.pts is not None and frame.time_base:
                frame.pts -= round(begin / frame.time_base)
            yield from self._sound.encode(frame)

    def flush(self) -> Iterator[AnyPacket]:
        """What the encoder still holds."""
        yield from self._sound.encode(None)


class _Retold(_Route):
    """Text subtitles turned into the container's own kind."""

    def __init__(self, target: SubtitleStream, words: SubtitleCodecContext) -> None:
        super().__init__(target)
        self._reader, self._teller = words, target.codec_context
        self.note = f"is rewritten as {self._teller.codec.canonical_name}"

    def packets(self, packet: AnyPacket, begin: Fraction) -> Iterator[AnyPacket]:
        """Decode one subtitle, write it in the other notation, at the same time and for as long."""
        subtitle = self._reader.decode2(packet)
        if subtitle is None or not len(subtitle):
            return
        made: AnyPacket = self._teller.encode_subtitle(subtitle)
        made.pts, made.dts, made.duration, made.time_base = packet.pts, packet.pts, packet.duration, packet.time_base
        yield moved(made, self._target, begin)


class _Attached(_Route):
    """Cover art, which Matroska keeps as an attachment, not as a stream."""

    def __init__(self, output: OutputContainer, stream: av.stream.Stream, picture: AnyPacket) -> None:
        kind = "png" if stream.codec_context.codec.canonical_name == "png" else "jpeg"
        name = stream.metadata.get("filename", f"cover.{kind.replace('jpeg', 'jpg')}")
        super().__init__(output.add_attachment(name, stream.metadata.get("mimetype", f"image/{kind}"), bytes(picture)))

    def packets(self, packet: AnyPacket, begin: Fraction) -> Iterator[AnyPacket]:
        """Nothing: an attachment stands in the header."""
        yield from ()


def moved(packet: AnyPacket, target: av.stream.Stream, begin: Fraction) -> AnyPacket:
    """A packet handed to another container's stream, its times counted from `begin` seconds."""
    if begin:
        ticks = round(begin / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts - ticks
        packet.dts = None if packet.dts is None else packet.dts - ticks
    if packet.pts is None:
        packet.pts = packet.dts
    packet.stream = target
    return packet


def _passed_on(packets: Iterator[AnyPacket], mux: Mux) -> int:
    """Mux packets that were made from one; 1 when that one is damaged (not decodable, its time before the last one's), else 0."""
    try:
        for packet in packets:
            mux(packet)
    except (ValueError, av.error.PatchWelcomeError):  # FFmpeg's EINVAL and "invalid data" are ValueErrors, a full disk is not
        return 1
    return 0


def _damage(places: int) -> str:
    return f"{places} damaged place{'s' * (places > 1)} in the sound or subtitles skipped"


def _before(packet: AnyPacket, begin: Fraction) -> bool:
    """Whether a packet is not shown: cut away by the source's edit list, or over before the clip begins."""
    if packet.pts is None or not packet.duration or packet.pts * packet.time_base >= begin:
        return packet.is_discard
    return (packet.pts + packet.duration) * packet.time_base < begin  # one that touches the begin is what a decoder starts from


def _route(output: OutputContainer, stream: av.stream.Stream, container: Container, first: AnyPacket | None) -> _Route | None:
    if stream.disposition.value & ATTACHED_PICTURE and container.muxer == "matroska" and first is not None:
        return _Attached(output, stream, first)
    if accepts(container, stream, first):
        return _Route(_copied(output, stream))
    if isinstance(stream, av.AudioStream) and container.audio and stream.codec_context is not None:
        return _Recoded(_new_sound(output, stream, container.audio), stream)
    if isinstance(stream, SubtitleStream) and container.subtitles and stream.codec_context is not None:
        words = stream.codec_context
        with contextlib.suppress(av.error.FFmpegError):
            words.open(strict=False)
        if words.subtitle_header:  # pictures of text have none
            return _Retold(_new_words(output, stream, container.subtitles, words.subtitle_header), words)
    return None


def _new_sound(output: OutputContainer, stream: av.AudioStream, encoder: str) -> av.AudioStream:
    rates = av.Codec(encoder, "w").audio_rates or [stream.rate]
    rate = min(rates, key=lambda offered: (offered < stream.rate, abs(offered - stream.rate)))
    sound = output.add_stream(encoder, rate=rate)
    assert isinstance(sound, av.AudioStream)
    sound.layout = _layout(stream)
    if encoder != "flac":
        sound.bit_rate = 96_000 * max(2, stream.channels)
    _label(sound, stream)
    return sound


def _new_words(output: OutputContainer, stream: SubtitleStream, encoder: str, header: bytes) -> SubtitleStream:
    told = output.add_stream(encoder)
    assert isinstance(told, SubtitleStream)
    told.codec_context.subtitle_header = header
    told.codec_context.time_base = Fraction(1, 1000)
    _label(told, stream)
    return told


def accepts(container: Container, stream: av.stream.Stream, first: AnyPacket | None) -> bool:
    """Whether a container takes a stream as it is, found out by writing a file with its first packet (None: none known) into memory."""
    context = stream.codec_context
    if container.carries and context is not None and context.codec.canonical_name not in container.carries:
        return False
    trial = av.open(io.BytesIO(), "w", format=container.muxer)
    try:
        target = _copied(trial, stream)
        trial.start_encoding()
        if first is not None:
            sample = av.Packet(bytes(first))
            sample.pts = sample.dts = 0
            sample.duration, sample.time_base, sample.is_keyframe, sample.stream = first.duration, first.time_base, True, target
            trial.mux_one(sample)
        trial.close()
    except (ValueError, av.error.FFmpegError):
        return False
    return True


def first_packets(source: Path) -> dict[int, AnyPacket]:
    """The first packet of each stream, of those that begin within the file's first packets."""
    found: dict[int, AnyPacket] = {}
    with open_input(source) as file, contextlib.suppress(av.error.FFmpegError):
        for packet in itertools.islice(file.demux(), FIRST_PACKETS):
            if packet.size:
                found.setdefault(packet.stream.index, packet)
            if len(found) == len(file.streams):
                break
    return found


def _copied(output: OutputContainer, stream: av.stream.Stream) -> av.stream.Stream:
    target = output.add_stream_from_template(stream, opaque=True)
    if isinstance(target, av.AudioStream) and target.codec_context is not None:
        usual = _layout(target)
        if usual != target.layout.name:
            target.layout = usual
    _label(target, stream)
    return target


def _layout(sound: av.AudioStream) -> str:
    """The layout's name; the usual one for "2 channels", a count without places, which mp4 and encoders refuse."""
    name = sound.layout.name
    return USUAL_LAYOUTS.get(len(sound.layout.channels) or sound.channels, name) if "channels" in name else name


def _label(target: av.stream.Stream, stream: av.stream.Stream) -> None:
    target.metadata.clear()
    target.metadata.update(fresh(stream.metadata))
    if target.container.format.name == "mov" and "language" in target.metadata:
        target.metadata["language"] = QUICKTIME_LANGUAGES.get(target.metadata["language"], target.metadata["language"])
    target.disposition = stream.disposition


def _is_silence(packet: AnyPacket) -> bool:
    return packet.stream.type == "subtitle" and packet.size == len(SILENCE) and bytes(packet) == SILENCE


def _is_chapter_text(source: InputContainer, stream: av.stream.Stream) -> bool:
    """QuickTime keeps chapter titles in a text track too; the muxer writes it again from the chapters."""
    return (
        stream.type == "data"
        and source.format.name.startswith("mov")
        and getattr(stream, "name", None) == "bin_data"
        and bool(source.chapters())
    )


def _name(stream: av.stream.Stream) -> str:
    codec = stream.codec_context.codec.canonical_name if stream.codec_context is not None else (getattr(stream, "name", "") or "unknown")
    kind = {"audio": "sound", "subtitle": "subtitle"}.get(stream.type, stream.type)
    return f"{kind} track {stream.index} ({codec})"


def can_remux(source: Path, target: Path) -> bool:
    """Whether every picture and sound of `source` fits into `target`'s container without coding it again, and shows the same there.

    Reads the whole file: only its packets tell of damage and of pictures that an edit list cuts away.
    """
    container = CONTAINERS.get(target.suffix.lower())
    if container is None or not source.is_file():
        return False
    with open_input(source) as file:
        streams = [stream for stream in file.streams if stream.type in ("video", "audio", "subtitle")]
        first = first_packets(source)
        if not all(stream.codec_context is not None and accepts(container, stream, first.get(stream.index)) for stream in streams):
            return False
        last: int | None = None
        try:
            for packet in file.demux(picture_stream(file, source)):
                if packet.is_discard and container.muxer not in EDIT_LISTS:
                    return False
                if packet.dts is not None and last is not None and packet.dts <= last:
                    return False
                last = last if packet.dts is None else packet.dts
        except av.error.FFmpegError:
            return False
    return True


def remux(source: str | Path, target: str | Path) -> list[str]:
    """Copy every stream of `source` into `target` without coding it again: packets, times, rotation, chapters and metadata stay.

    Returns warnings, one line each, for streams that the container cannot hold. Raises `UsageError` when that is the picture,
    `UnreadableMedia`, `UnwritableMedia`.
    """
    source, target = Path(source), Path(target)
    container = CONTAINERS.get(target.suffix.lower())
    if container is None:
        raise UsageError(f"{target.name}: {target.suffix} is not written; use one of {' '.join(CONTAINERS)}")
    warnings: list[str] = []
    if source.exists() and target.exists() and source.samefile(target):
        raise UsageError(f"{target} is the input too; give another output, the input is never written to")
    with Part(target) as part, open_input(source) as file:
        picture, first = picture_stream(file, source), first_packets(source)
        if not accepts(container, picture, first.get(picture.index)):
            codec = picture.codec_context.codec.canonical_name
            raise UsageError(f"{target.suffix} cannot hold {codec} without coding it again; use {source.suffix} or name a codec")
        with part.writing():
            output = av.open(url(part.path), "w", format=container.muxer, container_options=dict(container.options))
            prepare(output, file, container.chapters)
            if file.chapters() and not container.chapters:
                warnings.append(NO_CHAPTERS.format(target.suffix))
            routes: dict[int, _Route] = {}
            for stream in file.streams:
                if _is_chapter_text(file, stream):
                    continue
                if stream.index == picture.index or accepts(container, stream, first.get(stream.index)):
                    routes[stream.index] = _Route(_copied(output, stream))
                else:
                    warnings.append(f"{_name(stream)} is left out: {target.suffix} cannot hold it")
            damaged = _copy(file, output, routes, picture.index, container.muxer in EDIT_LISTS)
            output.close()
        part.keep()
    if damaged:
        warnings.append(_damage(damaged))
    return warnings


def _copy(file: InputContainer, output: OutputContainer, routes: dict[int, _Route], picture: int, edit_lists: bool) -> int:
    """Send every packet its way; returns how many beside the picture's were damaged."""
    begin = (file.start_time or 0) * MICROSECOND
    damaged = 0
    for packet in file.demux([file.streams[index] for index in routes]):
        if packet.dts is None and not packet.size:
            continue
        index = packet.stream.index
        if index == picture:
            for made in routes[index].packets(packet, begin):
                output.mux_one(made)
        elif edit_lists or not _before(packet, begin):
            damaged += _passed_on(routes[index].packets(packet, begin), output.mux_one)
    for index, route in routes.items():
        if index == picture:
            for made in route.flush():
                output.mux_one(made)
        else:
            damaged += _passed_on(route.flush(), output.mux_one)
    return damaged
