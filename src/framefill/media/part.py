"""Writing under a name of framefill's own beside the target, which appears whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from framefill.errors import UnwritableMedia

LONGEST = 255  # bytes in a name, on nearly every file system


def beside(target: Path, before: str, after: str) -> Path:
    """Return the name beside `target` made of its own between `before` and `after`, cut where the file system takes none so long.

    A name that is cut has a hash of the whole in it, so that no two targets share one.
    """
    name = os.fsencode(target.name)
    room = _longest(target) - len(os.fsencode(before + after))
    if len(name) <= room:
        return target.with_name(f"{before}{target.name}{after}")
    mark = hashlib.sha256(name).hexdigest()[:12]
    start = name[: room - len(mark) - 1].decode(errors="ignore")
    return target.with_name(f"{before}{start}-{mark}{after}")


def part_of(target: Path) -> Path:
    """Return the hidden name beside `target` under which it is made."""
    return beside(target, ".", ".framefill-part")


def leavings(target: Path) -> list[Path]:
    """List what lies under the names that making `target` takes: what a killed run has left, or somebody's own files."""
    return [path for path in (part_of(target), _old_of(target)) if os.path.lexists(path)]


def clear_leavings(target: Path) -> None:
    """Remove what a killed run has left of `target`; frames that were about to be replaced get their name back."""
    with writing(target):
        old = _old_of(target)
        if old.is_dir() and not target.exists():
            old.replace(target)
        for path in leavings(target):
            _discard(path)


def check_name(target: Path) -> None:
    """Raise UnwritableMedia for a name that the file system does not take."""
    length, longest = len(os.fsencode(target.name)), _longest(target)
    if length > longest:
        raise UnwritableMedia(f"{target} cannot be written: its name has {length} bytes, {longest} are allowed; give a shorter one")


@contextlib.contextmanager
def writing(target: Path) -> Iterator[None]:
    """Turn every failure to write, FFmpeg's too, into one `UnwritableMedia` line."""
    import av.error

    try:
        yield
    except (OSError, av.error.FFmpegError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnwritableMedia(f"{target} cannot be written: {reason}") from error


def _old_of(target: Path) -> Path:
    """The name that a folder of frames has between the two renamings that replace it."""
    return beside(target, ".", ".framefill-old")


def _longest(target: Path) -> int:
    try:
        return os.pathconf(target.parent, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):  # Windows; no such folder, which is said elsewhere; a system that does not tell
        return LONGEST


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


class Part:
    """A target in the making: `path` is where to write, `keep` gives it its final name, leaving without `keep` removes it.

    Raises `UnwritableMedia` at once when the folder does not exist or may not be written, or the name that is needed is taken.
    """

    def __init__(self, target: Path, folder: bool = False) -> None:
        self.target = target
        self.path = part_of(target)
        self._kept = False
        if not target.parent.is_dir():
            raise UnwritableMedia(f"{target} cannot be written: the folder {target.parent} does not exist; make it first")
        if not folder and target.is_dir():
            raise UnwritableMedia(f"{target} is a folder; give a file name")
        check_name(target)
        if found := leavings(target):
            raise UnwritableMedia(f"{found[0]} is in the way: {target.name} is made under that name; delete it if a killed run left it")
        with self.writing():
            if folder:
                self.path.mkdir()
            else:
                self.path.touch(exist_ok=False)

    def writing(self) -> contextlib.AbstractContextManager[None]:
        """Turn every failure to write the target into one `UnwritableMedia` line."""
        return writing(self.target)

    def keep(self) -> None:
        """Rename to the final name, in place of what was there."""
        with self.writing():
            if self.path.is_dir() and self.target.is_dir():
                old = _old_of(self.target)
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
        _discard(self.path)

    def __enter__(self) -> Part:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._kept:
            with contextlib.suppress(OSError):
                self.discard()
