"""`framefill predict`: what a net is shown, where its frames stand in time, and that the clip's own frames and sound stay."""

from __future__ import annotations

import errno
import io
import json
import os
from fractions import Fraction
from pathlib import Path

import av
import mediafiles as media
import numpy as np
import pytest
from made_kit import Counting, greys, levels_of, save_net
from PIL import Image

import framefill
from framefill.apps.cli.main import main
from framefill.errors import UnwritableMedia, UsageError
from framefill.families.trained import Sampling
from framefill.jobs.extend import ExtendSettings, extend
from framefill.media.reader import open_video, probe
from framefill.media.video import Video


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    """Takes the place of whatever model is asked for."""
    model = Counting()
    for job in ("framefill.jobs.extend", "framefill.api"):
        monkeypatch.setattr(f"{job}.load", lambda *_: model)
    return model


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_net(tmp_path_factory.mktemp("nets") / "tiny"))


def frames_in(folder: Path, levels: list[int]) -> Path:
    folder.mkdir()
    for index, frame in enumerate(greys(levels)):
        Image.fromarray(frame).save(folder / f"{index:03}.png")
    return folder


def starts(path: Path) -> list[float]:
    with open_video(path) as reader:
        return [round(reader.seconds(frame), 4) for frame in reader]


def test_the_last_frames_that_fit_beside_the_new_ones_are_shown(tmp_path: Path, counting: Counting) -> None:
    clip = frames_in(tmp_path / "in", list(range(50, 62)))
    record = extend(ExtendSettings(clip, tmp_path / "out.mkv", 3, lossless=True))
    assert (record.frames, record.made) == (15, 3)
    assert counting.shown == [[57, 58, 59, 60, 61, None, None, None]]
    assert levels_of(Video.read(tmp_path / "out.mkv").frames) == list(range(50, 65))


def test_windows_are_chained_on_what_was_made(tmp_path: Path, counting: Counting) -> None:
    clip = frames_in(tmp_path / "in", list(range(50, 56)))
    extend(ExtendSettings(clip, tmp_path / "out.mkv", 10, lossless=True))
    assert counting.shown == [
        [52, 53, 54, 55, None, None, None, None],
        [56, 57, 58, 59, None, None, None, None],
        [58, 59, 60, 61, 62, 63, None, None],
    ]
    assert counting.places == [(0, 0), (0, 1), (0, 2)], "every window has noise of its own"
    assert levels_of(Video.read(tmp_path / "out.mkv").frames) == list(range(50, 66))


def test_backward_leads_up_to_the_first_frame(tmp_path: Path, counting: Counting) -> None:
    clip = frames_in(tmp_path / "in", list(range(50, 56)))
    extend(ExtendSettings(clip, tmp_path / "out.mkv", 10, backward=True, lossless=True))
    assert counting.shown == [
        [None, None, None, None, 50, 51, 52, 53],
        [None, None, None, None, 46, 47, 48, 49],
        [None, None, 42, 43, 44, 45, 46, 47],
    ]
    assert levels_of(Video.read(tmp_path / "out.mkv").frames) == list(range(40, 56))


@pytest.mark.parametrize("backward", [False, True])
def test_a_clip_of_one_frame_is_enough(tmp_path: Path, counting: Counting, backward: bool) -> None:
    Image.fromarray(greys([90])[0]).save(tmp_path / "one.png")
    extend(ExtendSettings(tmp_path / "one.png", tmp_path / "out.mkv", 9, backward=backward, lossless=True))
    expected = list(range(81, 91)) if backward else list(range(90, 100))
    assert levels_of(Video.read(tmp_path / "out.mkv").frames) == expected


def test_a_net_that_knows_one_frame_at_a_time_is_shown_one(tmp_path: Path, counting: Counting) -> None:
    counting.tasks = ("single",)
    extend(ExtendSettings(frames_in(tmp_path / "in", [50, 60, 70]), tmp_path / "out.mkv", 9, lossless=True))
    assert [sum(level is not None for level in window) for window in counting.shown] == [1, 1]
    assert levels_of(Video.read(tmp_path / "out.mkv").frames)[3:] == list(range(71, 80))


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.mov", "out.webm"])
def test_times_go_on_and_sound_stays_with_its_frames(tmp_path: Path, counting: Counting, backward: bool, name: str) -> None:
    clip = media.write_video(tmp_path / "clip.mp4", frames=10, fps=10, sounds=[media.Sound(seconds=1.0)])
    record = extend(ExtendSettings(clip, tmp_path / name, 5, backward=backward))
    assert starts(tmp_path / name) == pytest.approx(np.arange(15) / 10, abs=0.002)
    meta = probe(tmp_path / name)
    assert meta.duration == pytest.approx(1.5, abs=0.1)
    assert any("silent" in note for note in record.notes)
    (sound,) = _spans(tmp_path / name)
    assert sound == pytest.approx((0.5, 1.5) if backward else (0.0, 1.0), abs=0.06)


