"""Schedules in samples, the groups of optimisers, and when a run must stop."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from framefill.errors import UsageError
from framefill.training.config import OptimConfig
from framefill.training.optim import build_optimizers, rate_at, state_bytes
from framefill.training.watch import LONG, reason_to_stop


def test_warm_up_is_linear_in_samples() -> None:
    config = OptimConfig(lr=2.0, warmup=100, schedule="constant")
    assert rate_at(config, 0, 1000) == pytest.approx(0.02)
    assert rate_at(config, 49, 1000) == pytest.approx(1.0)
    assert rate_at(config, 99, 1000) == rate_at(config, 900, 1000) == 2.0


def test_cosine_ends_at_its_share() -> None:
    config = OptimConfig(lr=1.0, warmup=100, schedule="cosine", final=0.1)
    assert rate_at(config, 100, 1100) == pytest.approx(1.0)
    assert rate_at(config, 600, 1100) == pytest.approx(0.55)
    assert rate_at(config, 1100, 1100) == rate_at(config, 5000, 1100) == pytest.approx(0.1)


def test_rsqrt_halves_with_four_times_the_samples() -> None:
    config = OptimConfig(lr=1.0, warmup=0, schedule="rsqrt", decay_start=100)
    assert rate_at(config, 50, 1) == 1.0
    assert rate_at(config, 400, 1) == pytest.approx(0.5)
    assert rate_at(config, 1600, 1) == pytest.approx(0.25)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.Linear(4, 8)
        self.blocks = nn.ModuleList([nn.ModuleDict({"time_out": nn.Linear(8, 8)})])
        self.out = nn.Linear(8, 4)
        self.table = nn.Parameter(torch.zeros(3, 3), requires_grad=False)


def test_vectors_get_no_weight_decay() -> None:
    (optimizer,) = build_optimizers(Net(), OptimConfig(weight_decay=0.5))
    decays = {group["weight_decay"]: [p.ndim for p in group["params"]] for group in optimizer.param_groups}
    assert decays == {0.5: [2, 2, 2], 0.0: [1, 1, 1]}
    assert optimizer.defaults["fused"]


def test_muon_takes_hidden_matrices_alone() -> None:
    net = Net()
    muon, adamw = build_optimizers(net, OptimConfig(kind="muon"))
    assert [p is net.blocks[0]["time_out"].weight for group in muon.param_groups for p in group["params"]] == [True]
    assert sum(p.numel() for group in adamw.param_groups for p in group["params"]) == 40 + 8 + 36
    assert state_bytes(net, OptimConfig(kind="muon")) == 4 * 64 + 8 * 84
    assert state_bytes(net, OptimConfig()) == 8 * 148


def test_a_frozen_network_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing to train"):
        build_optimizers(Net().requires_grad_(False), OptimConfig())


def test_what_stops_a_run() -> None:
    calm = [1.0 + 0.1 * math.sin(k) for k in range(LONG)]
    assert reason_to_stop(1.0, 1.0, calm, 8.0, scaled=False) is None
    assert reason_to_stop(50.0, 1.0, calm, 8.0, scaled=False) is None  # one bad batch
    assert "times" in str(reason_to_stop(50.0, 1.0, [*calm[10:], *[50.0] * 10], 8.0, scaled=False))
    assert reason_to_stop(50.0, 1.0, [*calm[10:], *[50.0] * 10], 0.0, scaled=False) is None
    assert reason_to_stop(50.0, 1.0, [50.0] * 20, 8.0, scaled=False) is None  # a start
    assert "loss is nan" in str(reason_to_stop(math.nan, 1.0, [], 8.0, scaled=False))
    assert "norm is inf" in str(reason_to_stop(1.0, math.inf, [], 8.0, scaled=False))
    assert reason_to_stop(1.0, math.inf, [], 8.0, scaled=True) is None
