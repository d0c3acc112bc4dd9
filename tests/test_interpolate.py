"""`framefill interpolate`: where the new frames stand in time, that the old ones stay, and how bad requests end."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import mediafiles as media
import numpy as np
import pytest

from framefill.apps.cli.main import main
from framefill.errors import UsageError
from framefill.jobs.between import BetweenSettings, interpolate
from framefill.media.reader import open_video, probe
from framefill.media.video import Video


def sliding(count: int, step: int = 4, width: int = 96, height: int = 64) -> np.ndarray:
    """A soft texture that slides to the left by `step` pixels a frame."""
    import cv2

    rng = np.random.default_rng(5)
    wide = cv2.GaussianBlur(rng.integers(0, 256, (height, width + step * count, 3), np.uint8), (0, 0), 3)
    wide = cv2.normalize(wide, None, 0, 255, cv2.NORM_MINMAX)
    return np.stack([wide[:, step * t : step * t + width] for t in range(count)])


def save(folder: Path, clip: np.ndarray) -> Path:
    import cv2

    folder.mkdir()
    for index, frame in enumerate(clip):
        cv2.imwrite(str(folder / f"{index:03}.png"), frame[..., ::-1])
    return folder


def times(path: Path) -> list[float]:
    with open_video(path) as reader:
        return [round(reader.seconds(frame), 4) for frame in reader]


def test_a_factor_keeps_every_frame_and_puts_new_ones_evenly_between(tmp_path: Path) -> None:
    clip = sliding(8)
    even, truth = clip[::2], clip
    record = interpolate(BetweenSettings(save(tmp_path / "in", even), tmp_path / "out.mkv", factor=2, lossless=True))
    made = Video.read(tmp_path / "out.mkv")
    assert (record.frames, record.made) == (7, 3)
    assert np.array_equal(made.frames[::2], even)
    inner = (slice(None), slice(8, -8), slice(8, -8))
    error = np.mean((made.frames[1::2][inner].astype(float) - truth[1:-1:2][inner]) ** 2)
    fade = np.mean(((even[:-1].astype(float) + even[1:]) / 2 - truth[1:-1:2])[inner] ** 2)
    assert error < fade / 10, "the new frames follow the motion"
    assert np.allclose(made.times, np.arange(7) / 50)


def test_uneven_times_are_divided_gap_by_gap(tmp_path: Path) -> None:
    media.write_video(tmp_path / "clip.mkv", frames=4, times=[0, 40, 200, 240], time_base=Fraction(1, 1000))
    interpolate(BetweenSettings(tmp_path / "clip.mkv", tmp_path / "out.mkv", factor=4))
    found = times(tmp_path / "out.mkv")
    assert found == pytest.approx([0, 0.01, 0.02, 0.03, 0.04, 0.08, 0.12, 0.16, 0.2, 0.21, 0.22, 0.23, 0.24], abs=0.002)


def test_a_rate_is_constant_and_keeps_the_length_and_the_sound(tmp_path: Path) -> None:
    media.write_video(tmp_path / "clip.mp4", frames=10, fps=10, sounds=[media.Sound(seconds=1.0)])
    record = interpolate(BetweenSettings(tmp_path / "clip.mp4", tmp_path / "out.mp4", fps=Fraction(24)))
    assert record.frames == 24
    assert times(tmp_path / "out.mp4") == pytest.approx(np.arange(24) / 24, abs=1e-3)
    assert [track.kind for track in probe(tmp_path / "out.mp4").tracks] == ["audio"]


def test_nothing_is_mixed_across_a_cut(tmp_path: Path) -> None:
    two = np.concatenate([np.full((3, 64, 96, 3), 30, np.uint8), np.full((3, 64, 96, 3), 220, np.uint8)])
    two[:, ::7, ::5] = 128  # something to look at
    interpolate(BetweenSettings(save(tmp_path / "in", two), tmp_path / "out.mkv", factor=3, lossless=True))
    made = Video.read(tmp_path / "out.mkv").frames
    assert set(np.unique(made)) <= {30, 128, 220}


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (["clip.mkv", "-o", "out.mkv"], 2, "needs one of --factor and --fps"),
        (["clip.mkv", "-o", "out.mkv", "--factor", "2", "--fps", "60"], 2, "needs one of"),
        (["clip.mkv", "-o", "out.mkv", "--factor", "1"], 2, "give 2 to 32"),
        (["clip.mkv", "-o", "out.mkv", "--factor", "99"], 2, "give 2 to 32"),
        (["clip.mkv", "-o", "out.mkv", "--fps", "20"], 2, "has 25 frames/s"),
        (["clip.mkv", "-o", "out.mkv", "--fps", "fast"], 2, "fast"),
        (["clip.mkv", "-o", "out.mkv", "--fps", "0"], 2, "0"),
        (["gone.mkv", "-o", "out.mkv", "--factor", "2"], 1, "does not exist"),
        (["text.mp4", "-o", "out.mkv", "--factor", "2"], 1, "text.mp4"),
        (["one.mkv", "-o", "out.mkv", "--factor", "2"], 1, "single frame"),
        (["clip.mkv", "-o", "one.mkv", "--factor", "2"], 2, "exists"),
        (["clip.mkv", "-o", "clip.mkv", "--factor", "2", "--overwrite"], 2, "is also an input"),
        (["clip.mkv", "-o", ".", "--factor", "2"], 2, "not the name of a file"),
        (["clip.mkv", "-o", "out.mkv", "--factor", "2", "--model", "auto"], 2, "--model flow does"),
        (["clip.mkv", "-o", "out.mkv", "--factor", "2", "--model", "magic"], 2, "no model is called 'magic'"),
        (["clip.mkv", "-o", "out.mkv", "--factor", "2", "--seed", "1"], 2, "flow has no use for them"),
        (["clip.mkv", "-o", "nowhere/out.mkv", "--factor", "2"], 1, "nowhere"),
        (["clip.mkv", "-o", "out.xyz", "--factor", "2"], 2, "xyz"),
    ],
)
def test_bad_requests_end_in_one_line(
    tmp_path: Path, arguments: list[str], status: int, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    media.write_video(tmp_path / "clip.mkv", frames=3)
    media.write_video(tmp_path / "one.mkv", frames=1)
    (tmp_path / "text.mp4").write_text("no film")
    before = (tmp_path / "clip.mkv").read_bytes()
    assert main(["interpolate", *arguments, "--quiet"]) == status
    out, err = capsys.readouterr()
    assert line in err
    assert len(err.strip().splitlines()) == 1
    assert out == ""
    assert (tmp_path / "clip.mkv").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mkv", "one.mkv", "text.mp4"]


def test_json_tells_what_was_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    media.write_video(tmp_path / "clip.mkv", frames=3)
    assert main(["interpolate", str(tmp_path / "clip.mkv"), "-o", str(tmp_path / "out.mkv"), "--factor", "2", "--json", "--quiet"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["frames"], told["made"]) == (5, 2)


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    media.write_video(tmp_path / "clip.mkv", frames=6)

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interpolate(BetweenSettings(tmp_path / "clip.mkv", tmp_path / "out.mkv", factor=2), progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mkv"]


def test_wrong_settings_are_refused_where_they_are_made() -> None:
    with pytest.raises(UsageError, match="above 0"):
        BetweenSettings("a", "b", fps=Fraction(-1))
