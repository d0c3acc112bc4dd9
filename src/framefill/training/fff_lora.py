"""Low-rank updates of a net's attention in place of training it whole: LoRA (Hu et al. 2021, arXiv 2106.09685), by the package peft.

What is saved is an ordinary net, the updates added to its weights, so that nothing that fills a video needs peft.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from framefill.errors import UsageError

TARGETS = ("to_q", "to_k", "to_v", "to_out.0")  # of every attention, of space and of time
ADAPTER = "default"


def add_lora(net: nn.Module, rank: int, alpha: int, seed: int) -> list[str]:
    """Give the attention of a net trainable updates of `rank`, in place; everything else is frozen. Returns the names of what is trained.

    At first they are zero; they count alpha / rank. Raises UsageError without peft.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise UsageError("fff.train lora needs the package peft; install it with: pip install peft") from error
    net.requires_grad_(False)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(TARGETS)), net, ADAPTER)
    return [name for name, p in net.named_parameters() if p.requires_grad]


@contextmanager
def bare(net: nn.Module) -> Iterator[None]:
    """Have ordinary layers with the updates in their weights in place of those with updates while the block runs; then these again."""
    held = [(parent, name, child) for parent in net.modules() for name, child in parent.named_children() if hasattr(child, "lora_A")]
    for parent, name, child in held:
        setattr(parent, name, _merged(child))
    try:
        yield
    finally:
        for parent, name, child in held:
            setattr(parent, name, child)


@torch.no_grad()
def _merged(layer: nn.Module) -> nn.Linear:
    base = layer.get_base_layer()
    plain = nn.Linear(base.in_features, base.out_features, base.bias is not None, device="meta")
    plain.weight = nn.Parameter((base.weight.float() + layer.get_delta_weight(ADAPTER).float()).to(base.weight.dtype), requires_grad=False)
    if base.bias is not None:
        plain.bias = base.bias
    return plain
