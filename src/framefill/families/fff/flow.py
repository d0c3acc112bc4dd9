"""How a clip with holes moves, and what that brings to its first frame: flow beneath the holes, pixels and noise carried along it.

Flow is measured on pictures whose hidden pixels were never looked at, and completed under them: the camera's motion (`motion.registration`)
plus what moves beside it, by the Laplace equation from the hole's rim. The first frame's noise is that of the frames that show what lies
there, as in FFF-VDI, AAAI 2025 (arXiv 2408.11402); along whole paths, each value taken once, for a chain of interpolations would colour it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from framefill.errors import MaskMismatch, UsageError
from framefill.families.flow_between import whole_flow
from framefill.families.still import smooth
from framefill.motion.completion import membrane, pull_push
from framefill.motion.flow import MARGIN, departing, dis
from framefill.motion.footage import Pair, bridge, widen
from framefill.motion.regions import regions_of
from framefill.motion.registration import Matrix, Motion, look_at, register
from framefill.nets.flow_completion import FlowCompletion
from framefill.nets.guide import Guide, agree

Frames = NDArray[np.uint8]  # T H W 3
Picture = NDArray[np.uint8]  # H W 3
Mask = NDArray[np.bool_]  # T H W
Field = NDArray[np.float32]  # ... H W 2, pixels (x, y)
FlowName = Literal["dis", "raft", "gmflow"]
Completion = Literal["laplace", "learned"]
Measure = Callable[[Picture, Picture], Field]
Sampling = Literal["nearest", "bilinear"]
# Pixels of the shorter side from which DIS is left at its own finest scale. At 512x288, boxes over ten frames: the first frame's hole has
# 24.8, 28.4 and 35.3 dB (city, vtest, bmx-trees) where flow refined to single pixels, in more than twice the time, gives 23.7, 28.4, 35.1.
FINE = 128


@dataclass(frozen=True)
class Flows:
    """The motion of a clip of T frames in pixels (x, y): `there` float32 T-1 H W 2 from each frame to the next, `back` the other way.

    Across a cut both lead out of the picture.
    """

    there: Field
    back: Field


def flows_of(frames: Frames, mask: Mask, method: FlowName = "dis", completion: Completion = "laplace") -> Flows:
    """Measure how frames uint8 T H W 3 move, and complete the flow where `mask`, bool T H W, hides them; nothing hidden is looked at.

    method: "dis" needs no weights; "gmflow" those that `framefill weights get gmflow` brings, "raft" a file that the user has put there.
    completion: "laplace" as above; "learned" by a net that looks at all flows of a scene (`nets.flow_completion`), whose file the user
    has put there. Nets run on a GPU where there is one; on a busy core GMFlow took 11 s of its time a flow, DIS 0.07 (96x64).
    Memory beyond the result is that of one pair of frames, or with "learned" of one scene. Raises UsageError for arrays of other kinds and
    unknown names, MissingWeights, WeightsError.
    """
    _check(frames, mask)
    measure, learned = _method(method), _learned(completion)
    length, height, width = mask.shape
    flows = Flows(*(np.empty((length - 1, height, width, 2), np.float32) for _ in range(2)))
    cuts = [-1]
    for pair, (motion, first, second) in enumerate(_pairs(frames, mask)):
        if motion.cut:
            flows.there[pair] = flows.back[pair] = width, height
            cuts.append(pair)
            continue
        hole, hole_there = (widen(mask[place]) > 0 for place in (pair, pair + 1))
        way: Matrix = motion.matrix
        back: Matrix = np.linalg.inv(way).astype(np.float64)
        one, other = _unhidden(first, second, hole, hole_there, way), _unhidden(second, first, hole_there, hole, back)
        flows.there[pair] = completed(measure(one, other), hole, way)
        flows.back[pair] = completed(measure(other, one), hole_there, back)
    if learned is not None:
        for before, after in pairwise([*cuts, length - 1]):
            if after - before > 1:
                _complete(flows, mask, slice(before + 1, after), learned)
    return flows


def completed(flow: Field, hole: NDArray[np.bool_], camera: Matrix) -> Field:
    """Complete a flow float32 H W 2 in a hole bool H W, where it is not read; outside it stays as it is, to the bit.

    `camera` is the homography that the flow departs from. What passes by near the hole is taken for no part of what lies in it.
    """
    if not hole.any():
        return flow
    moved = camera_flow(camera, *hole.shape)
    made = flow.copy()
    for region in regions_of(hole, MARGIN):
        inside, base = hole[region.area], moved[region.area]
        beside = np.where(inside[..., None], 0, flow[region.area] - base).astype(np.float32)
        solved = base + membrane(beside, inside | departing(beside, inside))
        made[region.area] = np.where(inside[..., None], solved, flow[region.area])
    return made


def camera_flow(matrix: Matrix, height: int, width: int) -> Field:
    """The flow of a homography, float32 H W 2; standing still is exactly zero."""
    if np.array_equal(matrix, np.eye(3)):
        return np.zeros((height, width, 2), np.float32)
    y, x = np.mgrid[:height, :width].astype(np.float64)
    across, down, far = (row[0] * x + row[1] * y + row[2] for row in matrix)
    return np.stack((across / far - x, down / far - y), 2).astype(np.float32)


def guide_of(flows: Flows, mask: Mask, h: int, w: int) -> Guide:
    """A clip's flows and mask (bool T H W) at the size h, w of its latents, as a batch of one: the flow's pixels shrink with the picture.

    A cell of which any pixel is unknown is unknown.
    """
    length, height, width = mask.shape
    unknown = functional.adaptive_max_pool2d(torch.from_numpy(mask.astype(np.float32))[:, None], (h, w))
    scale = np.array([w / width, h / height], np.float32)
    how = cv2.INTER_AREA if h <= height and w <= width else cv2.INTER_LINEAR

    def small(field: Field) -> Tensor:
        made = np.zeros((length - 1, h, w, 2), np.float32)
        for pair, flow in enumerate(field):
            made[pair] = cv2.resize(flow, (w, h), interpolation=how) * scale
        return torch.from_numpy(made).permute(0, 3, 1, 2)[None].contiguous()

    return Guide(unknown[None], small(flows.there), small(flows.back))


def filled_first(frames: Frames, mask: Mask, flows: Flows) -> Picture:
    """The first frame with its hole filled, uint8 H W 3: by what later frames show where flow leads, else smoothly from its rim."""
    picture, remaining = carried_first(frames, mask, flows)
    return smooth(picture, remaining)


def carried_first(frames: Frames, mask: Mask, flows: Flows) -> tuple[Picture, NDArray[np.bool_]]:
    """Carry what later frames show into the first frame's hole, without a network: the frame, uint8 H W 3, and what no frame fills.

    Each pixel follows the flow until it is seen; its value is taken there once. Raises UsageError for arrays that do not fit together.
    """
    _check(frames, mask)
    if flows.there.shape != (len(mask) - 1, *mask.shape[1:], 2):
        raise UsageError(f"flows are {flows.there.shape}, the mask is {mask.shape}; give the flows of this clip")
    picture, remaining = frames[0].copy(), mask[0].copy()
    rows, columns = np.nonzero(remaining)
    if not rows.size:
        return picture, remaining
    unseen = torch.from_numpy(np.stack([widen(frame) > 0 for frame in mask])).float()
    there, back = (torch.from_numpy(field).permute(0, 3, 1, 2) for field in (flows.there, flows.back))
    path = _follow(unseen, there, back, 0, torch.from_numpy(np.stack((columns, rows), 1)).float())
    found = path.seen.numpy()
    for index in np.unique(path.frame.numpy()[found]):
        here = found & (path.frame.numpy() == index)
        content = torch.from_numpy(frames[index]).permute(2, 0, 1)
        values, _ = _bilinear(content, path.end[torch.from_numpy(here)])
        picture[rows[here], columns[here]] = values.round().clamp(0, 255).to(torch.uint8).numpy()
    remaining[rows[found], columns[found]] = False
    return picture, remaining


def propagated_noise(noise: Tensor, guide: Guide, sampling: Sampling = "nearest") -> Tensor:
    """Noise float T C h w whose holes hold that of later frames, as far as flow can be trusted to lead: unit variance stays so.

    A value is that of the place where its path is seen, or where the path ends. sampling: "nearest" keeps noise white; "bilinear" divides
    by what interpolation takes from the variance, and leaves neighbours alike. `guide` is of one clip. Raises UsageError for another guide.
    """
    guide = guide.fitting(noise[None])
    made, unseen = noise.clone(), guide.mask[0, :, 0]
    for frame in range(len(noise) - 1):
        rows, columns = torch.nonzero(guide.mask[0, frame, 0] > 0, as_tuple=True)
        path = _follow(unseen, guide.there[0], guide.back[0], frame, torch.stack((columns, rows), 1).to(guide.there))
        for index in path.frame.unique().tolist():
            here = path.frame == index
            if sampling == "nearest":
                x, y = (path.end[here] + 0.5).floor().long().unbind(1)  # round() takes halves to even numbers, so each second value twice
                values = noise[index][:, y, x].T
            else:
                mixed, energy = _bilinear(noise[index], path.end[here])
                values = mixed / energy.sqrt()[:, None].to(mixed)
            made[frame][:, rows[here], columns[here]] = values.T
    return made


@dataclass(frozen=True)
class _Path:
    """Where points have come to: the place `end` N 2 (x, y) in the picture, in the frame numbered `frame` N; whether it is `seen` there."""

    end: Tensor
    frame: Tensor
    seen: Tensor


def _follow(unseen: Tensor, there: Tensor, back: Tensor, start: int, points: Tensor) -> _Path:
    """Let points N 2 of frame `start` follow the flow until they are seen, or no flow can be trusted further.

    `unseen` T H W is 1 where a frame shows nothing; flows T-1 2 H W.
    """
    height, width = unseen.shape[1:]
    edge = torch.tensor((width - 1, height - 1), device=points.device, dtype=points.dtype)
    end, frame = points.clone(), torch.full((len(points),), start, device=points.device)
    seen = torch.zeros(len(points), dtype=torch.bool, device=points.device)
    going = torch.arange(len(points), device=points.device)
    for pair in range(start, len(there)):
        if not len(going):
            break
        step, _ = _bilinear(there[pair], end[going])
        places = end[going] + step
        inside = ((places > -0.5) & (places < edge + 0.5)).all(1)
        going, step, places = going[inside], step[inside], torch.minimum(places[inside].clamp(min=0), edge)
        sure = agree(step, _bilinear(back[pair], places)[0])[:, 0]
        going = going[sure]
        end[going], frame[going] = places[sure], pair + 1
        known = _bilinear(unseen[pair + 1, None], end[going])[0][:, 0] == 0
        seen[going] = known
        going = going[~known]
    return _Path(end, frame, seen)


def _bilinear(field: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Sample C H W at points N 2 within it: values N C, float, exact on whole pixels; and the sum of the squared weights, N."""
    height, width = field.shape[1:]
    left, top = (points[:, axis].floor().long().clamp(0, side - 1) for axis, side in enumerate((width, height)))
    across, down = points[:, 0] - left, points[:, 1] - top
    total, energy = torch.zeros(()), torch.zeros(())
    for x, wide in ((left, 1 - across), (left + 1, across)):
        for y, high in ((top, 1 - down), (top + 1, down)):
            weight = wide * high
            value = field[:, y.clamp(max=height - 1), x.clamp(max=width - 1)].T
            total = total + weight[:, None] * value
            energy = energy + weight**2
    return total, energy


