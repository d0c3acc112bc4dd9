"""Optimisers by name, and learning-rate schedules counted in samples.

AdamW (Loshchilov and Hutter, arXiv 1711.05101), Muon for the hidden matrices (Jordan 2024; scaled to AdamW's step as in Liu et al.,
arXiv 2502.16982), schedule-free AdamW and its kin (Defazio et al., arXiv 2405.15682; by the package `schedulefree`), Lion, Adam, SGD.
Cosine with restarts: SGDR (Loshchilov and Hutter, arXiv 1608.03983).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import nn
from torch.optim import Optimizer

from framefill.errors import UsageError
from framefill.training.config import AdversaryConfig, OptimConfig
from framefill.training.eight_bit import BLOCK, AdamW8bit, kept_in_eight_bits
from framefill.training.ema import trainable
from framefill.training.offload import Offloaded


def build_optimizers(module: nn.Module, config: OptimConfig, offload: bool = False) -> list[Optimizer]:
    """Return the optimisers of a module's trainable parameters: one, or for Muon two (matrices; everything else by AdamW).

    offload: keep what it remembers in the machine's memory (`training.offload`), for one optimiser. Vectors (biases, norms) get no weight
    decay. Raises UsageError for schedule-free without its package.
    """
    parameters = trainable(module)
    if not parameters:
        raise UsageError("nothing to train: no parameter takes a gradient; check model and what is frozen")
    if config.kind == "muon":
        hidden = _hidden_matrices(module)
        return [_muon(list(hidden.values()), config), _adamw([p for name, p in parameters.items() if name not in hidden], config)]
    if offload:
        return [Offloaded(_groups(parameters.values(), config), partial(_of_groups, config))]
    return [PLAIN[config.kind](parameters.values(), config)]


def build_opponents(opponent: nn.Module | None, config: AdversaryConfig) -> list[Optimizer]:
    """Return the optimiser of what is trained against: AdamW at a rate that stays; none without it."""
    if opponent is None:
        return []
    return [torch.optim.AdamW(opponent.parameters(), lr=config.lr, betas=config.betas, weight_decay=0.0, fused=True)]


def set_rate(optimizers: Sequence[Optimizer], rate: float) -> None:
    """Set the learning rate of every group; Muon's steps are scaled to AdamW's size, so that one rate serves both."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate


