"""Every metric by name: what it says, in which direction it is better, what it needs, and how it is measured on a result.

Metrics of pictures come in variants by region: `psnr` is of the whole frame, `psnr-hole` of what was made, `psnr-rim` of 8 pixels on both
sides of the hole's border, `psnr-outside` of what was known (held against what was given, not against the truth).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from framefill.evaluation.metrics import consistency, editing, frechet, generation, pixels, structure, temporal
from framefill.evaluation.metrics.intervals import bootstrap_interval
from framefill.evaluation.metrics.regions import means_over
from framefill.evaluation.networks import WEIGHTS_OF_FLOWS, WEIGHTS_OF_MODELS, perceptual_map
from framefill.evaluation.scored import Scored
from framefill.evaluation.seam import seam_score
from framefill.media.video import Frames

Values = NDArray[np.float64]
Features = NDArray[np.float32]
Region = Literal["whole", "hole", "outside", "rim"]
Better = Literal["higher", "lower"]
Compare = Callable[[Scored, Frames, "NDArray[np.bool_] | None"], Values]  # the result, what it is held against, the region
MS_SSIM_SIDE = 176  # pixels that its five scales need
LEAST_FLOW_SIDE = 16  # pixels that an optical flow needs
IN_REGION: dict[Region, str] = {
    "whole": "the whole frame",
    "hole": "the hole",
    "outside": "what was known",
    "rim": "8 pixels either side of the rim",
}


@dataclass(frozen=True)
class Metric:
    """One measure of a result on a clip.

    `measure` gives one value a frame (T), a pair of frames (T-1) or the clip (1), nan where undefined, or None where it cannot be
    had (no truth, a picture too small). `weights` must be on this machine.
    """

    title: str
    unit: str
    better: Better
    region: Region | None
    per: Literal["frame", "pair", "clip"]
    about: str
    measure: Callable[[Scored], Values | None]
    weights: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measured:
    """A set metric's value with its 95 % interval (None without one) and what a reader must know."""

    value: float
    low: float | None = None
    high: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SetMetric:
    """One measure of a set of clips against the real ones, on features N D of both; `features` names them, see `networks`."""

    title: str
    unit: str
    better: Better
    about: str
    features: str
    measure: Callable[[Features, Features, int], Measured]
    weights: tuple[str, ...] = ("i3d",)


def needed_weights(metrics: Sequence[str], flow: str, models: Sequence[str]) -> dict[str, str]:
    """Return the sha256 of all weights that metrics, flow and models need; raises MissingWeights, with all that are missing in one line."""
    of = {name: metric.weights for table in (METRICS, SET_METRICS) for name, metric in table.items()}
    names = [name for metric in metrics for name in of[metric]]
    if any(metric in METRICS and metric.startswith(("ewarp", "tof", "motion")) for metric in metrics):
        names += WEIGHTS_OF_FLOWS.get(flow, ())
    names += [name for model in models for name in WEIGHTS_OF_MODELS.get(model, ())]
    wanted = sorted(set(names))
    if not wanted:
        return {}
    from framefill.errors import MissingWeights
    from framefill.weights import store

    missing = [name for name in wanted if not store.place(name).exists()]
    if missing:
        which = ", ".join(sorted({metric for metric in metrics if set(of[metric]) & set(missing)}))
        without = f", or leave out what needs them with --metrics ({which})" if which else ""
        raise MissingWeights(
            f"weights {', '.join(missing)} are not here; get them with: framefill weights get {' '.join(missing)}{without}"
        )
    return {name: store.digest(name) for name in wanted}


