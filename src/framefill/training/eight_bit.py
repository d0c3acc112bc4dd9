"""AdamW that remembers its two moments in 8 bits a number: a quarter of the memory, blocks of 256 with a scale each.

Dettmers et al. 2021, 8-bit Optimizers via Block-wise Quantization (arXiv 2110.02861): a table of 256 values, dense near zero as well as
near one, so that small moments beside large ones do not vanish. Small tensors, and those of one dimension, stay in full precision.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import torch
from torch import Tensor
from torch.optim import Optimizer

BLOCK = 256
SMALLEST = 4096  # numbers; fewer are not worth it (section 3)
EXPONENTS = 7


class AdamW8bit(Optimizer):
    """AdamW (Loshchilov and Hutter, arXiv 1711.05101) whose state is `exp_avg` and `exp_avg_sq` as uint8, with a scale for each block."""

    def __init__(self, groups: Iterable[dict[str, object]], lr: float, betas: tuple[float, float], eps: float) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Take a step."""
        for group in self.param_groups:
            first, second = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state, grad = self.state[p], p.grad.to(torch.float32)
                state["step"] = state.get("step", 0) + 1
                mean, square = _recalled(state, "exp_avg", grad, signed=True), _recalled(state, "exp_avg_sq", grad, signed=False)
                mean.lerp_(grad, 1 - first)
                square.lerp_(grad.square(), 1 - second)
                fair = square.div(1 - second ** state["step"]).sqrt_().add_(group["eps"])
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.addcdiv_((mean / fair).to(p.dtype), torch.ones_like(p), value=-group["lr"] / (1 - first ** state["step"]))
                _remember(state, "exp_avg", mean, signed=True)
                _remember(state, "exp_avg_sq", square, signed=False)

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Go back to a state; torch brings it in the type of the weights, places in the table are whole numbers again."""
        super().load_state_dict(state_dict)
        for state in self.state.values():
            for name in ("exp_avg", "exp_avg_sq"):
                if f"{name}_scale" in state:
                    state[name] = state[name].to(torch.uint8)


@lru_cache(maxsize=4)
def table(signed: bool) -> Tensor:
    """The 256 values that a number may be kept as, rising, of largest 1: decades, each cut finer the larger its numbers are."""
    values = [0.0, 1.0]
    for exponent in range(EXPONENTS):
        steps = 2 ** (exponent if signed else exponent + 1)
        edges = torch.linspace(0.1, 1, steps + 1, dtype=torch.float64)
        middles = (edges[1:] + edges[:-1]) / 2 * 10.0 ** (exponent + 1 - EXPONENTS)
        values += middles.tolist()
        values += (-middles).tolist() if signed else []
    return torch.tensor(sorted(values), dtype=torch.float32)


def quantised(values: Tensor, signed: bool) -> tuple[Tensor, Tensor]:
    """Keep float32 numbers as places in the table, uint8 of their shape, with the largest size of each block of 256."""
    flat = torch.nn.functional.pad(values.flatten(), (0, -values.numel() % BLOCK)).view(-1, BLOCK)
    scale = flat.abs().amax(1)
    known = table(signed).to(values.device)
    between = (known[1:] + known[:-1]) / 2
    places = torch.bucketize(flat / scale.clamp_min(1e-38)[:, None], between).to(torch.uint8)
    return places.flatten()[: values.numel()].view_as(values), scale


def restored(places: Tensor, scale: Tensor, signed: bool) -> Tensor:
    """Return the numbers, float32, that `quantised` kept."""
    known = table(signed).to(places.device)
    flat = torch.nn.functional.pad(places.flatten(), (0, -places.numel() % BLOCK)).view(-1, BLOCK)
    return (known[flat.int()] * scale[:, None]).flatten()[: places.numel()].view(places.shape)


def kept_in_eight_bits(tensor: Tensor) -> bool:
    """Whether what is remembered of a tensor is kept in 8 bits."""
    return tensor.ndim > 1 and tensor.numel() >= SMALLEST


def _recalled(state: dict[str, Tensor], name: str, like: Tensor, signed: bool) -> Tensor:
    if name not in state:
        return torch.zeros_like(like)
    if f"{name}_scale" not in state:
        return state[name]
    return restored(state[name], state[f"{name}_scale"], signed)


def _remember(state: dict[str, Tensor], name: str, value: Tensor, signed: bool) -> None:
    if kept_in_eight_bits(value):
        state[name], state[f"{name}_scale"] = quantised(value, signed)
    else:
        state[name] = value
