"""Procedural clips whose every truth is known: textured planes in space before a moving camera, drawn by homographies.

A background and up to five cut-out sprites are planes with a pose of their own in each frame. The camera sways (parallax), turns,
rolls, zooms and travels; the light may change. A plane's homography H = K R [a b o-c] (Hartley and Zisserman, Multiple View Geometry,
section 8.1) maps its texture to the picture, so flow, depth and the other eye's view follow in closed form, without rendering twice.

Everything is drawn from one `numpy.random.Generator`: the same state gives the same scene. Lengths in space are in units in which the
focal length is the longer side of the picture; x runs right, y down, z away from the camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from framefill.errors import UsageError

Floats = NDArray[np.float64]
Picture = NDArray[np.uint8]

MOST_SPRITES = 5
BACKGROUND_DEPTH = 8.0
# Sprites stand at depths 1.5 x 1.26^n, apart by more than their slant makes them deep: the order of drawing is the order of depth.
NEAREST, DEPTH_STEP = 1.5, 1.26
MARGIN = 2  # transparent texels around a sprite, so that its edge never mixes with what lies beyond its texture


@dataclass(frozen=True)
class Scene:
    """A clip and its truth. Pixel (x, y) of frame t shows the same point as (x, y) + flow[t, y, x] of frame t + 1, where that is in sight.

    frames, other_eye: uint8 T H W 3. flow: float32 T-1 H W 2 (x, y), pixels. depth: float32 T H W, along the optical axis.
    objects: uint8 T H W, 0 = background, then from far to near. disparity: float32 T H W > 0, pixels: what stands at x in `frames` stands
    at x - disparity in `other_eye`, the view of a right eye.
    """

    frames: Picture
    flow: NDArray[np.float32]
    depth: NDArray[np.float32]
    objects: Picture
    other_eye: Picture
    disparity: NDArray[np.float32]


@dataclass(frozen=True)
class _Plane:
    """A texture h w 4 (RGB and alpha) and where it stands: `pose` T 3 3 takes texels (u, v, 1) to points of space."""

    texture: Picture
    pose: Floats


@dataclass(frozen=True)
class _Camera:
    """`lens` T 3 3 is K, `turn` T 3 3 is R (world to camera), `place` T 3 is the optical centre, `baseline` the distance of the eyes."""

    lens: Floats
    turn: Floats
    place: Floats
    baseline: float


@dataclass(frozen=True)
class _Set:
    """All that was drawn for one scene, before a pixel of it is: planes from far to near, and `light` T 3 3 (per colour: mean, x, y)."""

    planes: tuple[_Plane, ...]
    camera: _Camera
    light: Floats | None


def make_scene(rng: Generator, T: int, H: int, W: int, lighting: float = 0.5) -> Scene:
    """Draw a scene of T frames of H x W pixels with everything that is known about it.

    lighting: the probability that the light changes (brightness, colour, a gradient across the picture). Raises UsageError for T, H or
    W below 1.
    """
    staged = _draw_set(rng, T, H, W, lighting)
    maps = [_homographies(plane, staged.camera) for plane in staged.planes]
    frames, objects = _render(staged, maps, H, W)
    other_eye, _ = _render(staged, [_homographies(plane, staged.camera, staged.camera.baseline) for plane in staged.planes], H, W)
    depth = _gather([_depth(each, H, W) for each in maps], objects)
    flow = np.zeros((T - 1, H, W, 2), np.float32)
    for number, each in enumerate(maps):
        x, y = _moved(each, H, W)
        here = objects[:-1] == number
        np.copyto(flow[..., 0], x, where=here)
        np.copyto(flow[..., 1], y, where=here)
    reach = (staged.camera.lens[:, 0, 0] * staged.camera.baseline).astype(np.float32)
    return Scene(frames, flow, depth, objects, other_eye, reach[:, None, None] / depth)


def make_clip(rng: Generator, T: int, H: int, W: int, lighting: float = 0.5) -> Picture:
    """Draw only the frames uint8 T H W 3 of the scene that `make_scene` draws from the same state, in less than half of its time."""
    staged = _draw_set(rng, T, H, W, lighting)
    return _render(staged, [_homographies(plane, staged.camera) for plane in staged.planes], H, W)[0]


def _draw_set(rng: Generator, T: int, H: int, W: int, lighting: float) -> _Set:
    if min(T, H, W) < 1:
        raise UsageError(f"a scene of {T} frames of {W}x{H} was asked for; expected 1 or more of each")
    longer = max(H, W)
    camera = _draw_camera(rng, T, H, W)
    background = _draw_background(rng, T, longer)
    count = int(rng.integers(1, MOST_SPRITES, endpoint=True))
    slots = sorted(rng.choice(MOST_SPRITES, size=count, replace=False), reverse=True)
    sprites = [_draw_sprite(rng, T, H, W, NEAREST * DEPTH_STEP ** float(slot)) for slot in slots]
    light = _draw_light(rng, T) if rng.random() < lighting else None
    return _Set((background, *sprites), camera, light)


def _draw_camera(rng: Generator, T: int, H: int, W: int) -> _Camera:
    """Each kind of motion is there or not; one camera in five stands still."""
    moving = rng.random() >= 0.2
    there = (rng.random(6) < 0.5) & moving
    sway = [_sway(rng, T, amplitude) * on for amplitude, on in zip((0.6, 0.4, 0.4, 0.06, 0.06, 0.15), there, strict=True)]
    zoom = np.exp(_sway(rng, T, 0.2) * (moving and rng.random() < 0.5))
    lens = np.zeros((T, 3, 3))
    lens[:, 0, 0] = lens[:, 1, 1] = max(H, W) * zoom
    lens[:, 0, 2], lens[:, 1, 2], lens[:, 2, 2] = (W - 1) / 2, (H - 1) / 2, 1
    place = np.stack(sway[:3], axis=1)
    turn = _turn(sway[3], 1, 2) @ _turn(sway[4], 0, 2) @ _turn(sway[5], 0, 1)
    return _Camera(lens, turn, place, float(rng.uniform(0.03, 0.1)))


def _draw_background(rng: Generator, T: int, longer: int) -> _Plane:
    """A plane that fills the picture whatever the camera does: beyond its edge the texture is mirrored. It leans by up to 35 degrees."""
    side = max(8, round(1.5 * longer))
    texture = np.dstack([_draw_texture(rng, side, side, longer), np.full((side, side), 255, np.uint8)])
    lean = np.stack([np.full(T, angle) for angle in rng.uniform(-0.6, 0.6, size=2)])
    axes = _turn(lean[0], 1, 2) @ _turn(lean[1] / 2, 0, 2)
    texel = BACKGROUND_DEPTH / longer * rng.uniform(1.0, 1.5)
    return _Plane(texture, _posed(axes, texel, np.tile((0.0, 0.0, BACKGROUND_DEPTH), (T, 1)), side, side))


def _draw_sprite(rng: Generator, T: int, H: int, W: int, depth: float) -> _Plane:
    """A cut-out of 20-60 % of the shorter side that sways or bounces through the picture, spins, and leans a little."""
    shorter, longer = min(H, W), max(H, W)
    size = rng.uniform(0.2, 0.6) * shorter
    side = max(4, round(size)) + 2 * MARGIN
    texture = np.dstack([_draw_texture(rng, side, side, longer), _draw_shape(rng, side)])
    reach = np.array([W, H]) / longer * depth / 2  # half of what is in sight at this depth
    if rng.random() < 0.5:
        path = np.stack([_sway(rng, T, 0.9 * half) for half in reach], axis=1)
    else:
        path = np.stack([_bounce(rng, T, half) for half in reach], axis=1)
    spin = _sway(rng, T, 1.5) if rng.random() < 0.5 else np.zeros(T)
    lean = rng.uniform(-0.25, 0.25, size=2)
    axes = _turn(np.full(T, lean[0]), 1, 2) @ _turn(np.full(T, lean[1]), 0, 2) @ _turn(spin + rng.uniform(-np.pi, np.pi), 0, 1)
    texel = size / (side - 2 * MARGIN) * depth / longer
    return _Plane(texture, _posed(axes, texel, np.column_stack([path, np.full(T, depth)]), side, side))


def _draw_light(rng: Generator, T: int) -> Floats:
    """Brightness, colour and a gradient across the picture that change slowly: T 3 3, for each colour the factor's mean, x and y slope."""
    light = np.zeros((T, 3, 3))
    light[:, :, 0] = np.exp(_sway(rng, T, 0.35))[:, None] * np.exp(np.stack([_sway(rng, T, 0.1) for _ in range(3)], axis=1))
    light[:, :, 1:] = np.stack([_sway(rng, T, 0.25) for _ in range(2)], axis=1)[:, None, :]
    return light


