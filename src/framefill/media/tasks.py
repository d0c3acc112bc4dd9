"""Every task as a mask: named samplers, pure functions of a generator, for training, evaluation and trying out.

A sampler takes a `numpy.random.Generator` and T, H, W (each >= 1) and gives a mask bool T H W, True = unknown. The same generator
state gives the same mask. At least one pixel is unknown; at least one is known, but for `generate`, and where there is nothing to
know it from (a temporal task on one frame, a spatial one on a single pixel).

Sources of the ranges: VDT (arXiv 2305.13311) for the temporal tasks and `completion`, with its empty draws mended; FFF-VDI's
moving rectangles with their swapped limits mended; ProPainter (arXiv 2309.03897) for shapes and the even split of still and moving;
free-form strokes after Yu et al. 2019 (arXiv 1806.03589); `stereo` after the holes that depth-based rendering opens (Fehn 2004),
drawn without depth.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

BoolMask = NDArray[np.bool_]
MaskSampler = Callable[[Generator, int, int, int], BoolMask]
Path = NDArray[np.float64]  # T 2: row and column of a moving thing
FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_PLAIN)
GLYPHS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.,:-!?&@#%"


def inpaint_box(rng: Generator, T: int, H: int, W: int, moving: float = 0.5) -> BoolMask:
    """A rectangle of 20-80 % of the height and of the width, still or (probability `moving`) wandering, breathing by up to 10 %."""
    height, width = _side(rng, H, 0.2, 0.8), _side(rng, W, 0.2, 0.8)
    mask = np.zeros((T, H, W), np.bool_)
    if rng.random() >= moving:
        top, left = _integer(rng, 0, H - height), _integer(rng, 0, W - width)
        mask[:, top : top + height, left : left + width] = True
        return _with_a_known_pixel(rng, mask)
    swell = 1 + rng.uniform(-0.1, 0.1, size=2) * (1 + np.sin(2 * np.pi * np.arange(T) / T))[:, None] / 2  # t 2
    heights = np.clip(height * swell[:, 0], 1, H).astype(int)
    widths = np.clip(width * swell[:, 1], 1, W).astype(int)
    for t, (row, column) in enumerate(_wander(rng, T, H - heights.max(), W - widths.max())):
        mask[t, int(row) : int(row) + heights[t], int(column) : int(column) + widths[t]] = True
    return _with_a_known_pixel(rng, mask)


def moving_box(rng: Generator, T: int, H: int, W: int) -> BoolMask:
    """FFF-VDI's rectangle, which always wanders: `inpaint_box` that never stands still."""
    return inpaint_box(rng, T, H, W, moving=1.0)


def static_shape(rng: Generator, T: int, H: int, W: int) -> BoolMask:
    """ProPainter's random shape, which stays where it is: a rounded star of 6 to 8 corners, from a third of each side to nearly all."""
    frame, _ = _shape_somewhere(rng, H, W)
    return _with_a_known_pixel(rng, np.repeat(frame[None], T, axis=0))


def moving_shape(rng: Generator, T: int, H: int, W: int) -> BoolMask:
    """The same shape on a walk through the frame, whole in every one, at up to 5 pixels a frame to begin with."""
    mask = np.zeros((T, H, W), np.bool_)
    _, shape = _shape_somewhere(rng, H, W)
    h, w = shape.shape
    for frame, (row, column) in zip(mask, _wander(rng, T, H - h, W - w, speeds=(0, 5)), strict=True):
        frame[int(row) : int(row) + h, int(column) : int(column) + w] = shape
    return _with_a_known_pixel(rng, mask)


def inpaint_stroke(rng: Generator, T: int, H: int, W: int, moving: float = 0.5) -> BoolMask:
    """1 to 4 brush strokes of 4 to 12 bends, 2-8 % of the shorter side thick; still, or drifting together (probability `moving`)."""
    shorter = min(H, W)
    canvas = np.zeros((H, W), np.uint8)
    for _ in range(_integer(rng, 1, 4)):
        thickness = max(1, round(shorter * rng.uniform(0.02, 0.08)))
        point, angle = rng.uniform((0, 0), (W, H)), rng.uniform(0, 2 * np.pi)
        for _ in range(_integer(rng, 4, 12)):
            angle += rng.uniform(-2 * np.pi / 5, 2 * np.pi / 5)
            reach = rng.uniform(0.05, 0.25) * shorter
            following = np.clip(point + reach * np.array([np.cos(angle), np.sin(angle)]), 0, (W - 1, H - 1))
            cv2.line(canvas, _pixel(point), _pixel(following), 1, thickness)
            point = following
    return _with_a_known_pixel(rng, _drifting(rng, T, canvas.view(np.bool_), moving))


