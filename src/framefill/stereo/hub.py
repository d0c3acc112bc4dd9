"""Depth networks of Hugging Face's transformers: Depth Anything 1 and 2, ZoeDepth, DPT, GLPN and Depth Pro.

Only what is on this machine is used: a folder with `config.json` and safetensors, or a repository that was fetched before. What a family
gives (disparity or distance) stands in one table; how a picture goes in is read from the `preprocessor_config.json` beside the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.errors import MissingWeights, UsageError, WeightsError
from framefill.stereo.depth import Depth, Frames, Reading, check_frames, file_safe, reading

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
PADDING = 3.0  # of ZoeDepth: the rim that is mirrored around a picture is this times the root of half its side
INVERSE_LEAST, INVERSE_MOST = 1e-4, 1e4  # of Depth Pro: 1 / distance beyond these means nothing


@dataclass(frozen=True)
class Entry:
    """How a family takes a picture: `size` (height, width) or None for the picture's own; sides in multiples of `multiple`.

    keeps_shape: one scale for both sides, by the one that changes the picture less. rounds_down: to a multiple, else to the nearest.
    padded: mirrored around first. asked: what a resolution that is asked for leads to: the picture's shape, a square, or a refusal.
    colours: mean and deviation, of 0..1.
    """

    size: tuple[int, int] | None
    multiple: int
    keeps_shape: bool = False
    rounds_down: bool = False
    padded: bool = False
    asked: Literal["shape", "square", "never"] = "shape"
    colours: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET


@dataclass(frozen=True)
class Family:
    """One row of the table: what the network's numbers mean, and how it takes a picture where no file tells otherwise."""

    means: Reading
    entry: Entry


