"""Cuts: found where two clips meet, and nowhere else, not at flashes, fast pans or fades."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from data_kit import scene, shrunk
from numpy.typing import NDArray

from framefill.data.shots import Likeness, Shot, Steps, difference_hash, find_cuts, measure, shots_of, spans_of

Frames = NDArray[np.uint8]


def looked_at(frames: Frames) -> Steps:
    return measure(cv2.resize(rgb, (64, 48), interpolation=cv2.INTER_AREA) for rgb in frames)


def cuts(frames: Frames) -> list[int]:
    return find_cuts(looked_at(frames))


def whole(frames: Frames) -> Shot:
    steps = looked_at(frames)
    (shot,) = shots_of(steps, spans_of(steps))
    return shot


def test_cuts_between_the_joined_samples(city: Path, vtest: Path) -> None:
    street, court = shrunk(city, 40), shrunk(vtest, 40)
    assert cuts(street) == cuts(court) == []
    assert cuts(np.concatenate([street, court])) == [40]
    assert cuts(np.concatenate([court[:20], street[:7], court[20:], street[30:]])) == [20, 27, 47]


def test_cuts_between_procedural_clips_and_none_inside() -> None:
    clips = [scene(seed, 24) for seed in range(30)]
    assert [cuts(clip) for clip in clips] == [[]] * 30
    assert cuts(np.concatenate(clips)) == [24 * number for number in range(1, 30)]


def test_a_flash_is_no_cut(city: Path) -> None:
    frames = shrunk(city, 30)
    for length in (1, 2):
        lit = frames.copy()
        lit[12 : 12 + length] = np.clip(frames[12 : 12 + length].astype(int) + 120, 0, 255)
        assert cuts(lit) == []


def test_a_fast_pan_and_a_fade_are_no_cuts(city: Path) -> None:
    (still,) = shrunk(city, 1, (960, 96))
    pan = np.stack([still[:, 16 * t : 16 * t + 128] for t in range(50)])
    assert cuts(pan) == []
    fade = np.stack([(still[:, :128] * (1 - t / 20)).astype(np.uint8) for t in range(20)])
    assert cuts(fade) == []


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4])
def test_clips_of_a_few_frames(count: int) -> None:
    steps = looked_at(scene(0, 4)[:count])
    (shot,) = shots_of(steps, spans_of(steps, find_cuts(steps)))
    assert (shot.start, shot.end) == (0, count)
    assert (shot.motion > 0) == (count > 1)


def test_motion_is_the_mean_difference_of_neighbours() -> None:
    frames = np.zeros((5, 48, 64, 3), np.uint8)
    frames[1::2] = 3
    assert looked_at(frames).step.tolist() == [0, 3, 3, 3, 3]
    shot = whole(frames)
    assert shot.motion == 3
    still = whole(np.repeat(frames[:1], 5, axis=0))
    assert still.motion == 0


def test_difference_hash_tells_where_it_gets_brighter() -> None:
    ramp = np.tile(np.arange(0, 180, 2, dtype=np.uint8), (72, 1))
    assert difference_hash(ramp) == 2**64 - 1
    assert difference_hash(ramp[:, ::-1].copy()) == 0
    half = ramp.copy()
    half[36:] = half[36:, ::-1]
    assert difference_hash(half) == (2**32 - 1) << 32


def copies(shots: list[Shot], seconds: list[float]) -> list[int]:
    return Likeness([shot.likeness for shot in shots], seconds).copies(0, np.arange(1, len(shots))).tolist()


def test_copies_are_as_long_look_alike_and_move_alike(city: Path) -> None:
    frames = shrunk(city, 60)
    blurred = np.stack([cv2.resize(cv2.resize(rgb, (48, 36), interpolation=cv2.INTER_AREA), (96, 72)) for rgb in frames])
    brighter = np.clip(frames.astype(int) + 12, 0, 255).astype(np.uint8)
    others = [blurred, brighter, frames[:50], frames[::-1], shrunk(city, 90)[30:], scene(1, 60)]
    shots = [whole(clip) for clip in (frames, *others)]
    lengths = [float(len(clip)) for clip in (frames, *others)]
    assert copies(shots, lengths) == [1, 2]
    assert copies(shots, [length * 2 if number == 2 else length for number, length in enumerate(lengths)]) == [1]


def test_the_course_of_motion_tells_two_takes_of_one_scene_apart() -> None:
    """Before one wall something small moves early or late: all four hashes agree, the motion does not."""
    wall = scene(4, 1)[0]
    early, late = np.repeat(wall[None], 40, axis=0), np.repeat(wall[None], 40, axis=0)
    for t in range(10):
        early[5 + t, 30:36, 20 + t : 26 + t] = 255
        late[25 + t, 30:36, 20 + t : 26 + t] = 255
    shots = [whole(clip) for clip in (early, late, early)]
    assert copies(shots, [40, 40, 40]) == [2]
