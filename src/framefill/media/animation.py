"""The delay of an animation's last frame, which FFmpeg's APNG and WebP muxers cannot be told: set in the finished file.

Formats: APNG specification (W3C PNG, 11.3.5, fcTL), WebP container specification (RIFF, ANMF).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path


def set_last_apng_delay(path: Path, seconds: Fraction) -> None:
    """Rewrite the delay in the last frame control chunk; a still PNG has none and stays."""
    with path.open("r+b") as file:
        at = _last_chunk(file.read(), 8, b"fcTL", ">")
        if at is None:
            return
        file.seek(at + 4)
        chunk = bytearray(file.read(30))  # name and data: sequence, size, place, delay (numerator, denominator), what to do after
        struct.pack_into(">HH", chunk, 24, round(seconds * 1000), 1000)
        file.seek(at + 4)
        file.write(chunk + struct.pack(">I", zlib.crc32(chunk)))


def set_last_webp_delay(path: Path, seconds: Fraction) -> None:
    """Rewrite the duration in the last frame chunk; a still WebP has none and stays."""
    with path.open("r+b") as file:
        at = _last_chunk(file.read(), 12, b"ANMF", "<")
        if at is None:
            return
        file.seek(at + 8 + 12)  # behind the chunk's head and the frame's place and size, three bytes each
        file.write(struct.pack("<I", round(seconds * 1000))[:3])


def _last_chunk(data: bytes, at: int, wanted: bytes, order: str) -> int | None:
    """Where the last chunk of a name begins; PNG (big-endian) has length, name, data, checksum, RIFF (little-endian) name, length, data."""
    found = None
    while at + 8 <= len(data):
        length_at, name_at = (at, at + 4) if order == ">" else (at + 4, at)
        (length,) = struct.unpack_from(f"{order}I", data, length_at)
        if data[name_at : name_at + 4] == wanted:
            found = at
        at += 12 + length if order == ">" else 8 + length + length % 2
    return found


LAST_DELAY: dict[str, Callable[[Path, Fraction], None]] = {"apng": set_last_apng_delay, "webp": set_last_webp_delay}
