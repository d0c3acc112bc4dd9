"""Clips as pictures to look at: frames side by side with what was made marked, and all tasks moving in one small video."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from framefill.apps.demo.measure import Filled
from framefill.evaluation.report.videos import data_uri
from framefill.evaluation.unit import write_clip
from framefill.jobs.record import GENERATED_RGB
from framefill.media.video import Frames

Pixel = TypeVar("Pixel", np.uint8, np.bool_)
Picture = NDArray[np.uint8]  # H W 3
Mask = NDArray[np.bool_]
LARGE = 96  # pixels: the least side of a frame as it is shown
GAP = 4
WHITE = (255, 255, 255)
DARK, PALE = (96, 100, 104), (150, 154, 158)  # stripes over what is unknown
SLOW = 3  # each frame of the video stands for three of 25 a second


def filmstrip(frames: Frames, mask: Mask | None = None, hidden: bool = False) -> str:
    """Return a `data:` URI of frames side by side, enlarged by whole pixels; a bar of orange over each that `mask` (T H W) hides a part of.

    hidden: what the mask hides is striped.
    """
    scale = _scale(frames)
    row: list[Picture] = []
    for number, frame in enumerate(frames):
        tile, marked = _enlarged(frame, scale), mask is not None and bool(mask[number].any())
        if mask is not None and hidden:
            tile = _striped(tile, _enlarged(mask[number], scale))
        row.append(_framed(np.concatenate([_bar(GENERATED_RGB if marked else WHITE, tile.shape[1]), tile])))
    return _png(np.concatenate(row, axis=1))


def contact_sheet(clips: Sequence[Frames]) -> str:
    """Return a `data:` URI of one picture: a row a clip."""
    scale = _scale(clips[0])
    rows = [np.concatenate([_framed(_enlarged(frame, scale)) for frame in clip], axis=1) for clip in clips]
    return _png(np.concatenate(rows))


def moving(chosen: Sequence[tuple[Filled, int]]) -> str:
    """Return a `data:` URI of a video in H.264: a column a task; given, made and truth of its clip of that number, one under the other."""
    columns = []
    for part, number in chosen:
        case, made = part.cases[number], part.made[number]
        truth, scale = case.reference, _scale(made)
        column = []
        for t, hole in enumerate(case.mask):
            given = _striped(_enlarged(case.given[t], scale), _enlarged(hole, scale))
            column.append(np.concatenate([_framed(given), *(_framed(_enlarged(clip[t], scale)) for clip in (made, truth))]))
        columns.append(np.stack(column))
    sheet = np.concatenate(columns, axis=2).repeat(SLOW, axis=0)
    with TemporaryDirectory() as folder:
        path = Path(folder, "moving.mp4")
        write_clip(path, sheet[:, : sheet.shape[1] // 2 * 2, : sheet.shape[2] // 2 * 2])
        return data_uri("video/mp4", path.read_bytes())


def _scale(frames: Frames) -> int:
    height: int = frames.shape[1]
    return max(1, math.ceil(LARGE / height))


def _enlarged(picture: NDArray[Pixel], scale: int) -> NDArray[Pixel]:
    return picture.repeat(scale, axis=0).repeat(scale, axis=1)


def _striped(picture: Picture, hole: Mask) -> Picture:
    row, column = np.mgrid[0 : hole.shape[0], 0 : hole.shape[1]]
    stripes = np.where(((row + column) // 6 % 2)[..., None], np.array(DARK, np.uint8), np.array(PALE, np.uint8))
    return np.where(hole[..., None], stripes, picture)


def _bar(colour: tuple[int, int, int], width: int) -> Picture:
    return np.broadcast_to(np.array(colour, np.uint8), (GAP, width, 3))


def _framed(picture: Picture) -> Picture:
    return np.asarray(cv2.copyMakeBorder(picture, 0, GAP, 0, GAP, cv2.BORDER_CONSTANT, value=WHITE), np.uint8)


def _png(picture: Picture) -> str:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG", optimize=True)
    return data_uri("image/png", out.getvalue())