@dataclass(frozen=True)
class Pictures:
    """A metric that compares pictures, in every region: `least` pixels a side are needed, `compare` gets the region to count."""

    key: str
    title: str
    unit: str
    better: Better
    per: Literal["frame", "pair"]
    about: str
    compare: Compare
    least: int = 1
    weights: tuple[str, ...] = ()
    regions: Sequence[Region] = ("whole", "hole", "rim", "outside")

    def variants(self) -> Iterator[tuple[str, Metric]]:
        """Give the metric in each region, under its key."""
        for region in self.regions:
            key = self.key if region == "whole" else f"{self.key}-{region}"
            about = f"{self.about}; {IN_REGION[region]}"
            yield key, Metric(self.title, self.unit, self.better, region, self.per, about, partial(self._measure, region), self.weights)

    def _measure(self, region: Region, scored: Scored) -> Values | None:
        other = scored.case.given if region == "outside" else scored.case.truth
        if other is None or min(scored.frames.shape[1:3]) < self.least or (self.per == "pair" and len(other) < 2):
            return None
        return self.compare(scored, other, scored.reference.where(region))


def _ewarps(key: str, scale: str) -> Iterator[tuple[str, Metric]]:
    """Give the warping error of the whole frame and of the hole, on the scale that a publication prints."""
    unit = f"x {temporal.EWARP_SCALES[scale]:g}"
    regions: tuple[Region, ...] = ("whole", "hole")
    for region in regions:
        about = f"warping error on {scale}'s scale: squared change on 0..1 along the reference clip's motion where it is visible; {IN_REGION[region]}"
        name = key if region == "whole" else f"{key}-{region}"
        yield name, Metric("Ewarp", unit, "lower", region, "pair", about, partial(_ewarp, scale, region))


def _ewarp(scale: str, region: Region, scored: Scored) -> Values | None:
    if min(scored.frames.shape[1:3]) < LEAST_FLOW_SIDE or len(scored.frames) < 2:
        return None
    errors = temporal.warping_error(scored.frames, scored.reference.motion, scored.reference.where(region))
    return errors / temporal.EWARP_SCALES[scale]


def _tof(scored: Scored, truth: Frames, where: NDArray[np.bool_] | None) -> Values:
    return temporal.tof(scored.frames, truth, where, flow=scored.reference.flow)


def _lpips(backbone: str) -> Compare:
    def compare(scored: Scored, other: Frames, where: NDArray[np.bool_] | None) -> Values:
        found = scored.perceptual(backbone, other)
        return found.value.astype(np.float64) if where is None else means_over(found.map, where)

    return compare


def _tlpips(scored: Scored, truth: Frames, where: NDArray[np.bool_] | None) -> Values:
    return temporal.tlpips(scored.frames, truth, perceptual_map, where)


def _flicker(scored: Scored) -> Values | None:
    if len(scored.frames) < 3:
        return None
    values = temporal.flicker(scored.frames, scored.case.truth, scored.reference.hole)
    return (
        values if scored.case.truth is None else np.abs(values)
    )  # a blend that wipes motion out is as far from the truth as a shaking one


def _seam(scored: Scored) -> Values:
    triples = zip(scored.case.given, scored.frames, scored.reference.hole, strict=True)
    return np.array([seam_score(before, after, hole) for before, after, hole in triples], np.float64)


def _one(value: float | None) -> Values | None:
    return None if value is None else np.array([value], np.float64)


def _motion(part: Literal["cosine", "endpoint"]) -> Callable[[Scored], Values | None]:
    def measure(scored: Scored) -> Values | None:
        agreement = scored.motion_agreement
        return None if agreement is None else getattr(agreement, part)

    return measure


def _first_frame(scored: Scored) -> Values | None:
    if scored.reference.hole[0].any():
        return None  # no first frame was given
    return _one(editing.first_frame_fidelity(scored.result.frames, scored.case.given[0]).psnr)


def _fps(scored: Scored) -> Values | None:
    return _one(len(scored.frames) / scored.result.seconds) if scored.result.seconds else None


def _change(scored: Scored) -> pixels.Change:
    return pixels.outside_change(scored.result.frames, scored.case.given, scored.reference.hole)


