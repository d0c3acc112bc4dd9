"""Clips as data: the same bytes from (seed, epoch, index) whoever reads them, undistorted, at the rate asked for."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from data_kit import scene, write_frames
from hypothesis import given
from hypothesis import strategies as st
from mediafiles import write_images, write_video
from torch.utils.data import ConcatDataset, DataLoader, Dataset

from framefill.data.crop import cover
from framefill.data.dataset import ClipDataset, MixedDataset, SyntheticDataset, collate, made_beside, single_threaded
from framefill.data.manifest import Clip, write_manifest
from framefill.data.windows import Sampling, windows_of
from framefill.errors import UnreadableMedia, UsageError
from framefill.media.reader import probe
from framefill.media.video import VideoMeta


def clip(path: Path, frames: int, fps: float = 25.0, start: int = 0, size: tuple[int, int] = (96, 72)) -> Clip:
    return Clip(path, start, start + frames, fps, *size)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    folder = tmp_path_factory.mktemp("clips")
    found = [clip(write_frames(folder / f"{seed}.mp4", scene(seed, 30)), 30) for seed in range(3)]
    stills = clip(write_images(folder / "stills", 12, size=(96, 72)), 12)
    return [*found, replace(found[0], split="val"), stills]


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 frames whose grey level is four times the frame's number."""
    frames = np.repeat(np.arange(0, 240, 4, dtype=np.uint8), 48 * 64 * 3).reshape(60, 48, 64, 3)
    return write_frames(tmp_path_factory.mktemp("numbered") / "n.mp4", frames, crf=0)


def shown(video: torch.Tensor) -> list[int]:
    """The numbers of the frames of `numbered`."""
    return [round(float(level) / 4) for level in video.double().mean(dim=(1, 2, 3))]


def everything(data: Dataset[object], workers: int) -> list[bytes]:
    loader = DataLoader(
        data, batch_size=2, num_workers=workers, collate_fn=collate, worker_init_fn=single_threaded,
        multiprocessing_context="spawn" if workers else None,
    )  # fmt: skip
    return [row.numpy().tobytes() for batch in loader for row in batch["video"]]


