"""Which shot each frame of a stream belongs to, told six frames late: the histogram test of `data.shots` over a sliding window."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from framefill.data.footage import resized
from framefill.data.shots import AROUND, Picture, find_cuts, measure
from framefill.media.video import Frame

SIZE = (48, 64)  # height and width at which the test looks at a frame
BEFORE = AROUND + 1  # frames before the one in question that its test looks at; each step needs the frame before it


def in_shots(frames: Iterable[Frame], cuts: bool) -> Iterator[tuple[int, Frame]]:
    """Give every frame with the number of its shot, from 0 on; all are one shot when `cuts` is False.

    The cuts are those that `find_cuts` finds in the whole clip.
    """
    if not cuts:
        yield from ((0, frame) for frame in frames)
        return
    shot, small = 0, deque[Picture](maxlen=BEFORE + 1 + AROUND)
    waiting: deque[Frame] = deque()
    for frame in frames:
        waiting.append(frame)
        small.append(resized(frame.rgb, SIZE))
        if len(waiting) > AROUND:
            shot += _is_cut(small, len(small) - 1 - AROUND)
            yield shot, waiting.popleft()
    while waiting:
        shot += _is_cut(small, len(small) - len(waiting))
        yield shot, waiting.popleft()


def _is_cut(small: Iterable[Picture], place: int) -> bool:
    """Whether the frame at a place of the window begins a shot; the first frame of a clip never does."""
    return place in find_cuts(measure(small))
