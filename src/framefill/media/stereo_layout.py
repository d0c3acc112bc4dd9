"""How two eyes become one picture: side by side, top and bottom, one over the other in two colours, or round the viewer.

Anaglyph by Dubois: E. Dubois, A projection method to generate anaglyph stereo images, ICASSP 2001, with its published matrices for red and
cyan on a display of sRGB primaries. VR180: half of a sphere to each eye, equirectangular (Google, Spherical Video V2).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError

Picture = NDArray[np.uint8]  # H W 3
Layout: TypeAlias = Literal[
    "sbs", "half-sbs", "tb", "half-tb", "cross", "anaglyph", "anaglyph-half-colour", "anaglyph-grey", "rgbd", "vr180"
]  # fmt: skip
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
DUBOIS_LEFT = np.array([[0.437, 0.449, 0.164], [-0.062, -0.062, -0.024], [-0.048, -0.050, -0.017]], np.float32)
DUBOIS_RIGHT = np.array([[-0.011, -0.032, -0.007], [0.377, 0.761, 0.009], [-0.026, -0.093, 1.234]], np.float32)
MOST_SPHERE = 4096  # pixels to the side of half a sphere; players decode no more than 8192 of both
FINE = 4095  # steps of linear light between black and white


@dataclass(frozen=True)
class Sphere:
    """A flat picture before an eye: how many degrees of the horizon it fills, 10 to 170, and its pixels' width to height."""

    view: float = 90.0
    aspect: float = 1.0

    def __post_init__(self) -> None:
        if not 10 <= self.view <= 170:
            raise UsageError(f"--vr-view is {self.view:g} degrees, expected 10 to 170; 90 is usual")

    def side(self, width: int) -> int:
        """The side in pixels, even, of the square that shows half a sphere as sharply as a picture `width` pixels wide is."""
        return min(2 * round(math.pi * self.focal(width) / 2), MOST_SPHERE)

    def focal(self, width: int) -> float:
        """The picture's distance from the eye, in heights of its pixels."""
        return width * self.aspect / 2 / math.tan(math.radians(self.view) / 2)


def arranged(layout: Layout, left: Picture, right: Picture, sphere: Sphere) -> Picture:
    """Arrange the two eyes' pictures, uint8 H W 3 of one size; for `rgbd` the right one is the depth as grey. `sphere` is for `vr180`."""
    return _ARRANGE[layout](left, right, sphere)


def arranged_size(layout: Layout, width: int, height: int, sphere: Sphere) -> tuple[int, int]:
    """Width and height of what `arranged` gives for eyes of a size; halved sides of an odd picture are rounded up, so that both fit."""
    if layout in ("sbs", "cross", "rgbd"):
        return 2 * width, height
    if layout == "tb":
        return width, 2 * height
    if layout == "half-sbs":
        return 2 * _half(width), height
    if layout == "half-tb":
        return width, 2 * _half(height)
    if layout == "vr180":
        return 2 * sphere.side(width), sphere.side(width)
    return width, height


def grey_of(depth: NDArray[np.float32]) -> Picture:
    """Draw depth H W, 0..1 with 1 near, as a grey picture uint8 H W 3, near white."""
    grey = np.rint(np.clip(depth, 0, 1) * 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)


def _half(length: int) -> int:
    return -(-length // 2)


def _beside(left: Picture, right: Picture, _: Sphere) -> Picture:
    return np.hstack((left, right))


def _crossed(left: Picture, right: Picture, _: Sphere) -> Picture:
    return np.hstack((right, left))


def _stacked(left: Picture, right: Picture, _: Sphere) -> Picture:
    return np.vstack((left, right))


def _half_beside(left: Picture, right: Picture, _: Sphere) -> Picture:
    height, width = left.shape[:2]
    return np.hstack([_resized(eye, _half(width), height) for eye in (left, right)])


def _half_stacked(left: Picture, right: Picture, _: Sphere) -> Picture:
    height, width = left.shape[:2]
    return np.vstack([_resized(eye, width, _half(height)) for eye in (left, right)])


def _resized(eye: Picture, width: int, height: int) -> Picture:
    return np.asarray(cv2.resize(eye, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _grey_anaglyph(left: Picture, right: Picture, _: Sphere) -> Picture:
    red, cyan = (cv2.cvtColor(eye, cv2.COLOR_RGB2GRAY) for eye in (left, right))
    return np.asarray(cv2.merge([red, cyan, cyan]), np.uint8)


def _half_colour_anaglyph(left: Picture, right: Picture, _: Sphere) -> Picture:
    out = right.copy()
    out[..., 0] = cv2.cvtColor(left, cv2.COLOR_RGB2GRAY)
    return out


def _dubois_anaglyph(left: Picture, right: Picture, _: Sphere) -> Picture:
    """Mix in linear light, as the matrices were fitted."""
    to_linear, to_srgb = _transfer()
    light = cv2.transform(cv2.LUT(left, to_linear), DUBOIS_LEFT) + cv2.transform(cv2.LUT(right, to_linear), DUBOIS_RIGHT)
    steps = np.rint(np.clip(light, 0, 1) * FINE).astype(np.uint16)
    return np.asarray(to_srgb[steps], np.uint8)


@cache
def _transfer() -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """From sRGB's 256 levels to linear light 0..1, and from `FINE` + 1 steps of that back (IEC 61966-2-1)."""
    level = np.arange(256) / 255
    linear = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    light = np.arange(FINE + 1) / FINE
    srgb = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return linear.astype(np.float32), np.rint(srgb * 255).astype(np.uint8)


def _around(left: Picture, right: Picture, sphere: Sphere) -> Picture:
    height, width = left.shape[:2]
    x, y = _directions(width, height, sphere)
    eyes = (cv2.remap(eye, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT) for eye in (left, right))
    return np.asarray(np.hstack(list(eyes)), np.uint8)


@cache
def _directions(width: int, height: int, sphere: Sphere) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where in a flat picture each pixel of half a sphere looks; far outside of it where the picture does not reach."""
    side = sphere.side(width)
    angle = (np.arange(side) + 0.5) / side * np.pi - np.pi / 2
    longitude, latitude = np.meshgrid(angle, angle)
    focal = sphere.focal(width)
    x = focal / sphere.aspect * np.tan(longitude) + (width - 1) / 2
    y = focal * np.tan(latitude) / np.cos(longitude) + (height - 1) / 2
    out = (x < -1) | (x > width) | (y < -1) | (y > height)
    return np.where(out, -9, x).astype(np.float32), np.where(out, -9, y).astype(np.float32)


_ARRANGE: dict[Layout, Callable[[Picture, Picture, Sphere], Picture]] = {
    "sbs": _beside,
    "half-sbs": _half_beside,
    "tb": _stacked,
    "half-tb": _half_stacked,
    "cross": _crossed,
    "anaglyph": _dubois_anaglyph,
    "anaglyph-half-colour": _half_colour_anaglyph,
    "anaglyph-grey": _grey_anaglyph,
    "rgbd": _beside,
    "vr180": _around,
}