def _sway(rng: Generator, T: int, amplitude: float) -> Floats:
    """A smooth path T within +-`amplitude`: two sine waves with periods of 24 to 96 frames, so that speed does not depend on T."""
    periods, phases = rng.uniform(24, 96, size=2), rng.uniform(0, 2 * np.pi, size=2)
    share = rng.uniform(0.5, 1.0)
    waves = np.sin(2 * np.pi * np.arange(T)[:, None] / periods + phases)
    path: Floats = amplitude * rng.uniform(0.3, 1.0) * (share * waves[:, 0] + (1 - share) * waves[:, 1])
    return path


def _bounce(rng: Generator, T: int, half: float) -> Floats:
    """A straight path T that turns round at +-`half`, 1-5 % of the way across a frame."""
    place = rng.uniform(0, 4) + np.arange(T) * rng.uniform(0.02, 0.1) * rng.choice((-1, 1))
    path: Floats = half * (np.abs(place % 4 - 2) - 1)
    return path


def _draw_texture(rng: Generator, height: int, width: int, longer: int) -> Picture:
    """A pattern of two or three colours: clouds, stripes, checks, dots or a shading, all smooth at the scale of a texel."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    angle, period = rng.uniform(0, np.pi), rng.uniform(0.12, 0.4) * longer
    along = (np.cos(angle) * x + np.sin(angle) * y) * (2 * np.pi / period)
    across = (np.cos(angle) * y - np.sin(angle) * x) * (2 * np.pi / (period * rng.uniform(0.7, 1.4)))
    sharp = np.float32(rng.uniform(0.7, 3.0))
    kind = int(rng.integers(5))
    waves = (
        _clouds(rng, height, width, longer) * 2 - 1,
        np.sin(along),
        np.sin(along) * np.sin(across) * 1.5,
        np.cos(along) + np.cos(across) - 0.7,
        (x / width - 0.5) * np.float32(2 * np.cos(angle)) + (y / height - 0.5) * np.float32(2 * np.sin(angle)),
    )[kind]
    share = 0.5 + 0.5 * np.tanh(sharp * waves)
    first, second, third = rng.uniform(0, 255, size=(3, 3)).astype(np.float32)
    grain = _clouds(rng, height, width, longer)[..., None]
    colours = first + share[..., None] * (second - first)
    colours += np.float32(rng.uniform(0.1, 0.6)) * grain * (third - colours)
    return np.asarray(np.clip(colours, 0, 255), np.uint8)


def _clouds(rng: Generator, height: int, width: int, longer: int) -> NDArray[np.float32]:
    """Smooth noise in [0, 1] of three octaves, the finest about 4 texels wide at 64 pixels."""
    total = np.zeros((height, width), np.float32)
    for octave, weight in ((4, 0.5), (8, 0.3), (16, 0.2)):
        rows, columns = (max(2, round(octave * side / longer)) for side in (height, width))
        total += weight * np.asarray(cv2.resize(rng.random((rows, columns), np.float32), (width, height), interpolation=cv2.INTER_CUBIC))
    return np.clip(total, 0, 1)


def _draw_shape(rng: Generator, side: int) -> Picture:
    """A sprite's outline as alpha, soft over about a texel: an ellipse, a box with round corners, a blob, a star or a ring."""
    y, x = (np.mgrid[0:side, 0:side].astype(np.float32) - (side - 1) / 2) / (side / 2 - MARGIN)
    narrow = np.float32(rng.uniform(0.5, 1.0))
    kind = int(rng.integers(5))
    if kind == 1:
        radius = np.maximum(np.abs(x), np.abs(y) / narrow) * 0.7 + np.hypot(x, y / narrow) * 0.3
    else:
        radius = np.hypot(x, y / (narrow if kind == 0 else 1))
    if kind in (2, 3):
        lobes = np.array((2, 3, 5)) if kind == 2 else np.array((5,))
        depth = rng.uniform(0.1, 0.3, size=len(lobes)) / len(lobes)
        phases = rng.uniform(0, 2 * np.pi, size=len(lobes))
        angle = np.arctan2(y, x)
        outline = 1 - depth.sum() + (depth * np.cos(lobes * angle[..., None] + phases)).sum(axis=-1)
        radius = radius / np.maximum(outline, 0.2).astype(np.float32)
    inside = (0.95 - radius) * side / 2  # texels from the rim, about
    if kind == 4:
        inside = np.minimum(inside, (radius - np.float32(rng.uniform(0.3, 0.6))) * side / 2)
    alpha = np.clip(inside + 0.5, 0, 1)
    alpha[:MARGIN], alpha[-MARGIN:], alpha[:, :MARGIN], alpha[:, -MARGIN:] = 0, 0, 0, 0
    return np.asarray(np.rint(alpha * 255), np.uint8)


