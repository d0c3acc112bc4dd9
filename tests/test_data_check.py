"""Checking a manifest: each kind of problem, made and found, by its line."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from data_kit import scene, shrunk, write_frames
from mediafiles import damage

from framefill.data.check import check
from framefill.data.manifest import Clip, read_manifest, write_manifest
from framefill.data.scan import Filters, ScanSettings, scan


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    for seed in range(3):
        write_frames(tmp_path / "videos" / f"{seed}.mp4", scene(seed), gop=4)
    scan(ScanSettings(tmp_path / "videos", val_share=0, filters=Filters(8, 32)), tmp_path / "m.jsonl")
    return tmp_path / "m.jsonl"


def found(manifest: Path, decode: bool = False) -> list[tuple[int, str]]:
    return [(problem.line, problem.kind) for problem in check(manifest, decode)]


def rewritten(manifest: Path, line: int, **changed: object) -> Path:
    clips = read_manifest(manifest)
    clips[line - 1] = replace(clips[line - 1], **changed)
    write_manifest(manifest, clips)
    return manifest


def added(manifest: Path, *more: Clip) -> Path:
    write_manifest(manifest, [*read_manifest(manifest), *more])
    return manifest


def test_nothing_wrong(manifest: Path) -> None:
    assert check(manifest, decode=True) == []


def test_missing_and_changed(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "videos" / "1.mp4").unlink()
    write_frames(tmp_path / "videos" / "2.mp4", scene(9))
    assert found(manifest) == [(2, "missing"), (3, "changed")]


@pytest.mark.parametrize(("changed", "kind"), [({"width": 95}, "size"), ({"end": 21}, "length"), ({"sha256": "0" * 64}, "changed")])
def test_what_the_manifest_says_wrongly(manifest: Path, changed: dict[str, object], kind: str) -> None:
    assert found(rewritten(manifest, 2, **changed)) == [(2, kind)]


def test_corrupt(manifest: Path, tmp_path: Path) -> None:
    video = tmp_path / "videos" / "0.mp4"
    damage(video, tmp_path / "damaged.mp4")
    shutil.copy(tmp_path / "damaged.mp4", video)
    assert found(manifest) == [(1, "changed")]  # by its hash, without decoding
    assert found(manifest, decode=True) == [(1, "corrupt")]
    video.write_bytes(b"no video")
    assert found(manifest) == [(1, "corrupt")]


def test_a_leak_by_content_hash(manifest: Path, tmp_path: Path) -> None:
    first = read_manifest(manifest)[0]
    copy = shutil.copy(tmp_path / "videos" / "0.mp4", tmp_path / "videos" / "other name.mp4")
    (problem,) = check(added(manifest, replace(first, path=Path(copy), split="test")))
    assert (problem.line, problem.kind) == (4, "leak")
    assert "has the content of line 1, which is in train" in problem.text


def test_another_part_of_one_file_is_a_leak_too(manifest: Path) -> None:
    first = read_manifest(manifest)[0]
    clips = [replace(first, end=10), replace(first, start=10, split="val")]
    write_manifest(manifest, clips)
    assert found(manifest) == [(2, "leak")]


def test_frames_twice(manifest: Path) -> None:
    first = read_manifest(manifest)[0]
    assert found(added(manifest, replace(first, start=19, end=20))) == [(4, "repeated")]
    assert found(rewritten(manifest, 4, path=first.path.with_name("1.mp4"), sha256="", start=0, end=20)) == [(4, "repeated")]


def test_a_copy_of_another_size_is_told_from_its_looks(tmp_path: Path, city: Path) -> None:
    write_frames(tmp_path / "set" / "train" / "a.mp4", shrunk(city, 30))
    write_frames(tmp_path / "set" / "val" / "b.mp4", shrunk(city, 30, (160, 90)), crf=30)
    scan(ScanSettings(tmp_path / "set", filters=Filters(8, 32, near=0)), tmp_path / "m.jsonl")
    (problem,) = check(tmp_path / "m.jsonl")
    assert (problem.line, problem.kind) == (2, "likeness")
