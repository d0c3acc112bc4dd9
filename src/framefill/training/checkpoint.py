"""State folders of a run: written whole or not at all, the last few kept, the newest found again.

`state/step-000000012000/` holds what Accelerate saves (weights, optimisers, loss scaler), the averages (`ema-NAME.safetensors`), where
hard clips are shown more often their losses (`hard.safetensors`), and `progress.json`. The number is that of samples seen.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from pickle import UnpicklingError

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from accelerate.utils.constants import FSDP_MODEL_NAME
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from framefill.errors import JobError, UsageError
from framefill.training.ema import Average, Moment, Profile, reconstruct
from framefill.training.hard import HardExamples
from framefill.training.sharding import all_whole

PROGRESS = "progress.json"
HARD = "hard.safetensors"
MAKING = ".making"
UNREADABLE = (OSError, ValueError, RuntimeError, KeyError, TypeError, EOFError, SafetensorError, UnpicklingError)


@dataclass
class Progress:
    """How far a run is: samples seen, seconds spent training, its recent losses, and what the next line of the journal adds up."""

    samples: int = 0
    seconds: float = 0.0
    recent: list[float] = field(default_factory=list)
    sums: dict[str, list[float]] = field(default_factory=dict)


class States:
    """The state folders below a run's folder."""

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder = folder
        self._keep = keep

    def newest(self) -> Path | None:
        """The newest whole state, None before the first."""
        found = sorted(self._folder.glob("step-*"))
        return found[-1] if found else None

    def save(self, accelerator: Accelerator, averages: Sequence[Average], progress: Progress, hard: HardExamples | None = None) -> None:
        """Write a state, then remove the oldest beyond `keep`; every process calls it."""
        target = self._folder / f"step-{progress.samples:012d}"
        making = self._folder / MAKING
        if accelerator.is_main_process:
            shutil.rmtree(making, ignore_errors=True)  # what a killed run left
            making.mkdir(parents=True)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(making))
        for average in averages:
            save_average(average, making / f"ema-{average.profile.name}.safetensors", accelerator.is_main_process)
        if accelerator.is_main_process:
            (making / PROGRESS).write_text(json.dumps(asdict(progress)), encoding="utf-8")
            if hard is not None:
                save_file(hard.state_dict(), making / HARD)
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            self._publish(making, target)
        accelerator.wait_for_everyone()

    def load(self, accelerator: Accelerator, averages: Sequence[Average], hard: HardExamples | None = None) -> Progress:
        """Go back to the newest state; a fresh `Progress` when there is none.

        Raises JobError for a state that cannot be read, UsageError for one of split weights where there is one process.
        """
        state = self.newest()
        if state is None:
            return Progress()
        if (state / f"{FSDP_MODEL_NAME}_0").exists() and accelerator.distributed_type != DistributedType.FSDP:
            raise UsageError(f"{state} is of weights split between processes; go on in two or more, with accelerate launch or torchrun")
        try:
            accelerator.load_state(str(state))
            for average in averages:
                average.load_state_dict(load_file(state / f"ema-{average.profile.name}.safetensors"))
            if hard is not None:
                hard.load_state_dict(load_file(state / HARD))
            return Progress(**json.loads((state / PROGRESS).read_text(encoding="utf-8")))
        except UNREADABLE as error:
            raise JobError(f"{state} cannot be read ({error}); delete it to go on from the state before") from error

    def _publish(self, making: Path, target: Path) -> None:
        for file in (file for file in making.rglob("*") if file.is_file()):
            _to_disk(file)  # a name that reaches the disk before its bytes would be half a state after a power cut
        if target.exists():
            shutil.rmtree(target)
        making.replace(target)
        for old in sorted(self._folder.glob("step-*"))[: -self._keep]:
            shutil.rmtree(old)


@contextmanager
def saving(folder: Path) -> Iterator[None]:
    """Turn a failure to write into one JobError line; a full disk comes as an OSError, or as a RuntimeError from torch's own writer."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        left = shutil.disk_usage(folder).free / 2**20
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise JobError(
            f"the run cannot be saved in {folder}, where {left:,.1f} MiB are free ({reason}); make room, and the same command goes on"
        ) from error


def save_average(average: Average, file: Path, writes: bool) -> None:
    """Write an average as safetensors, if this process is the one that `writes`; every process calls it."""
    weights = all_whole(average.state_dict())
    if writes:
        save_file({name: weight.contiguous() for name, weight in weights.items()}, file)


def snapshot(folder: Path, average: Average, samples: int, writes: bool) -> None:
    """Store an average for post-hoc reconstruction, `ema/PROFILE-SAMPLES.safetensors`, whole or not at all; every process calls it."""
    making = folder / MAKING
    if writes:
        folder.mkdir(parents=True, exist_ok=True)
    save_average(average, making, writes)
    if writes:
        making.replace(folder / f"{average.profile.name}-{samples:012d}.safetensors")


def reconstruct_average(folder: Path, wanted: Moment) -> dict[str, Tensor]:
    """Return the weights that a power-function average of any width would have had, from the snapshots of a run's `ema` folder.

    Raises UsageError without snapshots, or for a moment after the last of them.
    """
    stored = []
    for file in sorted(folder.glob("power-*.safetensors")):
        _, width, samples = file.stem.split("-")
        stored.append((Moment(float(samples), float(width)), load_file(file)))
    return reconstruct(stored, wanted)


def averages_of(module: nn.Module, profiles: Sequence[Profile], device: torch.device | None = None) -> list[Average]:
    """Return an average of the module's weights under each profile, where they lie or on `device`."""
    return [Average(module, profile, device) for profile in profiles]


def save_batch(file: Path, batches: Sequence[Mapping[str, Tensor]]) -> None:
    """Write the micro-batches of a step, `0.video`, `0.position`, `1.video`, ..., as safetensors."""
    file.parent.mkdir(parents=True, exist_ok=True)
    named = {f"{number}.{key}": value.contiguous().cpu() for number, batch in enumerate(batches) for key, value in batch.items()}
    save_file(named, file)


def _to_disk(file: Path) -> None:
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