def _turn(angles: Floats, first: int, second: int) -> Floats:
    """Rotations T 3 3 by `angles` in the plane of two axes."""
    turn = np.tile(np.eye(3), (len(angles), 1, 1))
    turn[:, first, first] = turn[:, second, second] = np.cos(angles)
    turn[:, first, second], turn[:, second, first] = -np.sin(angles), np.sin(angles)
    return turn


def _posed(axes: Floats, texel: float, centre: Floats, height: int, width: int) -> Floats:
    """Texels (u, v, 1) to space, T 3 3: the first two of `axes` T 3 3 span the plane, its middle stands at `centre` T 3."""
    pose = np.empty_like(axes)
    pose[:, :, :2] = axes[:, :, :2] * texel
    pose[:, :, 2] = centre - pose[:, :, 0] * ((width - 1) / 2) - pose[:, :, 1] * ((height - 1) / 2)
    return pose


def _homographies(plane: _Plane, camera: _Camera, shift: float = 0.0) -> Floats:
    """Texels to pixels in homogeneous coordinates, T 3 3; their scale is kept: the third coordinate is the depth."""
    seen = plane.pose.copy()
    seen[:, :, 2] -= camera.place
    seen = camera.turn @ seen
    seen[:, 0, 2] -= shift
    mapped: Floats = camera.lens @ seen
    return mapped


