"""Writing: sizes, times, orientation, codecs, lossless, folders, animations, the same bytes each time, and failures."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import mediafiles
import numpy as np
import pytest
from PIL import Image

from framefill.errors import UnreadableMedia, UnwritableMedia, UsageError
from framefill.media.reader import VideoReader, open_video
from framefill.media.video import Frame, VideoMeta
from framefill.media.writer import VideoWriter


def rewrite(source: Path, target: Path | str, **settings: object) -> tuple[VideoReader, list[Frame], VideoWriter]:
    """Copy a clip picture by picture, through RGB."""
    with open_video(source) as reader, VideoWriter(target, reader, **settings) as writer:  # type: ignore[arg-type]
        frames = []
        for frame in reader:
            writer.write(frame, frame.rgb)
            frames.append(frame)
    return reader, frames, writer


def back(path: Path) -> tuple[VideoReader, list[Frame]]:
    with open_video(path) as reader:
        return reader, list(reader)


def seconds(reader: VideoReader, frames: list[Frame]) -> list[float]:
    return [reader.seconds(frame) for frame in frames]


def differs(first: list[Frame], second: list[Frame]) -> float:
    return float(np.mean([np.abs(a.rgb.astype(int) - b.rgb).mean() for a, b in zip(first, second, strict=True)]))


@pytest.mark.parametrize(
    ("target", "settings", "codec"),
    [
        ("b.mp4", {}, "h264"),
        ("b.mov", {}, "h264"),
        ("b.mkv", {}, "h264"),
        ("b.webm", {}, "vp9"),
        ("b.avi", {}, "h264"),
        ("b.ts", {}, "h264"),
        ("b.mp4", {"codec": "h265"}, "hevc"),
        ("b.mp4", {"codec": "av1"}, "av1"),
        ("b.mkv", {"codec": "vp9", "crf": 10}, "vp9"),
        ("b.mov", {"codec": "prores"}, "prores"),
        ("b.mkv", {"codec": "ffv1"}, "ffv1"),
    ],
)
def test_every_codec_keeps_size_count_times_and_picture(tmp_path: Path, target: str, settings: dict[str, object], codec: str) -> None:
    source = mediafiles.write_video(tmp_path / "a.mp4", frames=12, size=(96, 64))
    first, frames, writer = rewrite(source, tmp_path / target, **settings)
    second, again = back(tmp_path / target)
    assert second.meta.codec == codec
    assert (second.meta.width, second.meta.height, len(again)) == (96, 64, 12)
    assert seconds(second, again) == pytest.approx(seconds(first, frames), abs=0.0006)
    assert differs(frames, again) < 2.5
    assert writer.warnings == []
    assert not list(tmp_path.glob("*.framefill-part"))


THREADS = """
import os, sys
from pathlib import Path
from framefill.media.reader import open_video
from framefill.media.writer import VideoWriter
with open_video(sys.argv[1]) as reader, VideoWriter(sys.argv[2], reader, codec="av1") as writer:
    for frame in reader:
        writer.write(frame, frame.rgb)
        print(*{os.sched_getscheduler(int(thread.name)) for thread in Path("/proc/self/task").iterdir()})
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are listed in /proc")
def test_no_encoder_makes_threads_real_time(tmp_path: Path) -> None:
    source = mediafiles.write_video(tmp_path / "a.mp4", frames=2, size=(96, 64))
    # In a process of its own, for this one may be a real-time one by now: clips for other tests are made by the bare encoder.
    before = [sys.executable, "-c", "import os; os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0)); " + f"exec({THREADS!r})"]
    done = subprocess.run([*before, source, tmp_path / "b.mp4"], check=True, capture_output=True, text=True)
    assert done.stdout.split() == [str(os.SCHED_OTHER)] * 2


def test_crf_changes_the_size(tmp_path: Path) -> None:
    source = mediafiles.write_video(tmp_path / "a.mp4", size=(160, 120), options={"crf": "4"})
    rewrite(source, tmp_path / "fine.mp4", crf=4)
    rewrite(source, tmp_path / "coarse.mp4", crf=45)
    assert (tmp_path / "fine.mp4").stat().st_size > 1.5 * (tmp_path / "coarse.mp4").stat().st_size


