"""What can be written: containers by their extension, codecs by their name, and which pixel format goes into an encoder.

Everything here is decided before the first frame is decoded, so that a wrong wish costs no work.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import av
import av.error

from framefill.errors import UsageError
from framefill.media.colour import FULL, LIMITED, SAME_SAMPLES
from framefill.media.video import VideoMeta

BT709 = 1
RGB_MATRIX = 0


@dataclass(frozen=True)
class Container:
    """A file format: FFmpeg's muxer, what `auto` puts into it, and what it can carry beside the picture."""

    muxer: str
    codec: str
    audio: str = ""  # the encoder for sound that cannot be copied; "" = no sound
    subtitles: str = ""  # the encoder for text subtitles that cannot be copied
    options: tuple[tuple[str, str], ...] = ()
    turns: bool = False  # keeps a display matrix
    variable: bool = True  # keeps any frame times
    chapters: bool = False  # keeps chapters
    carries: frozenset[str] = frozenset()  # the only codecs that a reader finds again; empty = whatever the muxer takes
    refuses: frozenset[str] = frozenset()  # codecs that the muxer takes as a stream, and refuses when its header is written


@dataclass(frozen=True)
class Codec:
    """An encoder of FFmpeg with framefill's settings: visually lossless by default, and fixed threads, since bytes depend on them."""

    encoder: str
    crf: int | None = None  # None: has no such setting
    options: tuple[tuple[str, str], ...] = ()
    whole_chroma: bool = False  # takes only sizes that are whole multiples of the chroma grid
    pix_fmt: str = ""  # the only one used; "" = chosen by the source
    smallest: int = 1  # width and height; below it x265 writes outside its buffers (40x24), SVT-AV1 never returns (18x200)


ISO = (("movflags", "+faststart"),)
# FFmpeg's muxer takes anything, and writes what has no number in MPEG-TS as nameless private data.
MPEGTS = frozenset(
    ["h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4", "mp1", "mp2", "mp3", "aac", "ac3", "eac3", "dts", "opus", "dvb_subtitle"]
)
CONTAINERS = {
    ".mp4": Container("mp4", "h264", "aac", "mov_text", ISO, turns=True, chapters=True),
    ".m4v": Container("mp4", "h264", "aac", "mov_text", ISO, turns=True, chapters=True),
    ".mov": Container("mov", "h264", "aac", "mov_text", ISO, turns=True, chapters=True, refuses=frozenset(["vp9", "av1"])),
    ".mkv": Container("matroska", "h264", "flac", "srt", turns=True, chapters=True),
    ".webm": Container("webm", "vp9", "libopus", "webvtt", turns=True, chapters=True),
    ".avi": Container("avi", "h264", "libmp3lame", variable=False),
    ".ts": Container("mpegts", "h264", "aac", carries=MPEGTS),
    ".nut": Container("nut", "h264", "flac", chapters=True),
    ".gif": Container("gif", "gif", options=(("loop", "0"),)),
    ".apng": Container("apng", "apng", options=(("plays", "0"),)),
    ".png": Container("apng", "apng", options=(("plays", "0"),)),
    ".webp": Container("webp", "webp", options=(("loop", "0"),)),
}
STILLS = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"})
# x264's macroblock tree reads memory that it never wrote where the width is no multiple of 128: other bytes each time, so it is off.
CODECS = {
    "h264": Codec("libx264", 16, (("preset", "fast"), ("mbtree", "0")), whole_chroma=True),
    "h265": Codec("libx265", 18, (("preset", "fast"), ("x265-params", "log-level=none:frame-threads=2")), whole_chroma=True, smallest=64),
    "vp9": Codec("libvpx-vp9", 20, (("b", "0"), ("deadline", "good"), ("cpu-used", "4"), ("row-mt", "1"))),
    "av1": Codec("libsvtav1", 20, (("preset", "8"),), smallest=64),
    "ffv1": Codec("ffv1", None, (("level", "3"), ("slices", "4"), ("slicecrc", "1")), pix_fmt="bgr0"),
    "prores": Codec("prores_ks", None, (("vendor", "apl0"),)),
    "gif": Codec("gif", None, pix_fmt="pal8"),
    "apng": Codec("apng", None, (("pred", "mixed"),), pix_fmt="rgb24"),
    "webp": Codec("libwebp_anim", None, (("lossless", "1"), ("compression_level", "3")), pix_fmt="bgra"),
}
KEEPS_ASPECT = frozenset({"mp4", "mov", "h264", "h265"})  # containers and codecs that carry the shape of a pixel through PyAV
CHOICES = ("auto", "h264", "h265", "vp9", "av1", "ffv1", "prores")
ENCODER_THREADS = 4
SLASHES = ("/", "\\")  # at the end of a path: a folder


@dataclass(frozen=True)
class Plan:
    """How a target will be written: `width` and `height` in display orientation, `meta` the source's with the colour tags to be set."""

    path: Path
    kind: Literal["stream", "folder", "still"]
    meta: VideoMeta
    width: int
    height: int
    container: Container = Container("", "")
    codec: Codec = Codec("")
    codec_name: str = ""
    pix_fmt: str = "rgb24"
    crf: int | None = None
    warnings: tuple[str, ...] = ()

    @property
    def lossless(self) -> bool:
        """Whether reading the target gives back the RGB that was written, bit for bit."""
        return self.kind == "folder" or self.codec.pix_fmt in ("bgr0", "rgb24", "bgra")


