"""What other frames show is propagated, as `auto` does it; only what no frame shows is handed to a trained net, as a video."""

from __future__ import annotations

import copy
from typing import Protocol, runtime_checkable

import numpy as np

from framefill.families.base import Filled, Filler, Span, State
from framefill.families.memory import fit_default, needed_memory
from framefill.families.propagate import Propagate

BEFORE, NET = "before ", "net "  # what the names of the two's states begin with


@runtime_checkable
class Net(Filler, Protocol):
    """A filler that knows by itself what it takes (`families.memory.Fitting`), and what that leaves."""

    def fitted(self, limit: int | None, pixels: int, seen: int) -> Net:
        """The filler within `limit` bytes."""
        ...

    def room(self, limit: int | None, pixels: int, seen: int) -> int | None:
        """Bytes of main memory that it leaves of a limit; None where it says nothing of that."""
        ...


class AfterAuto:
    """Propagation, then the filler `net`; windows are the net's, the reach is the farther of the two."""

    def __init__(self, net: Net) -> None:
        self.name = f"auto+{net.name}"
        self._before = Propagate("propagate", None)
        self._net = net
        self.window = net.window
        self.reach = max(self._before.reach, net.reach)

    def fill_span(self, span: Span, state: State | None) -> tuple[Filled, State]:
        """Fill the window of a span; `state` is that of both, as the window before left it."""
        seen, kept = self._before.fill_span(span, _of(state, BEFORE))
        new = {BEFORE + name: value for name, value in kept.items()}
        inside = slice(span.fill_start - span.start, span.fill_stop - span.start)
        frames, mask = span.frames[: inside.stop].copy(), span.mask[: inside.stop].copy()
        frames[inside], mask[inside] = seen.frames, seen.remaining
        # Without anything left it still notes how the window ends, for what it makes next.
        made, kept = self._net.fill_span(Span(span.start, frames, mask, span.fill_start, span.fill_stop), _of(state, NET))
        new |= {NET + name: value for name, value in kept.items()}
        provenance = np.where(seen.remaining, made.provenance, seen.provenance)
        return Filled(made.frames, provenance, made.remaining), new

    def fitted(self, limit: int | None, pixels: int, seen: int) -> AfterAuto:
        """Both within `limit` bytes, as `families.memory` asks for it: the net as it must be, the reach as what is left allows."""
        other = copy.copy(self)
        net = other._net = self._net.fitted(limit, pixels, seen)
        reach, left = fit_default(self._before, pixels, seen).reach, net.room(limit, pixels, seen)

        def more(reach: int) -> int:
            return needed_memory(net.window, reach, pixels, seen) - needed_memory(net.window, net.reach, pixels, seen)

        while left is not None and reach > net.reach and more(reach) > left:
            reach -= 1
        other.window, other.reach = net.window, max(reach, net.reach)
        return other


def _of(state: State | None, whose: str) -> State | None:
    """One filler's part of a state; None where it has left nothing."""
    part = {name.removeprefix(whose): value for name, value in (state or {}).items() if name.startswith(whose)}
    return part or None
