"""Between the decoder's samples and RGB, both ways: matrix, range, rounding, orientation.

The conversion follows ITU-R BT.601, BT.709, BT.2020 (non-constant luminance), FCC and SMPTE 240M as the source is tagged, in limited or
full range, and is right to half a level (BILINEAR without the two accuracy flags is off by up to 2.7 levels, measured on flat colours).
A source without a matrix tag is read as BT.601, which is FFmpeg's rule, whatever its size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

if TYPE_CHECKING:
    from framefill.media.video import VideoMeta

Sample = TypeVar("Sample", bound=np.generic)

EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.BITEXACT
FULL, LIMITED = 2, 1
UNSPECIFIED = 2  # matrix, primaries and transfer alike
KNOWN_MATRICES = frozenset({0, 1, 2, 4, 5, 6, 7, 9})
CONSTANT_LUMINANCE_2020, NON_CONSTANT_2020 = 10, 9

# (degrees clockwise, then mirrored left to right) -> the display matrix's a, b, c, d: x' = a x + c y, y' = b x + d y (ISO 14496-12, 6.2.2)
ORIENTATIONS = {
    (0, False): (1, 0, 0, 1),
    (90, False): (0, 1, -1, 0),
    (180, False): (-1, 0, 0, -1),
    (270, False): (0, -1, 1, 0),
    (0, True): (-1, 0, 0, 1),
    (90, True): (0, 1, 1, 0),
    (180, True): (1, 0, 0, -1),
    (270, True): (0, -1, -1, 0),
}

# Formats that differ in name or packing only from a planar one that the encoders take.
SAME_SAMPLES = {
    "yuvj420p": "yuv420p",
    "yuvj422p": "yuv422p",
    "yuvj440p": "yuv440p",
    "yuvj444p": "yuv444p",
    "nv12": "yuv420p",
    "nv21": "yuv420p",
    "nv16": "yuv422p",
    "yuyv422": "yuv422p",
    "uyvy422": "yuv422p",
    "yvyu422": "yuv422p",
    "nv24": "yuv444p",
    "p010le": "yuv420p10le",
    "p210le": "yuv422p10le",
}


def nearest_matrix(matrix: int) -> int:
    """The matrix that a conversion uses for a tagged one: itself when known, BT.2020 for its constant-luminance kin, else unspecified."""
    if matrix in KNOWN_MATRICES:
        return matrix
    return NON_CONSTANT_2020 if matrix == CONSTANT_LUMINANCE_2020 else UNSPECIFIED


class ToRGB:
    """Decoder frames to uint8 H W 3 in display orientation; one converter a stream, so that its tables are made once."""

    def __init__(self, meta: VideoMeta) -> None:
        self._meta = meta
        self._reformatter = VideoReformatter()

    def __call__(self, native: av.VideoFrame) -> NDArray[np.uint8]:
        """Convert and turn one frame."""
        tagged = native.colorspace
        native.colorspace = nearest_matrix(tagged)
        out = self._reformatter.reformat(native, format="rgb24", interpolation=EXACT, dst_color_range=FULL, threads=1)
        native.colorspace = tagged
        rgb = out.to_ndarray().view(np.uint8)
        return to_display(rgb.copy() if out is native else rgb, self._meta)


class FromRGB:
    """uint8 H W 3 in coded orientation to a frame of `pix_fmt` with the given matrix and range.

    Into full range FFmpeg's 8-bit conversion is up to a level off and 0.3 too dark in the mean (measured), so it goes by 16 bit and is
    rounded here.
    """

    def __init__(self, pix_fmt: str, matrix: int, color_range: int) -> None:
        self._pix_fmt = pix_fmt
        self._matrix = nearest_matrix(matrix)
        self._range = color_range
        self._by_16_bit = color_range == FULL and pix_fmt in ("yuv420p", "yuv422p", "yuv444p", "gray")
        self._reformatter = VideoReformatter()

    def __call__(self, rgb: NDArray[np.uint8]) -> av.VideoFrame:
        """Convert one picture; it is read, not kept."""
        frame = av.VideoFrame.from_numpy_buffer(rgb, format="rgb24")
        frame.colorspace = self._matrix
        wanted = f"{self._pix_fmt}16le" if self._by_16_bit else self._pix_fmt
        made = self._reformatter.reformat(
            frame, format=wanted, interpolation=EXACT, src_color_range=FULL, dst_color_range=self._range, threads=1
        )
        if not self._by_16_bit:
            return made
        rounded = av.VideoFrame(made.width, made.height, self._pix_fmt)
        for index, (source, target) in enumerate(zip(planes(made), planes(rounded), strict=True)):
            centre = 128 - 32768 / 257 if index else 0.0  # neutral chroma is 32768 in 16 bit, 128 in 8
            target[:] = np.minimum(source * np.float32(1 / 257) + np.float32(centre + 0.5), 255.5)
        return rounded


def planes(frame: av.VideoFrame) -> list[NDArray[np.unsignedinteger[Any]]]:
    """The planes of a planar frame as writable views, uint8 or uint16 H W each, without the padding at the rows' ends."""
    kind: type[np.unsignedinteger[Any]] = np.uint8 if frame.format.components[0].bits <= 8 else np.uint16
    views = []
    for samples in frame.planes:
        rows = np.frombuffer(memoryview(samples), kind).reshape(samples.height, -1)[:, : samples.width]
        views.append(rows[::-1] if samples.line_size < 0 else rows)
    return views