def _pairs(frames: Frames, mask: Mask) -> Iterator[tuple[Motion, Picture, Picture]]:
    """Each pair of neighbouring frames with how the camera moves; led across frames of which nothing is known."""
    looks = [look_at(*parts) for parts in zip(frames, mask, strict=True)]
    motions = [register(*parts) for parts in pairwise(looks)]
    pairs = bridge([Pair(motion, np.eye(3), [], []) for motion in motions], looks)
    return ((pair.motion, *parts) for pair, *parts in zip(pairs, frames[:-1], frames[1:], strict=True))


def _unhidden(picture: Picture, other: Picture, hole: NDArray[np.bool_], hole_there: NDArray[np.bool_], camera: Matrix) -> Picture:
    """A picture whose hole shows what the other one shows there, by the camera's motion, and else a smooth fill."""
    if not hole.any():
        return picture
    height, width = hole.shape
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = np.asarray(cv2.warpPerspective(other, camera, (width, height), flags=how), np.uint8)
    hidden = cv2.warpPerspective(hole_there.view(np.uint8) * np.uint8(255), camera, (width, height), flags=how, borderValue=(255,) * 4) > 0
    shown = np.where((hole & ~hidden)[..., None], moved, picture)
    left = hole & hidden
    if not left.any():
        return shown
    fill = np.rint(np.clip(pull_push(shown.astype(np.float32), ~left), 0, 255)).astype(np.uint8)
    return np.where(left[..., None], fill, shown)


