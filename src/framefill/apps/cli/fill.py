"""`framefill inpaint` and `outpaint`: run the jobs, draw their progress, print their results."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

import typer

from framefill.apps.cli.allocator import share_one_heap
from framefill.apps.cli.guard import exit_code, one_line, say
from framefill.apps.cli.progress import showing
from framefill.apps.report import write_report
from framefill.errors import FramefillError
from framefill.jobs.batch import expand_inputs, many, outputs_in
from framefill.jobs.record import RunRecord
from framefill.jobs.runner import run
from framefill.jobs.settings import FillSettings
from framefill.jobs.targets import is_finished
from framefill.media.mask_rule import Encoding, Length, MaskRule, MatchBy, parse_ids


@dataclass(frozen=True)
class Printing:
    """What goes to the terminal; `arguments` are the command line's, for the report."""

    arguments: Sequence[str]
    json: bool
    quiet: bool
    debug: bool


def mask_rule(
    ids: str | None, encoding: str, length: str, match: str, *, threshold: int | None, invert: bool, keep_affected: bool,
    dilate: int, erode: int, close: int, feather: int, key: str | None,
) -> MaskRule:  # fmt: skip
    """Make the mask's rule of the command line's options; the rule itself refuses words that it does not know."""
    return MaskRule(
        threshold=threshold, ids=parse_ids(ids) if ids is not None else (), invert=invert, encoding=cast("Encoding", encoding),
        keep_affected=keep_affected, dilate=dilate, erode=erode, close=close, feather=feather,
        length=cast("Length", length), match=cast("MatchBy", match), key=key,
    )  # fmt: skip


def fill_all(settings: FillSettings, inputs: Sequence[str], printing: Printing) -> None:
    """Fill one clip into `settings.output`, or several into that folder; go on past one that fails and end with its status."""
    share_one_heap()
    sources = expand_inputs(inputs)
    if not many(inputs, sources):
        _fill_one(replace(settings, input=sources[0]), printing)
        return
    worst = 0
    for source, output in zip(sources, outputs_in(settings, sources), strict=True):
        try:
            clip = replace(settings, input=source, output=output, as_frames=not Path(source).is_file())
            if not settings.overwrite and is_finished(clip):
                say(f"{output} exists and is left as it is; pass --overwrite to make it again")
                continue
            _fill_one(clip, printing)
        except FramefillError as error:
            if printing.debug:
                raise
            say(f"{source}: {one_line(error)}")
            worst = max(worst, exit_code(error))
    if worst:
        raise typer.Exit(worst)


def _fill_one(settings: FillSettings, printing: Printing) -> None:
    with showing(str(settings.input), printing.quiet) as display:
        record = run(settings, progress=display, finish=partial(_report, settings, printing))
        display.tell((*(f"warning: {warning}" for warning in record.warnings), _figures(record)))
        if settings.report is not None:
            display.tell((f"report: {settings.report}",))
    print(json.dumps(record.summary()) if printing.json else record.output, flush=True)


def _report(settings: FillSettings, printing: Printing, record: RunRecord) -> None:
    if settings.report is not None:
        write_report(record, settings.report, command=shlex.join(["framefill", *printing.arguments]))


def _figures(record: RunRecord) -> str:
    shares = record.provenance
    return (
        f"{record.frames} frame{'s' * (record.frames != 1)}, {record.frames_per_second:.1f} frames/s; propagated {shares.propagated:.2%}, "
        f"generated {shares.generated:.2%}, known {shares.known:.2%} unchanged (largest difference {record.outside_max_diff})"
    )
