"""What every family is: a `Filler`, which takes a video with a part unknown and gives it back filled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

KNOWN, PROPAGATED, GENERATED = 0, 1, 2
State = dict[str, NDArray[np.generic]]  # what one window hands to the next; plain arrays, so that a job can keep it on disk


@dataclass(frozen=True)
class Filled:
    """`frames` uint8 T H W 3, equal to the input outside the mask; `provenance` uint8 T H W; `remaining` bool T H W."""

    frames: NDArray[np.uint8]
    provenance: NDArray[np.uint8]
    remaining: NDArray[np.bool_]


@dataclass(frozen=True)
class Span:
    """Frames `start .. start + T` of a clip, of which `fill_start .. fill_stop` (clip indices) are to be filled now."""

    start: int
    frames: NDArray[np.uint8]  # T H W 3
    mask: NDArray[np.bool_]  # T H W
    fill_start: int
    fill_stop: int


class Filler(Protocol):
    """A family. `fill_span` is a pure function of its arguments: that is what makes a job resumable and the same in any chunking."""

    name: str
    window: int  # frames filled at a time
    reach: int  # frames looked at on either side

    def fill_span(self, span: Span, state: State | None) -> tuple[Filled, State]:
        """Fill a span's window; `state` is what the call for the window before returned, None for the first."""
        ...
