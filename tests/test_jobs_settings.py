"""Settings are refused where they are made; their spelling on the command line; the geometry of a wider and of a smaller picture."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobs_kit import Tally

from framefill.errors import UsageError
from framefill.families.memory import DEFAULT, fit_default, fit_memory, needed_memory
from framefill.jobs.geometry import Geometry, Pad, Region, pad_to_aspect
from framefill.jobs.settings import FillSettings, parse_aspect, parse_fps, parse_memory, parse_pad, parse_roi
from framefill.media.video import VideoMeta


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "give a mask"),
        ({"mask": "m.png", "pad": Pad(1, 0, 0, 0)}, "exclude each other"),
        ({"pad": Pad(1, 0, 0, 0), "aspect": Fraction(2)}, "exclude each other"),
        ({"aspect": Fraction(2), "preview": 3}, "--preview"),
        ({"mask": "m.png", "start": -1.0}, "--start"),
        ({"mask": "m.png", "start": 2.0, "end": 2.0}, "not after"),
        ({"mask": "m.png", "preview": 0}, "--preview"),
        ({"boxes": ("1,2,3",)}, "--box"),
    ],
)
def test_settings_that_cannot_be_meant(options: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        FillSettings("in.mp4", Path("out.mp4"), **options)


def test_encoding_does_not_decide_the_made_pixels_and_the_mask_does() -> None:
    plain = FillSettings("in.mp4", Path("out.mp4"), mask="m.png")
    assert plain.filling() == FillSettings("in.mp4", Path("other.mkv"), mask="m.png", codec="ffv1", lossless=True).filling()
    for changed in (
        {"end": 1.0},
        {"start": 1.0},
        {"roi": Region(0, 0, 2, 2)},
        {"boxes": ("1,1,2,2",)},
        {"preview": 3},
        {"model": "propagate"},
    ):
        assert plain.filling() != FillSettings("in.mp4", Path("out.mp4"), mask="m.png", **changed).filling()


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parse_pad, "1,2, 3,4", Pad(1, 2, 3, 4)),
        (parse_roi, "5,6,70,80", Region(5, 6, 70, 80)),
        (parse_aspect, "16:9", Fraction(16, 9)),
        (parse_aspect, "2.39", Fraction(239, 100)),
        (parse_aspect, "4/3", Fraction(4, 3)),
        (parse_memory, "6GB", 6 * 10**9),
        (parse_memory, "1.5 GiB", 3 * 2**29),
        (parse_memory, "800mb", 800 * 10**6),
        (parse_fps, "30000/1001", Fraction(30000, 1001)),
        (parse_fps, "12.5", Fraction(25, 2)),
    ],
)
def test_spelling(parse, text: str, value: object) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_pad, "1,2,3"), (parse_pad, "0,0,0,0"), (parse_pad, "-1,0,0,5"), (parse_roi, "a,b,c,d"),
        (parse_aspect, "16:0"), (parse_aspect, "wide"), (parse_aspect, "100:1"), (parse_memory, "6"), (parse_memory, "6 apples"),
        (parse_fps, "0"), (parse_fps, "25/0"), (parse_fps, "fast"),
    ],
)  # fmt: skip
def test_misspelling_is_one_line(parse, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


def _meta(width: int, height: int, shape: Fraction = Fraction(1)) -> VideoMeta:
    return VideoMeta(width, height, Fraction(1, 25), sample_aspect_ratio=shape)


SHAPES = st.sampled_from([Fraction(1), Fraction(4, 3), Fraction(8, 9)])


@given(st.integers(16, 2000), st.integers(16, 2000), st.fractions(Fraction(1, 4), 4), SHAPES)
def test_aspect_is_met_with_even_sides_that_keep_the_picture_in_the_middle(
    width: int, height: int, aspect: Fraction, shape: Fraction
) -> None:
    try:
        pad = pad_to_aspect(_meta(width, height, shape), aspect)
    except UsageError:
        assert abs(Fraction(width, height) * shape / aspect - 1) <= 2 * max(Fraction(1, width), Fraction(1, height))
        return
    new_width, new_height = Geometry((width, height), pad).size
    assert pad.left % 2 == 0
    assert pad.top % 2 == 0
    assert abs(pad.right - pad.left) <= 3
    assert abs(pad.bottom - pad.top) <= 3
    if new_width != width:
        assert new_width % 2 == 0
        assert abs(new_width - aspect * new_height / shape) <= 1
    else:
        assert new_height % 2 == 0
        assert abs(new_height - new_width * shape / aspect) <= 1


def test_a_smaller_picture_knows_only_what_was_known_whole() -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (7, 9, 3), np.uint8)
    hidden = np.zeros((7, 9), np.bool_)
    hidden[3, 4] = True
    geometry = Geometry((9, 7), halved=True)
    assert geometry.size == (4, 3)
    small = geometry.mask(hidden)
    other = rgb.copy()
    other[hidden] = 255 - other[hidden]
    changed = (geometry.picture(rgb) != geometry.picture(other)).any(2)
    assert small.any()
    assert not (changed & ~small).any()


def test_one_pixel_has_no_half() -> None:
    assert Geometry((1, 1), halved=True).size == (1, 1)


def test_a_region_outside_the_picture_is_refused() -> None:
    with pytest.raises(UsageError, match="does not lie inside"):
        Region(10, 0, 10, 5).check_inside("--roi", 19, 5)
    Region(10, 0, 9, 5).check_inside("--roi", 19, 5)


def test_memory_bounds_the_window_before_the_reach() -> None:
    filler = Tally(window=20, reach=40)
    pixels = 1280 * 720
    generous = needed_memory(20, 40, pixels, pixels)
    whole = fit_memory(filler, generous, pixels, pixels)
    assert (whole.window, whole.reach) == (20, 40)
    tight = fit_memory(filler, generous - 10**8, pixels, pixels)
    assert (tight.window, tight.reach) < (20, 40)
    assert tight.reach == 40
    tighter = fit_memory(filler, needed_memory(8, 30, pixels, pixels), pixels, pixels)
    assert (tighter.window, tighter.reach) == (8, 30)
    assert (filler.window, filler.reach) == (20, 40), "the filler given is not changed"


class WithNet(Tally):
    memory = 550_000_000

    def lighter(self) -> Tally:
        return Tally(window=self.window, reach=self.reach)


def test_a_net_is_left_out_before_the_fill_looks_less_far_than_it_should() -> None:
    filler, pixels = WithNet(window=20, reach=40), 1280 * 720
    generous = needed_memory(20, 40, pixels, pixels)
    whole = fit_memory(filler, generous + filler.memory, pixels, pixels)
    assert isinstance(whole, WithNet)
    assert (whole.window, whole.reach) == (20, 40)
    bounded = fit_memory(filler, needed_memory(8, 16, pixels, pixels) + filler.memory, pixels, pixels)
    assert isinstance(bounded, WithNet)
    assert (bounded.window, bounded.reach) == (8, 16)
    without = fit_memory(filler, needed_memory(8, 16, pixels, pixels) + filler.memory - 1, pixels, pixels)
    assert not isinstance(without, WithNet)
    assert without.reach > 16
    usual = fit_default(filler, pixels, pixels)
    assert (usual.window, usual.reach) == (fit_default(Tally(window=20, reach=40), pixels, pixels).window, usual.reach)
    assert isinstance(usual, WithNet)


def test_by_default_large_pictures_are_seen_through_a_shorter_window_and_small_ones_are_not() -> None:
    small, large, huge = (fit_default(Tally(window=20, reach=40), pixels, pixels) for pixels in (432 * 240, 1280 * 720, 3840 * 2160))
    assert (small.window, small.reach) == (20, 40)
    assert 16 <= large.reach < 40
    assert needed_memory(large.window, large.reach, 1280 * 720, 1280 * 720) <= DEFAULT
    assert needed_memory(large.window, large.reach + 1, 1280 * 720, 1280 * 720) > DEFAULT
    assert (huge.window, huge.reach) == (8, 16), "never refused, never less"
    short = fit_default(Tally(window=3, reach=0), 3840 * 2160, 3840 * 2160)
    assert (short.window, short.reach) == (3, 0), "what a family wants less of it is not given more of"


def test_too_little_memory_is_refused_with_the_smallest_that_works() -> None:
    pixels = 1280 * 720
    with pytest.raises(UsageError, match="the smallest that works is") as caught:
        fit_memory(Tally(), 10**6, pixels, pixels)
    least = parse_memory(str(caught.value).rpartition(" ")[2])
    fitted = fit_memory(Tally(), least, pixels, pixels)
    assert (fitted.window, fitted.reach) == (1, 1)