_HIDDEN: tuple[Region, ...] = ("whole", "hole", "rim")
_SSIM = "scikit-image's SSIM on colour, uniform window of {} pixels, data range 255"
_LPIPS = "LPIPS v0.1 on {}, the distance map enlarged to the frame and averaged"
METRICS: dict[str, Metric] = dict(
    [
        *Pictures("psnr", "PSNR", "dB", "higher", "frame", "peak signal to noise ratio on 8 bits",
                   lambda scored, other, where: pixels.psnr(scored.frames, other, where)).variants(),
        *Pictures("mae", "MAE", "levels", "lower", "frame", "mean absolute error in 8-bit levels",
                   lambda scored, other, where: pixels.mae(scored.frames, other, where)).variants(),
        *Pictures("ssim", "SSIM", "", "higher", "frame", _SSIM.format(7),
                   lambda scored, other, where: structure.ssim(scored.frames, other, where), least=7).variants(),
        *Pictures("ssim-65", "SSIM 65", "", "higher", "frame", _SSIM.format(65) + " (the habit of video inpainting)",
                   lambda scored, other, where: structure.ssim(scored.frames, other, where, win_size=65), least=65, regions=("whole",)).variants(),
        *Pictures("ms-ssim", "MS-SSIM", "", "higher", "frame", "multi-scale SSIM, five scales",
                   lambda scored, other, where: structure.ms_ssim(scored.frames, other, where), least=MS_SSIM_SIDE, regions=_HIDDEN).variants(),
        *Pictures("lpips-alex", "LPIPS (Alex)", "", "lower", "frame", _LPIPS.format("AlexNet"), _lpips("alex"), 32, ("lpips-alex",)).variants(),
        *Pictures("lpips-vgg", "LPIPS (VGG)", "", "lower", "frame", _LPIPS.format("VGG16"), _lpips("vgg"), 32, ("lpips-vgg",)).variants(),
        *Pictures("tof", "tOF", "px", "lower", "pair", "how far the motion from frame to frame is from the truth's", _tof, 16, (), _HIDDEN).variants(),
        *Pictures("tlpips", "tLPIPS", "", "lower", "pair", "how far the visible change from frame to frame is from the truth's (LPIPS, Alex)",
                   _tlpips, 32, ("lpips-alex",), _HIDDEN).variants(),
*_ewarps("ewarp", "ProPainter"),
        *_ewarps("ewarp-e2fgvi", "E2FGVI"),
        ("flicker", Metric("Flicker", "levels", "lower", "hole", "frame",
            "how far a frame is from the mean of its neighbours in the hole; where the truth is known, how far that is from the truth's, either way",
            _flicker)),
        ("seam", Metric("Seam", "levels", "lower", "rim", "frame", "how many levels more the colour jumps across the hole's rim than beside it", _seam)),
        ("outside-max", Metric("Known pixels changed, most", "levels", "lower", "outside", "frame",
            "the largest change of a pixel that was known, in what the model itself returned", lambda scored: _change(scored).max)),
        ("outside-mean", Metric("Known pixels changed, mean", "levels", "lower", "outside", "frame",
            "the mean change of the pixels that were known, in what the model itself returned", lambda scored: _change(scored).mean)),
        ("consistency", Metric("Consistency", "cosine", "higher", "whole", "pair", "how alike a frame and the next look to a small image network (MobileNetV2): 1 is the same",
            lambda scored: consistency.consecutive(scored.frame_features), ("mobilenetv2",))),
        ("consistency-first", Metric("Consistency with the first frame", "cosine", "higher", "whole", "frame", "how alike a frame and the first look to a small image network (MobileNetV2): 1 is the same",
            lambda scored: consistency.to_first(scored.frame_features), ("mobilenetv2",))),
        ("consistency-source", Metric("Likeness to the source", "cosine", "higher", "whole", "frame",
            "how alike a frame and the reference clip's frame look to a small image network (MobileNetV2): 1 is the same",
            lambda scored: consistency.to_source(scored.frame_features, scored.reference.frame_features), ("mobilenetv2",))),
        ("motion-cosine", Metric("Motion kept", "cosine", "higher", "whole", "pair", "how well the result moves in the source's direction, where the source moves: 1 is the same direction, 0 none, -1 the opposite",
            _motion("cosine"))),
        ("motion-epe", Metric("Motion off", "px", "lower", "whole", "pair", "how many pixels a frame the result's motion is off the source's, where the source moves",
            _motion("endpoint"))),
        ("first-frame", Metric("First frame kept", "dB", "higher", "whole", "clip", "how near the result's first frame is to the given one (PSNR)", _first_frame)),
        ("unseen", Metric("Not shown by any frame", "share", "lower", None, "clip", "share of the hole that the model did not bring over from other frames",
            lambda scored: _one(scored.result.unseen))),
        ("fps", Metric("Speed", "frames/s", "higher", None, "clip", "frames a second of the fill alone, on this machine", _fps)),
    ]
)  # fmt: skip


