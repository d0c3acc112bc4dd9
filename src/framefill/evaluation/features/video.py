"""From clips to I3D's features, with the habits of the literature by name: what is resized how, and which range goes in.

| recipe       | resize                                  | range in | used by                          |
|--------------|-----------------------------------------|----------|----------------------------------|
| `fvd`        | shorter side to 224, centre crop        | [-1, 1]  | VideoGPT's FVD and its users     |
| `stylegan-v` | straight to 224x224, whatever the shape | [-1, 1]  | StyleGAN-V's FVD, Latte          |
| `vfid`       | none                                    | [0, 1]   | VFID of STTN, E2FGVI, ProPainter |

All resizing is bilinear without antialiasing, sample centres as in `align_corners=False`. For square clips `fvd` and `stylegan-v` agree.
FVD compares the logits, VFID the pooled features; any recipe goes with either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from framefill.errors import UsageError
from framefill.evaluation.features import cache, load
from framefill.evaluation.features.frames import Pictures, Range, to_unit
from framefill.evaluation.features.i3d import I3D, LEAST_FRAMES
from framefill.evaluation.features.inference import inference

Recipe = Literal["fvd", "stylegan-v", "vfid"]
Kind = Literal["logits", "pooled"]  # 400 values or 1,024
SIDE = 224  # pixels, the size that I3D was trained with
BATCH = 4  # clips; on two CPU cores a batch of 4 takes a quarter less CPU time a clip than single clips do, and 8 no less than 4
_BATCH_SAMPLES = BATCH * 16 * SIDE * SIDE  # frames x pixels of a batch: of longer or larger clips fewer go together


class _Prepared(NamedTuple):
    key: str
    video: Tensor  # 3 t h w


def features_of(
    clips: Iterable[Pictures],
    recipe: Recipe = "fvd",
    kind: Kind = "logits",
    *,
    declared: Range = "0..255",
    device: load.Device = "auto",
    cached: bool = True,
) -> NDArray[np.float32]:
    """Compute I3D's features of clips T H W 3, N 400 (logits) or N 1024 (pooled), in the clips' order.

    `clips` is read a batch at a time, so it may be a generator over a set that does not fit into memory. Floats are of the range
    `declared`. With `cached` no clip is computed that any earlier run has computed; clips of equal content are computed once in any case.
    Raises UsageError (the clips, their range), MissingWeights, WeightsError.
    """
    net = load.i3d(device)
    made_by = ("i3d", load.digest("i3d"), recipe, kind, declared, load.chosen_device(device).type)
    order: list[str] = []
    found: dict[str, NDArray[np.float32]] = {}

    def missing() -> Iterator[_Prepared]:
        """Give the clips that must be computed, and note the order of all."""
        asked: set[str] = set()
        for clip in clips:
            key = cache.key_of(_array(clip), *made_by)
            order.append(key)
            if key in asked:
                continue
            asked.add(key)
            kept = cache.read(key) if cached else None
            if kept is None:
                yield _Prepared(key, prepare(clip, recipe, kind, declared))
            else:
                found[key] = kept

    for batch in _batches(missing()):
        rows = extract(net, torch.stack([clip.video for clip in batch]), kind)
        for clip, row in zip(batch, rows, strict=True):
            found[clip.key] = row
            if cached:
                cache.keep(clip.key, row)
    if not order:
        raise UsageError("no clips were given; features need at least one")
    return np.stack([found[key] for key in order])


def prepare(clip: Pictures, recipe: Recipe, kind: Kind = "logits", declared: Range = "0..255") -> Tensor:
    """Turn a clip T H W 3 into I3D's input 3 T h w as `recipe` wants it.

    Raises UsageError for a clip that cannot be of the range `declared`, and for fewer than 10 frames where the logits are wanted.
    """
    if kind == "logits" and len(clip) < LEAST_FRAMES:
        raise UsageError(f"the clip has {len(clip)} frames; I3D's logits need at least {LEAST_FRAMES}: take longer clips")
    unit = to_unit(clip, declared)  # t c h w
    if recipe == "vfid":
        return unit.transpose(0, 1)
    return (resized(unit, recipe) * 2 - 1).transpose(0, 1)


def resized(frames: Tensor, recipe: Literal["fvd", "stylegan-v"]) -> Tensor:
    """Resize frames T 3 H W to T 3 224 224 as the recipe does; frames of that size stay as they are."""
    height, width = frames.shape[2:]
    if recipe == "fvd":
        shorter = min(height, width)
        size = (-(-height * SIDE // shorter), -(-width * SIDE // shorter))  # the longer side rounded up
    else:
        size = (SIDE, SIDE)
    if (height, width) != size:
        frames = functional.interpolate(frames, size, mode="bilinear", align_corners=False)
    top, left = ((length - SIDE) // 2 for length in size)
    return frames[..., top : top + SIDE, left : left + SIDE]


@inference()
def extract(net: I3D, video: Tensor, kind: Kind) -> NDArray[np.float32]:
    """Put a batch of prepared clips B 3 t h w through the network: B 400 or B 1024. Raises UsageError where nothing is left for logits."""
    place = net.head.weight.device
    batch = video.to(place, memory_format=torch.channels_last_3d)  # on the CPU a tenth to a third faster than the usual order
    features = net(batch).logits if kind == "logits" else net.pooled(batch)
    rows: NDArray[np.float32] = features.float().cpu().numpy()
    return rows


def _batches(clips: Iterable[_Prepared]) -> Iterator[list[_Prepared]]:
    """Put clips of one shape that follow one another together, as many as memory should hold."""
    batch: list[_Prepared] = []
    for clip in clips:
        samples = clip.video[0].numel()
        if batch and (clip.video.shape != batch[0].video.shape or (len(batch) + 1) * samples > _BATCH_SAMPLES):
            yield batch
            batch = []
        batch.append(clip)
    if batch:
        yield batch


def _array(clip: Pictures) -> NDArray[np.generic]:
    return clip.detach().cpu().numpy() if isinstance(clip, Tensor) else clip
