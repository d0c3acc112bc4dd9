"""Runs: the numbers are those of the metrics, a run that was stopped goes on, and what is wrong is said before any work."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from eval_kit import moving_clip, save_frames

from framefill.data.progress import Step
from framefill.errors import FramefillError, JobError, MissingWeights, UnreadableMedia, UsageError
from framefill.evaluation import unit
from framefill.evaluation.compare import compare_runs
from framefill.evaluation.inputs import export
from framefill.evaluation.plan import EvalSettings
from framefill.evaluation.protocols import get_protocol
from framefill.evaluation.protocols.base import Case, Protocol
from framefill.evaluation.report.read import Run, read_run
from framefill.evaluation.run import evaluate
from framefill.evaluation.table import METRICS
from framefill.evaluation.unit import counted

pytest.importorskip("matplotlib")
QUICK = ("psnr", "psnr-hole", "ssim", "mae-rim", "seam", "outside-max", "unseen", "fps")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    for seed, name in enumerate(("left", "right", "up")):
        save_frames(tmp_path / "clips" / name, moving_clip(5 + seed, seed=seed))
    return tmp_path / "clips"


@pytest.fixture
def settings(clips: Path, tmp_path: Path) -> EvalSettings:
    return EvalSettings(
        "completion",
        clips,
        tmp_path / "run",
        models=("copy", "telea"),
        metrics=QUICK,
        settings={"size": "source", "shape": "box"},
        save="none",
    )


@pytest.fixture(autouse=True)
def no_pages(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the tests that look at a page draw one: its plots take seconds."""
    if "page" not in request.node.name:
        monkeypatch.setattr("framefill.evaluation.report.write_reports", lambda _: [])


def run(settings: EvalSettings) -> Run:
    evaluate(settings, lambda _: None)
    return read_run(settings.output)


def lines(settings: EvalSettings) -> list[str]:
    """What was said."""
    said: list[Step] = []
    evaluate(settings, said.append)
    return [step.line for step in said if step.line]


def case_of(settings: EvalSettings, name: str) -> Case:
    protocol = get_protocol(settings.protocol)
    assert isinstance(protocol, Protocol)
    found = protocol.find(settings.clips, protocol.settle(settings.settings), settings.seed)
    return next(source for source in found.cases if source.name == name).load()


def values(run: Run, model: str, metric: str) -> dict[str | None, float | None]:
    return {result.clip: result.value for result in run.results if (result.model, result.metric) == (model, metric)}


def test_a_runs_values_are_those_of_the_pictures(settings: EvalSettings) -> None:
    found = run(settings)
    case = case_of(settings, "left/moving")
    black = np.where(case.mask[..., None], 0, case.given).astype(np.float64)
    errors = [np.mean((a - b) ** 2) for a, b in zip(black, case.truth.astype(np.float64), strict=True)]
    holes = [np.mean((a - b)[m] ** 2) for a, b, m in zip(black, case.truth.astype(np.float64), case.mask, strict=True)]
    assert values(found, "copy", "psnr")["left/moving"] == pytest.approx(np.mean(10 * np.log10(255**2 / np.array(errors))))
    assert values(found, "copy", "psnr-hole")["left/moving"] == pytest.approx(np.mean(10 * np.log10(255**2 / np.array(holes))))
    assert set(values(found, "telea", "outside-max").values()) == {0.0}
    assert set(values(found, "telea", "unseen").values()) == {1.0}
    curve = next(item for item in found.results if (item.clip, item.model, item.metric) == ("left/moving", "copy", "psnr"))
    assert curve.frames == pytest.approx(10 * np.log10(255**2 / np.array(errors)))


def test_means_go_over_clips_and_their_intervals_hold_them(settings: EvalSettings) -> None:
    found = run(settings)
    row = next(row for row in found.rows if (row.model, row.metric, row.case) == ("telea", "psnr", None))
    own = list(values(found, "telea", "psnr").values())
    assert row.clips == 6
    assert row.mean == pytest.approx(np.mean(own))
    assert min(own) <= row.low < row.mean < row.high <= max(own)
    still = next(row for row in found.rows if (row.model, row.metric, row.case) == ("telea", "psnr", "still"))
    assert still.mean == pytest.approx(np.mean([value for clip, value in values(found, "telea", "psnr").items() if clip.endswith("still")]))
    assert found.seed == 0
    assert [clip.frames for clip in found.clips] == [5, 5, 6, 6, 7, 7]
    with (settings.output / "results.csv").open(newline="") as file:
        told = list(csv.DictReader(file))
    assert len(told) == len(found.results)
    assert float(told[0]["value"]) == pytest.approx(found.results[0].value)


