"""By what footage is cut at shots: TransNetV2 where its weights are on this machine, else the histogram test of `data.shots`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from framefill.data.footage import resized
from framefill.data.scan import BY_HISTOGRAM, UNCUT, Cutting
from framefill.data.shots import Picture, Span
from framefill.errors import MissingWeights, UsageError

if TYPE_CHECKING:
    from framefill.nets.transnet import TransNet

Cuts: TypeAlias = Literal["auto", "histogram", "transnet", "none"]
WEIGHTS = "transnetv2"


def cutting_by(name: str) -> tuple[Cutting, str]:
    """Return how to cut, by a name of `Cuts`, and a line that says which it is; "auto" takes the network where its weights are.

    Raises UsageError for another name, WeightsError for damaged weights or without torch, for "transnet" MissingWeights.
    """
    if name not in get_args(Cuts):
        raise UsageError(f"cuts is {name!r}, expected one of {', '.join(get_args(Cuts))}")
    if name == "none":
        return UNCUT, "no cuts: each source is one clip"
    if name == "histogram":
        return BY_HISTOGRAM, "cuts by the histogram test"
    try:
        return _by_transnet(), "cuts by TransNetV2"
    except MissingWeights:
        if name == "transnet":
            raise
        return BY_HISTOGRAM, f"cuts by the histogram test, which misses dissolves; for TransNetV2: framefill weights get {WEIGHTS}"


def _by_transnet() -> Cutting:
    from framefill.weights.store import load

    weights = load(WEIGHTS)
    from framefill.nets.transnet import transnet

    net = transnet(weights)
    return Cutting("transnet", lambda: _ByTransNet(net))


class _ByTransNet:
    """The shots between the transitions that the network finds in one source."""

    def __init__(self, net: TransNet) -> None:
        from framefill.nets.transnet import SIZE, Transitions

        self._size = SIZE
        self._transitions = Transitions(net)

    def show(self, frame: Picture) -> None:
        """Take the next frame, of any size."""
        self._transitions.show(resized(frame, self._size))

    def shots(self) -> list[Span]:
        """Return the shots; frames in which two of them mix are in neither."""
        from framefill.nets.transnet import LIKELY

        middle, part = (probability >= LIKELY for probability in self._transitions.found())
        return shots_between(middle, part)


def shots_between(middle: NDArray[np.bool_], part: NDArray[np.bool_]) -> list[Span]:
    """Return the shots of a clip whose frames are marked, T each, as a transition's middle and as part of one.

    Marks that touch are one transition if a middle is among them: parts alone are also seen where a car fills the picture. A cut is one
    mark, on the last frame of the shot before it; of a longer transition all frames are left out.
    """
    shots, begin = [], 0
    for start, end in _runs(middle | part):
        if middle[start:end].any():
            shots.append((begin, end if end - start == 1 else start))
            begin = end
    shots.append((begin, len(middle)))
    return [(start, end) for start, end in shots if end > start]


def _runs(marked: NDArray[np.bool_]) -> Iterator[Span]:
    """Where marks stand side by side, as (first, last + 1)."""
    borders = np.flatnonzero(np.diff(marked, prepend=False, append=False))
    yield from ((int(start), int(end)) for start, end in borders.reshape(-1, 2))
