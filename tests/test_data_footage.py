"""Reading at any place: every frame equals that of a reader that decodes from the beginning, whatever the file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from data_kit import scene, write_frames
from mediafiles import cut_off, damage, write_animation, write_images, write_video

from framefill.data.footage import Footage
from framefill.errors import FramefillError, UnreadableMedia
from framefill.media.video import Video


def b_frames(folder: Path) -> Path:
    return write_frames(folder / "b.mp4", scene(1, 24), gop=10)


def uneven(folder: Path) -> Path:
    return write_video(folder / "v.mkv", frames=9, times=[0, 40, 55, 200, 210, 400, 410, 420, 900], time_base=Fraction(1, 1000))


def avi(folder: Path) -> Path:
    return write_frames(folder / "x.avi", scene(2, 14), codec="mpeg4", gop=5)


def avi_without_times(folder: Path) -> Path:
    return write_frames(folder / "h.avi", scene(2, 14), gop=5)


def transport_stream(folder: Path) -> Path:
    """FFmpeg seeks in it only roughly, and comes out behind the place."""
    return write_frames(folder / "t.ts", scene(3, 40), gop=10)


def programme_stream(folder: Path) -> Path:
    return write_frames(folder / "p.mpg", scene(3, 30), codec="mpeg2video", gop=10)


def av1(folder: Path) -> Path:
    return write_frames(folder / "a.mp4", scene(4, 20), codec="libsvtav1", gop=8)


def turned(folder: Path) -> Path:
    return write_video(folder / "r.mp4", frames=8, rotation=90)


def stills(folder: Path) -> Path:
    return write_images(folder / "stills", 11)


def pattern(folder: Path) -> Path:
    return write_images(folder / "some", 21) / "frame1*.png"


def gif(folder: Path) -> Path:
    return write_animation(folder / "a.gif", delays=(40, 120, 80, 20))


@pytest.mark.parametrize(
    "make", [b_frames, uneven, avi, avi_without_times, transport_stream, programme_stream, av1, turned, stills, pattern, gif]
)
def test_frames_by_number_are_those_of_a_whole_pass(tmp_path: Path, make: object) -> None:
    path = make(tmp_path)
    footage, whole = Footage(path), Video.read(path).frames
    assert len(footage) == len(whole)
    last = len(whole) - 1
    for numbers in ([0], [last], [last // 2], [last - 1, last], [1, 1, 2], list(range(len(whole)))):
        for rgb, number in zip(footage.read(numbers), numbers, strict=True):
            assert np.array_equal(rgb, whole[number]), number
    assert len(list(footage.small())) == len(whole)
    assert np.array_equal(np.stack(list(footage.small(2))), np.stack(list(footage.small()))[2:])


def test_samples_too(city: Path, vtest: Path) -> None:
    for path in (city, vtest):
        footage, whole = Footage(path), Video.read(path).frames
        assert len(footage) == len(whole)
        for number in (0, 17, len(whole) - 1):
            assert np.array_equal(footage.read([number])[0], whole[number])


@pytest.mark.parametrize("make", [b_frames, turned, stills, gif])
@pytest.mark.parametrize("size", [(24, 36), (90, 100)])
def test_resized_on_reading_is_the_same_picture(tmp_path: Path, make: object, size: tuple[int, int]) -> None:
    footage = Footage(make(tmp_path))
    (whole,) = footage.read([2])
    (small,) = footage.read([2], size)
    how = cv2.INTER_AREA if size[0] < whole.shape[0] else cv2.INTER_CUBIC
    expected = cv2.resize(whole, size[::-1], interpolation=how)
    assert small.shape == expected.shape
    assert np.abs(small.astype(int) - expected).mean() < 3
    assert np.abs(small.mean(axis=(0, 1)) - expected.mean(axis=(0, 1))).max() < 1  # no colour is off


def test_beyond_the_end(tmp_path: Path) -> None:
    footage = Footage(b_frames(tmp_path))
    with pytest.raises(UnreadableMedia, match="has 24 frames, frame 24 was asked for"):
        footage.read([23, 24])


def test_damage_is_said_in_one_line(tmp_path: Path) -> None:
    good = write_video(tmp_path / "good.mp4", frames=40, container={"movflags": "+faststart"})
    damage(good, tmp_path / "damaged.mp4")
    cut_off(good, tmp_path / "short.mp4")
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("no video", encoding="utf-8")
    for name in ("damaged", "short", "empty", "text"):
        with pytest.raises(FramefillError) as caught:
            list(Footage(tmp_path / f"{name}.mp4").small())
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(UnreadableMedia):
        Footage(tmp_path / "damaged.mp4").read(list(range(40)))


def test_a_size_that_changes_within_the_file_is_refused(tmp_path: Path) -> None:
    """Two runs of packets with times of their own, joined: the second half is smaller."""
    parts = [write_frames(tmp_path / "a.ts", scene(1, 10)), write_frames(tmp_path / "b.ts", scene(1, 10, 48, 64))]
    with av.open(str(tmp_path / "both.ts"), "w") as out, av.open(str(parts[0])) as one, av.open(str(parts[1])) as other:
        stream = out.add_stream_from_template(one.streams.video[0])
        for packet, later in [*((packet, 0) for packet in one.demux(video=0)), *((packet, 90_000) for packet in other.demux(video=0))]:
            if packet.size:
                packet.stream = stream
                packet.pts, packet.dts = packet.pts + later, packet.dts + later
                out.mux(packet)
    footage = Footage(tmp_path / "both.ts")
    assert len(footage) == 20
    with pytest.raises(UnreadableMedia, match=r"frame 10 is 64x48, the first 96x72; split it"):
        list(footage.small())
