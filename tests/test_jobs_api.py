"""The one-call API in memory: the same pixels as the program's, and clear refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from jobs_kit import box_mask, picture, rgb_of, write_clip, write_mask

import framefill
from framefill.errors import MaskMismatch, UsageError

FRAMES, WIDTH, HEIGHT = 9, 64, 48


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return np.stack([picture(index, WIDTH, HEIGHT) for index in range(FRAMES)])


@pytest.fixture(scope="module")
def hole() -> np.ndarray:
    return box_mask(FRAMES, WIDTH, HEIGHT)


def test_arrays_in_arrays_out(frames: np.ndarray, hole: np.ndarray) -> None:
    before = frames.copy()
    filled = framefill.inpaint(frames, hole)
    assert np.array_equal(filled.frames[~hole], frames[~hole])
    assert (filled.frames[hole] != frames[hole]).any()
    assert (filled.provenance[~hole] == 0).all()
    assert (filled.provenance[hole] > 0).all()
    assert not filled.remaining.any()
    assert np.array_equal(frames, before)


def test_memory_and_file_give_the_same_pixels(tmp_path: Path, frames: np.ndarray, hole: np.ndarray) -> None:
    clip, mask = write_clip(tmp_path / "clip.mkv", FRAMES, WIDTH, HEIGHT), write_mask(tmp_path / "mask.npy", hole)
    record = framefill.fill_file(framefill.FillSettings(clip, tmp_path / "out.mkv", mask=mask, lossless=True))
    assert record.frames == FRAMES
    result = rgb_of(tmp_path / "out.mkv")
    assert np.array_equal(framefill.inpaint(frames, hole).frames, result)
    assert np.array_equal(framefill.inpaint(clip, mask).frames, result)
    video = framefill.Video.read(clip)
    assert np.array_equal(framefill.inpaint(video, framefill.read_mask(mask, video)).frames, result)


def test_uint8_and_single_masks_are_understood(frames: np.ndarray, hole: np.ndarray) -> None:
    expected = framefill.inpaint(frames, np.repeat(hole[:1], FRAMES, 0)).frames
    assert np.array_equal(framefill.inpaint(frames, hole[0].astype(np.uint8) * 255).frames, expected)
    assert np.array_equal(framefill.inpaint(frames, hole[0]).frames, expected)


def test_an_empty_mask_changes_nothing(frames: np.ndarray) -> None:
    assert np.array_equal(framefill.inpaint(frames, np.zeros((HEIGHT, WIDTH), np.bool_)).frames, frames)


def test_outpaint_by_pad_and_by_aspect(frames: np.ndarray) -> None:
    wide = framefill.outpaint(frames, pad=(3, 1, 0, 2))
    assert wide.frames.shape == (FRAMES, HEIGHT + 3, WIDTH + 3, 3)
    assert np.array_equal(wide.frames[:, 1:-2, 3:], frames)
    assert framefill.outpaint(frames, aspect="2:1").frames.shape == (FRAMES, 48, 96, 3)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda f, m: framefill.inpaint(f.astype(np.float32), m), UsageError),
        (lambda f, m: framefill.inpaint(f[0], m), UsageError),
        (lambda f, m: framefill.inpaint(f, m[:3]), MaskMismatch),
        (lambda f, m: framefill.inpaint(f, m.astype(np.int64)), MaskMismatch),
        (lambda f, _: framefill.inpaint(f, "mask.png"), UsageError),
        (lambda f, m: framefill.inpaint(f, m, model="magic"), UsageError),
        (lambda f, _: framefill.outpaint(f), UsageError),
        (lambda f, _: framefill.outpaint(f, pad=(1, 1, 1, 1), aspect="2:1"), UsageError),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(frames: np.ndarray, hole: np.ndarray, change, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        change(frames, hole)
    assert "\n" not in str(caught.value)
