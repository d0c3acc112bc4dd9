"""A run of the small family as a program of its own, for the tests that kill it or start it twice.

Folder, samples, seconds a step; then, where weights are to be split between processes, fsdp.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from training_kit import held_out, make_config, make_loader, make_objective

from framefill.training.config import ComputeConfig
from framefill.training.dataflow import Batch, Share
from framefill.training.trainer import Trainer


class Slow:
    """A loader that waits before each batch, so that a kill comes between two steps."""

    def __init__(self, seconds: float) -> None:
        self._loader = make_loader()
        self._seconds = seconds

    def batches(self, share: Share) -> Iterator[Batch]:
        for batch in self._loader.batches(share):
            time.sleep(self._seconds)
            yield batch


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, samples, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    config, objective, clips = make_config(folder, samples, save_every=8), make_objective(per_frame=0.5), []
    if sys.argv[4:] == ["fsdp"]:
        config = replace(config, compute=ComputeConfig(parallel="fsdp", device="cpu"), log=replace(config.log, validate_every=8))
        objective.net._no_split_modules = ["Linear"]
        clips = held_out(1)  # three tasks of one clip, for two processes
    Trainer(config, objective, Slow(seconds), clips).fit()
