"""Global motion: one homography for the whole frame, from corners outside the hole, checked against the pictures themselves.

Corners by Shi and Tomasi (CVPR 1994), tracked by pyramidal Lucas-Kanade forth and back, fitted by MAGSAC++ (Barath et al., CVPR 2020).
Models that fit the pictures no better than standing still are given up for standing still: a fixed camera is then exactly fixed, and
its pixels are never resampled.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.motion.completion import pull_push

SIDE = 640  # longest side at which frames are registered, pixels
CORNERS = 200
DESCRIPTORS = 1000
WINDOW = (15, 15)
LEVELS = 4
LEAST_TRACKS = 12
LEAST_KNOWN = 0.05  # share of the picture that must be known to compare it
CAP = 25.0  # levels; a larger difference is something that moves by itself, and counts no more than this
STILL_FACTOR, STILL_SLACK = 1.03, 0.1  # standing still is believed up to this much worse than the best model, levels
CUT_ERROR = 14.0  # mean capped difference after the best alignment above which a cut is suspected, levels
CUT_CORRELATION = 0.8  # correlation of colour histograms below which the suspicion is confirmed
CUT_LIKENESS = 0.4  # so is it below this correlation of the aligned pictures, whatever their colours (same shot, ten frames apart: 0.44 up)

Matrix = NDArray[np.float64]  # 3 3


@dataclass(frozen=True)
class Look:
    """One frame as registration sees it: small, grey, its hole smoothly filled, its corners found. `scale` = small / full size."""

    grey: NDArray[np.uint8]
    known: NDArray[np.bool_]
    corners: NDArray[np.float32]
    histogram: NDArray[np.float32]
    scale: float

    @property
    def blank(self) -> bool:
        """Whether too little is known to say anything about motion."""
        return bool(np.count_nonzero(self.known) < LEAST_KNOWN * self.known.size)


@dataclass(frozen=True)
class Motion:
    """How the camera moved from one frame to another: `matrix` maps full-size pixels of the first to the second.

    `error` is the mean difference of the aligned known pixels, capped, in levels; `cut` says that the two show different scenes.
    """

    matrix: Matrix
    error: float
    cut: bool


def look_at(rgb: NDArray[np.uint8], hole: NDArray[np.bool_]) -> Look:
    """Prepare a frame for registration. `rgb` uint8 H W 3; pixels under `hole` (bool H W) are never read."""
    height, width = hole.shape
    scale = min(1.0, SIDE / max(height, width))
    grey, known = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8), ~hole
    if scale < 1:
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        share = cv2.resize(known.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        grey = np.asarray(cv2.resize(np.where(known, grey, 0).astype(np.uint8), size, interpolation=cv2.INTER_AREA), np.uint8)
        known = share > 0.999
    smooth = pull_push(grey.astype(np.float32), known)
    grey = np.where(known, grey, np.rint(np.clip(smooth, 0, 255))).astype(np.uint8)
    inside = cv2.erode(known.view(np.uint8), np.ones((5, 5), np.uint8))
    found = cv2.goodFeaturesToTrack(grey, CORNERS, 0.01, 8, mask=inside)
    corners = np.zeros((0, 1, 2), np.float32) if found is None else np.asarray(found, np.float32).reshape(-1, 1, 2)
    return Look(grey, known, corners, _histogram(rgb, ~hole), scale)


def register(first: Look, second: Look, guess: Matrix | None = None) -> Motion:
    """Find the homography from `first` to `second`, at full size; `guess` is a first idea of it.

    Falls back from homography to similarity to translation to standing still, by what the pictures say.
    """
    start = np.eye(3) if guess is None else _rescaled(guess, 1 / first.scale)
    still_error = _difference(first, second, np.eye(3))
    before, after = _tracks(first, second, start)
    best, error = np.eye(3), still_error
    for model in _models(before, after):
        model_error = _difference(first, second, model)
        if model_error < error:
            best, error = model, model_error
    if still_error <= error * STILL_FACTOR + STILL_SLACK:
        best, error = np.eye(3), still_error
    cut = error > CUT_ERROR and _unlike(first, second, best)
    return Motion(_rescaled(best, first.scale), error, cut)


def recognise(first: Look, second: Look) -> Matrix | None:
    """Find a place again after any motion, by ORB descriptors (Rublee et al., ICCV 2011): a guess for `register`, or None."""
    detector = cv2.ORB.create(nfeatures=DESCRIPTORS)
    if min(*first.grey.shape, *second.grey.shape) <= 2 * detector.getEdgeThreshold():
        return None  # too small to hold a descriptor, or even the detector's pyramid
    points, descriptors = zip(*(detector.detectAndCompute(look.grey, look.known.view(np.uint8)) for look in (first, second)), strict=True)
    if any(found is None or len(found) < LEAST_TRACKS for found in descriptors):
        return None
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(*descriptors)
    if len(matches) < LEAST_TRACKS:
        return None
    before = np.array([points[0][match.queryIdx].pt for match in matches], np.float32)
    after = np.array([points[1][match.trainIdx].pt for match in matches], np.float32)
    matrix, inliers = cv2.findHomography(before, after, cv2.USAC_MAGSAC, 2.0, maxIters=5000, confidence=0.999)
    if matrix is None or inliers.sum() < LEAST_TRACKS:
        return None
    scaled = np.asarray(matrix, np.float64) / matrix[2, 2]
    return _rescaled(scaled, first.scale) if _sane(scaled) else None


def _tracks(first: Look, second: Look, start: Matrix) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Follow the first frame's corners to the second and back; keep those that come home and land on known pixels."""
    none = np.zeros((0, 1, 2), np.float32)
    if len(first.corners) < LEAST_TRACKS:
        return none, none
    points = first.corners
    initial = cv2.perspectiveTransform(points, start)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 0.01)
    there, seen, _ = cv2.calcOpticalFlowPyrLK(
        first.grey, second.grey, points, initial, winSize=WINDOW, maxLevel=LEVELS, criteria=criteria, flags=cv2.OPTFLOW_USE_INITIAL_FLOW
    )
    home, back, _ = cv2.calcOpticalFlowPyrLK(
        second.grey,
        first.grey,
        there,
        points.copy(),
        winSize=WINDOW,
        maxLevel=LEVELS,
        criteria=criteria,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    height, width = second.known.shape
    place = np.rint(np.nan_to_num(there.reshape(-1, 2), nan=-1)).astype(np.int64)
    inside = ((place >= 0) & (place < (width, height))).all(1)
    place = np.clip(place, 0, (width - 1, height - 1))
    good = inside & (seen.ravel() > 0) & (back.ravel() > 0) & (np.abs(points - home).reshape(-1, 2).max(1) < 0.5)
    good &= second.known[place[:, 1], place[:, 0]]
    return points[good], there[good]


def _models(before: NDArray[np.float32], after: NDArray[np.float32]) -> list[Matrix]:
    """Fit models to matched points, from the richest to the poorest, as far as there are enough points."""
    models: list[Matrix] = []
    if len(before) < 3:
        return models
    moved = (after - before).reshape(-1, 2)
    length = np.linalg.norm(moved, axis=1)
    if np.median(length) < 0.05 and np.mean(length < 0.3) > 0.5:
        return models
    if len(before) >= LEAST_TRACKS:
        full, inliers = cv2.findHomography(before, after, cv2.USAC_MAGSAC, 1.0, maxIters=2000, confidence=0.999)
        if full is not None and inliers.mean() > 0.3:
            models += [matrix for matrix in [np.asarray(full, np.float64) / full[2, 2]] if _sane(matrix)]
    similar, _ = cv2.estimateAffinePartial2D(before, after, method=cv2.RANSAC, ransacReprojThreshold=1.5)
    if similar is not None:
        models.append(np.vstack([similar, [0, 0, 1]]))
    shift = np.eye(3)
    shift[:2, 2] = np.median(moved, axis=0)
    models.append(shift)
    return models


def _sane(matrix: Matrix) -> bool:
    """Whether a homography is a camera's, not a degenerate fit: it keeps orientation and changes size by less than four."""
    size = np.linalg.det(matrix[:2, :2])
    return bool(np.isfinite(matrix).all() and 1 / 16 < size < 16 and np.abs(matrix[2, :2]).max() < 2e-3)


def _difference(first: Look, second: Look, matrix: Matrix) -> float:
    """Mean absolute difference of the aligned pictures over pixels known in both, each capped at `CAP` levels."""
    pixels = _aligned(first, second, matrix)
    return CAP if pixels is None else float(np.minimum(cv2.absdiff(*pixels), CAP).mean())


def _unlike(first: Look, second: Look, matrix: Matrix) -> bool:
    """Whether two frames show different scenes: by their colours, or by the aligned pictures, whatever the light."""
    if float(cv2.compareHist(first.histogram, second.histogram, cv2.HISTCMP_CORREL)) < CUT_CORRELATION:
        return True
    pixels = _aligned(first, second, matrix)
    if pixels is None:
        return False
    one, other = (part - part.mean(dtype=np.float32) for part in pixels)
    return bool(one @ other < CUT_LIKENESS * np.linalg.norm(one) * np.linalg.norm(other))


def _aligned(first: Look, second: Look, matrix: Matrix) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
    """Return the pixels known in both aligned pictures, uint8 N each, or None where they are too few to be compared."""
    height, width = first.known.shape
    if np.array_equal(matrix, np.eye(3)):
        moved, known = second.grey, second.known
    else:
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        moved = np.asarray(cv2.warpPerspective(second.grey, matrix, (width, height), flags=how), np.uint8)
        known = cv2.warpPerspective(second.known.astype(np.uint8) * 255, matrix, (width, height), flags=how) == 255
    both = first.known & known
    return None if np.count_nonzero(both) < LEAST_KNOWN * both.size else (first.grey[both], moved[both])


def _histogram(rgb: NDArray[np.uint8], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    counts = np.asarray(cv2.calcHist([rgb], [0, 1, 2], known.view(np.uint8), [8, 8, 8], [0, 256, 0, 256, 0, 256]), np.float32)
    return np.asarray(cv2.GaussianBlur(counts.reshape(64, 8) / max(float(counts.sum()), 1.0), (0, 0), 1.0), np.float32)


def _rescaled(matrix: Matrix, scale: float) -> Matrix:
    """Take a matrix between pictures of `scale` times full size to full size; pixel centres are kept in place."""
    if scale == 1:
        return matrix
    half = 0.5 * (scale - 1)
    to_small = np.array([[scale, 0, half], [0, scale, half], [0, 0, 1]])
    full: Matrix = np.linalg.inv(to_small) @ matrix @ to_small
    return np.eye(3) if np.array_equal(matrix, np.eye(3)) else full / full[2, 2]
