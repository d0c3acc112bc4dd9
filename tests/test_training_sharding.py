"""Weights split between processes: what is put together is what was taken apart, and two processes train what one does."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from test_training_run import RUN, environment
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from training_kit import held_out, make_objective

from framefill.errors import UsageError
from framefill.training.checkpoint import States
from framefill.training.config import resolve
from framefill.training.ema import Average, Power, trainable
from framefill.training.presets import vdt_s2
from framefill.training.sharding import all_whole, copy_into


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[DTensor]:
    """A tensor in the form that FSDP gives it, in a group of one process."""
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    yield distribute_tensor(torch.arange(12.0).view(4, 3), init_device_mesh("cpu", (1,)), [Shard(0)])
    distributed.destroy_process_group()


def test_what_is_put_together_is_what_was_taken_apart(parts: DTensor) -> None:
    plain = torch.ones(2)
    found = all_whole({"split": parts, "plain": plain})
    assert type(found["split"]) is torch.Tensor
    assert torch.equal(found["split"], torch.arange(12.0).view(4, 3))
    assert torch.equal(found["plain"], plain)
    copy_into(parts, torch.full((4, 3), 7.0))
    copy_into(plain, torch.zeros(2))
    assert parts.full_tensor().eq(7).all()
    assert plain.eq(0).all()


def test_an_average_of_parts_is_the_average(parts: DTensor) -> None:
    split, ordinary = torch.nn.Module(), torch.nn.Module()
    split.weight, ordinary.weight = torch.nn.Parameter(parts), torch.nn.Parameter(parts.full_tensor().clone())
    averages = [Average(module, Power(0.1)) for module in (split, ordinary)]
    for samples in (8, 16, 24):
        for module, average in zip((split, ordinary), averages, strict=True):
            with torch.no_grad():
                module.weight.mul_(1.5)
            average.update(module, samples, 8)
    (one,), (other,) = (all_whole(average.state_dict()).values() for average in averages)
    assert torch.equal(one, other)
    assert not torch.equal(one, ordinary.weight)
    averages[0].load_state_dict({"weight": torch.zeros(4, 3)})
    assert all_whole(averages[0].state_dict())["weight"].eq(0).all()


def test_an_ordinary_copy_stands_in_while_the_weights_are_elsewhere(tmp_path: Path) -> None:
    objective, other = make_objective(seed=0), make_objective(seed=1)
    objective.net._no_split_modules = ["Linear"]
    assert objective.before_split() == ["Linear"]
    assert trainable(objective).keys() == trainable(other).keys(), "the kept shape is no part of what is trained"
    (clip,), mask = held_out(1), np.zeros((4, 16, 16), np.bool_)
    mask[2:] = True
    made, expected = (each.fill(clip, mask, 2, 0) for each in (objective, other))
    assert not np.array_equal(made, expected)
    with objective.unsplit(all_whole(trainable(other))):
        assert np.array_equal(objective.fill(clip, mask, 2, 0), expected)
        objective.export(tmp_path)
    assert torch.equal(load_file(tmp_path / "net.safetensors")["first.weight"], other.net.first.weight)
    assert np.array_equal(objective.fill(clip, mask, 2, 0), made)


@pytest.mark.parametrize("kind", ["muon", "schedule-free"])
def test_optimisers_that_need_whole_matrices_are_refused(kind: str) -> None:
    with pytest.raises(UsageError, match=f"optim.kind {kind} cannot work on; set optim.kind adamw"):
        resolve(vdt_s2(), None, ["--compute.parallel", "fsdp", "--optim.kind", kind])


def test_a_state_of_split_weights_is_not_read_by_one_process(tmp_path: Path) -> None:
    (tmp_path / "step-000000000008" / "pytorch_model_fsdp_0").mkdir(parents=True)
    with pytest.raises(UsageError, match="go on in two or more"):
        States(tmp_path, 2).load(Accelerator(cpu=True), [])


def launch(folder: Path, samples: int) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port), str(RUN)]
    done = subprocess.run(
        [sys.executable, *line, str(folder), str(samples), "0", "fsdp"], capture_output=True, text=True, env=environment(), check=False
    )
    assert done.returncode == 0, done.stderr


def exported(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "squares" / "model" / "net.safetensors")


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="splits weights between processes on the CPU")
def test_two_processes_with_half_the_weights_each_are_one_with_all(tmp_path: Path) -> None:
    """Trained, averaged, measured, saved, resumed and exported; the reference is one process that has never heard of FSDP."""
    launch(tmp_path / "parts", 16)
    launch(tmp_path / "parts", 24)
    launch(tmp_path / "straight", 24)
    subprocess.run([sys.executable, str(RUN), str(tmp_path / "one"), "24", "0"], check=True, capture_output=True, env=environment())
    parts, straight, one = (exported(tmp_path / name) for name in ("parts", "straight", "one"))
    for name, weight in one.items():
        assert torch.equal(parts[name], straight[name]), "a resumed run comes to the same weights"
        torch.testing.assert_close(parts[name], weight, rtol=1e-3, atol=1e-5)
    state = tmp_path / "parts" / "squares" / "state" / "step-000000000024"
    assert len(list((state / "pytorch_model_fsdp_0").glob("*.distcp"))) == 2, "each process wrote its part"
    average, reference = (load_file(folder / "ema-power-0.050.safetensors") for folder in (state, _last(tmp_path / "one")))
    for name, weight in reference.items():
        torch.testing.assert_close(average[name], weight, rtol=1e-3, atol=1e-5)
    lines = [json.loads(line) for line in (tmp_path / "parts" / "squares" / "metrics.jsonl").read_text().splitlines()]
    assert sum("validate/psnr-hole/predict" in line for line in lines) == 3


def _last(folder: Path) -> Path:
    return sorted((folder / "squares" / "state").glob("step-*"))[-1]


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="starts processes on the CPU")
def test_accelerate_launches_the_program(tmp_path: Path) -> None:
    """As a user types it; on CPUs Accelerate starts several processes only when it is told of several devices."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
    launcher += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", str(port)]
    flags = ["--run.folder", str(tmp_path), "--run.name", "two", "--run.samples", "8", "--run.batch", "4", "--run.micro_batch", "0"]
    flags += ["--data.size", "16", "--data.frames", "4", "--data.workers", "0", "--data.procedural_clips", "8", "--validate.clips", "0"]
    flags += ["--model.options", "{num_layers: 1, hidden_size: 32, num_heads: 2}", "--log.curves_every", "0", "--compute.device", "cpu"]
    flags += ["--compute.compile", "false", "--compute.precision", "fp32", "--model.prior", "none"]
    command = [sys.executable, *launcher, "-m", "framefill", "train", "vdt-tiny", *flags]
    done = subprocess.run(command, capture_output=True, text=True, env={**environment(), "ACCELERATE_USE_CPU": "true"}, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'two' / 'model'}\n", "one of the two prints the path"
    assert "2 x 2 x 1 a step" in (tmp_path / "two" / "log.txt").read_text()
    assert (tmp_path / "two" / "model" / "transformer" / "config.json").exists()
