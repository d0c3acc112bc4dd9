"""One process of a run of the tiny pipeline, for the test that starts two: writes what it saw and what it ended with.

Folder, and fsdp where weights are to be split; the rest is in the environment, as torch's launcher sets it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from fff_training_kit import make_config, make_loader, make_objective
from torch.distributed.tensor import DTensor

from framefill.training.dataflow import Batch, Share
from framefill.training.trainer import Trainer


class Noted:
    """A loader that notes what it hands out."""

    def __init__(self) -> None:
        self._loader = make_loader()
        self.seen: list[dict[str, object]] = []

    def batches(self, share: Share) -> Iterator[Batch]:
        for batch in self._loader.batches(share):
            self.seen.append({"position": batch["position"].tolist(), "clip": batch["index"].tolist(), "hidden": int(batch["mask"].sum())})
            yield batch


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, loader, objective = Path(sys.argv[1]), Noted(), make_objective()
    config = make_config(folder, 4)
    if sys.argv[2:] == ["fsdp"]:
        config = replace(config, compute=replace(config.compute, parallel="fsdp"))
    Trainer(config, objective, loader).fit()
    positions = [position for batch in loader.seen for position in batch["position"]][:2]
    noise, sigma = objective.drawn(positions, torch.zeros(2, 1, 4, 4, 4))
    own = {name: p.detach() for name, p in objective.named_parameters() if not isinstance(p, DTensor)}  # the group is gone by now
    weights = {name: float(p.double().sum()) for name, p in own.items()}
    told = {"seen": loader.seen[:2], "noise": noise[:, 0, 0, 0].tolist(), "sigma": sigma.tolist(), "weights": weights}
    (folder / f"rank-{os.environ['RANK']}.json").write_text(json.dumps(told))
