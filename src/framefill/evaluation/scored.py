"""A result beside its case: what several metrics need of both, computed once."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from framefill.evaluation import networks
from framefill.evaluation.metrics.editing import Agreement, motion_agreement
from framefill.evaluation.metrics.flow import FlowMethod, Motion, motion_of
from framefill.evaluation.metrics.regions import Name, region
from framefill.evaluation.protocols.base import Case
from framefill.evaluation.results import Result
from framefill.media.video import Frames

if TYPE_CHECKING:
    from framefill.evaluation.features.lpips import Perceptual

Features = NDArray[np.float32]


class Reference:
    """A case with the flow, features and regions that are the same for every model."""

    def __init__(self, case: Case, flow: str) -> None:
        self.case = case
        self._flow = flow
        self._where: dict[str, NDArray[np.bool_] | None] = {}

    @cached_property
    def flow(self) -> FlowMethod:
        """The protocol's optical flow, (a, b) -> H W 2 pixels (x, y) from a to b."""
        return networks.flow_method(self._flow)

    @cached_property
    def motion(self) -> Motion:
        """The reference clip's motion, and what of it is visible from frame to frame."""
        return motion_of(self.case.reference, self.flow)

    @cached_property
    def hole(self) -> NDArray[np.bool_]:
        """The mask, in one piece of memory."""
        return np.ascontiguousarray(self.case.mask)

    def where(self, name: Name) -> NDArray[np.bool_] | None:
        """The region of a name, None for the whole frame."""
        if name not in self._where:
            self._where[name] = self.hole if name == "hole" else region(self.hole, name)
        return self._where[name]

    @cached_property
    def frame_features(self) -> Features:
        """MobileNetV2 features of the reference clip's frames, T D."""
        return networks.picture_features(self.case.reference)

    def clip_features(self, frames: Frames, kind: str) -> Features:
        """I3D features D of a clip of this case: the truth or a result."""
        taken = frames[self.hole.all(axis=(1, 2))] if kind == "made-logits" else frames
        features: Features = networks.clip_features([taken], kind)[0]
        return features


class Scored:
    """One model's result of a case; `frames` uint8 T H W 3 are what is measured, `result` what the model gave."""

    def __init__(self, reference: Reference, frames: Frames, result: Result) -> None:
        self.reference = reference
        self.case = reference.case
        self.frames = frames
        self.result = result
        self._perceptual: dict[tuple[str, int], Perceptual] = {}

    @cached_property
    def frame_features(self) -> Features:
        """MobileNetV2 features of the result's frames, T D."""
        return networks.picture_features(self.frames)

    def perceptual(self, backbone: str, other: Frames) -> Perceptual:
        """LPIPS of the result's frames and those of `other`, one of the case's clips."""
        key = backbone, id(other)
        if key not in self._perceptual:
            self._perceptual[key] = networks.perceptual_distance(backbone, self.frames, other)
        return self._perceptual[key]

    @cached_property
    def motion_agreement(self) -> Agreement | None:
        """How the result moves against the reference clip; None for a single frame."""
        if len(self.frames) < 2:
            return None
        return motion_agreement(self.case.reference, self.frames, flow=self.reference.flow)
