"""Whole runs of a small family: resumed, killed, in two processes, stopped; and what they leave in their folder."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training_kit import held_out, make_config, make_loader, make_objective

from framefill.errors import JobError, UsageError
from framefill.evaluation.protocols.base import Case
from framefill.media.video import Video
from framefill.training import validate
from framefill.training.card import Provenance, Source
from framefill.training.checkpoint import reconstruct_average
from framefill.training.config import TrainConfig
from framefill.training.dataflow import Batch, Share
from framefill.training.ema import Moment
from framefill.training.lock import one_run
from framefill.training.trainer import Trainer

RUN = Path(__file__).parent / "training_run.py"


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def fit(config: TrainConfig, **objective: object) -> dict[str, torch.Tensor]:
    """Train and return everything of the last state that is a tensor, and the exported model."""
    Trainer(config, make_objective(**objective), make_loader()).fit()
    return tensors(Path(config.run.folder))


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    run = folder / "squares"
    state = sorted((run / "state").glob("step-*"))[-1]
    found = {"export": run / "model" / "net.safetensors"} | {file.stem: file for file in state.glob("*.safetensors")}
    flat = {f"{stem}/{name}": value for stem, file in found.items() for name, value in load_file(file).items()}
    moments = torch.load(state / "optimizer.bin", weights_only=True)["state"]
    return flat | {f"optimizer/{number}/{name}": value for number, own in moments.items() for name, value in own.items()}


def equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    assert ours.keys() == theirs.keys()
    return all(torch.equal(value, theirs[name]) for name, value in ours.items())


def losses(folder: Path) -> dict[float, float]:
    lines = (folder / "squares" / "metrics.jsonl").read_text().splitlines()
    return {record["samples"]: record["loss"] for record in map(json.loads, lines) if "loss" in record}


def test_a_frame_that_is_hit_exactly_counts_as_a_hundred_db() -> None:
    truth = held_out(1)[0]
    mask = np.zeros(truth.shape[:3], np.bool_)
    mask[:, 4:8, 4:8] = True
    filled = validate.Filled("completion", Case("0", "completion", truth, mask, truth), truth, 0, True, False)
    assert validate.score(filled, ["psnr-hole"]) == {"validate/psnr-hole/completion": 100.0}


def test_measures_are_taken_in_full_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []

    def score(*_: object) -> dict[str, float]:
        seen.append(torch.is_autocast_enabled("cpu"))
        return {}

    config = make_config(tmp_path, 8, validate_every=8)
    config = replace(config, compute=replace(config.compute, precision="bf16"))
    monkeypatch.setattr("framefill.training.validate.score", score)
    Trainer(config, make_objective(), make_loader(), held_out()).fit()
    assert seen
    assert not any(seen)


def test_a_folder_takes_one_run_at_a_time(tmp_path: Path) -> None:
    config = make_config(tmp_path, 8)
    trainer = Trainer(config, make_objective(), make_loader())
    with one_run(tmp_path / "squares"), pytest.raises(JobError, match=r"another process is training in .*--run.name") as error:
        trainer.fit()
    assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("*/state/step-*"))
    assert trainer.fit().is_dir()


def test_twenty_steps_are_ten_and_ten_more(tmp_path: Path) -> None:
    whole = fit(make_config(tmp_path / "whole", 80), per_frame=0.5)
    half = make_config(tmp_path / "parts", 40, metrics_every=32)
    first = fit(half, per_frame=0.5)
    later = fit(replace(half, run=replace(half.run, samples=80)), per_frame=0.5)
    assert not equal(whole, first)
    assert equal(whole, later)
    # The line at 64 samples adds up what came before and after the break.
    straight = make_config(tmp_path / "straight", 80, metrics_every=32)
    fit(straight, per_frame=0.5)
    assert losses(tmp_path / "parts") == losses(tmp_path / "straight")


def test_accumulation_changes_only_rounding(tmp_path: Path) -> None:
    config = make_config(tmp_path / "whole", 24)
    whole = fit(config)
    parts = fit(replace(config, run=replace(config.run, folder=str(tmp_path / "parts"), micro_batch=1)))
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-3, atol=1e-5)


def test_a_finished_run_stays_as_it_is(tmp_path: Path) -> None:
    config = make_config(tmp_path, 40)
    first = fit(config)
    text = (tmp_path / "squares" / "metrics.jsonl").read_text()
    assert equal(first, fit(config))
    assert (tmp_path / "squares" / "metrics.jsonl").read_text() == text


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_weights(tmp_path: Path) -> None:
    command = [sys.executable, str(RUN)]
    running = subprocess.Popen([*command, str(tmp_path / "killed"), "40", "0.2"], stderr=subprocess.DEVNULL, env=environment())
    states = tmp_path / "killed" / "squares" / "state"
    deadline = time.monotonic() + 60
    while not any(states.glob("step-*")):
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.5)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    reached = int(sorted(states.glob("step-*"))[-1].name[5:])
    assert 0 < reached < 40
    for name, folder in (("killed", tmp_path / "killed"), ("whole", tmp_path / "whole")):
        subprocess.run([*command, str(folder), "40", "0"], check=True, capture_output=True, env=environment())
        assert (folder / "squares" / "state" / "step-000000000040").is_dir(), name
    assert equal(tensors(tmp_path / "whole"), tensors(tmp_path / "killed"))
    assert losses(tmp_path / "whole") == losses(tmp_path / "killed")


@pytest.mark.slow
def test_two_processes_are_one_with_the_doubled_batch(tmp_path: Path) -> None:
    """Both steps have 4 samples: 4 in one process, 2 in each of two."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port)]
    line = [str(RUN), str(tmp_path / "two"), "24", "0"]
    subprocess.run([sys.executable, *launch, *line], check=True, capture_output=True, env={**environment(), "ACCELERATE_USE_CPU": "true"})
    subprocess.run([sys.executable, str(RUN), str(tmp_path / "one"), "24", "0"], check=True, capture_output=True, env=environment())
    one, two = tensors(tmp_path / "one"), tensors(tmp_path / "two")
    assert "2 x 2 x 1 a step" in (tmp_path / "two" / "squares" / "log.txt").read_text()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-5)
    for samples, loss in losses(tmp_path / "one").items():
        assert losses(tmp_path / "two")[samples] == pytest.approx(loss, rel=1e-5)


