"""Reading: files, folders, animations; times, orientation; what is refused and what is said."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import mediafiles
import numpy as np
import pytest
from PIL import Image

from framefill.errors import UnreadableMedia, UsageError
from framefill.media.reader import VideoReader, open_video, probe
from framefill.media.video import Video


def close_to(rgb: np.ndarray, wanted: np.ndarray, levels: float = 6.0) -> bool:
    """Lossy copies of smooth pictures stay within a few levels; a turned or shifted one does not."""
    return (
        rgb.shape == wanted.shape
        and float(np.abs(rgb.astype(int) - wanted).max()) <= levels * 2
        and float(np.abs(rgb.astype(int) - wanted).mean()) <= levels / 3
    )


def read(path: Path, fps: int | None = None) -> tuple[VideoReader, list]:
    reader = open_video(path, fps)
    with reader:
        return reader, list(reader)


def test_frames_come_in_order_with_their_times(tmp_path: Path) -> None:
    path = mediafiles.write_video(tmp_path / "a.mp4")
    reader, frames = read(path)
    assert [frame.index for frame in frames] == list(range(12))
    assert [frame.pts for frame in frames] == [512 * index for index in range(12)]
    assert [reader.seconds(frame) for frame in frames] == pytest.approx([index / 25 for index in range(12)])
    assert all(close_to(frame.rgb, mediafiles.picture(frame.index)) for frame in frames)
    meta = reader.meta
    assert (meta.width, meta.height, meta.fps, meta.num_frames, meta.time_base) == (64, 48, 25, 12, Fraction(1, 12800))
    assert (meta.codec, meta.pix_fmt, meta.bit_depth, meta.kind, meta.rotation) == ("h264", "yuv420p", 8, "container", 0)
    assert meta.duration == pytest.approx(0.48)
    assert reader.warnings == []


def test_every_pass_starts_anew_and_may_start_late(tmp_path: Path) -> None:
    path = mediafiles.write_video(tmp_path / "a.mp4")
    with open_video(path) as reader:
        first = list(reader)
        again = list(reader)
        late = list(reader.frames(5))
    assert all(np.array_equal(a.rgb, b.rgb) and a.pts == b.pts for a, b in zip(first, again, strict=True))
    assert [frame.index for frame in late] == list(range(5, 12))
    assert np.array_equal(late[0].rgb, first[5].rgb)


def test_close_ends_a_pass_under_way(tmp_path: Path) -> None:
    path = mediafiles.write_video(tmp_path / "a.mp4")
    with open_video(path) as reader:
        frames = iter(reader)
        next(frames)
    assert list(frames) == []


def test_variable_frame_rate_is_exact(tmp_path: Path) -> None:
    times = [0, 512, 700, 3000, 3001, 9000]
    path = mediafiles.write_video(tmp_path / "a.mp4", times=times)
    reader, frames = read(path)
    assert [frame.pts for frame in frames] == times
    assert [frame.duration for frame in frames] == [512, 188, 2300, 1, 5999, 512]
    assert reader.seconds(frames[3]) == 3000 / 12800


def test_a_clip_that_starts_late_counts_from_its_first_frame(tmp_path: Path) -> None:
    path = mediafiles.write_video(tmp_path / "a.ts", time_base=Fraction(1, 90000), times=[90000 + 3600 * index for index in range(8)])
    reader, frames = read(path)
    assert reader.meta.start_pts > 0
    assert [reader.seconds(frame) for frame in frames] == pytest.approx([index / 25 for index in range(8)])


@pytest.mark.parametrize("name", ["a.mkv", "a.webm", "a.mp4", "a.ts"])
@pytest.mark.parametrize("first", [0, 33, 400])
def test_what_is_said_of_the_length_counts_from_the_first_frame_too(tmp_path: Path, name: str, first: int) -> None:
    codec = "libvpx-vp9" if name == "a.webm" else "libx264"
    times = [first + 40 * index for index in range(12)]
    meta = read(mediafiles.write_video(tmp_path / name, codec=codec, time_base=Fraction(1, 1000), times=times))[0].meta
    assert meta.num_frames == 12
    assert meta.duration == pytest.approx(0.48, abs=0.005)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    ("rotation", "mirrored"), [(90, False), (180, False), (270, False), (0, True), (90, True), (180, True), (270, True)]
)
def test_frames_are_turned_upright(tmp_path: Path, suffix: str, rotation: int, mirrored: bool) -> None:
    path = mediafiles.write_video(tmp_path / f"a{suffix}", frames=2, rotation=rotation, mirrored=mirrored, aspect=Fraction(4, 3))
    reader, frames = read(path)
    wanted = np.rot90(mediafiles.picture(0), -rotation // 90)
    assert close_to(frames[0].rgb, wanted[:, ::-1] if mirrored else wanted)
    assert (reader.meta.rotation, reader.meta.mirrored) == (rotation, mirrored)
    turned = rotation in (90, 270)
    assert (reader.meta.width, reader.meta.height) == ((48, 64) if turned else (64, 48))
    assert reader.meta.sample_aspect_ratio == (Fraction(3, 4) if turned else Fraction(4, 3))


@pytest.mark.parametrize(
    ("size", "codec", "pix_fmt"), [((33, 17), "libvpx-vp9", "yuv420p"), ((1, 1), "libx264", "yuv444p"), ((35, 19), "ffv1", "bgr0")]
)
def test_odd_sizes(tmp_path: Path, size: tuple[int, int], codec: str, pix_fmt: str) -> None:
    path = mediafiles.write_video(tmp_path / "a.mkv", size=size, frames=3, codec=codec, pix_fmt=pix_fmt)
    reader, frames = read(path)
    assert (reader.meta.width, reader.meta.height) == size
    assert [frame.rgb.shape for frame in frames] == [(size[1], size[0], 3)] * 3
    assert all(frame.rgb.flags.c_contiguous for frame in frames)


@pytest.mark.parametrize(("codec", "pix_fmt"), [("libx265", "yuv420p10le"), ("ffv1", "yuv444p16le"), ("prores_ks", "yuv422p10le")])
def test_deep_sources_are_announced_once(tmp_path: Path, codec: str, pix_fmt: str) -> None:
    path = mediafiles.write_video(tmp_path / "a.mkv", codec=codec, pix_fmt=pix_fmt, frames=4)
    with open_video(path) as reader:
        frames = list(reader)
        list(reader)
    assert len(reader.warnings) == 1
    assert pix_fmt in reader.warnings[0]
    assert "8 bit" in reader.warnings[0]
    assert reader.meta.bit_depth == (16 if "16" in pix_fmt else 10)
    assert close_to(frames[0].rgb, mediafiles.picture(0))


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_announced(tmp_path: Path, transfer: int, name: str) -> None:
    path = mediafiles.write_video(tmp_path / "a.mp4", codec="libx265", pix_fmt="yuv420p10le", colour=(1, 9, 9, transfer), frames=2)
    reader, _ = read(path)
    assert (reader.meta.color_trc, reader.meta.color_primaries, reader.meta.color_space) == (transfer, 9, 9)
    assert len([line for line in reader.warnings if name in line and "tags are kept" in line]) == 1


def test_in_memory_and_in_chunks(tmp_path: Path) -> None:
    path = mediafiles.write_video(tmp_path / "a.mp4", frames=7)
    whole = Video.read(path)
    chunks = list(Video.stream(path, 3))
    assert whole.frames.shape == (7, 48, 64, 3)
    assert [len(chunk.frames) for chunk in chunks] == [3, 3, 1]
    assert np.array_equal(np.concatenate([chunk.frames for chunk in chunks]), whole.frames)
    assert np.array_equal(np.concatenate([chunk.times for chunk in chunks]), whole.times)
    assert whole.times == pytest.approx(np.arange(7) / 25)


def test_probe_tells_of_sound_subtitles_and_chapters(tmp_path: Path) -> None:
    path = mediafiles.write_video(
        tmp_path / "a.mp4",
        sounds=[mediafiles.Sound(metadata={"language": "deu"}), mediafiles.Sound("ac3", layout="mono")],
        words=[mediafiles.Words(metadata={"language": "fra"})],
        chapters=[(0, 200, "one"), (200, 480, "two")],
        metadata={"title": "A clip"},
    )
    meta = probe(path)
    sound, second, words = meta.tracks[:3]
    assert (sound.kind, sound.codec, sound.language, sound.detail) == ("audio", "aac", "deu", "48000 Hz stereo")
    assert (second.codec, second.detail) == ("ac3", "48000 Hz mono")
    assert (words.kind, words.codec, words.language) == ("subtitle", "mov_text", "fra")
    assert [(chapter.title, chapter.start, chapter.end) for chapter in meta.chapters] == [("one", 0, 0.2), ("two", 0.2, 0.48)]
    assert meta.metadata["title"] == "A clip"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".bmp"])
def test_a_folder_of_frames_in_natural_order(tmp_path: Path, suffix: str) -> None:
    folder = mediafiles.write_images(tmp_path / "frames", suffix=suffix)
    (folder / "notes.txt").write_text("not a frame")
    reader, frames = read(folder)
    assert len(frames) == reader.meta.num_frames == 12
    assert all(close_to(frame.rgb, mediafiles.picture(frame.index)) for frame in frames)
    assert reader.meta.kind == "images"
    assert reader.seconds(frames[5]) == pytest.approx(0.2)
    assert len(reader.warnings) == 2
    assert "25 frames per second" in reader.warnings[0]
    assert "notes.txt left out" in reader.warnings[1]


def test_what_else_lies_in_a_folder_of_frames_is_said(tmp_path: Path) -> None:
    folder = mediafiles.write_images(tmp_path / "in", 2)
    (folder / ".hidden").touch()
    assert not [line for line in read(folder, 25)[0].warnings if "left out" in line]
    mediafiles.write_video(folder / "clip.mp4", frames=2)
    for source in (folder, folder / "*"):
        assert read(source, 25)[0].warnings == [f"only the images in {source} are read: clip.mp4 left out"]
    (folder / "notes.txt").touch()
    assert read(folder, 25)[0].warnings == [f"only the images in {folder} are read: clip.mp4 and 1 more left out"]
    assert read(folder / "*.png", 25)[0].warnings == []


def test_globs_patterns_and_a_stated_rate(tmp_path: Path) -> None:
    folder = mediafiles.write_images(tmp_path / "frames")
    mediafiles.write_images(folder, count=2, suffix=".jpg")
    for name in ("*.png", "frame%d.png"):
        with open_video(folder / name, fps=Fraction(30000, 1001)) as reader:
            frames = list(reader)
        assert len(frames) == 12
        assert np.array_equal(frames[10].rgb, mediafiles.picture(10))
        assert reader.warnings == []
        assert reader.seconds(frames[1]) == pytest.approx(1001 / 30000)


def test_a_rate_for_a_file_with_times_is_refused(tmp_path: Path) -> None:
    path = mediafiles.write_video(tmp_path / "a.mp4", frames=2)
    with pytest.raises(UsageError, match="times of its own"):
        open_video(path, fps=30)


@pytest.mark.parametrize("suffix", [".gif", ".apng", ".png", ".webp"])
def test_animations_keep_their_delays(tmp_path: Path, suffix: str) -> None:
    path = mediafiles.write_animation(tmp_path / f"a{suffix}")
    reader, frames = read(path)
    assert [reader.seconds(frame) for frame in frames] == pytest.approx([0, 0.04, 0.16])
    assert [frame.duration * reader.meta.time_base for frame in frames] == [Fraction(1, 25), Fraction(3, 25), Fraction(2, 25)]
    assert reader.meta.kind == "animation"
    limit = 30 if suffix == ".gif" else 0.1
    assert np.abs(frames[1].rgb.astype(int) - mediafiles.picture(20)).max() <= limit * 2


def test_one_still_image(tmp_path: Path) -> None:
    Image.fromarray(mediafiles.picture(3)).save(tmp_path / "a.png")
    reader, frames = read(tmp_path / "a.png")
    assert len(frames) == 1
    assert np.array_equal(frames[0].rgb, mediafiles.picture(3))
    assert reader.warnings == []


def test_image_oddities(tmp_path: Path) -> None:
    import cv2

    deep = tmp_path / "deep"
    deep.mkdir()
    wanted = mediafiles.picture(0)
    cv2.imwrite(str(deep / "a.png"), wanted[:, :, ::-1].astype(np.uint16) * 257)
    cv2.imwrite(str(deep / "b.tif"), wanted[:, :, ::-1].astype(np.uint16) * 257)
    reader, frames = read(deep)
    assert np.array_equal(frames[0].rgb, wanted)
    assert np.array_equal(frames[1].rgb, wanted)
    assert [line for line in reader.warnings if "16-bit" in line] == ["16-bit images: worked on in 8 bit"]

    turned = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(wanted).save(turned, quality=98, subsampling=0, exif=exif)
    reader, frames = read(turned)
    assert (reader.meta.width, reader.meta.height) == (48, 64)
    assert close_to(frames[0].rgb, np.rot90(wanted, -1))


def unreadable(path: Path) -> str:
    with pytest.raises(UnreadableMedia) as caught, open_video(path) as reader:
        list(reader)
    line = str(caught.value)
    assert "\n" not in line
    assert path.name in line
    return line


def test_what_is_refused_says_why_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("This is not a video.\n" * 100)
    (tmp_path / "notes.txt").write_text("This is not a video.\n" * 100)
    (tmp_path / "zero.mp4").touch()
    (tmp_path / "zero.png").touch()
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty").mkdir()
    assert "not a media file" in unreadable(tmp_path / "text.mp4")
    unreadable(tmp_path / "notes.txt")
    assert "0 bytes" in unreadable(tmp_path / "zero.mp4")
    assert "0 bytes" in unreadable(tmp_path / "zero.png")
    assert "not an image" in unreadable(tmp_path / "text.png")
    assert "does not exist" in unreadable(tmp_path / "missing.mp4")
    assert "no image" in unreadable(tmp_path / "empty")
    assert "no image" in unreadable(tmp_path / "*.png2")
    assert "only sound" in unreadable(mediafiles.write_sound(tmp_path / "sound.m4a"))
    truncated = mediafiles.cut_off(mediafiles.write_video(tmp_path / "a.mp4"), tmp_path / "truncated.mp4")
    assert "not a media file" in unreadable(truncated)


def test_images_of_two_sizes_name_the_file(tmp_path: Path) -> None:
    folder = mediafiles.write_images(tmp_path / "frames", count=4)
    Image.fromarray(mediafiles.picture(0, 32, 48)).save(folder / "frame2.png")
    with pytest.raises(UnreadableMedia, match=r"frame2\.png is 32x48, but frame0\.png is 64x48"):
        open_video(folder)


def test_a_damaged_image_names_the_file(tmp_path: Path) -> None:
    folder = mediafiles.write_images(tmp_path / "frames", count=3)
    data = (folder / "frame1.png").read_bytes()
    (folder / "frame1.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(UnreadableMedia, match=r"frame1\.png is damaged"), open_video(folder) as reader:
        list(reader)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_a_cut_off_file_gives_what_there_is_and_says_so(tmp_path: Path, suffix: str) -> None:
    container = {"movflags": "+faststart"} if suffix == ".mp4" else {}
    options = {"bf": "0"} if suffix == ".avi" else {}
    base = Fraction(1, 25) if suffix == ".avi" else Fraction(1, 12800)
    whole = mediafiles.write_video(tmp_path / f"a{suffix}", frames=50, size=(128, 96), container=container, options=options, time_base=base)
    reader, frames = read(mediafiles.cut_off(whole, tmp_path / f"b{suffix}", 0.5))
    assert 10 < len(frames) < 40
    assert [line for line in reader.warnings if "ends early" in line] == [f"the file ends early: {len(frames)} of 50 frames read"]
    assert close_to(frames[5].rgb, mediafiles.picture(5, 128, 96))
    reader, frames = read(whole)
    assert (len(frames), reader.warnings) == (50, [])


REORDERED = {"libx264": {"preset": "medium", "bf": "2"}, "mpeg4": {"bf": "2", "qscale": "2"}, "mpeg2video": {"bf": "2", "qscale": "2"}}


def avi(path: Path, codec: str, frames: int, **options: str) -> Path:
    """Frame n is white from the left to column 8 n."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, width=336, height=48, pix_fmt="yuv420p", options={**REORDERED[codec], **options})
        for n in range(frames):
            picture = np.zeros((48, 336, 3), np.uint8)
            picture[:, : 8 * n] = 255
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = n, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def number(rgb: np.ndarray) -> int:
    return round(float((rgb[24] > 127).mean(-1).sum()) / 8)


