"""Frames to tensors and back."""

from __future__ import annotations

import numpy as np
import pytest

from framefill.errors import UsageError
from framefill.media.tensors import from_tensor, mask_to_tensor, to_tensor

torch = pytest.importorskip("torch")


def test_every_level_comes_back() -> None:
    frames = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    video = to_tensor(frames)
    assert video.shape == (1, 1, 3, 16, 16)
    assert video.dtype == torch.float32
    assert (video.min().item(), video.max().item()) == (-1.0, 1.0)
    assert np.array_equal(from_tensor(video)[0], frames)
    assert np.array_equal(from_tensor(video.to(torch.float64))[0], frames)


def test_axes() -> None:
    frames = np.zeros((2, 4, 5, 6, 3), np.uint8)
    frames[1, 2, 3, 4, 0] = 255
    video = to_tensor(frames)
    assert video.shape == (2, 4, 3, 5, 6)
    assert video[1, 2, 0, 3, 4] == 1
    assert (video == 1).sum() == 1
    assert np.array_equal(from_tensor(video), frames)


def test_values_out_of_range_are_clipped() -> None:
    assert from_tensor(torch.tensor([-2.0, 0.0, 5.0]).reshape(1, 1, 3, 1, 1)).ravel().tolist() == [0, 128, 255]


def test_mask() -> None:
    mask = np.zeros((4, 5, 6), bool)
    mask[1, 2, 3] = True
    tensor = mask_to_tensor(mask)
    assert tensor.shape == (1, 4, 1, 5, 6)
    assert tensor.sum() == tensor[0, 1, 0, 2, 3] == 1


@pytest.mark.parametrize("array", [np.zeros((2, 4, 4, 3)), np.zeros((4, 4, 3), np.uint8), np.zeros((2, 4, 4, 1), np.uint8)])
def test_other_arrays_are_refused(array: np.ndarray) -> None:
    with pytest.raises(UsageError):
        to_tensor(array)
    with pytest.raises(UsageError):
        mask_to_tensor(array)
    with pytest.raises(UsageError):
        from_tensor(torch.zeros(2, 3, 4, 4))


@pytest.mark.filterwarnings("error")
def test_locked_arrays_are_taken_without_a_warning() -> None:
    frames, mask = np.zeros((2, 3, 4, 3), np.uint8), np.zeros((2, 3, 4), np.bool_)
    frames.flags.writeable = mask.flags.writeable = False
    assert to_tensor(frames).shape == (1, 2, 3, 3, 4)
    assert mask_to_tensor(mask).shape == (1, 2, 1, 3, 4)
