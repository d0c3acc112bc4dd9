"""The house itself: it starts without heavy libraries, carries its samples, and says one version."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import av
import numpy as np
import pytest

import framefill
from framefill.samples import sample

ROOT = Path(__file__).resolve().parents[1]
OPTION = re.compile(r"--[a-z][a-z-]+")
HEAVY = {"av", "cv2", "numpy", "PIL", "torch", "scipy"}
SAMPLES = {"city": (96, 640, 360, 25), "vtest": (40, 768, 576, 10)}  # frames, width, height, frames per second


def modules_after(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after `code`."""
    report = "\nimport sys; print('\\n'.join(sorted(name for name in sys.modules if '.' not in name)), file=sys.stderr)"
    result = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, check=True)
    return set(result.stderr.split())


def test_import_loads_nothing_heavy() -> None:
    loaded = modules_after("import framefill")
    assert "framefill" in loaded
    assert not loaded & (HEAVY | {"typer", "click", "rich"})


def test_help_loads_no_media_library() -> None:
    code = "import sys; sys.argv = ['framefill', '--help']; from framefill.apps.cli.main import main\ntry: main()\nexcept SystemExit: pass"
    loaded = modules_after(code)
    assert "typer" in loaded
    assert not loaded & HEAVY


def test_help_names_every_verb() -> None:
    result = subprocess.run([sys.executable, "-m", "framefill", "--help"], capture_output=True, text=True, check=True)
    for verb in ("inpaint", "outpaint", "mask", "info", "demo"):
        assert verb in result.stdout


def test_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert framefill.__version__ == project["version"]
    assert f"## [{project['version']}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SAMPLES)
def test_sample_is_what_its_sources_file_says(name: str) -> None:
    frames, width, height, fps = SAMPLES[name]
    clip = sample(f"{name}.mp4")
    assert clip.stat().st_size < 600_000
    assert f"{frames} frames, {width}x{height}, {fps} frames/s" in (clip.parent / "SOURCES.md").read_text(encoding="utf-8")
    with av.open(str(clip)) as picture, av.open(str(sample(f"{name}-mask.mp4"))) as mask:
        assert (picture.streams.video[0].width, picture.streams.video[0].height) == (width, height)
        assert picture.streams.video[0].average_rate == fps
        assert sum(1 for _ in picture.decode(video=0)) == frames
        levels = [frame.to_ndarray(format="gray") for frame in mask.decode(video=0)]
    assert len(levels) == frames
    assert set(np.unique(levels)) == {0, 255}
    assert all(0.002 < (level > 0).mean() < 0.2 for level in levels)


def test_city_has_sound_and_the_court_has_none() -> None:
    with av.open(str(sample("city.mp4"))) as city, av.open(str(sample("vtest.mp4"))) as court:
        loudness = np.concatenate([frame.to_ndarray()[0] for frame in city.decode(audio=0)])
        assert not court.streams.audio
    assert 0.005 < float(np.sqrt(np.mean(loudness**2))) < 0.1


def test_documents_name_only_options_that_exist() -> None:
    commands = [["inpaint"], ["outpaint"], ["predict"], ["interpolate"], ["generate"], ["stereo"], ["mask", "check"], ["info"], ["demo"]]
    commands += [["eval", verb] for verb in ("list", "describe", "run", "inputs", "compare", "report")]
    commands += [["train"], *(["data", verb] for verb in ("scan", "check", "shard", "cache", "records", "make"))]
    commands += [["weights", verb] for verb in ("list", "get", "verify")]
    environment = {**os.environ, "COLUMNS": "300", "TERM": "dumb", "NO_COLOR": "1"}
    known = {"--cpu", "--multi", "--num"}  # accelerate launch, whose names go on after an underscore
    known |= {"--help", *OPTION.findall((ROOT / "benchmarks" / "fill.py").read_text(encoding="utf-8"))}  # make bench
    for command in commands:
        line = [sys.executable, "-m", "framefill", *command, "--help"]
        known |= set(OPTION.findall(subprocess.run(line, capture_output=True, text=True, check=True, env=environment).stdout))
    for document in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        named = set(OPTION.findall(document.read_text(encoding="utf-8")))
        assert named <= known, f"{document.name} names {sorted(named - known)}"


def test_documents_link_to_files_that_exist() -> None:
    for document in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))):
        for target in re.findall(r"\]\(([^)#]+)", document.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (document.parent / target).is_file(), f"{document.name} links to {target}"
