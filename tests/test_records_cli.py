"""`framefill data records` from the command line, and `framefill train`'s view of what it made."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from data_kit import scene, write_frames
from records_kit import record, tree
from typer.testing import CliRunner

from framefill.apps.cli.data import data_app
from framefill.data.records import list_records
from framefill.errors import UsageError

QUICK = ("--size", 64, "--short-side", "80", "--seq", 8, "--skip-interval", 4, "--depth", "none", "--cuts", "histogram", "--workers", 1)


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(data_app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_frames(tmp_path / "clip.mp4", scene(3, 24, 96, 128))


def test_records_of_every_kind_in_one_call(clip: Path, tmp_path: Path) -> None:
    kinds = "stereo,object,stroke,blob,box,dust,text,outpaint,completion"
    status, out, err = run("records", clip, "-o", tmp_path / "data" / "train", "--prefix", "walk", "--masks", kinds, *QUICK)
    assert (status, out) == (0, f"{tmp_path / 'data'}\n")
    assert err.startswith("framefill: cuts by the histogram test\n")
    assert f"framefill: {clip}: shots: 1, clips: 2\n" in err
    found = list_records(tmp_path / "data" / "train")
    assert f"2 clips; new records: {len(found)} in train" in err
    assert all(each.folder.name.startswith("walk_") for each in found)
    assert not (tmp_path / "data" / "eval").exists()
    again, out, err = run("records", clip, "-o", tmp_path / "data", "--prefix", "walk", "--masks", kinds, *QUICK)
    assert (again, "2 clips; new records: none" in err) == (0, True)


def test_a_share_of_the_videos_is_set_apart(tmp_path: Path) -> None:
    for seed in range(3):
        write_frames(tmp_path / "videos" / f"{seed}.mp4", scene(seed, 16, 96, 128))
    status, out, _ = run("records", tmp_path / "videos" / "*.mp4", "-o", tmp_path / "data", "--masks", "box", *QUICK, "--json", "--quiet")
    told = json.loads(out)
    assert (status, told["clips"]) == (0, 3)
    assert told["records"]["eval"] > 0
    assert told["records"]["train"] > 0
    hashes = [{each.about["source"]["sha256"] for each in list_records(tmp_path / "data" / split)} for split in ("train", "eval")]
    assert not hashes[0] & hashes[1]


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        ((), 2, "no video was given"),
        (("NONE",), 1, "does not exist"),
        (("NONE/*.mp4",), 1, "matches no file"),
        (("https://example.org/a.mp4",), 2, "download it first"),
        (("TEXT",), 1, "notes.txt"),
        (("CLIP", "--masks", "fog"), 2, "'fog' is no kind"),
        (("CLIP", "--masks", "text=-1"), 2, "expected a number above 0"),
        (("CLIP", "--depth", "magic"), 2, "'magic' is not known"),
        (("CLIP", "--depth", "files:NONE"), 1, "none"),
        (("CLIP", "--short-side", "0"), 2, "--short-side 0: give pixels"),
        (("CLIP", "--short-side", "big"), 2, "--short-side big: give pixels"),
        (("CLIP", "--seq", "99"), 2, "no video has a shot of 99 frames"),
        (("CLIP", "--cuts", "x"), 2, "cuts is 'x'"),
        (("CLIP", "--eval-share", "2"), 2, "--eval-share is 2"),
        (("CLIP", "-o", "EVAL", "--eval-share", "0.5"), 2, "takes records for evaluation only"),
        (("CLIP", "-o", "TEXT"), 1, "cannot be written"),
    ],
)
def test_errors_are_one_line_and_write_nothing(
    clip: Path, tmp_path: Path, arguments: tuple[str, ...], status: int, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.txt").write_text("no video")
    places = {"NONE": tmp_path / "none", "CLIP": clip, "TEXT": tmp_path / "notes.txt", "EVAL": tmp_path / "data" / "eval"}
    given = [str(places.get(each, each)).replace("NONE", str(tmp_path / "none")) for each in arguments]
    monkeypatch.chdir(tmp_path)
    short = [] if "--short-side" in arguments else ["--short-side", "80"]
    depth = [] if "--depth" in arguments else ["--depth", "none"]
    code, out, err = run("records", "--size", "64", *short, *depth, "--cuts", "histogram", *given, "--quiet")
    assert (code, out) == (status, "")
    assert err.startswith("framefill: ")
    assert err.count("\n") == 1
    assert says in err
    assert not list(tmp_path.rglob("*.png"))
    assert (tmp_path / "notes.txt").read_text() == "no video"


HEARING = """
import signal, sys
from framefill.apps.cli.main import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may have had it ignored
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_interrupted_and_killed_it_leaves_whole_records_and_goes_on(tmp_path: Path) -> None:
    clip = write_frames(tmp_path / "clip.mp4", scene(3, 360, 96, 128))
    arguments = ["records", clip, "-o", tmp_path / "data", "--masks", "object,text", *QUICK, "--quiet"]
    command = [sys.executable, "-c", HEARING, "data", *map(str, arguments)]
    for sent, status in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ) as process:
            enough = len(tree(tmp_path / "data")) + 20
            while process.poll() is None and len(tree(tmp_path / "data")) < enough:
                time.sleep(0.02)
            process.send_signal(sent)
            _, err = process.communicate()
        assert process.returncode == status
        assert "Traceback" not in err
        for found in list_records(tmp_path / "data" / "train"):
            assert found.read()[0].shape == (8, 64, 64, 3)
    assert run(*arguments)[0] == 0
    assert run("records", clip, "-o", tmp_path / "whole", *arguments[4:])[0] == 0
    assert tree(tmp_path / "data") == tree(tmp_path / "whole")


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    for name, kind in (("a", "stereo"), ("b", "inpaint-object"), ("c", "text")):
        record(tmp_path / "data" / "train", name, kind)
    record(tmp_path / "data" / "eval", "d", "stereo")
    return tmp_path / "data"