def test_the_benchmarks_mean_goes_over_frames(tmp_path: Path) -> None:
    for name, frames in (("bear", 2), ("swan", 6)):
        save_frames(tmp_path / "davis" / "JPEGImages" / name, moving_clip(frames, 120, 216, seed=frames))
        mask = np.zeros((frames, 120, 216), np.uint8)
        mask[:, 30:60, 40:80] = 255
        save_frames(tmp_path / "davis" / "test_masks" / name, mask)
    found = run(EvalSettings("completion-davis", tmp_path / "davis", tmp_path / "run", ("copy",), metrics=("psnr",), save="none"))
    bear, swan = values(found, "copy", "psnr")["bear"], values(found, "copy", "psnr")["swan"]
    assert bear != pytest.approx(swan)
    assert found.rows[0].mean == pytest.approx((2 * bear + 6 * swan) / 8)
    assert any("50 videos" in note for note in found.notes)


def test_frames_without_a_hole_do_not_count_and_a_perfect_one_is_100_db() -> None:
    mask = np.zeros((4, 8, 8), np.bool_)
    mask[1] = True
    case = Case("clip", None, np.zeros((4, 8, 8, 3), np.uint8), mask, None)
    frame = counted(METRICS["psnr"], np.array([math.inf, math.inf, 30.0, 40.0]), case)
    assert frame[1] == 100
    assert np.isnan(frame[[0, 2, 3]]).all()
    pair = counted(METRICS["ewarp"], np.array([1.0, 2.0, 3.0]), case)
    assert pair[:2].tolist() == [1, 2]
    assert np.isnan(pair[2])


