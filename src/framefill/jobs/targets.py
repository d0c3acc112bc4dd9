"""Where a run may write: never over its own inputs, never over what is there unless told to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from framefill.errors import UnwritableMedia, UsageError
from framefill.jobs.folder import JobFolder, announced, is_husk
from framefill.jobs.settings import FillSettings
from framefill.media.hashes import files_of
from framefill.media.part import beside, check_name, clear_leavings, leavings, part_of


def job_folder_of(output: Path) -> Path:
    """Return the folder beside `output` in which its unfinished job is kept."""
    return beside(output, "", ".framefill")


def is_finished(settings: FillSettings) -> bool:
    """Whether the output is there, and whole: not left by a run that was killed before it had ended, which is then to be run again."""
    _sweep(settings)
    return settings.output.exists() and str(settings.output.resolve()) not in announced(job_folder_of(settings.output))


def targets_of(settings: FillSettings) -> list[Path]:
    """List the files and folders that a run gives their final names."""
    return [path for _, path in _targets(settings)]


def check_targets(settings: FillSettings) -> None:
    """Raise UsageError or UnwritableMedia unless every file that the run is to write may be written."""
    targets = list(_targets(settings))
    read = _Read([source for source in (settings.input, settings.mask) if source is not None])
    for option, path in targets:
        _check_place(option, path, read)
    job = job_folder_of(settings.output)
    read.refuse("the job folder", job)
    _sweep(settings)
    own = announced(job)  # a run killed at its very end has left these, and goes on to make the rest
    for option, path in targets:
        if _occupied(path) and not settings.overwrite and str(path.resolve()) not in own:
            raise UsageError(f"{option} {path} exists; choose another name or pass --overwrite")
        if not job.exists() and (found := leavings(path)):
            raise UsageError(f"{found[0]} is not this job's, and the job needs that name; move it away, or delete it if a run left it")
    names = [path.resolve() for _, path in targets]
    if len({*names, *(part_of(path) for path in names), job_folder_of(names[0])}) <= 2 * len(names):
        raise UsageError("the output, the provenance map and the report need names of their own; two of them are the same")


def check_output(output: str | Path, sources: Sequence[str | Path], overwrite: bool) -> None:
    """Raise UsageError or UnwritableMedia unless a run without a job folder, which reads `sources`, may write `output`."""
    path = Path(output)
    _check_place("the output", path, _Read(sources))
    if _occupied(path) and not overwrite:
        raise UsageError(f"the output {path} exists; choose another name or pass --overwrite")


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


def _check_place(option: str, path: Path, read: _Read) -> None:
    if path.name in ("", "..", "-"):
        raise UsageError(f"{option} {str(path)!r} is not the name of a file; give one, or a new folder for frames")
    check_name(path)
    read.refuse(option, path)
    if not path.parent.is_dir():
        raise UnwritableMedia(f"{option} {path} cannot be written: there is no folder {path.parent}; make it first")


def _sweep(settings: FillSettings) -> None:
    """Take away what a killed run has left when there is nothing in it to go on with."""
    job = job_folder_of(settings.output)
    if is_husk(job):
        folder = JobFolder(job)  # locks: a run that has only just started is left alone
        for target in targets_of(settings):
            clear_leavings(target)
        folder.remove()


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
