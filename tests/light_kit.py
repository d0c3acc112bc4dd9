"""A light net of a few thousand weights, none of them zero: what it makes is noise, and it must keep every promise all the same."""

from __future__ import annotations

import torch

from framefill.families.light import LightPipeline
from framefill.media.tasks import TASKS
from framefill.nets.light import Light


def small_net(seed: int = 0, window: int = 4) -> Light:
    """A net with random weights."""
    torch.manual_seed(seed)
    net = Light(channels=(8, 8, 12), blocks=1, layers=2, num_heads=2, window=window).eval()
    with torch.no_grad():
        for weight in net.parameters():
            weight.copy_(0.2 * torch.randn_like(weight))
    return net


def small_pipeline(seed: int = 0, window: int = 6) -> LightPipeline:
    """A pipeline around it, said to be trained on every task."""
    return LightPipeline(small_net(seed), list(TASKS), window=window, size=64)
