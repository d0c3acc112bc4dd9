"""Saying in a file that its picture holds two eyes, and whether it lies round the viewer, so that players unpack it by themselves.

MP4 and QuickTime: the boxes `st3d` and `sv3d` in the picture's sample entry (Google, Spherical Video V2), put in after the muxer is done,
since FFmpeg's writes them only from side data that PyAV does not reach. Matroska: StereoMode, by the muxer. H.264: the frame packing
arrangement message (H.264, D.2.26), by the encoder.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from framefill.media.codecs import Plan
from framefill.media.stereo_layout import Layout

Mode = Literal["left_right", "top_bottom", "right_left", "anaglyph_cyan_red"]  # Matroska's names

ST3D = {"top_bottom": 1, "left_right": 2}
FRAME_PACKING = {"left_right": 3, "top_bottom": 4}
QUARTER = 0x40000000  # of the whole sphere, as a fraction of 2**32: what half a sphere lacks at its left and at its right
INSIDE = {b"moov": 0, b"trak": 0, b"mdia": 0, b"minf": 0, b"stbl": 0, b"stsd": 8}  # boxes of boxes, and the bytes before those
BLOCK = 1 << 20  # bytes moved at a time
PLACES = {b"stco": "I", b"co64": "Q"}  # tables of places in the file, and of which numbers


@dataclass(frozen=True)
class Packing:
    """How two eyes lie in a picture; `sphere` when each is half of a sphere, equirectangular."""

    mode: Mode
    sphere: bool = False


def packing_of(layout: Layout) -> Packing | None:
    """What a file should say of a layout, None for one that no player unpacks."""
    modes: dict[str, Mode] = {"sbs": "left_right", "half-sbs": "left_right", "vr180": "left_right", "tb": "top_bottom"}
    modes |= {"half-tb": "top_bottom", "cross": "right_left"}
    modes |= dict.fromkeys(("anaglyph", "anaglyph-half-colour", "anaglyph-grey"), "anaglyph_cyan_red")
    return Packing(modes[layout], layout == "vr180") if layout in modes else None


def stream_metadata(packing: Packing, plan: Plan) -> dict[str, str]:
    """What the muxer is to be told of the picture's stream."""
    return {"stereo_mode": packing.mode} if plan.container.muxer in ("matroska", "webm") else {}


def encoder_options(packing: Packing, plan: Plan) -> dict[str, str]:
    """What the encoder is to be told; a sphere is left out, which televisions would tear into two flat halves."""
    if plan.codec_name != "h264" or packing.sphere or packing.mode not in FRAME_PACKING:
        return {}
    return {"x264-params": f"frame-packing={FRAME_PACKING[packing.mode]}"}


def untold(packing: Packing, plan: Plan) -> str | None:
    """Say in a line what of a packing the target cannot hold, None when it holds what players look for."""
    if packing.sphere and plan.container.muxer not in ("mp4", "mov"):
        return f"{plan.path.suffix or 'a folder'} does not say that the picture is VR180: use .mp4 or .mov"
    return None


def write_boxes(path: Path, packing: Packing) -> None:
    """Put the boxes of a packing into a finished MP4 or QuickTime file; all that follows its header is moved. Raises OSError."""
    if packing.mode not in ST3D:
        return
    boxes = _boxes(packing)
    with path.open("r+b") as file:
        end = os.fstat(file.fileno()).st_size
        moov, at = _header(file, end)
        changed = _with_boxes(moov, boxes, at)
        while end > at + len(moov):  # from the end, so that nothing is written over before it was read
            piece = min(BLOCK, end - at - len(moov))
            end -= piece
            file.seek(end)
            block = file.read(piece)
            file.seek(end + len(boxes))
            file.write(block)
        file.seek(at)
        file.write(changed)


def _boxes(packing: Packing) -> bytes:
    stereo = _box(b"st3d", struct.pack(">IB", 0, ST3D[packing.mode]))
    if not packing.sphere:
        return stereo
    head = _box(b"svhd", struct.pack(">I", 0) + b"framefill\0")
    pose = _box(b"prhd", struct.pack(">Iiii", 0, 0, 0, 0))
    half = _box(b"equi", struct.pack(">IIIII", 0, 0, 0, QUARTER, QUARTER))
    return stereo + _box(b"sv3d", head + _box(b"proj", pose + half))


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


def _header(file: BinaryIO, end: int) -> tuple[bytes, int]:
    """The box `moov` of a file, and where it begins."""
    at = 0
    while at < end:
        file.seek(at)
        size, name = struct.unpack(">I4s", file.read(8))
        if size == 1:
            (size,) = struct.unpack(">Q", file.read(8))
        if name == b"moov":
            file.seek(at)
            return file.read(size), at
        at += size or end  # 0: to the end of the file
    raise OSError(f"{file.name} has no header")


def _with_boxes(moov: bytes, boxes: bytes, at: int) -> bytes:
    """A header that begins at `at`, with `boxes` at the end of its picture's sample entry, and all places behind it moved by as much."""
    entry, parents = _sample_entry(moov)
    out = bytearray(moov)
    for start in (*parents, entry):
        (size,) = struct.unpack_from(">I", out, start)
        struct.pack_into(">I", out, start, size + len(boxes))
    for start, name, _ in _walk(moov, 0, len(moov), ()):
        if name in PLACES:
            _move(out, start, PLACES[name], at, len(boxes))
    (size,) = struct.unpack_from(">I", moov, entry)
    return bytes(out[: entry + size] + boxes + out[entry + size :])


def _move(moov: bytearray, start: int, form: str, after: int, by: int) -> None:
    """Move the places in a file that a table names, as far as they lie behind the header."""
    (count,) = struct.unpack_from(">I", moov, start + 12)
    places = struct.unpack_from(f">{count}{form}", moov, start + 16)
    struct.pack_into(f">{count}{form}", moov, start + 16, *(place + by * (place > after) for place in places))


def _walk(moov: bytes, start: int, end: int, around: tuple[int, ...]) -> Iterator[tuple[int, bytes, tuple[int, ...]]]:
    """Every box of a header: where it begins, its name, and where those around it begin."""
    while start + 8 <= end:
        size, name = struct.unpack_from(">I4s", moov, start)
        yield start, name, around
        if name in INSIDE:
            yield from _walk(moov, start + 8 + INSIDE[name], start + size, (*around, start))
        start += size


def _sample_entry(moov: bytes) -> tuple[int, tuple[int, ...]]:
    """Where the picture's sample entry begins, and the boxes around it."""
    picture: int | None = None
    for start, name, around in _walk(moov, 0, len(moov), ()):
        if name == b"hdlr" and moov[start + 16 : start + 20] == b"vide" and len(around) == 3:
            picture = around[1]  # the track
        if picture in around and moov[around[-1] + 4 : around[-1] + 8] == b"stsd":
            return start, around
    raise OSError("the file has no picture")