DISPARITY, DISTANCE = Reading(larger_is_nearer=True, is_metric=False), Reading(larger_is_nearer=False, is_metric=True)
FAMILIES = {
    "depth_anything": Family(DISPARITY, Entry((518, 518), 14, keeps_shape=True)),
    "depth_anything, metric": Family(DISTANCE, Entry((518, 518), 14, keeps_shape=True)),
    "zoedepth": Family(DISTANCE, Entry((384, 512), 32, keeps_shape=True, padded=True, colours=HALF)),
    "dpt": Family(DISPARITY, Entry((384, 384), 16, asked="square", colours=HALF)),
    "dpt, backbone": Family(DISPARITY, Entry((384, 384), 32, colours=HALF)),
    "dpt, dinov2": Family(DISTANCE, Entry((384, 384), 14, keeps_shape=True)),
    "glpn": Family(DISTANCE, Entry(None, 32, rounds_down=True, colours=((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))),
    "depth_pro": Family(DISPARITY, Entry((1536, 1536), 1, asked="never", colours=HALF)),
}


class HubDepth:
    """The network `source`, a folder or the name of a repository; `options` as `depth.reading` takes them, over the table.

    resolution: shorter side at which pictures are looked at. device: of torch. Raises MissingWeights for what is not on this machine,
    WeightsError for what cannot be read or is of another family, UsageError, ModuleNotFoundError without torch or transformers.
    """

    def __init__(self, source: str, options: dict[str, str], resolution: int | None = None, device: str = "cpu") -> None:
        config = _configuration(source)
        row = family_of(config)
        if row is None:
            known = "Depth Anything, ZoeDepth, DPT, GLPN and Depth Pro"
            raise WeightsError(f"{source} is a {config.model_type!r} network; expected one for depth of the families {known}")
        family = FAMILIES[row]
        self.means = reading(options, family.means)
        self.is_metric = self.means.is_metric
        self.name = file_safe(f"hf-{Path(source).name if Path(source).is_dir() else source}")
        self._entry = entry_of(_preprocessor(source), family.entry)
        if resolution is not None and self._entry.asked == "never":
            raise UsageError(f"{source} sees pictures of one size and of no other; leave out the depth resolution of {resolution}")
        self._shorter = resolution
        self._inverse = row == "depth_pro"
        self._device = _device(device)
        self._net = _network(source, config).to(self._device).eval()

    def infer(self, frames: Frames) -> Depth:
        """Give T h w at the network's own size."""
        check_frames(frames)
        return self.means.raw(np.stack([self._ask(frame) for frame in frames]))

    def reset(self) -> None:
        """Each frame is asked for by itself."""

    def _ask(self, frame: NDArray[np.uint8]) -> Depth:
        import torch

        picture = prepared(frame, self._entry, self._shorter)
        with torch.inference_mode():
            answer = self._net(torch.from_numpy(picture)[None].to(self._device)).predicted_depth
        depth = np.asarray(answer[0].to("cpu", torch.float32).numpy(), np.float32)
        if self._inverse:
            return np.clip(depth, INVERSE_LEAST, INVERSE_MOST)
        return _unpadded(depth, frame.shape[0], frame.shape[1]) if self._entry.padded else depth


def family_of(config: PreTrainedConfig) -> str | None:
    """Name the row of `FAMILIES` for a network's configuration; None for a family that is not among them.

    A DPT without a backbone of its own takes squares alone (its patches are counted so). One on DINOv2 was trained on distances (Oquab et
    al., DINOv2, 2023, section 7.4), every other DPT on disparity (Ranftl et al., 2021).
    """
    kind = str(config.model_type)
    if kind == "depth_anything" and config.depth_estimation_type == "metric":
        return "depth_anything, metric"
    if kind == "dpt" and config.backbone_config is not None and not config.is_hybrid:
        return "dpt, dinov2" if config.backbone_config.model_type == "dinov2" else "dpt, backbone"
    return kind if kind in FAMILIES else None


def entry_of(told: Mapping[str, object], usual: Entry) -> Entry:
    """Read what a `preprocessor_config.json` says over what a family usually does. Raises WeightsError for what it cannot mean."""
    told = {key: value for key, value in told.items() if value is not None}
    size, multiple = usual.size, told.get("ensure_multiple_of", told.get("size_divisor", 1))
    given = told.get("size")
    if usual.size is not None and isinstance(given, int):
        size = (given, given)
    elif usual.size is not None and isinstance(given, Mapping) and {"height", "width"} <= set(given):
        size = (int(given["height"]), int(given["width"]))
    mean, deviation = told.get("image_mean", usual.colours[0]), told.get("image_std", usual.colours[1])
    if not (isinstance(multiple, int) and isinstance(mean, list | tuple) and isinstance(deviation, list | tuple)):
        raise WeightsError("preprocessor_config.json beside the network holds no numbers for its size or colours; fetch it again")
    normalised = told.get("do_normalize", usual.colours != FAMILIES["glpn"].entry.colours)
    return replace(
        usual,
        size=size if told.get("do_resize", True) else None,
        multiple=multiple if multiple > 1 else usual.multiple,
        keeps_shape=bool(told.get("keep_aspect_ratio", usual.keeps_shape)),
        padded=bool(told.get("do_pad", usual.padded)) and usual.padded,
        colours=(tuple(mean), tuple(deviation)) if normalised else FAMILIES["glpn"].entry.colours,
    )


def prepared(frame: NDArray[np.uint8], entry: Entry, shorter: int | None = None) -> NDArray[np.float32]:
    """A frame uint8 H W 3 as a network takes it, float32 3 h w. shorter: the shorter side, None for what the entry says."""
    if entry.padded:
        down, across = _padding(frame.shape[0]), _padding(frame.shape[1])
        frame = np.asarray(cv2.copyMakeBorder(frame, down, down, across, across, cv2.BORDER_REFLECT_101), np.uint8)
    height, width = frame.shape[:2]
    tall, wide = _target(height, width, entry, shorter)
    shrinks = tall * wide < height * width
    small = cv2.resize(frame, (wide, tall), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    mean, deviation = (np.array(each, np.float32) for each in entry.colours)
    return np.ascontiguousarray(((small.astype(np.float32) / np.float32(255) - mean) / deviation).transpose(2, 0, 1))


def _target(height: int, width: int, entry: Entry, shorter: int | None) -> tuple[int, int]:
    if shorter is not None:
        by_height = by_width = shorter / min(height, width)
        if entry.asked == "square":
            by_height, by_width = shorter / height, shorter / width
    elif entry.size is None:
        by_height = by_width = 1.0
    else:
        by_height, by_width = entry.size[0] / height, entry.size[1] / width
        if entry.keeps_shape:
            by_height = by_width = min(by_height, by_width, key=lambda scale: abs(1 - scale))

    def whole(side: float) -> int:
        steps = int(side / entry.multiple) if entry.rounds_down else round(side / entry.multiple)
        return max(1, steps) * entry.multiple

    return whole(height * by_height), whole(width * by_width)


def _padding(side: int) -> int:
    return int(np.sqrt(side / 2) * PADDING)


def _unpadded(depth: Depth, height: int, width: int) -> Depth:
    """Cut off the mirrored rim of a frame of height x width, at the size of the answer."""
    down, across = (
        round(_padding(side) / (side + 2 * _padding(side)) * answer) for side, answer in zip((height, width), depth.shape, strict=True)
    )
    return depth[down : depth.shape[0] - down, across : depth.shape[1] - across]


def _configuration(source: str) -> PreTrainedConfig:
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    _quiet()
    try:
        return AutoConfig.from_pretrained(source, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, StrictDataclassError) as error:
        if Path(source).is_dir():
            raise WeightsError(f"{source} holds no config.json that transformers can read: {_first_line(error)}") from error
        advice = f"fetch it with 'hf download {source}'" if source.count("/") == 1 else "give OWNER/NAME or the folder with its config.json"
        raise MissingWeights(f"the depth network {source} is not on this machine; {advice}") from error


def _preprocessor(source: str) -> Mapping[str, object]:
    """What lies beside the weights about pictures; nothing where nothing does."""
    from transformers.image_processing_base import ImageProcessingMixin

    try:
        told: Mapping[str, object] = ImageProcessingMixin.get_image_processor_dict(source, local_files_only=True)[0]
    except OSError:
        return {}
    return told


def _network(source: str, config: PreTrainedConfig) -> PreTrainedModel:
    from safetensors import SafetensorError
    from transformers import AutoModelForDepthEstimation

    try:
        net, loaded = AutoModelForDepthEstimation.from_pretrained(
            source, config=config, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise WeightsError(f"{source} holds no weights in safetensors that can be loaded: {_first_line(error)}") from error
    if missing := sorted(loaded["missing_keys"]):
        raise WeightsError(f"{source} lacks {len(missing)} of its network's tensors, {missing[0]} among them; fetch it again")
    return net


def _device(device: str) -> torch.device:
    import torch

    try:
        chosen = torch.device("cuda" if device == "auto" and torch.cuda.is_available() else "cpu" if device == "auto" else device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {device!r} cannot be used: {_first_line(error)}; expected cpu, cuda or auto") from error
    return chosen


def _quiet() -> None:
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:200]
