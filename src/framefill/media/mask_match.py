"""Which mask frame belongs to which video frame: the same one for all, one to one, or by time, and what happens past the mask's end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from framefill.errors import MaskMismatch
from framefill.media.mask_rule import Length, MaskRule

_RATE_TOLERANCE = 0.005  # 23.976 and 24, 29.97 and 30 fps are one rate under two names
_SLACK = 1e-3  # seconds; containers round frame times to milliseconds


@dataclass(frozen=True)
class Timeline:
    """Frames of a clip: how many (None when nobody knows before reading), their rate, and their times in seconds when they have any.

    last: the time in seconds at which the last frame is shown.
    """

    count: int | None
    fps: float | None
    times: NDArray[np.float64] | None = None
    last: float | None = None


@dataclass(frozen=True)
class Match:
    """The stated rule by which `index` answers; `understood` and `warnings` are its lines."""

    by: Literal["still", "frame", "time"]
    count: int
    past_end: Length = "error"
    times: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    end: float = 0.0  # seconds at which the mask ends
    understood: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def index(self, frame: int, seconds: float) -> int:
        """The mask frame for video frame number `frame`, shown at `seconds`.

        Raises MaskMismatch when the mask has ended and the rule does not say how to go on.
        """
        if self.by == "still":
            return 0
        if self.by == "frame":
            if frame < self.count:
                return frame
            return self._past(frame % self.count, f"frame {frame}")
        if seconds < self.end - _SLACK:
            return self._at(seconds)
        return self._past(self._at(seconds % self.end), f"{seconds:.2f} s")

    def _at(self, seconds: float) -> int:
        return max(0, int(np.searchsorted(self.times, seconds + _SLACK, side="right")) - 1)

    def _past(self, looped: int, where: str) -> int:
        if self.past_end == "error":
            raise MaskMismatch(f"mask ends before the video: {self.count} mask frames, none for {where}; pass --mask-length hold or loop")
        return self.count - 1 if self.past_end == "hold" else looped


def match(mask: Timeline, video: Timeline, rule: MaskRule) -> Match:
    """Decide how mask frames belong to video frames.

    A still mask serves every frame. Equal counts go one to one. Otherwise by time when both rates are known and differ, else one to
    one; where the mask ends first `rule.length` decides. Raises MaskMismatch when it ends first and the rule is "error".
    """
    assert mask.count is not None
    if mask.count == 1:
        return Match("still", 1, understood=("still mask: the same for every frame",))
    by_time = _wants_time(mask, video, rule)
    made = _by_time(mask, video, rule) if by_time else _by_frame(mask, video, rule)
    _refuse_short(made, mask, video)
    return made


def _wants_time(mask: Timeline, video: Timeline, rule: MaskRule) -> bool:
    if rule.match == "frame":
        return False
    if rule.match == "time":
        if mask.times is None:
            raise MaskMismatch("--mask-match time needs a mask with frame times (video, animation, JSON with fps); pass --mask-match frame")
        return True
    return mask.times is not None and mask.count != video.count and _rates_differ(mask, video)


def _rates_differ(mask: Timeline, video: Timeline) -> bool:
    return mask.fps is not None and video.fps is not None and abs(mask.fps - video.fps) > _RATE_TOLERANCE * video.fps


def _by_frame(mask: Timeline, video: Timeline, rule: MaskRule) -> Match:
    assert mask.count is not None
    understood, warnings = [], []
    if video.count is None:
        understood.append(f"{mask.count} mask frames, matched one to one from the first")
    elif mask.count == video.count:
        understood.append(f"{mask.count} mask frames for {video.count} video frames: one to one")
        if _rates_differ(mask, video):
            warnings.append(
                f"the mask says {mask.fps:g} fps, the video {video.fps:g} fps, but both have {mask.count} frames: matched one to one; "
                "pass --mask-match time to match by time"
            )
    elif mask.count > video.count:
        understood.append(f"{mask.count} mask frames for {video.count} video frames: one to one from the first")
        warnings.append(f"mask is longer than the video: its last {mask.count - video.count} of {mask.count} frames are not used")
    else:
        understood.append(f"{mask.count} mask frames for {video.count} video frames: one to one, then {_then(rule.length)}")
    return Match("frame", mask.count, rule.length, understood=tuple(understood), warnings=tuple(warnings))


def _by_time(mask: Timeline, video: Timeline, rule: MaskRule) -> Match:
    assert mask.count is not None
    assert mask.times is not None
    step = 1 / mask.fps if mask.fps else (mask.times[-1] - mask.times[0]) / (mask.count - 1)
    end = float(mask.times[-1] + step)
    rates = f"{mask.fps:g} fps for {video.fps:g} fps" if mask.fps and video.fps else "by its frame times"
    understood = [f"mask {rates}: matched by time, each video frame takes the nearest earlier mask frame"]
    warnings = []
    if video.last is not None:
        unused = mask.count - 1 - int(np.searchsorted(mask.times, video.last + _SLACK, side="right") - 1)
        if _ends_early(end, video):
            understood.append(f"mask ends at {end:.2f} s, the video's last frame is at {video.last:.2f} s: then {_then(rule.length)}")
        elif unused > 0 and float(mask.times[-1]) > video.last + _frame_time(video):
            warnings.append(f"mask is longer than the video: its last {unused} of {mask.count} frames are not used")
    return Match("time", mask.count, rule.length, mask.times, end, tuple(understood), tuple(warnings))


def _ends_early(end: float, video: Timeline) -> bool:
    """Whether the last video frame is shown after the mask has ended."""
    return video.last is not None and video.last > end - _SLACK


def _frame_time(video: Timeline) -> float:
    return 1 / video.fps if video.fps else 0.0


def _refuse_short(made: Match, mask: Timeline, video: Timeline) -> None:
    if made.past_end != "error":
        return
    if made.by == "frame" and video.count is not None and made.count < video.count:
        both = f"mask has {made.count} frames, video has {video.count}"
        rates = f" (mask {mask.fps:g} fps, video {video.fps:g} fps)" if mask.fps and video.fps else ""
        raise MaskMismatch(f"{both}{rates}; pass --mask-length hold or loop, or make a mask for every frame")
    if made.by == "time" and _ends_early(made.end, video):
        ends = f"mask ends at {made.end:.2f} s, the video's last frame is at {video.last:.2f} s"
        raise MaskMismatch(f"{ends}; pass --mask-length hold or loop")


def _then(length: Length) -> str:
    return {"hold": "the last mask is held", "loop": "the mask starts again", "error": "nothing"}[length]
