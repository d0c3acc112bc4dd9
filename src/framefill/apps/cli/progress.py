"""Progress on stderr: a bar for people, a plain line every few seconds for logs, nothing when told to be quiet."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from framefill.apps.cli.guard import say
from framefill.data.progress import Step
from framefill.jobs.runner import Progress

EVERY = 5.0  # seconds between plain lines


class Display:
    """Shows how far a run is by `draw`, and each line that comes with it once, by `speak`."""

    def __init__(self, draw: Callable[[Progress], None], speak: Callable[[str], None]) -> None:
        self._draw = draw
        self._speak = speak
        self._spoken: set[str] = set()

    def __call__(self, progress: Progress) -> None:
        """Show one step of a run."""
        self.tell(progress.lines)
        self._draw(progress)

    def tell(self, lines: Iterator[str] | tuple[str, ...]) -> None:
        """Show the lines that have not been shown."""
        for line in lines:
            if line not in self._spoken:
                self._spoken.add(line)
                self._speak(line)


@contextmanager
def showing(name: str, quiet: bool) -> Iterator[Display]:
    """Give a display for one run, with frames/s and the time left."""
    if quiet:
        yield Display(lambda _: None, lambda _: None)
    elif sys.stderr.isatty():
        with _bar(name) as display:
            yield display
    else:
        yield Display(_Lines(name), say)


class _Lines:
    """One plain line every `EVERY` seconds."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._began = self._last = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._last < EVERY or not progress.done:
            return
        self._last = now
        rate = progress.done / (now - self._began)
        if progress.total:
            left = max(progress.total - progress.done, 0) / rate
            say(f"{self._name}: {progress.done}/{progress.total} frames, {rate:.1f} frames/s, {left:.0f} s left")
        else:
            say(f"{self._name}: {progress.done} frames, {rate:.1f} frames/s")


@contextmanager
def _bar(name: str) -> Iterator[Display]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    began = time.monotonic()
    with Bars(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(escape(name), total=None, rate="")

        def draw(progress: Progress) -> None:
            rate = progress.done / max(time.monotonic() - began, 1e-9)
            bars.update(task, completed=progress.done, total=progress.total, rate=f"{rate:.1f} frames/s")

        yield Display(draw, lambda line: bars.console.print(f"framefill: {line}", markup=False, highlight=False, soft_wrap=True))


@contextmanager
def scoring(quiet: bool) -> Iterator[Callable[[Step], None]]:
    """Give what shows how far an evaluation is: a bar for people, a plain line a result for logs, nothing when told to be quiet."""
    if quiet:
        yield lambda _: None
        return
    if not sys.stderr.isatty():
        yield _say_step
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("results"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task("results", total=None)

        def draw(step: Step) -> None:
            if step.line:
                bars.console.print(f"framefill: {step.line}", markup=False, highlight=False, soft_wrap=True)
            bars.update(task, completed=step.done, total=step.total)

        yield draw


def _say_step(step: Step) -> None:
    say(step.line or f"{step.done} of {step.total} results")
