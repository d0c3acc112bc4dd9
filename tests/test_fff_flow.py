"""How a clip with holes moves, and what is carried into its first frame: flow, pixels and noise."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from numpy.typing import NDArray  # noqa: E402
from scenes import seen_at, texture  # noqa: E402

from framefill.errors import MaskMismatch, MissingWeights, UsageError  # noqa: E402
from framefill.families.fff.flow import (  # noqa: E402
    Flows,
    camera_flow,
    carried_first,
    completed,
    filled_first,
    flows_of,
    guide_of,
    propagated_noise,
)
from framefill.nets.guide import Guide  # noqa: E402

Clip = tuple[NDArray[np.uint8], NDArray[np.bool_]]
HEIGHT, WIDTH = 64, 96


def panned(count: int, step: tuple[int, int], mask: tuple[slice, slice] = (slice(20, 44), slice(30, 60))) -> Clip:
    """A camera that pans by `step` pixels a frame, so that content moves by minus that; a box hides a part of every picture."""
    wide = texture(1, HEIGHT + abs(step[1]) * count, WIDTH + abs(step[0]) * count)
    frames = seen_at(wide, (HEIGHT, WIDTH), [(step[0] * number, step[1] * number) for number in range(count)]).copy()
    holes = np.zeros(frames.shape[:3], np.bool_)
    holes[:, mask[0], mask[1]] = True
    return frames, holes


def even(count: int, flow: tuple[float, float], height: int = HEIGHT, width: int = WIDTH) -> Flows:
    there = np.tile(np.array(flow, np.float32), (count - 1, height, width, 1))
    return Flows(there, -there)


def inner(field: NDArray[np.float32], margin: int = 12) -> NDArray[np.float32]:
    return field[..., margin:-margin, margin:-margin, :]


@pytest.fixture(scope="module")
def pan() -> Clip:
    return panned(5, (4, 1))


@pytest.fixture(scope="module")
def moving(pan: Clip) -> Flows:
    return flows_of(*pan)


def test_the_flow_of_a_pan_is_found_and_carried_on_under_the_hole(pan: Clip, moving: Flows) -> None:
    assert moving.there.shape == moving.back.shape == (4, HEIGHT, WIDTH, 2)
    assert moving.there.dtype == np.float32
    for flows, expected in ((moving.there, (-4, -1)), (moving.back, (4, 1))):
        away = np.abs(inner(flows) - expected).max(3)
        assert np.median(away) < 0.1
        assert away[:, 8:32, 18:48].max() < 0.5  # the hole


def test_what_is_hidden_changes_no_flow(pan: Clip, moving: Flows) -> None:
    frames, mask = pan
    other = frames.copy()
    other[mask] = np.random.default_rng(0).integers(0, 256, (mask.sum(), 3))
    again = flows_of(other, mask)
    assert np.array_equal(again.there, moving.there)
    assert np.array_equal(again.back, moving.back)


def test_flow_turns_round_with_time(pan: Clip, moving: Flows) -> None:
    frames, mask = pan
    turned = flows_of(frames[::-1], mask[::-1])
    away = np.abs(inner(turned.there) - inner(moving.back[::-1]))
    assert np.median(away) < 0.05


@pytest.mark.parametrize("hole", [(slice(20, 44), slice(30, 60)), (slice(0, 30), slice(0, 96)), (slice(0, 64), slice(0, 96))])
def test_completion_keeps_what_is_seen_to_the_bit_and_reads_nothing_hidden(hole: tuple[slice, slice]) -> None:
    measured = np.random.default_rng(1).normal(0, 2, (HEIGHT, WIDTH, 2)).astype(np.float32)
    hidden = np.zeros((HEIGHT, WIDTH), np.bool_)
    hidden[hole] = True
    made = completed(measured, hidden, np.eye(3))
    assert np.array_equal(made[~hidden], measured[~hidden])
    assert np.isfinite(made).all()
    assert np.array_equal(completed(np.where(hidden[..., None], np.float32(np.nan), measured), hidden, np.eye(3)), made)


def test_completion_follows_the_camera_where_nothing_is_seen() -> None:
    camera = np.array([[1.02, 0, 3], [0, 1.02, -2], [0, 0, 1]])
    truth = camera_flow(camera, HEIGHT, WIDTH)
    assert truth[10, 20] == pytest.approx((0.02 * 20 + 3, 0.02 * 10 - 2), abs=1e-5)
    hidden = np.zeros((HEIGHT, WIDTH), np.bool_)
    hidden[:, 20:] = True
    assert np.abs(completed(np.where(hidden[..., None], 0, truth).astype(np.float32), hidden, camera) - truth).max() < 0.01


def test_a_cut_leads_out_of_the_picture(pan: Clip) -> None:
    frames, mask = pan
    other = 255 - texture(9, HEIGHT, WIDTH)[None, ::-1] // 3
    flows = flows_of(np.concatenate((frames[:2], other.repeat(2, 0))), mask[:4])
    assert (flows.there[1] == (WIDTH, HEIGHT)).all()
    assert np.abs(inner(flows.there[0]) - (-4, -1)).mean() < 0.5
    guide = guide_of(flows, mask[:4], HEIGHT // 8, WIDTH // 8)
    assert not guide.trust_there[:, 1].any()
    assert guide.trust_there[:, 0].any()


def test_flow_shrinks_with_the_picture_each_axis_for_itself() -> None:
    guide = guide_of(even(3, (8, -16)), np.zeros((3, HEIGHT, WIDTH), np.bool_), HEIGHT // 8, WIDTH // 8)
    assert guide.there.shape == (1, 2, 2, 8, 12)
    assert torch.allclose(guide.there, torch.tensor((1.0, -2.0)).view(2, 1, 1))
    assert torch.allclose(guide.back, -guide.there)
    uneven = guide_of(even(2, (8, -16)), np.zeros((2, HEIGHT, WIDTH), np.bool_), HEIGHT // 4, WIDTH // 2)
    assert torch.allclose(uneven.there, torch.tensor((4.0, -4.0)).view(2, 1, 1))


@pytest.mark.parametrize("size", [(8, 12), (7, 11)])
def test_a_single_hidden_pixel_hides_its_cell(size: tuple[int, int]) -> None:
    for row, column in ((0, 0), (37, 50), (63, 95)):
        mask = np.zeros((1, HEIGHT, WIDTH), np.bool_)
        mask[0, row, column] = True
        found = guide_of(even(1, (0, 0)), mask, *size).mask[0, 0, 0]
        assert found[row * size[0] // HEIGHT, column * size[1] // WIDTH] == 1
        assert set(found.unique().tolist()) == {0, 1}


def test_a_hole_uncovered_later_is_filled_with_its_exact_values() -> None:
    """A box moves over a pan: what it hides in the first frame, later frames show, up to whole pixels."""
    frames, mask = panned(8, (5, 2))
    picture, remaining = carried_first(frames, mask, even(8, (-5, -2)))
    clean = frames[0].copy()
    assert not remaining.any()
    assert np.array_equal(picture, clean)
    hidden = frames.copy()
    hidden[mask] = 0
    assert np.array_equal(carried_first(hidden, mask, even(8, (-5, -2)))[0], clean)


def test_what_is_never_uncovered_stays_flagged() -> None:
    frames, mask = panned(3, (5, 0))
    picture, remaining = carried_first(frames, mask, even(3, (-5, 0)))
    # 10 columns come into view, less the rim of two pixels that is not trusted as seen.
    expected = np.zeros((HEIGHT, WIDTH), np.bool_)
    expected[20:44, 38:60] = True
    assert np.array_equal(remaining, expected)
    assert np.array_equal(picture[~remaining], frames[0][~remaining])
    made = filled_first(frames, mask, even(3, (-5, 0)))
    assert np.array_equal(made[~remaining], frames[0][~remaining])
    assert not np.array_equal(made[remaining], frames[0][remaining])


def test_nothing_is_carried_along_flow_that_does_not_lead_home() -> None:
    frames, mask = panned(8, (5, 2))
    flows = Flows(even(8, (-5, -2)).there, even(8, (3, 3)).back)
    _, remaining = carried_first(frames, mask, flows)
    assert np.array_equal(remaining, mask[0])


def test_a_measured_flow_fills_the_first_frame_better_than_a_smooth_fill(pan: Clip) -> None:
    frames, mask = panned(10, (4, 1))
    hidden = frames.copy()
    hidden[mask] = 0
    made = filled_first(hidden, mask, flows_of(hidden, mask))
    without = filled_first(hidden[:1], mask[:1], flows_of(hidden[:1], mask[:1]))
    error, blurred = (np.square(part.astype(float) - frames[0])[mask[0]].mean() for part in (made, without))
    assert error < blurred / 20


def box(frames: int, flow: tuple[float, float], height: int, width: int, margin: int) -> Guide:
    mask = torch.zeros(1, frames, 1, height, width)
    mask[..., margin:-margin, margin:-margin] = 1
    there = torch.tensor(flow).view(1, 1, 2, 1, 1).repeat(1, frames - 1, 1, height, width)
    return Guide(mask, there, -there)


@pytest.mark.parametrize("sampling", ["nearest", "bilinear"])
@pytest.mark.parametrize("flow", [(0.5, 0.5), (1.0, 0.0), (0.3, -0.7)])
def test_carried_noise_keeps_mean_and_variance(sampling: str, flow: tuple[float, float]) -> None:
    """On 1e5 values, over chains of up to five steps; a mean of four neighbours would have a quarter of the variance."""
    noise = torch.randn(6, 4, 170, 180, generator=torch.Generator().manual_seed(0))
    made = propagated_noise(noise, box(6, flow, 170, 180, 6), sampling)
    inside = made[0, :, 6:-6, 6:-6]
    assert inside.numel() > 1e5
    assert abs(inside.mean()) < 0.02
    assert abs(inside.var() - 1) < 0.02
    assert not torch.equal(inside, noise[0, :, 6:-6, 6:-6])


def test_nearest_keeps_noise_white_and_bilinear_does_not() -> None:
    noise = torch.randn(3, 4, 100, 120, generator=torch.Generator().manual_seed(0))
    guide = box(3, (0.25, 0.25), 100, 120, 6)
    alike = {}
    for sampling in ("nearest", "bilinear"):
        inside = propagated_noise(noise, guide, sampling)[0, :, 8:-8, 8:-8]
        alike[sampling] = float((inside[..., 1:] * inside[..., :-1]).mean())
    assert abs(alike["nearest"]) < 0.02
    assert alike["bilinear"] > 0.25


def test_noise_follows_the_content_until_it_is_seen() -> None:
    """The value is that of the frame in which the path leaves the hole, for every frame of it: the same content has the same noise."""
    noise = torch.randn(6, 4, 12, 20, generator=torch.Generator().manual_seed(0))
    guide = box(6, (2.0, 0.0), 12, 20, 4)
    made = propagated_noise(noise, guide)
    assert torch.equal(torch.where(guide.mask[0] > 0, torch.zeros(()), made), torch.where(guide.mask[0] > 0, torch.zeros(()), noise))
    for frame in range(5):
        for x in range(4, 16):
            steps = min(-(-(16 - x) // 2), 5 - frame)
            assert torch.equal(made[frame, :, 6, x], noise[frame + steps, :, 6, x + 2 * steps])
    assert torch.equal(made[5], noise[5])


def test_noise_stays_its_own_where_no_flow_can_be_trusted() -> None:
    noise = torch.randn(3, 4, 12, 20)
    guide = box(3, (0.0, 0.0), 12, 20, 4)
    assert torch.equal(propagated_noise(noise, Guide(guide.mask, guide.there + 4, guide.back + 4)), noise)


@pytest.mark.parametrize("count", [1, 2])
def test_short_clips(count: int) -> None:
    frames, mask = panned(2, (4, 0))
    frames, mask = frames[:count], mask[:count]
    flows = flows_of(frames, mask)
    assert flows.there.shape == (count - 1, HEIGHT, WIDTH, 2)
    guide = guide_of(flows, mask, 8, 12)
    noise = torch.randn(count, 4, 8, 12)
    assert propagated_noise(noise, guide).shape == noise.shape
    assert filled_first(frames, mask, flows).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("hidden", ["nothing", "all", "some frames wholly"])
def test_masks_at_their_ends(hidden: str) -> None:
    frames, mask = panned(5, (4, 1))
    mask[:] = hidden == "all"
    if hidden == "some frames wholly":
        mask[1:3] = True
    flows = flows_of(frames, mask)
    assert np.isfinite(flows.there).all()
    if hidden == "all":
        assert not flows.there.any()
    else:
        assert np.median(np.abs(inner(flows.there) - (-4, -1))) < 0.3
    made = filled_first(frames, mask, flows)
    assert np.array_equal(made, frames[0]) == (hidden != "all")


def test_tiny_pictures_have_a_flow_too() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 9, 7, 3)).astype(np.uint8)
    mask = np.zeros((3, 9, 7), np.bool_)
    mask[:, 2:5, 2:4] = True
    flows = flows_of(frames, mask)
    assert np.isfinite(flows.there).all()
    assert guide_of(flows, mask, 4, 3).mask.sum() > 0


def test_arrays_of_other_kinds_are_refused_in_one_line() -> None:
    frames, mask = panned(2, (1, 0))
    with pytest.raises(UsageError, match="expected uint8 T H W 3"):
        flows_of(frames.astype(np.float32), mask)
    with pytest.raises(MaskMismatch, match="expected bool"):
        flows_of(frames, mask[:1])
    with pytest.raises(UsageError, match="expected one of dis, raft, gmflow"):
        flows_of(frames, mask, "farneback")
    with pytest.raises(UsageError, match="give the flows of this clip"):
        carried_first(frames, mask, even(3, (0, 0)))
    with pytest.raises(UsageError, match="the guide is for 2 frames"):
        propagated_noise(torch.randn(3, 4, 8, 12), guide_of(even(2, (0, 0)), mask, 8, 12))


@pytest.mark.parametrize("method", ["gmflow", "raft"])
def test_missing_weights_name_the_way_to_them(method: str, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("FRAMEFILL_HOME", "TORCH_HOME"):
        monkeypatch.setenv(place, str(tmp_path))
    with pytest.raises(MissingWeights) as caught:
        flows_of(*panned(2, (1, 0)), method)
    assert method in str(caught.value)
    assert "\n" not in str(caught.value)
