"""Fill what a video is missing: holes in its frames, the picture outside them, and frames before, between and after.

    import framefill

    filled = framefill.inpaint("clip.mp4", "mask.png")  # in memory: frames, provenance, remaining
    longer = framefill.predict("clip.mp4", 8)  # eight more frames, made by the net that comes along
    eyes = framefill.to_stereo("clip.mp4")  # what a left and a right eye see
    record = framefill.fill_file(framefill.FillSettings("clip.mp4", "out.mp4", mask="mask.png"))  # any length, sound kept

Everything is imported on first use: `import framefill` itself loads neither NumPy nor FFmpeg.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framefill.api import TwoEyes, fill_file, generate, inpaint, interpolate, outpaint, predict, stereo_file, to_stereo
    from framefill.errors import FramefillError
    from framefill.families.base import Filled
    from framefill.families.trained import Sampling
    from framefill.jobs.eyes import EyeSettings
    from framefill.jobs.record import RunRecord
    from framefill.jobs.settings import FillSettings
    from framefill.jobs.stereo import StereoSettings
    from framefill.media.mask import Mask, read_mask
    from framefill.media.video import Video

__version__ = "0.1.0"

__all__ = [
    "EyeSettings",
    "FillSettings",
    "Filled",
    "FramefillError",
    "Mask",
    "RunRecord",
    "Sampling",
    "StereoSettings",
    "TwoEyes",
    "Video",
    "__version__",
    "fill_file",
    "generate",
    "inpaint",
    "interpolate",
    "outpaint",
    "predict",
    "read_mask",
    "stereo_file",
    "to_stereo",
]

_HOMES = {
    "EyeSettings": "framefill.jobs.eyes",
    "FillSettings": "framefill.jobs.settings",
    "Filled": "framefill.families.base",
    "FramefillError": "framefill.errors",
    "Mask": "framefill.media.mask",
    "RunRecord": "framefill.jobs.record",
    "Sampling": "framefill.families.trained",
    "StereoSettings": "framefill.jobs.stereo",
    "TwoEyes": "framefill.api",
    "Video": "framefill.media.video",
    "fill_file": "framefill.api",
    "generate": "framefill.api",
    "inpaint": "framefill.api",
    "interpolate": "framefill.api",
    "outpaint": "framefill.api",
    "predict": "framefill.api",
    "read_mask": "framefill.media.mask",
    "stereo_file": "framefill.api",
    "to_stereo": "framefill.api",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'framefill' has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
