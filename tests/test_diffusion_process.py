"""The four processes, their preconditioning, ladders, densities and loss weights, by their identities."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from diffusion_kit import KINDS, SHAPE, Gaussian, generator, normal
from torch import Tensor

from framefill.diffusion import noise, weights
from framefill.diffusion.precond import Density, Kind, Precond, Process, over
from framefill.diffusion.sigmas import karras, linear_beta, log_normal, logit_normal, shifted, uniform, uniform_ladder
from framefill.errors import UsageError

EPS_AND_V: tuple[Kind, ...] = ("eps", "v")


def levels_of(kind: Kind) -> Tensor:
    return torch.tensor([0.02, 0.3, 0.9] if kind == "flow" else [0.02, 0.7, 40.0], dtype=torch.float64)


def noise_net(x: Tensor, level: Tensor) -> Tensor:
    return torch.randn(x.shape, generator=generator(8), dtype=x.dtype) * 100


def said(output: Tensor, x: Tensor, level: Tensor) -> Tensor:
    return output


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dims", [1, 2])
def test_at_level_0_the_estimate_is_x_whatever_the_net_says(kind: Kind, dims: int) -> None:
    x = normal().float()
    sigma = torch.zeros(SHAPE[:dims])
    assert torch.equal(Precond(noise_net, Process(kind))(x, sigma), x)
    assert torch.equal(Process(kind).noised(x, normal(seed=1).float(), sigma), x)


@pytest.mark.parametrize("kind", KINDS)
def test_a_net_that_hits_the_target_finds_the_data(kind: Kind) -> None:
    process = Process(kind)
    x0, drawn = normal(), normal(seed=1)
    for level in levels_of(kind):
        sigma = level.expand(2)
        x = process.noised(x0, drawn, sigma)
        found = Precond(partial(said, process.target(x0, drawn, sigma)), process)(x, sigma)
        torch.testing.assert_close(found, x0, rtol=0, atol=1e-10)


def test_targets_are_the_ones_of_the_papers() -> None:
    x0, drawn, sigma = normal(), normal(seed=1), torch.tensor([0.2, 0.6], dtype=torch.float64)
    assert torch.equal(Process("eps").target(x0, drawn, sigma), drawn)
    assert torch.equal(Process("flow").target(x0, drawn, sigma), drawn - x0)
    a = over((1 + sigma**2).rsqrt(), x0)
    torch.testing.assert_close(Process("v").target(x0, drawn, sigma), a * drawn - (1 - a**2).sqrt() * x0)
    edm = Process("edm")
    scales = edm.scales(sigma)
    residual = (x0 - over(scales.c_skip, x0) * edm.noised(x0, drawn, sigma)) / over(scales.c_out, x0)
    torch.testing.assert_close(edm.target(x0, drawn, sigma), residual)
    torch.testing.assert_close(edm.target(x0, drawn, torch.zeros(2)), -drawn)  # the limit


@pytest.mark.parametrize("sigma_data", [0.5, 1.0])
@pytest.mark.parametrize("level", [0.002, 0.5, 80.0])
def test_edm_gives_the_net_unit_variance_in_and_out(sigma_data: float, level: float) -> None:
    process = Process("edm", sigma_data=sigma_data)
    shape = (1, 1, 1, 200, 500)
    x0, drawn, sigma = sigma_data * normal(shape), normal(shape, seed=1), torch.tensor([level], dtype=torch.float64)
    seen = over(process.scales(sigma).c_in, x0) * process.noised(x0, drawn, sigma)
    assert float(seen.std()) == pytest.approx(1, abs=0.01)
    assert float(process.target(x0, drawn, sigma).std()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("kind", EPS_AND_V)
def test_variance_is_preserved(kind: Kind) -> None:
    sigma = levels_of(kind)
    a, b = Process(kind).rates(sigma)
    torch.testing.assert_close(a**2 + b**2, torch.ones_like(a))
    torch.testing.assert_close(b / a, sigma)


@pytest.mark.parametrize("kind", KINDS)
def test_one_level_a_frame_is_each_frame_at_its_level(kind: Kind) -> None:
    process = Process(kind)
    net = lambda x, level: 0.3 * x + over(level, x) / 50  # noqa: E731
    sigma = torch.stack((levels_of(kind), levels_of(kind).flip(0)))
    sigma[1, 1] = 0
    x, drawn = normal(), normal(seed=1)
    frames = [(x[:, t : t + 1], drawn[:, t : t + 1], sigma[:, t]) for t in range(3)]
    torch.testing.assert_close(Precond(net, process)(x, sigma), torch.cat([Precond(net, process)(f, s) for f, _, s in frames], 1))
    for function in (process.noised, process.target):
        torch.testing.assert_close(function(x, drawn, sigma), torch.cat([function(*frame) for frame in frames], 1))


@pytest.mark.parametrize("kind", KINDS)
def test_the_net_sees_scaled_input_a_finite_level_and_its_condition(kind: Kind) -> None:
    process, seen = Process(kind), []

    def net(x: Tensor, level: Tensor, mask: Tensor | None = None) -> Tensor:
        seen.append((x, level, mask))
        return x

    x, mask = normal().float(), torch.ones(1)
    for sigma in (torch.tensor([0.0, 0.7]), torch.tensor([[0.0, 0.7, 1.0], [0.2, 0.0, 0.1]])):
        made = Precond(net, process, dtype=torch.bfloat16)(x, sigma, mask=mask)
        looked, level, given = seen.pop()
        assert level.shape == sigma.shape
        assert level.isfinite().all()
        assert (looked.dtype, made.dtype, level.dtype) == (torch.bfloat16, torch.float32, torch.float32)
        assert given is mask
        torch.testing.assert_close(looked, (over(process.scales(sigma).c_in, x) * x).bfloat16())


def test_what_the_net_is_told_of_the_level() -> None:
    sigma = torch.tensor([0.1, 0.6], dtype=torch.float64)
    torch.testing.assert_close(Process("edm").scales(sigma).c_noise, sigma.log() / 4)
    torch.testing.assert_close(Process("flow").scales(sigma).c_noise, 1000 * sigma)
    ladder = linear_beta().sigmas
    for kind in EPS_AND_V:
        steps = torch.arange(1000, dtype=torch.float64)
        torch.testing.assert_close(Process(kind).scales(ladder).c_noise, steps, rtol=0, atol=1e-9)
        torch.testing.assert_close(Process(kind).scales(ladder.float()).c_noise, steps.float(), rtol=0, atol=2e-3)
        between = Process(kind).scales((ladder[300] * ladder[301]).sqrt()[None]).c_noise
        assert float(between) == pytest.approx(300.5)
        assert Process(kind).scales(torch.tensor([0.0, 1e9])).c_noise.tolist() == [0, 999]


def test_a_level_that_fits_no_axis_is_refused() -> None:
    for sigma in (torch.ones(3), torch.ones(2, 2), torch.ones(SHAPE)):
        with pytest.raises(UsageError, match=r"pass one a sample \(B\) or a frame \(B T\)"):
            Precond(noise_net, Process("flow"))(normal(), sigma)


def test_an_unknown_process_or_density_is_refused() -> None:
    with pytest.raises(UsageError, match="'ddpm', expected one of eps, v, edm, flow"):
        Process("ddpm")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="'beta', expected one of log-normal"):
        Process("flow").draw((2,), generator(), "beta")  # type: ignore[arg-type]


def test_a_process_comes_back_from_its_config() -> None:
    process = Process("edm", sigma_data=0.7, steps=50)
    assert Process(**process.config()).config() == process.config() == {"kind": "edm", "sigma_data": 0.7, "steps": 50}  # type: ignore[arg-type]


def test_the_linear_beta_ladder_is_the_published_one() -> None:
    abar = linear_beta().abar
    assert [round(float(abar[t]), 6) for t in (0, 100, 500)] == [0.9999, 0.895142, 0.077797]
    assert float(abar[999]) == pytest.approx(4.04e-5, rel=2e-3)


@pytest.mark.parametrize("steps", [1, 10, 16, 250, 1000])
def test_respaced_subsets_keep_abar(steps: int) -> None:
    ladder = linear_beta()
    sigmas = ladder.respaced(steps)
    taken = ladder.step(sigmas[:-1]).round().long()
    assert torch.equal(sigmas[:-1], ladder.sigmas[taken])
    torch.testing.assert_close(1 / (1 + sigmas[:-1] ** 2), ladder.abar[taken], rtol=1e-12, atol=0)
    assert len(taken.unique()) == len(sigmas) - 1 == steps
    assert taken[0] == 999
    assert steps == 1 or taken[-1] == 0
    assert sigmas[-1] == 0


def test_respaced_steps_are_rounded_from_even_ones() -> None:
    ladder = linear_beta()
    taken = ladder.step(ladder.respaced(16)[:-1]).round().int().tolist()
    assert taken[::-1] == [0, 67, 133, 200, 266, 333, 400, 466, 533, 599, 666, 733, 799, 866, 932, 999]


def test_respacing_takes_no_more_steps_than_there_are() -> None:
    for steps in (0, 1001):
        with pytest.raises(UsageError, match="ask for 1 to 1000"):
            linear_beta().respaced(steps)


def test_karras_ladder() -> None:
    """EDM's 18 steps; the second level by hand: (80^(1/7) + (0.002^(1/7) - 80^(1/7)) / 17)^7 = 57.586."""
    ladder = karras(18)
    assert (len(ladder), float(ladder[-1])) == (19, 0)
    assert [float(ladder[i]) for i in (0, 1, 17)] == pytest.approx([80, 57.586, 0.002], rel=1e-4)
    roots = ladder[:-1] ** (1 / 7)
    torch.testing.assert_close(roots.diff(), roots.diff()[:1].expand(17))
    assert karras(1).tolist() == pytest.approx([80, 0])


