"""`framefill eval` as its user meets it: what is printed where, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from eval_kit import moving_clip, save_frames

from framefill.apps.cli.main import main

pytest.importorskip("matplotlib")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    save_frames(tmp_path / "clips" / "walk", moving_clip(4))
    save_frames(tmp_path / "clips" / "run", moving_clip(4, seed=1))
    return tmp_path / "clips"


def arguments(clips: Path, output: Path, *more: str) -> list[str]:
    quick = ["--set", "size=source", "--set", "case=still", "--metrics", "psnr,seam", "--model", "copy", "--model", "telea"]
    return ["eval", "run", "completion", "--clips", str(clips), "-o", str(output), *quick, *more]


def test_a_run_prints_its_files_and_its_progress_apart(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(clips, tmp_path / "run")) == 0
    out, err = capsys.readouterr()
    assert [Path(line).name for line in out.split()] == ["report.md", "report.html", "results.csv"]
    assert "4 of 4 results" in err
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    assert about["command"].startswith("framefill eval run completion --clips")
    assert about["metrics"].keys() == {"psnr", "seam"}


def test_json_is_one_object_with_every_mean(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(clips, tmp_path / "run", "--json", "--quiet")) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert {(row["model"], row["metric"]) for row in told["rows"]} == {(m, k) for m in ("copy", "telea") for k in ("psnr", "seam")}
    assert err == ""


def test_compare_prints_a_table_and_writes_pages(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(arguments(clips, tmp_path / "run", "-o", str(tmp_path / "run"), "--quiet"))
    capsys.readouterr()
    pair = [f"{tmp_path / 'run'}:copy", f"{tmp_path / 'run'}:telea"]
    assert main(["eval", "compare", *pair, "--metrics", "psnr", "-o", str(tmp_path / "pages")]) == 0
    out = capsys.readouterr().out
    assert "telea against copy" in out.replace("\n", " ")
    assert (tmp_path / "pages" / "compare.html").exists()
    assert main(["eval", "compare", *pair, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rows"][0]["clips"] == 2
    assert main(["eval", "report", str(tmp_path / "run")]) == 0


def test_protocols_describe_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "describe", "completion-davis", "--set", "resize=bicubic"]) == 0
    out = capsys.readouterr().out
    assert "3x3 cross" in out
    assert "432x240 (bicubic)" in out
    assert main(["eval", "list"]) == 0
    out = capsys.readouterr().out
    for name in ("completion-youtube-vos", "fvd2048_16f", "psnr-hole", "vfid", "rife", "propagate"):
        assert name in out


@pytest.mark.parametrize(
    ("given", "status", "line"),
    [
        (["describe", "completio"], 2, "did you mean completion"),
        (["describe", "completion", "--set", "size"], 2, "expected NAME=VALUE"),
        (["describe", "completion", "--set", "seed=1"], 2, "no setting 'seed'"),
        (["run", "completion", "--clips", "none", "-o", "out"], 1, "does not exist"),
        (["run", "completion", "-o", "out"], 2, "Missing option"),
        (["run", "completion", "--clips", "clips", "-o", "out", "--save", "gif"], 2, "give video, frames or none"),
        (["run", "completion", "--clips", "clips", "-o", "out", "--workers", "0"], 2, "workers"),
        (["run", "completion", "--clips", "clips", "-o", "out", "--results", "x"], 2, "expected NAME=VALUE"),
        (["run", "completion", "--clips", "clips", "-o", "out", "--results", "a=x", "--results", "a=y"], 2, "given twice"),
        (["run", "completion", "--clips", "clips", "-o", "clips", "--metrics", "psnr"], 1, "no evaluation's folder"),
        (["run", "completion", "--clips", "clips", "-o", "out", "--model", "magic"], 2, "magic"),
        (["run", "mcvd-cityscapes", "--clips", "clips", "-o", "out", "--metrics", "psnr"], 1, "has 4 frames, the protocol wants 30"),
        (["compare", "clips", "clips"], 1, "no finished run"),
        (["report", "clips"], 1, "no finished run"),
        (["inputs", "completion", "--clips", "none", "-o", "out"], 1, "does not exist"),
    ],
)
def test_bad_requests_end_in_one_line(
    clips: Path, given: list[str], status: int, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(clips.parent)
    assert main(["eval", *given]) == status
    out, err = capsys.readouterr()
    assert line in err
    assert len(err.strip().splitlines()) == 1
    assert out == ""
    assert not (clips.parent / "out" / "run.json").exists()
