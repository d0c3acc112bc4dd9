"""`framefill demo --train` at the smallest size: every part of the loop, going on where it stopped, and what ends in one line."""

from __future__ import annotations

import json
import re
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("matplotlib")

import torch

from framefill.apps import demo
from framefill.apps.cli.main import main
from framefill.apps.demo import loop
from framefill.apps.demo.clips import GROUND, draw_clip, make_clips
from framefill.apps.demo.loop import train_demo
from framefill.apps.demo.measure import NET, NO_TRUTH, PLAIN
from framefill.apps.demo.recipe import TASKS, Scale
from framefill.data.manifest import read_manifest
from framefill.data.progress import silent
from framefill.errors import JobError, UnwritableMedia, UsageError
from framefill.families.vdt import VDTPipeline
from framefill.jobs.lock import FolderLock
from framefill.media.reader import open_video
from framefill.media.tasks import TASKS as ALL_TASKS
from framefill.training.dataflow import ClipLoader, Share

TINY = Scale(clips=6, held_out=2, clip_frames=10, frames=4, side=16, patch=8, width=32, layers=1, batch=4, workers=0, steps=2, every=8)
MINUTES = 0.02


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A folder in which the demonstration has run, and what it said."""
    folder = tmp_path_factory.mktemp("demo") / "it's <here>"
    said: list[str] = []
    assert train_demo(folder, MINUTES, said.append, TINY) == folder / "training.html"
    return folder, said


def test_a_disc_goes_round_at_a_speed_of_its_own() -> None:
    clips = [draw_clip(np.random.default_rng(seed), 12, 24).astype(float) for seed in range(6)]
    y, x = np.mgrid[0:24, 0:24] - 11.5
    turns = []
    for clip in clips:
        apart = np.abs(clip - GROUND).sum(3)
        column, row = ((apart * part).sum((1, 2)) / apart.sum((1, 2)) for part in (x, y))
        reach = np.hypot(column, row)
        assert np.ptp(reach) < 0.1, "the disc stays on its ring"
        assert 0.24 * 24 - 0.1 < reach.mean() < 0.32 * 24 + 0.1
        turn = np.diff(np.unwrap(np.arctan2(row, column)))
        assert np.ptp(turn) < 0.05, "at one speed"
        turns.append(turn.mean())
    assert 0.19 < min(np.abs(turns)) < max(np.abs(turns)) < 0.51
    assert min(turns) < 0 < max(turns)


def test_clips_are_files_that_a_stopped_run_keeps(tmp_path: Path) -> None:
    manifest = make_clips(tmp_path / "clips", {"train": 2, "val": 1}, 5, 16, silent)
    clips = read_manifest(manifest)
    assert [clip.split for clip in clips] == ["train", "train", "val"]
    with open_video(clips[1].path) as reader:
        frames = np.stack([frame.rgb for frame in reader])
    assert np.array_equal(frames, draw_clip(np.random.default_rng([0, 1]), 5, 16)), "lossless, and drawn from (split, number) alone"
    before = clips[0].path.stat().st_mtime_ns
    clips[2].path.unlink()
    make_clips(tmp_path / "clips", {"train": 2, "val": 1}, 5, 16, silent)
    assert clips[0].path.stat().st_mtime_ns == before
    assert clips[2].path.exists()


def test_the_model_that_it_leaves_is_whole(shown: tuple[Path, list[str]]) -> None:
    pipeline = VDTPipeline.from_pretrained(shown[0] / "run" / "model")
    assert pipeline.tasks == TASKS
    assert set(TASKS) < set(ALL_TASKS)
    assert float(pipeline.net.out.weight.detach().abs().max()) > 0, "a new net's last layer is zero"


def test_the_page_shows_every_part(shown: tuple[Path, list[str]]) -> None:
    page = (shown[0] / "training.html").read_text("utf-8")
    assert re.findall(r'<section id="(\w+)"', page) == ["short", "moving", "clips", "training", "tasks", "figures", "next", "repeat"]
    assert re.findall(r"<h3>(\w+)</h3>", page)[: len(TASKS)] == list(TASKS)
    assert page.count('class="film"') == 1 + len(TASKS) * 2 * 3
    assert "data:video/mp4;base64," in page
    assert "<here>" not in page, "the folder's name is text, not markup"
    assert not re.search(r'(src|href)="(?!data:|#)', page), "it asks nothing of any network"
    assert "framefill train vdt-tiny --data.manifest my-videos" in page
    rows = re.findall(r'<tr><th scope="row">([\w]+)</th>((?:<td[^>]*>.*?</td>)+)</tr>', page)
    figures = {task: re.findall(r"<(?:b|span)>([^<]+)</", cells) for task, cells in rows if task in TASKS}
    assert list(figures) == [task for task in TASKS if task != NO_TRUTH]
    assert all(len(values) == 2 * (1 + len(PLAIN)) for values in figures.values())
    assert NET in page


def test_the_same_command_again_does_not_train_again(shown: tuple[Path, list[str]]) -> None:
    folder, _ = shown
    state = sorted((folder / "run" / "state").iterdir())
    said: list[str] = []
    train_demo(folder, MINUTES, said.append, TINY)
    assert any("trained already" in line for line in said)
    assert sorted((folder / "run" / "state").iterdir()) == state


def test_ctrl_c_ends_in_one_line_and_more_minutes_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "fill_all", _interrupted)
    with pytest.raises(KeyboardInterrupt, match="the same command goes on"):
        train_demo(tmp_path, 0.005, _quiet, TINY)
    monkeypatch.undo()
    before = _samples(tmp_path)
    spent = float((tmp_path / "run" / "minutes").read_text("utf-8"))
    assert train_demo(tmp_path, spent + 0.005, _quiet, TINY).exists()
    assert "going on with run at" in (tmp_path / "run" / "log.txt").read_text("utf-8")
    assert _samples(tmp_path) > before


class _Deaf:
    """One clip, refused in a process that Ctrl-C would end in a traceback of its own."""

    def __len__(self) -> int:
        return 1

    def set_epoch(self, epoch: int) -> None:
        del epoch

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
            raise UsageError("this process hears Ctrl-C")
        return {"video": torch.zeros(1, 2, 2, 3, dtype=torch.uint8)}


def test_ctrl_c_is_for_the_main_process_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    batches = ClipLoader(_Deaf(), 0, workers=1).batches(Share(0, 1, 1))
    assert next(batches)["video"].shape == (1, 1, 2, 2, 3)
    assert signal.getsignal(signal.SIGINT) == before


def test_a_run_too_short_for_a_curve_has_its_page(tmp_path: Path) -> None:
    page = train_demo(tmp_path, 0.0001, _quiet, replace(TINY, every=1_000_000)).read_text("utf-8")
    assert "too short for a curve" in page


def test_a_wrong_request_ends_in_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    cases = {
        ("--train", "--minutes", "0"): "above 0",
        ("--train", "--minutes", "inf"): "above 0",
        ("--train", "--sample", "city"): "makes its own clips",
        ("--minutes", "3"): "give both",
    }
    for options, words in cases.items():
        assert main(["demo", *options, "--folder", str(tmp_path / "none")]) == 2
        out, err = capsys.readouterr()
        assert not out
        assert err.count("\n") == 1
        assert words in err
    assert not (tmp_path / "none").exists()


def test_a_package_that_is_missing_is_named_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda name: None if name == "accelerate" else object())
    assert main(["demo", "--train", "--folder", str(tmp_path / "none")]) == 1
    assert "pip install 'framefill[train]'" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(UnwritableMedia, match="cannot be made"):
        train_demo(file, MINUTES, _quiet, TINY)
    busy = tmp_path / "busy"
    busy.mkdir()
    lock = FolderLock(busy / ".lock")
    with pytest.raises(JobError, match="another process"):
        train_demo(busy, MINUTES, _quiet, TINY)
    lock.release()


def test_a_run_of_another_recipe_is_not_gone_on_with(shown: tuple[Path, list[str]]) -> None:
    with pytest.raises(UsageError, match="--folder begins anew"):
        train_demo(shown[0], 1, _quiet, replace(TINY, batch=8))


def _quiet(_: str) -> None:
    pass


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def _samples(folder: Path) -> int:
    (state,) = (folder / "run" / "state").iterdir()
    return int(json.loads((state / "progress.json").read_text("utf-8"))["samples"])
