"""An optimiser whose memory is the machine's, not the accelerator's: it steps copies of the weights there and brings them back.

ZeRO-Offload (Ren et al. 2021, arXiv 2101.06840) without its overlap: a step moves the gradients and the weights down and the weights up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import nn
from torch.optim import Optimizer

Groups: TypeAlias = "list[dict[str, object]]"


class Offloaded(Optimizer):
    """Any optimiser, `make(groups)`, of copies on the CPU of the weights in `groups`; on a CPU it gives what that gives, bit for bit."""

    def __init__(self, groups: Groups, make: Callable[[Groups], Optimizer]) -> None:
        copies = [group | {"params": [_beside(p) for p in _parameters(group)]} for group in groups]
        self._inner = make(copies)
        super().__init__(groups, dict(self._inner.defaults))

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Take a step."""
        pairs = [
            (p, own)
            for group, inner in zip(self.param_groups, self._inner.param_groups, strict=True)
            for p, own in zip(group["params"], inner["params"], strict=True)
        ]
        for group, inner in zip(self.param_groups, self._inner.param_groups, strict=True):
            inner.update({key: value for key, value in group.items() if key != "params"})
        for p, own in pairs:
            own.copy_(p)
            own.grad = None if p.grad is None else p.grad.to(own.device, own.dtype)
        self._inner.step()
        for p, own in pairs:
            p.copy_(own)
            own.grad = None

    def state_dict(self) -> dict[str, object]:
        """Return what is remembered."""
        return self._inner.state_dict()

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Go back to what was remembered."""
        self._inner.load_state_dict(state_dict)
        for group, inner in zip(self.param_groups, self._inner.param_groups, strict=True):
            group.update({key: value for key, value in inner.items() if key != "params"})


def _parameters(group: dict[str, object]) -> Sequence[nn.Parameter]:
    found = group["params"]
    assert isinstance(found, list)
    return found


def _beside(parameter: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(torch.empty_like(parameter, device="cpu"))