def test_a_second_run_computes_nothing_and_a_lost_unit_alone(settings: EvalSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(settings)
    filled: list[tuple[str, str]] = []
    fill = unit.fill_case
    monkeypatch.setattr(unit, "fill_case", lambda case, model: filled.append((case.name, model)) or fill(case, model))
    assert lines(settings) == ["12 of 12 results are there from before"]
    assert filled == []
    unit.unit_path(settings.output, "up/still", "telea").unlink()
    unit.unit_path(settings.output, "left/still", "copy").write_text("half a fi")
    again = run(settings)
    assert sorted(filled) == [("left/still", "copy"), ("up/still", "telea")]
    assert values(again, "telea", "psnr") == values(first, "telea", "psnr")


def test_other_models_and_metrics_are_added_and_a_changed_clip_is_done_again(
    settings: EvalSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(settings)
    filled: list[tuple[str, str]] = []
    fill = unit.fill_case
    monkeypatch.setattr(unit, "fill_case", lambda case, model: filled.append((case.name, model)) or fill(case, model))
    both = replace(settings, models=("copy", "telea", "ns"))
    assert run(both).models == ("copy", "telea", "ns")
    assert {model for _, model in filled} == {"ns"}
    filled.clear()
    cv2.imwrite(str(settings.clips / "up" / "000.png"), np.zeros((40, 48, 3), np.uint8))
    run(both)
    assert {name for name, _ in filled} == {"up/still", "up/moving"}


def test_a_folder_belongs_to_one_evaluation(settings: EvalSettings, tmp_path: Path) -> None:
    run(settings)
    with pytest.raises(JobError, match="other seed"):
        run(replace(settings, seed=1))
    with pytest.raises(JobError, match="other settings"):
        run(replace(settings, settings={"size": "source", "shape": "blob"}))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("dear")
    with pytest.raises(JobError, match="no evaluation's folder"):
        run(replace(settings, output=tmp_path / "mine"))
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "dear"


def test_several_workers_give_the_same_values(settings: EvalSettings, tmp_path: Path) -> None:
    alone = run(settings)
    shared = run(replace(settings, output=tmp_path / "shared", workers=3))
    for metric in set(QUICK) - {"fps"}:
        for model in settings.models:
            assert values(shared, model, metric) == values(alone, model, metric)


def test_a_killed_run_goes_on(settings: EvalSettings, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "framefill",
        "eval",
        "run",
        "completion",
        "--clips",
        str(settings.clips),
        "-o",
        str(tmp_path / "killed"),
    ]
    command += [
        "--set",
        "size=source",
        "--set",
        "shape=box",
        "--model",
        "copy",
        "--model",
        "telea",
        "--metrics",
        ",".join(QUICK),
        "--save",
        "none",
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=os.environ)
    units = tmp_path / "killed" / "units"
    until = time.monotonic() + 60
    while not list(units.rglob("*.json")) and time.monotonic() < until:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "results are there from before" in ended.stderr or "12 of 12" in ended.stderr
    found, whole = read_run(tmp_path / "killed"), run(settings)
    for metric in set(QUICK) - {"fps"}:
        assert values(found, "telea", metric) == values(whole, "telea", metric)


def results_of(settings: EvalSettings, folder: Path, change: int = 0) -> Path:
    """The truth as another program's result, every known pixel changed by `change` levels."""
    for name in ("left", "right", "up"):
        for kind in ("still", "moving"):
            case = case_of(settings, f"{name}/{kind}")
            assert case.truth is not None
            known = ~case.mask[..., None] & (case.truth < 200)
            save_frames(folder / name / kind, np.where(known, case.truth + np.uint8(change), case.truth))
    return folder


def test_other_programs_results_are_scored_with_the_known_pixels_put_back(settings: EvalSettings, tmp_path: Path) -> None:
    folder = results_of(settings, tmp_path / "theirs", change=3)
    found = run(replace(settings, models=(), results={"theirs": folder}))
    assert found.models == ("theirs",)
    assert set(values(found, "theirs", "psnr").values()) == {100.0}
    assert set(values(found, "theirs", "outside-max").values()) == {3.0}, "measured on what the program gave"
    assert not values(found, "theirs", "fps")
    assert any("put back" in note for note in found.notes)
    cv2.imwrite(str(folder / "up" / "still" / "002.png"), np.zeros((40, 48, 3), np.uint8))
    assert values(run(replace(settings, models=(), results={"theirs": folder})), "theirs", "psnr")["up/still"] < 100


def test_missing_and_misfit_results_are_refused(settings: EvalSettings, tmp_path: Path) -> None:
    folder = results_of(settings, tmp_path / "theirs")
    theirs = replace(settings, models=(), results={"theirs": folder})
    (folder / "left" / "still" / "000.png").unlink()
    with pytest.raises(UnreadableMedia, match="4 frames of 48x40; the case has 5 of 48x40"):
        run(theirs)
    for file in (folder / "up" / "moving").iterdir():
        file.unlink()
    (folder / "up" / "moving").rmdir()
    with pytest.raises(UsageError, match="lacks 1 of 6 cases, such as up/moving"):
        run(theirs)
    with pytest.raises(UsageError, match="is no folder"):
        run(replace(settings, results={"theirs": tmp_path / "gone"}))


def test_what_is_written_for_other_programs_comes_back_as_it_was_given(settings: EvalSettings, tmp_path: Path) -> None:
    told = list(export("completion", settings.clips, tmp_path / "out", settings.settings, ("left",), 0))
    assert len(told) == 2
    files = sorted((tmp_path / "out" / "mask" / "left" / "moving").iterdir())
    case = case_of(settings, "left/moving")
    assert len(files) == 5
    assert np.array_equal(cv2.imread(str(files[3]), cv2.IMREAD_GRAYSCALE) > 127, case.mask[3])
    found = run(replace(settings, models=(), results={"grey": tmp_path / "out" / "given"}, only=("left",)))
    assert set(values(found, "grey", "outside-max").values()) == {0.0}
    with pytest.raises(JobError, match="not empty"):
        list(export("completion", settings.clips, tmp_path / "out", settings.settings, (), 0))
    with pytest.raises(UsageError, match="hands nothing"):
        list(export("fvd2_16f", settings.clips, tmp_path / "more", {}, (), 0))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"protocol": "complete"}, "did you mean completion"),
        ({"models": ("teela",)}, "teela"),
        ({"metrics": ("psrn",)}, "did you mean psnr"),
        ({"only": ("down",)}, "fits no clip; there are left/still"),
        ({"settings": {"shape": "star"}}, "give one of"),
        ({"results": {"telea": Path("x")}}, "names of their own"),
        ({"results": {"truth": Path("x")}}, "names of their own"),
        ({"results": {"a/b": Path("x")}}, "names of their own"),
        ({"clips": Path("nowhere")}, "does not exist"),
        ({"protocol": "fvd2_16f", "metrics": (), "settings": {}}, "name them with --results"),
        ({"protocol": "fvd2_16f", "metrics": ("psnr",), "settings": {}}, "no metric is called"),
    ],
)
def test_a_wrong_request_is_said_before_any_work(
    settings: EvalSettings, change: dict[str, object], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("framefill.evaluation.run.needed_weights", lambda *_: {})
    with pytest.raises(FramefillError, match=line):
        run(replace(settings, **change))  # type: ignore[arg-type]
    assert not settings.output.exists()


def test_missing_weights_are_said_with_the_command_that_gets_them(
    settings: EvalSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FRAMEFILL_HOME", str(tmp_path / "home"))
    with pytest.raises(
        MissingWeights, match=r"framefill weights get lpips-alex, or leave out what needs them with --metrics \(lpips-alex-hole\)"
    ):
        run(replace(settings, metrics=("psnr", "lpips-alex-hole")))
    with pytest.raises(MissingWeights, match="framefill weights get rife"):
        run(replace(settings, models=("rife",)))
    assert not settings.output.exists()


def test_results_and_a_page_are_kept_to_look_at(settings: EvalSettings) -> None:
    run(replace(settings, save="video", only=("left/still",)))
    kept = {path.name for path in (settings.output / "clips" / "left" / "still").iterdir()}
    assert kept == {"given.mp4", "truth.mp4", "copy.mp4", "telea.mp4", "mask.npz"}
    mask = np.load(settings.output / "clips" / "left" / "still" / "mask.npz")["mask"]
    assert np.array_equal(mask, case_of(settings, "left/still").mask)
    page = (settings.output / "report.html").read_text()
    assert "<h1" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_frames_are_kept_bit_for_bit(settings: EvalSettings) -> None:
    run(replace(settings, save="frames", only=("left/still",)))
    files = sorted((settings.output / "clips" / "left" / "still" / "truth").iterdir())
    assert np.array_equal(cv2.imread(str(files[2]))[..., ::-1], moving_clip(5, seed=0)[2])


def test_two_models_of_a_run_are_compared_clip_by_clip(settings: EvalSettings) -> None:
    found = run(settings)
    compared = compare_runs(f"{settings.output}:copy", f"{settings.output}:telea", ("psnr", "seam"), 0)
    row = compared.rows[0]
    copy, telea = (list(values(found, model, "psnr").values()) for model in ("copy", "telea"))
    assert row.mean == pytest.approx(np.mean(np.array(telea) - np.array(copy)))
    assert row.clips == 6
    assert row.p == pytest.approx(2 / 2**6), "telea is better on all six: the smallest p that six pairs can give"
    assert json.dumps(compared.as_dict())


def test_runs_are_compared_by_the_models_they_share(settings: EvalSettings, tmp_path: Path) -> None:
    run(settings)
    run(replace(settings, output=tmp_path / "other", seed=1, models=("telea",)))
    compared = compare_runs(str(settings.output), str(tmp_path / "other"), (), 0)
    assert {row.model for row in compared.rows} == {"telea"}
    assert any("seed" in line for line in compared.as_dict()["cautions"])  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="name the models"):
        compare_runs(str(settings.output), str(settings.output), (), 0)
    with pytest.raises(UsageError, match="has no model 'auto'"):
        compare_runs(f"{settings.output}:auto", str(settings.output), (), 0)
    with pytest.raises(JobError, match="no finished run"):
        compare_runs(str(tmp_path), str(settings.output), (), 0)
    with pytest.raises(UsageError, match="both runs must have it"):
        compare_runs(str(settings.output), str(tmp_path / "other"), ("lpips-vgg",), 0)
