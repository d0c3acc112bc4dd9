"""One process at a time in a run's folder: two that write one journal and one line of states would end in neither's weights."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from framefill.errors import JobError
from framefill.locks import try_lock


@contextmanager
def one_run(folder: Path) -> Iterator[None]:
    """Hold the run's lock file while the block runs. Raises JobError when another process trains there.

    On a disk where files cannot be locked, nothing is held.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _locked(descriptor):
            raise JobError(f"another process is training in {folder}; wait for it, or give this run a name of its own: --run.name")
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        return try_lock(descriptor)
    except OSError:
        return True