def inpaint_blob(rng: Generator, T: int, H: int, W: int, moving: float = 0.5) -> BoolMask:
    """Cloud-like regions that cover 5-40 % of the frame: smooth noise above a level; still, or changing slowly (probability `moving`)."""
    share = rng.uniform(0.05, 0.4)
    sigma = max(1.0, min(H, W) * rng.uniform(0.05, 0.15))
    start, goal = (_smooth_noise(rng, H, W, sigma) for _ in range(2))
    turn = rng.uniform(0.25, 1.0) * np.pi / 2 if rng.random() < moving else 0.0
    mask = np.zeros((T, H, W), np.bool_)
    for t in range(T):
        angle = turn * t / max(1, T - 1)
        field = np.cos(angle) * start + np.sin(angle) * goal  # two independent fields: the sum keeps its statistics
        mask[t] = field >= np.quantile(field, 1 - share, method="lower")
    return _with_a_known_pixel(rng, mask)


def inpaint_object(rng: Generator, T: int, H: int, W: int) -> BoolMask:
    """A silhouette of 15-50 % of the shorter side that moves along a smooth random path through the frame and deforms slightly.

    Its outline is a circle with 5 harmonics of up to 40 % (first frame) that each drift by up to a tenth of a turn over the clip.
    """
    return _with_a_known_pixel(rng, _silhouette(rng, T, H, W))


def dust(rng: Generator, T: int, H: int, W: int) -> BoolMask:
    """Film dirt: specks and hairs that are others in every frame, and (half of the draws) scratches that stay for some frames.

    0.5 to 12 specks a frame on average, 0.2-1.2 % of the shorter side in radius, a fifth of them hairs; 1 to 3 scratches, upright,
    0.1-0.4 % thick, that quiver by as much and are there for a third to all of the clip.
    """
    shorter = min(H, W)
    mask = np.zeros((T, H, W), np.bool_)
    usual = rng.uniform(0.5, 12.0)
    for frame in mask:
        for _ in range(int(rng.poisson(usual))):
            _draw_speck(rng, frame.view(np.uint8), max(0.5, shorter * rng.uniform(0.002, 0.012)))
    if rng.random() < 0.5:
        for _ in range(_integer(rng, 1, 3)):
            _draw_scratch(rng, mask, max(1, round(shorter * rng.uniform(0.001, 0.004))))
    if not mask.any():  # no speck in any frame of a short clip
        mask[_integer(rng, 0, T - 1), _integer(rng, 0, H - 1), _integer(rng, 0, W - 1)] = True
    return _with_a_known_pixel(rng, mask)


