"""Completion: a part of every frame is hidden and the clip itself is the truth.

`completion-davis` and `completion-youtube-vos` follow the evaluation that STTN, FuseFormer, E2FGVI (arXiv 2204.02663) and ProPainter
(arXiv 2309.03897) share; `completion` makes its own masks, from stored seeds, for any folder of clips.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from framefill.errors import UnreadableMedia, UsageError
from framefill.evaluation.clips import RESIZES, Resize, find_clips, read_clip, read_masks_any
from framefill.evaluation.protocols.base import Case, CaseSource, Found, Option, Protocol, Settings, parse_size
from framefill.media.images import natural_key
from framefill.media.tasks import inpaint_blob, inpaint_box, inpaint_object, inpaint_stroke

Masks = NDArray[np.bool_]
CASES = ("still", "moving")
SIZE = "432x240"
MODELS = ("telea", "ns", "median", "propagate", "auto")
CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
DILATIONS = 4

RESIZE = Option("linear", "how frames are resized: linear (ProPainter), bicubic (E2FGVI's reader), area", tuple(RESIZES))
COMMON = {
    "size": Option(SIZE, "width x height every clip is resized to, or source"),
    "frames": Option(80, "at most this many frames of each clip, from its start"),
    "resize": RESIZE,
    "flow": Option("dis", "optical flow of the warping error and of tOF: dis (OpenCV DIS, medium) or gmflow", ("dis", "gmflow")),
}

# ---- masks of our own: the clip's name and the seed decide them


def fixed_box(T: int, H: int, W: int, moving: bool) -> Masks:
    """A box of 90x80 in 432x240 (6.9 %), 80 from the top, at x = 150 or swinging between 60 and 332; scaled with the frame."""
    x_scale, y_scale = W / 432, H / 240
    width, height, top = round(90 * x_scale), round(80 * y_scale), round(80 * y_scale)
    mask = np.zeros((T, H, W), np.bool_)
    for t in range(T):
        left = round((60 + 272 * (0.5 + 0.5 * math.sin(t / 12)) if moving else 150) * x_scale)
        left = min(left, W - width)
        mask[t, top : top + height, left : left + width] = True
    return mask


def _object(rng: Generator, T: int, H: int, W: int, moving: float) -> Masks:
    if moving:
        return inpaint_object(rng, T, H, W)
    return np.repeat(inpaint_object(rng, 1, H, W), T, axis=0)


SHAPES: Mapping[str, Callable[[Generator, int, int, int, float], Masks]] = {
    "object": _object,
    "box": inpaint_box,
    "stroke": inpaint_stroke,
    "blob": inpaint_blob,
    "fixed-box": lambda rng, T, H, W, moving: fixed_box(T, H, W, bool(moving)),  # noqa: ARG005 - a shape like the others; nothing to draw
}


def mask_for(clip: str, shape: str, case: str, seed: int, size: tuple[int, int, int]) -> Masks:
    """Make the mask of a clip, bool T H W = `size`: a pure function of its name, the case (`still` or `moving`), seed and size."""
    rng = np.random.default_rng([seed, zlib.crc32(clip.encode()), CASES.index(case)])
    return SHAPES[shape](rng, *size, float(case == "moving"))


def _generated(name: str, path: Path, case: str, settings: Settings, seed: int) -> Case:
    truth = read_clip(path, parse_size(settings["size"]), int(settings["frames"]), cast("Resize", settings["resize"]))
    mask = mask_for(name, str(settings["shape"]), case, seed, truth.shape[:3])
    return Case(f"{name}/{case}", case, truth, mask, truth)


def _find_generated(folder: Path, settings: Settings, seed: int) -> Found:
    cases = CASES if settings["case"] == "both" else (str(settings["case"]),)
    sources = [
        CaseSource(f"{name}/{case}", case, (path,), partial(_generated, name, path, case, dict(settings), seed))
        for name, path in find_clips(folder).items()
        for case in cases
    ]
    return Found(sources)


def _define_generated(settings: Settings) -> list[str]:
    size = "its own size" if settings["size"] == "source" else f"{settings['size']} ({settings['resize']})"
    shape = {
        "object": "a silhouette of 15-50 % of the shorter side; moving: along a smooth random path, deforming slightly",
        "box": "a rectangle of 20-80 % of each side; moving: it wanders and breathes",
        "stroke": "1 to 4 brush strokes, 2-8 % of the shorter side thick; moving: they drift together",
        "blob": "cloud-like regions on 5-40 % of the frame; moving: they change slowly",
        "fixed-box": "a box of 90x80 in 432x240, 80 from the top, at x = 150, or moving with x = 60 + 272 (0.5 + 0.5 sin(t / 12)); scaled",
    }[str(settings["shape"])]
    return [
        f"The first {settings['frames']} frames of every clip, each at {size}. The clip itself is the truth.",
        f"The hole ({settings['case']}): {shape}. It is drawn from the seed and the clip's name, so that it is the same in every run.",
        "Models never see the truth under the hole: it is blanked before they get the clip.",
        "Known pixels are put back before anything is measured. A mean goes over the clips (each with the mean of its frames).",
        f"Ewarp and tOF: {settings['flow']} flow, Ewarp's along the truth's motion with a forward-backward occlusion test.",
        "Frames without a hole do not count; a frame that is hit exactly counts as 100 dB.",
    ]


COMPLETION = Protocol(
    name="completion",
    about="any folder of clips with generated masks, still and moving; the clip is the truth",
    layout="DIR/NAME.mp4, or DIR/NAME/ with frames, frames/ or video.*; a single clip is taken too",
    options=COMMON
    | {
        "shape": Option("object", "the hole's shape", tuple(SHAPES)),
        "case": Option("both", "still holes, moving holes, or both", ("both", *CASES)),
    },
    define=_define_generated,
    find=_find_generated,
    metrics=(
        "psnr", "psnr-hole", "ssim", "ssim-hole", "ms-ssim", "lpips-alex", "lpips-alex-hole", "ewarp", "ewarp-hole",
        "flicker", "tof", "seam", "outside-max", "unseen", "fps",
    ),
    models=MODELS,
)  # fmt: skip


# ---- the literature's fixed mask sets

PICTURES = ("JPEGImages_432_240", "JPEGImages/480p", "JPEGImages", "test_all_frames/JPEGImages", "frames")
MASKS = ("test_masks", "masks")


def dilated(masks: Masks) -> Masks:
    """Grow masks T H W four times by a 3x3 cross, as the shared evaluation does."""
    return np.stack([cv2.dilate(mask.view(np.uint8), CROSS, iterations=DILATIONS) for mask in masks]).astype(np.bool_)


def _benchmark(name: str, frames: Path, masks: Path, most: int | None, settings: Settings) -> Case:
    size = parse_size(SIZE)
    assert size is not None
    truth = read_clip(frames, size, most, cast("Resize", settings["resize"]))
    return Case(name, None, truth, dilated(read_masks_any(masks, size, len(truth))), truth)


def _find_benchmark(videos: int, total: int, folder: Path, settings: Settings, seed: int) -> Found:
    """List a data set's videos; nothing is drawn, so that `seed` changes nothing here."""
    del seed
    pictures, masks = _one_of(folder, PICTURES, "frames"), _one_of(folder, MASKS, "masks")
    listed = _listing(folder / "test.json")
    names = list(listed) if listed else [entry.name for entry in sorted(masks.iterdir(), key=natural_key) if entry.is_dir()]
    lost = [name for name in names if not (pictures / name).is_dir() or not (masks / name).is_dir()]
    if lost or not names:
        what = f"{len(lost)} of {len(names)} videos, such as {lost[0]}, lack" if lost else "no video has"
        raise UnreadableMedia(f"{folder}: {what} frames in {pictures.name} and masks in {masks.name}; expected {_layout()}")
    notes = []
    counts = sum(listed.values()) if listed else None
    if len(names) != videos or (counts is not None and counts != total):
        came = f"{len(names)} videos" + ("" if counts is None else f" and {counts} frames")
        notes.append(f"the published numbers are of {videos} videos and {total} frames; this folder has {came}")
    if not listed:
        notes.append("no test.json: every video with a mask is taken, with all its frames")
    return Found(
        [
            CaseSource(
                name,
                None,
                (pictures / name, masks / name),
                partial(_benchmark, name, pictures / name, masks / name, listed.get(name), dict(settings)),
            )
            for name in names
        ],
        tuple(notes),
    )


