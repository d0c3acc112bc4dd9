"""The command line: what it prints where, how it starts, what its options reach."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import mediafiles as media
import numpy as np
import pytest
from jobs_kit import Tally, rgb_of, write_clip, write_mask

import framefill
from framefill.apps.cli.main import main

CENTRE = "24,16,12,10"
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def _program(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "framefill", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mkv", 6)


def test_version_and_help() -> None:
    assert _program("--version").stdout == f"{framefill.__version__}\n"
    shown = _program("--help")
    assert shown.returncode == 0
    for verb in ("inpaint", "outpaint", "mask", "info", "demo"):
        assert verb in shown.stdout
    assert _program().returncode == 2


@pytest.mark.parametrize("start", ["import framefill", "import sys; from framefill.apps.cli.main import main; main(['inpaint', '--help'])"])
def test_starting_loads_no_heavy_library(start: str) -> None:
    heavy = ["numpy", "av", "cv2", "PIL", "torch", "scipy"]
    program = f"{start}; import sys; print('LOADED', [name for name in {heavy} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=ENVIRONMENT, check=True)
    assert ended.stdout.splitlines()[-1] == "LOADED []"


def test_every_public_name_is_there() -> None:
    for name in framefill.__all__:
        assert getattr(framefill, name) is not None
    assert set(framefill.__all__) <= set(dir(framefill))
    with pytest.raises(AttributeError, match="has no attribute 'inpant'"):
        framefill.inpant  # noqa: B018


def test_stdout_is_the_path_and_nothing_else(clip: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mkv"
    ended = _program("inpaint", str(clip), "--box", CENTRE, "-o", str(output))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == f"{output}\n"
    assert "known" in ended.stderr
    quiet = _program("inpaint", str(clip), "--box", CENTRE, "-o", str(output), "--overwrite", "--quiet")
    assert (quiet.stdout, quiet.stderr) == (f"{output}\n", "")


def test_json_is_one_object(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out.mkv"
    assert main(["inpaint", "-i", str(clip), "--box", CENTRE, "-o", str(output), "--json", "--lossless"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["output"] == str(output)
    assert told["frames"] == 6
    assert told["size"] == [64, 48]
    assert told["fps"] == 10
    assert told["outside_max_diff"] == 0
    assert sum(told["provenance"].values()) == pytest.approx(1, abs=1e-5)
    assert told["provenance"]["known"] == pytest.approx(1 - 120 / (64 * 48), abs=1e-5)
    assert told["frames_per_second"] > 0
    assert told["peak_memory_mb"] > 10
    assert {"seconds", "model", "warnings"} <= set(told)


def test_mask_options_reach_the_mask(clip: Path, tmp_path: Path) -> None:
    hole = np.zeros((48, 64), np.bool_)
    hole[20:30, 20:30] = True
    mask = write_mask(tmp_path / "mask.npy", hole)
    source = rgb_of(clip)

    def changed(*options: str) -> int:
        output = tmp_path / "out.mkv"
        command = ["inpaint", str(clip), "-m", str(mask), "-o", str(output), "--lossless", "--overwrite", "--quiet", "--json", *options]
        ended = _printed(command)
        assert (rgb_of(output) == source).all(3).sum() > 0
        return round(6 * 48 * 64 * (1 - ended["provenance"]["known"]))

    assert changed() == 6 * 100
    assert changed("--dilate", "2") > 6 * 140
    assert changed("--erode", "2") == 6 * 36
    assert changed("--invert") == 6 * (48 * 64 - 100)
    assert changed("--box", "0,0,5,5") == 6 * 125
    assert changed("--roi", "20,20,10,5") == 6 * 50
    assert changed("--start", "0.25", "--end", "0.45") == 2 * 100


def _printed(command: list[str]) -> dict:
    from contextlib import redirect_stdout
    from io import StringIO

    with redirect_stdout(StringIO()) as said:
        assert main(command) == 0
    return json.loads(said.getvalue())


def test_feather_threshold_and_ids_change_the_result(clip: Path, tmp_path: Path) -> None:
    grey = np.zeros((48, 64), np.uint8)
    grey[10:20, 10:20], grey[30:40, 30:40] = 90, 200
    np.save(tmp_path / "grey.npy", grey)
    ids = np.zeros((48, 64), np.uint8)
    ids[10:20, 10:20], ids[30:35, 30:40] = 1, 2
    np.save(tmp_path / "ids.npy", ids)

    def known(mask: str, *options: str) -> float:
        command = [
            "inpaint",
            str(clip),
            "-m",
            str(tmp_path / mask),
            "-o",
            str(tmp_path / "o.mkv"),
            "--overwrite",
            "--quiet",
            "--json",
            *options,
        ]
        return _printed(command)["provenance"]["known"]

    pixels = 48 * 64
    assert known("grey.npy", "--mask-encoding", "grey") == pytest.approx(1 - 100 / pixels, abs=1e-5)
    assert known("grey.npy", "--mask-encoding", "grey", "--threshold", "50") == pytest.approx(1 - 200 / pixels, abs=1e-5)
    assert known("ids.npy", "--ids", "2") == pytest.approx(1 - 50 / pixels, abs=1e-5)


def test_several_inputs_go_into_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "ab":
        write_clip(tmp_path / f"{name}.mkv", 3)
    folder = tmp_path / "results"
    command = ["inpaint", str(tmp_path / "*.mkv"), "--box", CENTRE, "-o", str(folder)]
    assert main(command) == 0
    assert capsys.readouterr().out.splitlines() == [str(folder / "a.mkv"), str(folder / "b.mkv")]
    assert len(rgb_of(folder / "b.mkv")) == 3
    first = (folder / "a.mkv").stat().st_mtime_ns
    (folder / "b.mkv").unlink()
    assert main(command) == 0
    assert (folder / "a.mkv").stat().st_mtime_ns == first, "what is done stays"
    assert (folder / "b.mkv").exists()


def test_one_bad_input_does_not_stop_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.mkv").write_text("no video")
    good = write_clip(tmp_path / "b.mkv", 3)
    folder = tmp_path / "results"
    assert main(["inpaint", str(tmp_path / "a.mkv"), str(good), "--box", CENTRE, "-o", str(folder)]) == 1
    said = capsys.readouterr()
    assert said.out == f"{folder / 'b.mkv'}\n"
    assert "a.mkv" in said.err


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"-o": ""}, "the output '.' is not the name of a file"),
        ({"-o": "."}, "the output '.' is not the name of a file"),
        ({"-o": "folder/.."}, "the output 'folder/..' is not the name of a file"),
        ({"-o": "/"}, "the output '/' is not the name of a file"),
        ({"--provenance": ""}, "--provenance '.' is not the name of a file"),
        ({"--report": ""}, "--report . is a folder"),
        ({"-o": "-"}, "the output '-' is not the name of a file"),
        ({"-i": "https://example.org/a.mp4"}, "https://example.org/a.mp4 is an address"),
        ({"-m": ""}, "the mask's name is empty"),
        ({"-i": ""}, "a video's name is empty"),
        ({"--start": "1:00"}, "Invalid value for '--start'"),
    ],
)
def test_names_that_are_none_end_in_one_line(
    clip: Path, changed: dict[str, str], says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell variable that was never set, the folder one is in."""
    monkeypatch.chdir(clip.parent)
    Path("folder").mkdir()
    options = {"-i": clip.name, "--box": CENTRE, "-o": "out.mkv", **changed}
    assert main(["inpaint", *(word for pair in options.items() for word in pair)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert not line.endswith(("number Try framefill --help.", ".."))
    assert sorted(path.name for path in clip.parent.iterdir()) == ["clip.mkv", "folder"]


def test_several_pictures_are_a_question(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = media.write_images(tmp_path / "frames", 3)
    pictures = [str(path) for path in sorted(folder.iterdir())]
    assert main(["inpaint", *pictures, "--box", CENTRE, "-o", str(tmp_path / "out")]) == 2
    assert "quote the pattern" in capsys.readouterr().err
    assert main(["inpaint", str(folder / "*.png"), "--box", CENTRE, "-o", str(tmp_path / "out"), "--quiet"]) == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == 3


def test_outpaint(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "wide.mkv"
    assert main(["outpaint", str(clip), "--pad", "4,2,0,6", "-o", str(output), "--lossless"]) == 0
    assert np.array_equal(rgb_of(output)[:, 2:-6, 4:], rgb_of(clip))
    assert main(["outpaint", str(clip), "--aspect", "2:1", "-o", str(output), "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["size"] == [96, 48]
    assert main(["outpaint", str(clip), "-o", str(output), "--overwrite"]) == 2
    assert main(["outpaint", str(clip), "--aspect", "4:3", "-o", str(output), "--overwrite"]) == 2
    assert "already has the aspect 4:3" in capsys.readouterr().err


def test_info_tells_the_same_in_words_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = media.write_video(tmp_path / "in.mp4", rotation=90, sounds=[media.Sound()], chapters=[(0, 200, "one")])
    assert main(["info", str(clip)]) == 0
    words = capsys.readouterr().out
    for word in ("48x64", "25 frames/s", "h264", "aac", "turned by 90 degrees", "chapter"):
        assert word in words
    assert main(["info", str(clip), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["size"] == [48, 64]
    assert told["rotation"] == 90
    assert told["tracks"][0]["codec"] == "aac"
    assert main(["info", str(tmp_path / "nothing.mp4")]) == 1


def test_mask_check_draws_a_sheet(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet = tmp_path / "sheet.png"
    assert main(["mask", "check", str(clip), "--box", CENTRE, "-o", str(sheet)]) == 0
    said = capsys.readouterr()
    assert said.out == f"{sheet}\n"
    assert "12x10" in said.err
    assert sheet.read_bytes().startswith(b"\x89PNG")


def test_a_report_and_a_map_lie_beside_the_result(clip: Path, tmp_path: Path) -> None:
    output, report, drawn = tmp_path / "out.mkv", tmp_path / "report.html", tmp_path / "map.mkv"
    command = ["inpaint", str(clip), "--box", CENTRE, "-o", str(output), "--report", str(report), "--provenance", str(drawn), "--quiet"]
    assert main(command) == 0
    page = report.read_text()
    assert "</html>" in page
    assert not re.search(r'(?:src|href)="https?:', page)
    assert len(rgb_of(drawn)) == 6


def test_debug_shows_where_an_error_came_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["inpaint", str(tmp_path / "nothing.mp4"), "--box", CENTRE, "-o", str(tmp_path / "out.mp4"), "--debug"]
    assert main(command) == 1
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert said.splitlines()[-1].startswith("framefill: ")


def test_the_demo_runs_where_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("framefill.jobs.plan._family", lambda _: Tally())  # the way there is tested here, not the picture
    for scene, options in (("vtest", ()), ("city", ("--sample", "city"))):
        assert main(["demo", "--folder", "shown", *options]) == 0
        result, report = capsys.readouterr().out.splitlines()
        assert Path(result).name == f"{scene}-filled.mp4"
        assert Path(result).stat().st_size > 10_000
        assert f"{scene}.mp4" in Path(report).read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shown"]
    assert main(["demo", "--sample", "village"]) == 2
    assert "village" in capsys.readouterr().err


HEAPS = """
import ctypes, sys, threading
from framefill.apps.cli.allocator import share_one_heap

if sys.argv[1] == "shared":
    share_one_heap()
together = threading.Barrier(4)

def allocate():
    held = bytes(50_000)
    together.wait()

threads = [threading.Thread(target=allocate) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
stream = ctypes.c_void_p(libc.fopen(sys.argv[2].encode(), b"w"))
libc.malloc_info(0, stream)
libc.fclose(stream)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has heaps to share")
def test_threads_share_one_heap(tmp_path: Path) -> None:
    heaps = {}
    for how in ("own", "shared"):
        listing = tmp_path / f"{how}.xml"
        subprocess.run([sys.executable, "-c", HEAPS, how, str(listing)], env=ENVIRONMENT, check=True)
        heaps[how] = listing.read_text().count("<heap")
    assert heaps["shared"] == 1 < heaps["own"]


def test_a_slow_start_is_no_division_by_zero(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from framefill.apps.cli import progress
    from framefill.jobs.runner import Progress

    monkeypatch.setattr(progress, "EVERY", 0.0)
    with progress.showing("clip", quiet=False) as display:
        display(Progress(0, 10, ()))
        display(Progress(5, 10, ()))
    assert "5/10 frames" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "package", "extra"),
    [
        (["train", "vdt-tiny", "--dry-run"], "yaml", "train"),
        (["inpaint", "clip.mkv", "--box", CENTRE, "--model", "trained", "-o", "out.mkv"], "torch", "networks"),
        (["eval", "run", "completion", "--clips", "clip.mkv", "--metrics", "psnr", "--model", "copy", "-o", "run"], "matplotlib", "eval"),
    ],
)
def test_a_package_that_is_not_installed_is_named_with_what_brings_it(
    clip: Path, arguments: list[str], package: str, extra: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(clip.parent)
    (clip.parent / "trained").mkdir()
    (clip.parent / "trained" / "model_index.json").write_text('{"_class_name": "VDTPipeline"}')
    for name in [
        name
        for name in sys.modules
        if name.partition(".")[0] == package or name.startswith(("framefill.families.vdt", "framefill.families.device"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    assert main(arguments) == 1
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert package in line
    assert f"pip install 'framefill[{extra}]'" in line
