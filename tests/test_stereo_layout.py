"""How two eyes are put into one picture, and what a file says of it: closed forms, and what FFmpeg reads back."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import mediafiles as media
import numpy as np
import pytest
from av.sidedata.sidedata import Type

from framefill.errors import UsageError
from framefill.media.packing import Packing, packing_of, write_boxes
from framefill.media.reader import open_video
from framefill.media.stereo_layout import DUBOIS_LEFT, DUBOIS_RIGHT, LAYOUTS, Sphere, arranged, arranged_size, grey_of
from framefill.media.writer import VideoWriter

FLAT = Sphere()


def eyes(width: int = 10, height: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return tuple(rng.integers(0, 256, (height, width, 3), np.uint8) for _ in range(2))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [(10, 6), (11, 7), (1, 1)])
def test_the_size_is_as_foretold(layout: str, size: tuple[int, int]) -> None:
    left, right = eyes(*size)
    picture = arranged(layout, left, right, FLAT)
    assert picture.dtype == np.uint8
    assert (picture.shape[1], picture.shape[0]) == arranged_size(layout, *size, FLAT)


def test_whole_layouts_hold_every_pixel_where_it_belongs() -> None:
    left, right = eyes()
    beside = arranged("sbs", left, right, FLAT)
    assert np.array_equal(beside[:, :10], left)
    assert np.array_equal(beside[:, 10:], right)
    crossed = arranged("cross", left, right, FLAT)
    assert np.array_equal(crossed[:, :10], right)
    assert np.array_equal(crossed[:, 10:], left)
    stacked = arranged("tb", left, right, FLAT)
    assert np.array_equal(stacked[:6], left)
    assert np.array_equal(stacked[6:], right)


def test_half_layouts_average_pairs_of_pixels() -> None:
    left, right = eyes()
    pairs = [eye.reshape(6, 5, 2, 3).mean(2) for eye in (left, right)]
    assert np.abs(arranged("half-sbs", left, right, FLAT) - np.hstack(pairs)).max() <= 0.5
    rows = [eye.reshape(3, 2, 10, 3).mean(1) for eye in (left, right)]
    assert np.abs(arranged("half-tb", left, right, FLAT) - np.vstack(rows)).max() <= 0.5


def test_an_anaglyph_takes_red_from_the_left_and_the_rest_from_the_right() -> None:
    left, right = eyes()
    weights = np.array([0.299, 0.587, 0.114])
    half = arranged("anaglyph-half-colour", left, right, FLAT)
    assert np.array_equal(half[..., 1:], right[..., 1:])
    assert np.abs(half[..., 0] - left @ weights).max() <= 1
    grey = arranged("anaglyph-grey", left, right, FLAT)
    assert np.abs(grey[..., 1] - right @ weights).max() <= 1
    assert np.array_equal(grey[..., 1], grey[..., 2])


def test_dubois_keeps_white_and_black_and_mixes_in_linear_light() -> None:
    assert np.allclose((DUBOIS_LEFT + DUBOIS_RIGHT).sum(1), 1, atol=0.02)
    for level in (0, 255):
        flat = np.full((2, 2, 3), level, np.uint8)
        assert np.abs(arranged("anaglyph", flat, flat, FLAT).astype(int) - level).max() <= 3
    left, right = eyes()
    linear = [np.where(eye / 255 <= 0.04045, eye / 255 / 12.92, ((eye / 255 + 0.055) / 1.055) ** 2.4) for eye in (left, right)]
    light = np.clip(linear[0] @ DUBOIS_LEFT.T + linear[1] @ DUBOIS_RIGHT.T, 0, 1)
    wanted = 255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(arranged("anaglyph", left, right, FLAT) - wanted).max() <= 1.5


def test_a_sphere_shows_the_picture_straight_ahead_and_black_behind_its_borders() -> None:
    sphere = Sphere(90)
    assert sphere.side(100) == 158  # pi x focal length 50, even
    picture = np.full((60, 100, 3), 200, np.uint8)
    picture[29:31, 49:51] = 10
    around = arranged("vr180", picture, picture, sphere)
    assert around.shape == (158, 316, 3)
    assert around[79, 79].max() < 100  # the middle of the picture in the middle of the eye
    row = around[79, :158, 0]
    reach = np.flatnonzero(row > 100)
    degrees = (reach[[0, -1]] + 0.5) / 158 * 180 - 90
    assert degrees == pytest.approx([-45, 45], abs=1.2)
    assert around[0].max() == 0


def test_wide_pixels_stand_as_wide_before_the_eye() -> None:
    assert Sphere(90, 2.0).side(50) == Sphere(90).side(100)


def test_a_view_that_is_no_view_is_refused() -> None:
    with pytest.raises(UsageError, match="10 to 170"):
        Sphere(180)


def test_depth_is_drawn_near_white() -> None:
    assert grey_of(np.array([[0, 0.5, 1, 2]], np.float32))[0, :, 0].tolist() == [0, 128, 255, 255]


def written(path: Path, packing: Packing | None, tmp_path: Path) -> tuple[av.VideoFrame, dict[str, str], int]:
    source = media.write_video(tmp_path / "in.mp4", sounds=[media.Sound()], words=[media.Words()])
    with open_video(source) as reader, VideoWriter(path, reader, size=(128, 48), packing=packing) as writer:
        for frame in reader:
            writer.write(frame, np.hstack([frame.rgb, frame.rgb]))
    if path.suffix != ".ts":  # there each packet gets a header of its own
        assert media.packets(path, "audio") == media.packets(source, "audio")
    assert len(media.decode(path)) == 12
    with av.open(str(path)) as file:
        return next(file.decode(video=0)), dict(file.streams.video[0].metadata), len(file.streams)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts"])
@pytest.mark.parametrize(("mode", "code"), [("left_right", 1), ("top_bottom", 2)])
def test_players_are_told_how_the_eyes_lie(suffix: str, mode: str, code: int, tmp_path: Path) -> None:
    first, metadata, _ = written(tmp_path / f"out{suffix}", Packing(mode), tmp_path)
    told = [struct.unpack_from("<i", bytes(data))[0] for data in first.side_data if data.type == Type.STEREO3D]
    assert set(told) == {code}
    assert metadata.get("stereo_mode") == (mode if suffix == ".mkv" else None)


def test_half_a_sphere_is_said_in_mp4(tmp_path: Path) -> None:
    first, _, streams = written(tmp_path / "out.mp4", Packing("left_right", sphere=True), tmp_path)
    (sphere,) = [bytes(data) for data in first.side_data if data.type == Type.SPHERICAL]
    # AVSphericalMapping: projection (2 = a part of an equirectangular picture), three angles, and what it lacks on each side of 2**32.
    assert struct.unpack_from("<iiiiIIII", sphere) == (2, 0, 0, 0, 2**30, 0, 2**30, 0)
    assert streams == 3


def test_nothing_is_said_of_what_no_player_unpacks(tmp_path: Path) -> None:
    assert packing_of("rgbd") is None
    first, _, _ = written(tmp_path / "out.mp4", None, tmp_path)
    assert not [data for data in first.side_data if data.type in (Type.STEREO3D, Type.SPHERICAL)]


@pytest.mark.parametrize("late", [False, True])
def test_boxes_go_into_a_header_before_and_behind_the_pictures(late: bool, tmp_path: Path) -> None:
    """Places are moved only where the pictures lie behind the header; all of them are still found."""
    options = {} if late else {"movflags": "+faststart"}
    path = media.write_video(tmp_path / "a.mp4", sounds=[media.Sound()], container=options)
    before = [frame.to_ndarray(format="rgb24") for frame in media.decode(path)]
    size = path.stat().st_size
    write_boxes(path, Packing("left_right", sphere=True))
    assert path.stat().st_size > size
    after = media.decode(path)
    assert all(np.array_equal(one, other.to_ndarray(format="rgb24")) for one, other in zip(before, after, strict=True))
    assert Type.SPHERICAL in {data.type for data in after[0].side_data}
    assert media.packets(path, "audio")[0]


def test_a_container_without_words_for_a_sphere_says_so(tmp_path: Path) -> None:
    source = media.write_video(tmp_path / "in.mp4", frames=2, fps=Fraction(25))
    with open_video(source) as reader, VideoWriter(tmp_path / "out.mkv", reader, packing=Packing("left_right", True)) as writer:
        for frame in reader:
            writer.write(frame, frame.rgb)
    assert any("VR180" in line for line in writer.warnings)
