"""One case, filled and scored: the piece of work that a run consists of, kept on disk so that a run that was stopped goes on.

`units/CASE/MODEL.json` holds every value with its curve; `MODEL.FEATURES.npy` beside it what the set metrics compare. A unit is written
in one step and carries a key of all that went into it: another setting, mask, clip or model makes it anew.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from framefill.evaluation.protocols.base import Case, CaseSource
from framefill.evaluation.results import Result, blanked, fill_case, hole_frames, read_result, with_known
from framefill.evaluation.scored import Reference, Scored
from framefill.evaluation.table import METRICS, SET_METRICS, Metric
from framefill.media.part import clear_leavings
from framefill.media.video import Frame, Frames, VideoMeta
from framefill.media.writer import VideoWriter

Save = Literal["video", "frames", "none"]
BEST_PSNR = 100.0  # dB; what a frame that is hit exactly counts as
CRF = 14  # H.264: the kept videos are for the eye
RATE = Fraction(25)
Curve = NDArray[np.float64]


@dataclass(frozen=True)
class Model:
    """A contestant, shown as `name`: the family, baseline or trained folder `filler`, or `results` that another program has made."""

    name: str
    filler: str = ""
    results: Path | None = None


@dataclass(frozen=True)
class Unit:
    """A case and the models that are still to be scored on it, with the key of each; everything a worker needs, and it pickles."""

    source: CaseSource
    models: Mapping[str, Model]  # by key
    metrics: tuple[str, ...]
    flow: str
    composite: bool
    save: Save
    folder: Path


def score(unit: Unit) -> list[str]:
    """Fill and score the case with every model of the unit, write the units' files, and return the models' names."""
    case = unit.source.load()
    reference = Reference(case, unit.flow)
    _keep_case(case, unit)
    for key, model in unit.models.items():
        result = read_result(model.results, case) if model.results is not None else fill_case(case, model.filler)
        _keep(unit.folder, case.name, model.name, result.frames, unit.save)
        measured = _measure(case, reference, result, model, unit)
        write_unit(unit.folder, case, model.name, key, measured)
    return [model.name for model in unit.models.values()]


def _measure(case: Case, reference: Reference, result: Result, model: Model, unit: Unit) -> dict[str, Curve]:
    composite = unit.composite and model.results is not None
    frames = with_known(case, result.frames) if composite else result.frames
    scored = Scored(reference, frames, result)
    curves: dict[str, Curve] = {}
    for name in unit.metrics:
        if name in METRICS:
            values = METRICS[name].measure(scored)
            if values is not None:
                curves[name] = counted(METRICS[name], np.asarray(values, np.float64), case)
    for kind in sorted({SET_METRICS[name].features for name in unit.metrics if name in SET_METRICS}):
        for owner, clip in (("truth", case.truth), (model.name, frames)):
            assert clip is not None, "a protocol with set metrics knows the truth"
            _write_whole(_features_path(unit.folder, case.name, owner, kind), _npy(reference.clip_features(clip, kind)))
    return curves


def counted(metric: Metric, values: Curve, case: Case) -> Curve:
    """Leave out (nan) the frames, or pairs of frames, without a hole, and bound an infinite PSNR."""
    values = np.where(np.isposinf(values), BEST_PSNR, values)
    if metric.per not in ("frame", "pair"):
        return values
    holes = hole_frames(case)
    return np.where(holes if metric.per == "frame" else holes[1:] | holes[:-1], values, np.nan)


def write_unit(folder: Path, case: Case, model: str, key: str, curves: Mapping[str, Curve]) -> None:
    """Write one unit's values in one step."""
    told = {
        "key": key, "clip": case.name, "case": case.case, "model": model,
        "frames": len(case.given), "width": case.given.shape[2], "height": case.given.shape[1],
        "hole": float(case.mask.mean()),
        "metrics": {name: [_told(value) for value in np.atleast_1d(curve)] for name, curve in curves.items()},
    }  # fmt: skip
    _write_whole(unit_path(folder, case.name, model), json.dumps(told).encode())


def read_unit(folder: Path, clip: str, model: str, key: str) -> dict[str, object] | None:
    """Read a unit's file; None where it is missing, damaged, of other settings, or lacks a feature file that it should have."""
    path = unit_path(folder, clip, model)
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) and told.get("key") == key else None


def has_features(folder: Path, clip: str, model: str, kinds: Sequence[str]) -> bool:
    """Tell whether the features of a clip and of a model's result are there."""
    return all(_features_path(folder, clip, owner, kind).exists() for kind in kinds for owner in ("truth", model))


def read_features(folder: Path, clip: str, owner: str, kind: str) -> NDArray[np.float32]:
    """Read the features of one clip: the model's or, for the owner "truth", the real ones."""
    return np.asarray(np.load(_features_path(folder, clip, owner, kind), allow_pickle=False), np.float32)


def unit_path(folder: Path, clip: str, model: str) -> Path:
    """Where a unit's values are kept."""
    return folder / "units" / clip / f"{model}.json"


def _features_path(folder: Path, clip: str, owner: str, kind: str) -> Path:
    return folder / "units" / clip / f"{owner}.{kind}.npy"


def _told(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _npy(array: NDArray[np.float32]) -> bytes:
    import io

    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _write_whole(path: Path, data: bytes) -> None:
    """Write a file under another name and rename it, so that a kill leaves no half file; workers may do so at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_bytes(data)
    part.replace(path)


def _keep_case(case: Case, unit: Unit) -> None:
    """Keep what was given and the truth, to look at, and the mask itself."""
    if unit.save == "none":
        return
    _keep(unit.folder, case.name, "given", blanked(case), unit.save)
    if case.truth is not None:
        _keep(unit.folder, case.name, "truth", case.truth, unit.save)
    _write_whole(unit.folder / "clips" / case.name / "mask.npz", _npz(case.mask))


def _npz(mask: NDArray[np.bool_]) -> bytes:
    import io

    buffer = io.BytesIO()
    np.savez_compressed(buffer, mask=mask)
    return buffer.getvalue()


def _keep(folder: Path, clip: str, name: str, frames: Frames, save: Save) -> None:
    if save == "none":
        return
    place = folder / "clips" / clip
    place.mkdir(parents=True, exist_ok=True)
    path = place / (name if save == "frames" else f"{name}.mp4")
    clear_leavings(path)  # a killed run's
    write_clip(path, frames, lossless=save == "frames")


def write_clip(path: Path, frames: Frames, lossless: bool = False) -> None:
    """Write frames uint8 T H W 3 as H.264 at 25 frames/s for the eye, or as a folder of PNGs."""
    height, width = frames.shape[1:3]
    meta = VideoMeta(width, height, 1 / RATE, fps=RATE, num_frames=len(frames))
    if lossless:
        path.mkdir(parents=True, exist_ok=True)
        with VideoWriter(f"{path}/", meta) as writer:
            for index, rgb in enumerate(frames):
                writer.write(Frame(index, rgb, index, 1), rgb)
        return
    with VideoWriter(path, meta, crf=CRF) as writer:
        for index, rgb in enumerate(frames):
            writer.write(Frame(index, rgb, index, 1), rgb)