def _method(name: FlowName) -> Measure:
    if name not in get_args(FlowName):
        raise UsageError(f"flow {name!r} is not known, expected one of {', '.join(get_args(FlowName))}")
    if name == "dis":
        return _dis
    from framefill.families.fff.weights import load_gmflow, load_raft

    return load_raft() if name == "raft" else load_gmflow()


def _learned(name: Completion) -> FlowCompletion | None:
    if name not in get_args(Completion):
        raise UsageError(f"completion {name!r} is not known, expected one of {', '.join(get_args(Completion))}")
    if name == "laplace":
        return None
    from framefill.families.fff.weights import load_completion

    return load_completion()


@torch.inference_mode()
def _complete(flows: Flows, mask: Mask, scene: slice, net: FlowCompletion) -> None:
    """Let a net complete the flows of a scene in place, under the same widened holes."""
    hidden = np.stack([widen(frame) > 0 for frame in mask[scene.start : scene.stop + 1]])
    there, back = (torch.from_numpy(field[scene]).permute(0, 3, 1, 2)[None] for field in (flows.there, flows.back))
    device = next(net.parameters()).device
    made = net(there.to(device), back.to(device), torch.from_numpy(hidden.astype(np.float32))[None, :, None].to(device))
    for field, flow in zip((flows.there, flows.back), made, strict=True):
        field[scene] = flow[0].permute(0, 2, 3, 1).cpu().numpy()


def _dis(first: Picture, second: Picture) -> Field:
    one, other = (np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8) for picture in (first, second))
    return dis(one, other) if min(one.shape) >= FINE else whole_flow(one, other)


def _check(frames: Frames, mask: Mask) -> None:
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not len(frames):
        raise UsageError(f"frames are {frames.dtype} {frames.shape}, expected uint8 T H W 3 with a frame or more")
    if mask.dtype != np.bool_ or mask.shape != frames.shape[:-1]:
        raise MaskMismatch(f"mask is {mask.dtype} {mask.shape}, frames are {frames.shape}; expected bool {frames.shape[:-1]}")