def test_the_same_bytes_in_this_process_and_in_two_workers(clips: list[Clip], tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.jsonl", clips)
    data = ClipDataset(tmp_path / "m.jsonl", 8, (32, 40), seed=3)
    first = everything(data, 0)
    both = ConcatDataset([data, SyntheticDataset(5, 8, (32, 40), seed=1)])
    assert everything(both, 2) == everything(both, 0)
    assert everything(ClipDataset(clips, 8, (32, 40), seed=3), 0) == first
    assert [data[index]["video"].numpy().tobytes() for index in reversed(range(len(data)))] == first[::-1]
    data.set_epoch(1)
    second = everything(data, 0)
    assert all(a != b for a, b in zip(first, second, strict=True))
    data.set_epoch(0)
    assert everything(data, 0) == first
    assert everything(ClipDataset(clips, 8, (32, 40), seed=4), 0) != first


def test_an_epoch_passes_over_all_footage(numbered: Path) -> None:
    data = ClipDataset([clip(numbered, 60, size=(64, 48))], 8, 32)
    assert len(data) == 7
    seen: set[int] = set()
    for epoch in range(6):
        data.set_epoch(epoch)
        for index in range(len(data)):
            numbers = shown(data[index]["video"])
            assert numbers == list(range(numbers[0], numbers[0] + 8))
            seen.update(numbers)
    assert len(seen) > 55


def test_a_clip_is_never_left(numbered: Path) -> None:
    data = ClipDataset([clip(numbered, 13, start=20, size=(64, 48))], 8, 32)
    starts = set()
    for epoch in range(40):
        data.set_epoch(epoch)
        numbers = shown(data[0]["video"])
        assert numbers[0] >= 20
        assert numbers[-1] < 33
        starts.add(numbers[0])
    assert starts == {20, 21, 22, 23, 24, 25}


@pytest.mark.parametrize(
    ("fps", "expected"), [(None, [0, 1, 2, 3]), (12.5, [0, 2, 4, 6]), (10, [0, 2, 5, 7]), (5, [0, 5, 10, 15]), (25, [0, 1, 2, 3])]
)
def test_rates_are_met_by_leaving_frames_out(numbered: Path, fps: float | None, expected: list[int]) -> None:
    data = ClipDataset([clip(numbered, 60, size=(64, 48))], 4, 32, fps, sampling="strided")
    assert shown(data[0]["video"]) == expected


def test_strided_clips_lie_where_they_should(numbered: Path) -> None:
    whole = clip(numbered, 60, size=(64, 48))
    assert [shown(item["video"])[0] for item in ClipDataset([whole], 16, 32, sampling="strided")] == [0, 16, 32]
    assert [shown(item["video"])[0] for item in ClipDataset([whole], 16, 32, sampling="strided", stride=20)] == [0, 20, 40]
    assert [shown(item["video"])[0] for item in ClipDataset([whole], 4, 32, 12.5, sampling="strided", stride=8)] == [0, 16, 32, 48]


def test_strided_takes_the_middle_unmirrored_in_every_epoch(clips: list[Clip]) -> None:
    data = ClipDataset(clips, 8, 32, sampling="strided", flip=1.0)
    before = everything(data, 0)
    data.set_epoch(7)
    assert everything(data, 0) == before


def test_flip_mirrors_each_frame(clips: list[Clip]) -> None:
    straight, mirrored = (ClipDataset(clips, 8, (36, 48), flip=flip)[0]["video"] for flip in (0.0, 1.0))
    assert torch.equal(straight, mirrored.flip(2))
    flips = 0
    always = ClipDataset(clips, 8, (36, 48), flip=0.0)
    half = ClipDataset(clips, 8, (36, 48))
    for epoch in range(40):
        always.set_epoch(epoch)
        half.set_epoch(epoch)
        flips += not torch.equal(always[0]["video"], half[0]["video"])
    assert 10 <= flips <= 30


@pytest.mark.parametrize("size", [32, (32, 32), (20, 60), (60, 20), (144, 192)])
def test_a_circle_stays_a_circle(tmp_path: Path, size: int | tuple[int, int]) -> None:
    y, x = np.mgrid[0:72, 0:96]
    disc = np.where(np.hypot(x - 47.5, y - 35.5) < 7, 255, 0).astype(np.uint8)
    path = write_frames(tmp_path / "disc.mp4", np.repeat(disc[None, :, :, None], 3, axis=3).repeat(4, axis=0), crf=1)
    video = ClipDataset([clip(path, 4)], 4, size, sampling="strided")[0]["video"]
    bright = video[0, :, :, 1].float() / 255
    height, width = float(bright.amax(dim=1).sum()), float(bright.amax(dim=0).sum())
    assert abs(height / width - 1) < 0.12


def test_pixels_that_are_not_square_become_square(tmp_path: Path) -> None:
    path = write_video(tmp_path / "wide.mp4", size=(64, 64), aspect=Fraction(2))
    assert cover(probe(path), (32, 32)) == (32, 64)
    assert cover(probe(path), (64, 16)) == (64, 128)


def test_what_cannot_be_had(clips: list[Clip], numbered: Path) -> None:
    for arguments, says in (
        ((clips, 31, 32), "none of 4 clips has 31 frames"),
        ((clips, 8, 32, 60), "none of 4 clips has 8 frames at 60 frames/s"),
        ((clips, 0, 32), "frames 0"),
        ((clips, 8, 0), "size is 0x0"),
        ((clips, 8, 32, -1), "fps -1"),
    ):
        with pytest.raises(UsageError, match=says):
            ClipDataset(*arguments)
    with pytest.raises(UsageError, match="no clip of split 'test' among 5"):
        ClipDataset(clips, 8, 32, split="test")
    assert ClipDataset(clips, 20, 32).left_out == 1
    assert len(ClipDataset(clips, 30, 32, split=None)) == 4
    gone = ClipDataset([clip(numbered.with_name("gone.mp4"), 60)], 8, 32)
    with pytest.raises(UnreadableMedia, match=r"gone\.mp4 does not exist"):
        gone[0]
    beyond = ClipDataset([clip(numbered, 20, start=50, size=(64, 48))], 16, 32)
    with pytest.raises(UnreadableMedia, match="has 60 frames"):
        beyond[0]


def test_collate_refuses_mixed_shapes(clips: list[Clip]) -> None:
    with pytest.raises(UsageError, match="cannot be one batch"):
        collate([ClipDataset(clips, 8, 32)[0], ClipDataset(clips, 9, 32)[0]])
    batch = collate([ClipDataset(clips, 8, 32)[index] for index in (2, 0)])
    assert batch["video"].shape == (2, 8, 32, 32, 3)
    assert batch["video"].dtype == torch.uint8
    assert batch["index"].tolist() == [2, 0]


def test_synthetic_clips_are_new_in_every_epoch() -> None:
    data = SyntheticDataset(5, 6, (24, 32), seed=1)
    first = everything(data, 0)
    assert len(first) == 5
    assert len(set(first)) == 5
    assert everything(SyntheticDataset(5, 6, (24, 32), seed=1), 0) == first
    data.set_epoch(1)
    assert not set(everything(data, 0)) & set(first)
    assert not set(everything(SyntheticDataset(5, 6, (24, 32), seed=2), 0)) & set(first)
    with pytest.raises(IndexError):
        data[5]
    with pytest.raises(UsageError, match="count 0"):
        SyntheticDataset(0, 6, 32)


@pytest.mark.parametrize(("count", "share", "others"), [(10, 0.5, 10), (30, 0.25, 10), (10, 0.0, 1), (1, 0.9, 9)])
def test_a_share_of_others_is_counted_of_them_all(count: int, share: float, others: int) -> None:
    assert made_beside(count, share) == others


def test_two_data_sets_mixed_are_both_under_one_numbering_and_change_with_the_epoch() -> None:
    first, second = SyntheticDataset(3, 6, 32, seed=1), SyntheticDataset(2, 6, 32, seed=2)
    mixed = MixedDataset(SyntheticDataset(3, 6, 32, seed=1), SyntheticDataset(2, 6, 32, seed=2))
    for epoch in (0, 1):
        for each in (first, second, mixed):
            each.set_epoch(epoch)
        assert len(mixed) == 5
        parts = [first[0], first[1], first[2], second[0], second[1]]
        assert all(torch.equal(mixed[number]["video"], part["video"]) for number, part in enumerate(parts))


@given(
    start=st.integers(0, 50), length=st.integers(1, 400), frames=st.integers(1, 40), fps=st.sampled_from([None, 5.0, 12.0, 25.0, 60.0]),
    sampling=st.sampled_from(["random", "strided"]), stride=st.sampled_from([None, 1, 7]), seed=st.integers(0, 99),
)  # fmt: skip
def test_windows_lie_inside_their_clip_and_leave_no_long_clip_out(
    start: int, length: int, frames: int, fps: float | None, sampling: Sampling, stride: int | None, seed: int
) -> None:
    whole = Clip(Path("a.mp4"), start, start + length, 25.0, 64, 48)
    windows = windows_of(whole, frames, fps, sampling, stride)
    step = 1.0 if fps is None else 25.0 / fps
    if fps == 60 or int((frames - 1) * step) + 1 > length:
        assert windows == []
        return
    assert windows
    for window in windows:
        numbers = window.draw(np.random.default_rng(seed), frames)
        assert len(numbers) == frames
        assert start <= numbers[0]
        assert numbers[-1] < start + length
        assert all(abs(number - numbers[0] - k * step) < 1 for k, number in enumerate(numbers))
    if sampling == "random":  # their stretches follow each other without a gap and cover every place where a clip can start
        borders = [(window.first, window.last) for window in windows]
        assert borders[0][0] == start
        assert borders[-1][1] == start + length - windows[0].span
        assert all(after[0] == before[1] + 1 for before, after in pairwise(borders))


@given(width=st.integers(1, 4000), height=st.integers(1, 4000), size=st.tuples(st.integers(1, 512), st.integers(1, 512)))
def test_covering_keeps_the_shape(width: int, height: int, size: tuple[int, int]) -> None:
    rows, columns = cover(VideoMeta(width, height, Fraction(1, 25)), size)
    assert rows >= size[0]
    assert columns >= size[1]
    assert rows == size[0] or columns == size[1]
    assert abs(columns - rows * width / height) <= max(1, width / height) or abs(rows - columns * height / width) <= 1
