"""The contact sheet and the lines of `framefill mask check`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mask_clips import clip, disc, moving
from PIL import Image

from framefill.errors import UnwritableMedia, UsageError
from framefill.media.mask import MaskRule, open_mask
from framefill.media.mask_sheet import check_mask, overlay


def test_lines_say_what_was_understood() -> None:
    video = clip()
    check = check_mask(video, open_mask(moving(), video, MaskRule(dilate=1)))
    text = "\n".join(check.lines)
    assert "array 6 x 24 x 40, 40x24, 6 frames" in text
    assert "then dilate 1 px" in text
    assert "6 video frames: unknown" in text
    assert check.sheet is None
    assert check.shares.shape == (6,)


@pytest.mark.parametrize(("mask", "said"), [(np.zeros((24, 40), bool), "the mask is empty"), (np.ones((24, 40), bool), "the mask is full")])
def test_doubts(mask: np.ndarray, said: str) -> None:
    video = clip()
    assert any(said in line for line in check_mask(video, open_mask(mask, video, MaskRule())).warnings)


@pytest.mark.parametrize(("count", "height", "width"), [(1, 24, 40), (2, 40, 24), (300, 24, 40), (7, 1, 1), (3, 1, 500)])
def test_sheets_of_any_clip(tmp_path: Path, count: int, height: int, width: int) -> None:
    video = clip(count, height, width)
    check = check_mask(video, open_mask(np.ones((height, width), bool), video, MaskRule()), tmp_path / "sheet.png", pictures=5)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size[0] == 1440
    assert check.shares.shape == (count,)
    assert list(tmp_path.iterdir()) == [tmp_path / "sheet.png"]


def test_the_mask_is_drawn_where_it_is(tmp_path: Path) -> None:
    """The clip is black, so that all colour in the upper part of the sheet's only picture comes from the mask."""
    video = clip(1)
    check_mask(video, open_mask(disc(), video, MaskRule()), tmp_path / "sheet.png", pictures=1)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png")).astype(int)
    reddish = np.argwhere((sheet[..., 0] > sheet[..., 1] + 60) & (sheet[..., 0] < 140))  # the tint on black
    middle, size = reddish.mean(axis=0), np.ptp(reddish, axis=0)
    assert middle[1] == pytest.approx(24 + 1392 * 20.5 / 40, abs=5)
    assert size == pytest.approx([1392 * 12 / 40, 1392 * 12 / 40], rel=0.15)


def test_overlay_leaves_the_known_part_alone() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    drawn = overlay(rgb, disc())
    assert np.array_equal(drawn[~disc()], rgb[~disc()])
    assert (drawn[disc()] != rgb[disc()]).any(axis=1).mean() > 0.95


def test_sheet_in_a_place_that_is_not_there(tmp_path: Path) -> None:
    video = clip(1)
    with pytest.raises(UnwritableMedia, match="cannot be written"):
        check_mask(video, open_mask(disc(), video, MaskRule()), tmp_path / "none" / "sheet.png")


@pytest.mark.parametrize("pictures", [0, 61])
def test_number_of_pictures(pictures: int) -> None:
    video = clip(1)
    with pytest.raises(UsageError, match="expected 1 to 60"):
        check_mask(video, open_mask(disc(), video, MaskRule()), pictures=pictures)