@pytest.mark.parametrize("target", ["b.mp4", "b.mov"])
def test_variable_times_are_exact(tmp_path: Path, target: str) -> None:
    times = [0, 512, 700, 3000, 3001, 9000]
    source = mediafiles.write_video(tmp_path / "a.mp4", times=times)
    rewrite(source, tmp_path / target)
    reader, frames = back(tmp_path / target)
    assert [frame.pts * reader.meta.time_base for frame in frames] == [Fraction(time, 12800) for time in times]
    assert [frame.duration * reader.meta.time_base for frame in frames] == [Fraction(d, 12800) for d in (512, 188, 2300, 1, 5999, 512)]


@pytest.mark.parametrize("target", ["b.mp4", "b.mov"])
@pytest.mark.parametrize("last", [40, 512, 9000])
def test_the_last_picture_is_shown_as_long_as_in_the_source(tmp_path: Path, target: str, last: int) -> None:
    """No picture comes after it to end it, and reordered pictures are stored in another order."""
    for options in ({}, {"bf": "2", "preset": "fast"}):
        source = mediafiles.write_video(tmp_path / "a.mp4", times=[0, 512, 700, 3000, 3001, 9000], last=last, options=options)
        for reader, frames in (rewrite(source, tmp_path / target)[:2], back(tmp_path / target)):
            assert [frame.duration * reader.meta.time_base for frame in frames[-2:]] == [Fraction(5999, 12800), Fraction(last, 12800)]


@pytest.mark.parametrize("target", ["b.mkv", "b.webm"])
def test_variable_times_are_kept_to_the_millisecond(tmp_path: Path, target: str) -> None:
    times = [0, 512, 700, 3000, 3020, 9000]
    source = mediafiles.write_video(tmp_path / "a.mp4", times=times)
    first, frames, _ = rewrite(source, tmp_path / target)
    second, again = back(tmp_path / target)
    assert seconds(second, again) == pytest.approx(seconds(first, frames), abs=0.00051)


def test_ntsc_rates_are_exact(tmp_path: Path) -> None:
    source = mediafiles.write_video(tmp_path / "a.mp4", fps=Fraction(30000, 1001), time_base=Fraction(1001, 30000))
    rewrite(source, tmp_path / "b.mp4")
    reader, frames = back(tmp_path / "b.mp4")
    assert [frame.pts * reader.meta.time_base for frame in frames] == [Fraction(1001 * index, 30000) for index in range(12)]
    assert reader.meta.fps == Fraction(30000, 1001)


def test_avi_says_when_it_cannot_keep_times(tmp_path: Path) -> None:
    source = mediafiles.write_video(tmp_path / "a.mp4", times=[0, 512, 700, 3000, 3600, 9000])
    _, _, writer = rewrite(source, tmp_path / "b.avi")
    assert [line for line in writer.warnings if "constant rate" in line]
    assert len(back(tmp_path / "b.avi")[1]) == 6


@pytest.mark.parametrize("frames", [1, 2, 3])
@pytest.mark.parametrize(
    ("target", "settings"), [("b.mp4", {}), ("b.mp4", {"codec": "h265"}), ("b.webm", {}), ("b.mkv", {"lossless": True})]
)
def test_very_short_clips(tmp_path: Path, frames: int, target: str, settings: dict[str, object]) -> None:
    source = mediafiles.write_video(tmp_path / "a.mp4", frames=frames, size=(96, 64))
    first, before, _ = rewrite(source, tmp_path / target, **settings)
    second, after = back(tmp_path / target)
    assert seconds(second, after) == pytest.approx(seconds(first, before), abs=0.0006)
    assert differs(before, after) < 2.5


@pytest.mark.parametrize(
    ("size", "target", "settings", "pix_fmt"),
    [
        ((33, 17), "b.mp4", {}, "yuv444p"),
        ((34, 17), "b.mp4", {}, "yuv422p"),
        ((33, 17), "b.webm", {}, "yuv420p"),
        ((33, 17), "b.mkv", {"lossless": True}, "bgr0"),
        ((97, 65), "b.mp4", {"codec": "h265"}, "yuv444p"),
        ((1, 1), "b.mp4", {}, "yuv444p"),
        ((1, 1), "b.mkv", {"lossless": True}, "bgr0"),
    ],
)
def test_odd_sizes_are_kept(tmp_path: Path, size: tuple[int, int], target: str, settings: dict[str, object], pix_fmt: str) -> None:
    source = mediafiles.write_video(tmp_path / "a.webm", size=size, codec="libvpx-vp9", frames=3, options={"crf": "4", "b": "0"})
    _, frames, writer = rewrite(source, tmp_path / target, **settings)
    reader, again = back(tmp_path / target)
    assert (reader.meta.width, reader.meta.height, reader.meta.pix_fmt) == (*size, pix_fmt)
    assert differs(frames, again) < 2.5
    assert bool(writer.warnings) == (pix_fmt in ("yuv444p", "yuv422p"))
    assert all("odd size" in line for line in writer.warnings)