@pytest.mark.parametrize("frames", [1, 5, 20, 21])
@pytest.mark.parametrize("codec", REORDERED)
def test_an_avi_has_every_frame_once_at_its_own_time(tmp_path: Path, codec: str, frames: int) -> None:
    """An AVI stores no times; FFmpeg's guesses were a frame late, or those of another frame, and its last frames came twice."""
    reader, found = read(avi(tmp_path / "a.avi", codec, frames))
    assert [frame.pts for frame in found] == list(range(frames))
    assert {frame.duration for frame in found} == {1}
    assert reader.warnings == []
    assert [number(frame.rgb) for frame in found] == list(range(frames))


def test_frames_that_an_avi_has_lost_do_not_move_the_others(tmp_path: Path) -> None:
    path = avi(tmp_path / "a.avi", "libx264", 40, g="10")
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for position, size in places[13:15]:
        assert data[position - 8 : position - 4] == b"00dc"
        data[position : position + size] = bytes(size)
    path.write_bytes(data)
    reader, found = read(path)
    assert 36 <= len(found) < 40
    assert any("damaged" in line for line in reader.warnings)
    assert [frame.pts for frame in found[-20:]] == list(range(20, 40))
    assert [number(frame.rgb) for frame in found[-20:]] == list(range(20, 40))


