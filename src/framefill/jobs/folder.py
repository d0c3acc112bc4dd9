"""The job folder: what a run keeps beside its output, so that a run killed at any moment can go on where it stopped.

    OUT.framefill/
      lock             held by the process at work
      job.json         what decides the made pixels: hashes of the inputs, settings, family, versions
      window-00012.npz the made pixels of one finished window, only inside the mask
      state-00012.npz  what the filler hands on after that window (only the newest is kept)
      ending.json      the files about to get their final names: after a kill, finding them there is no surprise

Every file is written under another name, flushed to the disk and renamed: one that is there is whole. `job.json` comes first, so
that a window never lies beside settings it was not made with.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from framefill.errors import JobError
from framefill.families.base import State
from framefill.jobs.lock import FolderLock
from framefill.jobs.made import Made
from framefill.jobs.record import JsonValue

SCHEMA = 1
OURS = re.compile(r"(?:lock|(?:job|ending)\.json|(?:window|state)-[0-9]{5,}\.npz)(?:\.part)?")
ENDING = "ending.json"
LAST = ("job.json", ENDING, "lock")  # the order in which a job's folder is taken away, after its windows
HUSK = re.compile(r"lock|ending\.json|(?:job|ending)\.json\.part")


class JobFolder:
    """The files of one job. Windows are saved in order; `load` gives back those of an earlier run with the same identity."""

    def __init__(self, path: Path) -> None:
        """Make or enter the folder `path` and lock it; raises JobError when another process holds it, it cannot be written, or
        it is somebody else's.
        """
        self.path = path
        self.warnings: list[str] = []
        self.windows = 0  # finished ones that lie here
        try:
            path.mkdir(exist_ok=True)
            if not self.has_manifest and len(self._ours()) < len(list(path.iterdir())):
                raise JobError(f"the folder {path} is not framefill's own, and the job needs that name; choose another output")
            self._lock = FolderLock(path / "lock")
        except OSError as error:
            raise JobError(f"the job folder {path} cannot be written: {error.strerror}; choose another place for the output") from error
        self.windows = len(self._windows())

    @property
    def has_manifest(self) -> bool:
        """Whether an earlier run has left a job here."""
        return self._manifest.exists()

    def begin(self, identity: Mapping[str, JsonValue]) -> None:
        """Compare `identity` with that of an earlier run: equal, go on with its windows; different, forget them and warn."""
        wanted = {"schema": SCHEMA, **json.loads(json.dumps(identity))}
        found = _read_json(self._manifest)
        if found == wanted:
            return
        (self.path / ENDING).unlink(missing_ok=True)
        if self.windows:
            changed = ", ".join(key for key in wanted if found is None or found.get(key) != wanted[key])
            self.warnings.append(f"{self.path} held an earlier job with other {changed}: started anew")
        self._manifest.unlink(missing_ok=True)
        self._forget_from(0)
        self._write(self._manifest, lambda file: file.write(json.dumps(wanted, indent=1).encode()))

    def finished(self) -> int:
        """Return how many windows, from the first on, can be taken over: each whole, and the state after the last of them there."""
        count = 0
        windows = self._windows()
        while count in windows and _reads(self.load, count):
            count += 1
        if count < len(windows):
            self.warnings.append(f"a damaged window in {self.path}: the windows from number {count} on are computed again")
        while count and not _reads(self.load_state, count - 1):
            count -= 1
        self._forget_from(count)
        return count

    def load(self, window: int) -> Made:
        """Read back a finished window."""
        with np.load(self._window(window), allow_pickle=False) as stored:
            return Made(stored["counts"], stored["pixels"], stored["provenance"], float(stored["seconds"]))

    def load_state(self, window: int) -> State:
        """Read back what the filler handed on after `window`."""
        with np.load(self._state(window), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}

    def save(self, window: int, made: Made, state: State) -> None:
        """Keep a finished window and the state after it, for good; raises JobError when the disk refuses."""
        self._save_arrays(self._state(window), state)
        arrays: State = {
            "counts": made.counts,
            "pixels": made.pixels,
            "provenance": made.provenance,
            "seconds": np.array(made.seconds),
        }
        self._save_arrays(self._window(window), arrays)
        self.windows = window + 1
        for old in self.path.glob("state-*.npz"):
            if old != self._state(window):
                old.unlink()

    def leave(self) -> None:
        """Unlock the folder; one in which no window has been finished is removed."""
        if self.windows:
            self._lock.release()
        else:
            self.remove()

    def remove(self) -> None:
        """Delete what framefill put into the folder, and the folder if nothing else is in it."""
        self.windows = 0
        with contextlib.suppress(OSError):
            # Killed in between, the rest says what it is: a whole job that has ended, then a husk.
            for path in sorted(self._ours(), key=lambda path: LAST.index(path.name) if path.name in LAST else -1):
                path.unlink()
            self.path.rmdir()
        self._lock.release()

    def announce(self, targets: Sequence[Path]) -> None:
        """Note that these files are about to get their final names; see `announced`."""
        text = json.dumps({"targets": [str(target.resolve()) for target in targets]})
        self._write(self.path / ENDING, lambda file: file.write(text.encode()))

    def end(self) -> None:
        """Forget what was announced: all is done, and the next run with these names is a new one."""
        (self.path / ENDING).unlink(missing_ok=True)

    @property
    def _manifest(self) -> Path:
        return self.path / "job.json"

    def _window(self, number: int) -> Path:
        return self.path / f"window-{number:05d}.npz"

    def _state(self, number: int) -> Path:
        return self.path / f"state-{number:05d}.npz"

    def _windows(self) -> dict[int, Path]:
        numbers = {_number(path) for path in self._ours() if path.name.startswith("window-") and path.suffix == ".npz"}
        return {number: self._window(number) for number in numbers if self._window(number).exists()}

    def _ours(self) -> list[Path]:
        return [path for path in self.path.iterdir() if OURS.fullmatch(path.name)]

    def _forget_from(self, number: int) -> None:
        for path in self._ours():
            if path.suffix == ".part" or (path.suffix == ".npz" and _number(path) >= number):
                path.unlink()
        self.windows = len(self._windows())

    def _save_arrays(self, path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        self._write(path, lambda file: np.savez(file, allow_pickle=False, **arrays))

    def _write(self, path: Path, write: Callable[[BinaryIO], object]) -> None:
        part = path.with_suffix(path.suffix + ".part")
        try:
            with part.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError as error:
            raise JobError(
                f"the job folder {self.path} cannot be written: {error.strerror}; free some space and run the command again"
            ) from error


def is_husk(folder: Path) -> bool:
    """Whether a folder is a job's that had not begun to keep windows when it was killed, or had taken them away: nothing to go on with."""
    return folder.is_dir() and all(HUSK.fullmatch(path.name) for path in folder.iterdir())


def announced(folder: Path) -> set[str]:
    """Return the final names that a job killed while it ended was giving to its files; none when it had not come so far."""
    found = (_read_json(folder / ENDING) or {}).get("targets")
    return {str(name) for name in found} if isinstance(found, list) else set()


def _number(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


def _reads(load: Callable[[int], object], number: int) -> bool:
    try:
        load(number)
    except Exception:  # flipped bits make zipfile and numpy raise nearly anything, and each means: make it again
        return False
    return True


def _read_json(path: Path) -> dict[str, JsonValue] | None:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else {}
