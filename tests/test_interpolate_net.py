"""`framefill interpolate --model NET`: which frames a net is shown, that times and sound are those of the flow, and what is refused."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import mediafiles as media
import numpy as np
import pytest
from made_kit import Counting, greys, levels_of, save_net
from PIL import Image

import framefill
from framefill.apps.cli.main import main
from framefill.errors import UsageError
from framefill.families.trained import Sampling
from framefill.jobs.between import BetweenSettings, interpolate
from framefill.jobs.gaps import Timing, even_parts
from framefill.media.reader import open_video, probe
from framefill.media.video import Video


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    model = Counting()
    monkeypatch.setattr("framefill.jobs.between.load", lambda *_: model)
    return model


def frames_in(folder: Path, levels: list[int]) -> Path:
    folder.mkdir()
    for index, frame in enumerate(greys(levels)):
        Image.fromarray(frame).save(folder / f"{index:03}.png")
    return folder


def shown_at(path: Path) -> list[tuple[float, float]]:
    with open_video(path) as reader:
        return [(round(reader.seconds(frame), 4), round(float(frame.duration * reader.meta.time_base), 4)) for frame in reader]


def test_a_window_has_as_many_gaps_as_fit_with_known_frames_at_its_ends(tmp_path: Path, counting: Counting) -> None:
    clip = frames_in(tmp_path / "in", list(range(50, 70, 2)))
    record = interpolate(BetweenSettings(clip, tmp_path / "out.mkv", 2, model="net", lossless=True))
    assert (record.frames, record.made, record.model) == (19, 9, "counting")
    assert counting.shown == [
        [50, None, 52, None, 54, None, 56],
        [56, None, 58, None, 60, None, 62],
        [62, None, 64, None, 66, None, 68],
    ]
    assert counting.places == [(0, 0), (0, 1), (0, 2)]
    assert levels_of(Video.read(tmp_path / "out.mkv").frames) == list(range(50, 69))


def test_what_is_left_of_a_clip_is_a_shorter_window(tmp_path: Path, counting: Counting) -> None:
    interpolate(BetweenSettings(frames_in(tmp_path / "in", [50, 54, 58]), tmp_path / "out.mkv", 4, model="net", lossless=True))
    assert counting.shown == [[50, None, None, None, 54], [54, None, None, None, 58]]
    assert levels_of(Video.read(tmp_path / "out.mkv").frames) == list(range(50, 59))


@pytest.mark.parametrize(("asked", "parts"), [("30", 5), ("48", 2), ("60", 5), ("25", 7), ("1000", 7)])
def test_a_rate_takes_the_even_division_on_which_its_times_fall(asked: str, parts: int) -> None:
    assert even_parts(Timing(0, None, 1, ends=True), Fraction(24), Fraction(asked), 8) == parts
    assert even_parts(Timing(0, None, 1, ends=True), None, Fraction(asked), 8) == 7


@pytest.mark.parametrize("options", [{"factor": 3}, {"fps": Fraction(24)}, {"fps": Fraction(60)}], ids=["factor", "24", "60"])
def test_times_and_sound_are_those_of_the_flow(tmp_path: Path, counting: Counting, options: dict[str, object]) -> None:
    clip = media.write_video(tmp_path / "clip.mp4", frames=8, fps=10, sounds=[media.Sound(seconds=0.8)])
    interpolate(BetweenSettings(clip, tmp_path / "net.mp4", model="net", **options))
    interpolate(BetweenSettings(clip, tmp_path / "flow.mp4", **options))
    net, flow = shown_at(tmp_path / "net.mp4"), shown_at(tmp_path / "flow.mp4")
    assert len(net) == len(flow)
    assert np.array(net) == pytest.approx(np.array(flow), abs=0.001)
    assert media.packets(tmp_path / "net.mp4", "audio") == media.packets(tmp_path / "flow.mp4", "audio")
    assert probe(tmp_path / "net.mp4").duration == pytest.approx(0.8, abs=1 / 24)


def test_nothing_is_mixed_across_a_cut(tmp_path: Path, counting: Counting) -> None:
    two = np.concatenate([np.full((3, 64, 96, 3), 30, np.uint8), np.full((3, 64, 96, 3), 220, np.uint8)])
    two[:, ::7, ::5] = 128  # something to look at
    folder = tmp_path / "in"
    folder.mkdir()
    for index, frame in enumerate(two):
        Image.fromarray(frame).save(folder / f"{index}.png")
    record = interpolate(BetweenSettings(folder, tmp_path / "out.mkv", 3, model="net", lossless=True))
    assert record.frames == 16
    assert all(max(level or 0 for level in window) < 100 or min(level or 255 for level in window) > 150 for window in counting.shown)
    levels = levels_of(Video.read(tmp_path / "out.mkv").frames)
    assert levels[6] == levels[7], "before the middle of the gap the frame before stands"
    assert levels[8] == levels[9]


def test_the_last_frame_is_shown_as_long_as_in_the_source(tmp_path: Path) -> None:
    clip = media.write_video(tmp_path / "clip.mp4", frames=5, fps=10)
    for name in ("out.mp4", "out.mkv", "out.avi", "out.ts", "out.gif"):
        interpolate(BetweenSettings(clip, tmp_path / name, 2))
        (*_, (last, held)) = shown_at(tmp_path / name)
        assert last + held == pytest.approx(0.5, abs=0.011), name


def test_what_a_net_cannot_is_refused_before_the_clip_is_looked_at(tmp_path: Path, counting: Counting) -> None:
    def ask(factor: int | None = 2, fps: Fraction | None = None) -> None:
        interpolate(BetweenSettings(tmp_path / "gone.mp4", tmp_path / "out.mkv", factor, fps, model="net"))

    with pytest.raises(UsageError, match=r"sees 8 frames at a time.*give --factor 7 at most, or --model flow"):
        ask(8)
    counting.tasks = ("predict", "generate")
    with pytest.raises(UsageError, match=r"not trained on 'interpolate'.*--model flow makes"):
        ask()
    with pytest.raises(UsageError, match="not trained on 'interpolate'"):
        ask(None, Fraction(60))
    counting.length = 2
    with pytest.raises(UsageError, match=r"sees 2 frames at a time.*--model flow makes"):
        ask()
    assert list(tmp_path.iterdir()) == []


def test_a_real_net_reads_its_options_and_keeps_the_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = str(save_net(tmp_path / "net"))
    clip = frames_in(tmp_path / "in", [50, 60, 70, 80])
    out = tmp_path / "out.mkv"
    command = ["interpolate", str(clip), "--factor", "2", "-o", str(out), "--lossless", "--overwrite", "--model", net, "--steps", "1"]
    assert main(command) == 0
    assert "net works at 21x16 pixels" in capsys.readouterr().err
    first = Video.read(out).frames
    assert np.array_equal(first[::2], greys([50, 60, 70, 80]))
    assert main(command) == 0
    assert np.array_equal(Video.read(out).frames, first)
    filled = framefill.interpolate(clip, 2, model=net, sampling=Sampling(steps=1))
    assert np.array_equal(filled.frames, first)
    assert filled.provenance[:, 0, 0].tolist() == [0, 2, 0, 2, 0, 2, 0]
    assert main([*command, "--seed", "5"]) == 0
    other = Video.read(out).frames
    assert np.array_equal(other[::2], first[::2])
    assert not np.array_equal(other[1::2], first[1::2])


def test_the_flow_in_memory_is_that_of_the_file(tmp_path: Path) -> None:
    clip = frames_in(tmp_path / "in", [50, 60, 70])
    interpolate(BetweenSettings(clip, tmp_path / "out.mkv", 2, lossless=True))
    filled = framefill.interpolate(greys([50, 60, 70]), 2)
    assert np.array_equal(filled.frames, Video.read(tmp_path / "out.mkv").frames)
    with pytest.raises(UsageError, match="give 2 to 32"):
        framefill.interpolate(greys([50, 60]), 1)