def test_damaged_packets_are_skipped_and_counted(tmp_path: Path) -> None:
    path = mediafiles.write_video(
        tmp_path / "a.mkv", codec="ffv1", pix_fmt="bgr0", frames=20, options={"g": "1", "level": "3", "slicecrc": "1"}
    )
    hit = mediafiles.damage(path, tmp_path / "b.mkv")
    with open_video(tmp_path / "b.mkv") as reader:
        frames = list(reader)
        list(reader)
    assert hit == 4
    assert len(reader.warnings) == 1
    assert reader.warnings[0].startswith(f"{hit} damaged ")
    intact = [frame for frame in frames if (round(reader.seconds(frame) * 25) - 3) % 5]
    assert len(intact) == 16
    assert all(np.array_equal(frame.rgb, mediafiles.picture(round(reader.seconds(frame) * 25))) for frame in intact)


def test_damaged_h264_is_counted_and_keeps_its_times(tmp_path: Path) -> None:
    path = mediafiles.write_video(tmp_path / "a.mp4", frames=30)
    mediafiles.damage(path, tmp_path / "b.mp4", every=10)
    reader, frames = read(tmp_path / "b.mp4")
    assert 20 <= len(frames) <= 30
    assert len([line for line in reader.warnings if "damaged" in line]) >= 1
    assert {frame.pts for frame in frames} <= {512 * index for index in range(30)}