def test_the_25_levels_of_a_published_video_model() -> None:
    """Stable Video Diffusion: Karras' ladder from 700 to 0.002; some of its levels."""
    ladder = karras(25, 0.002, 700)
    assert [float(ladder[i]) for i in (1, 2, 12, 20)] == pytest.approx([545.7, 421.6, 15.6, 0.157], rel=4e-3)


def test_uniform_ladder_and_shift() -> None:
    torch.testing.assert_close(uniform_ladder(4), torch.tensor([1, 0.75, 0.5, 0.25, 0], dtype=torch.float64))
    torch.testing.assert_close(uniform_ladder(2, start=0.6), torch.tensor([0.6, 0.3, 0], dtype=torch.float64))
    torch.testing.assert_close(shifted(uniform_ladder(4), 3.0), torch.tensor([1, 0.9, 0.75, 0.5, 0], dtype=torch.float64))
    assert torch.equal(shifted(uniform_ladder(4), 1.0), uniform_ladder(4))
    times = uniform_ladder(4)[1:-1]  # s scales t / (1 - t): SD3, section 5.3.2
    torch.testing.assert_close(shifted(times, 3.0) / (1 - shifted(times, 3.0)), 3 * times / (1 - times))
    with pytest.raises(UsageError, match="0 steps"):
        uniform_ladder(0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [1, 7])
