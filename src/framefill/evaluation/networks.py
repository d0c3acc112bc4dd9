"""The networks that metrics look through, each loaded when the first metric asks for it: flow, LPIPS, MobileNetV2, I3D."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError
from framefill.evaluation.metrics.flow import FlowMethod, dis
from framefill.media.video import Frames

if TYPE_CHECKING:
    from framefill.evaluation.features.lpips import Perceptual

Features = NDArray[np.float32]
WEIGHTS_OF_FLOWS = {"dis": (), "gmflow": ("gmflow",)}
WEIGHTS_OF_MODELS = {"rife": ("rife",)}
# What is taken of a clip for a set metric: the resize recipe and the output of I3D, of the whole clip or of the hidden frames alone.
CLIP_FEATURES: dict[str, tuple[Literal["stylegan-v", "vfid"], Literal["logits", "pooled"]]] = {
    "vfid-pooled": ("vfid", "pooled"),
    "fvd-logits": ("stylegan-v", "logits"),
    "made-logits": ("stylegan-v", "logits"),
}


def flow_method(name: str) -> FlowMethod:
    """Return an optical flow by name: `dis` (OpenCV) or `gmflow` (a network). Raises UsageError, MissingWeights."""
    if name == "dis":
        return dis
    if name == "gmflow":
        from framefill.nets.gmflow import FlowBetween, Gmflow
        from framefill.weights import store

        net = Gmflow()
        net.load_state_dict(store.load("gmflow"))
        return FlowBetween(net)
    raise UsageError(f"no flow is called {name!r}; there are {', '.join(WEIGHTS_OF_FLOWS)}")


def picture_features(frames: Frames) -> Features:
    """MobileNetV2 features T 1280 of frames uint8 T H W 3."""
    from framefill.evaluation.features import load
    from framefill.evaluation.features.mobilenet import frame_features

    return frame_features(load.mobilenetv2(), frames)


def perceptual_distance(backbone: str, first: Frames, second: Frames) -> Perceptual:
    """LPIPS on a backbone (`alex`, `vgg`) of T pairs of frames: the published value of each, and its map."""
    from framefill.evaluation.features import load
    from framefill.evaluation.features.lpips import perceptual

    return perceptual(load.lpips("vgg" if backbone == "vgg" else "alex"), first, second)


def perceptual_map(first: NDArray[np.generic], second: NDArray[np.generic]) -> NDArray[np.float32]:
    """LPIPS (AlexNet) maps of T pairs of frames uint8."""
    maps: NDArray[np.float32] = perceptual_distance("alex", np.asarray(first, np.uint8), np.asarray(second, np.uint8)).map
    return maps


def clip_features(clips: Sequence[Frames], kind: str) -> Features:
    """I3D features N D of clips uint8 T H W 3, read from the cache where a clip has been seen before; `kind` as in `CLIP_FEATURES`."""
    from framefill.evaluation.features.video import features_of

    recipe, output = CLIP_FEATURES[kind]
    return features_of(clips, recipe, output)
