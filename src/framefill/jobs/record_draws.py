"""What is random about a clip that becomes records, and its ranges: those of the generator of nunif's iw3, with its bounds mended.

Its bound on the divergence (no pixel moves by more than 32 in an eye, as in a film 1920 wide at 3.33 %) is held to by every draw, and
counted on the picture that is worked on, not on the file's width. Levels 2 and 3 have bounds in proportion to their largest divergence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from framefill.errors import UsageError
from framefill.stereo.mapper import default_mapper

USUAL = {1: (2.0, 2.5, 3.0, 4.0), 2: (4.0, 5.0, 6.0), 3: (7.0, 8.0, 9.0)}  # percent, drawn in 7 of 10 clips
MOST = {1: 5.0, 2: 8.0, 3: 11.0}
LEAST = {1: 0.0, 2: 3.0, 3: 6.0}  # of the other draws
WIDEST = 1280.0  # pixels of the longer side up to which a level's largest divergence is drawn
OFTEN = 0.7
CONVERGENCES = (0.0, 0.5, 1.0)
RELATIVE = ("mul_1", "mul_2", "mul_3", "inv_mul_1", "inv_mul_2", "inv_mul_3")  # mappers beside the usual one
METRIC = ("none", "div_25", "div_10", "div_4", "div_2", "div_1")
DILATIONS, FINE_DILATIONS = (0, 0, 0, 1, 1, 2), (0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 3, 4)
FINE = 512  # pixels of the depth map's shorter side from which the second row counts
SHORT_SIDES = (720, 1080, 1080)
MOST_ANGLE = 45.0  # degrees
MASKS = {
    "stereo": "stereo",
    "object": "inpaint-object",
    "stroke": "inpaint-stroke",
    "blob": "inpaint-blob",
    "box": "inpaint-box",
    "dust": "dust",
    "text": "text",
    "outpaint": "outpaint",
    "completion": "completion",
}  # what --masks calls them, and the tasks that they are
DEFAULT_MASKS = "stereo=4,object=2,stroke,blob,box,dust,text,outpaint"


@dataclass(frozen=True)
class Draws:
    """All that is drawn for a clip: the tasks of its record as it is and of its mirrored one, and how holes are made.

    short_side: pixels of the picture that is worked on. angle: degrees by which it is turned, 0 = not. dilation: in [0, 1), where in the
    table of edge dilations; `edge_dilation` looks it up.
    """

    kinds: tuple[str, str]
    mapper: str
    convergence: float
    short_side: int
    angle: float
    divergence: float
    dilation: float

    def edge_dilation(self, depth_side: int) -> int:
        """How often the edges of a depth map are grown whose shorter side is so many pixels."""
        table = FINE_DILATIONS if depth_side >= FINE else DILATIONS
        return table[int(self.dilation * len(table))]


@dataclass(frozen=True)
class Ranges:
    """What is drawn from: crops of `size`, pictures of one of the `short_sides`, weights of `masks`, a divergence `level` 1 to 3.

    metric: depth is a distance, and has mappers of its own.
    """

    size: int
    short_sides: tuple[int, ...]
    masks: dict[str, float]
    level: int
    metric: bool


def draw(rng: Generator, height: int, width: int, ranges: Ranges) -> Draws:
    """Draw for a clip of pictures height x width.

    A picture is never enlarged beyond what the crop needs, and turned only where enough of it is left.
    """
    names, size = sorted(ranges.masks), ranges.size
    shares = np.array([ranges.masks[name] for name in names])
    kinds = [MASKS[str(name)] for name in rng.choice(names, size=2, p=shares / shares.sum())]
    mapper = default_mapper(ranges.metric) if rng.random() < OFTEN else str(rng.choice(METRIC if ranges.metric else RELATIVE))
    usual, other = float(rng.choice(CONVERGENCES)), float(rng.random())
    convergence = usual if rng.random() < OFTEN else other
    dilation = float(rng.random())
    wanted, angle, turns = int(rng.choice(ranges.short_sides)), float(rng.uniform(-MOST_ANGLE, MOST_ANGLE)), bool(rng.random() < 0.5)
    shorter = min(height, width)
    square = int(shorter / math.sqrt(2))
    turns = turns and square >= size
    short_side = max(size, min(wanted, square if turns else shorter))
    longer = short_side if turns else round(short_side * max(height, width) / shorter)
    divergence = _divergence(rng, ranges.level, longer)
    return Draws((kinds[0], kinds[1]), mapper, convergence, short_side, angle if turns else 0.0, divergence, dilation)


def _divergence(rng: Generator, level: int, longer: int) -> float:
    most = min(MOST[level], MOST[level] * WIDEST / longer)
    usual, other = float(rng.choice(USUAL[level])), float(rng.uniform(min(most, LEAST[level]), most))
    return min(most, usual) if rng.random() < OFTEN else other


def parse_masks(text: str) -> dict[str, float]:
    """Read kinds of masks with their weights: `stereo=4,object=2,text` (1 where none stands). Raises UsageError."""
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, equals, number = (piece.strip() for piece in part.partition("="))
        if name not in MASKS:
            raise UsageError(f"--masks {text}: {name!r} is no kind; there are {', '.join(MASKS)}")
        if name in weights:
            raise UsageError(f"--masks {text}: {name} stands twice; give each kind once")
        try:
            weights[name] = float(number) if equals else 1.0
        except ValueError:
            weights[name] = -1.0
        if not 0 < weights[name] < math.inf:
            raise UsageError(f"--masks {text}: {name} has the weight {number!r}, expected a number above 0")
    return weights