def is_folder(path: str | Path) -> bool:
    """Whether an output path asks for a folder of PNGs: it ends with a slash, has no suffix, or is a folder already."""
    return str(path).endswith(SLASHES) or not Path(path).suffix or Path(path).is_dir()


def plan_output(
    path: str | Path,
    meta: VideoMeta,
    *,
    codec: str = "auto",
    crf: int | None = None,
    lossless: bool = False,
    size: tuple[int, int] | None = None,
) -> Plan:
    """Decide how `path` will be written for a source of this `meta`; `size` (width, height) when it is not the source's.

    Raises `UsageError` for a codec that the container cannot hold, an unknown extension, a setting without meaning, an impossible size.
    """
    if codec not in CHOICES:
        raise UsageError(f"codec {codec!r} is not known; choose one of {', '.join(CHOICES)}")
    if lossless and codec not in ("auto", "ffv1"):
        raise UsageError(f"lossless means ffv1 in RGB, but codec {codec} was asked for; leave one of the two out")
    width, height = size or (meta.width, meta.height)
    target, suffix = Path(path), Path(path).suffix.lower()
    blank = Plan(target, "folder", meta, width, height)
    if is_folder(path):
        if target.is_file():
            raise UsageError(f"{target} is a file, and a folder of PNGs was asked for; choose another name, or one with an ending")
        return _no_setting(blank, "a folder of PNGs", codec, crf)
    if suffix in STILLS and (meta.num_frames == 1 or suffix not in CONTAINERS):
        if meta.num_frames != 1:
            raise UsageError(
                f"{target.name} holds one picture, the source has {meta.num_frames or 'many'}; give a folder (ends with /) or a video file"
            )
        return _no_setting(replace(blank, kind="still"), "a still image", codec, crf)
    container = CONTAINERS.get(suffix)
    if container is None:
        raise UsageError(
            f"{target.name}: {suffix} is not written; use one of {' '.join(CONTAINERS)}, or a folder that exists or has no dot"
        )
    name = _codec_name(container, meta, codec, lossless, min(width, height))
    if name == container.codec and name not in CHOICES:
        _no_setting(blank, f"{suffix[1:]}", codec, crf)
    return _stream(blank, container, name, crf)


def _stream(blank: Plan, container: Container, name: str, crf: int | None) -> Plan:
    """Decide how a stream of a codec is written into a container."""
    meta, width, height, suffix = blank.meta, blank.width, blank.height, blank.path.suffix.lower()
    chosen = CODECS[name]
    _check_held(container, name, suffix)
    _check_crf(chosen, name, crf)
    if min(width, height) < chosen.smallest:
        raise UsageError(
            f"{name} cannot encode {width}x{height}: it needs {chosen.smallest}x{chosen.smallest} at least; choose h264, vp9 or ffv1"
        )
    pix_fmt, warnings = _pix_fmt(meta, name, width, height)
    aspect = meta.sample_aspect_ratio
    if aspect != 1 and container.muxer not in KEEPS_ASPECT and name not in KEEPS_ASPECT:
        warnings = (
            *warnings,
            f"{name} in {suffix} keeps no pixel aspect ratio ({aspect.numerator}:{aspect.denominator}): use .mp4, or h264",
        )
    quality = chosen.crf if crf is None else crf
    plan = Plan(blank.path, "stream", _tagged(meta, pix_fmt), width, height, container, chosen, name, pix_fmt, quality, warnings)
    if (meta.rotation or meta.mirrored) and not container.turns:
        note = f"{suffix} keeps no rotation flag: the picture is written upright"
        plan = replace(plan, meta=replace(plan.meta, rotation=0, mirrored=False), warnings=(*plan.warnings, note))
    return _rounding_said(plan)


def _no_setting(plan: Plan, what: str, codec: str, crf: int | None) -> Plan:
    if codec != "auto" or crf is not None:
        raise UsageError(f"{plan.path} is {what}: codec and crf have no meaning there; leave them out or give a video file")
    return _rounding_said(plan)


def _rounding_said(plan: Plan) -> Plan:
    """Add a line when what is known of a deeper source comes out in 8 bits, unless a line tells of that already."""
    if plan.meta.bit_depth <= 8 or _traits(plan.pix_fmt)[0] > 8 or any("written as" in line for line in plan.warnings):
        return plan
    what = f"{plan.codec_name} in {plan.pix_fmt}" if plan.kind == "stream" else "a picture file"
    return replace(plan, warnings=(*plan.warnings, f"known pixels are rounded to 8 bit too: {what} holds no more"))


def _check_crf(chosen: Codec, name: str, crf: int | None) -> None:
    if crf is not None and chosen.crf is None:
        raise UsageError(f"{name} has no crf; leave --crf out or choose h264, h265, vp9 or av1")
    if crf is not None and not 0 <= crf <= 63:
        raise UsageError(f"crf {crf} is out of range; give 0 (best) to 51 (h264, h265) or 63 (vp9, av1)")


