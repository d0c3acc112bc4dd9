"""One process at a time gets weights; the others wait for it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from framefill.locks import try_lock

_EVERY = 0.2  # seconds between two tries


@contextmanager
def locked(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file `path`, made when missing; waits for a process that has it, and says so once by `on_wait`.

    Raises OSError when the file cannot be made or locked.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not try_lock(descriptor):
            on_wait()
            while not try_lock(descriptor):
                time.sleep(_EVERY)
        yield
    finally:
        os.close(descriptor)
