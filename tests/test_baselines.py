"""The baselines: the contract of every filler, and what each of them makes of clips whose answer is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scenes import Frames, by_hand, texture

from framefill.errors import MissingWeights, UsageError, WeightsError
from framefill.evaluation import baselines
from framefill.evaluation.baselines import BASELINES, REACH, WINDOW, Baseline, between, get_model
from framefill.families import FAMILIES
from framefill.families.base import GENERATED, KNOWN, PROPAGATED, Filled, Filler
from framefill.families.whole import fill_whole

HEIGHT, WIDTH = 24, 32
Mask = NDArray[np.bool_]


def dissolve(first: NDArray[np.uint8], second: NDArray[np.uint8], time: float) -> NDArray[np.uint8]:
    """An interpolation without a network: a cut in the middle."""
    return first if time < 0.5 else second


MAKERS: dict[str, Callable[[], Filler]] = {
    **{name: family.make for name, family in BASELINES.items() if name not in ("rife", "auto-smooth")},  # those that are no `Baseline`
    "between": lambda: Baseline("between", between(dissolve), REACH),
}
EVERY = pytest.mark.parametrize("name", MAKERS)


def walk(count: int) -> Frames:
    canvas = texture(1, HEIGHT, WIDTH + count)
    return np.stack([canvas[:, i : i + WIDTH] for i in range(count)])


def hole(count: int) -> Mask:
    """A hole that moves, a mark that stands still, and now and then a frame that is missing."""
    mask = np.zeros((count, HEIGHT, WIDTH), np.bool_)
    for i in range(count):
        mask[i, 5:12, i % 20 : i % 20 + 6] = True
    mask[:, 20:, 28:] = True
    mask[7::9] = True
    mask[3::8] = False
    return mask


def fill(name: str, frames: Frames, mask: Mask) -> Filled:
    return fill_whole(frames, mask, MAKERS[name]())


def ramp(values: list[int]) -> Frames:
    """Frames of one colour each."""
    return np.broadcast_to(np.array(values, np.uint8)[:, None, None, None], (len(values), 6, 8, 3)).copy()


@EVERY
@pytest.mark.parametrize("count", [1, 2, WINDOW + 1, 2 * WINDOW + 3])
def test_each_hidden_pixel_is_made_or_remains(name: str, count: int) -> None:
    frames, mask = walk(count), hole(count)
    filled = fill(name, frames, mask)
    assert np.array_equal(filled.frames[~mask], frames[~mask])
    assert np.array_equal(filled.provenance == KNOWN, ~mask | filled.remaining)
    assert filled.provenance.max() <= GENERATED
    assert np.array_equal(filled.remaining, mask if name == "copy" else np.zeros_like(mask))


@EVERY
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 2), (5, 7)])
def test_small_pictures(name: str, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    frames = rng.integers(100, 120, (23, *size, 3), np.uint8)
    mask = rng.random(frames.shape[:3]) < 0.4
    filled = fill(name, frames, mask)
    some = mask & (mask.mean((1, 2)) < 1)[:, None, None]
    if name != "copy" and some.any():
        assert filled.frames[some].min() >= 95, "made of nothing that was seen"  # Telea goes a little beyond what it saw
        assert filled.frames[some].max() <= 125


@EVERY
def test_what_the_mask_hides_never_changes_what_is_made(name: str) -> None:
    frames, mask = walk(45), hole(45)
    swapped = np.where(mask[..., None], 255 - frames, frames)
    one, other = (by_hand(MAKERS[name], clip, mask)[0] for clip in (frames, swapped))
    assert np.array_equal(one.frames[mask], other.frames[mask])
    assert np.array_equal(one.provenance, other.provenance)
    assert np.array_equal(one.frames[mask], fill(name, frames, mask).frames[mask])


@EVERY
def test_a_span_alone_says_what_is_made(name: str) -> None:
    frames, mask = walk(45), hole(45)
    through, states = by_hand(MAKERS[name], frames, mask)
    anew, _ = by_hand(MAKERS[name], frames, mask, anew=True)
    assert states == [{}] * 3
    assert np.array_equal(through.frames, anew.frames)


@EVERY
def test_nothing_known_is_grey_and_not_invented(name: str) -> None:
    frames = walk(5)
    filled = fill(name, frames, np.ones(frames.shape[:3], np.bool_))
    assert (filled.frames == (0 if name == "copy" else 127)).all()
    assert (filled.provenance == (KNOWN if name == "copy" else GENERATED)).all()


@EVERY
def test_a_clip_of_one_colour(name: str) -> None:
    frames = np.full((12, HEIGHT, WIDTH, 3), (200, 30, 90), np.uint8)
    mask = hole(12)
    mask[7] = mask[6]  # no frame is missing altogether
    filled = fill(name, frames, mask)
    if name == "copy":
        frames = np.where(mask[..., None], np.uint8(0), frames)
    assert np.abs(filled.frames.astype(int) - frames).max() <= (2 if name == "telea" else 0)  # OpenCV's drifts as it rounds


def test_a_black_hole_for_copy() -> None:
    frames, mask = walk(4), hole(4)
    filled = fill("copy", frames, mask)
    assert mask.any()
    assert (filled.frames[mask] == 0).all()


@pytest.mark.parametrize("name", ["telea", "ns"])
def test_each_frame_by_itself(name: str) -> None:
    frames, mask = walk(25), hole(25)
    filled = fill(name, frames, mask)
    for number in (0, 12, 24):
        alone = fill(name, frames[number : number + 1], mask[number : number + 1])
        assert np.array_equal(filled.frames[number], alone.frames[0])
    assert (filled.provenance[mask] == GENERATED).all()


def test_the_two_methods_of_opencv_differ() -> None:
    frames, mask = walk(3), hole(3)
    assert not np.array_equal(fill("telea", frames, mask).frames, fill("ns", frames, mask).frames)


@pytest.mark.parametrize("name", ["median", "average"])
def test_a_still_scene_is_exact_wherever_it_was_ever_seen(name: str) -> None:
    frames = np.repeat(texture(1, HEIGHT, WIDTH)[None], 30, 0)
    mask = hole(30)
    filled = fill(name, frames, mask)
    seen = ~mask.all(0)
    assert seen.mean() > 0.9
    assert np.array_equal(filled.frames[:, seen], frames[:, seen])
    assert (filled.provenance[mask & seen] == PROPAGATED).all()


@pytest.mark.parametrize("name", ["median", "average"])
def test_what_was_never_seen_is_teleas(name: str) -> None:
    frames, mask = walk(10), np.zeros((10, HEIGHT, WIDTH), np.bool_)
    mask[:, 8:14, 8:16] = True
    filled = fill(name, frames, mask)
    assert (filled.provenance[mask] == GENERATED).all()
    assert np.array_equal(filled.frames, fill("telea", frames, mask).frames)


@pytest.mark.parametrize("lucky", [0, 1])
def test_the_median_is_numpys_of_the_known(lucky: int) -> None:
    rng = np.random.default_rng(4)
    frames = rng.integers(0, 256, (18 + lucky, 9, 11, 3), np.uint8)
    mask = rng.random(frames.shape[:3]) < 0.5
    filled = fill("median", frames, mask)
    known = np.ma.array(frames, mask=np.repeat(mask[..., None], 3, 3))
    expected = np.rint(np.ma.median(known, axis=0).filled(0))
    for number in range(len(frames)):
        assert np.array_equal(filled.frames[number][mask[number]], expected[mask[number]])


def test_the_median_looks_no_farther_than_its_reach_unless_it_must() -> None:
    # The window 20 .. 40 sees the frames 0 .. 80; of these frame 20 takes 0 .. 60, and frame 39 takes 0 .. 79.
    frames = ramp([10] * 61 + [200] * 40)
    mask = np.ones(frames.shape[:3], np.bool_)
    mask[0], mask[[70, 75]] = False, False
    filled = fill("median", frames, mask)
    assert (filled.frames[20] == 10).all()
    assert (filled.frames[39] == 200).all()
    mask[0] = True
    assert (fill("median", frames, mask).frames[20] == 200).all(), "frame 70 is the nearest that is known, though beyond the reach"


def test_a_portion_more_of_pixels_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    frames, mask = walk(15), hole(15)
    for name in ("median", "average"):
        whole = fill(name, frames, mask)
        with monkeypatch.context() as patch:
            patch.setattr(baselines, "PORTION", 17)
            assert np.array_equal(fill(name, frames, mask).frames, whole.frames)


def test_the_average_of_a_ramp_is_the_ramp() -> None:
    values = [0, 10, 20, 30, 40, 50, 60, 70, 80]
    frames = ramp(values)
    mask = np.ones(frames.shape[:3], np.bool_)
    mask[[0, 4, 8]] = False
    filled = fill("average", frames, mask)
    assert np.array_equal(filled.frames, frames)
    assert (filled.provenance[mask] == PROPAGATED).all()


def test_the_average_at_the_ends_is_the_nearest_frame() -> None:
    frames = ramp([10, 20, 30, 40, 50])
    mask = np.ones(frames.shape[:3], np.bool_)
    mask[[1, 3]] = False
    assert fill("average", frames, mask).frames[:, 0, 0, 0].tolist() == [20, 20, 30, 40, 40]


def test_the_average_goes_by_pixel() -> None:
    frames = ramp([0, 30, 60, 90])
    mask = np.zeros(frames.shape[:3], np.bool_)
    mask[1:3, 2, 2], mask[2, 3, 3] = True, True
    mask[1, 4, 4], mask[0, 4, 4] = True, True
    filled = fill("average", frames, mask).frames[..., 0]
    assert filled[:, 2, 2].tolist() == [0, 30, 60, 90]
    assert filled[:, 3, 3].tolist() == [0, 30, 60, 90]
    assert filled[:, 4, 4].tolist() == [60, 60, 60, 90]


def test_interpolation_is_asked_for_the_nearest_whole_frames_and_the_right_time() -> None:
    asked = []

    def interpolate(first: NDArray[np.uint8], second: NDArray[np.uint8], time: float) -> NDArray[np.uint8]:
        asked.append((int(first[0, 0, 0]), int(second[0, 0, 0]), time))
        return np.full_like(first, 99)

    frames = ramp([0, 10, 20, 30, 40, 50, 60])
    mask = np.ones(frames.shape[:3], np.bool_)
    mask[[1, 5]] = False
    mask[3] = False
    mask[3, 2:4, 2:4] = True  # a neighbour with a hole is none; its hole is filled from the whole ones too
    filled = fill_whole(frames, mask, Baseline("between", between(interpolate), REACH))
    assert asked == [(10, 50, 0.25), (10, 50, 0.5), (10, 50, 0.75)]
    assert filled.frames[:, 2, 2, 0].tolist() == [10, 10, 99, 99, 99, 50, 50]
    assert filled.frames[3, 0, 0, 0] == 30
    assert filled.provenance[:, 2, 2].tolist() == [PROPAGATED, KNOWN, GENERATED, GENERATED, GENERATED, KNOWN, PROPAGATED]


@pytest.mark.parametrize("name", ["propagate", *(name for name in BASELINES if name != "rife")])
def test_a_model_is_found_by_its_name(name: str) -> None:
    model = get_model(name)
    assert model.name == name
    assert model is not get_model(name), "an instance serves one clip"
    assert model.window >= 1
    assert model.reach >= 0


def test_an_unknown_model_is_answered_with_all_names() -> None:
    with pytest.raises(UsageError, match="propainter") as error:
        get_model("propainter")
    assert all(name in str(error.value) for name in (*FAMILIES, *BASELINES))
    assert "\n" not in str(error.value)


def test_rife_without_weights_names_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("FRAMEFILL_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=r"framefill weights get rife|framefill\[networks\]"):
        get_model("rife")


@pytest.mark.weights
def test_rife_follows_what_moves() -> None:
    pytest.importorskip("torch")
    try:
        model = get_model("rife")
    except MissingWeights as error:
        pytest.skip(str(error))
    canvas = texture(1, 96, 180)
    frames = np.stack([canvas[:, 6 * i : 6 * i + 128] for i in range(5)])
    mask = np.zeros(frames.shape[:3], np.bool_)
    mask[1::2] = True
    made, mean = (fill_whole(frames, mask, filler).frames[1::2].astype(float) for filler in (model, get_model("average")))
    truth = frames[1::2]
    assert np.mean((made - truth) ** 2) < 0.2 * np.mean((mean - truth) ** 2)


def known_only(count: int, *known: int) -> Mask:
    mask = np.ones((count, 48, 64), np.bool_)
    mask[list(known)] = False
    return mask


def pan(count: int, step: int) -> Frames:
    canvas = texture(4, 48, 64 + 3 * count * step)
    return np.stack([canvas[:, i * step : i * step + 64] for i in range(count)])


@pytest.mark.parametrize("known", [(0, 1), (0, 2), (5, 6), (0, 4), (2, 4)])
def test_linear_motion_goes_on_as_it_came(known: tuple[int, ...]) -> None:
    frames, mask = pan(7, 2), known_only(7, *known)
    errors = {
        name: np.abs(fill(name, frames, mask).frames[mask].astype(int) - frames[mask]).mean() for name in ("nearest", "average", "linear")
    }
    assert errors["linear"] < 0.5 * min(errors["nearest"], errors["average"]), errors


def test_linear_motion_with_one_whole_frame_is_the_nearest() -> None:
    frames, mask = pan(5, 2), known_only(5, 1)
    assert np.array_equal(fill("linear", frames, mask).frames, fill("nearest", frames, mask).frames)
    assert np.array_equal(fill("nearest", frames, mask).frames, np.stack([frames[1]] * 5))


def test_the_nearest_of_two_is_the_earlier_when_both_are_as_near() -> None:
    frames, mask = ramp([10, 0, 0, 0, 90]), np.ones((5, 6, 8), np.bool_)
    mask[[0, 4]] = False
    assert fill("nearest", frames, mask).frames[:, 0, 0, 0].tolist() == [10, 10, 10, 90, 90]
