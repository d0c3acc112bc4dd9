"""A training command as a job for Slurm: a script that starts it on every node, comes back when time is up, and goes on where it stood.

The script needs Slurm and the environment that wrote it, no more: `srun` starts torch's own launcher once a node, and the same command
resumes. When `run.minutes` are over before the run is, the job puts itself back into the queue.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path

from framefill.errors import UnwritableMedia, UsageError
from framefill.training.config import TrainConfig
from framefill.training.dataflow import Share
from framefill.training.trainer import DONE

PREFIX = "--slurm."
TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<clock>\d+(?::\d+){0,2})")


@dataclass(frozen=True)
class SlurmJob:
    """What is asked of Slurm; empty text leaves the cluster's default."""

    nodes: int = 1
    gpus: int = 8  # of each node, a process each
    cpus: int = 12  # of each process
    time: str = "24:00:00"  # as Slurm has it: minutes, HH:MM:SS, DAYS-HH:MM:SS
    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""

    @property
    def world(self) -> int:
        """All processes."""
        return self.nodes * self.gpus


def take_slurm(flags: Sequence[str]) -> tuple[SlurmJob, list[str]]:
    """Take `--slurm.KEY value` out of flags: the job, and the flags that are left. Raises UsageError for keys and values that cannot be."""
    from pydantic import TypeAdapter

    given: dict[str, str] = {}
    left, rest = [], iter(flags)
    kinds = {field.name: type(field.default) for field in fields(SlurmJob)}
    for flag in rest:
        if not flag.startswith(PREFIX):
            left.append(flag)
            continue
        name, equals, value = flag.removeprefix(PREFIX).partition("=")
        if name not in kinds:
            near = get_close_matches(name, kinds, 1)
            advice = f"did you mean slurm.{near[0]}?" if near else f"there are {', '.join(kinds)}"
            raise UsageError(f"unknown key slurm.{name}; {advice}")
        value = value if equals else next(rest, "--")
        if value.startswith("--"):
            raise UsageError(f"{PREFIX}{name} has no value; give {PREFIX}{name} VALUE")
        if kinds[name] is int and (not value.isdigit() or int(value) < 1):
            raise UsageError(f"slurm.{name} is {value!r}, expected a whole number of 1 or more")
        if re.search(r"\s", value):
            raise UsageError(f"slurm.{name} is {value!r}, expected one word")
        given[name] = value
    job = TypeAdapter(SlurmJob).validate_python(given)
    minutes_of(job.time)
    return job, left


def write_slurm(file: Path, job: SlurmJob, config: TrainConfig, command: Sequence[str]) -> None:
    """Write the script that trains `config` by `framefill train` with the arguments `command`, executable.

    Raises UsageError for a batch that the processes cannot share, a time too short to train in, and a file that is there, UnwritableMedia.
    """
    Share(0, config.run.batch, config.run.micro_batch or max(1, config.run.batch // job.world), 0, job.world)
    text = script(job, config, command)
    try:
        with file.open("x", encoding="utf-8") as target:
            target.write(text)
        file.chmod(0o755)
    except FileExistsError as error:
        raise UsageError(f"--slurm {file} is there already; give another name, or remove it") from error
    except OSError as error:
        raise UnwritableMedia(f"--slurm {file} cannot be written: {error.strerror}") from error


def script(job: SlurmJob, config: TrainConfig, command: Sequence[str]) -> str:
    """Return the script's text."""
    asked = {
        "job-name": config.run.name, "nodes": job.nodes, "ntasks-per-node": 1, "gpus-per-node": job.gpus,
        "cpus-per-task": job.cpus * job.gpus, "time": job.time, "partition": job.partition, "account": job.account, "qos": job.qos,
        "constraint": job.constraint, "output": "%x-%j.log", "open-mode": "append",
    }  # fmt: skip
    wanted = "\n".join(f"#SBATCH --{key}={value}" for key, value in asked.items() if value)
    words = [*command]
    if config.run.minutes == 0:
        words += ["--run.minutes", f"{_training_minutes(job.time):g}"]
    done = Path(config.run.folder) / config.run.name / DONE
    return SCRIPT.format(
        wanted=wanted, folder=shlex.quote(str(Path.cwd())), python=shlex.quote(sys.executable), gpus=job.gpus,
        command=shlex.join(words), done=shlex.quote(str(done)), threads=max(1, job.cpus // 2),
    )  # fmt: skip


def minutes_of(time: str) -> float:
    """Return the minutes of a time as Slurm writes it: MM, MM:SS, HH:MM:SS, D-HH, D-HH:MM, D-HH:MM:SS. Raises UsageError for others."""
    found = TIME.fullmatch(time)
    if found is None:
        raise UsageError(f"slurm.time is {time!r}, expected minutes, HH:MM:SS or DAYS-HH:MM:SS")
    parts = [int(part) for part in found["clock"].split(":")]
    if found["days"] is not None:
        hours, minutes, seconds = (*parts, 0, 0)[:3]
    elif len(parts) == 3:
        hours, minutes, seconds = parts
    else:
        hours, (minutes, seconds) = 0, (*parts, 0)[:2]
    return 24 * 60 * int(found["days"] or 0) + 60 * hours + minutes + seconds / 60


def _training_minutes(time: str) -> float:
    """What of a job's time is for training: the rest, a twentieth but 5 to 20 minutes, is for starting up and for the last state."""
    whole = minutes_of(time)
    left = whole - min(20.0, max(5.0, whole / 20))
    if left < 1:
        raise UsageError(f"slurm.time {time} leaves no time to train in beside starting and saving; give 10 minutes or more")
    return round(left, 1)


SCRIPT = """#!/bin/bash
{wanted}
#SBATCH --requeue
#
# Written by `framefill train ... --slurm`; submit it with sbatch. The run's folder must be on a disk that all nodes share.
# Preempted or out of time, the job comes back and the same command goes on from the last state.
set -eu
cd {folder}
export FRAMEFILL_PYTHON="${{FRAMEFILL_PYTHON:-{python}}}"
export OMP_NUM_THREADS="${{OMP_NUM_THREADS:-{threads}}}"
export MASTER_ADDR="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"
export MASTER_PORT="$((20000 + SLURM_JOB_ID % 20000))"

srun --kill-on-bad-exit=1 bash -c '
  exec "$FRAMEFILL_PYTHON" -m torch.distributed.run \\
    --nnodes="$SLURM_NNODES" --node-rank="$SLURM_NODEID" --nproc-per-node={gpus} \\
    --master-addr="$MASTER_ADDR" --master-port="$MASTER_PORT" \\
    -m framefill train "$@"
' framefill {command}

if [ ! -e {done} ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
"""
