"""Scanning a folder: what becomes a clip, what is left out and why, and going on after a stop."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from data_kit import scene, shrunk, write_frames
from mediafiles import cut_off, write_images, write_sound, write_video

from framefill.data import scan as scanning
from framefill.data.footage import Footage
from framefill.data.manifest import read_manifest
from framefill.data.progress import Step
from framefill.data.scan import UNCUT, Filters, ScanSettings, scan
from framefill.errors import UnreadableMedia, UsageError

SMALL = Filters(min_frames=8, min_side=32)


def settings(root: Path, **other: object) -> ScanSettings:
    return ScanSettings(root, **{"filters": SMALL, "val_share": 0.0, **other})


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Six files: one of two shots, four of one, one of them in a folder below."""
    folder = tmp_path / "videos"
    write_frames(folder / "two shots.mp4", np.concatenate([scene(0), scene(1)]))
    for seed in (2, 3, 4):
        write_frames(folder / f"clip{seed}.mp4", scene(seed))
    write_frames(folder / "below" / "clip10.avi", scene(10), codec="mpeg4")
    return folder


def test_a_folder_of_videos(videos: Path, tmp_path: Path) -> None:
    scanned = scan(settings(videos, licence="CC0-1.0"), tmp_path / "m.jsonl")
    named = [(clip.path.relative_to(videos).as_posix(), clip.start, clip.end) for clip in scanned.clips]
    assert named == [
        ("below/clip10.avi", 0, 20), ("clip2.mp4", 0, 20), ("clip3.mp4", 0, 20), ("clip4.mp4", 0, 20),
        ("two shots.mp4", 0, 20), ("two shots.mp4", 20, 40),
    ]  # fmt: skip
    assert {(clip.width, clip.height, clip.fps, clip.licence) for clip in scanned.clips} == {(96, 72, 25.0, "CC0-1.0")}
    assert len({clip.sha256 for clip in scanned.clips}) == 5
    assert read_manifest(tmp_path / "m.jsonl") == scanned.clips
    assert list(tmp_path.glob("m.jsonl*")) == [tmp_path / "m.jsonl"]
    whole = scan(settings(videos, cutting=UNCUT), tmp_path / "whole.jsonl")
    assert ("two shots.mp4", 0, 40) in [(clip.path.name, clip.start, clip.end) for clip in whole.clips]


def test_the_same_manifest_in_any_number_of_threads(videos: Path, tmp_path: Path) -> None:
    scan(settings(videos, workers=1), tmp_path / "one.jsonl")
    scan(settings(videos, workers=4), tmp_path / "four.jsonl")
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "four.jsonl").read_bytes()


def test_filters_and_bad_files_are_counted(videos: Path, tmp_path: Path, city: Path) -> None:
    write_frames(videos / "short.mp4", scene(5, 6))
    write_frames(videos / "small.mp4", scene(6, 20, 30, 40))
    write_frames(videos / "still.mp4", np.repeat(scene(7, 1), 20, axis=0))
    shutil.copy(videos / "clip2.mp4", videos / "zz copy.mp4")
    write_frames(videos / "zz other size.mp4", shrunk(city, 30, (160, 90)))
    write_frames(videos / "zz other size 2.mp4", shrunk(city, 30, (80, 60)), crf=30)
    good = write_video(tmp_path / "good.mp4", frames=40, container={"movflags": "+faststart"})
    cut_off(good, videos / "cut off.mp4")
    (videos / "empty.mp4").write_bytes(b"")
    write_sound(videos / "sound.mp4")
    scanned = scan(settings(videos), tmp_path / "m.jsonl")
    assert len(scanned.clips) == 7
    assert dict(scanned.dropped) == {
        "too short": 1, "too small": 1, "without motion": 1, "in a file that is there twice": 1, "like another clip": 1, "unreadable": 3,
    }  # fmt: skip
    assert [line for line in scanned.lines if "\n" in line] == []
    for name in ("cut off", "empty", "sound"):
        assert any(f"{name}.mp4" in line for line in scanned.lines)
    kept = scan(settings(videos, filters=Filters(8, 32, near=0)), tmp_path / "near.jsonl")
    assert len(kept.clips) == 8


