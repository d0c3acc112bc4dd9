"""Feature networks with their weights, by name; each is loaded once and kept."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeAlias

import torch

from framefill.errors import UsageError
from framefill.evaluation.features.i3d import I3D
from framefill.evaluation.features.lpips import Backbone, Lpips
from framefill.evaluation.features.mobilenet import MobileNetV2
from framefill.weights import store

Net = Literal["i3d", "lpips-alex", "lpips-vgg", "mobilenetv2"]  # the names of their weights
Device: TypeAlias = str | torch.device


def i3d(device: Device = "auto") -> I3D:
    """Return I3D with its Kinetics-400 weights, for inference. Raises MissingWeights, WeightsError, UsageError (the device)."""
    return _i3d(store.find("i3d"), chosen_device(device))


def lpips(backbone: Backbone = "alex", device: Device = "auto") -> Lpips:
    """Return LPIPS 0.1 on AlexNet or VGG16 with its weights. Raises MissingWeights, WeightsError, UsageError (the device)."""
    return _lpips(store.find(f"lpips-{backbone}"), backbone, chosen_device(device))


def mobilenetv2(device: Device = "auto") -> MobileNetV2:
    """Return MobileNetV2 with its ImageNet weights. Raises MissingWeights, WeightsError, UsageError (the device)."""
    return _mobilenetv2(store.find("mobilenetv2"), chosen_device(device))


def digest(name: Net) -> str:
    """Return the sha256 of the cached weights called `name`, for reports and keys; raises MissingWeights, WeightsError."""
    path = store.find(name)
    return _digest((path, path.stat().st_mtime_ns))


def chosen_device(device: Device = "auto") -> torch.device:
    """Return the device asked for; "auto" is an NVIDIA or AMD card where torch finds one, else the CPU.

    Raises UsageError for a device that is not here.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise UsageError(f"device {str(device)!r} is not here; give auto or cpu") from error
    return chosen


# The path is a part of each key: another FRAMEFILL_HOME may hold another file.


@lru_cache(maxsize=2)
def _i3d(path: Path, device: torch.device) -> I3D:
    net = I3D()
    net.load_state_dict(store.load(path.stem))
    return net.to(device, memory_format=torch.channels_last_3d)


@lru_cache(maxsize=4)
def _lpips(path: Path, backbone: Backbone, device: torch.device) -> Lpips:
    net = Lpips(backbone)
    net.load_state_dict(store.load(path.stem))
    return net.to(device)


@lru_cache(maxsize=2)
def _mobilenetv2(path: Path, device: torch.device) -> MobileNetV2:
    net = MobileNetV2()
    net.load_state_dict(store.load(path.stem))
    return net.to(device)


@lru_cache(maxsize=16)
def _digest(version: tuple[Path, int]) -> str:
    """Hash a file; the time of its last change is a part of the key, because `weights get --force` may replace it."""
    return store.sha256_of(version[0])
