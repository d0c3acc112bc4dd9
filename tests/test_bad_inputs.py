"""What users hand in: each row ends in a right result or in one clear line, and the input is never touched.

One table for what must work, one for what must be refused; the columns say what comes, what is asked for and how it ends.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import mediafiles as media
import numpy as np
import pytest
from jobs_kit import rgb_of, write_mask
from PIL import Image

from framefill.apps.cli.main import main
from framefill.media.reader import open_video

Maker = Callable[[Path], Path]
CENTRE = "24,16,12,10"


def _hashes(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()}


def _video(name: str = "in.mp4", **options: object) -> Maker:
    def make(folder: Path) -> Path:
        return media.write_video(folder / name, **options)  # type: ignore[arg-type]

    return make


def _bytes(name: str, content: bytes) -> Maker:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def _changed(make: Maker, change: Callable[[Path, Path], object]) -> Maker:
    def make_changed(folder: Path) -> Path:
        whole = make(folder)
        target = folder / f"changed{whole.suffix}"
        change(whole, target)
        return target

    return make_changed


FAST_START = {"movflags": "+faststart"}


@dataclass(frozen=True)
class Works:
    """A source, the options beside it, the size and the number of frames of the result, and words that a warning must hold."""

    source: Maker
    options: tuple[str, ...] = ("--box", CENTRE)
    size: tuple[int, int] = (64, 48)
    frames: int = 12
    said: str = ""
    output: str = "out.mp4"


WORKS = {
    "plain": Works(_video()),
    "one frame": Works(_video(frames=1), frames=1),
    "two frames": Works(_video(frames=2), frames=2),
    "one pixel": Works(_video("in.mkv", size=(1, 1), codec="ffv1", pix_fmt="bgr0"), ("--box", "0,0,1,1"), (1, 1), output="out.mkv"),
    "one pixel, nothing to fill": Works(
        _video("in.mkv", size=(1, 1), codec="ffv1", pix_fmt="bgr0"), ("--box", "0,0,1,1@9-"), (1, 1), said="mask is empty", output="out.mkv"
    ),
    "odd size": Works(_video(size=(63, 47), pix_fmt="yuv444p"), size=(63, 47)),
    "4:4:4": Works(_video(pix_fmt="yuv444p")),
    "full range": Works(_video(pix_fmt="yuvj420p", colour=(2, 5, 6, 6))),
    "portrait with a rotation flag": Works(_video(rotation=90), ("--box", "10,10,12,10"), (48, 64)),
    "no sound": Works(_video()),
    "sound longer than the picture": Works(_video(sounds=[media.Sound(seconds=2.0)])),
    "full mask": Works(_video(), ("--box", "0,0,64,48")),
    "box over the edge": Works(_video(), ("--box", "50,40,100,100"), said="cut off at the edge"),
    "empty mask": Works(_video(sounds=[media.Sound()]), ("--box", f"{CENTRE}@99-"), said="copied without re-encoding"),
    "cut off": Works(_changed(_video(frames=30, container=FAST_START), media.cut_off), frames=0, said="ends early"),
    "damaged packets": Works(_changed(_video("in.mkv", frames=20), media.damage), frames=0, output="out.mkv", said="damaged"),
    "folder of frames": Works(lambda folder: media.write_images(folder / "frames"), output="filled"),
    "GIF": Works(lambda folder: media.write_animation(folder / "in.gif"), frames=3, output="out.gif"),
    "ten bits": Works(_video(size=(96, 80), codec="libx265", pix_fmt="yuv420p10le"), size=(96, 80), said="8 bit"),
    "end after the clip": Works(_video(), ("--box", CENTRE, "--end", "999")),
}  # fmt: skip


@pytest.mark.parametrize("row", WORKS.values(), ids=WORKS.keys())
def test_it_works(row: Works, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = tmp_path / "given"
    given.mkdir()
    source, output = row.source(given), tmp_path / row.output
    before = _hashes(given)
    status = main(["inpaint", str(source), *row.options, "-o", str(output)])
    said = capsys.readouterr()
    assert status == 0, said.err
    assert said.out == f"{output}\n"
    assert row.said in said.err
    with open_video(source) as reader, open_video(output) as writer:
        read, written = list(reader), list(writer)
        assert (writer.meta.width, writer.meta.height) == row.size
        assert len(written) == len(read)
        assert [round(writer.seconds(frame), 3) for frame in written] == [round(reader.seconds(frame), 3) for frame in read]
    if row.frames:
        assert len(written) == row.frames
    assert _hashes(given) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["given", row.output])


@dataclass(frozen=True)
class Refused:
    """A source, the options beside it, the exit status, and words that the line must hold. `{given}` stands for the inputs' folder."""

    source: Maker
    options: tuple[str, ...]
    status: int
    said: str
    output: str = "out.mp4"