def environment() -> dict[str, str]:
    source = Path(__file__).resolve().parents[1] / "src"
    return {**os.environ, "PYTHONPATH": f"{source}{os.pathsep}{RUN.parent}", "OMP_NUM_THREADS": "1"}


class Spoiled:
    """Batches, of which the n-th is not what it should be."""

    def __init__(self, number: int) -> None:
        self._number = number

    def batches(self, share: Share) -> Iterator[Batch]:
        for number, batch in enumerate(make_loader().batches(share)):
            if number == self._number:
                batch["video"][0] = 123
                batch["spoiled"] = torch.ones(1)
            yield batch


def spoil(objective: torch.nn.Module, how: str) -> torch.nn.Module:
    """Make the loss of a spoiled batch nan, or its gradient alone, or multiply it."""
    plain = objective.forward

    def forward(batch: Batch) -> dict[str, torch.Tensor]:
        parts = plain(batch)
        if "spoiled" in batch:
            if how == "loss":
                parts["loss"] = parts["loss"] * float("nan")
            else:
                parts["loss"] = parts["loss"] + (objective.net.last.bias.sum() * 0).sqrt()  # 0, with an infinite slope
        return parts

    objective.forward = forward  # type: ignore[method-assign]
    return objective


@pytest.mark.parametrize(("how", "word"), [("loss", "the loss is nan"), ("gradient", "the gradient's norm is")])
def test_a_nan_stops_and_saves_the_batch(how: str, word: str, tmp_path: Path) -> None:
    config = make_config(tmp_path, 40, save_every=4)
    with pytest.raises(JobError, match=word) as caught:
        Trainer(config, spoil(make_objective(), how), Spoiled(3)).fit()
    saved = load_file(tmp_path / "squares" / "stopped" / "step-000000000012-rank-0.safetensors")
    assert saved["0.video"].dtype == torch.uint8
    assert (saved["0.video"][0] == 123).all()
    assert saved["0.position"].tolist() == [12, 13, 14, 15]
    assert "step-000000000012-rank-0.safetensors" in str(caught.value)
    state = tmp_path / "squares" / "state" / "step-000000000012"
    assert all(torch.isfinite(value).all() for value in load_file(state / "model.safetensors").values())


def test_an_unlike_config_is_refused_with_its_keys(tmp_path: Path) -> None:
    config = make_config(tmp_path, 8)
    fit(config)
    with pytest.raises(UsageError, match=r"optim\.lr 0\.002 -> 0\.5.*--run\.name"):
        fit(replace(config, optim=replace(config.optim, lr=0.5)))


@pytest.mark.parametrize("name", ["progress.json", "model.safetensors", "optimizer.bin", "ema-power-0.050.safetensors"])
def test_a_damaged_state_is_named(name: str, tmp_path: Path) -> None:
    config = make_config(tmp_path, 8)
    fit(config)
    file = tmp_path / "squares" / "state" / "step-000000000008" / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(JobError, match="delete it to go on from the state before"):
        fit(config)


def test_only_the_last_states_are_kept(tmp_path: Path) -> None:
    fit(make_config(tmp_path, 40, save_every=8, keep=2))
    assert [folder.name for folder in sorted((tmp_path / "squares" / "state").iterdir())] == ["step-000000000032", "step-000000000040"]


