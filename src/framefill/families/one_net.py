"""What pipelines of a single net have in common: the tasks that it was trained on, how they are saved, where the net runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Generic, Self, TypeVar

import numpy as np
import torch
from diffusers.models.modeling_utils import ModelMixin
from numpy.typing import NDArray
from torch import nn

from framefill.errors import MaskMismatch, UsageError
from framefill.families.saved import index_of, write_index
from framefill.media.tasks import TASKS
from framefill.nets.saved import load_net

Net = TypeVar("Net", bound=ModelMixin)


class OneNet(Generic[Net]):
    """A net and what it was trained on: `tasks`, names from media.tasks.

    A family says which class `NET` is, and which of its constructor's arguments are `SAVED` beside the net, as attributes of their names.
    Raises UsageError for a task that does not exist.
    """

    NET: ClassVar[type[ModelMixin]]
    SAVED: ClassVar[tuple[str, ...]] = ("tasks",)

    def __init__(self, net: Net, tasks: Sequence[str]) -> None:
        if unknown := sorted(set(tasks) - set(TASKS)):
            raise UsageError(f"unknown task {unknown[0]!r}; there are {', '.join(TASKS)}")
        self.net = net
        self.tasks = tuple(tasks)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Read a pipeline that `save_pretrained` or `framefill convert` wrote; the net is ready for inference.

        Raises WeightsError for a folder that holds none, or a net whose weights are not all there.
        """
        folder = Path(folder)
        with index_of(folder, cls.__name__) as index:
            return cls(load_net(cls.NET, folder / "net").eval(), **{name: index[name] for name in cls.SAVED})

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Write the folder that `from_pretrained` reads: model_index.json and net/."""
        folder = Path(save_directory)
        self.net.save_pretrained(folder / "net", safe_serialization=True)
        told: dict[str, object] = {name: getattr(self, name) for name in self.SAVED}
        write_index(folder, type(self).__name__, {"net": [self.NET.__module__, self.NET.__name__]} | told)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Self:
        """Move the net, and cast it; returns itself."""
        nn.Module.to(self.net, device, dtype)  # that of diffusers warns of modules to be kept in float32, of which there are none
        return self


def check_clip(video: NDArray[np.uint8], mask: NDArray[np.bool_]) -> None:
    """Raise UsageError for a video that is not uint8 T H W 3, MaskMismatch for a mask that is not bool T H W of its size."""
    if video.dtype != np.uint8 or video.ndim != 4 or video.shape[-1] != 3:
        raise UsageError(f"video is {video.dtype} {video.shape}, expected uint8 T H W 3")
    if mask.dtype != np.bool_ or mask.shape != video.shape[:-1]:
        raise MaskMismatch(f"mask is {mask.dtype} {mask.shape}, video is {video.shape}; expected bool {video.shape[:-1]}")
