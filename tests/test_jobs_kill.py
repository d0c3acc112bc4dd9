"""Killed at any moment by a signal that cannot be caught, the same command ends in the same bytes; memory does not grow with the clip."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from jobs_kit import box_mask, write_clip, write_mask

KIT = Path(__file__).with_name("jobs_kit.py")
WIDTH, HEIGHT, FRAMES = 256, 48, 24  # six windows; at this width every build of x264 is deterministic


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, bytes]:
    folder = tmp_path_factory.mktemp("given")
    clip = write_clip(folder / "clip.mp4", FRAMES, WIDTH, HEIGHT, codec="libx264", pix_fmt="yuv420p", sound=2.0)
    mask = write_mask(folder / "mask.npy", box_mask(FRAMES, WIDTH, HEIGHT))
    whole = folder / "whole.mp4"
    subprocess.run([sys.executable, str(KIT), str(clip), str(mask), str(whole), "0"], check=True, capture_output=True)
    return clip, mask, whole.read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("after", [0, 1, 3, 6])
def test_sigkill_loses_nothing_that_was_finished(given: tuple[Path, Path, bytes], tmp_path: Path, after: int) -> None:
    clip, mask, whole = given
    output = tmp_path / "out.mp4"
    job = tmp_path / "out.mp4.framefill"
    command = [sys.executable, str(KIT), str(clip), str(mask), str(output)]
    process = subprocess.Popen([*command, "0.1"])
    deadline = time.monotonic() + 30
    while len(list(job.glob("window-*.npz"))) < after or not job.exists():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not output.exists()
    done = len(list(job.glob("window-*.npz")))
    again = subprocess.run([*command, "0"], check=True, capture_output=True, text=True)
    assert int(again.stdout) == done >= after
    assert output.read_bytes() == whole
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ")
def test_sigint_ends_with_one_line_and_130(given: tuple[Path, Path, bytes], tmp_path: Path) -> None:
    clip, mask, whole = given
    output = tmp_path / "out.mp4"
    job = tmp_path / "out.mp4.framefill"
    program = "import sys, framefill.jobs.plan as plan; from jobs_kit import Tally; from framefill.apps.cli.main import main; "
    program += "plan._family = lambda settings: Tally(pause=0.1); sys.exit(main())"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(KIT.parent), *sys.path])}
    command = [sys.executable, "-c", program, "inpaint", str(clip), "-m", str(mask), "-o", str(output)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    while len(list(job.glob("window-*.npz"))) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert "the same command goes on" in said.splitlines()[-1]
    assert not output.exists()
    assert not list(tmp_path.glob("*.part"))
    again = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    assert again.stdout == f"{output}\n"
    assert output.read_bytes() == whole


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no VmHWM")
def test_memory_does_not_grow_with_the_clip(tmp_path: Path) -> None:
    peaks = []
    program = "import sys; from jobs_kit import Tally; from pathlib import Path; from framefill.jobs.runner import run; "
    program += "from framefill.jobs.settings import FillSettings; a = sys.argv; "
    program += "print(run(FillSettings(a[1], Path(a[2]), boxes=('40,40,60,50',)), filler=Tally(window=8, reach=8)).peak_memory_mb)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(KIT.parent), *sys.path])}
    for frames in (80, 480):
        clip = write_clip(tmp_path / f"{frames}.mp4", frames, 320, 240, codec="mpeg4", pix_fmt="yuv420p", rate=25)
        command = [sys.executable, "-c", program, str(clip), str(tmp_path / f"{frames}-out.mp4")]
        peaks.append(float(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout))
    assert peaks[1] <= 1.15 * peaks[0], peaks