@pytest.mark.parametrize("codec", ["h265", "av1"])
def test_a_size_that_cannot_be_coded_is_refused_before_any_work(tmp_path: Path, codec: str) -> None:
    source = mediafiles.write_video(tmp_path / "a.webm", size=(1, 1), codec="libvpx-vp9", frames=1)
    with open_video(source) as reader, pytest.raises(UsageError, match="cannot encode 1x1"):
        VideoWriter(tmp_path / "b.mp4", reader, codec=codec)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.webm"]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
@pytest.mark.parametrize(("rotation", "mirrored"), [(90, False), (180, False), (270, False), (90, True), (0, True)])
def test_rotation_is_set_again(tmp_path: Path, suffix: str, rotation: int, mirrored: bool) -> None:
    source = mediafiles.write_video(tmp_path / "a.mp4", frames=3, rotation=rotation, mirrored=mirrored, aspect=Fraction(4, 3))
    _, frames, writer = rewrite(source, tmp_path / f"b{suffix}")
    reader, again = back(tmp_path / f"b{suffix}")
    assert (reader.meta.rotation, reader.meta.mirrored) == (rotation, mirrored)
    if suffix == ".webm":
        assert [line for line in writer.warnings if "keeps no pixel aspect ratio" in line] == writer.warnings
    else:
        assert reader.meta.sample_aspect_ratio == (Fraction(3, 4) if rotation in (90, 270) else Fraction(4, 3))
        assert writer.warnings == []
    assert differs(frames, again) < 2.5
    coded = mediafiles.decode(tmp_path / f"b{suffix}")[0]
    assert (coded.width, coded.height) == (64, 48)


def test_rotation_is_written_upright_where_no_flag_can_be_kept(tmp_path: Path) -> None:
    source = mediafiles.write_video(tmp_path / "a.mp4", frames=3, rotation=90)
    with open_video(source) as reader, VideoWriter(tmp_path / "b.avi", reader) as writer:
        frames = list(reader)
        for frame in frames:
            writer.write(frame, frame.rgb, np.zeros((64, 48), bool))
    reader, again = back(tmp_path / "b.avi")
    assert (reader.meta.width, reader.meta.height, reader.meta.rotation) == (48, 64, 0)
    assert differs(frames, again) < 2.5
    assert [line for line in writer.warnings if "upright" in line]


def test_lossless_is_lossless(tmp_path: Path) -> None:
    source = mediafiles.write_video(tmp_path / "a.mp4", frames=5, size=(47, 31), pix_fmt="yuv444p")
    rng = np.random.default_rng(5)
    for target, settings in (("b.mkv", {"lossless": True}), ("c.avi", {"codec": "ffv1"}), ("d.nut", {"lossless": True})):
        pictures = []
        with open_video(source) as reader, VideoWriter(tmp_path / target, reader, **settings) as writer:
            for frame in reader:
                pictures.append(rng.integers(0, 256, frame.rgb.shape, np.uint8))
                writer.write(frame, pictures[-1], np.zeros((31, 47), bool))
        assert writer.plan.lossless
        assert all(np.array_equal(frame.rgb, wanted) for frame, wanted in zip(back(tmp_path / target)[1], pictures, strict=True))


@pytest.mark.parametrize("target", ["b.mp4", "b.mkv", "b.webm", "b.mov"])
def test_the_same_bytes_each_time(tmp_path: Path, target: str) -> None:
    source = mediafiles.write_video(
        tmp_path / "a.mkv", frames=30, size=(160, 120), sounds=[mediafiles.Sound(seconds=1.2)], chapters=[(0, 500, "one")]
    )
    sums = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        rewrite(source, tmp_path / name / target)
        sums.append(hashlib.sha256((tmp_path / name / target).read_bytes()).hexdigest())
    assert sums[0] == sums[1]


