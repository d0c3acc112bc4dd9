"""A manifest: one JSON object a line, one line a clip, which is a run of frames of one source without a cut.

    {"path": "cats/a.mp4", "start": 0, "end": 96, "fps": 25.0, "width": 640, "height": 360, "split": "train", "licence": "CC0-1.0",
     "sha256": "9f…", "likeness": "0f…", "label": ""}

Paths below the manifest's folder are stored relative to it, so that both can be moved together; others are absolute.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Literal, cast, get_args

from framefill.errors import UnreadableMedia, UsageError

Split = Literal["train", "val", "test"]
SPLITS: tuple[str, ...] = get_args(Split)
SHA256_DIGITS = 64
LIKENESS_DIGITS = 128  # four hashes of 64 bits, 32 bytes for the course of the motion


@dataclass(frozen=True)
class Clip:
    """Frames `start .. end` (end excluded) of the source at `path`: a video file, a folder or a glob of frames.

    `fps` is the source's average rate, `width` and `height` its size in display orientation, `sha256` the hash of its bytes,
    `likeness` what it looks like and how it moves, for finding copies, as 128 hex digits ("" = not made), `label` the class, where the
    data set has classes.
    """

    path: Path
    start: int
    end: int
    fps: float
    width: int
    height: int
    split: Split = "train"
    licence: str = ""
    sha256: str = ""
    likeness: str = ""
    label: str = ""

    def __len__(self) -> int:
        return self.end - self.start

    @property
    def name(self) -> str:
        """The clip in words, for messages: the source's path and the frames."""
        return f"{self.path}[{self.start}:{self.end}]"


def read_manifest(path: str | Path) -> list[Clip]:
    """Read every clip of a manifest, its paths made absolute.

    Raises UnreadableMedia when there is no such file, UsageError naming file and line for a line that is not a clip as above: not JSON,
    an unknown or missing key, a value of another kind or out of range, or an empty manifest.
    """
    return list(_numbered(Path(path)).values())


def read_numbered(path: str | Path) -> dict[int, Clip]:
    """Read the clips by line number (from 1), as `read_manifest` does: for messages that point at a line."""
    return _numbered(Path(path))


def write_manifest(path: str | Path, clips: Iterable[Clip]) -> None:
    """Write a manifest, whole or not at all; the folder is made when missing. Raises OSError when it cannot be written."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        for clip in clips:
            file.write(to_line(clip, target.parent) + "\n")
    part.replace(target)


def to_line(clip: Clip, folder: Path) -> str:
    """One clip as a line of a manifest that lies in `folder`."""
    where, base = Path(os.path.abspath(clip.path)), Path(os.path.abspath(folder))  # noqa: PTH100 - links are kept as they are named
    named = where.relative_to(base) if where.is_relative_to(base) else where
    return json.dumps({**asdict(clip), "path": named.as_posix()}, ensure_ascii=False)


def _numbered(path: Path) -> dict[int, Clip]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UnreadableMedia(f"manifest {path} does not exist; make one with: framefill data scan DIR -o {path}") from error
    except IsADirectoryError as error:
        raise UnreadableMedia(f"{path} is a folder, expected a manifest; make one with framefill data scan") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no text in UTF-8, expected a manifest (one JSON object a line)") from error
    clips = {number: _parse(line, path, number) for number, line in _lines(text)}
    if not clips:
        raise UsageError(f"manifest {path} names no clip; scan a folder that holds some")
    return clips


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line


def _parse(line: str, path: Path, number: int) -> Clip:
    where = f"{path}:{number}"
    try:
        row = json.loads(line)
    except ValueError as error:
        raise UsageError(f"{where}: not JSON ({error}); expected one object a line") from error
    if not isinstance(row, dict):
        raise UsageError(f"{where}: {type(row).__name__} came, expected an object with path, start, end, ...")
    known = {each.name: each for each in fields(Clip)}
    for key in row:
        if key not in known:
            raise UsageError(f"{where}: unknown key {key!r}; expected {', '.join(known)}")
    missing = [key for key in ("path", "start", "end", "fps", "width", "height") if key not in row]
    if missing:
        raise UsageError(f"{where}: {', '.join(missing)} missing")
    for key, value in row.items():
        _check(where, key, value)
    clip = Clip(**{**cast("dict[str, str]", row), "path": Path(row["path"])})  # type: ignore[arg-type]
    if clip.end <= clip.start:
        raise UsageError(f"{where}: end {clip.end} is not after start {clip.start}")
    return replace(clip, path=path.parent / clip.path, fps=float(clip.fps))


def _check(where: str, key: str, value: object) -> None:
    """Raise UsageError when a key's value is not what it should be."""
    if key in ("start", "end", "width", "height"):
        least = 0 if key == "start" else 1
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise UsageError(f"{where}: {key} is {value!r}, expected a whole number from {least}")
    elif key == "fps":
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
            raise UsageError(f"{where}: fps is {value!r}, expected a number above 0")
    elif not isinstance(value, str):
        raise UsageError(f"{where}: {key} is {value!r}, expected text")
    elif key == "path" and not value:
        raise UsageError(f"{where}: path is empty")
    elif key == "split" and value not in SPLITS:
        raise UsageError(f"{where}: split is {value!r}, expected {', '.join(SPLITS)}")
    elif key in ("sha256", "likeness") and value and not _is_hex(value, SHA256_DIGITS if key == "sha256" else LIKENESS_DIGITS):
        raise UsageError(
            f"{where}: {key} is {value!r}, expected {SHA256_DIGITS if key == 'sha256' else LIKENESS_DIGITS} hex digits or nothing"
        )


def _is_hex(text: str, digits: int) -> bool:
    return len(text) == digits and set(text) <= set("0123456789abcdef")
