"""Learned variances: the way back by Bayes' rule, the bound against torch's own divergences, and what training and sampling make of it."""

from __future__ import annotations

import math

import pytest
import torch
from diffusion_kit import SHAPE, Gaussian, generator, normal
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from framefill.diffusion.precond import Process
from framefill.diffusion.samplers import Move, sample
from framefill.diffusion.variance import BIN, LearnedSteps, below, posterior, variational_bound

PROCESS = Process("eps")
STEPS = (1, 2, 10, 300, 998, 999)


def level(step: int) -> Tensor:
    return PROCESS.ladder.sigmas[step].expand(2)


@pytest.mark.parametrize("step", STEPS)
def test_the_way_back_is_bayes_rule(step: int) -> None:
    beta = torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64)
    kept = torch.cumprod(1 - beta, 0)[step - 1]  # x_{t-1} = sqrt(kept) x0 + sqrt(1 - kept) n; x_t = sqrt(1 - beta) x_{t-1} + sqrt(beta) n
    precision = 1 / (1 - kept) + (1 - beta[step]) / beta[step]
    way = posterior(PROCESS, level(step), level(step - 1))
    assert torch.allclose(way.least.exp(), 1 / precision.expand(2), rtol=1e-8)
    assert torch.allclose(way.most.exp(), beta[step].expand(2), rtol=1e-8)
    assert torch.allclose(way.clean, (kept.sqrt() / (1 - kept) / precision).expand(2), rtol=1e-8)
    assert torch.allclose(way.noisy, ((1 - beta[step]).sqrt() / beta[step] / precision).expand(2), rtol=1e-8)


def test_the_step_to_level_0_keeps_the_variance_above_it() -> None:
    first, second = posterior(PROCESS, level(0), torch.zeros(2)), posterior(PROCESS, level(1), level(0))
    assert torch.allclose(first.clean, torch.ones(2, dtype=torch.float64))
    assert first.noisy.eq(0).all()
    assert torch.allclose(first.least, second.least)
    assert torch.allclose(first.most.exp(), torch.full((2,), 1e-4, dtype=torch.float64))


def test_the_level_below_is_the_step_before_and_0_under_the_first() -> None:
    steps = torch.tensor([0, 1, 2, 500, 999])
    sigmas = PROCESS.ladder.sigmas[steps]
    expected = torch.cat((torch.zeros(1, dtype=torch.float64), PROCESS.ladder.sigmas[steps[1:] - 1]))
    assert torch.allclose(below(PROCESS, sigmas), expected, rtol=1e-9)
    assert torch.allclose(below(PROCESS, sigmas.float()), expected, rtol=1e-4)
    between = (PROCESS.ladder.sigmas[700] * PROCESS.ladder.sigmas[701]).sqrt()
    assert PROCESS.ladder.sigmas[699] < below(PROCESS, between[None]) < PROCESS.ladder.sigmas[700]


def bound(step: int, error: float, learned: Tensor) -> Tensor:
    x0 = normal().float().clamp(-0.9, 0.9)
    return variational_bound(PROCESS, x0, x0 + error, learned, level(step))


@pytest.mark.parametrize("step", STEPS)
def test_the_bound_is_torchs_divergence_of_the_two_ways_back(step: int) -> None:
    way, error = posterior(PROCESS, level(step), level(step - 1)), 0.3
    for r in (-1.0, -0.2, 1.0):
        share = (r + 1) / 2
        deviation = (0.5 * (share * way.most[0] + (1 - share) * way.least[0])).exp()
        exact = Normal(torch.zeros((), dtype=torch.float64), (way.least[0] / 2).exp())
        expected = kl_divergence(exact, Normal(way.clean[0] * error, deviation)) / math.log(2)
        assert torch.allclose(bound(step, error, torch.full(SHAPE, r)).double(), expected.expand(SHAPE), rtol=1e-3, atol=1e-5)
    assert bound(step, 0.0, torch.full(SHAPE, -1.0)).abs().max() < 1e-5, "nothing is lost where the estimate is right"


def test_from_the_first_step_it_is_the_surprise_at_one_of_256_values() -> None:
    values = torch.linspace(-1, 1, 256).view(1, 1, 1, 16, 16)
    sigma = level(0)[:1]
    for mean in (-1.0, -0.3, 0.999):
        bits = variational_bound(PROCESS, values, torch.full_like(values, mean), torch.full_like(values, 1.0), sigma)
        chances = torch.exp2(-bits).double()
        assert float(chances.sum()) == pytest.approx(1, abs=1e-4)
        assert abs(float(values.flatten()[chances.flatten().argmax()]) - mean) < 2 * BIN