def config(*flags: str):
    pytest.importorskip("accelerate")
    from framefill.training.config import resolve
    from framefill.training.presets import get_preset

    usual = ["--data.size", "32", "--data.frames", "8", "--data.workers", "0"]
    return resolve(get_preset("light"), None, [*usual, *flags])


def test_training_reads_both_splits(recorded: Path) -> None:
    for place in (recorded, recorded / "train"):
        chosen = config("--data.records", str(place))
        from framefill.training.build import build_footage, build_loader, held_out_clips
        from framefill.training.dataflow import Share

        footage = build_footage(chosen)
        (batch,) = islice(build_loader(chosen, footage).batches(Share(0, 3, 3)), 1)
        assert tuple(batch["video"].shape) == (3, 8, 32, 32, 3)
        assert (tuple(batch["mask"].shape), str(batch["mask"].dtype)) == ((3, 8, 32, 32), "torch.bool")
        tasks = [name for name, share in chosen.tasks.items() if share > 0]
        assert {tasks[int(number)] for number in batch["task"]} == {"stereo", "inpaint-object", "text"}
        assert len(held_out_clips(chosen, footage)) == 1
        assert [(each.name, each.licence) for each in footage.provenance.sources] == [(f"{n}.mp4", "CC0-1.0") for n in "abc"]


def test_a_folder_of_records_alone_is_trained_on(recorded: Path) -> None:
    from framefill.training.build import build_footage

    (recorded / "train").rename(recorded / "mine")
    footage = build_footage(config("--data.records", str(recorded / "mine")))
    assert (len(footage.train), footage.held_out) == (3, None)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--data.records", "HERE", "--data.manifest", "m.jsonl"], "give no data.manifest"),
        (["--data.records", "HERE", "--tasks.text", "0"], "masks of task 'text', which has no share; set tasks.text 1"),
        (["--data.records", "HERE", "--data.size", "64"], "lower data.size"),
        (["--data.records", "HERE", "--data.frames", "40"], "no record of 40 frames"),
        (["--data.records", "HERE/none"], "is no folder of records"),
    ],
)
def test_what_training_cannot_use_is_said(recorded: Path, flags: list[str], says: str) -> None:
    from framefill.errors import FramefillError
    from framefill.training.build import build_footage

    with pytest.raises(FramefillError, match=says):
        build_footage(config(*(flag.replace("HERE", str(recorded)) for flag in flags)))


def test_another_family_says_that_it_draws_its_own_masks(recorded: Path) -> None:
    pytest.importorskip("accelerate")
    from framefill.training.config import resolve
    from framefill.training.presets import get_preset

    with pytest.raises(UsageError, match="means nothing to family vdt"):
        resolve(get_preset("vdt-tiny"), None, ["--data.records", str(recorded)])


def test_masks_reach_the_loss(recorded: Path) -> None:
    """With records the light net's loss is that of the record's own hole: another mask, another loss."""
    import torch

    from framefill.training.build import build_footage, build_loader, build_objective
    from framefill.training.dataflow import Share

    chosen = config("--data.records", str(recorded))
    (batch,) = islice(build_loader(chosen, build_footage(chosen)).batches(Share(0, 2, 2)), 1)
    objective = build_objective(chosen)
    with torch.no_grad():
        told = objective(batch)
        other = objective({**batch, "mask": torch.from_numpy(np.roll(batch["mask"].numpy(), 7, axis=3))})
    assert told["loss"] != other["loss"]
    counted = {name.removeprefix("task/"): int(part[1]) for name, part in told.items() if name.startswith("task/")}
    tasks = [name for name, share in chosen.tasks.items() if share > 0]
    assert sum(counted.values()) == 2
    assert all(counted[tasks[int(number)]] > 0 for number in batch["task"])


def test_a_model_says_the_tasks_of_its_records(recorded: Path) -> None:
    from framefill.training.build import build_footage, with_own_tasks

    chosen = with_own_tasks(config("--data.records", str(recorded)))
    assert set(chosen.tasks) == {"stereo", "inpaint-object", "text"}
    record(recorded / "eval", "e", "dust")  # what no record of train has is not measured
    held = build_footage(chosen).held_out
    assert held is not None
    assert len(held) == 1
    assert with_own_tasks(config("--data.manifest", "m.jsonl")) == config("--data.manifest", "m.jsonl")
    (recorded / "train" / "a" / "record.json").write_text('{"kind": "stereo", "hole": {"depth": "heuristic"}, "source": {"name": "x"}}')
    provenance = build_footage(chosen).provenance
    assert provenance.about == "Records (3) made by framefill data records with depth by heuristic, of:"
    assert [(each.name, each.licence) for each in provenance.sources] == [("b.mp4", "CC0-1.0"), ("c.mp4", "CC0-1.0"), ("x", "")]
