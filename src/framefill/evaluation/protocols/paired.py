"""Clips that bring their own masks, and the truth if anyone knows it: object removal, the other eye's holes, edits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np

from framefill.errors import MaskMismatch, UnreadableMedia
from framefill.evaluation.clips import Resize, find_clips, find_part, read_clip, read_masks, resized
from framefill.evaluation.protocols.base import Case, CaseSource, Found, Option, Protocol, Settings, parse_size
from framefill.evaluation.protocols.completion import COMMON
from framefill.media.images import read_image
from framefill.media.video import Frames

MASKS = ("mask", "masks")
TRUTHS = ("background", "backgrounds", "truth", "truths", "gt")
EDITED = ("edited", "first", "first-frame", "edit")
CLIP_FOLDERS = ("videos", "given", "clips", "source", "sources")
OPTIONS = COMMON | {"size": Option("source", "width x height every clip is resized to, or source")}


def _clips(folder: Path) -> dict[str, Path]:
    """Find the clips of `folder/NAME/...` or of `folder/videos/NAME...`."""
    for name in CLIP_FOLDERS:
        if (folder / name).is_dir():
            return find_clips(folder / name)
    return find_clips(folder)


def _frames(path: Path, settings: Settings) -> Frames:
    return read_clip(path, parse_size(settings["size"]), int(settings["frames"]), cast("Resize", settings["resize"]))


def _same_length(name: str, given: Frames, other: Frames, what: str) -> None:
    if other.shape != given.shape:
        raise MaskMismatch(f"{name}: its {what} is {_told(other)}, the clip {_told(given)}; give them the same size and length")


def _told(frames: Frames) -> str:
    return f"{frames.shape[2]}x{frames.shape[1]} with {len(frames)} frames"


def _with_mask(name: str, clip: Path, mask: Path, truth: Path | None, settings: Settings) -> Case:
    given = _frames(clip, settings)
    hidden = read_masks(mask, clip, parse_size(settings["size"]), len(given))
    known = None if truth is None else _frames(truth, settings)
    if known is not None:
        _same_length(name, given, known, truth.parent.name if truth is not None else "")
    return Case(name, None, given, hidden, known)


def _find_masked(truth_needed: bool, folder: Path, settings: Settings, seed: int) -> Found:
    """List clips with their masks and truths; nothing is drawn, so that `seed` changes nothing here."""
    del seed
    cases: list[CaseSource] = []
    bare: list[str] = []
    untrue: list[str] = []
    for name, clip in _clips(folder).items():
        mask, truth = find_part(folder, name, MASKS), find_part(folder, name, TRUTHS)
        if mask is None:
            bare.append(name)
            continue
        if truth is None:
            untrue.append(name)
            if truth_needed:
                continue
        files = (clip, mask) if truth is None else (clip, mask, truth)
        cases.append(CaseSource(name, None, files, partial(_with_mask, name, clip, mask, truth, dict(settings))))
    if not cases:
        wanted = "a mask and the truth" if truth_needed else "a mask"
        raise UnreadableMedia(f"{folder} has no clip with {wanted}; expected {_LAYOUT}")
    return Found(cases, _notes(bare, "no mask", True) + _notes(untrue, "no true background", truth_needed))


def _notes(names: Sequence[str], lack: str, left_out: bool) -> tuple[str, ...]:
    if not names:
        return ()
    end = "left out" if left_out else "scored without it"
    return (f"{len(names)} clips have {lack} and are {end}: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}",)


_LAYOUT = (
    "DIR/NAME/{video.*|frames/} with mask.* or masks/, and background.* or truth.* where known; "
    "or DIR/videos/NAME.*, DIR/masks/NAME.*, DIR/backgrounds/NAME.*"
)


def _define_removal(settings: Settings) -> list[str]:
    return [
        f"Each clip's first {settings['frames']} frames at {settings['size']} ({settings['resize']}); the clip's own mask covers what is to go.",
        "Where the true background is given, PSNR, SSIM and LPIPS compare with it: of the whole frame, and of the hole alone.",
        f"Without it only what needs no truth is measured: the seam, the flicker in the hole, the warping error along the input's motion ({settings['flow']} flow), the outside.",
        "outside-max is the largest change of a known pixel against the input, before any encoding, and of other programs' results as they come.",
        "Scores of whole frames without a true background would only say whether the rest was left alone; they are not printed.",
    ]


REMOVAL = Protocol(
    name="removal",
    about="object removal with given masks, with or without the true background",
    layout=_LAYOUT,
    options=OPTIONS,
    define=_define_removal,
    find=partial(_find_masked, False),
    metrics=(
        "psnr", "psnr-hole", "ssim-hole", "lpips-alex", "lpips-alex-hole", "seam", "flicker", "ewarp-hole", "outside-max",
        "outside-mean", "unseen", "fps",
    ),
    models=("telea", "ns", "median", "propagate", "auto"),
    composite=False,
)  # fmt: skip


def _define_stereo(settings: Settings) -> list[str]:
    return [
        f"Each clip's first {settings['frames']} frames at {settings['size']} ({settings['resize']}): one eye's view, warped to the other eye, with holes as its mask.",
        "The hole is held against the true view of that eye. PSNR of the hole divides by all hole samples (pixels x channels).",
        "Frames without a hole do not count.",
    ]


STEREO = Protocol(
    name="stereo",
    about="the holes of a view warped to the other eye, against the true view of that eye",
    layout=_LAYOUT.replace("background.* or truth.* where known", "truth.* (the true view)"),
    options={name: option for name, option in OPTIONS.items() if name != "flow"},
    define=_define_stereo,
    find=partial(_find_masked, True),
    metrics=("psnr", "psnr-hole", "ssim-hole", "lpips-alex", "lpips-alex-hole", "flicker", "seam", "outside-max", "fps"),
    models=("telea", "ns", "median", "propagate", "auto"),
    composite=False,
)


def _edited(name: str, clip: Path, first: Path, mask: Path | None, settings: Settings) -> Case:
    source = _frames(clip, settings)
    size = (source.shape[2], source.shape[1])
    given = source.copy()
    given[0] = resized(read_image(first), size, cast("Resize", settings["resize"]))
    hidden = np.ones(source.shape[:3], np.bool_) if mask is None else read_masks(mask, clip, parse_size(settings["size"]), len(source))
    hidden = hidden.copy()
    hidden[0] = False  # the edited frame is given
    return Case(name, None, given, hidden, None, source)


def _find_edits(folder: Path, settings: Settings, seed: int) -> Found:
    """List clips with an edited first frame; nothing is drawn, so that `seed` changes nothing here."""
    del seed
    cases, bare = [], []
    for name, clip in _clips(folder).items():
        first, mask = find_part(folder, name, EDITED), find_part(folder, name, MASKS)
        if first is None:
            bare.append(name)
            continue
        files = (clip, first) if mask is None else (clip, first, mask)
        cases.append(CaseSource(name, None, files, partial(_edited, name, clip, first, mask, dict(settings))))
    if not cases:
        raise UnreadableMedia(f"{folder} has no clip with an edited first frame; expected {EDIT.layout}")
    return Found(cases, _notes(bare, "no edited first frame", True))


def _define_edit(settings: Settings) -> list[str]:
    return [
        f"Each clip's first {settings['frames']} frames at {settings['size']} ({settings['resize']}); its first frame comes edited, the rest is to follow.",
        "Motion: the result's flow against the source's, where the source moves (mean cosine, and mean end-point distance in pixels).",
        "Consistency: cosine of MobileNetV2 features of frames in a row, and with the edited first frame (a small stand-in for CLIP, and not comparable with it).",
        "first-frame: PSNR of the result's first frame against the edited one. psnr-outside: against the source outside the edit's mask, where a mask is given.",
        f"Ewarp: {settings['flow']} flow of the source, the result's frames, squared error on 0..1.",
    ]


EDIT = Protocol(
    name="edit",
    about="an edited first frame carried through its clip: motion, identity, and what was to stay",
    layout="DIR/NAME/{video.*|frames/} with edited.png (the edited first frame), and mask.* or masks/ where only a part was edited",
    options=OPTIONS,
    define=_define_edit,
    find=_find_edits,
    metrics=("motion-cosine", "motion-epe", "first-frame", "consistency", "consistency-first", "psnr-outside", "ewarp", "flicker"),
    models=("copy", "auto"),
    composite=False,
)

PROTOCOLS: Iterable[Protocol] = (REMOVAL, STEREO, EDIT)
