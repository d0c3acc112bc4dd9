"""`framefill generate`: clips from noise or from one picture, each following from its seed and number alone."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from made_kit import Counting, greys, levels_of, save_net
from PIL import Image

import framefill
from framefill.apps.cli.main import main
from framefill.errors import UsageError
from framefill.families.trained import Sampling
from framefill.jobs.generate import GenerateSettings, generate
from framefill.media.reader import probe
from framefill.media.video import Video


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    """Takes the place of whatever model is asked for."""
    model = Counting()
    monkeypatch.setattr("framefill.jobs.generate.load", lambda *_: model)
    return model


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_net(tmp_path_factory.mktemp("nets") / "tiny"))


def picture(path: Path, level: int = 90) -> Path:
    Image.fromarray(greys([level])[0]).save(path)
    return path


def test_a_clip_from_noise_is_chained_on_its_own_frames(tmp_path: Path, counting: Counting) -> None:
    (record,) = generate(GenerateSettings(tmp_path / "out.mkv", 14, lossless=True))
    assert (record.frames, record.made) == (14, 14)
    assert counting.shown == [[None] * 8, [104, 105, 106, 107, *[None] * 4], [106, 107, 108, 109, 110, 111, None, None]]
    assert levels_of(Video.read(tmp_path / "out.mkv").frames) == list(range(100, 114))
    meta = probe(tmp_path / "out.mkv")
    assert (meta.width, meta.height, meta.fps) == (16, 16, 8), "a square as the net was trained on"


def test_a_picture_is_the_first_frame_and_keeps_its_size(tmp_path: Path, counting: Counting) -> None:
    (record,) = generate(GenerateSettings(tmp_path / "out.mkv", 5, image=picture(tmp_path / "first.png"), lossless=True))
    assert (record.frames, record.made) == (5, 4)
    assert counting.shown == [[90, None, None, None, None]]
    made = Video.read(tmp_path / "out.mkv").frames
    assert np.array_equal(made[0], greys([90])[0])
    assert levels_of(made) == [90, 91, 92, 93, 94]


def test_size_and_rate_are_as_asked(tmp_path: Path, counting: Counting) -> None:
    (record,) = generate(GenerateSettings(tmp_path / "out.mp4", 3, size=(96, 48), fps=Fraction(12)))
    meta = probe(tmp_path / "out.mp4")
    assert (meta.width, meta.height, meta.fps, meta.num_frames) == (96, 48, 12, 3)
    assert record.notes == ("counting works at 32x16 pixels: what it makes is enlarged to 96x48",)


def test_several_clips_go_into_a_folder_and_what_is_there_stays(tmp_path: Path, counting: Counting) -> None:
    settings = GenerateSettings(tmp_path / "clips", 2, count=3, first=9)
    names = [f"{number:03}.mp4" for number in (9, 10, 11)]
    assert [record.output.name for record in generate(settings)] == names
    assert counting.places == [(9, 0), (10, 0), (11, 0)]
    (tmp_path / "clips" / "010.mp4").unlink()
    again = list(generate(settings))
    assert [record.output.name for record in again] == ["010.mp4"]
    assert any("009.mp4 exists and is left as it is" in note for note in again[0].notes)
    lossless = list(generate(GenerateSettings(tmp_path / "more", 2, count=2, lossless=True)))
    assert [record.output.name for record in lossless] == ["000.mkv", "001.mkv"]


def test_a_number_has_one_clip_alone_or_among_others(tmp_path: Path, net: str) -> None:
    sampling = Sampling(seed=7, steps=1)
    many = GenerateSettings(tmp_path / "many", 9, count=3, model=net, sampling=sampling, lossless=True)
    clips = [Video.read(record.output).frames for record in generate(many)]
    (one,) = generate(GenerateSettings(tmp_path / "one.mkv", 9, first=2, model=net, sampling=sampling, lossless=True))
    assert np.array_equal(Video.read(one.output).frames, clips[2])
    assert not np.array_equal(clips[0], clips[1])
    assert np.array_equal(framefill.generate(9, number=1, model=net, sampling=sampling), clips[1])
    assert not np.array_equal(framefill.generate(9, number=1, model=net, sampling=Sampling(seed=8, steps=1)), clips[1])
    first = greys([90])[0]
    moved = framefill.generate(3, image=first, model=net, sampling=sampling)
    assert moved.shape == (3, *first.shape)
    assert np.array_equal(moved[0], first)
    with pytest.raises(UsageError, match="leave --size out"):
        framefill.generate(3, image=first, size=(64, 64), model=net)


def test_an_untrained_task_is_refused_before_anything_is_read_or_written(tmp_path: Path, counting: Counting) -> None:
    counting.tasks = ("predict",)
    with pytest.raises(UsageError, match="not trained on 'generate'"):
        next(generate(GenerateSettings(tmp_path / "clips", 3, count=2)))
    counting.tasks = ("generate",)
    with pytest.raises(UsageError, match="not trained on 'single'"):
        next(generate(GenerateSettings(tmp_path / "out.mp4", 3, image=tmp_path / "gone.png")))
    with pytest.raises(UsageError, match="not trained on 'predict'"):
        next(generate(GenerateSettings(tmp_path / "out.mp4", 9)))
    assert list(tmp_path.iterdir()) == []
    assert len(list(generate(GenerateSettings(tmp_path / "out.mp4", 8)))) == 1, "one window asks for no more"


def test_the_command_prints_each_clip(tmp_path: Path, net: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "clips"
    command = ["generate", "--frames", "2", "--count", "2", "-o", str(folder), "--model", net, "--steps", "1", "--seed", "3"]
    assert main(command) == 0
    assert capsys.readouterr().out == f"{folder / '000.mp4'}\n{folder / '001.mp4'}\n"
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "001.mp4 exists and is left as it is" in err
    assert main([*command, "--overwrite", "--json", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert [json.loads(line)["output"] for line in out.splitlines()] == [str(folder / "000.mp4"), str(folder / "001.mp4")]
    assert err == ""


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (["-o", "out.mp4"], 2, "--frames"),
        (["-o", "out.mp4", "--frames", "0"], 2, "--frames is 0"),
        (["-o", "out.mp4", "--frames", "1", "--image", "first.png"], 2, "the picture itself is the first"),
        (["-o", "clips", "--frames", "2", "--count", "0"], 2, "--count is 0"),
        (["-o", "out.mp4", "--frames", "2", "--first", "-1"], 2, "--first is -1"),
        (["-o", "out.mp4", "--frames", "2", "--count", "2"], 2, "names a file"),
        (["-o", "text.txt", "--frames", "2", "--count", "2"], 2, "names a file"),
        (["-o", "nowhere/clips", "--frames", "2", "--count", "2"], 1, "nowhere"),
        (["-o", "out.mp4", "--frames", "2", "--size", "64"], 2, "width x height"),
        (["-o", "out.mp4", "--frames", "2", "--size", "4x4"], 2, "sides of 8 to 4096"),
        (["-o", "out.mp4", "--frames", "2", "--size", "800x100"], 2, "4 times the other"),
        (["-o", "out.mp4", "--frames", "2", "--size", "64x64", "--image", "first.png"], 2, "leave --size out"),
        (["-o", "out.mp4", "--frames", "2", "--fps", "0"], 2, "--fps"),
        (["-o", "out.mp4", "--frames", "2", "--image", "gone.png"], 1, "does not exist"),
        (["-o", "out.mp4", "--frames", "2", "--image", "text.txt"], 1, "text.txt"),
        (["-o", "out.mp4", "--frames", "2", "--image", "frames"], 2, "no single picture"),
        (["-o", "first.png", "--frames", "2", "--image", "first.png", "--overwrite"], 2, "is also an input"),
        (["-o", "out.xyz", "--frames", "2"], 2, "xyz"),
        (["-o", "out.mp4", "--frames", "2", "--codec", "prores"], 2, "mp4"),
        (["-o", "out.mp4", "--frames", "2", "--model", "flow"], 2, "vdt-tiny"),
    ],
)
def test_bad_requests_end_in_one_line(
    tmp_path: Path,
    net: str,
    arguments: list[str],
    status: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / "first.png")
    (tmp_path / "text.txt").write_text("no picture")
    (tmp_path / "frames").mkdir()
    for index in range(2):
        picture(tmp_path / "frames" / f"{index}.png")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    model = [] if "--model" in arguments else ["--model", net]
    assert main(["generate", *arguments, *model, "--steps", "1", "--quiet"]) == status
    out, err = capsys.readouterr()
    assert line in err
    assert len(err.strip().splitlines()) == 1, err
    assert out == ""
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert {path.name for path in tmp_path.iterdir()} == {"first.png", "text.txt", "frames"}