def _codec_name(container: Container, meta: VideoMeta, codec: str, lossless: bool, shorter: int) -> str:
    if lossless and container.codec in CHOICES:
        return "ffv1"
    if codec != "auto":
        return codec
    fits = container.variable and shorter >= CODECS["h265"].smallest
    if container.codec == "h264" and meta.bit_depth > 8 and meta.codec == "hevc" and fits:
        return "h265"  # 10-bit h264 is played by few; the source's own codec is
    return container.codec


def _check_held(container: Container, name: str, suffix: str) -> None:
    if holds(container, CODECS[name].encoder):
        return
    fitting = [choice for choice in CHOICES[1:] if holds(container, CODECS[choice].encoder)]
    others = [other for other in (".mp4", ".mkv", ".mov", ".webm") if holds(CONTAINERS[other], CODECS[name].encoder)]
    advice = f"{suffix} takes {', '.join(fitting) or container.codec}" + (f"; {name} goes into {', '.join(others)}" if others else "")
    raise UsageError(f"{suffix} cannot hold {name}: {advice}")


def holds(container: Container, encoder: str) -> bool:
    """Whether a container takes what an encoder makes."""
    codec = av.Codec(encoder, "w").canonical_name
    if codec in container.refuses or (container.carries and codec not in container.carries):
        return False
    probe = av.open(io.BytesIO(), "w", format=container.muxer)
    try:
        probe.add_stream(encoder)
    except ValueError:
        return False
    return True


def _pix_fmt(meta: VideoMeta, name: str, width: int, height: int) -> tuple[str, tuple[str, ...]]:
    """The encoder's format that loses least of the source's samples, 4:2:0 for RGB, and a line where something is lost or unusual."""
    codec = CODECS[name]
    if codec.pix_fmt:
        return codec.pix_fmt, ()
    wanted = _planar(meta.pix_fmt)
    coded_width, coded_height = (height, width) if meta.turned else (width, height)
    best: tuple[int, ...] | None = None
    chosen = ""
    depth, across, down = _traits(wanted)
    for candidate in av.Codec(codec.encoder, "w").video_formats or ():
        if candidate.name.startswith(("yuvj", "nv", "yuva")) or not candidate.name.startswith(("yuv", "gray")):
            continue
        d, a, b = _traits(candidate.name)
        if codec.whole_chroma and (coded_width % max(a, 1) or coded_height % max(b, 1)):
            continue
        grey_loss = int(across > 0 and a == 0)
        loss = max(0, a - across) + max(0, b - down) if across else 0
        surplus = max(0, across - a) + max(0, down - b) if across else int(a > 0)
        score = (grey_loss, max(0, depth - d), loss, max(0, d - depth), surplus)
        if best is None or score < best:
            best, chosen = score, candidate.name
    if best is None:
        raise UsageError(f"{name} cannot hold {width}x{height}: it takes even sizes only; choose h264, vp9 or ffv1")
    warnings = []
    if name != "prores" and chosen != wanted:
        odd = codec.whole_chroma and best[1] == best[2] == 0 and (width % 2 or height % 2)
        why = f"{name} holds no odd size ({width}x{height}) as {wanted}" if odd else f"this {name} encoder takes no {wanted}"
        warnings.append(f"{why}: written as {chosen}")
    return chosen, tuple(warnings)


def _planar(pix_fmt: str) -> str:
    """The planar YUV format of a source's samples, without transparency; yuv420p for RGB and palettes, since every player takes it."""
    name = SAME_SAMPLES.get(pix_fmt, pix_fmt).replace("yuva", "yuv")
    name = name[:-2] + "le" if name.endswith("be") else name
    if name.startswith(("ya", "gray", "mono")):
        return name if name in ("gray", "gray10le", "gray12le") else "gray"
    return name if name.startswith("yuv") else "yuv420p"


def _traits(pix_fmt: str) -> tuple[int, int, int]:
    """Bits a sample, luma pixels to a chroma sample across and down (0 when there is no chroma)."""
    shape = av.VideoFormat(pix_fmt, 64, 64)
    parts = shape.components
    if len(parts) < 3:
        return parts[0].bits, 0, 0
    return parts[0].bits, 64 // parts[1].width, 64 // parts[1].height


def _tagged(meta: VideoMeta, pix_fmt: str) -> VideoMeta:
    """The colour tags of the output: the source's; RGB pictures made into YUV become BT.709, limited range, and say so."""
    to_yuv = pix_fmt.startswith(("yuv", "gray"))
    from_yuv = meta.pix_fmt.startswith(("yuv", "nv", "uyvy", "yvyu", "p0", "p2", "p4", "gray", "ya", "xv", "vuy", "y2"))
    if to_yuv and not from_yuv:
        return replace(meta, color_range=LIMITED, color_space=BT709, color_primaries=BT709, color_trc=BT709)
    if not to_yuv:
        return replace(meta, color_range=FULL, color_space=RGB_MATRIX)
    return meta