def text(rng: Generator, T: int, H: int, W: int) -> BoolMask:
    """1 to 4 lines of letters, 4-14 % of the height tall: subtitles (half of the draws), titles anywhere, crawls, or rolling credits.

    The letters are drawn strokes, 5-15 % of their height thick, a third of them with an outline that is half a stroke wider.
    """
    tall = max(1.0, H * rng.uniform(0.04, 0.14))
    sheet = _draw_text(rng, tall, W)
    h, w = sheet.shape
    kind = rng.choice(("subtitle", "title", "crawl", "roll"), p=(0.5, 0.2, 0.15, 0.15))
    top, left = rng.uniform(0, max(1, H - h)), rng.uniform(0, max(1, W - w))
    if kind == "subtitle":
        top, left = max(0.0, H - h - H * rng.uniform(0.02, 0.12)), (W - w) / 2
    rows, columns = np.full(T, top), np.full(T, left)
    step = tall * rng.uniform(0.02, 0.25)  # pixels a frame
    if kind == "crawl":
        columns = left - step * (np.arange(T) - _integer(rng, 0, T - 1))
    elif kind == "roll":
        rows = top - step * (np.arange(T) - _integer(rng, 0, T - 1))
    mask = np.zeros((T, H, W), np.bool_)
    for frame, row, column in zip(mask, rows.astype(int), columns.astype(int), strict=True):
        _paste(frame, sheet, row, column)
    if not mask.any():  # the part of the sheet that is in sight has no stroke
        mask[:, H // 2, W // 2] = True
    return _with_a_known_pixel(rng, mask)


def stereo(rng: Generator, T: int, H: int, W: int) -> BoolMask:
    """What a right eye would see behind 1 to 4 moving objects: strips at their right sides, 0.3-4 % of the width wide, nearer ones on top.

    The width of an object's strip changes by up to a third over the clip, as its distance does. The left side of a strip touches its
    object, the right side the background: the orientation in which stereo holes are filled (a left view is mirrored). Where a strip
    would be wider than an object is thin, it covers nothing of the object itself. Source: depth-image-based rendering, Fehn 2004.
    """
    mask = np.zeros((T, H, W), np.bool_)
    for _ in range(_integer(rng, 1, 4)):
        thing = _silhouette(rng, T, H, W)
        start, change = W * np.exp(rng.uniform(np.log(0.003), np.log(0.04))), rng.uniform(-1 / 3, 1 / 3)
        widths = np.maximum(1, np.rint(start * (1 + change * np.arange(T) / max(1, T - 1)))).astype(int)
        for frame, own, width in zip(mask, thing, widths, strict=True):
            frame[own] = False  # this object stands before those drawn so far, and before their holes
            reach = cv2.dilate(own.view(np.uint8), np.ones((1, width + 1), np.uint8), anchor=(width, 0), borderValue=0)
            frame[reach.view(np.bool_) & ~own] = True
    if not mask.any():  # objects that reach the right border in every frame
        mask[:, _integer(rng, 0, H - 1), W - 1] = True
    return _with_a_known_pixel(rng, mask)


def outpaint(rng: Generator, T: int, H: int, W: int) -> BoolMask:
    """Everything outside a still rectangle that keeps 50-100 % of the height and of the width, not both whole, at a random place."""
    height, width = _side(rng, H, 0.5, 1.0), _side(rng, W, 0.5, 1.0)
    if (height, width) == (H, W):
        if W > 1 and (H == 1 or rng.random() < 0.5):
            width -= 1
        elif H > 1:
            height -= 1
    top, left = _integer(rng, 0, H - height), _integer(rng, 0, W - width)
    mask = np.ones((T, H, W), np.bool_)
    if H * W > 1:
        mask[:, top : top + height, left : left + width] = False
    return mask


def predict(rng: Generator, T: int, H: int, W: int) -> BoolMask:
    """The first 1 to T - 1 frames are known, the rest is to come."""
    known = _integer(rng, 1, T - 1) if T > 1 else 0
    return _frames(np.arange(T) >= known, H, W)


def backward(rng: Generator, T: int, H: int, W: int) -> BoolMask:
    """The last 1 to T - 1 frames are known, what led to them is not."""
    known = _integer(rng, 1, T - 1) if T > 1 else 0
    return _frames(np.arange(T) < T - known, H, W)


def interpolate(rng: Generator, T: int, H: int, W: int) -> BoolMask:
    """Every n-th frame (n = 2 to 8, at most T - 1) and always the last one are known, the frames between are not.

    With T = 2 there is no frame between two known ones: the second is unknown.
    """
    if T <= 2:
        return _frames(np.arange(T) >= T - 1, H, W)
    stride = _integer(rng, 2, min(8, T - 1))
    unknown = np.arange(T) % stride != 0
    unknown[-1] = False
    return _frames(unknown, H, W)


def single(rng: Generator, T: int, H: int, W: int) -> BoolMask:
    """One frame anywhere is known (the first, the last, or between), all others are not."""
    known = _integer(rng, 0, T - 1)
    return _frames((np.arange(T) != known) | (T == 1), H, W)


def random(rng: Generator, T: int, H: int, W: int, known: float = 0.2) -> BoolMask:
    """Each frame is known with probability `known`; at least one is known and one is not."""
    unknown = rng.random(T) >= known
    if unknown.all() and T > 1:
        unknown[_integer(rng, 0, T - 1)] = False
    if not unknown.any():
        unknown[_integer(rng, 0, T - 1)] = True
    return _frames(unknown, H, W)


def completion(rng: Generator, T: int, H: int, W: int, moving: float = 0.5) -> BoolMask:
    """The first 0-3 and last 0-3 frames are known; between them, about half of the frame is hidden by rectangles.

    The rectangles have areas from 1/64 of the frame to what is left and log-uniform aspects of 0.3 to 3.33 (the block masks of BEiT);
    they stay where they are or (probability `moving`) drift together.
    """
    before = _integer(rng, 0, min(3, T - 1))
    after = _integer(rng, 0, min(3, T - 1 - before))
    mask = np.zeros((T, H, W), np.bool_)
    mask[before : T - after] = _drifting(rng, T - before - after, _blocks(rng, H, W, share=0.5), moving)
    return _with_a_known_pixel(rng, mask)


def generate(rng: Generator, T: int, H: int, W: int) -> BoolMask:  # noqa: ARG001 - a sampler like the others; there is nothing to draw
    """Everything is unknown."""
    return np.ones((T, H, W), np.bool_)


TASKS: dict[str, MaskSampler] = {
    "inpaint-box": inpaint_box,
    "inpaint-stroke": inpaint_stroke,
    "inpaint-blob": inpaint_blob,
    "inpaint-object": inpaint_object,
    "moving-box": moving_box,
    "static-shape": static_shape,
    "moving-shape": moving_shape,
    "dust": dust,
    "text": text,
    "stereo": stereo,
    "outpaint": outpaint,
    "predict": predict,
    "backward": backward,
    "interpolate": interpolate,
    "single": single,
    "random": random,
    "completion": completion,
    "generate": generate,
}


def _integer(rng: Generator, low: int, high: int) -> int:
    """A whole number from `low` to `high`, both included."""
    return int(rng.integers(low, high, endpoint=True))


def _side(rng: Generator, whole: int, low: float, high: float) -> int:
    return _integer(rng, max(1, int(whole * low)), max(1, int(whole * high)))


def _pixel(point: NDArray[np.float64]) -> tuple[int, int]:
    return int(point[0]), int(point[1])


def _frames(unknown: BoolMask, H: int, W: int) -> BoolMask:
    return np.repeat(unknown, H * W).reshape(-1, H, W)


def _silhouette(rng: Generator, T: int, H: int, W: int) -> BoolMask:
    """A shape that moves and deforms, as `inpaint_object` tells; at least one pixel in every frame."""
    radius = max(0.5, min(H, W) * rng.uniform(0.15, 0.5) / 2)
    order = np.arange(1, 6)
    strength = rng.uniform(0, 0.4, size=5) / order
    phase, drift = rng.uniform(0, 2 * np.pi, size=5), rng.uniform(-0.2 * np.pi, 0.2 * np.pi, size=5)
    stretch = rng.uniform(0.6, 1.6)
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    mask = np.zeros((T, H, W), np.bool_)
    for t, (row, column) in enumerate(_smooth_path(rng, T, H, W)):
        phases = phase + drift * t / T
        outline = radius * (1 + (strength * np.cos(order * angles[:, None] + phases)).sum(axis=1))
        x, y = column + outline * np.cos(angles) / np.sqrt(stretch), row + outline * np.sin(angles) * np.sqrt(stretch)
        cv2.fillPoly(mask[t].view(np.uint8), [np.stack([x, y], axis=1).round().astype(np.int32)], 1)
        mask[t, min(H - 1, int(row)), min(W - 1, int(column))] = True  # its middle, however small it is
    return mask


def _draw_speck(rng: Generator, frame: NDArray[np.uint8], radius: float) -> None:
    """Draw a speck, or (one in five) a hair, anywhere in a frame H W of 0 and 1."""
    H, W = frame.shape
    point = rng.uniform((0, 0), (W, H))
    if rng.random() < 0.8:
        axes = np.maximum(0, np.rint(radius * rng.uniform(0.5, 1.0, size=2))).astype(int)
        cv2.ellipse(frame, _pixel(point), (int(axes[0]), int(axes[1])), float(rng.uniform(0, 180)), 0, 360, 1, -1)
        return
    angle, bend = rng.uniform(0, 2 * np.pi), rng.uniform(-0.6, 0.6)
    for _ in range(_integer(rng, 3, 8)):
        following = point + 2.5 * radius * np.array([np.cos(angle), np.sin(angle)])
        cv2.line(frame, _pixel(point), _pixel(following), 1, max(1, round(radius / 3)))
        point, angle = following, angle + bend


def _draw_scratch(rng: Generator, mask: BoolMask, thickness: int) -> None:
    """Draw a line from top to bottom, nearly upright, that quivers, into a stretch of the frames of a mask T H W."""
    T, H, W = mask.shape
    length = _integer(rng, max(1, T // 3), T)
    start = _integer(rng, 0, T - length)
    column, lean = rng.uniform(0, W), rng.normal(0, 0.01) * H
    low, high = np.sort(rng.uniform(-0.3, 1.3, size=2)) * H
    for frame in mask[start : start + length]:
        at = column + rng.normal(0, thickness)
        cv2.line(frame.view(np.uint8), _pixel(np.array((at, low))), _pixel(np.array((at + lean, high))), 1, thickness)


def _draw_text(rng: Generator, tall: float, W: int) -> BoolMask:
    """Lines of letters `tall` pixels high, centred under each other, none wider than `W`: a mask just large enough for them."""
    font, plump = int(rng.choice(FONTS)), rng.uniform(0.05, 0.15)
    outline = round(tall * plump / 2) if rng.random() < 1 / 3 else 0
    thickness = max(1, round(tall * plump))
    (_, unit), _ = cv2.getTextSize("H", font, 1.0, 1)
    scale, margin, apart = tall / max(1, unit), thickness + outline + 1, max(1, round(tall * 1.6))
    most = max(1, int((W - 2 * margin) / max(1.0, tall * 0.8)))  # letters of a line
    lines = ["".join(rng.choice(list(GLYPHS + 12 * " "), size=_integer(rng, 1, max(1, min(40, most))))) for _ in range(_integer(rng, 1, 4))]
    wide = [cv2.getTextSize(line, font, scale, thickness)[0][0] for line in lines]
    sheet = np.zeros((apart * len(lines) + 2 * margin, max(wide) + 2 * margin), np.uint8)
    for number, (line, width) in enumerate(zip(lines, wide, strict=True)):
        place = (sheet.shape[1] - width) // 2, margin + number * apart + round(tall)
        cv2.putText(sheet, line, place, font, scale, 1, thickness)
    if outline:
        sheet = np.asarray(cv2.dilate(sheet, np.ones((2 * outline + 1, 2 * outline + 1), np.uint8)), np.uint8)
    return sheet.view(np.bool_)


def _paste(frame: BoolMask, sheet: BoolMask, top: int, left: int) -> None:
    """Add what of a sheet lies inside a frame H W when its corner stands at (top, left), which may be outside."""
    (H, W), (h, w) = frame.shape, sheet.shape
    above, below = (int(np.clip(row, 0, H)) for row in (top, top + h))
    before, after = (int(np.clip(column, 0, W)) for column in (left, left + w))
    frame[above:below, before:after] |= sheet[above - top : below - top, before - left : after - left]


def _shape_somewhere(rng: Generator, H: int, W: int) -> tuple[BoolMask, BoolMask]:
    """A closed curve of cubic Bezier pieces, filled: in its place in a frame H W, and alone in its box h w, which it touches on all sides.

    Every corner and every point between two has a distance of its own from the middle, 1 - r to 1 + r with r of 0.6, 0.7 or 0.8.
    """
    height, width = _integer(rng, max(1, H // 3), max(1, H - 1)), _integer(rng, max(1, W // 3), max(1, W - 1))
    corners, roughness = _integer(rng, 6, 8), rng.choice((0.6, 0.7, 0.8))
    angles = np.linspace(0, 2 * np.pi, 3 * corners, endpoint=False)
    radii = 1 + roughness * rng.uniform(-1, 1, size=angles.size)
    points = np.stack([np.sin(angles), np.cos(angles)], axis=1) * radii[:, None]  # row, column
    pieces = np.concatenate([points, points[:1]])
    t = np.linspace(0, 1, 16, endpoint=False)[:, None]
    basis = np.concatenate([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], axis=1)  # 16 4
    outline = np.concatenate([basis @ pieces[3 * corner : 3 * corner + 4] for corner in range(corners)])
    low, high = outline.min(axis=0), outline.max(axis=0)
    scaled = (outline - low) / (high - low) * (height - 1, width - 1)
    shape = np.zeros((height, width), np.uint8)
    cv2.fillPoly(shape, [scaled[:, ::-1].round().astype(np.int32)], 1)
    top, left = _integer(rng, 0, H - height), _integer(rng, 0, W - width)
    frame = np.zeros((H, W), np.bool_)
    frame[top : top + height, left : left + width] = shape
    return _with_a_known_pixel(rng, frame), shape.view(np.bool_)


def _wander(rng: Generator, T: int, rows: int, columns: int, speeds: tuple[float, float] = (1, 3)) -> Path:
    """FFF-VDI's walk, T 2: from anywhere in 0..rows, 0..columns, at `speeds` (pixels a frame) first; both drift, it turns at the edges."""
    limit = np.array([rows, columns], np.float64)
    point = rng.uniform((0, 0), limit + 1e-9)
    speed, angle = rng.uniform(*speeds), rng.uniform(0, 2 * np.pi)
    path = np.zeros((T, 2))
    for t in range(T):
        path[t] = point
        point = point + speed * np.array([np.cos(angle), np.sin(angle)])
        if (point < 0).any() or (point > limit).any():
            speed, angle = abs(rng.normal(0, 1.5)), rng.uniform(0, 2 * np.pi)
            point = np.clip(point, 0, limit)
        else:
            speed, angle = speed + rng.normal(0, 1.5), angle + rng.normal(0, 0.25)
    return path


def _smooth_path(rng: Generator, T: int, H: int, W: int) -> Path:
    """A path T 2 inside the frame: a sum of three slow sine waves for each axis, through at most 1.5 periods in the clip."""
    time = np.arange(T)[:, None] / max(1, T)
    path = np.zeros((T, 2))
    for axis, whole in enumerate((H, W)):
        periods, phases = rng.uniform(0, 1.5, size=3), rng.uniform(0, 2 * np.pi, size=3)
        waves = np.sin(2 * np.pi * periods * time + phases).mean(axis=1)
        path[:, axis] = (0.5 + 0.5 * waves) * (whole - 1)
    return path


def _smooth_noise(rng: Generator, H: int, W: int, sigma: float) -> NDArray[np.float32]:
    noise = rng.standard_normal((H, W), np.float32)
    smooth = np.asarray(cv2.GaussianBlur(noise, (0, 0), sigma, borderType=cv2.BORDER_REFLECT), np.float32)
    return np.asarray((smooth - smooth.mean()) / max(float(smooth.std()), 1e-6), np.float32)


def _blocks(rng: Generator, H: int, W: int, share: float) -> BoolMask:
    """Rectangles, overlapping or not, that together hide at most `share` of the frame; each adds something, tries are limited."""
    mask = np.zeros((H, W), np.bool_)
    target = max(1, int(share * H * W))
    smallest = min(max(1, H * W // 64), target)
    for _ in range(64):
        left_over = target - int(mask.sum())
        if left_over <= 0:
            break
        area = rng.uniform(min(smallest, left_over), left_over)
        aspect = np.exp(rng.uniform(np.log(0.3), np.log(1 / 0.3)))
        height, width = round(float(np.sqrt(area * aspect))), round(float(np.sqrt(area / aspect)))
        height, width = int(np.clip(height, 1, H)), int(np.clip(width, 1, W))
        top, left = _integer(rng, 0, H - height), _integer(rng, 0, W - width)
        block = mask[top : top + height, left : left + width]
        if 0 < block.size - int(block.sum()) <= left_over:
            block[:] = True
    if not mask.any():
        mask[_integer(rng, 0, H - 1), _integer(rng, 0, W - 1)] = True
    return mask


def _drifting(rng: Generator, T: int, still: BoolMask, moving: float) -> BoolMask:
    """A mask H W as T H W: the same in every frame, or (probability `moving`) shifted along a walk that keeps a part of it in sight."""
    if rng.random() >= moving or T == 1:
        return np.repeat(still[None], T, axis=0)
    H, W = still.shape
    rows, columns = np.flatnonzero(still.any(axis=1)), np.flatnonzero(still.any(axis=0))
    box = still[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    # Half of the shape may leave the frame on any side.
    canvas = np.zeros((H + box.shape[0], W + box.shape[1]), np.bool_)
    mask = np.zeros((T, H, W), np.bool_)
    up, left = box.shape[0] // 2, box.shape[1] // 2
    for t, (row, column) in enumerate(_wander(rng, T, H - 1, W - 1)):
        canvas[:] = False
        canvas[int(row) : int(row) + box.shape[0], int(column) : int(column) + box.shape[1]] = box
        mask[t] = canvas[up : up + H, left : left + W]
    if not mask.any():  # a ring-like shape whose hole lies over the frame
        return np.repeat(still[None], T, axis=0)
    return mask


def _with_a_known_pixel(rng: Generator, mask: BoolMask) -> BoolMask:
    """The mask, with one random pixel known when none was and there is more than one."""
    if mask.size > 1 and mask.all():
        mask.flat[_integer(rng, 0, mask.size - 1)] = False
    return mask
