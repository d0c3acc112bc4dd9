"""Writing under a name of framefill's own beside the target, which appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from framefill.errors import UnwritableMedia


def part_of(target: Path) -> Path:
    """Return the hidden name beside `target` under which it is made; a file of that name is taken for framefill's own leavings."""
    return target.with_name(f".{target.name}.framefill-part")


class Part:
    """A target in the making: `path` is where to write, `keep` gives it its final name, leaving without `keep` removes it.

    Raises `UnwritableMedia` at once when the folder does not exist or may not be written.
    """

    def __init__(self, target: Path, folder: bool = False) -> None:
        self.target = target
        self.path = part_of(target)
        self._kept = False
        if not target.parent.is_dir():
            raise UnwritableMedia(f"{target} cannot be written: the folder {target.parent} does not exist; make it first")
        if not folder and target.is_dir():
            raise UnwritableMedia(f"{target} is a folder; give a file name")
        with self.writing():
            self.discard()
            if folder:
                self.path.mkdir()
            else:
                self.path.touch()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Turn every failure to write, FFmpeg's too, into one `UnwritableMedia` line."""
        import av.error

        try:
            yield
        except (OSError, av.error.FFmpegError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise UnwritableMedia(f"{self.target} cannot be written: {reason}") from error

    def keep(self) -> None:
        """Rename to the final name, in place of what was there."""
        with self.writing():
            if self.path.is_dir() and self.target.is_dir():
                old = self.target.with_name(f".{self.target.name}.framefill-old")
                if old.exists():  # a run was killed between the two renamings below or after them
                    shutil.rmtree(old)
                self.target.replace(old)
                self.path.replace(self.target)
                shutil.rmtree(old)
            else:
                if self.path.is_file():
                    # A name that reaches the disk before its bytes do would be a half file after a power cut.
                    with self.path.open("rb+") as file:
                        os.fsync(file.fileno())
                self.path.replace(self.target)
        self._kept = True

    def discard(self) -> None:
        """Remove what was written so far."""
        if self.path.is_dir():
            shutil.rmtree(self.path)
        else:
            self.path.unlink(missing_ok=True)

    def __enter__(self) -> Part:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._kept:
            with contextlib.suppress(OSError):
                self.discard()
