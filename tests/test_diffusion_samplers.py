"""Samplers against closed forms: order of convergence, variance, inversion, determinism, levels by frame."""

from __future__ import annotations

import math
import re
from functools import partial
from itertools import pairwise

import pytest
import torch
from diffusion_kit import KINDS, SHAPE, Gaussian, generator, normal, smooth_ladder
from torch import Tensor

from framefill.diffusion.guidance import away_from
from framefill.diffusion.known import Keep
from framefill.diffusion.precond import Kind, Precond, Process, over
from framefill.diffusion.samplers import STEPS, Method, ddim, invert, sample
from framefill.diffusion.sigmas import karras
from framefill.errors import UsageError


def error_after(data: Gaussian, method: Method, steps: int) -> float:
    ladder = smooth_ladder(data.process, steps)
    x = data.process.start(normal(), ladder[0])
    made = sample(data.denoise, x, ladder, process=data.process, method=method)
    return float((made - data.path(x, float(ladder[0]), float(ladder[-1]))).abs().mean())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("ddim", 1), ("heun", 2), ("dpmpp-2m", 2)])
def test_order_of_convergence(kind: Kind, method: Method, order: int) -> None:
    data = Gaussian(Process(kind))
    coarse, fine = (error_after(data, method, steps) for steps in (100, 200))
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("kind", KINDS)
def test_second_order_beats_first_order_at_equal_evaluations(kind: Kind) -> None:
    data = Gaussian(Process(kind))
    euler = error_after(data, "euler", 40)
    assert error_after(data, "heun", 20) < euler / 2
    assert error_after(data, "dpmpp-2m", 40) < euler / 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["euler", "heun", "dpmpp-2m", "ddim"])
def test_the_usual_ladder_reaches_the_data(kind: Kind, method: Method) -> None:
    process = Process(kind)
    data, ladder = Gaussian(process), process.sigmas(100)
    x = process.start(normal(), ladder[0])
    made = sample(data.denoise, x, ladder, process=process, method=method)
    exact = data.path(x, float(ladder[0]), 0.0)
    assert float((made - exact).abs().max()) < 0.12
    assert float(made.mean()) == pytest.approx(data.mean, abs=0.1)


def test_flow_euler_is_velocity_times_time() -> None:
    process = Process("flow")
    data, ladder = Gaussian(process), process.sigmas(7)
    x = start = normal()
    for t, following in zip(ladder[:-1].tolist(), ladder[1:].tolist(), strict=True):
        velocity = (x - data.denoise(x, torch.full((2,), t, dtype=torch.float64))) / t
        x = x + (following - t) * velocity
    torch.testing.assert_close(sample(data.denoise, start, ladder, process=process, method="flow-euler"), x, rtol=0, atol=1e-12)
    with pytest.raises(UsageError, match="process 'edm'"):
        sample(data.denoise, start, ladder, process=Process("edm"), method="flow-euler")


def test_heun_is_the_one_of_edm() -> None:
    """Algorithm 1 of the paper without churn, written out."""
    process = Process("edm")
    data, ladder = Gaussian(process), karras(6)
    x = start = process.start(normal(), ladder[0])
    for here, there in pairwise(ladder):
        slope = (x - data.denoise(x, here.expand(2))) / here
        ahead = x + (there - here) * slope
        if there > 0:
            ahead = x + (there - here) * (slope + (ahead - data.denoise(ahead, there.expand(2))) / there) / 2
        x = ahead
    torch.testing.assert_close(sample(data.denoise, start, ladder, process=process, method="heun"), x, rtol=1e-12, atol=1e-12)