def _one_of(folder: Path, names: Sequence[str], what: str) -> Path:
    for name in names:
        if (folder / name).is_dir():
            return folder / name
    raise UnreadableMedia(f"{folder} has no {what}; expected {_layout()}")


def _layout() -> str:
    return f"DIR/{{{','.join(PICTURES)}}}/VIDEO/*.jpg and DIR/{{{','.join(MASKS)}}}/VIDEO/*.png, with test.json (video: frames) if there is one"


def _listing(path: Path) -> dict[str, int]:
    if not path.exists():
        return {}
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): int(count) for name, count in told.items()}
    except (ValueError, AttributeError, TypeError):
        raise UsageError(f"{path} is not a JSON object of video: number of frames; mend it or take it away") from None


def _define_benchmark(title: str, videos: int, total: int, settings: Settings) -> list[str]:
    return [
        f"{title} as STTN, FuseFormer, E2FGVI and ProPainter measure it: {videos} videos, {total} frames, the masks distributed with them.",
        f"Frames are resized to {SIZE} ({settings['resize']}), masks by nearest; every level above 0 is hole, then dilated {DILATIONS} times by a 3x3 cross.",
        "Models never see the truth under the hole. The result is composited with the original outside the dilated mask, in 8 bits.",
        "PSNR: whole frame, 8-bit scale. SSIM: scikit-image's, window 65, data range 255, on colour. Means over all frames of all videos.",
        "VFID: I3D (Kinetics-400), pixels 0..1, no resize, the last feature map averaged over space and time, Fréchet distance over the videos.",
        f"Ewarp: {settings['flow']} flow on the truth, forward-backward occlusion test, squared error on 0..1; the papers use FlowNet2 and other masks for it.",
        "Frames without a hole do not count (their PSNR is infinite); a frame that is hit exactly counts as 100 dB.",
        "Not the same as the papers: E2FGVI and ProPainter average overlapping predictions in float for PSNR; here a model's own 8-bit frames are measured.",
    ]


def _benchmark_protocol(name: str, title: str, videos: int, total: int) -> Protocol:
    return Protocol(
        name=name,
        about=f"{title} with the fixed masks of STTN, E2FGVI and ProPainter, 432x240",
        layout=_layout(),
        options={key: COMMON[key] for key in ("resize", "flow")},
        define=partial(_define_benchmark, title, videos, total),
        find=partial(_find_benchmark, videos, total),
        metrics=("psnr", "ssim-65", "vfid", "ewarp", "ewarp-e2fgvi", "psnr-hole", "lpips-alex", "outside-max", "unseen", "fps"),
        models=MODELS,
        mean="frames",
    )


DAVIS = _benchmark_protocol("completion-davis", "DAVIS", 50, 3455)
YOUTUBE_VOS = _benchmark_protocol("completion-youtube-vos", "YouTube-VOS", 508, 70382)

PROTOCOLS: Iterable[Protocol] = (COMPLETION, DAVIS, YOUTUBE_VOS)
