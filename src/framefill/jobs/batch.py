"""Several clips in one command: which inputs a command line names, and where the output of each goes."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from framefill.errors import UnreadableMedia, UnwritableMedia, UsageError
from framefill.jobs.settings import FillSettings
from framefill.media.codecs import CHOICES, CODECS, CONTAINERS, STILLS, holds
from framefill.media.hashes import files_of
from framefill.media.images import PATTERN, STILL


def expand_inputs(inputs: Sequence[str]) -> list[str]:
    """Replace each pattern of video files by its matches; a pattern of pictures stays, being one clip.

    Raises UnreadableMedia for a pattern that matches nothing, UsageError for several single pictures: whether they are one clip
    cannot be known.
    """
    found: list[str] = []
    if "" in inputs:
        raise UsageError("a video's name is empty; give a file, a folder of frames or a pattern")
    if address := next((source for source in inputs if "://" in source), None):
        raise UsageError(f"{address} is an address, and only files are read; download it first")
    for source in inputs:
        if Path(source).exists() or not glob.has_magic(source):
            found.append(source)
            continue
        matches = _matches(source)
        if not matches:
            raise UnreadableMedia(f"{source} matches no file")
        found += [source] if _is_picture(matches[0]) else matches
    pictures = [source for source in found if _is_picture(source) and Path(source).exists()]
    if len(pictures) > 1:
        raise UsageError(
            f"{len(pictures)} single pictures given; for one clip of them quote the pattern ('frames/*.png') or give the folder"
        )
    if not found:
        raise UsageError("no video given; name a file, a folder of frames or a pattern")
    return found


def many(inputs: Sequence[str], expanded: Sequence[str]) -> bool:
    """Whether a command line means several clips, each with an output of its own: more than one, or a pattern of videos."""
    return len(expanded) > 1 or list(inputs) != list(expanded)


def outputs_in(settings: FillSettings, inputs: Sequence[str]) -> list[Path]:
    """Name one output in the folder `settings.output` for each input, after it; makes the folder.

    A clip of a kind that is not written becomes .mp4, or .mkv if it is to be lossless; a pattern of frames is named after their folder.
    Raises UsageError when two would share a name, or a provenance map or report was asked for, of which there can be only one.
    """
    if settings.provenance is not None or settings.report is not None:
        raise UsageError("--provenance and --report are for a single input; leave them out or fill the clips one by one")
    folder = settings.output
    outputs = [folder / _result_name(Path(source), settings.lossless) for source in inputs]
    twice = next((output.name for output in outputs if outputs.count(output) > 1), None)
    if twice is not None:
        raise UsageError(f"two results would be called {twice}; fill them into different folders")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; several inputs need a folder as their output")
    make_folder(folder)
    return outputs


def make_folder(folder: Path) -> None:
    """Make a folder for results if it is not there; raises UnwritableMedia when that cannot be done."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise UnwritableMedia(f"the folder {folder} cannot be made: {error.strerror}") from error


def _matches(source: str) -> list[str]:
    """What a pattern names: its folder as it is written, as for frames, else with wildcards in the folder too."""
    path = Path(source)
    literal = str(Path(glob.escape(str(path.parent))) / path.name)
    return (
        sorted(glob.glob(literal))  # noqa: PTH207 - Path.glob takes hidden files too
        or [str(file) for file in files_of(source)]
        or sorted(glob.glob(source))  # noqa: PTH207 - patterns may be absolute
    )


def _result_name(source: Path, lossless: bool) -> str:
    if source.is_dir():
        return source.name
    if not source.exists() and (glob.has_magic(source.name) or PATTERN.search(source.name)):
        return source.resolve().parent.name
    container = CONTAINERS.get(source.suffix.lower())
    if lossless and container is not None and container.codec in CHOICES and not holds(container, CODECS["ffv1"].encoder):
        return source.with_suffix(".mkv").name
    if container is None and source.suffix.lower() not in STILLS:
        return source.with_suffix(".mkv" if lossless else ".mp4").name
    return source.name


def _is_picture(source: str) -> bool:
    return Path(source).suffix.lower() in STILL
