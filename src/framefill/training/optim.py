"""Optimisers by name, and learning-rate schedules counted in samples.

AdamW (Loshchilov and Hutter, arXiv 1711.05101), Muon for the hidden matrices (Jordan 2024; scaled to AdamW's step as in Liu et al.,
arXiv 2502.16982), schedule-free AdamW (Defazio et al., arXiv 2405.15682; by the package `schedulefree`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import nn
from torch.optim import Optimizer

from framefill.errors import UsageError
from framefill.training.config import OptimConfig
from framefill.training.ema import trainable


def build_optimizers(module: nn.Module, config: OptimConfig) -> list[Optimizer]:
    """Return the optimisers of a module's trainable parameters: one, or for Muon two (matrices; everything else by AdamW).

    Vectors (biases, norms) get no weight decay. Raises UsageError for schedule-free without its package.
    """
    parameters = trainable(module)
    if not parameters:
        raise UsageError("nothing to train: no parameter takes a gradient; check model and what is frozen")
    if config.kind == "adamw":
        return [_adamw(parameters.values(), config)]
    if config.kind == "muon":
        hidden = _hidden_matrices(module)
        return [_muon(list(hidden.values()), config), _adamw([p for name, p in parameters.items() if name not in hidden], config)]
    return [_schedule_free(parameters.values(), config)]


def set_rate(optimizers: Sequence[Optimizer], rate: float) -> None:
    """Set the learning rate of every group; Muon's steps are scaled to AdamW's size, so that one rate serves both."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate


def rate_at(config: OptimConfig, samples: int, total: int) -> float:
    """Return the learning rate of the step that begins when `samples` have been seen, of `total` in the whole run.

    Linear warm-up over `warmup` samples; then constant, cosine to `final` x lr at `total`, or rsqrt: lr / sqrt(samples / decay_start)
    from `decay_start` on (EDM2, arXiv 2312.02696). Schedule-free stays
    constant after the warm-up, whatever the schedule.
    """
    warm = min(1.0, (samples + 1) / config.warmup) if config.warmup > 0 else 1.0
    if config.kind == "schedule-free":
        return config.lr * warm
    if config.schedule == "cosine":
        done = min(1.0, max(0, samples - config.warmup) / max(1, total - config.warmup))
        return config.lr * warm * (config.final + (1 - config.final) * 0.5 * (1 + math.cos(math.pi * done)))
    if config.schedule == "rsqrt":
        return config.lr * warm / math.sqrt(max(1.0, samples / config.decay_start))
    return config.lr * warm


def state_bytes(module: nn.Module, config: OptimConfig) -> int:
    """Return the bytes of optimiser state, float32: two moments a weight, for Muon's matrices one."""
    one_moment = _hidden_matrices(module) if config.kind == "muon" else {}
    return sum(p.numel() * (4 if name in one_moment else 8) for name, p in trainable(module).items())


def _adamw(parameters: Iterable[nn.Parameter], config: OptimConfig) -> Optimizer:
    return torch.optim.AdamW(_groups(parameters, config), lr=config.lr, betas=config.betas, eps=config.eps, fused=True)


def _muon(matrices: list[nn.Parameter], config: OptimConfig) -> Optimizer:
    if not matrices:
        raise UsageError("optim.kind muon needs hidden matrices, this network has none; use adamw")
    return torch.optim.Muon(
        matrices, lr=config.lr, weight_decay=config.weight_decay, momentum=config.momentum, adjust_lr_fn="match_rms_adamw"
    )


def _schedule_free(parameters: Iterable[nn.Parameter], config: OptimConfig) -> Optimizer:
    try:
        from schedulefree import AdamWScheduleFree
    except ImportError as error:
        raise UsageError("optim.kind schedule-free needs the package schedulefree; install it with: pip install schedulefree") from error
    optimizer: Optimizer = AdamWScheduleFree(_groups(parameters, config), lr=config.lr, betas=config.betas, eps=config.eps)
    return optimizer


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