def set_decay(optimizers: Sequence[Optimizer], decay: float) -> None:
    """Set the weight decay of every group that has one."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            if group["weight_decay"]:
                group["weight_decay"] = decay


def rate_at(config: OptimConfig, samples: int, total: int, epoch: int = 0) -> float:
    """Return the learning rate of the step that begins when `samples` have been seen, of `total` in the whole run.

    Linear warm-up over `warmup` samples; then constant; cosine to `final` x lr at `total`; cyclic: that in each of `cycles` equal parts,
    with an `epoch` (in samples) whole epochs long, during each of which the rate stays; rsqrt: lr / sqrt(samples / decay_start) from
    `decay_start` on (EDM2, arXiv 2312.02696); or step: times `decay` every `decay_epochs`. Schedule-free stays constant after the
    warm-up, whatever the schedule.
    """
    warm = min(1.0, (samples + 1) / config.warmup) if config.warmup > 0 else 1.0
    return config.lr * warm * _share_of_rate(config, samples, total, epoch)


def decay_at(config: OptimConfig, samples: int, total: int, epoch: int = 0) -> float:
    """Return the weight decay of a step, as in `rate_at`: it rises from `weight_decay` to `weight_decay_end` as the rate falls."""
    if config.weight_decay_end is None or config.final >= 1:
        return config.weight_decay
    fallen = 1 - (_share_of_rate(config, samples, total, epoch) - config.final)
    return config.weight_decay + (config.weight_decay_end - config.weight_decay) * min(1.0, max(0.0, fallen))


def _share_of_rate(config: OptimConfig, samples: int, total: int, epoch: int) -> float:
    """The learning rate after the warm-up, as a share of `lr`."""
    if config.kind.startswith("schedule-free"):
        return 1.0
    if config.schedule == "cosine":
        return _cosine(config.final, min(1.0, max(0, samples - config.warmup) / max(1, total - config.warmup)))
    if config.schedule == "cyclic":
        part = max(1, epoch)  # what the rate stays the same for
        length = part * math.ceil(math.ceil(total / part) / config.cycles)
        return _cosine(config.final, samples // part * part % length / length)
    if config.schedule == "rsqrt":
        return 1 / math.sqrt(max(1.0, samples / config.decay_start))
    if config.schedule == "step":
        return float(config.decay ** (samples // (max(1, epoch) * config.decay_epochs)))
    return 1.0


def _cosine(final: float, done: float) -> float:
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done))


def state_bytes(module: nn.Module, config: OptimConfig) -> int:
    """Return the bytes of optimiser state: two float32 moments a weight; one for Muon's matrices, Lion and SGD; 8 bits where asked for."""
    parameters = trainable(module)
    if config.kind == "adamw-8bit":
        return sum(p.numel() * 2 + 8 * -(-p.numel() // BLOCK) if kept_in_eight_bits(p) else p.numel() * 8 for p in parameters.values())
    one_moment = _hidden_matrices(module) if config.kind == "muon" else parameters if config.kind in ("lion", "sgd") else {}
    return sum(p.numel() * (4 if name in one_moment else 8) for name, p in parameters.items())


def _adamw(parameters: Iterable[nn.Parameter], config: OptimConfig) -> Optimizer:
    return _of_groups(config, _groups(parameters, config))


def _of_groups(config: OptimConfig, groups: list[dict[str, object]]) -> Optimizer:
    if config.kind == "adamw-8bit":
        return AdamW8bit(groups, config.lr, config.betas, config.eps)
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)


def _muon(matrices: list[nn.Parameter], config: OptimConfig) -> Optimizer:
    if not matrices:
        raise UsageError("optim.kind muon needs hidden matrices, this network has none; use adamw")
    return torch.optim.Muon(
        matrices, lr=config.lr, weight_decay=config.weight_decay, momentum=config.momentum, adjust_lr_fn="match_rms_adamw"
    )


def _adam(parameters: Iterable[nn.Parameter], config: OptimConfig) -> Optimizer:
    return torch.optim.Adam(_groups(parameters, config), lr=config.lr, betas=config.betas, eps=config.eps, fused=True)


def _sgd(parameters: Iterable[nn.Parameter], config: OptimConfig) -> Optimizer:
    return torch.optim.SGD(_groups(parameters, config), lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0)


def _lion(parameters: Iterable[nn.Parameter], config: OptimConfig) -> Optimizer:
    return Lion(_groups(parameters, config), config.lr, config.betas)


def _schedule_free(parameters: Iterable[nn.Parameter], config: OptimConfig) -> Optimizer:
    try:
        import schedulefree
    except ImportError as error:
        raise UsageError(
            f"optim.kind {config.kind} needs the package schedulefree; install it with: pip install schedulefree"
        ) from error  # fmt: skip
    groups = _groups(parameters, config)
    optimizer: Optimizer
    if config.kind == "schedule-free-sgd":
        optimizer = schedulefree.SGDScheduleFree(groups, lr=config.lr, momentum=config.momentum)
    elif config.kind == "schedule-free-radam":
        optimizer = schedulefree.RAdamScheduleFree(groups, lr=config.lr, betas=config.betas, eps=config.eps)
    else:
        optimizer = schedulefree.AdamWScheduleFree(groups, lr=config.lr, betas=config.betas, eps=config.eps)
    return optimizer


PLAIN: dict[str, Callable[[Iterable[nn.Parameter], OptimConfig], Optimizer]] = {  # one optimiser for all
    "adamw": _adamw,
    "adamw-8bit": _adamw,
    "adam": _adam,
    "sgd": _sgd,
    "lion": _lion,
    "schedule-free": _schedule_free,
    "schedule-free-sgd": _schedule_free,
    "schedule-free-radam": _schedule_free,
}


class Lion(Optimizer):
    """Steps of one size in the sign of an average of gradients (Chen et al., arXiv 2302.06675, algorithm 2), a tenth of AdamW's rate."""

    def __init__(self, groups: list[dict[str, object]], lr: float, betas: tuple[float, float]) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Take a step."""
        for group in self.param_groups:
            first, second = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                average = self.state[p].setdefault("exp_avg", torch.zeros_like(p))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.sub_(torch.sign(average.lerp(p.grad, 1 - first)), alpha=group["lr"])
                average.lerp_(p.grad, 1 - second)


def _groups(parameters: Iterable[nn.Parameter], config: OptimConfig) -> list[dict[str, object]]:
    weights: list[nn.Parameter] = []
    vectors: list[nn.Parameter] = []
    for p in parameters:
        (weights if p.ndim > 1 else vectors).append(p)
    groups: list[dict[str, object]] = [
        {"params": weights, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _hidden_matrices(module: nn.Module) -> dict[str, nn.Parameter]:
    """Matrices inside a network's list of blocks: what Muon is for; embeddings and the last layer are left to AdamW (Jordan 2024)."""
    lists = [name for name, child in module.named_modules() if isinstance(child, nn.ModuleList)]
    return {
        name: p
        for name, p in module.named_parameters()
        if p.ndim == 2 and p.requires_grad and any(name.startswith(f"{blocks}.") for blocks in lists)
    }
