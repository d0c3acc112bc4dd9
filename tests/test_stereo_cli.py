"""`framefill stereo` as a user meets it: what it prints, and that each bad request ends in one line with nothing written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import mediafiles as media
import numpy as np
import pytest
from PIL import Image

from framefill.apps.cli.main import main


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    media.write_video(tmp_path / "clip.mp4", frames=4, sounds=[media.Sound()])
    (tmp_path / "text.mp4").write_text("no film")
    (tmp_path / "few").mkdir()
    for number in range(2):
        Image.fromarray(np.full((6, 8), 100 * number, np.uint8)).save(tmp_path / "few" / f"{number}.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "dear.txt").write_text("dear")
    return tmp_path


def inventory(room: Path) -> dict[str, bytes]:
    return {str(path.relative_to(room)): path.read_bytes() for path in sorted(room.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (["clip.mp4"], 2, "give -o OUT, or --export FOLDER"),
        (["clip.mp4", "-o", "out.mp4", "--layout", "cube"], 2, "--layout is 'cube', expected one of sbs"),
        (["clip.mp4", "-o", "out.mp4", "--divergence", "50"], 2, "from 0 to 20"),
        (["clip.mp4", "-o", "out.mp4", "--divergence", "-1"], 2, "from 0 to 20"),
        (["clip.mp4", "-o", "out.mp4", "--divergence", "nan"], 2, "from 0 to 20"),
        (["clip.mp4", "-o", "out.mp4", "--convergence", "1.5"], 2, "--convergence is 1.5"),
        (["clip.mp4", "-o", "out.mp4", "--eye", "third"], 2, "--eye is 'third', expected one of both, left, right"),
        (["clip.mp4", "-o", "out.mp4", "--method", "sideways"], 2, "expected one of backward, forward"),
        (["clip.mp4", "-o", "out.mp4", "--mapper", "mul_9"], 2, "mul_9"),
        (["clip.mp4", "-o", "out.mp4", "--ema", "often"], 2, "--ema is 'often'"),
        (["clip.mp4", "-o", "out.mp4", "--ema", "1.5,30"], 2, "decay of 1.5"),
        (["clip.mp4", "-o", "out.mp4", "--edge-dilation", "-1"], 2, "--edge-dilation is -1"),
        (["clip.mp4", "-o", "out.mp4", "--outer-dilation", "99"], 2, "--outer-dilation is 99"),
        (["clip.mp4", "-o", "out.mp4", "--overlap", "a,b"], 2, "--overlap is 'a,b'"),
        (["clip.mp4", "-o", "out.mp4", "--overlap", "3,3", "--inpaint-model", "stretch"], 2, "--overlap is for the windows of a net"),
        (["clip.mp4", "-o", "out.mp4", "--inpaint-model", "magic"], 2, "no model is called 'magic'"),
        (["clip.mp4", "-o", "out.mp4", "--vr-view", "5"], 2, "--vr-view is 5"),
        (["clip.mp4", "-o", "out.mp4", "--depth", "guess"], 2, "guess"),
        (["clip.mp4", "-o", "out.mp4", "--depth", "files:gone"], 1, "gone is no folder"),
        (["clip.mp4", "-o", "out.mp4", "--depth", "files:empty"], 1, "empty"),
        (["clip.mp4", "-o", "out.mp4", "--depth", "files:few"], 2, "depth for 2 frames"),
        (["clip.mp4", "-o", "out.mp4", "--depth", "onnx:gone.onnx"], 1, "gone.onnx"),
        (["clip.mp4", "-o", "out.mp4", "--depth-resolution", "2"], 2, "2 pixels"),
        (["clip.mp4", "-o", "out.mp4", "--codec", "mpeg"], 2, "mpeg"),
        (["clip.mp4", "-o", "out.xyz"], 2, "xyz"),
        (["clip.mp4", "-o", "out.jpg"], 2, "holds one picture"),
        (["clip.mp4", "-o", "nowhere/out.mp4"], 1, "nowhere"),
        (["clip.mp4", "-o", "text.mp4"], 2, "exists"),
        (["clip.mp4", "-o", "clip.mp4", "--overwrite"], 2, "is also an input"),
        (["clip.mp4", "--export", "mine", "--overwrite"], 2, "holds other files"),
        (["clip.mp4", "--export", "mine"], 2, "exists"),
        (["clip.mp4", "-o", "out.mp4", "--export", "nowhere/kept"], 1, "nowhere"),
        (["clip.mp4", "-o", "same", "--export", "same"], 2, "names of their own"),
        (["clip.mp4", "-o", "out.mp4", "--fps", "24"], 2, "frame times of its own"),
        (["gone.mp4", "-o", "out.mp4"], 1, "does not exist"),
        (["text.mp4", "-o", "out.mp4"], 1, "text.mp4"),
        (["empty", "-o", "out.mp4"], 1, "holds no image"),
    ],
)
def test_bad_requests_end_in_one_line(room: Path, arguments: list[str], status: int, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = inventory(room)
    assert main(["stereo", "--quiet", *arguments]) == status
    out, err = capsys.readouterr()
    assert line in err
    assert len(err.strip().splitlines()) == 1, err
    assert err.startswith("framefill: ")
    assert out == ""
    assert inventory(room) == before
    assert not (room / "out.mp4").exists()
    assert not [path for path in room.iterdir() if path.name.startswith(".")]


def test_an_export_is_not_made_from_an_export(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stereo", "clip.mp4", "--export", "kept", "--quiet"]) == 0
    assert capsys.readouterr().out.strip() == "kept"
    assert main(["stereo", "kept", "--export", "again", "--quiet"]) == 2
    assert "is an export already" in capsys.readouterr().err
    for option in (["--depth", "constant"], ["--fps", "24"]):
        assert main(["stereo", "kept", "-o", "out.mp4", *option, "--quiet"]) == 2
        assert option[0] in capsys.readouterr().err
    assert main(["stereo", "kept", "-o", "out.mp4", "--layout", "anaglyph", "--quiet"]) == 0
    assert len(media.decode(room / "out.mp4")) == 4


def test_json_and_figures(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stereo", "clip.mp4", "-o", "out.mkv", "--layout", "half-tb", "--json"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert (told["frames"], told["size"], told["layout"], told["shots"]) == (4, [64, 48], "half-tb", 1)
    assert (told["depth"], told["mapper"], told["model"]) == ("heuristic", "none", "auto")
    assert "out.mkv: 4 frames" in err
    assert "depth heuristic" in err


def test_existing_output_is_replaced_only_when_told(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["stereo", "clip.mp4", "-o", "text.mp4", "--export", "kept", "--inpaint-model", "stretch", "--quiet"]
    assert main([*command, "--overwrite"]) == 0
    assert len(media.decode(room / "text.mp4")) == 4
    assert main([*command]) == 2
    assert main([*command, "--overwrite"]) == 0, capsys.readouterr().err
    assert len(list((room / "kept" / "frames").iterdir())) == 4


def test_a_spoilt_picture_of_depth_leaves_nothing_half(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2, 4):
        (room / "few" / f"{number}.png").write_bytes(b"no picture")
    before = inventory(room)
    assert main(["stereo", "clip.mp4", "-o", "out.mp4", "--export", "kept", "--depth", "files:few", "--quiet"]) == 1
    assert "2.png" in capsys.readouterr().err
    assert inventory(room) == before


@pytest.mark.skipif(sys.platform == "win32", reason="no RLIMIT_FSIZE")
def test_a_full_disk_is_one_line(room: Path) -> None:
    media.write_video(room / "in.mp4", size=(256, 192), frames=12)
    program = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (30000, 30000)); "
    program += "from framefill.apps.cli.main import main; sys.exit(main())"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program, "stereo", "in.mp4", "-o", "out.mp4", "--crf", "0", "--inpaint-model", "stretch", "--quiet"]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == 1, ended.stderr
    assert "cannot be written" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (room / "out.mp4").exists()
    assert not [path for path in room.iterdir() if path.name.startswith(".")]


def test_the_verb_starts_without_torch(room: Path) -> None:
    code = (
        "import sys; from framefill.apps.cli.main import main; status = main(sys.argv[1:]); print('torch' in sys.modules); sys.exit(status)"
    )
    command = [sys.executable, "-c", code, "stereo", "clip.mp4", "-o", "out.mp4", "--inpaint-model", "propagate", "--quiet"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert ended.stdout.splitlines()[-1] == "False"