def _with_mask(shape: tuple[int, ...], options: dict[str, object] | None = None) -> Maker:
    def make(folder: Path) -> Path:
        hole = np.zeros(shape, np.bool_)
        hole[..., 4:10, 4:10] = True
        write_mask(folder / "mask.npy", hole)
        return media.write_video(folder / "in.mp4", **(options or {}))  # type: ignore[arg-type]

    return make


def _with_a_net(index: str) -> Maker:
    def make(folder: Path) -> Path:
        pytest.importorskip("torch")
        (folder / "net").mkdir()
        (folder / "net" / "model_index.json").write_text(index)
        return media.write_video(folder / "in.mp4")

    return make


REFUSED = {
    "no such file": Refused(lambda folder: folder / "nothing.mp4", ("--box", CENTRE), 1, "does not exist"),
    "a text file named .mp4": Refused(_bytes("in.mp4", b"this is a letter, not a video\n" * 50), ("--box", CENTRE), 1, "in.mp4"),
    "zero bytes": Refused(_bytes("in.mp4", b""), ("--box", CENTRE), 1, "in.mp4"),
    "noise": Refused(_bytes("in.mp4", np.random.default_rng(0).bytes(5000)), ("--box", CENTRE), 1, "in.mp4"),
    "sound only": Refused(lambda folder: media.write_sound(folder / "in.m4a"), ("--box", CENTRE), 1, "in.m4a"),
    "an empty folder": Refused(lambda folder: folder, ("--box", CENTRE), 1, "given"),
    "no mask at all": Refused(_video(), (), 2, "give a mask"),
    "missing mask": Refused(_video(), ("-m", "{given}/nothing.png"), 1, "nothing.png"),
    "a text file as mask": Refused(_video(), ("-m", "{given}/in.txt"), 1, "in.txt"),
    "mask of another shape": Refused(_with_mask((64, 48)), ("-m", "{given}/mask.npy"), 2, "mask is 48x64, video is 64x48"),
    "mask longer than the video": Refused(_with_mask((30, 48, 64)), ("-m", "{given}/mask.npy"), 0, ""),
    "mask shorter than the video": Refused(_with_mask((5, 48, 64)), ("-m", "{given}/mask.npy"), 2, "--mask-length"),
    "box outside the picture": Refused(_video(), ("--box", "500,500,10,10"), 2, "outside"),
    "box of nonsense": Refused(_video(), ("--box", "1,2,3"), 2, "x,y,w,h"),
    "--start after the end": Refused(_video(), ("--box", CENTRE, "--start", "99"), 2, "--start 99 s"),
    "--end before --start": Refused(_video(), ("--box", CENTRE, "--start", "2", "--end", "1"), 2, "--end"),
    "--roi outside": Refused(_video(), ("--box", CENTRE, "--roi", "0,0,500,10"), 2, "--roi"),
    "--preview 0": Refused(_video(), ("--box", CENTRE, "--preview", "0"), 2, "--preview"),
    "--memory too small": Refused(_video(), ("--box", CENTRE, "--memory", "1MB"), 2, "smallest that works"),
    "--memory of nonsense": Refused(_video(), ("--box", CENTRE, "--memory", "much"), 2, "--memory"),
    "an unknown model": Refused(_video(), ("--box", CENTRE, "--model", "magic"), 2, "magic"),
    "--seed where no net runs": Refused(_video(), ("--box", CENTRE, "--seed", "1"), 2, "auto has no use for them"),
    "--steps 0": Refused(_video(), ("--box", CENTRE, "--model", "vdt-tiny", "--steps", "0"), 2, "--steps is 0"),
    "an unknown number format": Refused(_video(), ("--box", CENTRE, "--model", "vdt-tiny", "--dtype", "int4"), 2, "fp32, bf16, fp16"),
    "a damaged model": Refused(_with_a_net("{}"), ("--box", CENTRE, "--model", "{given}/net"), 1, "damaged or of another version"),
    "another model": Refused(
        _with_a_net('{"_class_name": "Other"}'), ("--box", CENTRE, "--model", "{given}/net"), 1, "a Other, expected one of VDTPipeline"
    ),
    "an unknown codec": Refused(_video(), ("--box", CENTRE, "--codec", "betamax"), 2, "betamax"),
    "--crf for a codec without": Refused(_video(), ("--box", CENTRE, "--codec", "prores", "--crf", "3"), 2, "crf", "out.mov"),
    "lossless H.264": Refused(_video(), ("--box", CENTRE, "--codec", "h264", "--lossless"), 2, "lossless"),
    "an unknown container": Refused(_video(), ("--box", CENTRE), 2, ".xyz", "out.xyz"),
    "output = input": Refused(_video(), ("--box", CENTRE), 2, "also an input", "given/in.mp4"),
    "output = input by another way": Refused(_video(), ("--box", CENTRE, "--overwrite"), 2, "also an input", "given/../given/in.mp4"),
    "output = mask": Refused(_with_mask((48, 64)), ("-m", "{given}/mask.npy", "--overwrite"), 2, "also an input", "given/mask.npy"),
    "report = input": Refused(_video(), ("--box", CENTRE, "--report", "{given}/in.mp4", "--overwrite"), 2, "also an input"),
    "provenance = output": Refused(_video(), ("--box", CENTRE, "--provenance", "{given}/../out.mp4"), 2, "names of their own"),
    "a folder that does not exist": Refused(_video(), ("--box", CENTRE), 1, "no folder", "nowhere/out.mp4"),
    "a file in place of a folder": Refused(_video(), ("--box", CENTRE), 1, "no folder", "given/in.mp4/out.mp4"),
    "an unknown option": Refused(_video(), ("--colour", "blue"), 2, "--colour"),
    "one video for a pattern without a match": Refused(lambda folder: folder / "*.mp4", ("--box", CENTRE), 1, "matches no file"),
}  # fmt: skip


