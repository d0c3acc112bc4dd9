"""How wrong a fill looks, for training: LPIPS on VGG16 where its weights are here, else a stand-in, which never goes by its name.

LPIPS: Zhang et al., arXiv 1801.03924; the distance at each pixel is averaged over the hole. The stand-in compares features of a small
network of random filters, scaled as there (random filters see texture and edges; Ulyanov et al., Deep image prior, arXiv 1711.10925,
tells why untrained convolutions know pictures); its numbers are of their own kind.
"""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from framefill.errors import UsageError
from framefill.training.light_losses import mean_over
from framefill.weights import store

Kind: TypeAlias = Literal["lpips-vgg", "random-filters"]
WEIGHTS = "lpips-vgg"
LEAST_SIDE = 16  # pixels, of VGG16's pools
WIDTHS = (32, 64, 128)  # channels of the random filters' stages, each at half the size of the one before
SEED = 20180111  # of the random filters, which are the same in every run
EPSILON = 1e-3  # beside the length of a random feature vector, so that flat pictures have no direction


class Eye(Protocol):
    """A perceptual distance: pictures B T 3 H W in [0, 1] and a hole B T 1 H W to B values; `name` says which in logs and metrics."""

    name: Kind

    def __call__(self, made: Tensor, truth: Tensor, hole: Tensor) -> Tensor:
        """Measure the distance within the hole; the truth gets no gradient."""
        ...

    def place(self, device: torch.device) -> None:
        """Move to a device."""
        ...


def open_eye(kind: Kind, size: int) -> Eye:
    """Return a distance by its name, for pictures of `size` pixels a side.

    Raises MissingWeights for LPIPS without its weights, UsageError for pictures that are too small for it.
    """
    if kind == "random-filters":
        return RandomFilters()
    if size < LEAST_SIDE:
        raise UsageError(f"loss.perceptual lpips-vgg needs pictures of {LEAST_SIDE} pixels; data.size is {size}, set random-filters")
    return VggLpips()


class VggLpips:
    """LPIPS on VGG16, its maps averaged over the hole."""

    name: Kind = "lpips-vgg"

    def __init__(self) -> None:
        store.find(WEIGHTS)
        self._device = torch.device("cpu")

    def place(self, device: torch.device) -> None:
        """Choose the device on which the first call finds the network."""
        self._device = device

    def __call__(self, made: Tensor, truth: Tensor, hole: Tensor) -> Tensor:
        """Measure B clips; every frame is a picture."""
        from framefill.evaluation.features.load import lpips
        from framefill.evaluation.features.lpips import map_of

        pictures, wanted = (clip.flatten(0, 1) * 2 - 1 for clip in (made, truth))
        found = map_of(lpips("vgg", self._device).differences(pictures, wanted), *made.shape[-2:])
        return mean_over(found.unflatten(0, made.shape[:2]).unsqueeze(2), hole)


class RandomFilters:
    """The stand-in: three stages of fixed random 3 x 3 filters, compared as LPIPS compares features, every channel alike."""

    name: Kind = "random-filters"

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(SEED)
        self._filters = []
        for before, after in zip((3, *WIDTHS), WIDTHS, strict=False):
            filters = torch.empty(after, before, 3, 3)
            nn.init.kaiming_normal_(filters, generator=generator)
            self._filters.append(filters)

    def place(self, device: torch.device) -> None:
        """Move the filters."""
        self._filters = [filters.to(device) for filters in self._filters]

    def __call__(self, made: Tensor, truth: Tensor, hole: Tensor) -> Tensor:
        """Measure B clips; every frame is a picture."""
        with torch.no_grad():
            wanted = self._features(truth.flatten(0, 1))
        total = torch.zeros(len(made), device=made.device)
        for one, other in zip(self._features(made.flatten(0, 1)), wanted, strict=True):
            here = functional.adaptive_max_pool2d(hole.flatten(0, 1), one.shape[-2:])
            far = (one - other).square().sum(1, keepdim=True)
            total = total + mean_over(far.unflatten(0, made.shape[:2]), here.unflatten(0, made.shape[:2]))
        return total

    def _features(self, pictures: Tensor) -> list[Tensor]:
        x, found = pictures * 2 - 1, []
        for stage, filters in enumerate(self._filters):
            x = functional.relu(functional.conv2d(functional.avg_pool2d(x, 2, ceil_mode=True) if stage else x, filters, padding=1))
            found.append(x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + EPSILON))
        return found
