"""From a package's weights file to the state dict of our own module."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

from framefill.errors import WeightsError
from framefill.weights.registry import Weights
from framefill.weights.unpickle import Tree, read_arrays

if TYPE_CHECKING:
    from torch import Tensor

    Layout = Callable[[Tree | Mapping[str, Tensor]], dict[str, Tensor]]


def state_dict(row: Weights, data: bytes) -> dict[str, Tensor]:
    """Return the tensors of `row`, named and shaped for our own module, from the bytes of its original file.

    Raises WeightsError when the file holds anything but arrays.
    """
    module, _, function = row.layout.partition(":")
    layout = cast("Layout", getattr(importlib.import_module(module), function))
    return layout(read_arrays(data) if row.pickle == "numpy" else read_torch(data))


def read_torch(data: bytes) -> Mapping[str, Tensor]:
    """Return what torch.save wrote; its restricted unpickler makes tensors and containers only.

    Raises WeightsError for anything but a dict of tensors.
    """
    import pickle

    import torch

    try:
        tree = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        # torch's own text is about how to load it all the same, which would run it.
        raise WeightsError("no torch file, or one that holds more than tensors") from error
    if not isinstance(tree, Mapping):
        raise WeightsError(f"the torch file holds a {type(tree).__name__}, expected a dict of tensors")
    return tree
