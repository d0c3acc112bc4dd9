"""Records: a few frames and their mask as PNG files in a folder, which is what a light net is trained on.

The format is that of nunif's iw3 trainer, which reads these as they are, and whose records are read here: ROOT/train/NAME and
ROOT/eval/NAME, in each `0000_C.png` (RGB) and `0000_M.png` (grey; above 0 = unknown), `0001_C.png`, ... NAME is
`{prefix}_{depth}_{hash}_{seq}_{k}`: who estimated depth, 8 digits of the video's content hash, the record's number in the video, and
the number of the crop. Beside the pictures lies `record.json` with all that was drawn; a record without one is taken for a stereo hole.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.errors import UnreadableMedia, UnwritableMedia, UsageError
from framefill.media.tasks import TASKS

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
About: TypeAlias = "dict[str, Json]"
Split = Literal["train", "eval"]
SPLITS: tuple[Split, Split] = ("train", "eval")
COLOUR, MASK, SIDECAR = "_C.png", "_M.png", "record.json"
ORIENTED = frozenset({"stereo"})  # kinds of which left and right mean something: the background lies to the right of the hole
PNG_LEVEL = 1  # of zlib: 16 frames of 512x512 of natural 720p video are 5.5 MB in 0.25 s of a core; level 9 saves 12 % and takes 4.3 s


@dataclass(frozen=True)
class Record:
    """One record on disk: `numbers` of its frames (`0000`, ...), in order, `kind` of its mask as a task of `media.tasks`.

    `about` is what its sidecar says (empty without one).
    """

    folder: Path
    numbers: tuple[str, ...]
    kind: str
    about: About

    def __len__(self) -> int:
        return len(self.numbers)

    def size(self) -> tuple[int, int]:
        """Height and width, from the first frame's header. Raises UnreadableMedia."""
        path = self.folder / f"{self.numbers[0]}{COLOUR}"
        with path.open("rb") as file:
            head = file.read(24)
        if len(head) < 24 or head[:4] != b"\x89PNG":
            raise UnreadableMedia(f"{path} is no PNG; remove this record and make it again")
        return int.from_bytes(head[20:24], "big"), int.from_bytes(head[16:20], "big")

    def read(self, start: int = 0, end: int | None = None) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Read frames `start .. end`: uint8 T H W 3 and bool T H W. Raises UnreadableMedia for what is damaged or of several sizes."""
        chosen = self.numbers[start:end]
        frames = [np.asarray(cv2.cvtColor(_read(self.folder / f"{n}{COLOUR}", cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)) for n in chosen]
        masks = [_read(self.folder / f"{n}{MASK}", cv2.IMREAD_GRAYSCALE) > 0 for n in chosen]
        sizes = {picture.shape[:2] for picture in (*frames, *masks)}
        if len(sizes) > 1:
            told = " and ".join(f"{width}x{height}" for height, width in sorted(sizes))
            raise UnreadableMedia(f"{self.folder} holds pictures of {told}, expected one size; remove this record and make it again")
        return np.stack(frames).astype(np.uint8, copy=False), np.stack(masks)


def split_folders(folder: Path) -> dict[Split, Path]:
    """Return where the records of each split are: ROOT stands for ROOT/train and ROOT/eval, and so does ROOT/train itself."""
    root = root_of(folder)
    return {split: root / split for split in SPLITS}


def root_of(folder: Path) -> Path:
    """Return the folder that holds `train` and `eval`, given itself or one of them."""
    return folder.absolute().parent if folder.absolute().name in SPLITS else folder


def list_records(folder: Path) -> list[Record]:
    """List the records in a folder, sorted by name; other folders and files in it are passed over.

    Raises UnreadableMedia when the folder is missing or a record is incomplete, UsageError for a damaged sidecar.
    """
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise UnreadableMedia(f"{folder} is no folder of records ({error.strerror}); make some: framefill data records") from error
    return [record for name in names if (record := read_header(folder / name)) is not None]


def read_header(folder: Path) -> Record | None:
    """Look at one folder without opening its pictures; None when it is no record. Raises as `list_records`."""
    names = {entry.name for entry in os.scandir(folder)}
    numbers = sorted(name.removesuffix(MASK) for name in names if name.endswith(MASK))
    if not numbers:
        return None
    missing = next((number for number in numbers if f"{number}{COLOUR}" not in names), None)
    if missing is not None:
        raise UnreadableMedia(f"{folder / missing}{COLOUR} is missing beside its mask; remove this record and make it again")
    about = _read_sidecar(folder / SIDECAR) if SIDECAR in names else {}
    kind = about.get("kind", "stereo")
    if not isinstance(kind, str) or kind not in TASKS:
        raise UsageError(f"{folder / SIDECAR}: kind is {kind!r}, expected one of {', '.join(TASKS)}")
    return Record(folder, tuple(numbers), kind, about)


def record_name(prefix: str, depth: str, sha256: str, seq: int, crop: int) -> str:
    """Return a record's name. Signs that file systems or the name's own form mind become hyphens; an empty prefix leaves no mark."""
    parts = [_plain(prefix), _plain(depth), sha256[:8], f"{seq:06}", str(crop)]
    return "_".join(parts if prefix else parts[1:])


def write_record(target: Path, parts: Path, video: NDArray[np.uint8], mask: NDArray[np.bool_], about: Mapping[str, Json]) -> None:
    """Write a record so that it is there whole or not at all: into `parts` (on the same disk), then renamed to `target`.

    video: uint8 T H W 3. mask: bool T H W. The same arguments give the same bytes. Raises UnwritableMedia.
    """
    part = parts / target.name
    try:
        shutil.rmtree(part, ignore_errors=True)  # of a run that was killed
        part.mkdir(parents=True)
        for number, (rgb, hole) in enumerate(zip(video, mask, strict=True)):
            (part / f"{number:04}{COLOUR}").write_bytes(_png(np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), np.uint8)))
            (part / f"{number:04}{MASK}").write_bytes(_png(np.where(hole, np.uint8(255), np.uint8(0))))
        (part / SIDECAR).write_text(json.dumps(about, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        target.parent.mkdir(parents=True, exist_ok=True)
        part.rename(target)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise UnwritableMedia(f"{target} cannot be written ({error.strerror}); free some space or choose another -o") from error


def _png(picture: NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])[1].tobytes())


def _read(path: Path, how: int) -> NDArray[np.uint8]:
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise UnreadableMedia(f"{path} cannot be read ({error.strerror}); remove this record and make it again") from error
    picture = cv2.imdecode(data, how) if data.size else None
    if picture is None:
        raise UnreadableMedia(f"{path} is damaged; remove this record and make it again")
    return np.asarray(picture, np.uint8)


def _read_sidecar(path: Path) -> About:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is damaged ({error}); remove this record and make it again") from error
    if not isinstance(about, dict):
        raise UsageError(f"{path} holds a {type(about).__name__}, expected an object; remove this record and make it again")
    return about


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.+-]+", "-", text).strip("-") or "x"
