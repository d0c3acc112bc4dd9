"""Random numbers from generators alone, the same on every device, and one generator a sample where a batch must equal its singles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from framefill.errors import UsageError

# One generator draws for the whole batch, in one piece: what a sample gets then depends on the batch around it. With a sequence, one a
# sample, each sample gets what it would get alone.
Generators: TypeAlias = torch.Generator | Sequence[torch.Generator]


def normal(shape: Sequence[int], generator: Generators, device: torch.device | str = "cpu") -> Tensor:
    """Standard normal numbers, float32, of `shape` (B first), drawn where the generator lives and then moved to `device`.

    Raises UsageError for a sequence of generators that is not one a sample.
    """
    return _drawn(torch.randn, shape, generator, device)


def uniform(shape: Sequence[int], generator: Generators, device: torch.device | str = "cpu") -> Tensor:
    """Numbers float32 in [0, 1) of `shape` (B first), drawn where the generator lives and then moved to `device`.

    Raises UsageError for a sequence of generators that is not one a sample.
    """
    return _drawn(torch.rand, shape, generator, device)


def _drawn(draw: Callable[..., Tensor], shape: Sequence[int], generator: Generators, device: torch.device | str) -> Tensor:
    if isinstance(generator, torch.Generator):
        return draw(tuple(shape), generator=generator, device=generator.device).to(device)
    if len(generator) != shape[0]:
        raise UsageError(f"{len(generator)} generators came for a batch of {shape[0]}; pass one generator, or one a sample")
    return torch.stack([draw(tuple(shape[1:]), generator=one, device=one.device).to(device) for one in generator])
