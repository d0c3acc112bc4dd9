"""How far a long piece of work is, on stderr: a bar for people, a plain line every few seconds for logs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framefill.data.progress import Step

EVERY = 5.0  # seconds between plain lines


@contextmanager
def telling(unit: str, quiet: bool) -> Iterator[Callable[[Step], None]]:
    """Give what shows how far work is: a bar for people, a plain line every few seconds for logs, nothing when told to be quiet."""
    if quiet:
        yield lambda _: None
        return
    if not sys.stderr.isatty():
        yield _Lines(unit)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(unit), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(unit, total=None)

        def draw(step: Step) -> None:
            if step.line:
                bars.console.print(f"framefill: {step.line}", markup=False, highlight=False, soft_wrap=True)
            bars.update(task, completed=step.done, total=step.total)

        yield draw


class _Lines:
    """Every line once, and one on the state every `EVERY` seconds."""

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._last = time.monotonic()

    def __call__(self, step: Step) -> None:
        from framefill.apps.cli.guard import say

        if step.line:
            say(step.line)
        now = time.monotonic()
        if step.total and now - self._last >= EVERY:
            self._last = now
            say(f"{step.done} of {step.total} {self._unit}")
