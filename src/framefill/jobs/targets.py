"""Where a run may write: never over its own inputs, never over what is there unless told to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from framefill.errors import UnwritableMedia, UsageError
from framefill.jobs.folder import announced
from framefill.jobs.hashes import files_of
from framefill.jobs.settings import FillSettings
from framefill.media.part import part_of


def job_folder_of(output: Path) -> Path:
    """Return the folder beside `output` in which its unfinished job is kept."""
    return output.with_name(output.name + ".framefill")


def targets_of(settings: FillSettings) -> list[Path]:
    """List the files and folders that a run gives their final names."""
    return [path for _, path in _targets(settings)]


def check_targets(settings: FillSettings) -> None:
    """Raise UsageError or UnwritableMedia unless every file that the run is to write may be written."""
    targets = list(_targets(settings))
    read = _Read([source for source in (settings.input, settings.mask) if source is not None])
    own = announced(job_folder_of(settings.output))  # a run killed at its very end has left these, and goes on to make the rest
    for option, path in targets:
        read.refuse(option, path)
        if not path.parent.is_dir():
            raise UnwritableMedia(f"{option} {path} cannot be written: there is no folder {path.parent}; make it first")
        if _occupied(path) and not settings.overwrite and str(path.resolve()) not in own:
            raise UsageError(f"{option} {path} exists; choose another name or pass --overwrite")
    read.refuse("the job folder", job_folder_of(settings.output))
    names = [path.resolve() for _, path in targets]
    if len({*names, *(part_of(path) for path in names), job_folder_of(names[0])}) <= 2 * len(names):
        raise UsageError("the output, the provenance map and the report need names of their own; two of them are the same")


def check_sheet(sheet: Path, sources: Sequence[str]) -> None:
    """Raise UsageError unless the contact sheet `sheet` is a PNG that is none of the `sources`, nor one of their files."""
    if sheet.suffix.lower() != ".png":
        raise UsageError(f"-o {sheet} is to be a picture; give a name that ends in .png")
    _Read(sources).refuse("-o", sheet)


class _Read:
    """The files behind a run's sources, by name and by what the name stands for: a hard link is the same file."""

    def __init__(self, sources: Sequence[str | Path]) -> None:
        files = {file for source in sources for file in [Path(source), *files_of(source)]}
        self._names = {file.resolve() for file in files}
        self._nodes = {_node(file) for file in files if file.exists()}

    def refuse(self, option: str, path: Path) -> None:
        """Raise UsageError when writing `path`, or making it under its unfinished name, would touch a file that is read."""
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise UsageError(f"{option} {path} is neither a file nor a folder; give the name of a file")
        for name in (path, part_of(path)):
            if name.resolve() in self._names or (name.exists() and _node(name) in self._nodes):
                raise UsageError(f"{option} {name} is also an input, which is never touched; choose another name")
            if name.is_dir() and any(name.resolve() in file.parents for file in self._names):
                raise UsageError(f"{option} {name} holds an input, which is never touched; choose another folder")


def _targets(settings: FillSettings) -> Iterator[tuple[str, Path]]:
    yield "the output", settings.output
    if settings.provenance is not None:
        yield "--provenance", settings.provenance
    if settings.report is not None:
        if settings.report.is_dir():
            raise UsageError(f"--report {settings.report} is a folder; give the name of an HTML file")
        yield "--report", settings.report


def _node(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _occupied(path: Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else path.exists()