def test_memory_does_not_grow_with_the_clip(tmp_path: Path) -> None:
    """Peak memory of a fresh process that reads 40 and 400 frames of 640x480 (0.9 MB each as RGB, as much again as the decoder's)."""
    script = (
        "import sys, resource\n"
        "from framefill.media.reader import open_video\n"
        "with open_video(sys.argv[1]) as reader:\n"
        "    held = [frame.index for frame in reader]\n"
        "print(len(held), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)\n"
    )
    peaks = []
    for frames in (40, 400):
        path = mediafiles.write_video(tmp_path / f"{frames}.mp4", frames=frames, size=(640, 480), pictures=4)
        count, peak = subprocess.run([sys.executable, "-c", script, str(path)], check=True, capture_output=True, text=True).stdout.split()
        assert int(count) == frames
        peaks.append(int(peak))
    assert peaks[1] < peaks[0] + 30


def test_real_files(shared: Path) -> None:
    with open_video(shared / "data/dev/portrait/video.mp4") as reader:
        frames = list(reader)
    assert (reader.meta.width, reader.meta.height, reader.meta.color_range, len(frames)) == (512, 768, 2, 25)
    assert frames[0].rgb.shape == (768, 512, 3)
    with open_video(shared / "data/dev/mismatch/video.mp4") as reader:
        assert sum(1 for _ in reader) == 81
    for path in sorted((shared / "data/train").glob("*.mp4")):
        if path.stat().st_size < 1_500_000:
            with open_video(path) as reader:
                assert sum(1 for _ in reader) == reader.meta.num_frames
            assert reader.warnings == []