def test_words_and_chapters_move_with_their_frames(tmp_path: Path, counting: Counting) -> None:
    words, chapters = media.Words(codec="srt", lines=((0, 200, "first"), (240, 400, "second"))), ((0, 500, "one"), (500, 1000, "two"))
    clip = media.write_video(tmp_path / "clip.mkv", frames=10, fps=10, words=[words], chapters=chapters)
    extend(ExtendSettings(clip, tmp_path / "out.mkv", 5, backward=True))
    assert media.packets(tmp_path / "out.mkv", "subtitle") == media.packets(clip, "subtitle")
    assert [(chapter.start, chapter.end) for chapter in probe(tmp_path / "out.mkv").chapters] == [(0.5, 1.0), (1.0, 1.5)]
    with av.open(str(tmp_path / "out.mkv")) as container:
        times = [float(packet.pts * packet.time_base) for packet in container.demux(subtitles=0) if packet.size]
    assert times == pytest.approx([0.5, 0.74], abs=0.01)


def test_avi_which_cannot_delay_its_sound_is_refused(tmp_path: Path, counting: Counting) -> None:
    clip = media.write_video(tmp_path / "clip.mp4", frames=5, sounds=[media.Sound()])
    with pytest.raises(UsageError, match="AVI cannot begin its sound after the picture"):
        extend(ExtendSettings(clip, tmp_path / "out.avi", 5, backward=True))
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]
    assert extend(ExtendSettings(clip, tmp_path / "out.avi", 5)).frames == 10


def test_sound_that_outlasts_the_picture_plays_on(tmp_path: Path, counting: Counting) -> None:
    clip = media.write_video(tmp_path / "clip.mp4", frames=5, fps=10, sounds=[media.Sound(seconds=1.0)])
    record = extend(ExtendSettings(clip, tmp_path / "out.mp4", 5))
    assert "the sound plays on over the new frames for the 0.5" in record.notes[-1]
    assert _spans(tmp_path / "out.mp4")[0] == pytest.approx((0.0, 1.0), abs=0.06)
    assert media.packets(tmp_path / "out.mp4", "audio") == media.packets(clip, "audio")


