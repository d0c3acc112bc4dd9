"""The families of fillers and the table that names them."""

from __future__ import annotations

from collections.abc import Callable

from framefill.errors import UsageError
from framefill.families.base import Filler

FAMILIES: dict[str, str] = {
    "auto": "propagate what other frames show, make what none shows once and carry it along",
    "propagate": "bring over what other frames show; leave the rest",
}


def get(name: str, *, seed: int = 0) -> Filler:
    """Make a filler for one clip by its family's name. Raises UsageError for a name that is not in `FAMILIES`."""
    makers: dict[str, Callable[[], Filler]] = {"auto": _auto, "propagate": _propagate}
    if name not in makers:
        raise UsageError(f"no model is called {name!r}; there are {', '.join(sorted(FAMILIES))}")
    return makers[name]()


def _auto() -> Filler:
    from framefill.families.propagate import Propagate
    from framefill.families.still import smooth

    return Propagate("auto", smooth)


def _propagate() -> Filler:
    from framefill.families.propagate import Propagate

    return Propagate()