@pytest.mark.parametrize("ending", ["", "/"])
def test_a_folder_gets_numbered_pngs(tmp_path: Path, ending: str) -> None:
    source = mediafiles.write_video(tmp_path / "a.mp4", frames=3)
    for _ in range(2):  # the second time over its own output
        _, frames, writer = rewrite(source, f"{tmp_path / 'out'}{ending}")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["000000.png", "000001.png", "000002.png"]
    assert all(np.array_equal(np.array(Image.open(tmp_path / f"out/{frame.index:06d}.png")), frame.rgb) for frame in frames)
    assert writer.plan.lossless
    (tmp_path / "out/mine.txt").write_text("keep me")
    with pytest.raises(UsageError, match=r"mine\.txt"):
        rewrite(source, tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 4


@pytest.mark.parametrize("suffix", [".gif", ".apng", ".png", ".webp"])
def test_animations_keep_their_times(tmp_path: Path, suffix: str) -> None:
    source = mediafiles.write_animation(tmp_path / "a.apng", delays=(40, 120, 80, 200))
    first, frames, _ = rewrite(source, tmp_path / f"b{suffix}")
    second, again = back(tmp_path / f"b{suffix}")
    assert second.meta.kind == "animation"
    assert seconds(second, again) == pytest.approx(seconds(first, frames))
    assert [frame.duration for frame in again] == [40, 120, 80, 200]
    assert differs(frames, again) < (4 if suffix == ".gif" else 1e-9)
    assert second.meta.metadata.get("loop") == "0"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tiff", ".bmp", ".webp"])
def test_a_still_image_stays_one(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(mediafiles.picture(0)).save(tmp_path / "a.png")
    rewrite(tmp_path / "a.png", tmp_path / f"b{suffix}")
    image = Image.open(tmp_path / f"b{suffix}")
    assert getattr(image, "n_frames", 1) == 1
    assert np.abs(np.array(image.convert("RGB")).astype(int) - mediafiles.picture(0)).max() <= (12 if suffix == ".jpg" else 0)


@pytest.mark.parametrize(
    ("target", "settings", "says"),
    [
        ("b.webm", {"codec": "h264"}, r"\.webm cannot hold h264: \.webm takes vp9, av1; h264 goes into \.mp4, \.mkv, \.mov"),
        ("b.mp4", {"codec": "prores"}, r"\.mp4 cannot hold prores"),
        ("b.mov", {"lossless": True}, r"\.mov cannot hold ffv1"),
        ("b.mov", {"codec": "vp9"}, r"\.mov cannot hold vp9: .*; vp9 goes into \.mp4"),
        ("b.mov", {"codec": "av1"}, r"\.mov cannot hold av1"),
        ("b.mkv", {"lossless": True, "codec": "h264"}, "lossless means ffv1"),
        ("b.mkv", {"codec": "ffv1", "crf": 3}, "ffv1 has no crf"),
        ("b.mp4", {"crf": 99}, "crf 99"),
        ("b.mp4", {"codec": "divx"}, "divx"),
        ("b.xyz", {}, r"\.xyz is not written"),
        ("b.jpg", {}, "holds one picture"),
        ("b.gif", {"crf": 5}, "no meaning"),
        ("out/", {"codec": "h264"}, "no meaning"),
    ],
)
def test_wishes_that_cannot_be_are_refused_before_any_work(tmp_path: Path, target: str, settings: dict[str, object], says: str) -> None:
    source = mediafiles.write_video(tmp_path / "a.mp4", frames=2)
    with open_video(source) as reader, pytest.raises(UsageError, match=says) as caught:
        VideoWriter(f"{tmp_path}/{target}", reader, **settings)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4"]


def test_the_input_is_never_written_to(tmp_path: Path) -> None:
    source = mediafiles.write_video(tmp_path / "a.mp4", frames=2)
    before = source.read_bytes()
    (tmp_path / "link.mp4").symlink_to(source)
    for target in (source, tmp_path / "link.mp4"):
        with open_video(source) as reader, pytest.raises(UsageError, match="is the input too"):
            VideoWriter(target, reader)
    assert source.read_bytes() == before


def test_an_exception_leaves_the_former_file_alone(tmp_path: Path) -> None:
    source = mediafiles.write_video(tmp_path / "a.mp4", frames=6)
    (tmp_path / "b.mp4").write_bytes(b"the former")
    with pytest.raises(KeyboardInterrupt), open_video(source) as reader, VideoWriter(tmp_path / "b.mp4", reader) as writer:
        for frame in reader:
            writer.write(frame, frame.rgb)
            if frame.index == 3:
                raise KeyboardInterrupt
    assert (tmp_path / "b.mp4").read_bytes() == b"the former"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]
    rewrite(source, tmp_path / "b.mp4")
    assert len(back(tmp_path / "b.mp4")[1]) == 6


def test_frames_must_fit_and_come_in_order(tmp_path: Path) -> None:
    source = mediafiles.write_video(tmp_path / "a.mp4", frames=3)
    with open_video(source) as reader:
        first, second, _ = list(reader)
        with pytest.raises(UsageError, match="expected uint8 48x64x3"), VideoWriter(tmp_path / "b.mp4", reader) as writer:
            writer.write(first, first.rgb[:-1])
        with pytest.raises(UsageError, match="in order"), VideoWriter(tmp_path / "b.mp4", reader) as writer:
            writer.write(second, second.rgb)
            writer.write(first, first.rgb)
        with pytest.raises(UnwritableMedia, match="no frame"), VideoWriter(tmp_path / "b.mp4", reader):
            pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4"]


def test_another_size_than_the_source(tmp_path: Path) -> None:
    source = mediafiles.write_video(tmp_path / "a.mp4", frames=3, rotation=90, sounds=[mediafiles.Sound()])
    with open_video(source) as reader, VideoWriter(tmp_path / "b.mp4", reader, size=(80, 72)) as writer:
        for frame in reader:
            writer.write(frame, mediafiles.picture(frame.index, 80, 72), np.zeros((72, 80), bool))
    reader, again = back(tmp_path / "b.mp4")
    assert (reader.meta.width, reader.meta.height, reader.meta.rotation) == (80, 72, 90)
    assert np.abs(again[1].rgb.astype(int) - mediafiles.picture(1, 80, 72)).max() < 16
    assert [track.kind for track in reader.meta.tracks] == ["audio"]


def test_a_meta_alone_is_enough(tmp_path: Path) -> None:
    meta = VideoMeta(width=64, height=48, time_base=Fraction(1, 30), fps=Fraction(30))
    with VideoWriter(tmp_path / "b.mp4", meta) as writer:
        for index in range(4):
            writer.write(Frame(index, mediafiles.picture(index), index, 1), mediafiles.picture(index))
    reader, frames = back(tmp_path / "b.mp4")
    assert seconds(reader, frames) == pytest.approx([index / 30 for index in range(4)])


def unwritable(target: Path | str, source: Path) -> str:
    with pytest.raises(UnwritableMedia) as caught, open_video(source) as reader, VideoWriter(target, reader) as writer:
        for frame in reader:
            writer.write(frame, frame.rgb)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1
    return str(caught.value)


def test_what_cannot_be_written_says_why_in_one_line(tmp_path: Path) -> None:
    source = mediafiles.write_video(tmp_path / "a.mp4", frames=2)
    assert "does not exist" in unwritable(tmp_path / "nowhere/b.mp4", source)
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o500)
    if not os.access(locked, os.W_OK):  # root may write anywhere
        assert "Permission denied" in unwritable(locked / "b.mp4", source)
    (tmp_path / ".c.mp4.framefill-part").mkdir()
    (tmp_path / ".c.mp4.framefill-part/x").touch()
    assert "in the way" in unwritable(tmp_path / "c.mp4", source)
    assert (tmp_path / ".c.mp4.framefill-part/x").exists()
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "folder.mp4/x").touch()
    with open_video(source) as reader, pytest.raises(UsageError, match="holds other files"):
        VideoWriter(tmp_path / "folder.mp4", reader)