@pytest.mark.parametrize("row", REFUSED.values(), ids=REFUSED.keys())
def test_it_is_refused_in_one_line(row: Refused, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = tmp_path / "given"
    given.mkdir()
    source = row.source(given)
    if any("in.txt" in option for option in row.options):
        (given / "in.txt").write_text("this is a letter, not a mask\n")
    output = tmp_path / row.output
    before = _hashes(given)
    options = [option.format(given=given) for option in row.options]
    status = main(["inpaint", str(source), *options, "-o", str(output)])
    said = capsys.readouterr()
    assert status == row.status, said.err
    assert "Traceback" not in said.err
    assert _hashes(given) == before
    if status:
        assert said.out == ""
        assert row.said in said.err
        assert len(said.err.splitlines()) == 1, said.err
        assert said.err.startswith("framefill: ")
        assert [path.name for path in tmp_path.iterdir()] == ["given"]


def test_existing_output_needs_overwrite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip, output = media.write_video(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    output.write_text("something dear")
    command = ["inpaint", str(clip), "--box", CENTRE, "-o", str(output)]
    assert main(command) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert output.read_text() == "something dear"
    assert main([*command, "--overwrite"]) == 0
    assert len(rgb_of(output)) == 12


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    clip, output = media.write_video(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    output.write_text("something dear")
    assert main(["inpaint", str(clip), "--box", CENTRE, "-o", str(output), "--overwrite", "--start", "99"]) == 2
    assert output.read_text() == "something dear"


@pytest.mark.skipif(sys.platform == "win32", reason="no RLIMIT_FSIZE")
def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    clip = media.write_video(tmp_path / "in.mp4", size=(256, 192), frames=24)
    output = tmp_path / "out.mp4"
    program = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000)); "
    program += "from framefill.apps.cli.main import main; sys.exit(main())"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program, "inpaint", str(clip), "--box", "60,60,20,20", "--crf", "0", "-o", str(output)]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "cannot be written" in ended.stderr.splitlines()[-1]
    assert not output.exists()
    assert not list(tmp_path.glob("*.framefill-part"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip, closed = media.write_video(tmp_path / "in.mp4"), tmp_path / "closed"
    closed.mkdir(mode=0o555)
    assert main(["inpaint", str(clip), "--box", CENTRE, "-o", str(closed / "out.mp4")]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_a_picture_for_a_mask_over_a_still_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(media.picture(0)).save(tmp_path / "photo.png")
    hole = np.zeros((48, 64), np.uint8)
    hole[10:20, 10:30] = 255
    Image.fromarray(hole).save(tmp_path / "mask.png")
    output = tmp_path / "out.png"
    assert main(["inpaint", str(tmp_path / "photo.png"), "-m", str(tmp_path / "mask.png"), "-o", str(output)]) == 0, capsys.readouterr().err
    result = np.asarray(Image.open(output).convert("RGB"))
    assert np.array_equal(result[hole == 0], media.picture(0)[hole == 0])
    assert (result[hole == 255] != media.picture(0)[hole == 255]).any()


def test_sound_and_its_length_stay(tmp_path: Path) -> None:
    clip, output = media.write_video(tmp_path / "in.mp4", sounds=[media.Sound(seconds=2.0)]), tmp_path / "out.mp4"
    assert main(["inpaint", str(clip), "--box", CENTRE, "-o", str(output)]) == 0
    assert media.packets(output, "audio") == media.packets(clip, "audio")
    with av.open(str(output)) as container:
        assert float(container.duration) / av.time_base == pytest.approx(2.0, abs=0.1)