def test_the_usual_ladder_falls_to_0(kind: Kind, steps: int) -> None:
    ladder = Process(kind).sigmas(steps)
    assert len(ladder) == steps + 1
    assert (ladder.diff() < 0).all()
    assert ladder[-1] == 0
    assert float(Process(kind).scales(ladder[:1]).c_noise) == pytest.approx({"edm": math.log(80) / 4, "flow": 1000}.get(kind, 999))


@pytest.mark.parametrize("kind", KINDS)
def test_the_start_is_noise_at_the_scale_of_its_level(kind: Kind) -> None:
    process = Process(kind)
    sigma = process.sigmas(5)[0]
    drawn = normal()
    expected = process.noised(torch.zeros_like(drawn), drawn, sigma.expand(2))
    for level in (sigma, sigma.expand(2), sigma.expand(2, 3)):
        assert torch.equal(process.start(drawn, level), expected)


def test_densities_have_their_moments() -> None:
    logs = log_normal((200_000,), generator(), -1.2, 1.2).log()
    assert (float(logs.mean()), float(logs.std())) == pytest.approx((-1.2, 1.2), abs=0.01)
    logits = logit_normal((200_000,), generator(), 0.5, 0.8).logit()
    assert (float(logits.mean()), float(logits.std())) == pytest.approx((0.5, 0.8), abs=0.01)
    even = uniform((200_000,), generator(), 0.2, 0.6)
    assert (float(even.min()), float(even.max())) == pytest.approx((0.2, 0.6), abs=0.001)
    assert ((even >= 0.2) & (even <= 0.6)).all()
    assert (float(even.mean()), float(even.std())) == pytest.approx((0.4, 0.4 / math.sqrt(12)), abs=0.001)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("density", ["log-normal", "logit-normal", "uniform"])