def test_what_a_run_leaves_in_its_folder(tmp_path: Path) -> None:
    config = make_config(tmp_path, 240, validate_every=120, sample_every=240, metrics_every=48, curves_every=480)
    provenance = Provenance("Footage.", [Source("cats.mp4", "CC0-1.0", "ab" * 32)])
    model = Trainer(config, make_objective(), make_loader(), held_out(), provenance).fit()
    run = tmp_path / "squares"
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [record["samples"] for record in records if "loss" in record] == [48, 96, 144, 192, 240]
    measured = [record for record in records if "validate/psnr-hole/predict" in record]
    assert [record["samples"] for record in measured] == [120, 240]
    assert 0 < measured[1]["validate/loss/predict"] < measured[0]["validate/loss/predict"]
    assert all(0 < record["waiting_share"] < 1 for record in records if "loss" in record)
    video = Video.read(run / "samples" / "step-000000000240" / "predict.mp4")
    assert video.frames.shape == (4, 128, 3 * 128 + 8, 3)
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert "done after" in (run / "log.txt").read_text()
    card = (model / "README.md").read_text()
    assert "| cats.mp4 | CC0-1.0 |" in card
    assert "| predict | psnr-hole |" in card
    assert str(tmp_path) not in card


def test_the_loss_falls_and_the_average_is_not_the_last_weights(tmp_path: Path) -> None:
    made = fit(make_config(tmp_path, 400, batch=8), width=16)
    values = losses(tmp_path)
    assert np.mean([values[key] for key in list(values)[-3:]]) < 0.75 * values[16]
    assert not torch.equal(made["export/last.weight"], made["model/net.last.weight"])
    assert torch.equal(made["export/last.weight"], made["ema-power-0.100/net.last.weight"])


def test_snapshots_give_an_average_of_any_width(tmp_path: Path) -> None:
    config = make_config(tmp_path, 160)
    made = fit(replace(config, ema=replace(config.ema, sigma_rel=(0.1, 0.05), snapshot_every=16)))
    folder = tmp_path / "squares" / "ema"
    assert len(list(folder.iterdir())) == 20
    again = reconstruct_average(folder, Moment(160, 0.1))
    assert torch.allclose(again["net.last.weight"], made["ema-power-0.100/net.last.weight"], atol=1e-4)
    other = reconstruct_average(folder, Moment(160, 0.07))
    assert not torch.allclose(other["net.last.weight"], made["ema-power-0.100/net.last.weight"], atol=1e-4)


def test_minutes_end_a_run_that_goes_on_later(tmp_path: Path) -> None:
    config = make_config(tmp_path / "parts", 24)
    Trainer(replace(config, run=replace(config.run, minutes=1e-9)), make_objective(), make_loader()).fit()
    assert [folder.name for folder in (tmp_path / "parts" / "squares" / "state").iterdir()] == ["step-000000000004"]
    assert equal(fit(config), fit(make_config(tmp_path / "whole", 24)))


@pytest.mark.parametrize("kind", ["muon", "schedule-free"])
def test_other_optimisers_train_and_resume(kind: str, tmp_path: Path) -> None:
    if kind == "schedule-free":
        pytest.importorskip("schedulefree")
    config = make_config(tmp_path / "whole", 24, save_every=12)
    config = replace(config, optim=replace(config.optim, kind=kind), ema=replace(config.ema, kind="none"))
    whole = fit(config)
    half = replace(config, run=replace(config.run, folder=str(tmp_path / "parts"), samples=12))
    first = fit(half)
    assert equal(whole, fit(replace(half, run=replace(half.run, samples=24))))
    assert not torch.equal(first["export/last.weight"], whole["export/last.weight"])
    if kind == "schedule-free":
        assert not torch.equal(whole["export/last.weight"], whole["model/net.last.weight"])


def test_what_cannot_be_on_this_machine_is_said_at_once(tmp_path: Path) -> None:
    config = make_config(tmp_path, 8)
    with pytest.raises(UsageError, match="needs a GPU"):
        fit(replace(config, compute=replace(config.compute, precision="fp16", device="cpu")))
    with pytest.raises(UsageError, match=r"run\.batch 4 cannot be split.*multiple of 3"):
        fit(replace(config, run=replace(config.run, micro_batch=3)))
    assert not (tmp_path / "squares" / "state").exists()


def test_bf16_trains(tmp_path: Path) -> None:
    config = make_config(tmp_path / "half", 24)
    half = fit(replace(config, compute=replace(config.compute, precision="bf16")))
    full = fit(make_config(tmp_path / "full", 24))
    assert half["export/last.weight"].dtype == torch.float32
    assert not torch.equal(half["export/last.weight"], full["export/last.weight"])
    torch.testing.assert_close(half["export/last.weight"], full["export/last.weight"], rtol=0.1, atol=0.02)
