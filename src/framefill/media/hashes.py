"""What a job was given, as sha256 sums: files, folders of frames and patterns; computed in a thread while frames are decoded."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path

from framefill.errors import UnreadableMedia
from framefill.media.images import find_frames


def files_of(source: str | Path) -> list[Path]:
    """List the files behind a source in a fixed order: the file itself, a folder's files, or a pattern's matches.

    Patterns mean here what they mean to the readers of frames and of masks: `%06d` and wildcards, in the file name only.
    """
    path = Path(source)
    if path.is_dir():
        return sorted(entry for entry in path.iterdir() if entry.is_file())
    if path.exists():
        return [path]
    found = {match for match in path.parent.glob(path.name) if match.is_file()}  # masks may be of kinds that frames are not
    with contextlib.suppress(UnreadableMedia):
        found.update(find_frames(path) or ())
    return sorted(found)


def sha256_of(source: str | Path) -> str:
    """Hash a file's bytes; for several files the names and hashes of all. Raises UnreadableMedia when one cannot be read."""
    files = files_of(source)
    try:
        if len(files) == 1:
            return _file_sha256(files[0])
        whole = hashlib.sha256()
        for file in files:
            whole.update(f"{file.name}\0{_file_sha256(file)}\n".encode())
        return whole.hexdigest()
    except OSError as error:
        raise UnreadableMedia(f"{error.filename}: {error.strerror}") from error


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Hashing:
    """Hashes `sources` in a thread from construction on; `result` waits for it. hashlib lets other threads run meanwhile."""

    def __init__(self, sources: Sequence[str | Path]) -> None:
        self._sources = sources
        self._hashes: dict[str, str] = {}
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="framefill-hash", daemon=True)
        self._thread.start()

    def result(self) -> dict[str, str]:
        """Return sha256 by source as given; raises what reading a source raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._hashes

    def _run(self) -> None:
        try:
            for source in self._sources:
                self._hashes[str(source)] = sha256_of(source)
        except Exception as error:  # raised again in the thread that asks for the result
            self._error = error