DISK_FULL = """
import resource, sys
from pathlib import Path
from framefill.errors import UnwritableMedia
from framefill.media.reader import open_video
from framefill.media.writer import VideoWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    with open_video(sys.argv[1]) as reader, VideoWriter(sys.argv[2], reader, crf=CRF) as writer:
        for frame in reader:
            writer.write(frame, frame.rgb)
except UnwritableMedia as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.mark.parametrize(
    ("target", "limit"), [("b.mp4", 3000), ("b.mkv", 3000), ("b.webm", 3000), ("b.mp4", 100), ("out", 500), ("b.gif", 2000)]
)
def test_a_full_disk_ends_in_one_line_and_leaves_nothing(tmp_path: Path, target: str, limit: int) -> None:
    source = mediafiles.write_video(tmp_path / "a.mp4", frames=20, size=(160, 120))
    script = DISK_FULL.replace("CRF", "None" if target in ("out", "b.gif") else "1")
    run = subprocess.run(
        [sys.executable, "-c", script, str(source), str(tmp_path / target), str(limit)], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (1, "")
    assert "cannot be written" in run.stdout
    assert len(run.stdout.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4"]


def test_a_full_disk_at_the_very_end(tmp_path: Path) -> None:
    """The last bytes are written when the file is closed: that failure may not be lost."""
    source = mediafiles.write_video(tmp_path / "a.mp4", frames=6)
    rewrite(source, tmp_path / "whole.mkv")
    whole = (tmp_path / "whole.mkv").stat().st_size
    script = DISK_FULL.replace("CRF", "None")
    run = subprocess.run(
        [sys.executable, "-c", script, str(source), str(tmp_path / "b.mkv"), str(whole - 5)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 1, run.stderr
    assert not (tmp_path / "b.mkv").exists()


def test_memory_does_not_grow_with_the_clip(tmp_path: Path) -> None:
    script = (
        "import sys, resource\n"
        "import numpy as np\n"
        "from framefill.media.reader import open_video\n"
        "from framefill.media.writer import VideoWriter\n"
        "mask = np.zeros((480, 640), bool); mask[100:200, 100:200] = True\n"
        "with open_video(sys.argv[1]) as reader, VideoWriter(sys.argv[2], reader) as writer:\n"
        "    for frame in reader:\n"
        "        writer.write(frame, frame.rgb, mask)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)\n"
    )
    peaks = []
    for frames in (80, 320):
        path = mediafiles.write_video(
            tmp_path / f"{frames}.mp4", frames=frames, size=(640, 480), pictures=4, sounds=[mediafiles.Sound(seconds=frames / 25)]
        )
        run = subprocess.run([sys.executable, "-c", script, str(path), str(tmp_path / "b.mp4")], check=True, capture_output=True, text=True)
        peaks.append(int(run.stdout))
    assert peaks[1] < peaks[0] + 40


def test_a_change_of_size_in_the_middle_is_refused(tmp_path: Path) -> None:
    first = mediafiles.write_video(tmp_path / "a.ts", frames=10, time_base=Fraction(1, 90000))
    second = mediafiles.write_video(
        tmp_path / "b.ts", frames=10, size=(96, 64), time_base=Fraction(1, 90000), times=[3600 * index for index in range(10, 20)]
    )
    (tmp_path / "c.ts").write_bytes(first.read_bytes() + second.read_bytes())
    with pytest.raises(UnreadableMedia, match="is 96x64, the first 64x48"), open_video(tmp_path / "c.ts") as reader:
        list(reader)


def test_auto_chooses_what_can_be_written(tmp_path: Path) -> None:
    """HEVC of 10 bit keeps its codec, but below 64x64 there is no encoder for it."""
    for size, codec in (((64, 48), "h264"), ((64, 64), "hevc")):
        source = mediafiles.write_video(tmp_path / "a.mp4", codec="libx265", pix_fmt="yuv420p10le", size=size, frames=2)
        rewrite(source, tmp_path / "b.mp4")
        assert back(tmp_path / "b.mp4")[0].meta.codec == codec


@pytest.mark.parametrize(
    ("target", "settings", "bits"),
    [("b.mkv", {}, 10), ("b.mov", {"codec": "prores"}, 10), ("b.mkv", {"lossless": True}, 8), ("b.gif", {}, 8), ("pictures", {}, 8)],
)
def test_what_rounds_the_known_pixels_of_a_deep_source_says_so(tmp_path: Path, target: str, settings: dict[str, object], bits: int) -> None:
    source = mediafiles.write_video(tmp_path / "a.mkv", codec="ffv1", pix_fmt="yuv420p10le", frames=3)
    said = rewrite(source, tmp_path / target, **settings)[2].warnings
    assert ["rounded to 8 bit" in line for line in said] == ([True] if bits == 8 else [])
    if bits > 8:
        assert back(tmp_path / target)[0].meta.bit_depth == bits


def test_a_folder_may_have_a_dot_in_its_name(tmp_path: Path) -> None:
    source = mediafiles.write_images(tmp_path / "in", 2)
    with pytest.raises(UsageError, match="a folder that exists"):
        rewrite(source, tmp_path / "out.v2")
    (tmp_path / "out.v2").mkdir()
    rewrite(source, tmp_path / "out.v2")
    rewrite(source, f"{tmp_path}/out.v3/")
    assert len(list((tmp_path / "out.v2").iterdir())) == len(list((tmp_path / "out.v3").iterdir())) == 2
