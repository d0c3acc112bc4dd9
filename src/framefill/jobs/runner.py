"""The runner: decode, window, fill, composite, write, for a clip of any length in constant memory, and again after a kill.

Three threads work side by side: one decodes, the main one fills, one composites, measures and encodes. Between them stand bounded
queues in frame order, so that neither the clock nor the order of threads can change a byte of the result.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from framefill.errors import FramefillError, JobError, UsageError
from framefill.families.base import Filler, Span, State
from framefill.families.spans import spans
from framefill.jobs.folder import JobFolder, announced
from framefill.jobs.lanes import Behind, ahead
from framefill.jobs.made import Made
from framefill.jobs.plan import Plan, make_plan
from framefill.jobs.record import JsonValue, RunRecord, peak_memory_mb, versions
from framefill.jobs.scene import Item, Waiting
from framefill.jobs.settings import FillSettings
from framefill.jobs.sink import Done, Sink, draw_provenance
from framefill.jobs.targets import check_targets, job_folder_of, targets_of
from framefill.media.hashes import Hashing
from framefill.media.part import clear_leavings
from framefill.media.reader import open_video
from framefill.media.remux import remux
from framefill.media.writer import VideoWriter

AHEAD = 4  # frames that may wait between two threads


@dataclass(frozen=True)
class Progress:
    """How far a run is: `done` frames are filled of `total` (None when the source does not say).

    `lines` are all that the user should know so far: how the mask was understood, and warnings.
    """

    done: int
    total: int | None
    lines: tuple[str, ...]


class Interrupted(KeyboardInterrupt):
    """Ctrl-C; its text says how to go on."""


def run(
    settings: FillSettings,
    *,
    filler: Filler | None = None,
    progress: Callable[[Progress], None] | None = None,
    finish: Callable[[RunRecord], None] | None = None,
) -> RunRecord:
    """Fill one clip as `settings` say and return what was done, measured; the output has its final name when this returns.

    `filler` takes the place of the family named by `settings.model`. `progress` is called before the first and after every window,
    `finish` with the record as long as the job is remembered: killed in it, the same call comes to it again.
    Raises UsageError, MediaError or JobError, and Interrupted on Ctrl-C; then nothing new stands under the output's name, and the
    same call goes on where this one stopped.
    """
    began = time.perf_counter()
    check_targets(settings)
    with open_video(settings.input, settings.fps) as reader:
        plan = make_plan(settings, reader, filler)
        with _job_folder(settings) as folder:
            for target in targets_of(settings):
                clear_leavings(target)
            job = _Job(plan, folder, progress or (lambda _: None))
            record = job.run(began)
            if finish is not None:
                finish(record)
            return record


@contextmanager
def _job_folder(settings: FillSettings) -> Iterator[JobFolder]:
    """Enter the job folder; leave it when the run is stopped (an empty one goes), end or remove it when the run ends well."""
    folder = JobFolder(job_folder_of(settings.output))
    try:
        yield folder
    except KeyboardInterrupt as error:
        raise Interrupted(_how_to_go_on("interrupted", folder)) from error
    except FramefillError as error:
        raise type(error)(_how_to_go_on(str(error), folder)) from error
    else:
        if settings.keep_job:
            folder.end()
        else:
            folder.remove()
    finally:
        folder.leave()


def _how_to_go_on(what: str, folder: JobFolder) -> str:
    if not folder.windows:
        return f"{what}; nothing was kept" if what == "interrupted" else what
    kept = "1 finished window is" if folder.windows == 1 else f"{folder.windows} finished windows are"
    return f"{what} ({kept} kept in {folder.path}: the same command goes on from there)"


class _Job:
    """One run of one clip, from the first decoded frame to the record."""

    def __init__(self, plan: Plan, folder: JobFolder, progress: Callable[[Progress], None]) -> None:
        self._plan = plan
        self._settings = plan.settings
        self._folder = folder
        self._progress = progress
        self._hashing = Hashing([source for source in (plan.settings.input, plan.settings.mask) if source is not None])
        self._sink = Sink(plan.settings.rule.feather)
        self._windows = 0  # windows that had something to fill, so far
        self._finished = 0  # of those, how many an earlier run has left
        self._begun = False
        self._state: State | None = None
        self._seconds = 0.0
        self._borders: list[int] = []
        self._warnings: list[str] = []

    def run(self, began: float) -> RunRecord:
        """Fill the clip; `began` is the moment the whole run started."""
        if announced(self._folder.path):
            self._begin()
            check_targets(self._settings)  # what an earlier run announced counts only if it was the same job
        untouched = self._frames_if_nothing_is_masked()
        if untouched is not None and self._plan.can_copy:
            self._draw_untouched()
            self._announce()
            self._warnings += remux(self._plan.reader.path, self._settings.output)
            return self._record(began, untouched)
        if untouched is None and self._folder.has_manifest:
            self._begin()
            self._finished = self._folder.finished()
        self._fill()
        return self._record(began, None)

    def _frames_if_nothing_is_masked(self) -> int | None:
        """Look for the first masked frame, which is nearly always the first of all; without one, return the number of frames."""
        count, inside = 0, False
        for item in self._plan.scene:
            count += 1
            inside = inside or self._settings.start <= item.seconds < self._settings.end
            if not item.empty:
                return None
        if not inside:
            start, reader = self._settings.start, self._plan.reader
            if any(reader.seconds(frame) >= start for frame in reader):
                raise UsageError(f"no frame lies between --start {start:g} s and --end {self._settings.end:g} s; give a longer time")
            raise UsageError(f"--start {start:g} s is after the clip's last frame; give an earlier time")
        return count

    def _fill(self) -> None:
        settings, plan, sink = self._settings, self._plan, self._sink
        with ExitStack() as stack:
            files = [
                VideoWriter(
                    settings.destination,
                    plan.like,
                    codec=settings.codec,
                    crf=settings.crf,
                    lossless=settings.lossless,
                    size=plan.geometry.size,
                )
            ]
            stack.enter_context(files[0])
            if settings.provenance is not None:
                files.append(stack.enter_context(VideoWriter(settings.provenance, plan.scene.meta)))
            writing = Behind[Done](lambda frames: sink.write(frames, *files), AHEAD)
            stack.callback(writing.stop)
            self._tell(0)
            items = stack.enter_context(ahead(plan.scene, AHEAD))
            for done in self._filled(items):
                writing.put(done)
            writing.finish()
            self._announce()
        for file in files:
            self._warnings += file.warnings

    def _filled(self, items: Iterator[Item]) -> Iterator[Done]:
        """Give every frame in order, with the pixels made for it."""
        waiting: deque[Waiting] = deque()
        roi = self._plan.scene.roi
        area = self._plan.area

        def seen() -> Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_]]]:
            for item in items:
                waiting.append(Waiting.cut(item) if roi is None else Waiting(item))
                yield item.frame.rgb[area], item.hidden[area]

        filler = self._plan.filler
        full_width, full_height = self._plan.geometry.size
        height, width = self._plan.area_size
        for span in spans(seen(), filler.window, filler.reach, height, width):
            numbers = range(span.fill_start - span.start, span.fill_stop - span.start)
            window = [waiting.popleft() for _ in numbers]
            fills = [one.fill(full_height, full_width) for one in window]
            self._borders.append(span.fill_start)
            parts: Iterator[tuple[NDArray[np.uint8] | None, NDArray[np.uint8] | None]] = repeat((None, None))
            if not all(one.item.empty for one in window):
                parts = self._window(span, np.stack([fill[area] for fill in fills])).split()
            self._tell(span.fill_stop)
            for number, one, fill, (pixels, provenance) in zip(numbers, window, fills, parts, strict=False):
                item = one.whole(span.frames[number], fill)  # one at a time: whole pictures are what fills the memory
                yield Done(item, None, None) if item.empty else Done(item, pixels, provenance)

    def _window(self, span: Span, fill: NDArray[np.bool_]) -> Made:
        """Fill one window, or read back what an earlier run made of it."""
        number = self._windows
        self._windows += 1
        if number < self._finished:
            made = self._folder.load(number)
            if not made.fits(fill):
                raise JobError(f"{self._folder.path} does not belong to this clip and mask; delete it and run the command again")
            self._seconds += made.seconds
            return made
        if number and number == self._finished:
            self._state = self._folder.load_state(number - 1)
        start = time.perf_counter()
        filled, self._state = self._plan.filler.fill_span(span, self._state)
        made = Made.take(filled, fill, time.perf_counter() - start)
        self._seconds += made.seconds
        self._begin()
        self._folder.save(number, made, self._state)
        return made

    def _begin(self) -> None:
        """Say in the folder what its windows belong to; only here is the hashing of the inputs waited for."""
        if not self._begun:
            self._begun = True
            hashes: dict[str, JsonValue] = dict(self._hashing.result())
            self._folder.begin({"inputs": hashes, **self._plan.identity()})

    def _announce(self) -> None:
        self._begin()
        self._folder.announce(targets_of(self._settings))

    def _draw_untouched(self) -> None:
        """Write the provenance map of a clip in which all is known."""
        if self._settings.provenance is None:
            return
        with VideoWriter(self._settings.provenance, self._plan.scene.meta) as drawn:
            for item in self._plan.scene:
                origin = np.zeros(item.fill.shape, np.uint8)
                drawn.write(item.frame, draw_provenance(item.frame.rgb, origin))
        self._warnings += drawn.warnings

    def _record(self, began: float, copied: int | None) -> RunRecord:
        plan, settings, sink = self._plan, self._settings, self._sink
        frames = len(sink.timeline) if copied is None else copied
        mask = plan.scene.mask
        hashes = self._hashing.result()
        seconds = time.perf_counter() - began
        return RunRecord(
            output=settings.output,
            input=plan.reader.path,
            mask=plan.mask_in_words,
            mask_lines=tuple(mask.understood) if mask else (),
            frames=frames,
            frames_filled=sink.frames_filled,
            size=plan.geometry.size,
            sample_aspect_ratio=plan.scene.meta.sample_aspect_ratio,
            fps=None if plan.reader.meta.fps is None else float(plan.reader.meta.fps),
            seconds=seconds,
            frames_per_second=frames / seconds,
            fill_seconds=self._seconds,
            peak_memory_mb=peak_memory_mb(),
            outside_max_diff=sink.outside_max_diff,
            provenance=sink.shares,
            left=sink.left,
            model=plan.filler.name,
            copied=copied is not None,
            resumed_windows=self._finished,
            warnings=tuple(dict.fromkeys([*self._known_warnings(), *self._notes(copied)])),
            settings={**settings.as_dict(), "window": plan.filler.window, "reach": plan.filler.reach},
            versions=versions(),
            hashes=hashes,
            timeline=tuple(sink.timeline),
            window_borders=tuple(self._borders),
            key_frames=sink.key_frames.chosen(),
        )

    def _known_warnings(self) -> list[str]:
        plan, mask = self._plan, self._plan.scene.mask
        return [*plan.reader.warnings, *plan.warnings, *(mask.warnings if mask else ()), *self._folder.warnings, *self._warnings]

    def _tell(self, done: int) -> None:
        mask = self._plan.scene.mask
        warnings = [f"warning: {warning}" for warning in dict.fromkeys(self._known_warnings())]
        self._progress(Progress(done, self._plan.num_frames, (*(mask.understood if mask else ()), *warnings)))

    def _notes(self, copied: int | None) -> Iterator[str]:
        if copied is not None:
            yield "the mask is empty: the streams were copied without re-encoding"
        elif not self._windows:
            yield "the mask is empty: nothing was filled"
        if self._sink.left:
            yield f"{self._sink.left:.1%} of the masked pixels are shown by no frame and were left; --model auto fills them"
