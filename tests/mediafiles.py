"""Makers of test media, by PyAV and Pillow: every oddity that a user's file may have, small and the same each time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Rgb = NDArray[np.uint8]

ASS_HEADER = (
    b"[Script Info]\nScriptType: v4.00+\n[V4+ Styles]\nFormat: Name, Fontname, Fontsize\nStyle: Default,Arial,16\n"
    b"[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
)


@dataclass(frozen=True)
class Sound:
    """A sine wave as one track."""

    codec: str = "aac"
    seconds: float = 0.5
    rate: int = 48000
    layout: str = "stereo"
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Words:
    """Text subtitles as one track: (start, end, text) in milliseconds."""

    codec: str = "mov_text"
    lines: Sequence[tuple[int, int, str]] = ((0, 200, "first"), (240, 400, "second"))
    metadata: dict[str, str] = field(default_factory=dict)


def picture(index: int, width: int = 64, height: int = 48) -> Rgb:
    """A smooth coloured picture that moves with `index` and has no symmetry, so that a turned or mirrored copy is told from it."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    red = 40 + 170 * x / max(1, width - 1)
    green = 40 + 150 * y / max(1, height - 1)
    blue = 128 + 60 * np.sin((x + 2 * y) / 40 + index / 3)
    return np.stack([red, green, blue], axis=2).round().astype(np.uint8)


def write_video(
    path: Path,
    *,
    size: tuple[int, int] = (64, 48),
    frames: int = 12,
    fps: Fraction | int = 25,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    times: Sequence[int] | None = None,
    last: int | None = None,
    time_base: Fraction = Fraction(1, 12800),
    rotation: int = 0,
    mirrored: bool = False,
    colour: tuple[int, int, int, int] = (0, 2, 2, 2),
    aspect: Fraction = Fraction(1),
    sounds: Sequence[Sound] = (),
    words: Sequence[Words] = (),
    chapters: Sequence[tuple[int, int, str]] = (),
    metadata: dict[str, str] | None = None,
    attachment: tuple[str, str, bytes] | None = None,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    pictures: int = 1000,
) -> Path:
    """A video of `picture`s in coded orientation, the same again after `pictures` of them.

    `times` are pts in `time_base`, `last` is how long the last picture is shown (None: as at a constant rate); `colour` =
    range, matrix, primaries, transfer; chapters in ms.
    """
    out = av.open(str(path), "w", container_options=container or {})
    out.metadata.update(metadata or {})
    defaults = {
        "libx264": {"crf": "10", "preset": "ultrafast", "g": "6"},
        "libx265": {"crf": "6", "x265-params": "log-level=none:bframes=0"},
    }.get(codec, {})
    stream = out.add_stream(
        codec, rate=fps, width=size[0], height=size[1], pix_fmt=pix_fmt, time_base=time_base, options={**defaults, **(options or {})}
    )
    context = stream.codec_context
    context.color_range, context.colorspace, context.color_primaries, context.color_trc = colour
    context.sample_aspect_ratio = aspect
    context.flags |= int(av.codec.context.Flags.frame_duration)
    if rotation or mirrored:
        stream.set_display_rotation(-rotation, hflip=mirrored)
    if chapters:
        out.set_chapters(
            [
                {"id": i, "start": a, "end": b, "time_base": Fraction(1, 1000), "metadata": {"title": title}}
                for i, (a, b, title) in enumerate(chapters)
            ]
        )
    if attachment:
        out.add_attachment(*attachment)
    tracks = [_sound_stream(out, sound) for sound in sounds]
    told = [_word_stream(out, track) for track in words]
    step = round(1 / (Fraction(fps) * time_base))
    times = [step * index for index in range(frames)] if times is None else list(times)
    shown = [picture(index, *size) for index in range(min(pictures, len(times)))]
    ends = [*times[1:], times[-1] + (last or step)]
    for index, (start, end) in enumerate(zip(times, ends, strict=True)):
        frame = av.VideoFrame.from_ndarray(shown[index % pictures], "rgb24").reformat(
            format=pix_fmt, dst_colorspace={1: 1, 6: 5, 5: 5}.get(colour[1]), dst_color_range=colour[0]
        )
        frame.pts, frame.time_base, frame.duration = start, time_base, end - start
        frame.colorspace, frame.color_range = colour[1], colour[0]
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))
    for sound, track in zip(sounds, tracks, strict=True):
        _play(out, track, sound)
    for text, track in zip(words, told, strict=True):
        _tell(out, track, text)
    out.close()
    return path


def _sound_stream(out: av.container.OutputContainer, sound: Sound) -> av.AudioStream:
    stream = out.add_stream(sound.codec, rate=sound.rate)
    stream.layout = sound.layout
    stream.metadata.update(sound.metadata)
    return stream


