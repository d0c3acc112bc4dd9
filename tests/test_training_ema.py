"""Averages of weights against their closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from framefill.errors import UsageError
from framefill.training.ema import (
    Average,
    HalfLife,
    Moment,
    Power,
    exponent_of,
    inner_product,
    reconstruct,
    reconstruction_weights,
    width_of,
)


class One(nn.Module):
    """A single weight, set by hand."""

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([value]))
        self.frozen = nn.Parameter(torch.tensor([7.0]), requires_grad=False)


def run(profile: Power | HalfLife, values: list[float], step: int = 4, start: float = 100.0) -> float:
    module = One(start)
    average = Average(module, profile)
    for number, value in enumerate(values, 1):
        with torch.no_grad():
            module.weight.fill_(value)
        average.update(module, number * step, step)
    return float(average.weights["weight"])


@given(st.floats(0.01, 0.28))
def test_width_and_exponent_are_inverses(width: float) -> None:
    assert width_of(exponent_of(width)) == pytest.approx(width, rel=1e-9)


def test_exponents_are_those_of_the_paper() -> None:
    assert exponent_of(0.05) == pytest.approx(16.97, abs=0.005)
    assert exponent_of(0.10) == pytest.approx(6.94, abs=0.005)


def test_power_average_is_the_profile_integrated_over_each_step() -> None:
    values = list(np.random.default_rng(0).normal(size=12))
    power = exponent_of(0.1) + 1
    edges = (np.arange(13) / 12) ** power
    assert run(Power(0.1), values) == pytest.approx(float(np.diff(edges) @ values), abs=1e-6)


def test_power_average_forgets_the_start_at_once() -> None:
    assert run(Power(0.2), [3.0], start=1e6) == 3.0


def test_half_life_forgets_half_in_its_time() -> None:
    # One long warm-up-free step: after the first step the average is its value, then 0 for one half-life.
    assert run(HalfLife(8.0, warmup=1e9), [1.0, 0.0, 0.0], step=4) == pytest.approx(0.5, abs=1e-6)


def test_half_life_warms_up() -> None:
    profile = HalfLife(1e9, warmup=0.5)
    assert profile.decay(4, 4) == 0.0
    assert profile.decay(104, 4) == pytest.approx(0.5 ** (4 / 50))
    assert HalfLife(10.0, warmup=0.5).decay(104, 4) == pytest.approx(0.5 ** (4 / 10))


@settings(max_examples=30)
@given(st.floats(0.03, 0.25), st.floats(0.03, 0.25), st.floats(1.0, 9.0), st.floats(1.0, 9.0))
def test_inner_product_is_the_integral(first: float, second: float, early: float, late: float) -> None:
    tau = (np.arange(200_000) + 0.5) / 200_000 * min(early, late)

    def profile(sigma: float, end: float) -> np.ndarray:
        gamma = exponent_of(sigma)
        return (gamma + 1) * tau**gamma / end ** (gamma + 1)

    integral = float(np.mean(profile(first, early) * profile(second, late)) * min(early, late))
    assert inner_product(Moment(early, first), Moment(late, second)) == pytest.approx(integral, rel=1e-3)


def test_a_stored_average_is_its_own_reconstruction() -> None:
    stored = [Moment(float(t), width) for t in (100, 200, 300) for width in (0.05, 0.1)]
    shares = reconstruction_weights(stored, stored[3])
    assert shares == pytest.approx(np.eye(6)[3], abs=1e-3)


def test_reconstruction_meets_an_average_that_was_never_kept() -> None:
    """On a random walk: a width between two stored ones is met much better than by either of them."""
    rng = np.random.default_rng(1)
    walk = np.cumsum(rng.normal(size=(1600, 16)), axis=0)
    module = nn.Linear(16, 1, bias=False)
    kept = {width: Average(module, Power(width)) for width in (0.05, 0.1, 0.07)}
    stored = []
    for number, weights in enumerate(walk, 1):
        with torch.no_grad():
            module.weight.copy_(torch.from_numpy(weights)[None])
        for average in kept.values():
            average.update(module, number, 1)
        if number % 100 == 0:
            stored += [(Moment(number, width), {"weight": kept[width].weights["weight"].clone()}) for width in (0.05, 0.1)]
    made = reconstruct(stored, Moment(1600, 0.07))["weight"]
    truth = kept[0.07].weights["weight"]
    error = float((made - truth).norm())
    assert error < 0.05 * min(float((kept[width].weights["weight"] - truth).norm()) for width in (0.05, 0.1))


def test_reconstruction_refuses_what_nobody_stored() -> None:
    with pytest.raises(UsageError, match="snapshot_every"):
        reconstruction_weights([], Moment(10, 0.1))
    with pytest.raises(UsageError, match="last stored one is at 100"):
        reconstruction_weights([Moment(100, 0.1)], Moment(200, 0.1))


def test_applied_puts_the_weights_back_bit_for_bit_and_leaves_frozen_ones() -> None:
    module = One(0.1)
    average = Average(module, Power(0.1))
    with torch.no_grad():
        module.weight.fill_(0.3)
        module.frozen.fill_(9.0)
    with average.applied(module):
        assert module.weight.item() == pytest.approx(0.1)
        assert module.frozen.item() == 9.0
    assert torch.equal(module.weight.detach(), torch.tensor([0.3]))
    assert set(average.weights) == {"weight"}


def test_average_of_another_network_is_refused() -> None:
    with pytest.raises(UsageError, match="another network"):
        Average(One(), Power(0.1)).load_state_dict({"other": torch.zeros(1)})


@pytest.mark.parametrize("width", [0.0, -1.0, 0.3])
def test_impossible_widths_are_refused(width: float) -> None:
    with pytest.raises(UsageError, match=r"0\.28"):
        Power(width)