def test_of_two_copies_the_one_set_apart_stays(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_frames(tmp_path / "set" / split / f"{split}.mp4", scene(1))
        write_frames(tmp_path / "set" / split / f"own {split}.mp4", scene({"train": 2, "val": 3}[split]))
    scanned = scan(settings(tmp_path / "set"), tmp_path / "m.jsonl")
    assert [(clip.path.stem, clip.split) for clip in scanned.clips] == [("own train", "train"), ("own val", "val"), ("val", "val")]


def test_splits_are_drawn_by_content(videos: Path, tmp_path: Path) -> None:
    first = scan(settings(videos, val_share=0.5), tmp_path / "a.jsonl")
    assert {clip.split for clip in first.clips} == {"train", "val"}
    renamed = tmp_path / "renamed"
    shutil.copytree(videos, renamed)
    (renamed / "clip2.mp4").rename(renamed / "0.mp4")
    write_frames(renamed / "another.mp4", scene(9))
    again = {clip.sha256: clip.split for clip in scan(settings(renamed, val_share=0.5), tmp_path / "b.jsonl").clips}
    assert all(again[clip.sha256] == clip.split for clip in first.clips)


def test_among_few_sources_one_is_set_apart(videos: Path, tmp_path: Path) -> None:
    scanned = scan(settings(videos, val_share=1e-9), tmp_path / "m.jsonl")
    (apart,) = {clip.path for clip in scanned.clips if clip.split == "val"}
    assert scanned.lines == [f"none of 5 sources was drawn for validation: {apart.name} is set apart; --val-share 0 keeps all"]
    for name in ("clip2.mp4", "clip3.mp4"):
        (videos / name).unlink()
    fewer = scan(settings(videos, val_share=1e-9), tmp_path / "m.jsonl")
    assert {clip.split for clip in fewer.clips} == {"train"}


def test_stills_take_the_rate_that_is_stated(tmp_path: Path) -> None:
    write_images(tmp_path / "set" / "a", 12)
    scanned = scan(settings(tmp_path / "set"), tmp_path / "m.jsonl")
    assert scanned.clips[0].fps == 25
    assert "1 clips of frames state no rate" in scanned.lines[0]
    stated = scan(settings(tmp_path / "set", fps=12.5), tmp_path / "m.jsonl")
    assert (stated.clips[0].fps, stated.lines) == (12.5, [])


def test_a_stopped_scan_goes_on(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "m.jsonl"
    scan(settings(videos), tmp_path / "expected.jsonl")

    def stop_after_two(step: Step) -> None:
        if step.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(settings(videos, workers=1), target, stop_after_two)
    assert not target.exists()
    journal = tmp_path / "m.jsonl.scan"
    known = [json.loads(line)["key"] for line in journal.read_text(encoding="utf-8").split("\n") if line]
    assert len(known) >= 2
    with journal.open("a", encoding="utf-8") as file:
        file.write('{"key": "cut o')  # killed within a line
    write_frames(videos / "clip3.mp4", scene(33))  # changed in between
    opened: list[Path] = []

    def counted(path: Path, fps: float | None = None) -> Footage:
        opened.append(path)
        return Footage(path, fps)

    monkeypatch.setattr(scanning, "Footage", counted)
    steps: list[Step] = []
    scanned = scan(settings(videos), target, steps.append)
    stale = sum("clip3.mp4" in key for key in known)
    assert len(opened) == 5 - len(known) + stale
    assert steps[0].line == f"{len(known) - stale} of 5 sources are known from the scan before"
    assert len(scanned.clips) == 6
    assert not journal.exists()
    before = {clip.path: clip.sha256 for clip in read_manifest(tmp_path / "expected.jsonl")}
    assert [clip.path.name for clip in scanned.clips if before[clip.path] != clip.sha256] == ["clip3.mp4"]


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"layout": "imagenet"}, "layout 'imagenet' is not known; choose auto"),
        ({"workers": 0}, "workers 0"),
        ({"fps": -1.0}, "fps -1"),
        ({"val_share": 1.0}, "val-share is 1"),
        ({"filters": Filters(min_frames=0)}, "min-frames"),
        ({"filters": Filters(near=40)}, "below 32 bits"),
        ({"filters": Filters(min_frames=1000)}, "no clip is left of 5 sources"),
    ],
)
def test_what_cannot_be_meant(videos: Path, tmp_path: Path, other: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        scan(settings(videos, **other), tmp_path / "m.jsonl")
    assert not (tmp_path / "m.jsonl").exists()


def test_nothing_to_scan(tmp_path: Path) -> None:
    with pytest.raises(UnreadableMedia, match="is no folder"):
        scan(settings(tmp_path / "none"), tmp_path / "m.jsonl")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "notes.txt").write_text("nothing", encoding="utf-8")
    with pytest.raises(UnreadableMedia, match="holds nothing in the layout any"):
        scan(settings(tmp_path / "set"), tmp_path / "m.jsonl")
