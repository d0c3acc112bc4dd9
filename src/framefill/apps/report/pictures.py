"""Key frames as data URIs: photographs as JPEG within a budget of bytes, masks and provenance as small palette PNGs."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from framefill.families.base import GENERATED, KNOWN, PROPAGATED
from framefill.jobs.record import GENERATED_RGB, PROPAGATED_RGB, KeyFrame

BUDGET = 1_500_000  # bytes of JPEG in a page: 2 MB as base64, so that the page stays under 3 MB whatever the masks
LADDER = ((90, 1), (82, 1), (72, 1), (60, 1), (60, 2), (60, 4))  # JPEG quality and by how much the sides shrink: grain is dear


@dataclass(frozen=True)
class Strip:
    """The four pictures of a key frame, each a `data:` URI; `width`, `height` in square pixels."""

    before: str
    mask: str
    after: str
    provenance: str
    width: int
    height: int


def strips(key_frames: Sequence[KeyFrame], pixel_shape: Fraction = Fraction(1), budget: int = BUDGET) -> list[Strip]:
    """Return the pictures of every key frame, the photographs in the best quality with which all of them fit `budget` bytes.

    Where pixels have another shape than 1 (`pixel_shape`, width to height), one side is shortened, so that the page may draw them square.
    Photographs that had to shrink to fit the budget are stretched to `width` and `height` by the page.
    """
    sizes = [_shown_size(key.before.shape[1], key.before.shape[0], pixel_shape) for key in key_frames]
    photographs: list[bytes] = []
    for quality, shrink in LADDER:
        photographs = [
            _jpeg(rgb, size, quality, shrink) for key, size in zip(key_frames, sizes, strict=True) for rgb in (key.before, key.after)
        ]
        if sum(map(len, photographs)) <= budget:
            break
    pairs = zip(photographs[::2], photographs[1::2], strict=True)
    return [
        Strip(
            before=_uri("jpeg", before),
            mask=_uri("png", _mask_png(key.mask, size)),
            after=_uri("jpeg", after),
            provenance=_uri("png", _provenance_png(key.provenance, size)),
            width=size[0],
            height=size[1],
        )
        for key, size, (before, after) in zip(key_frames, sizes, pairs, strict=True)
    ]


def _shown_size(width: int, height: int, pixel_shape: Fraction) -> tuple[int, int]:
    if pixel_shape >= 1:
        return width, max(round(height / pixel_shape), 1)
    return max(round(width * pixel_shape), 1), height


def _mask_png(mask: NDArray[np.bool_], size: tuple[int, int]) -> bytes:
    return _png(Image.fromarray(mask.astype(np.uint8) * np.uint8(255)).resize(size, Image.Resampling.NEAREST).convert("1"))


def _provenance_png(provenance: NDArray[np.uint8], size: tuple[int, int]) -> bytes:
    """Propagated and generated pixels in their colours, known ones clear, so that the map can lie over a picture."""
    colours = {KNOWN: (0, 0, 0), PROPAGATED: PROPAGATED_RGB, GENERATED: GENERATED_RGB}
    image = Image.fromarray(provenance).resize(size, Image.Resampling.NEAREST)
    image.putpalette([level for index in sorted(colours) for level in colours[index]])
    image.info["transparency"] = KNOWN
    return _png(image)


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def _jpeg(rgb: NDArray[np.uint8], size: tuple[int, int], quality: int, shrink: int) -> bytes:
    out = io.BytesIO()  # Pillow 13 cannot optimize the tables of pure noise at quality 90: its one buffer overflows
    Image.fromarray(rgb).resize(size, Image.Resampling.BICUBIC).reduce(shrink).save(out, "JPEG", quality=quality, subsampling=0)
    return out.getvalue()


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
