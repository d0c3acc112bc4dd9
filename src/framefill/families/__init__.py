"""The families of fillers and the table that names them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from framefill.errors import UsageError
from framefill.families.base import Filler


@dataclass(frozen=True)
class Family:
    """One row of the table: what the family does, and how to make a filler of it."""

    does: str
    make: Callable[[], Filler]


def get(name: str) -> Filler:
    """Make a filler for one clip by its family's name. Raises UsageError for a name that is not in `FAMILIES`."""
    if name not in FAMILIES:
        raise UsageError(f"no model is called {name!r}; there are {', '.join(FAMILIES)}")
    return FAMILIES[name].make()


def _auto() -> Filler:
    from framefill.families.propagate import Propagate
    from framefill.families.still import smooth

    return Propagate("auto", smooth)


def _propagate() -> Filler:
    from framefill.families.propagate import Propagate

    return Propagate("propagate", None)


FAMILIES = {
    "auto": Family("propagate what other frames show, make what none shows once and carry it along", _auto),
    "propagate": Family("bring over what other frames show, leave the rest", _propagate),
}
