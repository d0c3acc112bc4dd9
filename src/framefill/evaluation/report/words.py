"""Plain words for people who have never seen the project: the tasks, the models, the parts of a picture, and how numbers are written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from framefill.evaluation.baselines import BASELINES
from framefill.evaluation.report.read import Metric, Per, Region
from framefill.families import FAMILIES

HIDDEN = (
    "Part of every frame was hidden (a hole). Each model was given the clip with the hole and had to make the picture inside it, so that "
    "nobody notices. What was really there is known here, so each result can be compared with the truth."
)
GENERATED = (
    "Each model made clips of its own. The set of made clips is compared with a set of real ones: "
    "nobody expects a made clip to be a real one."
)
TASKS = {
    "completion": HIDDEN,
    "completion-davis": HIDDEN,
    "completion-youtube-vos": HIDDEN,
    "removal": (
        "An object was to vanish from every clip. Each model was given the clip and a mask over the object and had to make the background "
        "behind it. Where a clip without the object exists, the result is compared with that; where none does, only the clip itself can be "
        "asked: did the surroundings stay as they were, and is the result steady?"
    ),
    "interpolation": (
        "Frames were taken out of every clip. Each model was given the frames that stayed and had to make those between; "
        "the frames taken out are the truth."
    ),
    "edit": (
        "Each clip's first frame was edited. Each model had to carry the edit through the clip and leave everything else, "
        "its motion too, as it was."
    ),
    "stereo": (
        "Each clip was moved to the other eye's place, which leaves holes where that eye sees what the first one cannot. "
        "Each model had to fill them; the true view of the other eye is what it is compared with."
    ),
    "mcvd-cityscapes": "Each model was given a clip's first frames and had to predict the frames after them.",
}
MODELS = {
    "copy": "does nothing: the hole stays black. The floor that every model has to beat.",
    "telea": "fills each frame by itself, smearing the hole's rim inward (Telea's fast marching, 2004). It knows nothing of time.",
    "ns": "fills each frame by itself, carrying edges inward as a fluid would flow (Navier-Stokes, 2001). It knows nothing of time.",
    "median": "takes, for each pixel, the median of what the frames before and after show at the same place. Good for a still camera.",
    "propagate": "follows the motion and brings over what other frames show behind the hole. What no frame shows stays unfilled.",
    "auto": "framefill's default: brings over what other frames show, makes up once what no frame shows, and carries that along.",
    "auto-smooth": "framefill's default as it is without a network: what no frame shows is filled smoothly, once, and carried along.",
    "light": "a small neural network that looks at the hole's surroundings, in one pass and without following motion.",
    "nearest": "repeats the nearest known frame.",
    "average": "blends the nearest known frame before with the nearest after.",
    "linear": "takes it that everything moves in a straight line, between known frames and beyond them (optical flow, no network).",
    "flow": "follows the motion between two known frames and meets in the middle (optical flow, no network).",
    "rife": "a small neural network for frames in between (RIFE, 2022), with trained weights.",
}
OTHER_MODEL = "a model from outside this project; its results were scored as they were handed in."
REGIONS: dict[Region | None, str] = {
    "whole": "Whole picture",
    "hole": "Inside the hole",
    "rim": "At the hole's rim",
    "outside": "Outside the hole",
    None: "Overall",
}
REGION_WORDS: dict[Region | None, str] = {
    "whole": "Everything in the frame counts, also what no model had to make; a small hole weighs little here.",
    "hole": "Only the pixels that had to be made count: the strictest view of a model.",
    "rim": "Only a narrow band along the hole's edge counts: are there visible seams?",
    "outside": "Only pixels that were known count: a model should leave them alone.",
    None: "Whole clips or whole sets of clips are compared.",
}
PER_WORDS: dict[Per, str] = {
    "frame": "one value a frame",
    "pair": "one value for each pair of neighbouring frames",
    "clip": "one value a clip",
    "set": "one value for all clips together",
}
INTERVAL = (
    "The range under a mean is its 95 % interval, found by drawing the clips again and again with replacement (bootstrap): "
    "with other clips of the same kind the mean would be expected to lie about there. One clip alone has no interval."
)
BEST = (
    "The best mean of a column is in bold, several where they are equal to the last digit shown, and none where all models are equal. "
    "Bold is no test: overlapping ranges may hide a real difference and the other way round, since all models ran on the same clips; "
    "`framefill eval compare` makes the paired test."
)
PARTIAL = "† The mean is over fewer clips than the other models' in this column: it is not comparable with them and is never in bold."
INFINITE = "∞ stands where there is no difference at all, such as the PSNR of a frame returned unchanged."


def task(protocol: str) -> str | None:
    """Return what had to be done under a protocol, None for one that is not known here."""
    return GENERATED if protocol.startswith("fvd") else TASKS.get(protocol)


def model(name: str) -> str:
    """Return what a model is in one line; one that is not part of the program is said to come from outside."""
    if name in MODELS:
        return MODELS[name]
    family = {**FAMILIES, **BASELINES}.get(name)
    return OTHER_MODEL if family is None else f"{family.does}."


def direction(metric: Metric) -> str:
    """`higher is better ↑` or its contrary."""
    return "higher is better ↑" if metric.better == "higher" else "lower is better ↓"


def heading(metric: Metric) -> str:
    """A column's head: title, arrow, unit."""
    return f"{metric.title} {'↑' if metric.better == 'higher' else '↓'}" + (f" ({metric.unit})" if metric.unit else "")


def count(number: int, one: str, many: str | None = None) -> str:
    """`1 clip`, `3,000 clips`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """`4.0 s`, from a minute on `2 min 5 s`, from an hour on `1 h 2 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole // 60 % 60} min"


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def decimals(values: Iterable[float | None]) -> int:
    """How many decimals a column of these values wants: four significant digits in the largest, and none for zeros."""
    largest = max((abs(value) for value in values if value is not None and math.isfinite(value)), default=0.0)
    return 0 if largest == 0 else min(max(3 - math.floor(math.log10(largest * 0.9999)), 0), 12)


def written(value: float | None, digits: int) -> str:
    """A value with its column's decimals, a dash for none, ∞ for no difference; beyond six decimals as a power of ten."""
    if value is None:
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.{digits}f}" if digits <= 6 or value == 0 else f"{value:.2e}"
    return text.replace("-", "−", 1) if value < 0 and float(text) != 0 else text.removeprefix("-")


def signed(value: float | None, digits: int) -> str:
    """As `written`, with a plus in front of what is above zero."""
    text = written(value, digits)
    return f"+{text}" if value is not None and value > 0 else text