def as_planar(native: av.VideoFrame, pix_fmt: str) -> av.VideoFrame | None:
    """The decoder's samples in the planes of `pix_fmt`: unchanged when they are of its kind, else resampled without a way round by RGB.

    None when they are RGB or palette samples.
    """
    name = native.format.name
    if name == pix_fmt or (name.startswith("yuvj") and SAME_SAMPLES[name] == pix_fmt):
        return native
    if native.format.is_rgb or name == "pal8":
        return None
    span = FULL if name.startswith("yuvj") else native.color_range
    return native.reformat(format=pix_fmt, src_color_range=span, dst_color_range=span, interpolation=EXACT, threads=1)


def keep_native(made: av.VideoFrame, native: av.VideoFrame, mask: NDArray[np.bool_]) -> None:
    """Put the decoder's samples into `made` wherever `mask` (bool H W, coded orientation) holds no made pixel.

    A subsampled chroma sample is the decoder's when none of the luma pixels that it covers was made.
    """
    for target, source in zip(planes(made), planes(native), strict=True):
        covered = cover(mask, *target.shape)
        rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
        if not rows.size:
            target[:] = source
            continue
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]  # only there does each sample have to be looked at
        filled = target[box].copy()
        target[:] = source
        np.copyto(target[box], filled, where=covered[box])


def cover(mask: NDArray[np.bool_], height: int, width: int) -> NDArray[np.bool_]:
    """`mask` on a coarser grid of samples: True where any pixel under the sample is True."""
    for axis, size in ((0, height), (1, width)):
        step = -(-mask.shape[axis] // size)
        if step > 1:
            pixels = np.moveaxis(mask, axis, 0)
            coarse = pixels[::step].copy()
            for offset in range(1, step):
                part = pixels[offset::step]
                coarse[: len(part)] |= part
            mask = np.moveaxis(coarse, 0, axis)
    return mask


def to_display(picture: NDArray[Sample], meta: VideoMeta) -> NDArray[Sample]:
    """A picture (H W or H W C) from coded to display orientation, contiguous."""
    if meta.rotation:
        picture = np.rot90(picture, -meta.rotation // 90)
    if meta.mirrored:
        picture = picture[:, ::-1]
    return np.ascontiguousarray(picture)


def to_coded(picture: NDArray[Sample], meta: VideoMeta) -> NDArray[Sample]:
    """The reverse of `to_display`."""
    if meta.mirrored:
        picture = picture[:, ::-1]
    if meta.rotation:
        picture = np.rot90(picture, meta.rotation // 90)
    return np.ascontiguousarray(picture)


def orientation(matrix: NDArray[np.int32]) -> tuple[int, bool] | None:
    """Rotation (degrees clockwise) and mirroring of a display matrix (9 values, 16.16 fixed point); None when no multiple of 90 degrees."""
    a, b, c, d = (int(np.sign(matrix[i])) if abs(int(matrix[i])) > 1 << 8 else 0 for i in (0, 1, 3, 4))
    return next((turn for turn, signs in ORIENTATIONS.items() if signs == (a, b, c, d)), None)


def display_matrix(rotation: int, mirrored: bool, width: int, height: int) -> list[int]:
    """The display matrix for a picture of the given size as shown, moved back into view as QuickTime's players expect."""
    a, b, c, d = ORIENTATIONS[rotation, mirrored]
    one = 1 << 16
    left, top = (width if min(a, c) < 0 else 0), (height if min(b, d) < 0 else 0)
    return [a * one, b * one, 0, c * one, d * one, 0, left * one, top * one, 1 << 30]
