"""Depth on disk: a folder of 16-bit PNGs, one a frame, which other programs read and `files:FOLDER` takes back.

Samples are 65535 times the depth, near = bright, as in exports of nagadomi/nunif (iw3); the range of what was not normalised stands in the
text chunks that it uses. A note tells how many frames were written, so that none can be lost unseen.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.errors import UnreadableMedia, UnwritableMedia, UsageError
from framefill.media.part import Part

Depth = NDArray[np.float32]  # H W

LAYOUT = "depth"  # the folder of depth inside an export, here as in iw3
NOTE = "depth.json"
LOW_KEY, HIGH_KEY = "iw3_min_depth_value", "iw3_max_depth_value"
SIGNATURE = b"\x89PNG\r\n\x1a\n"
FAST = [cv2.IMWRITE_PNG_COMPRESSION, 1]


@dataclass(frozen=True)
class Note:
    """What an export says of itself: how many frames it has and their size in pixels."""

    frames: int
    width: int
    height: int


class DepthWriter:
    """Write depth as `FOLDER/000000.png` and on; the folder appears whole when the block ends well, and not at all otherwise.

    An export that lies there is replaced with `overwrite` alone, and nothing else ever is. Raises UnwritableMedia.
    """

    def __init__(self, folder: str | Path, overwrite: bool = False) -> None:
        self.folder = Path(folder)
        if self.folder.exists() and not (overwrite and (self.folder / NOTE).is_file()):
            ours = (self.folder / NOTE).is_file()
            advice = "ask to overwrite it or give another name" if ours else "it is no export of depth; give another name"
            raise UnwritableMedia(f"{self.folder} exists; {advice}")
        self._part = Part(self.folder, folder=True)
        self._count = 0
        self._size: tuple[int, int] | None = None

    def write(self, depth: Depth, span: tuple[float, float] | None = None) -> None:
        """Add the next frame, float H W in 0..1; or raw depth within `span` = (smallest, largest), which is kept beside it.

        Raises UsageError for values beyond and for frames of several sizes.
        """
        depth = np.asarray(depth, np.float32)
        if depth.ndim != 2 or depth.size == 0:
            raise UsageError(f"depth is {depth.shape}, expected one frame H W")
        self._size = self._size or depth.shape
        if depth.shape != self._size:
            raise UsageError(f"frame {self._count} of the depth is {depth.shape[1]}x{depth.shape[0]}, those before it are not")
        low, high = span or (0.0, 1.0)
        if not (low <= float(depth.min()) and float(depth.max()) <= high):
            raise UsageError(f"depth of {depth.min():g} to {depth.max():g} came, expected {low:g} to {high:g}; normalise it first")
        share = (depth.astype(np.float64) - low) / ((high - low) or 1.0)
        done, packed = cv2.imencode(".png", np.rint(share * 65535).astype(np.uint16), FAST)
        assert done
        data = packed.tobytes()
        if span is not None:
            data = _with_text(data, {LOW_KEY: repr(float(low)), HIGH_KEY: repr(float(high))})
        with self._part.writing():
            (self._part.path / f"{self._count:06d}.png").write_bytes(data)
        self._count += 1

    def __enter__(self) -> DepthWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None and self._size is not None:
                with self._part.writing():
                    note = Note(self._count, self._size[1], self._size[0])
                    (self._part.path / NOTE).write_text(json.dumps(asdict(note)) + "\n", encoding="utf-8")
                self._part.keep()
        finally:
            self._part.__exit__(kind, error, trace)


def read_note(folder: Path) -> Note | None:
    """Return what an export says of itself, None for a folder of another make. Raises UnreadableMedia for a damaged note."""
    path = folder / NOTE
    if not path.is_file():
        return None
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return Note(int(told["frames"]), int(told["width"]), int(told["height"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreadableMedia(f"{path} is damaged; delete it to take the pictures as they are") from error


def stored_range(path: Path) -> tuple[float, float] | None:
    """Return the smallest and largest depth that a PNG's text chunks tell, None where they tell none."""
    texts = _texts(path)
    try:
        return float(texts[LOW_KEY]), float(texts[HIGH_KEY])
    except (KeyError, ValueError):
        return None


def _texts(path: Path) -> dict[str, str]:
    """The uncompressed text chunks before the picture's data (PNG specification, section 11.3.3)."""
    texts: dict[str, str] = {}
    with path.open("rb") as file:
        if file.read(8) != SIGNATURE:
            return texts
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind in (b"IDAT", b"IEND"):
                break
            body = file.read(length)
            file.read(4)
            if kind == b"tEXt":
                key, _, text = body.partition(b"\0")
                texts[key.decode("latin-1")] = text.decode("latin-1")
    return texts


def _with_text(png: bytes, texts: dict[str, str]) -> bytes:
    """A PNG with text chunks put behind its header, which is 8 + 25 bytes long."""
    import zlib

    chunks = b""
    for key, text in texts.items():
        body = b"tEXt" + key.encode("latin-1") + b"\0" + text.encode("latin-1")
        chunks += struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png[:33] + chunks + png[33:]