def test_dpmpp_2m_is_the_one_of_the_paper() -> None:
    """Lu et al. 2022, algorithm 2, for a variance-preserving process, written out in lambda."""
    process = Process("v")
    data, ladder = Gaussian(process), process.sigmas(6)[:-1]
    alpha, share = process.rates(ladder)
    lam = torch.log(alpha / share)
    start = process.start(normal(), ladder[0])
    x, before = start, torch.zeros(())
    for i in range(1, len(ladder)):
        estimate = data.denoise(x, ladder[i - 1].expand(2))
        h = lam[i] - lam[i - 1]
        mixed = estimate
        if i > 1:
            r = (lam[i - 1] - lam[i - 2]) / h
            mixed = (1 + 1 / (2 * r)) * estimate - before / (2 * r)
        x = share[i] / share[i - 1] * x - alpha[i] * (torch.exp(-h) - 1) * mixed
        before = estimate
    torch.testing.assert_close(sample(data.denoise, start, ladder, process=process, method="dpmpp-2m"), x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_ddim_without_eta_is_the_noise_free_path(kind: Kind) -> None:
    process = Process(kind)
    data, ladder = Gaussian(process), process.sigmas(9)
    x = process.start(normal(), ladder[0])
    euler = sample(data.denoise, x, ladder, process=process, method="euler")
    assert torch.equal(sample(data.denoise, x, ladder, process=process, method="ddim"), euler)
    little = sample(data.denoise, x, ladder, process=process, method=ddim(1e-6), generator=generator())
    assert 0 < float((little - euler).abs().max()) < 1e-4


def test_ancestral_is_the_posterior_of_ddpm() -> None:
    """One step against equation 7 of Ho et al. with the betas of a respaced ladder, the noise from the same generator."""
    process = Process("eps")
    data, ladder = Gaussian(process), process.sigmas(10)[4:6]
    (abar, abar_prev), x = 1 / (1 + ladder**2), normal()
    estimate, beta = data.denoise(x, ladder[0].expand(2)), 1 - abar / abar_prev
    mean = (abar_prev.sqrt() * beta * estimate + (1 - beta).sqrt() * (1 - abar_prev) * x) / (1 - abar)
    drawn = torch.randn(SHAPE, generator=generator(5)).double()
    expected = mean + (beta * (1 - abar_prev) / (1 - abar)).sqrt() * drawn
    made = sample(data.denoise, x, ladder, process=process, method="ancestral", generator=generator(5))
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_noisy_sampling_reproduces_the_variance_of_the_data(kind: Kind, eta: float) -> None:
    process = Process(kind)
    data, ladder = Gaussian(process), process.sigmas(250)
    x = process.start(normal((4, 1, 1, 80, 100)), ladder[0])
    made = sample(data.denoise, x, ladder, process=process, method=ddim(eta), generator=generator(3))
    assert float(made.std()) == pytest.approx(data.std, rel=0.025)
    assert float(made.mean()) == pytest.approx(data.mean, abs=0.02)
    again = sample(data.denoise, x, ladder, process=process, method=ddim(eta), generator=generator(4))
    alike = float(torch.corrcoef(torch.stack((made.flatten(), again.flatten())))[0, 1])
    assert alike < (0.1 if eta == 1 else 0.6)  # the noise of the steps decides, not that of the start


def mixture(process: Process, x: Tensor, sigma: Tensor) -> Tensor:
    """The posterior mean for data at -1 (a quarter) and 1 (three quarters), each with a deviation of 0.1."""
    a, b = (over(rate, x) for rate in process.rates(sigma))
    parts = torch.stack([Gaussian(process, mean, std=0.1).denoise(x, sigma) for mean in (-1.0, 1.0)])
    distance = torch.stack([(x - a * mean) ** 2 for mean in (-1.0, 1.0)]) / (2 * (a**2 * 0.01 + b**2))
    share = torch.softmax(torch.tensor([0.25, 0.75], dtype=torch.float64).log().reshape(2, 1, 1, 1, 1, 1) - distance, 0)
    return (share * parts).sum(0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("method", "steps"), [("euler", 100), ("heun", 40), ("dpmpp-2m", 40), ("ancestral", 250)])
def test_two_modes_are_found_in_their_shares(kind: Kind, method: Method, steps: int) -> None:
    process = Process(kind)
    ladder = process.sigmas(steps)
    x = process.start(normal((1, 1, 1, 80, 100)), ladder[0])
    made = sample(partial(mixture, process), x, ladder, process=process, method=method, generator=generator())
    left, right = made[made < 0], made[made >= 0]
    assert len(left) / made.numel() == pytest.approx(0.25, abs=0.02)
    assert (float(left.mean()), float(right.mean())) == pytest.approx((-1, 1), abs=0.02)
    assert (float(left.std()), float(right.std())) == pytest.approx((0.1, 0.1), abs=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_inversion_comes_back(kind: Kind) -> None:
    process = Process(kind)
    data = Gaussian(process)
    x0 = data.mean + data.std * normal()

    def round_trip(steps: int, refine: int) -> float:
        ladder = process.sigmas(steps)
        x = invert(data.denoise, x0, ladder, process=process, refine=refine)
        return float((sample(data.denoise, x, ladder, process=process) - x0).abs().mean())

    errors = [round_trip(steps, refine=0) for steps in (20, 40, 80, 160)]
    assert all(fine < 0.7 * coarse for coarse, fine in pairwise(errors))
    assert round_trip(20, refine=60) < 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_inversion_lifts_x0_off_level_0_without_noise(kind: Kind) -> None:
    process, x0 = Process(kind), normal()
    level = torch.tensor([0.4, 0.0], dtype=torch.float64)
    lifted = invert(Gaussian(process).denoise, x0, level, process=process)
    torch.testing.assert_close(lifted, process.noised(x0, torch.zeros_like(x0), level[:1].expand(2)))


@pytest.mark.parametrize("kind", KINDS)
def test_inversion_finds_the_noise(kind: Kind) -> None:
    process = Process(kind)
    data, ladder = Gaussian(process), smooth_ladder(process, 400)
    x = process.start(normal(), ladder[0])
    x_low = data.path(x, float(ladder[0]), float(ladder[-1]))
    found = invert(data.denoise, x_low, ladder, process=process)
    scale = float(x.std())
    assert float((found - x).abs().max()) / scale < 0.03
    assert float((x_low - x).abs().max()) / scale > 0.3


@pytest.mark.parametrize("method", list(STEPS))
def test_the_same_generator_gives_the_same_bits(method: Method) -> None:
    process = Process("flow")
    data, ladder = Gaussian(process), process.sigmas(5)
    x = normal().float()
    first, second, other = (
        sample(data.denoise, x, ladder, process=process, method=method, generator=generator(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert torch.equal(first, other) == (method != "ancestral")
    assert first.dtype == torch.float32


@pytest.mark.parametrize("method", list(STEPS))
def test_a_batch_equals_its_singles(method: Method) -> None:
    process = Process("flow")
    data, ladder = Gaussian(process), process.sigmas(5)
    x = normal((4, *SHAPE[1:])).float()
    batch = sample(data.denoise, x, ladder, process=process, method=method, generator=[generator(seed) for seed in range(4)])
    for i in range(4):
        single = sample(data.denoise, x[i : i + 1], ladder, process=process, method=method, generator=generator(i))
        assert torch.equal(batch[i : i + 1], single)


@pytest.mark.parametrize("method", list(STEPS))
def test_half_precision_comes_back_as_it_went(method: Method) -> None:
    process = Process("flow")
    data, ladder = Gaussian(process), process.sigmas(8)
    x = normal().to(torch.bfloat16)
    full = sample(data.denoise, x.float(), ladder, process=process, method=method, generator=generator())
    told: list[tuple[torch.dtype, torch.dtype]] = []

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        told.append((x.dtype, sigma.dtype))
        return data.denoise(x, sigma)

    half = sample(denoise, x, ladder, process=process, method=method, generator=generator())
    assert set(told) == {(torch.bfloat16, torch.float32)}
    assert half.dtype == torch.bfloat16
    assert float((half - full).abs().mean()) < 0.01
    told.clear()
    assert invert(denoise, half, ladder, process=process, refine=1).dtype == torch.bfloat16
    assert set(told) == {(torch.bfloat16, torch.float32)}


def test_generators_must_be_one_a_sample() -> None:
    process = Process("flow")
    with pytest.raises(UsageError, match="3 generators came for a batch of 2"):
        sample(
            Gaussian(process).denoise,
            normal(),
            process.sigmas(2),
            process=process,
            method="ancestral",
            generator=[generator() for _ in range(3)],
        )


def test_a_noisy_method_without_a_generator_is_refused() -> None:
    process = Process("flow")
    with pytest.raises(UsageError, match="generator"):
        sample(Gaussian(process).denoise, normal(), process.sigmas(2), process=process, method="ancestral")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["euler", "heun", "dpmpp-2m", "ddim", "ancestral"])
def test_equal_levels_by_frame_are_a_level_by_sample(kind: Kind, method: Method) -> None:
    process = Process(kind)
    data, ladder = Gaussian(process), process.sigmas(4)
    x = process.start(normal(), ladder[0])
    plain, sampled, framed = (
        sample(data.denoise, x, levels, process=process, method=method, generator=generator())
        for levels in (ladder, ladder[:, None].expand(-1, 2), ladder[:, None, None].expand(-1, 2, 3))
    )
    assert torch.equal(plain, sampled)
    assert torch.equal(plain, framed)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["euler", "heun", "dpmpp-2m", "ddim", "ancestral"])
def test_frames_at_level_0_stand_still_and_the_others_do_not_notice(kind: Kind, method: Method) -> None:
    process = Process(kind)
    data, ladder = Gaussian(process), process.sigmas(6)
    framed = ladder[:, None, None].repeat(1, 2, 3)
    framed[:, 0, 1] = 0
    x = process.start(normal(), ladder[0])
    plain = sample(data.denoise, x, ladder, process=process, method=method, generator=generator())
    made = sample(data.denoise, x, framed, process=process, method=method, generator=generator())
    still = torch.zeros(2, 3, dtype=torch.bool)
    still[0, 1] = True
    assert torch.equal(made[still], x[still])
    assert torch.equal(made[~still], plain[~still])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["euler", "heun", "dpmpp-2m", "ddim"])
def test_a_frame_may_wait_its_turn(kind: Kind, method: Method) -> None:
    """A pyramid (diffusion forcing): frame k starts k steps late. A frame's waiting changes no bit, so its way is that of one alone."""
    process = Process(kind)
    data, ladder = Gaussian(process), process.sigmas(8)
    staggered = torch.stack([torch.cat((ladder[:1].expand(k), ladder, ladder[-1:].expand(2 - k))) for k in range(3)], 1)
    x = process.start(normal(), ladder[0])
    made = sample(data.denoise, x, staggered[:, None].expand(-1, 2, -1), process=process, method=method)
    torch.testing.assert_close(made, sample(data.denoise, x, ladder, process=process, method=method), rtol=0, atol=1e-14)


def test_the_callback_sees_every_step() -> None:
    process = Process("edm")
    data, ladder = Gaussian(process), process.sigmas(3)
    seen: list[tuple[int, float, Tensor, Tensor]] = []
    x = process.start(normal(), ladder[0])
    made = sample(data.denoise, x, ladder, process=process, callback=lambda i, sigma, x, x0: seen.append((i, float(sigma[0]), x, x0)))
    assert [(i, sigma) for i, sigma, _, _ in seen] == [(i, float(ladder[i + 1])) for i in range(3)]
    assert torch.equal(seen[-1][2], made)
    assert torch.equal(seen[0][3], data.denoise(x, ladder[0].expand(2)))


def test_evaluations_are_one_a_step_and_two_for_heun() -> None:
    process = Process("edm")
    counted: list[int] = []

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        counted.append(1)
        return torch.zeros_like(x)

    for method, calls in (("euler", 5), ("dpmpp-2m", 5), ("heun", 9)):
        counted.clear()
        sample(denoise, normal(), process.sigmas(5), process=process, method=method)
        assert len(counted) == calls


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        (torch.tensor([0.5, 0.7, 0.0]), "must fall"),
        (torch.tensor([1.5, 0.7, 0.0]), "within 0 .. 1"),
        (torch.tensor([0.5, -0.1]), "must fall and stay within"),
        (torch.tensor([0.5, float("nan")]), "must fall"),
        (torch.tensor([0.5]), "2 or more levels"),
        (torch.ones(3, 5), "ladder is (3, 5) for x (2, 3, 2, 4, 5)"),
    ],
)
def test_a_ladder_that_cannot_be_is_refused(levels: Tensor, words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        sample(Gaussian(Process("flow")).denoise, normal(), levels, process=Process("flow"))


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(UsageError, match="'rk4', expected one of euler"):
        sample(Gaussian(Process("flow")).denoise, normal(), torch.tensor([1.0, 0.0]), process=Process("flow"), method="rk4")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"eta is 1\.5"):
        ddim(1.5)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["euler", "heun", "dpmpp-2m", "ancestral"])
def test_an_accelerator_samples_what_the_cpu_samples(kind: Kind, method: Method) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    process = Process(kind)
    ladder, noise, x0 = process.sigmas(6), normal().float(), normal(seed=3).float()
    mask = torch.ones(2, 3, 1, 4, 5)
    mask[:, 0] = 0

    def made(device: str) -> Tensor:
        keep, denoise = Keep(x0.to(device), mask.to(device)), Precond(told_level, process)
        x, levels = process.start(noise.to(device), ladder[0]), keep.frame_sigmas(ladder)
        guide = away_from(Gaussian(process).denoise, 1.5)
        return sample(denoise, x, levels, process=process, method=method, guide=guide, keep=keep, generator=generator()).cpu()

    torch.testing.assert_close(made("cuda"), made("cpu"), rtol=1e-3, atol=1e-3)


def told_level(x: Tensor, level: Tensor) -> Tensor:
    return torch.tanh(x) + over(level, x) / 1000