def _render(staged: _Set, maps: list[Floats], H: int, W: int) -> tuple[Picture, Picture]:
    """Pictures uint8 T H W 3 and the number of the plane that each pixel shows, planes painted from far to near."""
    T = len(maps[0])
    frames = np.empty((T, H, W, 3), np.uint8)
    objects = np.zeros((T, H, W), np.uint8)
    back = np.ascontiguousarray(staged.planes[0].texture[..., :3])
    for t in range(T):
        cv2.warpPerspective(back, maps[0][t], (W, H), dst=frames[t], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        for number in range(1, len(maps)):
            _paint(frames[t], objects[t], staged.planes[number].texture, maps[number][t], number)
    return (frames if staged.light is None else _lit(frames, staged.light)), objects


def _paint(frame: Picture, objects: Picture, texture: Picture, homography: Floats, number: int) -> None:
    """Put one sprite over a frame, in the rectangle of the frame that it covers."""
    H, W = objects.shape
    side = texture.shape[0] - 1
    corners = homography @ np.array([[0, side, side, 0], [0, 0, side, side], [1, 1, 1, 1]], np.float64)
    x, y = corners[0] / corners[2], corners[1] / corners[2]
    left, right = max(0, int(np.floor(x.min()))), min(W, int(np.ceil(x.max())) + 1)
    top, bottom = max(0, int(np.floor(y.min()))), min(H, int(np.ceil(y.max())) + 1)
    if left >= right or top >= bottom:
        return
    to_box = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]], np.float64)
    seen = np.asarray(cv2.warpPerspective(texture, to_box @ homography, (right - left, bottom - top), flags=cv2.INTER_LINEAR), np.uint8)
    alpha = seen[..., 3]
    below = frame[top:bottom, left:right]
    share = alpha[..., None].astype(np.float32) * np.float32(1 / 255)
    below[:] = np.rint(below + (seen[..., :3].astype(np.float32) - below) * share)
    objects[top:bottom, left:right][alpha >= 128] = number


def _lit(frames: Picture, light: Floats) -> Picture:
    _, H, W, _ = frames.shape
    x, y = np.linspace(-1, 1, W, dtype=np.float32), np.linspace(-1, 1, H, dtype=np.float32)
    factor = light.astype(np.float32)[:, None, None, :, :]  # t 1 1 c 3
    shade = factor[..., 0] + factor[..., 1] * x[:, None] + factor[..., 2] * y[:, None, None]  # t h w c
    return np.asarray(np.rint(np.clip(frames * np.maximum(shade, 0), 0, 255)), np.uint8)


def _rows(matrix: Floats, row: int, H: int, W: int) -> NDArray[np.float32]:
    """The linear form `row` of matrices T 3 3 at every pixel, T H W."""
    m = matrix.astype(np.float32)[:, row]
    x, y = np.arange(W, dtype=np.float32), np.arange(H, dtype=np.float32)
    across = m[:, :1] * x  # t w
    down = m[:, 1:2] * y + m[:, 2:]  # t h
    form: NDArray[np.float32] = across[:, None, :] + down[:, :, None]
    return form


def _depth(homographies: Floats, H: int, W: int) -> NDArray[np.float32]:
    """The plane's depth at every pixel, T H W: the inverse map takes (x, y, 1) to (u, v, 1) / depth."""
    back = np.asarray(np.linalg.inv(homographies), np.float64)
    return np.reciprocal(_rows(back, 2, H, W))


def _moved(homographies: Floats, H: int, W: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """How far the plane's points at every pixel of frame t have moved in frame t + 1: x and y, T-1 H W each."""
    step: Floats = homographies[1:] @ np.linalg.inv(homographies[:-1])
    scale = _rows(step, 2, H, W)
    x, y = np.arange(W, dtype=np.float32), np.arange(H, dtype=np.float32)[:, None]
    return _rows(step, 0, H, W) / scale - x, _rows(step, 1, H, W) / scale - y


def _gather(layers: list[NDArray[np.float32]], objects: Picture) -> NDArray[np.float32]:
    """For each pixel the value of the plane that it shows."""
    out = layers[0].copy()
    for number, layer in enumerate(layers[1:], start=1):
        np.copyto(out, layer, where=objects == number)
    return out
