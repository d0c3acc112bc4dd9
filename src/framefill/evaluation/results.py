"""Where a model's frames come from: a family or a baseline that is run here, or a folder that another program has filled."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from framefill.errors import UnreadableMedia, UsageError
from framefill.evaluation.baselines import get_model
from framefill.evaluation.clips import VIDEOS
from framefill.evaluation.protocols.base import Case
from framefill.families.base import PROPAGATED
from framefill.families.whole import fill_whole
from framefill.media.composite import composite
from framefill.media.reader import open_video
from framefill.media.video import Frames


@dataclass(frozen=True)
class Result:
    """A filled clip: `frames` uint8 T H W 3 as the model gave them, `seconds` the fill took and the share of the hole that no frame
    shows; both None where another program made it.
    """

    frames: Frames
    seconds: float | None = None
    unseen: float | None = None


def fill_case(case: Case, model: str) -> Result:
    """Fill a case with a family or baseline by name, and time it. Raises UsageError for an unknown model, MissingWeights."""
    filler = get_model(model)
    begin = time.perf_counter()
    filled = fill_whole(case.given, case.mask, filler)
    seconds = time.perf_counter() - begin
    unseen = float((filled.provenance[case.mask] != PROPAGATED).mean()) if case.mask.any() else None
    return Result(filled.frames, seconds, unseen)


def find_result(folder: Path, name: str) -> Path | None:
    """Find what another program made of the case `name`: the folder of frames `folder/name`, or a video of that name; None if absent."""
    whole = folder / name
    if whole.is_dir():
        return whole
    for entry in sorted(whole.parent.iterdir()) if whole.parent.is_dir() else ():
        if entry.stem == whole.name and entry.suffix.lower() in VIDEOS:
            return entry
    return None


def read_result(folder: Path, case: Case) -> Result:
    """Read another program's result of a case. Raises UnreadableMedia where it is missing or of another size or length."""
    path = find_result(folder, case.name)
    if path is None:
        raise UnreadableMedia(f"{folder} has no result for {case.name}; expected {folder / case.name}/*.png or {folder / case.name}.mp4")
    with open_video(path) as reader:
        frames = np.stack([frame.rgb for frame in reader])
    if frames.shape != case.given.shape:
        count, height, width = case.given.shape[:3]
        raise UnreadableMedia(
            f"{path} has {len(frames)} frames of {frames.shape[2]}x{frames.shape[1]}; the case has {count} of {width}x{height}. "
            "framefill eval inputs writes what a program is to be given"
        )
    return Result(frames)


def check_results(folder: Path, names: list[str]) -> None:
    """Raise UsageError unless `folder` holds a result for every case."""
    if not folder.is_dir():
        raise UsageError(f"--results {folder} is no folder; give one with a result (a video or a folder of frames) for each case")
    lost = [name for name in names if find_result(folder, name) is None]
    if lost:
        raise UsageError(
            f"--results {folder} lacks {len(lost)} of {len(names)} cases, such as {lost[0]}; expected {folder / lost[0]}.mp4 or a folder"
        )


def with_known(case: Case, frames: Frames) -> Frames:
    """Put the known pixels back into a result."""
    pairs = zip(case.given, frames, case.mask, strict=True)
    return np.stack([composite(known, made, np.ascontiguousarray(hole)) for known, made, hole in pairs])


def blanked(case: Case, grey: int = 127) -> Frames:
    """What a model gets, with a grey hole: to look at, and to hand to other programs."""
    return np.where(case.mask[..., None], np.uint8(grey), case.given)


def hole_frames(case: Case) -> NDArray[np.bool_]:
    """Tell for each frame whether it has a hole: only those count in a mean."""
    return np.asarray(case.mask.any(axis=(1, 2)))
