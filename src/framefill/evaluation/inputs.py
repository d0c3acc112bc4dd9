"""What a protocol hands to a model, written out for programs that are not called from here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from framefill.errors import JobError, UsageError
from framefill.evaluation.protocols import get_protocol
from framefill.evaluation.protocols.base import Protocol
from framefill.evaluation.results import blanked
from framefill.evaluation.run import only_cases
from framefill.evaluation.unit import write_clip


def export(name: str, clips: Path, output: Path, given: Mapping[str, str], only: Sequence[str], seed: int) -> Iterator[str]:
    """Write every case's given frames (the hole grey) and masks (white = hole) as PNGs; gives a line a case.

    `output/given/CASE/*.png` and `output/mask/CASE/*.png`. What a program makes of them is scored with `--results NAME=DIR` where
    DIR/CASE holds its frames. Raises UsageError for a protocol of sets, JobError where `output` holds something already.
    """
    protocol = get_protocol(name)
    if not isinstance(protocol, Protocol):
        raise UsageError(f"{name} hands nothing to a model: its clips are made freely")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise JobError(f"{output} exists and is not empty; choose another folder")
    found = only_cases(protocol.find(clips, protocol.settle(given), seed), only)
    yield from found.notes
    for source in found.cases:
        case = source.load()
        for kind, frames in (("given", blanked(case)), ("mask", np.repeat(np.uint8(255) * case.mask[..., None], 3, axis=3))):
            write_clip(output / kind / case.name, frames, lossless=True)
        yield f"{case.name}: {len(case.given)} frames of {case.given.shape[2]}x{case.given.shape[1]}, hole {case.mask.mean():.1%}"
