"""`framefill data` from the command line: one path on stdout, one line for each error."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from data_kit import scene, write_frames
from typer.testing import CliRunner

from framefill.apps.cli.data import data_app
from framefill.data.footage import Footage
from framefill.data.make import make_clips
from framefill.data.manifest import read_manifest
from framefill.data.packed import ShardDataset
from framefill.data.progress import Step
from framefill.errors import UsageError
from framefill.media.synthetic import make_scene


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(data_app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_from_a_folder_to_shards(tmp_path: Path) -> None:
    for seed in range(3):
        write_frames(tmp_path / "videos" / f"{seed}.mp4", scene(seed))
    manifest = tmp_path / "m.jsonl"
    status, out, err = run("scan", tmp_path / "videos", "-o", manifest, "--val-share", 0, "--licence", "CC0-1.0")
    assert (status, out) == (0, f"{manifest}\n")
    assert err.endswith("framefill: 3 clips of 2 s (3 train)\n")
    assert {clip.licence for clip in read_manifest(manifest)} == {"CC0-1.0"}
    assert run("check", manifest, "--decode") == (0, "", f"framefill: {manifest}: nothing wrong\n")
    status, out, _ = run("shard", manifest, "-o", tmp_path / "shards", "--size", 32, "--frames", 16, "--quiet")
    assert (status, out) == (0, f"{tmp_path / 'shards' / '00000.tar'}\n")
    assert len(ShardDataset(tmp_path / "shards", 16, 32)) == 3
    (tmp_path / "videos" / "1.mp4").unlink()
    status, out, _ = run("check", manifest)
    assert (status, out) == (1, f"{manifest}:2: missing: {tmp_path / 'videos' / '1.mp4'} does not exist\n")


def test_json_tells_everything(tmp_path: Path) -> None:
    write_frames(tmp_path / "videos" / "a.mp4", scene(0))
    write_frames(tmp_path / "videos" / "b.mp4", scene(1, 5))
    _, out, _ = run("scan", tmp_path / "videos", "-o", tmp_path / "m.jsonl", "--json", "--quiet", "--val-share", 0)
    told = json.loads(out)
    assert (told["clips"], told["seconds"], told["splits"]["train"], told["left_out"]) == (1, 0.8, 1, {"too short": 1})
    _, out, _ = run("check", tmp_path / "m.jsonl", "--json")
    assert json.loads(out) == {"manifest": str(tmp_path / "m.jsonl"), "problems": []}


def test_make_writes_lossless_clips_and_their_truth(tmp_path: Path) -> None:
    status, out, _ = run(
        "make", "-o", tmp_path, "--count", 3, "--frames", 5, "--size", "48x32", "--val", 1, "--seed", 7, "--truth", "--quiet"
    )
    assert (status, out) == (0, f"{tmp_path / 'manifest.jsonl'}\n")
    clips = read_manifest(tmp_path / "manifest.jsonl")
    assert [(clip.split, clip.width, clip.height, len(clip)) for clip in clips] == [
        ("train", 48, 32, 5),
        ("train", 48, 32, 5),
        ("val", 48, 32, 5),
    ]
    made = make_scene(np.random.default_rng([7, 1]), 5, 32, 48)
    assert np.array_equal(np.stack(Footage(clips[1].path).read(range(5))), made.frames)
    with np.load(tmp_path / "truth" / "00001.npz") as truth:
        for name in ("flow", "depth", "disparity", "objects", "other_eye"):
            assert np.array_equal(truth[name], getattr(made, name))
    assert run("check", tmp_path / "manifest.jsonl", "--quiet") == (0, "", "")


def test_make_goes_on_where_it_was(tmp_path: Path) -> None:
    def stop(step: Step) -> None:
        if step.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_clips(tmp_path, 4, 4, 32, progress=stop)
    assert not (tmp_path / "manifest.jsonl").exists()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "clips").iterdir()}
    manifest = make_clips(tmp_path, 4, 4, 32)
    assert len(before) == 2
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert len(read_manifest(manifest)) == 4
    with pytest.raises(UsageError, match="val 4"):
        make_clips(tmp_path, 4, 4, 32, val=4)


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("scan", "NONE"), 1, "is no folder"),
        (("scan", ".", "--layout", "x"), 2, "layout 'x' is not known"),
        (("check", "NONE"), 1, "does not exist; make one with"),
        (("shard", "NONE", "-o", "x", "--size", "32"), 1, "does not exist"),
        (("shard", "NONE", "-o", "x", "--size", "32", "--split", "dev"), 2, "--split dev: give train, val, test or all"),
        (("shard", "NONE", "-o", "x", "--size", "32", "--encoding", "png"), 2, "expected npy or jpg"),
        (("cache", "NONE", "-o", "x", "--size", "32", "--codec", "NONE"), 1, "no autoencoder in"),
        (("make", "-o", "NONE", "--count", "0"), 2, "count 0"),
        (("make", "-o", "NONE", "--size", "axb"), 2, "--size axb: give pixels"),
    ],
)
def test_errors_are_one_line(tmp_path: Path, arguments: tuple[str, ...], status: int, says: str) -> None:
    given = [str(tmp_path / "none") if argument == "NONE" else argument for argument in arguments]
    code, out, err = run(*given, "--quiet")
    assert (code, out) == (status, "")
    assert err.startswith("framefill: ")
    assert err.count("\n") == 1
    assert says in err
