"""Procedural scenes whose truth is known: textured pictures, cameras that move over them, holes, and a filler run by hand."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.families.base import Filled, Filler, Span, State

Picture = NDArray[np.uint8]  # H W 3
Frames = NDArray[np.uint8]  # T H W 3
Hole = NDArray[np.bool_]  # H W
Matrix = NDArray[np.float64]  # 3 3


def texture(seed: int, height: int, width: int) -> Picture:
    """Smoothed noise, fine and coarse together: something to hold on to everywhere, and nothing twice."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    for wide in (1.0, 3.0, 9.0):
        layer = cv2.GaussianBlur(rng.standard_normal((height, width, 3)), (0, 0), wide, borderType=cv2.BORDER_REFLECT)
        total += layer / layer.std()
    return np.clip(128 + 23 * total, 0, 255).astype(np.uint8)


def box(height: int, width: int, top: int, left: int, tall: int, wide: int) -> Hole:
    hole = np.zeros((height, width), np.bool_)
    hole[top : top + tall, left : left + wide] = True
    return hole


def seen_at(canvas: Picture, size: tuple[int, int], corners: Iterable[tuple[int, int]]) -> Frames:
    """A camera with a picture of `size` (height, width) over a canvas: its upper left corner stands at `corners` (x, y)."""
    height, width = size
    return np.stack([canvas[y : y + height, x : x + width] for x, y in corners])


def noisy(frames: NDArray[np.uint8], sigma: float, seed: int = 0) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).normal(0, sigma, frames.shape)
    return np.clip(np.rint(frames + noise), 0, 255).astype(np.uint8)


def shift(x: float, y: float) -> Matrix:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])


def camera_move(height: int, width: int, turn: float = 0.0, zoom: float = 1.0, x: float = 0.0, y: float = 0.0, tilt: float = 0.0) -> Matrix:
    """A homography about the picture's middle: `turn` in radians, `tilt` the perspective part in 1 / pixels."""
    cos, sin = np.cos(turn) * zoom, np.sin(turn) * zoom
    middle = shift(width / 2, height / 2)
    matrix = middle @ np.array([[cos, -sin, x], [sin, cos, y], [tilt, -tilt, 1]]) @ np.linalg.inv(middle)
    return matrix / matrix[2, 2]


def moved_pair(seed: int, height: int, width: int, matrix: Matrix, scale: float = 1.0, margin: int = 100) -> tuple[Picture, Picture]:
    """Two pictures of one plane: a point p of the first is at `matrix` p in the second; textures are `scale` times as coarse."""
    tall, wide = height + 2 * margin, width + 2 * margin
    canvas = texture(seed, round(tall / scale), round(wide / scale))
    canvas = np.asarray(cv2.resize(canvas, (wide, tall), interpolation=cv2.INTER_CUBIC), np.uint8)
    over_canvas = shift(margin, margin) @ matrix @ shift(-margin, -margin)
    second = cv2.warpPerspective(canvas, over_canvas, (wide, tall), flags=cv2.INTER_CUBIC)
    inside = slice(margin, margin + height), slice(margin, margin + width)
    return canvas[inside], np.asarray(second, np.uint8)[inside]


def farthest(found: Matrix, true: Matrix, height: int, width: int) -> float:
    """The largest distance in pixels by which two motions disagree over the frame, corners included."""
    x, y = np.meshgrid(np.linspace(0, width - 1, 20), np.linspace(0, height - 1, 20))
    points = np.stack([x.ravel(), y.ravel()], 1)[:, None]
    apart = cv2.perspectiveTransform(points, found) - cv2.perspectiveTransform(points, true)
    return float(np.linalg.norm(apart, axis=2).max())


def psnr(truth: NDArray[np.uint8], made: NDArray[np.uint8]) -> float:
    error = float(np.mean((truth.astype(np.float64) - made) ** 2))
    return 100.0 if error == 0 else 10 * np.log10(255**2 / error)


def by_hand(make: Callable[[], Filler], frames: Frames, mask: NDArray[np.bool_], anew: bool = False) -> tuple[Filled, Sequence[State]]:
    """Fill a clip window by window, with whatever stands under the mask left there; also the state after each window.

    With `anew` every window meets a new filler and a state that has been on disk, as when a job is killed after every window.
    """
    filler, state = make(), None
    out, origin, left = frames.copy(), np.zeros(mask.shape, np.uint8), np.zeros(mask.shape, np.bool_)
    states: list[State] = []
    for start in range(0, len(frames), filler.window):
        stop = min(start + filler.window, len(frames))
        if not mask[start:stop].any():
            continue
        if anew:
            filler, state = make(), None if state is None else _through_disk(state)
        first = max(start - filler.reach, 0)
        shown = slice(first, min(stop + filler.reach, len(frames)))
        filled, state = filler.fill_span(Span(first, frames[shown], mask[shown], start, stop), state)
        assert len(filled.frames) == len(filled.provenance) == len(filled.remaining) == stop - start
        out[start:stop], origin[start:stop], left[start:stop] = filled.frames, filled.provenance, filled.remaining
        states.append(state)
    return Filled(out, origin, left), states


def _through_disk(state: State) -> State:
    file = io.BytesIO()
    np.savez(file, **state)  # type: ignore[arg-type]
    file.seek(0)
    with np.load(file, allow_pickle=False) as saved:
        return dict(saved)