def _distance(function: Callable[[Features, Features], float], real: Features, made: Features, seed: int) -> Measured:
    """Measure a distance of two sets, with the interval over clips drawn anew; a warning where the clips are few."""
    if min(len(real), len(made)) < 2:
        return Measured(float("nan"), notes=("a distance of sets needs two clips or more",))
    found = bootstrap_interval((real, made), function, seed)
    return Measured(
        found.value, found.low, found.high, tuple(filter(None, [frechet.few_samples(min(len(real), len(made)), real.shape[1])]))
    )


def _floor(real: Features, made: Features, seed: int) -> Measured:
    del made  # the floor is the real clips' own
    return Measured(frechet.split_half(real, seed) if len(real) > 3 else float("nan"))


def _diversity(real: Features, made: Features, seed: int) -> Measured:
    del seed  # nothing is drawn
    return Measured(
        generation.diversity(made), notes=(f"diversity of the real clips by the same measure: {generation.diversity(real):.4g}",)
    )


def _nearest(real: Features, made: Features, seed: int) -> Measured:
    found = bootstrap_interval(made, lambda rows: float(generation.nearest_neighbours(rows, real).distance.mean()), seed)
    return Measured(found.value, found.low, found.high)


def _frechet(real: Features, made: Features, seed: int) -> Measured:
    return _distance(frechet.frechet_distance, real, made, seed)


def _kernel(real: Features, made: Features, seed: int) -> Measured:
    return _distance(frechet.kernel_distance, real, made, seed)


SET_METRICS: dict[str, SetMetric] = {
    "vfid": SetMetric("VFID", "", "lower", "how far the set of results is from the set of true clips, as a video network sees them (Fréchet distance of I3D's 1,024 features, pixels 0..1 at the clip's size, one vector a clip)",
                      "vfid-pooled", _frechet),
    "fvd": SetMetric("FVD", "", "lower", "how far the set of results is from the set of true clips, as a video network sees them (Fréchet distance of I3D's 400 logits, clips resized to 224x224)", "fvd-logits", _frechet),
    "fvd-made": SetMetric("FVD, made frames", "", "lower", "the same on the frames alone that were wholly hidden", "made-logits", _frechet),
    "kvd": SetMetric("KVD", "", "lower", "unbiased kernel distance (cubic polynomial) of I3D's 400 logits", "fvd-logits", _kernel),
    "fvd-floor": SetMetric("FVD floor", "", "lower", "FVD of one half of the real clips against the other: differences below it mean nothing",
                           "fvd-logits", _floor),
    "diversity": SetMetric("Diversity", "", "higher", "mean distance of any two made clips' I3D logits", "fvd-logits", _diversity),
    "nearest": SetMetric("Distance to the nearest real clip", "", "higher",
                         "mean distance of a made clip's I3D logits to the nearest real one's: near 0 is memorised", "fvd-logits", _nearest),
}  # fmt: skip
