"""What the light net descends: closed forms of each loss, and that nothing but the hole counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from torch import Tensor

from framefill.evaluation.features.lpips import LEAST_SIDE
from framefill.training import light_losses as losses
from framefill.training.light_perceptual import RandomFilters, VggLpips, open_eye
from framefill.weights import store

T, SIDE = 5, 32


def box(top: int = 8, left: int = 10, side: int = 12, batch: int = 1) -> Tensor:
    hole = torch.zeros(batch, T, 1, SIDE, SIDE)
    hole[..., top : top + side, left : left + side] = 1
    return hole


def noise(seed: int = 0, batch: int = 1) -> Tensor:
    return torch.rand(batch, T, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def test_l1_is_the_mean_error_in_the_hole_whatever_its_size() -> None:
    truth = noise() * 0.5
    for side in (1, 12, 24):
        hole = box(2, 3, side)
        made = truth + 0.1 * hole
        assert float(losses.clamped_l1(made, truth, hole)) == pytest.approx(0.1 * 1.001, rel=1e-4)
        spoilt = torch.where(hole > 0, made, torch.full_like(made, float("inf")))
        assert float(losses.clamped_l1(spoilt, truth, hole)) == pytest.approx(0.1 * 1.001, rel=1e-4)


def test_what_lies_beyond_white_counts_a_thousandth_and_still_pulls() -> None:
    truth, hole = torch.ones(1, T, 3, SIDE, SIDE), box()
    made = (truth + 0.5).requires_grad_()
    loss = losses.clamped_l1(made, truth, hole)
    assert float(loss.detach()) == pytest.approx(0.0005)
    loss.sum().backward()
    assert (made.grad[hole.expand_as(made) > 0] > 0).all()
    assert not made.grad[hole.expand_as(made) == 0].any()


def test_each_sample_is_measured_by_itself() -> None:
    truth, hole = noise(batch=2), torch.cat([box(side=4), box(side=20)])
    made = truth + hole * torch.tensor([0.1, 0.3]).view(2, 1, 1, 1, 1)
    together = losses.clamped_l1(made, truth, hole)
    alone = torch.cat([losses.clamped_l1(made[i : i + 1], truth[i : i + 1], hole[i : i + 1]) for i in range(2)])
    assert torch.equal(together, alone)
    assert float(together[1]) > 2 * float(together[0])


@pytest.mark.parametrize("colour", [(0.0, 0.0, 0.0), (0.9, 0.1, 0.4), (0.2, 0.8, 0.2)])
def test_a_still_clip_of_any_colour_is_smooth_in_time(colour: tuple[float, float, float]) -> None:
    still = torch.tensor(colour).view(1, 1, 3, 1, 1).expand(1, T, 3, SIDE, SIDE)
    assert float(losses.smoothness(still, box())) == 0
    fading = still + torch.linspace(0, 0.1, T).view(1, T, 1, 1, 1)
    assert float(losses.smoothness(fading, box())) == pytest.approx(0, abs=1e-12)


def test_a_grey_clip_that_flickers_is_not() -> None:
    flicker = torch.tensor([0.0, 0.2, 0.0, 0.2, 0.0]).view(1, T, 1, 1, 1).expand(1, T, 3, SIDE, SIDE)
    assert float(losses.smoothness(flicker, box())) == pytest.approx(0.4**2)
    assert float(losses.temporal(flicker * box(), box())) == pytest.approx(0.2)
    assert float(losses.temporal(0.2 * box().expand(1, T, 3, SIDE, SIDE), box())) == 0  # wrong, and steady


def test_a_single_frame_has_nothing_in_time() -> None:
    one, hole = noise()[:, :1], box()[:, :1]
    assert float(losses.temporal(one, hole)) == float(losses.smoothness(one, hole)) == 0
    assert losses.motion_of_truth(np.zeros((1, 1, SIDE, SIDE, 3), np.uint8)) is None


def test_gradient_and_rim_see_a_step_at_the_border_and_not_a_flat_error_inside() -> None:
    side, step = 12, 0.1
    error, hole = step * box(side=side).expand(1, T, 3, SIDE, SIDE), box(side=side)
    pairs = side * (side + 1)  # of neighbours in one direction, of which the hole has one or both
    assert float(losses.gradient(error, hole)) == pytest.approx(step * 2 * side / pairs, rel=1e-5)
    inner, outer, corners = 4 * (side - 1), 4 * side, 4
    ring = inner + outer + corners  # a pixel to either side; outer corners have no neighbour in the hole
    assert float(losses.rim(error, hole)) == pytest.approx((inner - 4 + 4 * 2 + outer) * step / ring, rel=1e-5)
    everywhere = torch.full((1, T, 3, SIDE, SIDE), step)
    assert float(losses.gradient(everywhere, hole)) == float(losses.rim(everywhere, hole)) == 0


def test_an_error_that_is_carried_along_costs_nothing_and_one_that_stays_does() -> None:
    speed, hole = 2, torch.ones(1, T, 1, SIDE, SIDE)
    pattern = noise()[:, :1, :, :, :]
    moving = torch.cat([torch.roll(pattern, speed * t, -1) for t in range(T)], 1)
    flow = torch.zeros(1, T - 1, SIDE, SIDE, 2)
    flow[..., 0] = speed
    visible = torch.ones(1, T - 1, 1, SIDE, SIDE)
    visible[..., SIDE - speed :] = 0  # leaves the picture
    motion = losses.Motion(flow, visible)
    assert float(losses.warped(moving, hole, motion)) == pytest.approx(0, abs=1e-5)
    assert float(losses.warped(pattern.expand_as(moving), hole, motion)) > 0.1
    assert float(losses.warped(pattern.expand_as(moving), hole, losses.Motion(flow, visible * 0))) == 0


def test_motion_of_the_truth_is_found_from_its_pixels() -> None:
    rng = np.random.default_rng(0)
    wide = np.kron(rng.integers(0, 256, (12, 20, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    clip = np.stack([wide[:64, 3 * t : 3 * t + 64] for t in range(3)])  # what is seen goes 3 pixels to the left
    motion = losses.motion_of_truth(clip[None])
    assert motion is not None
    assert motion.flow.shape == (1, 2, 64, 64, 2)
    inner = motion.flow[0, :, 12:-12, 12:-12]
    assert float(inner[..., 0].median()) == pytest.approx(-3, abs=0.2)
    assert float(motion.visible[0, :, 0, 12:-12, 12:-12].mean()) > 0.8
    assert not motion.visible[..., 0].any()  # left the picture


def test_cosines_of_one_window_are_scipys() -> None:
    """A picture of one window lies in 4 of those that overlap by half; the hole is all of it."""
    error, hole = noise()[:, :1], torch.ones(1, 1, 1, SIDE, SIDE)
    rgb = error[0, 0].numpy().astype(np.float64)
    luma = np.tensordot([0.299, 0.587, 0.114], rgb, 1)
    total = 0.0
    for channel in (luma, *rgb):
        wide = np.pad(channel, 16)
        total += sum(np.abs(dctn(wide[y : y + 32, x : x + 32], norm="ortho")).sum() for y in (0, 16, 32) for x in (0, 16, 32))
    assert float(losses.cosines(error, hole)) == pytest.approx(total / 4 / (4 * SIDE * SIDE), rel=1e-4)
    assert float(losses.cosines(error * 0, hole)) == 0


def test_a_fill_and_its_truth_are_moved_alike_and_by_their_own_draw() -> None:
    clips = noise(batch=3)
    draws = [torch.Generator().manual_seed(seed) for seed in (1, 2, 3)]
    first, second = losses.moved_together((clips, clips.clone()), draws)
    assert torch.equal(first, second)
    again = losses.moved_together((clips[1:2],), [torch.Generator().manual_seed(2)])[0]
    torch.testing.assert_close(again, first[1:2])
    kinds = [torch.equal(*losses.moved_together((clips[:1], clips[:1]), [torch.Generator().manual_seed(seed)])) for seed in range(3)]
    assert all(kinds)
    moved = [losses.moved_together((clips[:1],), [torch.Generator().manual_seed(seed)])[0] for seed in range(30)]
    still = sum(bool(torch.allclose(one, clips[:1], atol=1e-4)) for one in moved)
    assert 3 <= still <= 18  # a third


def test_a_shift_is_of_whole_pictures_and_mirrors_at_the_edge() -> None:
    column = torch.arange(SIDE).float().view(1, 1, 1, 1, SIDE).expand(1, 1, 3, SIDE, SIDE)
    for seed in range(40):
        kind, across, _ = torch.rand(3, generator=torch.Generator().manual_seed(seed)).tolist()
        if kind < 1 / 3 and across > 0.6:
            moved = losses.moved_together((column,), [torch.Generator().manual_seed(seed)])[0]
            assert float(moved[0, 0, 0, 16, 10]) == pytest.approx(10 + (across * 2 - 1) * 8, abs=1e-3)
            return
    raise AssertionError("no seed of forty shifts")


def test_random_filters_see_the_hole_alone_and_a_lost_texture() -> None:
    eye, truth, hole = RandomFilters(), noise(), box()
    assert float(eye(truth, truth, hole)) == 0
    flat = torch.where(hole > 0, truth.mean(), truth)
    seen = float(eye(flat, truth, hole))
    assert seen > 0.01
    elsewhere = truth.clone()
    elsewhere[..., 30:, 30:] = 0
    assert float(eye(elsewhere, truth, box(2, 2, 4))) == 0
    shifted = torch.where(hole > 0, torch.roll(truth, 1, -1), truth)  # texture, at the wrong place
    assert float(eye(truth * 0.98, truth, hole)) < min(seen, float(eye(shifted, truth, hole)))


@pytest.mark.parametrize("picture", ["noise", "black", "the truth"])
def test_gradients_of_the_stand_in_are_numbers(picture: str) -> None:
    truth, hole = noise(), box()
    made = {"noise": noise(1), "black": torch.zeros_like(truth), "the truth": truth.clone()}[picture].requires_grad_()
    RandomFilters()(made, truth, hole).sum().backward()
    assert made.grad is not None
    assert bool(made.grad.isfinite().all())


def test_lpips_without_its_weights_is_refused(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    from framefill.errors import MissingWeights, UsageError

    monkeypatch.setenv("FRAMEFILL_HOME", str(tmp_path))
    with pytest.raises(MissingWeights, match="lpips-vgg"):
        open_eye("lpips-vgg", 64)
    assert open_eye("random-filters", 8).name == "random-filters"
    with pytest.raises(UsageError, match="random-filters"):
        open_eye("lpips-vgg", LEAST_SIDE["vgg"] - 1)


@pytest.mark.weights
def test_lpips_is_evaluations_masked_lpips_with_gradients_that_are_numbers() -> None:
    if not store.place("lpips-vgg").exists():
        pytest.skip("no weights of lpips-vgg")
    from framefill.evaluation.features.load import lpips
    from framefill.evaluation.features.lpips import perceptual

    truth, hole = noise()[:, :2], box()[:, :2]
    made = torch.where(hole > 0, noise(1)[:, :2], truth).requires_grad_()
    measured = VggLpips()(made, truth, hole)
    pairs = (clip[0].detach().permute(0, 2, 3, 1).numpy() for clip in (made, truth))
    maps = perceptual(lpips("vgg", "cpu"), *pairs, declared="0..1").map
    assert float(measured.detach()) == pytest.approx(float(maps[hole[0, :, 0].numpy() > 0].mean()), rel=1e-4)
    measured.sum().backward()
    assert bool(made.grad.isfinite().all())
    assert math.isfinite(float(made.grad.norm()))
    assert float(made.grad.norm()) > 0