def test_no_room_for_frames_that_wait_is_one_line(tmp_path: Path, counting: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("framefill.jobs.extend.TemporaryFile", Full)
    clip = media.write_video(tmp_path / "clip.mkv", frames=3)
    with pytest.raises(UnwritableMedia, match=r"has no room for the frames before the clip \(No space left.*TMPDIR"):
        extend(ExtendSettings(clip, tmp_path / "out.mkv", 2, backward=True))
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mkv"]


def _spans(path: Path) -> list[tuple[float, float]]:
    """From when to when there is sound, a little less than a coder's own blocks."""
    with av.open(str(path)) as container:
        loud = [
            (frame.time, frame.time + frame.samples / frame.rate)
            for frame in container.decode(audio=0)
            if np.abs(frame.to_ndarray().astype(float)).max() > (0.01 if frame.format.name.startswith("flt") else 300)
        ]
    return [(min(start for start, _ in loud), max(end for _, end in loud))]


def test_uneven_times_stay_and_new_frames_follow_at_the_mean_rate(tmp_path: Path, counting: Counting) -> None:
    media.write_video(tmp_path / "clip.mkv", frames=4, times=[0, 40, 200, 240], time_base=Fraction(1, 1000))
    extend(ExtendSettings(tmp_path / "clip.mkv", tmp_path / "out.mkv", 2))
    source, found = starts(tmp_path / "clip.mkv"), starts(tmp_path / "out.mkv")
    assert found[:4] == source
    assert found[4] > source[-1]
    assert found[5] > found[4]


def test_frames_of_a_folder_are_numbered_on(tmp_path: Path, counting: Counting) -> None:
    clip = frames_in(tmp_path / "in", [50, 51, 52])
    for backward, expected in ((False, [50, 51, 52, 53, 54]), (True, [48, 49, 50, 51, 52])):
        out = tmp_path / f"out-{backward}"
        extend(ExtendSettings(clip, f"{out}/", 2, backward=backward, fps=Fraction(10)))
        assert sorted(path.name for path in out.iterdir()) == [f"{index:06}.png" for index in range(5)]
        assert levels_of(Video.read(out).frames) == expected


def test_the_known_frames_are_the_decoders_own(tmp_path: Path, counting: Counting) -> None:
    clip = media.write_video(tmp_path / "clip.mkv", frames=6, pix_fmt="yuv420p")
    extend(ExtendSettings(clip, tmp_path / "out.mkv", 2, codec="ffv1"))
    own, longer = Video.read(clip).frames, Video.read(tmp_path / "out.mkv").frames
    assert longer.shape == (8, *own.shape[1:])
    extend(ExtendSettings(clip, tmp_path / "exact.mkv", 2, lossless=True))
    assert np.array_equal(Video.read(tmp_path / "exact.mkv").frames[:6], own)


def test_an_untrained_task_is_refused_before_the_clip_is_looked_at(tmp_path: Path, counting: Counting) -> None:
    counting.tasks = ("backward", "interpolate")
    with pytest.raises(UsageError, match=r"counting was not trained on 'predict'.*vdt-tiny"):
        extend(ExtendSettings(tmp_path / "gone.mp4", tmp_path / "out.mkv", 3))
    counting.tasks = ("predict",)
    with pytest.raises(UsageError, match="not trained on 'backward'"):
        extend(ExtendSettings(tmp_path / "gone.mp4", tmp_path / "out.mkv", 3, backward=True))
    counting.length = 1
    with pytest.raises(UsageError, match="one frame at a time"):
        extend(ExtendSettings(tmp_path / "gone.mp4", tmp_path / "out.mkv", 3))
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_run_leaves_nothing(tmp_path: Path, counting: Counting) -> None:
    clip = media.write_video(tmp_path / "clip.mkv", frames=6)
    calls = 0

    def stop(_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 9:  # among the new frames
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extend(ExtendSettings(clip, tmp_path / "out.mkv", 12), progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mkv"]


def test_the_same_seed_gives_the_same_bytes_and_options_reach_the_net(tmp_path: Path, net: str) -> None:
    clip = frames_in(tmp_path / "in", [50, 60, 70])

    def made(**options: object) -> np.ndarray:
        settings = ExtendSettings(
            clip, tmp_path / "out.mkv", 3, model=net, sampling=Sampling(steps=2, **options), lossless=True, overwrite=True
        )
        extend(settings)
        return Video.read(tmp_path / "out.mkv").frames

    first = made()
    assert np.array_equal(first, made())
    assert np.array_equal(first[:3], greys([50, 60, 70]))
    assert not np.array_equal(first[3:], made(seed=1)[3:])
    settings = ExtendSettings(clip, tmp_path / "more.mkv", 3, model=net, sampling=Sampling(steps=3), lossless=True)
    extend(settings)
    assert not np.array_equal(first[3:], Video.read(tmp_path / "more.mkv").frames[3:])
    for dtype in ("bf16", "fp16"):
        near = made(dtype=dtype)
        assert not np.array_equal(first[3:], near[3:]), "other numbers are really used"
        assert np.abs(first.astype(int) - near).mean() < 8


def test_a_gpu_that_is_not_there_is_refused(tmp_path: Path, net: str) -> None:
    torch = pytest.importorskip("torch")
    settings = ExtendSettings(
        frames_in(tmp_path / "in", [50]), tmp_path / "out.mkv", 2, model=net, sampling=Sampling(device="cuda", steps=1)
    )
    if torch.cuda.is_available():
        assert extend(settings).made == 2
        return
    with pytest.raises(UsageError, match="torch sees no GPU"):
        extend(settings)


def test_in_memory_it_is_the_same(tmp_path: Path, net: str) -> None:
    clip = frames_in(tmp_path / "in", [50, 60, 70])
    for backward in (False, True):
        out = tmp_path / f"{backward}.mkv"
        extend(ExtendSettings(clip, out, 7, backward, net, Sampling(steps=1), lossless=True))
        filled = framefill.predict(greys([50, 60, 70]), 7, backward=backward, model=net, sampling=Sampling(steps=1))
        assert np.array_equal(filled.frames, Video.read(out).frames)
        made = filled.provenance.any((1, 2))
        assert made.tolist() == ([True] * 7 + [False] * 3 if backward else [False] * 3 + [True] * 7)
        assert not filled.remaining.any()
    with pytest.raises(UsageError, match="num_frames is 0"):
        framefill.predict(greys([50]), 0, model=net)


def test_the_command_says_the_working_size_and_what_the_sound_does(tmp_path: Path, net: str, capsys: pytest.CaptureFixture[str]) -> None:
    clip = media.write_video(tmp_path / "clip.mp4", frames=5, sounds=[media.Sound(seconds=0.2)])
    command = ["predict", str(clip), "--frames", "2", "-o", str(tmp_path / "out.mp4"), "--model", net, "--steps", "1"]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'out.mp4'}\n"
    assert "tiny works at 21x16 pixels: what it makes is enlarged to 64x48" in err
    assert "silent" in err
    assert main([*command, "--overwrite", "--json", "--quiet"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert (told["frames"], told["made"], told["model"]) == (7, 2, "tiny")
    assert err == ""


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (["clip.mkv", "-o", "out.mkv"], 2, "--frames"),
        (["clip.mkv", "-o", "out.mkv", "--frames", "0"], 2, "--frames is 0"),
        (["clip.mkv", "-o", "out.mkv", "--frames", "two"], 2, "--frames"),
        (["clip.mkv", "-o", "out.mkv", "--frames", "2", "--model", "flow"], 2, "vdt-tiny makes new frames"),
        (["clip.mkv", "-o", "out.mkv", "--frames", "2", "--model", "propagate"], 2, "vdt-tiny makes new frames"),
        (["clip.mkv", "-o", "out.mkv", "--frames", "2", "--model", "magic"], 2, "no model is called 'magic'"),
        (["clip.mkv", "-o", "out.mkv", "--frames", "2", "--model", "NET", "--backward"], 2, "not trained on 'backward'"),
        (["clip.mkv", "-o", "out.mkv", "--frames", "2", "--model", "NET", "--steps", "0"], 2, "--steps is 0"),
        (["clip.mkv", "-o", "out.mkv", "--frames", "2", "--model", "NET", "--seed", "-1"], 2, "--seed is -1"),
        (["clip.mkv", "-o", "out.mkv", "--frames", "2", "--model", "NET", "--device", "abacus"], 2, "auto, cpu, cuda"),
        (["clip.mkv", "-o", "out.mkv", "--frames", "2", "--model", "NET", "--dtype", "int4"], 2, "auto, fp32, bf16, fp16"),
        (["clip.mkv", "-o", "out.mkv", "--frames", "2", "--model", "NET", "--fps", "5"], 2, "frame times of its own"),
        (["gone.mkv", "-o", "out.mkv", "--frames", "2", "--model", "NET"], 1, "does not exist"),
        (["text.mp4", "-o", "out.mkv", "--frames", "2", "--model", "NET"], 1, "text.mp4"),
        (["clip.mkv", "-o", "text.mp4", "--frames", "2", "--model", "NET"], 2, "exists"),
        (["clip.mkv", "-o", "clip.mkv", "--frames", "2", "--model", "NET", "--overwrite"], 2, "is also an input"),
        (["clip.mkv", "-o", "nowhere/out.mkv", "--frames", "2", "--model", "NET"], 1, "nowhere"),
        (["clip.mkv", "-o", "out.xyz", "--frames", "2", "--model", "NET"], 2, "xyz"),
        (["clip.mkv", "-o", "out.png", "--frames", "2", "--model", "NET", "--codec", "h264"], 2, "png"),
        (["clip.mkv", "-o", "out.mkv", "--frames", "2", "--model", "broken"], 1, "broken"),
    ],
)
def test_bad_requests_end_in_one_line(
    tmp_path: Path, arguments: list[str], status: int, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, inputs = tmp_path / "here", {"broken", "clip.mkv", "text.mp4"}
    folder.mkdir()
    monkeypatch.chdir(folder)
    clip = media.write_video(folder / "clip.mkv", frames=3)
    (folder / "text.mp4").write_text("no film")
    (folder / "broken").mkdir()
    (folder / "broken" / "model_index.json").write_text("{}")
    if "NET" in arguments:
        arguments = [str(save_net(tmp_path / "net", ("predict",))) if word == "NET" else word for word in arguments]
    before = clip.read_bytes()
    capsys.readouterr()
    assert main(["predict", *arguments, "--quiet"]) == status
    out, err = capsys.readouterr()
    assert line in err
    assert len(err.strip().splitlines()) == 1, err
    assert out == ""
    assert clip.read_bytes() == before
    assert {path.name for path in folder.iterdir()} == inputs
