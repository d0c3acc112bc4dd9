"""Whole frames hidden: prediction (MCVD's Cityscapes protocol, arXiv 2205.09853) and interpolation."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np

from framefill.errors import UnreadableMedia, UsageError
from framefill.evaluation.clips import Resize, find_clips, read_clip
from framefill.evaluation.protocols.base import Case, CaseSource, Found, Option, Protocol, Settings, parse_size
from framefill.evaluation.protocols.completion import COMMON, RESIZE


def _predicted(name: str, path: Path, settings: Settings) -> Case:
    known, count = int(settings["known"]), int(settings["frames"])
    truth = read_clip(path, parse_size(settings["size"]), count, cast("Resize", settings["resize"]))
    if len(truth) < count:
        raise UnreadableMedia(f"{path} has {len(truth)} frames, the protocol wants {count}; take it out or pass --set frames={len(truth)}")
    hidden = np.arange(count) >= known
    return Case(name, None, truth, np.broadcast_to(hidden[:, None, None], truth.shape[:3]), truth)


def _find_prediction(folder: Path, settings: Settings, seed: int) -> Found:
    """List the clips; nothing is drawn, so that `seed` changes nothing here."""
    del seed
    if int(settings["known"]) >= int(settings["frames"]):
        raise UsageError(f"--set known={settings['known']}: nothing is left to predict in {settings['frames']} frames")
    clips = find_clips(folder)
    return Found([CaseSource(name, None, (path,), partial(_predicted, name, path, dict(settings))) for name, path in clips.items()])


def _define_prediction(settings: Settings) -> list[str]:
    known, frames = int(settings["known"]), int(settings["frames"])
    return [
        f"Each clip's first {frames} frames at {settings['size']} ({settings['resize']}): {known} are given, {frames - known} are predicted.",
        "PSNR, SSIM and LPIPS are of the predicted frames only, at this size; one prediction a clip (MCVD's best-of-many is not taken).",
        "FVD is printed twice: of the predicted frames alone, and of whole clips with the given frames in both sets (MCVD's habit).",
        "SSIM: 7x7 uniform window, data range 255, on colour.",
    ]


MCVD_CITYSCAPES = Protocol(
    name="mcvd-cityscapes",
    about="prediction: 2 frames given, 28 predicted, 128x128, as MCVD measures Cityscapes",
    layout="DIR/NAME.mp4 or DIR/NAME/*.png, each of at least 30 frames (Cityscapes: leftImg8bit_sequence, one folder a clip)",
    options={
        "size": Option("128x128", "width x height every clip is resized to, or source"),
        "known": Option(2, "how many frames are given"),
        "frames": Option(30, "frames of each clip, the given ones included"),
        "resize": RESIZE,
    },
    define=_define_prediction,
    find=_find_prediction,
    metrics=("psnr-hole", "ssim-hole", "lpips-alex-hole", "fvd-made", "fvd", "flicker", "fps"),
    models=("average", "auto"),
)


def _interpolated(name: str, path: Path, settings: Settings) -> Case:
    truth = read_clip(path, parse_size(settings["size"]), int(settings["frames"]), cast("Resize", settings["resize"]))
    every, gap = int(settings["every"]), int(settings["gap"])
    if len(truth) <= max(every, gap):
        raise UnreadableMedia(f"{path} has {len(truth)} frames: too few to hide any between two known ones")
    t = np.arange(len(truth))
    hidden = t % gap != 0 if gap > 1 else t % every == every - 1
    hidden[np.flatnonzero(~hidden)[-1] + 1 :] = False  # behind the last known frame there is nothing to go to
    return Case(name, None, truth, np.broadcast_to(hidden[:, None, None], truth.shape[:3]), truth)


def _find_interpolation(folder: Path, settings: Settings, seed: int) -> Found:
    """List the clips; nothing is drawn, so that `seed` changes nothing here."""
    del seed
    if int(settings["every"]) < 2:
        raise UsageError("--set every=1 would hide every frame; give 2 or more")
    clips = find_clips(folder)
    return Found([CaseSource(name, None, (path,), partial(_interpolated, name, path, dict(settings))) for name, path in clips.items()])


def _define_interpolation(settings: Settings) -> list[str]:
    gap, every = int(settings["gap"]), int(settings["every"])
    rule = f"one frame in {gap} is known" if gap > 1 else f"one frame in {every} is hidden"
    return [
        f"The first {settings['frames']} frames of every clip at {settings['size']} ({settings['resize']}); {rule}. The clip itself is the truth.",
        "Everything is measured on the hidden frames only; frames behind the last known one are known too.",
        f"tOF compares the motion from frame to frame with the truth's ({settings['flow']} flow); FVD is of whole clips, known frames included in both sets.",
    ]


INTERPOLATION = Protocol(
    name="interpolation",
    about="every n-th frame hidden (or all but every n-th); the clip is the truth",
    layout="DIR/NAME.mp4, or DIR/NAME/ with frames, frames/ or video.*",
    options=COMMON
    | {
        "every": Option(2, "every n-th frame is hidden"),
        "gap": Option(1, "2 or more: only every n-th frame is known, all others are hidden (in place of every)"),
    },
    define=_define_interpolation,
    find=_find_interpolation,
    metrics=("psnr-hole", "ssim-hole", "lpips-alex-hole", "tof", "flicker", "fvd", "fps"),
    models=("average", "flow", "rife"),
)

PROTOCOLS: Iterable[Protocol] = (MCVD_CITYSCAPES, INTERPOLATION)