def test_a_process_draws_levels_of_its_own_range(kind: Kind, density: Density) -> None:
    process = Process(kind)
    wide = 3.0 if kind in EPS_AND_V else 1.0  # their ladder ends on both sides
    sigma = process.draw((4000, 3), generator(), density, std=wide)
    assert (sigma.shape, sigma.dtype) == ((4000, 3), torch.float32)
    top, bottom = float(process.sigmas(5)[0]), {"edm": 0.002, "flow": 0.0}.get(kind, float(linear_beta().sigmas[0]))
    assert bottom * 0.999 <= float(sigma.min()) <= float(sigma.max()) <= top * 1.001
    assert torch.equal(sigma, process.draw((4000, 3), generator(), density, std=wide))
    assert not torch.equal(sigma, process.draw((4000, 3), generator(1), density, std=wide))


def test_the_two_names_of_one_density() -> None:
    t, sigma = (Process(kind).draw((1000,), generator(), "logit-normal", 0.3, 0.9) for kind in ("flow", "edm"))
    torch.testing.assert_close(t / (1 - t), sigma, rtol=1e-4, atol=0)


def test_uniform_density_reaches_every_step_evenly() -> None:
    process = Process("eps", steps=10)
    steps = process.ladder.step(process.draw((50_000,), generator())).round().long()
    share = torch.bincount(steps, minlength=10) / 50_000
    assert share.tolist() == pytest.approx([0.1] * 10, abs=3 * math.sqrt(0.09 / 50_000) + 0.001)


def test_a_generator_a_sample_draws_what_it_draws_alone() -> None:
    for draw in (noise.normal, noise.uniform):
        batch = draw((3, 2, 5), [generator(seed) for seed in range(3)])
        for seed in range(3):
            assert torch.equal(batch[seed : seed + 1], draw((1, 2, 5), generator(seed)))
            assert torch.equal(batch[seed : seed + 1], draw((1, 2, 5), [generator(seed)]))
        with pytest.raises(UsageError, match="1 generators came for a batch of 2"):
            draw((2, 5), [generator()])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", list(weights.WEIGHTS))
def test_weights_are_finite_and_0_for_clean_frames(kind: Kind, name: weights.Name) -> None:
    process = Process(kind)
    top = process.sigmas(1)[0].float()
    sigma = torch.tensor([[0.0, 0.01, 0.5], [float(top), 0.2, 0.0]])
    weight = weights.WEIGHTS[name](process, sigma)
    assert weight.shape == sigma.shape
    assert weight.isfinite().all()
    assert torch.equal(
        weight == 0, (sigma == 0) | ((sigma == 1) & (kind == "flow") & (name in ("p2", "min-snr")))
    )  # nothing left to see at t = 1


