"""The known region stays, bit for bit; nothing else is touched; what is hidden is never read. And guidance."""

from __future__ import annotations

import pytest
import torch
from diffusion_kit import KINDS, SHAPE, Gaussian, generator, normal
from torch import Tensor

from framefill.diffusion.guidance import Guide, away_from, classifier_free
from framefill.diffusion.known import Keep
from framefill.diffusion.precond import Kind, Precond, Process, over
from framefill.diffusion.samplers import STEPS, Method, sample
from framefill.errors import UsageError

METHODS = [method for method in STEPS if method != "flow-euler"]
MASK_SHAPE = (*SHAPE[:2], 1, *SHAPE[3:])


def blending(x: Tensor, sigma: Tensor) -> Tensor:
    """A denoiser in which every place looks at every other, so that a leak anywhere shows everywhere."""
    return 0.4 * x + 0.3 * torch.tanh(x.mean((1, 2, 3, 4), keepdim=True)) + 0.1 * over(sigma, x) / (1 + over(sigma, x))


def half_mask() -> Tensor:
    return (torch.rand(MASK_SHAPE, generator=generator(9)) < 0.5).float()


def filled(kind: Kind, method: Method, keep: Keep | None, frames: bool = False) -> Tensor:
    process = Process(kind)
    ladder = process.sigmas(6)
    x = process.start(normal(seed=1).float(), ladder[0])
    levels = keep.frame_sigmas(ladder) if keep and frames else ladder
    return sample(blending, x, levels, process=process, method=method, keep=keep, generator=generator(2))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_known_places_come_out_bit_for_bit(kind: Kind, method: Method) -> None:
    x0, mask = normal(seed=3).float(), half_mask()
    made = filled(kind, method, Keep(x0, mask))
    known = (mask == 0).expand(SHAPE)
    assert torch.equal(made[known], x0[known])
    assert (made[~known] != x0[~known]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_even_the_sign_of_zero_stays_and_what_x_held_at_clean_frames_does_not(kind: Kind) -> None:
    process = Process(kind)
    ladder = process.sigmas(3)
    x0 = torch.full(SHAPE, -0.0)
    mask = torch.ones(MASK_SHAPE)
    mask[:, 0] = 0
    keep, x = Keep(x0, mask), process.start(normal(seed=1).float(), ladder[0])
    assert torch.signbit(sample(blending, x, ladder, process=process, keep=keep)[:, 0]).all()
    x[:, 0] = float("nan")
    made = sample(blending, x, keep.frame_sigmas(ladder), process=process, keep=keep)
    assert torch.signbit(made[:, 0]).all()
    assert made.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_all_known_is_the_input_and_all_unknown_is_unconditional(kind: Kind, method: Method) -> None:
    x0 = normal(seed=3).float()
    assert torch.equal(filled(kind, method, Keep(x0, torch.zeros(MASK_SHAPE))), x0)
    assert torch.equal(filled(kind, method, Keep(x0, torch.ones(MASK_SHAPE))), filled(kind, method, None))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("hidden", [7.0, float("nan"), float("inf")])
def test_hidden_content_changes_nothing_and_known_content_does(kind: Kind, method: Method, hidden: float) -> None:
    x0, mask = normal(seed=3).float(), half_mask()
    made = filled(kind, method, Keep(x0, mask))
    assert torch.equal(filled(kind, method, Keep(torch.where(mask == 0, x0, hidden), mask)), made)
    unknown = (mask == 1).expand(SHAPE)
    assert not torch.equal(filled(kind, method, Keep(x0 + 0.5, mask))[unknown], made[unknown])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_known_frames_may_stand_at_level_0(kind: Kind, method: Method) -> None:
    """Diffusion forcing: the network sees the known frames clean from the first step, and is told so."""
    x0, mask = normal(seed=3).float(), torch.ones(MASK_SHAPE)
    mask[0, :2] = 0
    mask[1, 2] = 0
    keep, seen = Keep(x0, mask), []

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        seen.append((x, sigma))
        return blending(x, sigma)

    process = Process(kind)
    ladder = process.sigmas(4)
    x = process.start(normal(seed=1).float(), ladder[0])
    made = sample(denoise, x, keep.frame_sigmas(ladder), process=process, method=method, keep=keep, generator=generator(2))
    known = mask.flatten(2)[..., 0] == 0  # b t
    assert torch.equal(made[known], x0[known])
    assert made.isfinite().all()
    for looked, sigma in seen:
        assert (sigma[known] == 0).all()
        assert (sigma[~known] > 0).all()
        assert torch.equal(looked[known], x0[known])
    assert float((made - filled(kind, method, keep)).abs().max()) > 1e-3  # noised context is another input than clean context


def test_only_frames_known_as_a_whole_stand_at_level_0() -> None:
    mask = torch.ones(MASK_SHAPE)
    mask[0, 0], mask[1, 1, :, 0, 0] = 0, 0
    levels = Keep(normal(), mask).frame_sigmas(torch.tensor([3.0, 1.0, 0.0]))
    assert levels.shape == (3, 2, 3)
    assert levels[0].tolist() == [[0, 3, 3], [3, 3, 3]]


@pytest.mark.parametrize("kind", KINDS)
def test_known_places_keep_one_noise_down_the_whole_ladder(kind: Kind) -> None:
    """At every level the known places are x0 noised with the noise of the start, also where a method draws noise anew."""
    process = Process(kind)
    x0, noise, ladder = normal(seed=3), normal(seed=1), process.sigmas(6)
    keep, looked = Keep(x0, half_mask()), []

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        looked.append((x, sigma))
        return blending(x, sigma)

    start = process.noised(x0, noise, ladder[:1].expand(2))
    sample(denoise, start, ladder, process=process, method="ancestral", keep=keep, generator=generator())
    known = keep.known.expand(SHAPE)
    assert len(looked) == 6
    for x, sigma in looked:
        torch.testing.assert_close(x[known], process.noised(x0, noise, sigma)[known], rtol=0, atol=1e-10)


@pytest.mark.parametrize("method", ["euler", "heun", "dpmpp-2m"])
def test_re_noising_is_the_path_of_the_replaced_estimate(method: Method) -> None:
    """Replacing the estimate alone leads the known places down the same path: the two constraints do not pull at each other."""
    process = Process("flow")
    x0, mask, ladder = normal(seed=3), half_mask(), process.sigmas(6)
    keep, x = Keep(x0, mask), normal(seed=1)
    replaced = sample(lambda x, sigma: keep.replace(blending(x, sigma)), x, ladder, process=process, method=method)
    torch.testing.assert_close(replaced, sample(blending, x, ladder, process=process, method=method, keep=keep), rtol=0, atol=1e-12)


def test_a_mask_that_does_not_fit_is_refused() -> None:
    for shape in ((2, 3, 1, 4, 6), (2, 3, 4, 5), (2, 4, 1, 4, 5)):
        with pytest.raises(UsageError, match="pass B T 1 H W"):
            Keep(normal(), torch.ones(shape))


def guided(guide: Guide | None, sigma: Tensor | None = None) -> Tensor:
    x = normal()
    sigma = torch.tensor([0.2, 0.8], dtype=torch.float64) if sigma is None else sigma
    x0 = blending(x, sigma)
    return guide(x, sigma, x0) if guide else x0


def weak(x: Tensor, sigma: Tensor) -> Tensor:
    return blending(x, sigma) * 0.5 + 0.1


def test_guidance_goes_from_the_worse_through_the_better() -> None:
    better = guided(None)
    torch.testing.assert_close(guided(away_from(weak, 1.0)), better, rtol=0, atol=1e-15)
    torch.testing.assert_close(guided(away_from(weak, 0.0)), 0.5 * better + 0.1)
    torch.testing.assert_close(guided(away_from(weak, 3.0)), better + 2 * (better - (0.5 * better + 0.1)))


def test_classifier_free_guidance_asks_with_the_null_condition() -> None:
    asked: list[Tensor] = []

    def net(x: Tensor, level: Tensor, label: Tensor) -> Tensor:
        asked.append(label)
        return x * over(label, x)

    precond = Precond(net, Process("flow"))
    cond, null = torch.tensor([1.0, 2.0]), torch.zeros(2)
    x, sigma = normal(), torch.tensor([0.5, 0.25], dtype=torch.float64)
    x0 = precond(x, sigma, label=cond)
    made = classifier_free(precond, {"label": null}, scale=2.0)(x, sigma, x0)
    torch.testing.assert_close(made, x + 2 * (x0 - x))
    assert torch.equal(asked[1], null)


def test_guidance_is_off_outside_its_interval() -> None:
    calls: list[Tensor] = []

    def counted(x: Tensor, sigma: Tensor) -> Tensor:
        calls.append(sigma)
        return weak(x, sigma)

    plain, always = guided(None), guided(away_from(weak, 3.0))
    assert torch.equal(guided(away_from(counted, 3.0, interval=(0.9, 2.0))), plain)
    assert not calls
    mixed = guided(away_from(counted, 3.0, interval=(0.2, 0.8)))  # sigma is 0.2 and 0.8: low is out, high is in
    assert torch.equal(mixed[0], plain[0])
    assert torch.equal(mixed[1], always[1])


def test_guidance_may_differ_by_sample_and_by_frame() -> None:
    plain, strong = guided(None), guided(away_from(weak, 3.0))
    by_sample = guided(away_from(weak, torch.tensor([1.0, 3.0])))
    torch.testing.assert_close(by_sample, torch.stack((plain[0], strong[1])))
    by_frame = guided(away_from(weak, torch.tensor([[1.0, 3.0, 1.0]]).expand(2, 3)))
    torch.testing.assert_close(by_frame[:, 1], strong[:, 1])
    torch.testing.assert_close(by_frame[:, ::2], plain[:, ::2])


def test_rescaling_brings_back_the_spread() -> None:
    plain, strong = guided(None), guided(away_from(weak, 3.0))
    full, half = (guided(away_from(weak, 3.0, rescale=rescale)) for rescale in (1.0, 0.5))
    assert (strong.std((1, 2, 3, 4)) > 1.5 * plain.std((1, 2, 3, 4))).all()
    torch.testing.assert_close(full.std((1, 2, 3, 4)), plain.std((1, 2, 3, 4)))
    torch.testing.assert_close(half, (strong + full) / 2)


def test_guided_samples_lie_where_the_guided_distribution_does() -> None:
    """Two Gaussians of one width, at mean 0.3 and -0.2: guidance w moves the mean of what is sampled to -0.2 + w 0.5, and no spread."""
    process = Process("edm")
    good, other = Gaussian(process, mean=0.3), Gaussian(process, mean=-0.2)
    ladder = process.sigmas(60)
    x = process.start(normal((2, 2, 1, 50, 50)), ladder[0])
    made = sample(good.denoise, x, ladder, process=process, method="heun", guide=away_from(other.denoise, 2.0))
    assert float(made.mean()) == pytest.approx(0.8, abs=0.03)
    assert float(made.std()) == pytest.approx(good.std, rel=0.03)


def test_what_guidance_says_about_known_places_is_overruled() -> None:
    process = Process("flow")
    x0, mask = normal(seed=3), half_mask()
    looked: list[Tensor] = []
    keep = Keep(x0, mask)

    def look(index: int, sigma: Tensor, x: Tensor, estimate: Tensor) -> None:
        looked.append(estimate)

    sample(blending, normal(seed=1), process.sigmas(3), process=process, guide=away_from(weak, 4.0), keep=keep, callback=look)
    known = keep.known.expand(SHAPE)
    assert len(looked) == 3
    assert all(torch.equal(estimate[known], x0[known]) for estimate in looked)
