"""`framefill train ... --slurm FILE`: what the script says, and that it trains, on two local processes under a stand-in for Slurm."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from pathlib import Path

import pytest
import torch
from fff_kit import saved, tiny_pipeline
from safetensors.torch import load_file
from test_training_cli import SMALL, invoke

from framefill.errors import UsageError
from framefill.training.slurm import SlurmJob, minutes_of, take_slurm

# What a cluster has: `srun` starts a command on every node, here all of them this machine; `scontrol` names nodes and puts jobs back.
SRUN = """#!/bin/bash
while [[ "$1" == --* ]]; do shift; done
status=0; pids=()
for ((node = 0; node < SLURM_NNODES; node++)); do
  SLURM_NODEID=$node SLURM_PROCID=$node "$@" & pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid" || status=$?; done
exit $status
"""
SCONTROL = """#!/bin/bash
if [ "$1" = requeue ]; then echo "$2" >> "$REQUEUED"; else echo 127.0.0.1; echo 127.0.0.1; fi
"""


@pytest.mark.parametrize(
    ("time", "minutes"),
    [("90", 90), ("10:30", 10.5), ("02:00:00", 120), ("1-12", 36 * 60), ("1-00:30", 24 * 60 + 30), ("2-01:02:03", 2 * 1440 + 62.05)],
)
def test_times_are_slurms(time: str, minutes: float) -> None:
    assert minutes_of(time) == pytest.approx(minutes)


def test_flags_of_the_job_are_taken_and_the_others_left() -> None:
    job, left = take_slurm(["--slurm.nodes", "2", "--optim.lr", "1e-5", "--slurm.time=2:00:00", "--slurm.account", "abc"])
    assert job == SlurmJob(nodes=2, time="2:00:00", account="abc")
    assert left == ["--optim.lr", "1e-5"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--slurm.node", "2"], "did you mean slurm.nodes?"),
        (["--slurm.nodes", "0"], "slurm.nodes is '0'"),
        (["--slurm.nodes"], "has no value"),
        (["--slurm.time", "soon"], "slurm.time is 'soon'"),
        (["--slurm.partition", "a b"], "expected one word"),
    ],
)
def test_mistakes_about_the_job_are_told(flags: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        take_slurm(flags)


def test_the_script_asks_for_what_was_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "job.sbatch"
    flags = ["--slurm.nodes", "2", "--slurm.gpus", "2", "--slurm.partition", "gpu", "--slurm.time", "10:00:00", "--run.name", "it's"]
    result = invoke("vdt-tiny", *SMALL, "--run.batch", "8", "--run.micro-batch", "1", *flags, "--slurm", str(file))
    assert (result.exit_code, result.stdout.strip()) == (0, str(file)), result.output
    text = file.read_text()
    for line in ("--nodes=2", "--gpus-per-node=2", "--partition=gpu", "--time=10:00:00", "--requeue", "--job-name=it's"):
        assert f"#SBATCH {line}\n" in text
    assert "account" not in text
    assert "--run.minutes 580" in text  # 20 minutes to start and to save in
    assert file.stat().st_mode & stat.S_IXUSR
    assert subprocess.run(["bash", "-n", str(file)], check=False).returncode == 0
    before = file.read_bytes()
    again = invoke("vdt-tiny", *SMALL, "--slurm.gpus", "1", "--slurm", str(file))
    assert (again.exit_code, file.read_bytes()) == (2, before)
    assert "is there already" in again.stderr


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--slurm.nodes", "3", "--slurm.gpus", "1"], "run.batch"),
        (["--slurm.gpus", "1", "--slurm.time", "5"], "leaves no time"),
        (["--slurm.gpus", "1", "--optim.lrr", "1"], "did you mean optim.lr?"),
    ],
)
def test_what_could_not_run_is_not_written(tmp_path: Path, flags: list[str], words: str) -> None:
    result = invoke("vdt-tiny", *SMALL, *flags, "--slurm", str(tmp_path / "job"))
    assert (result.exit_code, words in result.stderr) == (2, True), result.output
    assert len(result.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    result = invoke("vdt-tiny", *SMALL, "--slurm.gpus", "1", "--slurm", str(tmp_path / "none" / "job"))
    assert (result.exit_code, "cannot be written" in result.stderr) == (1, True), result.output


@pytest.mark.slow
def test_the_script_trains_comes_back_and_ends(tmp_path: Path) -> None:
    """Two processes on two stand-in nodes: the first time it is cut short and put back into the queue, the second time it ends."""
    start = saved(tmp_path / "start", tiny_pipeline(window=3, size=16))
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    flags = [
        *("--model.start", str(start), "--run.folder", str(tmp_path / "runs"), "--run.name", "fill", "--compute.device", "cpu"),
        *("--data.frames", "3", "--data.size", "16", "--data.workers", "0", "--data.procedural-clips", "8", "--compute.precision", "fp32"),
        *("--run.batch", "2", "--run.micro-batch", "1", "--run.samples", "6", "--validate.clips", "0", "--log.metrics-every", "2"),
        *("--log.save-every", "2", "--optim.warmup", "0", "--slurm.nodes", "2", "--slurm.gpus", "1"),
    ]
    runs = tmp_path / "runs" / "fill"
    environment = {
        **os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "REQUEUED": str(tmp_path / "requeued"), "SLURM_NNODES": "2",
        "SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NODELIST": "node[1-2]", "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parents[1] / "src"),
    }  # fmt: skip
    for minutes, left in (("0.0001", True), ("0", False)):
        file = tmp_path / f"job-{minutes}"
        given = [*flags, "--run.minutes", minutes] if left else flags
        assert invoke("fff-nano", *given, "--slurm", str(file)).exit_code == 0
        ran = subprocess.run(["bash", str(file)], env=environment, capture_output=True, text=True, timeout=400, check=False)
        assert ran.returncode == 0, ran.stderr[-2000:]
        assert (tmp_path / "requeued").exists()
        assert (runs / "done").exists() != left
    assert (tmp_path / "requeued").read_text().split() == [str(os.getpid())]
    log = (runs / "log.txt").read_text()
    assert "2 x 1 x 1 a step" in log
    assert re.search(r"going on with fill at [24] of 6 samples", log)
    weights = load_file(runs / "model" / "unet" / "diffusion_pytorch_model.safetensors")
    before = load_file(start / "unet" / "diffusion_pytorch_model.safetensors")
    assert weights.keys() == before.keys()
    assert any(not torch.equal(weight, before[name]) for name, weight in weights.items())
