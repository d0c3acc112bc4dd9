"""Depth without a network, from what moves by itself, where it stands, how low in the picture it is, and what is sharp.

It is a guess, not a measurement: the scene is taken for a ground that comes nearer towards the picture's lower edge, and what moves
against the dominant motion for something upright that stands on it. Edges are the picture's (a guided filter), and what was seen to move is
carried along the motion, so that holes open at edges and stay where they are.
"""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.stereo.depth import Depth, Frames, check_frames
from framefill.stereo.guided import Guide, applied, coefficients, guide_of

SHORTER = 192  # pixels of the shorter side at which a frame is looked at
GROUND, SHARP, AHEAD = 0.7, 0.1, 0.2  # weights: of the ground, of what is sharp, and of what moves before what it stands on; together 1
BENDS = 2.0  # power of the height in the picture: the ground lies far away for a long while
SPEED = 0.004  # of the width, a frame: what departs this fast from the dominant motion counts 1 - 1/e
MEMORY = 0.9  # share of what was known before, carried along the motion
SURE, UNSURE = 0.55, 0.2  # of the motion kept so far: above, something moves by itself; below, nothing does
FITS, GRID = 5, 8  # rounds of the robust fit of the dominant motion, and pixels between its samples
STILL = 0.05  # pixels; motion below this is noise
EDGES, ALL = (6, 1e-4), (4, 1e-3)  # radius and epsilon of the guided filter: of what moves, and of the whole at last
LEAST_SIDE = 32  # pixels below which no motion is looked for

PROVEN, AROUND = 4.0, (5, 5)  # levels by which the flow must explain a pixel's surroundings better than the dominant motion does
ALIKE = 12.0  # levels; what differs more from the frame before has just come into sight, and nothing is remembered of it
Kept = TypeVar("Kept", np.uint8, np.float32)
Grey = NDArray[np.uint8]
Flow = NDArray[np.float32]


class HeuristicDepth:
    """Depth 0..1 from the signs above; `resolution` is the shorter side at which a frame is looked at, at most its own."""

    name = "heuristic"
    is_metric = False

    def __init__(self, resolution: int = SHORTER) -> None:
        self.resolution = resolution
        self._grey: Grey | None = None
        self._moving: Depth | None = None
        self._seen = 0

    def infer(self, frames: Frames) -> Depth:
        """Give T h w in 0..1, the same however the frames are handed over."""
        check_frames(frames)
        return np.stack([self._one(frame) for frame in frames])

    def reset(self) -> None:
        """Forget what moved."""
        self._grey = self._moving = None
        self._seen = 0

    def _one(self, frame: NDArray[np.uint8]) -> Depth:
        height, width = _work_size(frame.shape[0], frame.shape[1], self.resolution)
        guide = guide_of(frame, width, height)
        grey = np.asarray(cv2.cvtColor(np.rint(guide * 255).astype(np.uint8), cv2.COLOR_RGB2GRAY), np.uint8)
        if self._grey is not None and self._grey.shape != grey.shape:
            self.reset()
        upright = np.clip((_along_edges(self._moved(grey), guide, *EDGES) - UNSURE) / (SURE - UNSURE), 0, 1)
        ground = np.linspace(0, 1, height, dtype=np.float32) ** BENDS
        signs = GROUND * _standing(upright, ground) + AHEAD * upright + SHARP * _sharpness(grey)
        return np.clip(_along_edges(signs, guide, *ALL), 0, 1)

    def _moved(self, grey: Grey) -> Depth:
        """How much each pixel moves by itself, 0..1, over the frames so far."""
        before, known = self._grey, self._moving
        self._grey = grey
        if before is None or known is None or min(grey.shape) < LEAST_SIDE:
            self._moving = np.zeros(grey.shape, np.float32)
            return self._moving
        method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)  # a new one each time: it remembers what it saw
        flow = np.asarray(method.calc(grey, before, np.zeros((0, 0), np.float32)), np.float32)
        dominant = _dominant(flow)
        now = 1 - np.exp(-np.linalg.norm(flow - dominant, axis=2) * np.float32(1 / (SPEED * grey.shape[1])))
        differs = cv2.absdiff(grey, _carried(before, flow)).astype(np.float32)
        gained = cv2.blur(cv2.absdiff(grey, _carried(before, dominant)).astype(np.float32), AROUND) - cv2.blur(differs, AROUND)
        now *= np.clip(gained * np.float32(1 / PROVEN), 0, 1)
        self._seen += 1
        memory = min(MEMORY, 1 - 1 / self._seen) * np.exp(-np.square(differs * np.float32(1 / ALIKE)))
        self._moving = np.asarray(now + memory * (_carried(known, flow) - now), np.float32)
        return self._moving


def _work_size(height: int, width: int, shorter: int) -> tuple[int, int]:
    scale = min(1.0, shorter / min(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _along_edges(field: Depth, guide: Guide, radius: int, epsilon: float) -> Depth:
    return applied(coefficients(guide, np.asarray(field, np.float32), radius, epsilon), guide)


def _standing(upright: Depth, ground: Depth) -> Depth:
    """The ground's depth h at each pixel h w; where something is `upright` (0..1), that of the row it stands on, carried up from there."""
    depth = np.empty_like(upright)
    below = np.full(upright.shape[1], ground[-1], np.float32)
    for row in range(len(ground) - 1, -1, -1):
        below = ground[row] + upright[row] * (below - ground[row])
        depth[row] = below
    return depth


def _sharpness(grey: Grey) -> Depth:
    """Local contrast against the frame's own, 0..1: how strongly the Laplacian answers within about a sixteenth of the picture."""
    answer = np.abs(cv2.Laplacian(grey, cv2.CV_32F))
    spread = cv2.GaussianBlur(answer, (0, 0), max(1.0, min(grey.shape) / 16))
    usual = float(spread.mean())
    return np.asarray(spread / (spread + max(usual, 1e-3)), np.float32)


def _dominant(flow: Flow) -> Flow:
    """The affine motion that most of the picture follows, as flow h w 2: repeated weighted least squares, Geman and McClure's weights."""
    height, width = flow.shape[:2]
    y, x = np.mgrid[GRID // 2 : height : GRID, GRID // 2 : width : GRID]
    sample = flow[y, x].reshape(-1, 2).astype(np.float64)
    points = np.column_stack([np.ones(x.size), x.ravel() / width - 0.5, y.ravel() / height - 0.5])
    weight = np.ones(len(points))
    for _ in range(FITS):
        left = points * weight[:, None]
        model = np.linalg.solve(left.T @ points + 1e-6 * np.eye(3), left.T @ sample)
        away = np.linalg.norm(sample - points @ model, axis=1)
        weight = 1 / (1 + (away / max(1.5 * float(np.median(away)), STILL)) ** 2) ** 2
    across = np.arange(width, dtype=np.float32) / width - np.float32(0.5)
    down = np.arange(height, dtype=np.float32) / height - np.float32(0.5)
    constant, by_x, by_y = model.astype(np.float32)
    return np.asarray(constant + across[None, :, None] * by_x + down[:, None, None] * by_y, np.float32)


def _carried(before: NDArray[Kept], flow: Flow) -> NDArray[Kept]:
    """What the frame before had, where its points are now; `flow` leads from now to before."""
    height, width = before.shape
    x = np.arange(width, dtype=np.float32)[None] + flow[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + flow[..., 1]
    return np.asarray(cv2.remap(before, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), before.dtype)
