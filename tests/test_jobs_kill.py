"""Killed at any moment by a signal that cannot be caught, the same command ends in the same bytes; memory does not grow with the clip."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
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


# Files are flushed in this order: the manifest, then for each of the six windows the state after it and the window, then the
# names to come, then the output.
MOMENTS = {
    "writing the manifest": (1, 0),
    "writing the first window": (3, 0),
    "writing the second state": (4, 1),
    "writing the third window": (7, 2),
    "writing the last window": (13, 5),
    "noting the names to come": (14, 6),
    "the output is whole and has no name yet": (15, 6),
}


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize(("moment", "finished"), MOMENTS.values(), ids=MOMENTS)
def test_sigkill_loses_nothing_that_was_finished(given: tuple[Path, Path, bytes], tmp_path: Path, moment: int, finished: int) -> None:
    clip, mask, whole = given
    output = tmp_path / "out.mp4"
    command = [sys.executable, str(KIT), str(clip), str(mask), str(output)]
    killed = subprocess.run([*command, str(moment)], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not output.exists()
    assert len(list((tmp_path / "out.mp4.framefill").glob("window-*.npz"))) == finished
    again = subprocess.run([*command, "0"], check=True, capture_output=True, text=True)
    assert int(again.stdout) == finished
    assert output.read_bytes() == whole
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ")
def test_sigint_ends_with_one_line_and_130(given: tuple[Path, Path, bytes], tmp_path: Path) -> None:
    clip, mask, whole = given
    output = tmp_path / "out.mp4"
    program = """
import signal, sys
import framefill.jobs.plan as plan
from framefill.apps.cli.main import main
from jobs_kit import Tally

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may have had it ignored

class Pressed(Tally):
    def fill_span(self, span, state):
        if span.fill_start == 8 and INTERRUPT:
            signal.raise_signal(signal.SIGINT)
        return super().fill_span(span, state)

plan._family = lambda settings: Pressed()
sys.exit(main())
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(KIT.parent), *sys.path])}
    arguments = ["inpaint", str(clip), "-m", str(mask), "-o", str(output)]
    command = [sys.executable, "-c", program.replace("INTERRUPT", "True"), *arguments]
    stopped = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert stopped.returncode == 130
    assert "Traceback" not in stopped.stderr
    assert "2 finished windows are kept" in stopped.stderr.splitlines()[-1]
    assert "the same command goes on" in stopped.stderr.splitlines()[-1]
    assert not output.exists()
    assert not list(tmp_path.glob("*.framefill-part"))
    command = [sys.executable, "-c", program.replace("INTERRUPT", "False"), *arguments]
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
