"""What `framefill predict`, `interpolate`, `generate` and `stereo` do: run the jobs, draw their progress, print their results."""

from __future__ import annotations

import json
import re

from framefill.apps.cli.allocator import share_one_heap
from framefill.apps.cli.progress import Display, showing
from framefill.errors import UsageError
from framefill.families.trained import FFFSampling, Sampling
from framefill.jobs.between import BetweenSettings, interpolate
from framefill.jobs.extend import ExtendSettings, MadeRecord, extend
from framefill.jobs.generate import GenerateSettings, generate
from framefill.jobs.stereo import StereoSettings, stereo


def sampling(
    seed: int | None,
    steps: int | None,
    device: str | None,
    dtype: str | None,
    fff_mode: str | None = None,
    long_video: str | None = None,
    guidance: str | None = None,
    flow: str | None = None,
    inversion: float | None = None,
) -> Sampling | None:
    """How a trained net is to be run; None when nothing was asked for, since a model without a net refuses to be asked.

    The last five are for image-to-video nets alone. Raises UsageError for what cannot be meant.
    """
    fff = None
    if any(value is not None for value in (fff_mode, long_video, guidance, flow, inversion)):
        fff = FFFSampling(fff_mode, long_video, None if guidance is None else _scales(guidance), flow, inversion)
    asked = {"seed": seed, "steps": steps, "device": device, "dtype": dtype, "fff": fff}
    given = {name: value for name, value in asked.items() if value is not None}
    return Sampling(**given) if given else None  # type: ignore[arg-type]


def predict_file(settings: ExtendSettings, as_json: bool, quiet: bool) -> None:
    """Write a clip with predicted frames, draw the progress and print the result."""
    share_one_heap()
    with showing(str(settings.input), quiet) as display:
        record = extend(settings, progress=display)
        _tell(display, record)
    _print(record, as_json)


def interpolate_file(settings: BetweenSettings, as_json: bool, quiet: bool) -> None:
    """Write a clip with more frames a second, draw the progress and print the result."""
    share_one_heap()
    with showing(str(settings.input), quiet) as display:
        record = interpolate(settings, progress=display)
        _tell(display, record)
    _print(record, as_json)


def generate_files(settings: GenerateSettings, as_json: bool, quiet: bool) -> None:
    """Write clips of a net's own, draw the progress and print each result as it is there."""
    share_one_heap()
    with showing(str(settings.output), quiet) as display:
        for record in generate(settings, progress=display):
            _tell(display, record)
            _print(record, as_json)


def stereo_file(settings: StereoSettings, as_json: bool, quiet: bool) -> None:
    """Write a clip for two eyes, draw the progress and print the result."""
    share_one_heap()
    with showing(str(settings.input), quiet) as display:
        record = stereo(settings, progress=display)
        figures = f"{record.frames} frames, {record.rate:.1f} frames/s; depth {record.depth}, holes {record.hole:.2%} by {record.model}"
        display.tell((*record.lines, f"{record.output.name}: {figures}"))
    print(json.dumps(record.summary()) if as_json else record.output, flush=True)


def _scales(text: str) -> tuple[float, float]:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*,\s*(\d+(?:\.\d+)?)\s*", text)
    if not match:
        raise UsageError(f"--guidance is {text!r}, expected two numbers from 0 on such as 1,3")
    return float(match[1]), float(match[2])


def _tell(display: Display, record: MadeRecord) -> None:
    display.tell((*record.lines, f"{record.output.name}: {record.frames} frames, {record.made} of them new, {record.rate:.1f} frames/s"))


def _print(record: MadeRecord, as_json: bool) -> None:
    print(json.dumps(record.summary()) if as_json else record.output, flush=True)
