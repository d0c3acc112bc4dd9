"""One process at a time in a job folder."""

from __future__ import annotations

import os
from pathlib import Path

from framefill.errors import JobError
from framefill.locks import try_lock


class FolderLock:
    """Holds the lock file `path` from construction to `release`; raises JobError when another process does."""

    def __init__(self, path: Path) -> None:
        """Lock `path`, which is made when missing; raises OSError when it cannot be made."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        if not try_lock(self._descriptor):
            os.close(self._descriptor)
            raise _busy(path)
        # A holder that has just finished took the folder away with it: then this lock guards nothing.
        if not path.exists() or not os.path.samestat(path.stat(), os.fstat(self._descriptor)):
            os.close(self._descriptor)
            raise _busy(path)

    def release(self) -> None:
        """Let other processes in; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _busy(path: Path) -> JobError:
    return JobError(f"another process is at work on this job ({path.parent}); wait for it or choose another output")
