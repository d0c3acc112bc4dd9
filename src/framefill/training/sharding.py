"""Weights, gradients and optimiser split between processes: FSDP (Zhao et al. 2023, arXiv 2304.11277), `fully_shard` by Accelerate.

A tensor that is split is a DTensor here: arithmetic goes on in place on each process's part; what is written, measured or sampled with is
put together first, which every process has to take part in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def sharding_plugin(units: Sequence[str], precision: str) -> FullyShardedDataParallelPlugin:
    """Return Accelerate's settings for FSDP 2; modules of the classes `units` are put together one at a time.

    precision: "no" or "bf16", of what is computed; weights, averages and the optimiser stay float32.
    """
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="transformer_based_wrap" if units else "no_wrap",
        transformer_cls_names_to_wrap=list(units) or None,
        state_dict_type="SHARDED_STATE_DICT",
        cpu_ram_efficient_loading=False,
    )
    if precision != "no":
        plugin.set_mixed_precision(precision)
    return plugin


def split_on_cpu(accelerator: Accelerator, plugin: FullyShardedDataParallelPlugin) -> None:
    """Switch FSDP on for processes on CPUs: Accelerate takes its plugin for other devices only, while `fully_shard` runs over gloo too."""
    if accelerator.distributed_type == DistributedType.MULTI_CPU:
        accelerator.state.fsdp_plugin = plugin
        accelerator.state.distributed_type = DistributedType.FSDP
        PartialState().distributed_type = DistributedType.FSDP  # from which Accelerate reads it again


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor put together from all processes' parts, each of which has to call this; one that is not split as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def all_whole(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors put together, on the CPU; every process has to call this, in the same order of names."""
    return {name: whole(weight.detach()).cpu() for name, weight in weights.items()}


def copy_into(own: Tensor, given: Tensor) -> None:
    """Copy a whole tensor into one that may be split: each process takes its part."""
    if isinstance(own, DTensor):
        given = distribute_tensor(given.to(own.device), own.device_mesh, own.placements, src_data_rank=None)
    own.copy_(given)