def test_the_estimate_gets_no_gradient_from_the_bound_and_the_variance_does() -> None:
    x0, made, learned = normal().float(), normal(seed=2).float().requires_grad_(), torch.zeros(SHAPE, requires_grad=True)
    variational_bound(PROCESS, x0, made, learned, level(400)).mean().backward()
    assert made.grad is None
    assert learned.grad is not None
    assert learned.grad.abs().min() > 0


@pytest.mark.parametrize("step", [20, 200, 700])
def test_training_finds_the_variance_that_gaussian_data_has(step: int) -> None:
    """x_{t-1} given x_t varies by beta~ and by what of x0 cannot be known from x_t."""
    data, sigma = Gaussian(PROCESS), PROCESS.ladder.sigmas[step].expand(20_000)
    x0 = data.mean + data.std * normal((20_000, 1, 1, 1, 1))
    x = PROCESS.noised(x0, normal(x0.shape, seed=1), sigma)
    r = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.LBFGS([r], line_search_fn="strong_wolfe", max_iter=40)

    def loss() -> Tensor:
        optimizer.zero_grad()
        made = data.denoise(x, sigma)
        value = variational_bound(PROCESS, x0, made, r.view(1, 1, 1, 1, 1).expand(x.shape), sigma).mean() * 1000
        value.backward()
        return value

    optimizer.step(loss)
    way = posterior(PROCESS, sigma[:1], PROCESS.ladder.sigmas[step - 1][None])
    a, b = (rate[0] for rate in PROCESS.rates(sigma))
    hidden = data.std**2 * b**2 / (a**2 * data.std**2 + b**2)
    found = way.log_variance(r.detach().view(1, 1, 1, 1, 1)).exp()
    assert float(found) == pytest.approx(float(way.least.exp() + way.clean**2 * hidden), rel=2e-3)


@pytest.mark.parametrize("kind", ["eps", "v"])
def test_at_its_lower_bound_it_is_the_ancestral_sampler(kind: str) -> None:
    process = Process(kind)  # type: ignore[arg-type]
    data, x, sigmas = Gaussian(process), normal(), process.sigmas(12)
    plain = sample(data.denoise, x, sigmas, process=process, method="ancestral", generator=generator(3))
    steps = LearnedSteps()
    both = steps.watching(lambda x, sigma: (data.denoise(x, sigma), torch.full_like(x, -1.0)))
    assert torch.allclose(sample(both, x, sigmas, process=process, method=steps, generator=generator(3)), plain, atol=1e-9)
    steps = LearnedSteps()
    both = steps.watching(lambda x, sigma: (data.denoise(x, sigma), torch.full_like(x, 0.5)))
    assert not torch.allclose(sample(both, x, sigmas, process=process, method=steps, generator=generator(3)), plain, atol=1e-2)


def test_a_step_draws_the_variance_that_was_learned_and_still_frames_keep_their_bits() -> None:
    shape = (4000, 2, 1, 1, 1)
    here = torch.stack([torch.full((4000,), 3.0), torch.full((4000,), 0.4)], 1).double()  # b t
    there = torch.stack([torch.full((4000,), 1.0), torch.full((4000,), 0.4)], 1).double()
    x, x0, steps = normal(shape), torch.zeros(shape, dtype=torch.float64), LearnedSteps()
    steps.watching(lambda x, _: (x, torch.full_like(x, 0.3)))(x, here)
    drawn = steps(Move(PROCESS, x, x0, here, there, None, lambda x, _: x, lambda: normal(shape, seed=5)))
    way = posterior(PROCESS, here[:1, :1], there[:1, :1])
    fresh = drawn[:, 0] - float(way.noisy) * x[:, 0]
    assert float(fresh.var()) == pytest.approx(float(way.log_variance(torch.full((1, 1, 1, 1, 1), 0.3)).exp()), rel=0.06)
    assert torch.equal(drawn[:, 1], x[:, 1])
    end = steps(Move(PROCESS, x, x0 + 0.5, here, torch.zeros_like(there), None, lambda x, _: x, lambda: normal(shape, seed=5)))
    assert torch.equal(end, x0 + 0.5), "the step to 0 gives the estimate"
