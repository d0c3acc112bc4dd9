"""Where a trained net runs, in which numbers, and what it is called."""

from __future__ import annotations

from pathlib import Path

import torch

from framefill.errors import UsageError
from framefill.families.trained import Sampling

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def placement(sampling: Sampling) -> tuple[torch.device, torch.dtype]:
    """The device and the number format that `sampling` asks for. Raises UsageError for those that this machine has not."""
    gpu = torch.cuda.is_available()
    if sampling.device == "cuda" and not gpu:
        raise UsageError("--device cuda: torch sees no GPU on this machine; leave it out, or install a torch for it")
    device = torch.device("cuda" if gpu and sampling.device != "cpu" else "cpu")
    if sampling.dtype == "auto":
        return device, DTYPES["bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"]
    if sampling.dtype == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise UsageError("--dtype bf16: this GPU has no such numbers; give fp16 or fp32")
    return device, DTYPES[sampling.dtype]


def name_of(folder: Path) -> str:
    """What the pipeline in a folder is called: after the folder, or after the training run in whose `model` it lies."""
    folder = folder.resolve()
    return folder.parent.name if folder.name == "model" else folder.name