def _play(out: av.container.OutputContainer, stream: av.AudioStream, sound: Sound) -> None:
    channels = len(av.AudioLayout(sound.layout).channels)
    count = round(sound.seconds * sound.rate)
    wave = (np.sin(np.arange(count) * 2 * np.pi * 440 / sound.rate) * 8000).astype(np.int16)
    for start in range(0, count, 1024):
        piece = wave[start : start + 1024]
        frame = av.AudioFrame.from_ndarray(np.repeat(piece, channels)[None], format="s16", layout=sound.layout)
        frame.sample_rate, frame.pts, frame.time_base = sound.rate, start, Fraction(1, sound.rate)
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def _word_stream(out: av.container.OutputContainer, words: Words) -> av.stream.Stream:
    stream = out.add_stream(words.codec)
    stream.codec_context.subtitle_header = ASS_HEADER
    stream.codec_context.time_base = Fraction(1, 1000)
    stream.metadata.update(words.metadata)
    return stream


def _tell(out: av.container.OutputContainer, stream: av.stream.Stream, words: Words) -> None:
    for start, end, text in words.lines:
        told = av.subtitles.subtitle.SubtitleSet.create(f"0,0,Default,,0,0,0,,{text}".encode(), 0, end - start)
        packet = stream.codec_context.encode_subtitle(told)
        packet.pts = packet.dts = start
        packet.duration, packet.time_base, packet.stream = end - start, Fraction(1, 1000), stream
        out.mux(packet)


def write_sound(path: Path) -> Path:
    """A file with sound only."""
    out = av.open(str(path), "w")
    sound = Sound()
    stream = _sound_stream(out, sound)
    _play(out, stream, sound)
    out.close()
    return path


def write_images(folder: Path, count: int = 12, suffix: str = ".png", size: tuple[int, int] = (64, 48)) -> Path:
    """A folder of frames named without leading zeros, so that only natural order is right."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        Image.fromarray(picture(index, *size)).save(folder / f"frame{index}{suffix}", quality=98)
    return folder


def write_animation(path: Path, delays: Sequence[int] = (40, 120, 80), size: tuple[int, int] = (64, 48)) -> Path:
    """An animated GIF, APNG or WebP with frame delays in milliseconds."""
    first, *rest = [Image.fromarray(picture(20 * index, *size)) for index in range(len(delays))]
    kind = {".gif": "GIF", ".apng": "PNG", ".png": "PNG", ".webp": "WEBP"}[path.suffix]
    lossless = {"lossless": True} if kind == "WEBP" else {}
    first.save(path, format=kind, save_all=True, append_images=rest, duration=list(delays), loop=0, **lossless)
    return path


def cut_off(path: Path, target: Path, share: float = 0.6) -> Path:
    """The first `share` of a file's bytes (make it with `container={"movflags": "+faststart"}`, or nothing can be read)."""
    data = path.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])
    return target


def damage(path: Path, target: Path, every: int = 5) -> int:
    """Overwrite the picture packets 3, 3 + `every`, ... with noise that no decoder takes; returns how many were hit."""
    data = bytearray(path.read_bytes())
    hit = 0
    with av.open(str(path)) as container:
        for number, packet in enumerate(container.demux(video=0)):
            if packet.size and number >= 3 and (number - 3) % every == 0 and packet.pos is not None:
                start = data.find(bytes(packet), packet.pos)  # some demuxers give the place of the packet's own header
                data[start : start + packet.size] = b"\xff" * packet.size
                hit += 1
    target.write_bytes(bytes(data))
    return hit


def packets(path: Path, kind: str) -> list[list[bytes]]:
    """The bytes of every packet of every stream of a kind ("video", "audio", "subtitle"), in file order."""
    with av.open(str(path)) as container:
        streams = [stream for stream in container.streams if stream.type == kind]
        found: dict[int, list[bytes]] = {stream.index: [] for stream in streams}
        for packet in container.demux(streams):
            if packet.size:
                found[packet.stream.index].append(bytes(packet))
    return list(found.values())


def packet_times(path: Path, kind: str) -> list[list[Fraction]]:
    """The time in seconds of every packet of every stream of a kind, as the container gives it."""
    with av.open(str(path)) as container:
        streams = [stream for stream in container.streams if stream.type == kind]
        found: dict[int, list[Fraction]] = {stream.index: [] for stream in streams}
        for packet in container.demux(streams):
            if packet.size and packet.pts is not None:
                found[packet.stream.index].append(packet.pts * packet.time_base)
    return list(found.values())


def decode(path: Path) -> list[av.VideoFrame]:
    """Every picture of a file as the decoder gives it, by PyAV alone."""
    with av.open(str(path)) as container:
        return list(container.decode(video=0))
