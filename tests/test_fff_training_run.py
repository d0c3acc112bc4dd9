"""Whole runs of the tiny FFF pipeline: golden losses, resumed, in two processes, killed while old states are removed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fff_kit import clip_with_hole
from fff_training_kit import FRAMES, SIZE, clips, make_config, make_loader, make_objective
from safetensors.torch import load_file

from framefill.families.fff.pipeline import FFFPipeline
from framefill.training import checkpoint
from framefill.training.config import FffConfig, TrainConfig
from framefill.training.trainer import DONE, Trainer

RUN = Path(__file__).parent / "fff_training_run.py"
# Means of ten steps each, of 50 with a batch of 2 on the tiny pipeline (fp32, torch 2.13, AMD EPYC); another machine rounds otherwise.
GOLDEN = [0.42102, 0.42062, 0.35042, 0.33770, 0.43902]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def fit(config: TrainConfig, fff: FffConfig | None = None) -> Path:
    Trainer(config, make_objective(fff), make_loader()).fit()
    return Path(config.run.folder) / config.run.name


def tensors(run: Path) -> dict[str, torch.Tensor]:
    """All that the newest state and the model hold."""
    state = sorted((run / "state").glob("step-*"))[-1]
    files = {
        "export": run / "model" / "unet" / "diffusion_pytorch_model.safetensors",
        **{file.stem: file for file in state.glob("*.safetensors")},
    }
    flat = {f"{stem}/{name}": value for stem, file in files.items() for name, value in load_file(file).items()}
    moments = torch.load(state / "optimizer.bin", weights_only=True)["state"]
    return flat | {f"optimizer/{number}/{name}": torch.as_tensor(value) for number, own in moments.items() for name, value in own.items()}


def equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    assert ours.keys() == theirs.keys()
    return all(torch.equal(value, theirs[name]) for name, value in ours.items())


@pytest.mark.slow
def test_fifty_steps_have_the_losses_that_they_had(tmp_path: Path) -> None:
    run = fit(make_config(tmp_path, 100))
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [record["loss"] for record in records if "loss" in record]
    assert len(losses) == 50
    assert np.array(losses).reshape(5, 10).mean(1) == pytest.approx(GOLDEN, rel=5e-3)


@pytest.mark.parametrize("train", ["refiner", "lora"])
def test_four_steps_are_two_and_two_more(tmp_path: Path, train: str) -> None:
    """Weights, averages, optimiser and what is drawn; what is not trained is no part of the state."""
    if train == "lora":
        pytest.importorskip("peft")
    fff = FffConfig(train=train)
    whole = tensors(fit(make_config(tmp_path / "whole", 8), fff))
    half = make_config(tmp_path / "parts", 4)
    first = tensors(fit(half, fff))
    run = fit(replace(half, run=replace(half.run, samples=8)), fff)
    assert not equal(whole, first)
    assert equal(whole, tensors(run))
    kept = {name.removeprefix("model/") for name in whole if name.startswith("model/")}
    assert kept
    assert all("noise_refiner" in name or "lora_" in name for name in kept)
    assert (run / DONE).read_text() == "8 samples\n"


def test_the_model_of_a_run_fills_and_is_its_average(tmp_path: Path) -> None:
    config = make_config(tmp_path, 4, validate_every=4, sample_every=4)
    run = Trainer(config, make_objective(FffConfig(train="refiner")), make_loader(), [clips(1)[0].numpy()]).fit().parent
    state = sorted((run / "state").glob("step-*"))[-1]
    average = load_file(state / "ema-power-0.100.safetensors")
    saved = load_file(run / "model" / "unet" / "diffusion_pytorch_model.safetensors")
    for name, value in average.items():
        assert torch.equal(saved[name.removeprefix("net.")], value)
    pipeline = FFFPipeline.from_pretrained(run / "model")
    assert (pipeline.mode, pipeline.window, pipeline.size, set(pipeline.tasks)) == ("feature", FRAMES, SIZE, {*pipeline.tasks})
    video, mask = clip_with_hole(FRAMES, SIZE, SIZE)
    made = pipeline(video, mask, generator=torch.Generator().manual_seed(0), num_inference_steps=2).frames
    assert np.array_equal(made[~mask], video[~mask])
    assert sorted(file.stem for file in (run / "samples").rglob("*.mp4")) == ["moving-box", "static-shape"]
    measured = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert any("validate/psnr-hole/moving-box" in record for record in measured)


def test_a_kill_between_writing_and_pruning_leaves_a_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old state goes only when the new one stands; the same command then goes on from the new one."""
    config = make_config(tmp_path, 6, save_every=2)
    config = replace(config, log=replace(config.log, keep=1))
    fff = FffConfig(train="refiner")
    removed: list[Path] = []
    plain = checkpoint.shutil.rmtree

    def killed(folder: Path, **options: bool) -> None:
        if Path(folder).name.startswith("step-"):
            removed.append(Path(folder))
            raise KeyboardInterrupt
        plain(folder, **options)

    monkeypatch.setattr(checkpoint.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        fit(config, fff)
    monkeypatch.undo()
    states = sorted((tmp_path / "tiny" / "state").glob("step-*"))
    assert [int(state.name.removeprefix("step-")) for state in states] == [2, 4]
    assert removed == states[:1]
    run = fit(config, fff)
    assert [state.name for state in sorted((run / "state").glob("step-*"))] == [f"step-{6:012d}"]
    straight = replace(config, run=replace(config.run, folder=str(tmp_path / "straight")))
    assert equal(tensors(run), tensors(fit(straight, fff)))


@pytest.mark.slow
@pytest.mark.parametrize("split", [False, True])
def test_two_processes_see_different_clips_and_end_with_one_net(tmp_path: Path, split: bool) -> None:
    """That of one process with the same batch, but for rounding; whether each holds all weights or a part of them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    paths = [str(Path(__file__).parents[1] / "src"), str(Path(__file__).parent)]
    common |= {"PYTHONPATH": os.pathsep.join(paths), "ACCELERATE_USE_CPU": "true"}
    running = [
        subprocess.Popen(
            [sys.executable, str(RUN), str(tmp_path), *(["fsdp"] if split else [])],
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in running:
        _, error = process.communicate(timeout=400)
        assert process.returncode == 0, error[-2000:]
    ours, theirs = (json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in range(2))
    assert [batch["position"] for batch in ours["seen"]] == [[0], [2]]
    assert [batch["position"] for batch in theirs["seen"]] == [[1], [3]]
    assert not {batch["clip"][0] for batch in ours["seen"]} & {batch["clip"][0] for batch in theirs["seen"]}
    assert not set(map(tuple, ours["noise"])) & set(map(tuple, theirs["noise"]))
    assert not set(ours["sigma"]) & set(theirs["sigma"])
    assert ours["weights"] == theirs["weights"]
    assert bool(ours["weights"]) != split
    alone, model = fit(make_config(tmp_path / "alone", 4)), Path("model", "unet", "diffusion_pytorch_model.safetensors")
    made, expected = (load_file(run / model) for run in (tmp_path / "tiny", alone))
    assert made.keys() == expected.keys()
    before = make_objective().net.state_dict()
    moved, off = (
        sum(float((weight - other[name]).abs().sum()) for name, weight in expected.items() if weight.is_floating_point())
        for other in (before, made)
    )
    assert off < 0.01 * moved  # AdamW's first steps are of one size, whatever rounding made of a gradient