@pytest.mark.parametrize("kind", KINDS)
def test_uniform_is_1_on_the_output_and_edm_is_uniform_for_edm(kind: Kind) -> None:
    process, sigma = Process(kind), levels_of(kind)
    torch.testing.assert_close(weights.on_output(process, sigma, weights.uniform(process, sigma)), torch.ones(3, dtype=torch.float64))
    if kind == "edm":
        torch.testing.assert_close(weights.edm(process, sigma), weights.uniform(process, sigma))
        torch.testing.assert_close(weights.edm(process, sigma), (sigma**2 + 0.25) / (0.5 * sigma) ** 2)


@pytest.mark.parametrize("gamma", [1.0, 5.0])
def test_min_snr_is_the_papers_for_eps_and_for_v(gamma: float) -> None:
    sigma = levels_of("eps")
    snr = sigma**-2
    clipped = snr.clamp(max=gamma)
    for kind, expected in (("eps", clipped / snr), ("v", clipped / (snr + 1))):
        process = Process(kind)
        torch.testing.assert_close(weights.on_output(process, sigma, weights.min_snr(process, sigma, gamma)), expected)


def test_p2_is_the_papers_for_eps() -> None:
    process, sigma = Process("eps"), levels_of("eps")
    snr = sigma**-2
    for gamma, k in ((1.0, 1.0), (0.5, 2.0)):
        weight = weights.on_output(process, sigma, weights.p2(process, sigma, gamma, k))
        torch.testing.assert_close(weight, (k + snr) ** -gamma)


@pytest.mark.parametrize("name", list(weights.WEIGHTS))
@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_of_the_estimate_is_the_loss_of_the_output(kind: Kind, name: weights.Name) -> None:
    """|D - x0|^2 weighted = |net - target|^2 weighted by `on_output`, for any net."""
    process, x0, drawn = Process(kind), normal(), normal(seed=1)
    net = lambda x, level: torch.tanh(x) + over(level, x) / 1000  # noqa: E731
    for level in levels_of(kind):
        sigma = level.expand(2)
        x = process.noised(x0, drawn, sigma)
        weight = weights.WEIGHTS[name](process, sigma)
        scales = process.scales(sigma)
        estimate = (Precond(net, process)(x, sigma) - x0) ** 2
        output = (net(over(scales.c_in, x) * x, scales.c_noise) - process.target(x0, drawn, sigma)) ** 2
        torch.testing.assert_close(over(weight, x) * estimate, over(weights.on_output(process, sigma, weight), x) * output)


def test_the_loss_of_one_estimate_is_one_number_for_eps_and_v() -> None:
    """Two nets that make the same estimate, one in eps, one in v: every weight but `uniform` and its like charges them the same."""
    sigma = levels_of("eps")
    for name, weight in weights.WEIGHTS.items():
        same = torch.allclose(weight(Process("eps"), sigma), weight(Process("v"), sigma))
        assert same == (name != "uniform")


def test_the_best_denoiser_has_the_least_loss() -> None:
    """The closed form used by the samplers' tests is the minimiser: moved either way, it estimates worse."""
    for kind in KINDS:
        data = Gaussian(Process(kind))
        x0, drawn = data.mean + data.std * normal((1, 1, 1, 100, 200)), normal((1, 1, 1, 100, 200), seed=1)
        for level in levels_of(kind)[1:]:
            x = data.process.noised(x0, drawn, level[None])
            losses = [float(((replace(data, mean=mean).denoise(x, level[None]) - x0) ** 2).mean()) for mean in (0.2, 0.3, 0.4)]
            assert losses[1] == min(losses)
