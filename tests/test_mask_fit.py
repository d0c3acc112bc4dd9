"""Size, length, rate and orientation of a mask against its video: repaired by a stated rule or refused, never in silence."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from mask_clips import Clip, clip, disc, grey, moving, write_video

from framefill.errors import MaskMismatch
from framefill.media.mask import Mask, MaskRule, open_mask, read_mask
from framefill.media.mask_match import Match
from framefill.media.reader import open_video
from framefill.media.video import Video, VideoMeta


def numbered(path: Path, count: int, fps: float | None) -> Path:
    """A mask file in which frame t has exactly t + 1 unknown pixels."""
    frames = [{"counts": [0, t + 1, 24 * 40 - t - 1]} for t in range(count)]
    content = {"size": [24, 40], "frames": frames} | ({} if fps is None else {"fps": fps})
    path.write_text(json.dumps(content))
    return path


def which(mask: Mask) -> list[int]:
    """The number of the mask frame that each video frame was given."""
    return [int(frame.sum()) - 1 for frame in mask.frames]


MATCHES = {
    "one to one": (6, 25, clip(6), {}, [0, 1, 2, 3, 4, 5], "one to one", None),
    "no clock": (6, None, clip(6), {}, [0, 1, 2, 3, 4, 5], "one to one", None),
    "equal count, other rate": (6, 10, clip(6), {}, [0, 1, 2, 3, 4, 5], "one to one", "--mask-match time"),
    "by time": (3, 12.5, clip(6), {}, [0, 0, 1, 1, 2, 2], "matched by time", None),
    "faster mask": (12, 50, clip(6), {}, [0, 2, 4, 6, 8, 10], "matched by time", None),
    "equal count by time": (6, 12.5, clip(6), {"match": "time"}, [0, 0, 1, 1, 2, 2], "matched by time", "last 3 of 6 frames are not used"),
    "15 for 25": (9, 15, clip(15), {}, [0, 0, 1, 1, 2, 3, 3, 4, 4, 5, 6, 6, 7, 7, 8], "matched by time", None),
    "longer": (9, None, clip(6), {}, [0, 1, 2, 3, 4, 5], "one to one from the first", "last 3 of 9 frames are not used"),
    "longer by time": (9, 12.5, clip(6), {}, [0, 0, 1, 1, 2, 2], "matched by time", "last 6 of 9 frames are not used"),
    "hold": (3, None, clip(6), {"length": "hold"}, [0, 1, 2, 2, 2, 2], "then the last mask is held", None),
    "loop": (4, None, clip(6), {"length": "loop"}, [0, 1, 2, 3, 0, 1], "then the mask starts again", None),
    "hold by time": (2, 12.5, clip(6), {"length": "hold"}, [0, 0, 1, 1, 1, 1], "then the last mask is held", None),
    "loop by time": (2, 12.5, clip(6), {"length": "loop"}, [0, 0, 1, 1, 0, 0], "then the mask starts again", None),
    "same rate, shorter, held": (4, 25, clip(6), {"length": "hold"}, [0, 1, 2, 3, 3, 3], "then the last mask is held", None),
    "frame by frame by order": (6, 12.5, clip(6), {"match": "frame"}, [0, 1, 2, 3, 4, 5], "one to one", None),
    "one frame": (1, 25, clip(6), {}, [0, 0, 0, 0, 0, 0], "still mask", None),
}


@pytest.mark.parametrize("case", MATCHES)
def test_matching(tmp_path: Path, case: str) -> None:
    count, fps, video, rule, expected, said, warned = MATCHES[case]
    mask = read_mask(numbered(tmp_path / "m.json", count, fps), video, **rule)
    assert which(mask) == expected
    assert said in "\n".join(mask.understood), mask.understood
    if warned:
        assert any(warned in line for line in mask.warnings), mask.warnings


REFUSED = {
    "shorter": (5, None, {}, "mask has 5 frames, video has 6"),
    "shorter, same rate": (5, 25, {}, "mask has 5 frames, video has 6"),
    "shorter by time": (2, 12.5, {}, "mask ends at 0.16 s"),
    "time without a clock": (6, None, {"match": "time"}, "frame times"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_lengths_that_are_refused(tmp_path: Path, case: str) -> None:
    count, fps, rule, text = REFUSED[case]
    with pytest.raises(MaskMismatch, match=text) as caught:
        open_mask(numbered(tmp_path / "m.json", count, fps), clip(6), MaskRule(**rule))
    assert "pass --mask-" in str(caught.value)


def test_a_video_of_unknown_length_is_refused_where_the_mask_ends(tmp_path: Path) -> None:
    video = clip(6, num_frames=None)
    reader = open_mask(numbered(tmp_path / "m.json", 4, None), video, MaskRule())
    frames = list(video)
    assert reader.at(frames[3]).sum() == 4
    with pytest.raises(MaskMismatch, match="none for frame 4"):
        reader.at(frames[4])


def test_rates_of_one_name_are_one_rate(tmp_path: Path) -> None:
    video = Clip(VideoMeta(40, 24, Fraction(1001, 24000), Fraction(24000, 1001), 8, kind="animation"), 8)
    with pytest.raises(MaskMismatch, match="mask has 6 frames, video has 8"):  # not taken as another rate
        read_mask(numbered(tmp_path / "m.json", 6, 24), video)


def test_frame_times_of_a_variable_rate_decide() -> None:
    """A mask at 0, 1/10, 2/10 s for video frames at 0, 0.05, 0.3 and 0.31 s."""
    found = Match("time", 3, "hold", np.array([0.0, 0.1, 0.2]), end=0.3)
    assert [found.index(0, s) for s in (0.0, 0.05, 0.0999, 0.25, 0.3, 0.31)] == [0, 0, 1, 2, 2, 2]


def test_a_container_that_misstates_its_length_is_counted(tmp_path: Path) -> None:
    """The header says 7, the file holds 6 pictures: six masks fit."""
    path = write_video(tmp_path / "v.mkv", [grey(mask) for mask in moving()])
    with open_video(path) as video:
        object.__setattr__(video, "meta", VideoMeta(**{**vars(video.meta), "num_frames": 7}))
        assert "6 mask frames for 6 video frames: one to one" in open_mask(moving(), video, MaskRule()).understood


@pytest.mark.parametrize(("height", "width"), [(12, 20), (48, 80), (120, 201), (24, 40)])
def test_other_sizes_of_the_same_shape_are_resized(height: int, width: int) -> None:
    mask = read_mask(disc(height, width, height // 4), clip())
    assert mask.frames.shape[1:] == (24, 40)
    assert np.mean(mask.frames[0] != disc(radius=6)) < 0.03
    resized = any("resized to 40x24 by nearest neighbour" in line for line in mask.understood)
    assert resized == ((height, width) != (24, 40))


@pytest.mark.parametrize(("height", "width"), [(24, 41), (40, 24), (1, 1), (24, 30)])
def test_other_shapes_are_refused(height: int, width: int) -> None:
    with pytest.raises(MaskMismatch, match=f"mask is {width}x{height}, video is 40x24"):
        open_mask(np.ones((height, width), bool), clip(), MaskRule())


def test_a_mask_of_the_unturned_size_is_told_so() -> None:
    video = clip(height=40, width=24, rotation=90)
    with pytest.raises(MaskMismatch, match=r"mask is 40x24, video is 24x40 as shown.*turn the mask"):
        open_mask(np.ones((24, 40), bool), video, MaskRule())


def test_a_clip_in_memory() -> None:
    frames = np.zeros((6, 24, 40, 3), np.uint8)
    video = Video(frames, np.arange(6) / 25, VideoMeta(40, 24, Fraction(1, 25), Fraction(25)))
    assert np.array_equal(read_mask(moving(), video).frames, moving())
    with pytest.raises(MaskMismatch, match="mask has 5 frames, video has 6"):
        read_mask(moving()[:5], video)


@pytest.mark.parametrize("frames", [np.zeros((2, 3)), np.zeros((2, 3, 4), np.uint8)])
def test_a_mask_is_bool_t_h_w(frames: np.ndarray) -> None:
    with pytest.raises(MaskMismatch, match="expected bool T H W"):
        Mask(frames)


def test_scan_tells_shares_place_and_content() -> None:
    video = clip()
    scan = open_mask(moving(), video, MaskRule()).scan()
    assert scan.any_unknown
    assert scan.shares == pytest.approx(moving().mean(axis=(1, 2)))
    where = np.argwhere(moving().any(axis=0))
    assert scan.box == (slice(where[0, 0], where[-1, 0] + 1), slice(where[:, 1].min(), where[:, 1].max() + 1))
    assert scan.sha256 == open_mask(moving().astype(np.uint8) * 255, video, MaskRule()).scan().sha256


def test_scan_changes_with_all_that_changes_the_mask() -> None:
    video = clip()
    one_pixel = moving()
    one_pixel[3, 0, 0] = True
    hashes = [
        open_mask(moving(), video, MaskRule()).scan().sha256,
        open_mask(one_pixel, video, MaskRule()).scan().sha256,
        open_mask(moving(), video, MaskRule(dilate=1)).scan().sha256,
        open_mask(moving(), video, MaskRule(invert=True)).scan().sha256,
        open_mask(moving(), video, MaskRule(), ["0,0,2,2"]).scan().sha256,
        open_mask(moving(), video, MaskRule(), ["0,0,2,2@1-2"]).scan().sha256,
        open_mask(moving(), video, MaskRule(), ["0,0,2,2@1-3"]).scan().sha256,
        open_mask(moving()[:1], video, MaskRule()).scan().sha256,
        open_mask(moving()[:5], video, MaskRule(length="hold")).scan().sha256,
        open_mask(moving()[:5], video, MaskRule(length="loop")).scan().sha256,
    ]
    assert len(set(hashes)) == len(hashes)


def test_scan_of_nothing() -> None:
    scan = open_mask(np.zeros((6, 24, 40), bool), clip(), MaskRule()).scan()
    assert not scan.any_unknown
    assert scan.box is None
    assert not scan.shares.any()


def test_scan_does_not_disturb_reading() -> None:
    video = clip()
    reader = open_mask(moving(), video, MaskRule())
    for frame in video:
        reader.scan()
        assert np.array_equal(reader.at(frame), moving()[frame.index])


def test_real_mismatch_is_repaired_by_stated_rules(shared: Path) -> None:
    with open_video(shared / "data/dev/mismatch/video.mp4") as video:
        reader = open_mask(shared / "data/dev/mismatch/mask.mp4", video, MaskRule())
        first = reader.at(next(iter(video)))
    assert first.shape == (720, 1280)
    assert first.any()
    assert "resized to 1280x720 by nearest neighbour" in reader.understood
    assert "81 mask frames for 81 video frames: one to one" in reader.understood
    assert any("15 fps" in line and "25 fps" in line for line in reader.warnings)


def test_real_still_mask(shared: Path) -> None:
    with open_video(shared / "data/dev/portrait/video.mp4") as video:
        scan = open_mask(shared / "data/dev/portrait/mask.png", video, MaskRule()).scan()
    assert scan.shares == pytest.approx([63141 / (512 * 768)])
