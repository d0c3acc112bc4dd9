"""Schedules in samples, the groups of optimisers, and when a run must stop."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from framefill.errors import UsageError
from framefill.training.config import OptimConfig
from framefill.training.optim import Lion, build_optimizers, decay_at, rate_at, set_decay, state_bytes
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


# iw3's schedule: 200 epochs in 5 cycles of 40, from 1e-4 to 1e-8, the decay of weights rising from 1e-3 to 1e-2 meanwhile.
EPOCH, EPOCHS = 1664, 199
CYCLIC = OptimConfig(lr=1e-4, warmup=0, schedule="cyclic", cycles=5, final=1e-4, weight_decay=1e-3, weight_decay_end=1e-2)


@pytest.mark.parametrize(
    ("epoch", "rate"), [(1, 1e-4), (20, 5.39e-5), (40, 1.64e-7), (41, 1e-4), (81, 1e-4), (121, 1e-4), (161, 1e-4), (199, 6.26e-7)]
)
def test_cyclic_falls_and_begins_again(epoch: int, rate: float) -> None:
    first, last = (epoch - 1) * EPOCH, epoch * EPOCH - 4
    assert rate_at(CYCLIC, first, EPOCHS * EPOCH, EPOCH) == pytest.approx(rate, rel=5e-3)
    assert rate_at(CYCLIC, first, EPOCHS * EPOCH, EPOCH) == rate_at(CYCLIC, last, EPOCHS * EPOCH, EPOCH)


def test_cyclic_without_epochs_falls_with_every_sample() -> None:
    rates = [rate_at(CYCLIC, samples, 1000) for samples in range(0, 1000, 50)]
    assert rates[0] == rates[4] == rates[16] == 1e-4
    assert rates[0] > rates[1] > rates[2] > rates[3]
    assert rate_at(CYCLIC, 199, 1000) < 1e-7


def test_weight_decay_rises_as_the_rate_falls() -> None:
    decays = {epoch: decay_at(CYCLIC, (epoch - 1) * EPOCH, EPOCHS * EPOCH, EPOCH) for epoch in (1, 20, 40, 41)}
    assert decays[1] == decays[41] == pytest.approx(1e-3, rel=2e-3)
    assert decays[20] == pytest.approx(1e-3 + 9e-3 * (1 - 0.539), rel=1e-3)
    assert decays[40] == pytest.approx(1e-2, rel=2e-3)
    assert decay_at(OptimConfig(weight_decay=0.5), 500, 1000) == 0.5


def test_weight_decay_is_set_where_there_is_one() -> None:
    optimizers = build_optimizers(Net(), OptimConfig(kind="muon", weight_decay=0.5))
    set_decay(optimizers, 0.7)
    assert sorted({group["weight_decay"] for optimizer in optimizers for group in optimizer.param_groups}) == [0.0, 0.7]


def test_step_multiplies_with_every_epoch() -> None:
    config = OptimConfig(lr=1.0, warmup=0, schedule="step", decay=0.5, decay_epochs=2)
    assert [rate_at(config, epoch * 100, 1000, 100) for epoch in range(5)] == [1.0, 1.0, 0.5, 0.5, 0.25]


def test_schedule_free_stays() -> None:
    config = OptimConfig(kind="schedule-free", lr=1.0, warmup=10, schedule="cyclic")
    assert rate_at(config, 4, 100) == 0.5
    assert rate_at(config, 20, 100) == rate_at(config, 99, 100) == 1.0


@pytest.mark.parametrize("kind", ["adamw", "adam", "sgd", "lion", "muon", "schedule-free", "schedule-free-sgd", "schedule-free-radam"])
def test_every_optimiser_goes_down_a_bowl(kind: str) -> None:
    if kind.startswith("schedule-free"):
        pytest.importorskip("schedulefree")
    torch.manual_seed(0)
    net = Net()
    optimizers = build_optimizers(net, OptimConfig(kind=kind, lr=0.2 if "sgd" in kind else 0.02, momentum=0.9, weight_decay=0.0))  # type: ignore[arg-type]
    for optimizer in optimizers:
        getattr(optimizer, "train", lambda: None)()
    x = torch.randn(64, 4)

    def loss() -> torch.Tensor:
        return (net.out(net.blocks[0]["time_out"](net.patch_embed(x))) - x).square().mean()

    first = float(loss().detach())
    for _ in range(60):
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss().backward()
        for optimizer in optimizers:
            optimizer.step()
    assert float(loss().detach()) < 0.7 * first


def test_lion_steps_by_the_sign_of_its_average() -> None:
    p = nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))
    optimizer = Lion([{"params": [p], "weight_decay": 0.1}], 0.01, (0.9, 0.99))
    p.grad = torch.tensor([5.0, -0.1, 0.0])
    optimizer.step()
    torch.testing.assert_close(p.detach(), torch.tensor([0.999 - 0.01, -1.998 + 0.01, 2.997]))
    p.grad = torch.tensor([-0.1, -0.1, 1.0])  # the average still points up: 0.9 x 0.05 > 0.1 x 0.1
    before = p.detach().clone()
    optimizer.step()
    assert float(p[0].detach() - before[0]) < 0
