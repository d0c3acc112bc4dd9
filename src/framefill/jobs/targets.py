"""Where a run may write: never over its own inputs, never over what is there unless told to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from framefill.errors import UnwritableMedia, UsageError
from framefill.jobs.hashes import files_of
from framefill.jobs.settings import FillSettings


def job_folder_of(output: Path) -> Path:
    """Return the folder beside `output` in which its unfinished job is kept."""
    return output.with_name(output.name + ".framefill")


def check_targets(settings: FillSettings) -> None:
    """Raise UsageError or UnwritableMedia unless every file that the run is to write may be written."""
    targets = list(_targets(settings))
    sources = [Path(source) for source in (settings.input, settings.mask) if source is not None]
    read = {file.resolve() for source in sources for file in [source, *files_of(source)]}
    for option, path in targets:
        if path.resolve() in read:
            raise UsageError(f"{option} {path} is also an input, which is never touched; choose another name")
        if not path.parent.is_dir():
            raise UnwritableMedia(f"{option} {path} cannot be written: there is no folder {path.parent}; make it first")
        if _occupied(path) and not settings.overwrite:
            raise UsageError(f"{option} {path} exists; choose another name or pass --overwrite")
    if len({path.resolve() for _, path in targets}) < len(targets):
        raise UsageError("the output, the provenance map and the report need names of their own; two of them are the same")


def _targets(settings: FillSettings) -> Iterator[tuple[str, Path]]:
    yield "the output", settings.output
    if settings.provenance is not None:
        yield "--provenance", settings.provenance
    if settings.report is not None:
        if settings.report.is_dir():
            raise UsageError(f"--report {settings.report} is a folder; give the name of an HTML file")
        yield "--report", settings.report


def _occupied(path: Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else path.exists()
