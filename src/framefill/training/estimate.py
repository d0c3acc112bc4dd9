"""What a run will need, before it starts: parameters, and memory by what takes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from framefill.training.config import TrainConfig
from framefill.training.ema import trainable
from framefill.training.objective import Objective
from framefill.training.optim import state_bytes
from framefill.training.trainer import profiles_of

MIB = 2**20


@dataclass(frozen=True)
class Estimate:
    """Parameters (trained, frozen inside the network) and bytes on one device: weights, gradients, optimiser, averages, activations."""

    trained: int
    frozen: int
    weights: int
    gradients: int
    optimizer: int
    averages: int
    activations: int
    split: bool  # between processes, all but the activations
    operations: float = 0.0  # floating-point ones of one process in the whole run; 0 = not counted
    rate: float = 0.0  # of them in a second, of this machine's matrix products

    @property
    def total(self) -> int:
        """All bytes; the framework's own (some hundred MB on a GPU) come on top."""
        return self.weights + self.gradients + self.optimizer + self.averages + self.activations

    def lines(self) -> list[str]:
        """Say it in lines, a last one of the time where operations were counted."""
        parts = ("weights", "gradients", "optimizer", "averages", "activations")
        detail = ", ".join(f"{part} {getattr(self, part) / MIB:,.0f}" for part in parts)
        lines = [
            f"parameters: {self.trained:,} trained, {self.frozen:,} frozen",
            f"memory for one device: about {self.total / MIB:,.0f} MiB ({detail})",
        ]
        if self.split:
            lines.append("compute.parallel fsdp: all but the activations is divided by the number of processes")
        if self.operations:
            hours = self.operations / self.rate / 3600
            lines.append(
                f"time: {self.operations:.2g} operations a device; at the {self.rate / 1e12:.3g} TFLOP/s that this machine's matrices "
                f"are multiplied at now, {hours:,.1f} hours: a net reaches less of it, so expect more"
            )
        return lines


def estimate(config: TrainConfig, objective: Objective, world: int = 1) -> Estimate:
    """Count parameters, and measure what one sample's forward keeps for the backward pass; the rest follows from the config.

    The forward runs on the CPU in float32; bf16 and fp16 keep about half of its bytes.
    """
    trained = sum(p.numel() for p in trainable(objective).values())
    opponent = sum(p.numel() for p in objective.opponent.parameters()) if objective.opponent is not None else 0
    frozen = sum(p.numel() for p in objective.parameters()) - trained - opponent
    micro = config.run.micro_batch or max(1, config.run.batch // world)
    per_sample = activation_bytes(config, objective)
    return Estimate(
        trained=trained,
        frozen=frozen,
        weights=4 * (trained + frozen + opponent),
        gradients=4 * (trained + opponent),
        optimizer=state_bytes(objective, config.optim) + 8 * opponent,
        averages=4 * trained * len(profiles_of(config.ema)),
        activations=int(per_sample * micro * (1.0 if config.compute.precision == "fp32" else 0.5)),
        split=config.compute.parallel == "fsdp",
    )


def activation_bytes(config: TrainConfig, objective: Objective) -> int:
    """Return the bytes that the forward of one sample keeps for its backward pass."""
    size = config.data.size
    batch = {"video": torch.full((1, config.data.frames, size, size, 3), 127, dtype=torch.uint8), "position": torch.tensor([0])}
    with kept_bytes(objective) as kept:
        objective(batch)
    return sum(kept.values())


@contextmanager
def kept_bytes(module: nn.Module) -> Iterator[dict[int, int]]:
    """Count what autograd keeps while the block runs, by storage, without the module's own parameters."""
    kept: dict[int, int] = {}
    own = {p.untyped_storage().data_ptr() for p in module.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield kept
